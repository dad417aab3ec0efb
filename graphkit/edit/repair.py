"""Baked Reshape targets made to follow their input, where it is certain what they have to follow."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from typing import TYPE_CHECKING

import numpy as np
import onnx

from graphkit.edit.nodes import NodeWriter, insert_before, set_inputs
from graphkit.graph.names import Names, label
from graphkit.semantics.elementwise import KEEPS_AXES
from graphkit.semantics.kinds import NORMS, REGROUPS
from graphkit.shapes.size_dependence import Comparison, reshape_adapts, reshape_groups

if TYPE_CHECKING:
    from graphkit.graph.index import GraphIndex

KEEPS_ELEMENTS = frozenset((*REGROUPS, *KEEPS_AXES, *NORMS, "BatchNormalization"))
"""Operators whose first output has as many elements as their first input, in the same order."""

UNSHUFFLE = [0, 1, 3, 5, 2, 4]
"""How pixel_unshuffle transposes [n, c, h, r, w, r]."""


def repair_reshapes(model: onnx.ModelProto, comparison: Comparison) -> list[str]:
    """Replace constant targets of Reshape nodes that work at one size only by computed ones. Changes the model.

    Only where the target can mean one thing: it gives a tensor back the shape that it had before (GroupNorm as torch's
    dynamo exporter writes it), it keeps every free axis as it is or merges it whole with others (channel shuffle,
    flattening), or it is the pair of Reshapes around the Transpose of a pixel_unshuffle.

    Returns:
        A sentence for each node that was repaired.

    Scope: the main graph.
    Cost: O(nodes).
    """
    repair = _Repair(model, comparison)
    notes = []
    for node in list(model.graph.node):
        if node.op_type == "Reshape" and node.domain in ("", "ai.onnx") and not reshape_adapts(comparison, node):
            what = repair.restored(node) or repair.unshuffled(node) or repair.followed(node)
            if what:
                notes.append(f"the fixed target of Reshape {label(node)!r} is computed now: {what}")
    insert_before(model.graph, repair.before)
    return notes


class _Repair:
    def __init__(self, model: onnx.ModelProto, comparison: Comparison) -> None:
        self._comparison = comparison
        self._index: GraphIndex = comparison.index
        self._nodes = {node.output[0]: node for node in model.graph.node if node.output}
        self._writer = NodeWriter(Names(model.graph))
        self.before: dict[str, list[onnx.NodeProto]] = {}

    def restored(self, node: onnx.NodeProto) -> str | None:
        """The target is the shape of a value further up from which no element was added or taken away."""
        wanted = self._comparison.old.get(node.output[0])
        name = node.input[0]
        while (position := self._index.producer.get(name)) is not None:
            above = self._index.nodes[position]
            if above.op_type not in KEEPS_ELEMENTS or above.output[0] != name:
                return None
            name = above.input[0]
            if wanted is not None and above.op_type == "Reshape" and self._comparison.old.get(name) == wanted:
                self._retarget(node, partial(self._shape_of, name))
                return f"the shape of {name!r}"
        return None

    def followed(self, node: onnx.NodeProto) -> str | None:
        """Every free axis goes whole into one axis of the result."""
        old, target = self._comparison.old[node.input[0]], self._comparison.constant_ints(node.input[1])
        varies = self._comparison.varies(node.input[0])
        result = self._comparison.old.get(node.output[0])
        if target is None or result is None or len(result) != len(target):
            return None
        groups = reshape_groups(old, result)
        if any(set(sources) & set(varies) and len(targets) != 1 for sources, targets in groups):
            return None
        moving = {targets[0]: sources for sources, targets in groups if set(sources) & set(varies)}

        def computed(here: list[onnx.NodeProto]) -> str:
            dims = self._writer.add(here, "Shape", [node.input[0]], "dims")
            parts = []
            for axis, size in enumerate(target):
                sources = moving.get(axis)
                if sources is None:
                    parts.append(self._constant(here, old[axis] if size == 0 else size))
                    continue
                merged = [self._writer.add(here, "Gather", [dims, self._constant(here, s)], "part") for s in sources]
                parts.append(reduce(lambda a, b: self._writer.add(here, "Mul", [a, b], "part"), merged))
            return self._writer.add(here, "Concat", parts, "shape", axis=0)

        self._retarget(node, computed)
        return f"axes {', '.join(map(str, moving))} follow the input"

    def unshuffled(self, node: onnx.NodeProto) -> str | None:
        """[n, c, h, w] -> [n, c, h/r, r, w/s, s], transposed, -> [n, c*r*s, h/r, w/s]."""
        first = self._comparison.constant_ints(node.input[1])
        old = self._comparison.old[node.input[0]]
        transpose, last = self._only_reader(node), None
        if transpose is not None and transpose.op_type == "Transpose":
            perm = next((list(a.ints) for a in transpose.attribute if a.name == "perm"), None)
            last = self._only_reader(transpose) if perm == UNSHUFFLE else None
        if last is None or last.op_type != "Reshape" or first is None or len(first) != 6 or len(old) != 4:
            return None
        channels, rows, columns = old[1], first[3], first[5]
        second = self._comparison.constant_ints(last.input[1])
        if first[1:] != [channels, old[2] // rows, rows, old[3] // columns, columns] or second is None:
            return None
        if second[1:] != [channels * rows * columns, first[2], first[4]]:
            return None

        def part(here: list[onnx.NodeProto], *axes: int) -> str:
            dims = self._writer.add(here, "Shape", [node.input[0]], "dims")
            return self._writer.add(here, "Gather", [dims, self._constant(here, *axes)], "part")

        def cells(here: list[onnx.NodeProto]) -> str:
            return self._writer.add(here, "Div", [part(here, 2, 3), self._constant(here, rows, columns)], "cells")

        def split(here: list[onnx.NodeProto]) -> str:
            parts = [part(here, 0, 1), self._constant(here, rows, columns), cells(here)]
            sizes = self._writer.add(here, "Concat", parts, "sizes", axis=0)
            return self._writer.add(here, "Gather", [sizes, self._constant(here, 0, 1, 4, 2, 5, 3)], "shape")

        def joined(here: list[onnx.NodeProto]) -> str:
            parts = [part(here, 0), self._constant(here, channels * rows * columns), cells(here)]
            return self._writer.add(here, "Concat", parts, "shape", axis=0)

        self._retarget(node, split)
        self._retarget(self._nodes[last.output[0]], joined)
        return f"a pixel_unshuffle by {rows}, with Reshape {label(last)!r}"

    def _shape_of(self, name: str, here: list[onnx.NodeProto]) -> str:
        return self._writer.add(here, "Shape", [name], "shape")

    def _constant(self, here: list[onnx.NodeProto], *values: int) -> str:
        return self._writer.constant(here, np.array(values), "sizes")

    def _only_reader(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        readers = self._index.consumers.get(node.output[0], [])
        given_out = node.output[0] in self._index.outputs
        return self._index.nodes[readers[0]] if len(readers) == 1 and not given_out else None

    def _retarget(self, node: onnx.NodeProto, make: Callable[[list[onnx.NodeProto]], str]) -> None:
        here = self.before.setdefault(node.output[0], [])
        set_inputs(node, [node.input[0], make(here)])
