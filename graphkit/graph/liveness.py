"""Which values are still needed at a node, for whoever bounds memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


def living(
    steps: Iterable[tuple[Sequence[str], Sequence[str]]], sizes: Mapping[str, int], wanted: Iterable[str]
) -> dict[str, tuple[int, int]]:
    """What is held while a graph runs: value -> (bytes of values still to be read behind it, those among them nobody asked for).

    Args:
        steps: (what a node makes, what it reads), in the order in which they run.
        sizes: Value -> bytes.
        wanted: What was asked for.
    """
    order = [(made, read) for made, read in steps]
    last = {name: at for at, (_, read) in enumerate(order) for name in read}
    asked = set(wanted)
    ending: dict[int, list[str]] = {}
    live = unasked = 0
    found: dict[str, tuple[int, int]] = {}
    for at, (made, _) in enumerate(order):
        for name in made:
            if last.get(name, -1) > at:
                ending.setdefault(last[name], []).append(name)
                live += sizes.get(name, 0)
                unasked += 0 if name in asked else sizes.get(name, 0)
        most = unasked
        for name in ending.pop(at, ()):
            live -= sizes.get(name, 0)
            unasked -= 0 if name in asked else sizes.get(name, 0)
        found.update(dict.fromkeys(made, (live, most)))
    return found
