"""A limit on what a search holds at once: how many values may be fetched together."""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from graphkit.tensor import bits
from graphkit.verify.compare.blocks import WORKING_BYTES

if TYPE_CHECKING:
    from graphkit.graph.index import GraphIndex
    from graphkit.verify.bisect.side import Place, Side

PROCESS = 100 << 20
"""Bytes that Python, onnx and ONNX Runtime take before there is a value, where the system does not say (measured on Linux)."""

RUNTIME = 8 << 20
"""Bytes that the first run adds to them."""

MOST_VALUES = 500
"""Values that are fetched at once at most: the runtime's time for a piece grows faster than its number of outputs."""

PART = 32
"""Times a value's own bytes that comparing it takes, up to WORKING_BYTES: 57 bytes for each element (measured)."""

BATCH = 8
"""Nodes that are tried alone at once while the first one that is wrong is looked for."""


def process_bytes() -> int:
    """Bytes of memory that this process has now; PROCESS where the system does not say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return PROCESS


class Budget:
    """How many values fit into a memory limit at once, both sides' copies and what comparing them takes.

    Attributes:
        room: Bytes that there are for values.
        notes: Why the limit cannot be kept.
    """

    def __init__(
        self,
        places: Sequence[Place],
        sides: tuple[Side, Side],
        twins: Mapping[str, str],
        limit: int,
        *,
        isolate: bool = False,
    ) -> None:
        """Plan.

        Args:
            places: The values, in order.
            sides: The side whose values they are, and the other.
            twins: Value of the one -> value of the other.
            limit: Bytes that the process may hold; where it holds more already, bytes for the values.
            isolate: Every value is made once more, by its node alone; else BATCH of them are.
        """
        self.notes: list[str] = []
        self._places = places
        own, other = (side.sizes() for side in sides)
        self._sizes = [(own.get(p.value, 0), other.get(twins[p.value], own.get(p.value, 0))) for p in places]
        held = [side.held() for side in sides]
        nothing = (0, 0)
        self._held = [(held[0].get(p.value, nothing), held[1].get(twins[p.value], nothing)) for p in places]
        self._isolate = isolate
        self._weights = _Weights(getattr(sides[0], "index", None))
        taken = process_bytes() + RUNTIME
        taken += limit // 20  # what the allocators keep
        if taken >= limit:
            self.notes.append(
                f"the process takes {taken / 1e6:.0f} MB without a value, the memory limit is {limit / 1e6:g} MB: "
                "it holds for the values alone"
            )
        self.room = limit if taken >= limit else limit - taken
        self._limit = limit
        self._near = math.inf if taken >= limit else limit * 3 // 4
        self._oversized = False

    def count(self, at: int, most: int, more: int) -> int:
        """How many values from a place on may be fetched at once; one at least.

        Args:
            at: The place.
            most: At most so many.
            more: Bytes that are held beside.
        """
        start, other_start = (held[0] for held in self._held[at - 1]) if at else (0, 0)
        self._weights.forget()
        mine = others = largest = weights = unasked = 0
        for number, place in enumerate(self._places[at : at + most]):
            own, other = self._sizes[at + number]
            mine, others, largest = mine + own, others + other, max(largest, own, other)
            weights += 2 * self._weights.new(place.value)
            (live, unasked_here), (_, other_unasked) = self._held[at + number]
            unasked = max(unasked, unasked_here + other_unasked)
            alone = mine if self._isolate else min(mine, BATCH * largest)
            # First both sides' copies; later, in place of the candidate's, what its nodes make alone.
            needed = max(start + mine, live + alone) + other_start + others
            needed += unasked + min(WORKING_BYTES, PART * largest) + weights + more
            if needed > self.room:
                break
        else:
            return min(most, len(self._places) - at)
        if not number and not self._oversized:
            self._oversized = True
            self.notes.append(
                f"value {place.value!r} takes {needed / 1e6:.3g} MB with what is needed to make and compare it, "
                f"which is more than the memory limit leaves for values: {self.room / 1e6:.3g} MB"
            )
        return max(1, number)

    def allows(self, more: int) -> bool:
        """Whether there is room for so many bytes now."""
        self.give_back()
        return math.isinf(self._near) or process_bytes() + more <= self._limit

    def give_back(self) -> None:
        """Near the limit, have the C library give freed memory back to the system, also that between what is in use."""
        if sys.platform == "linux" and process_bytes() > self._near:
            trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, others have not
            if trim is not None:
                trim(0)


class _Weights:
    """Bytes of the weights that some nodes read: the runtime holds them, and for a moment twice, while it runs."""

    def __init__(self, index: GraphIndex | None) -> None:
        self._index = index
        self._seen: set[str] = set()

    def new(self, value: str) -> int:
        """Bytes that the node behind a value adds to those of the nodes so far."""
        if self._index is None:
            return 0
        position = self._index.producer.get(value)
        names = set() if position is None else {n for n in self._index.reads(position) if n not in self._seen}
        self._seen |= names
        tensors = [self._index.initializers[name] for name in names if name in self._index.initializers]
        return sum(math.prod(tensor.dims) * bits(tensor.data_type) // 8 for tensor in tensors)

    def forget(self) -> None:
        """Other nodes from here on."""
        self._seen.clear()
