"""Shapes at several points: every operator's own inference, run node by node, and the arithmetic of computed sizes.

onnx infers a model in one go and follows the values of computed shapes through a few operators only. Here each node is
inferred by itself with the values that its inputs hold at each point, so that a shape is followed through every operator
and opset that has a schema: Where, Cast, float arithmetic, bodies and functions included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx

from graphkit.graph import walk
from graphkit.graph.calls import expands_beyond
from graphkit.graph.values import attribute_value, constant_tensor
from graphkit.semantics.kinds import CONTROL_FLOW, SHAPE_ONLY
from graphkit.shapes.by_schema import ONNX, SchemaInference
from graphkit.shapes.known import NOTHING, Known, either, moves, stacked, without_data
from graphkit.shapes.points import UNKNOWN, Sizes, fixed, whole
from graphkit.shapes.value_rules import computed

if TYPE_CHECKING:
    from graphkit.tensor import Array

SMALL = 4096
"""Elements of a value that is followed: as many as a shape, a list of indices or a small mask has."""

MOST_CALLED = 1 << 13
"""Nodes that calls of functions may come to; in a model of more, whose functions double each other, none is followed."""

MOST_CALLS = 5000
"""Calls of functions that are followed: functions that call others twice each are more than any model has nodes."""

DEEPEST = 64
"""Calls and bodies within each other that are followed."""


class PointInference:
    """Infers the nodes of a model one after the other, at every point.

    Attributes:
        points: The number of points.
        known: name -> what is known, for the main graph and the bodies that were entered.
        origins: Sizes -> the first value of the main graph, and its axis, that has them.
        misfits: Nodes that fit at the first point only.
        lost: Nodes behind which shapes are not known although their inputs' were.
    """

    def __init__(self, model: onnx.ModelProto, points: int, read: Callable[[onnx.TensorProto], Array | None]) -> None:
        self.points = points
        self.known: dict[str, Known] = {}
        self.origins: dict[Sizes, tuple[str, int]] = {}
        self._read = read
        self._imports = _versions(model.opset_import)
        if "ai.onnx" in self._imports:
            self._imports.setdefault("", self._imports["ai.onnx"])
        followed = () if expands_beyond(model, MOST_CALLED) else model.functions
        self._functions = {walk.function_key(function): function for function in followed}
        self._ir = model.ir_version
        self._depth = self._calls = 0
        declared = {info.name: info.type for graph in walk.graphs(model.graph) for info in graph.value_info}
        self._schemas = SchemaInference(points, model.ir_version, declared)
        self.misfits = self._schemas.misfits
        self.lost = self._schemas.lost

    @property
    def opset(self) -> int:
        """The version of ai.onnx."""
        return self._imports.get("", 1)

    def constant(self, tensor: onnx.TensorProto) -> Known:
        """What is known of a tensor; its values where it is small."""
        dims = tuple(fixed(size, self.points) for size in tensor.dims)
        data = None
        if math.prod(tensor.dims) <= SMALL:
            array = self._read(tensor)
            data = None if array is None else (array,) * self.points
        return Known(tensor.data_type, dims, data, constant=True)

    def start(self, graph: onnx.GraphProto, given: Mapping[str, Known]) -> None:
        """Enter a graph: its initializers, and what its inputs are."""
        inputs = {info.name for info in graph.input}
        for tensor in graph.initializer:
            if tensor.name not in inputs or self._ir < 4:
                self.known[tensor.name] = self.constant(tensor)
        for sparse in graph.sparse_initializer:
            dims = tuple(fixed(size, self.points) for size in sparse.dims)
            self.known[sparse.values.name] = Known(sparse.values.data_type, dims, constant=True)
        self.known.update(given)
        for name in given:
            self.remember(name)

    def remember(self, name: str) -> None:
        """Note where sizes are seen first. Only for values of the main graph."""
        if self._depth:
            return
        for axis, dim in enumerate(self.known[name].dims or ()):
            if dim.varies:
                self.origins.setdefault(dim.sizes, (name, axis))

    def get(self, name: str) -> Known:
        """What is known of a value."""
        return self.known.get(name, NOTHING)

    def infer(self, node: onnx.NodeProto) -> None:
        """Find out what a node makes."""
        inputs = [self.get(name) if name else None for name in node.input]
        made = self._special(node, inputs)
        if made is None:
            made = self._schemas.infer(node, inputs, self._imports)
        self._add_values(node, inputs, made)
        for name, known in zip(node.output, made, strict=False):
            if name:
                self.known[name] = known
                self.remember(name)

    # Operators that hold other nodes, or that have no schema.

    def _special(self, node: onnx.NodeProto, inputs: list[Known | None]) -> list[Known] | None:
        if node.domain not in ONNX:
            function = self._functions.get(walk.call_key(node))
            return self._call(node, function, inputs) if function is not None else None
        if node.op_type == "Constant":
            tensor = constant_tensor(node)
            return [self.constant(tensor)] if tensor is not None else None
        if node.op_type in SHAPE_ONLY and inputs and inputs[0] is not None:
            return self._measured(node, inputs[0])
        if node.op_type in CONTROL_FLOW:
            return self._held(node, inputs)
        return None

    def _measured(self, node: onnx.NodeProto, value: Known) -> list[Known] | None:
        if value.dims is None:
            return None
        dims = value.dims
        if node.op_type == "Shape":
            dims = dims[attribute_value(node, "start") : attribute_value(node, "end")]
        shape = () if node.op_type == "Size" else (fixed(len(dims), self.points),)
        data: tuple[Array, ...] | None = None
        if all(dim.sizes for dim in dims):
            columns = [[dim.sizes[point] for dim in dims] for point in range(self.points)]
            made = [np.array(c if node.op_type == "Shape" else math.prod(c), np.int64) for c in columns]
            data = tuple(made)
        return [Known(onnx.TensorProto.INT64, shape, data)]

    def _call(self, node: onnx.NodeProto, function: onnx.FunctionProto, inputs: list[Known | None]) -> list[Known]:
        nothing = [NOTHING for _ in node.output]
        self._calls += 1
        if self._depth >= DEEPEST or self._calls > MOST_CALLS:
            if self._calls <= MOST_CALLS + 1:
                self.lost.append(node)
            return nothing
        outer, imports, visit = self.known, self._imports, self.visit
        self.visit = None
        given = {name: known for name, known in zip(function.input, inputs, strict=False) if known is not None}
        self.known = dict(given)
        self._imports = imports | _versions(function.opset_import)
        self._depth += 1
        attributes = {a.name: a for a in (*function.attribute_proto, *node.attribute)}
        try:
            for inner in function.node:
                self.infer(_bound(inner, attributes))
            return [self.known.get(name, NOTHING) for name in function.output]
        finally:
            self.known, self._imports, self.visit = outer, imports, visit
            self._depth -= 1

    def enter(
        self, graph: onnx.GraphProto, given: Mapping[str, Known], visit: Callable[[onnx.GraphProto], None]
    ) -> None:
        """Infer a body; ``visit`` walks its nodes."""
        self._depth += 1
        try:
            self.start(graph, given)
            visit(graph)
        finally:
            self._depth -= 1

    visit: Callable[[onnx.GraphProto], None] | None = None
    """What walks the nodes of a body; None infers them."""

    def _walk(self, graph: onnx.GraphProto) -> None:
        if self.visit is not None:
            self.visit(graph)
            return
        for node in graph.node:
            self.infer(node)

    def _held(self, node: onnx.NodeProto, inputs: list[Known | None]) -> list[Known]:
        held = list(walk.bodies(node))
        if self._depth >= DEEPEST or not held:
            return [NOTHING for _ in node.output]
        if node.op_type == "If":
            made = []
            for body in held:
                self.enter(body, {}, self._walk)
                made.append([self.get(value.name) for value in body.output])
            told = inputs[0].data if inputs and inputs[0] is not None else None
            if told is not None and len({bool(array.any()) for array in told}) == 1 and len(node.attribute) == 2:
                taken = "then_branch" if told[0].any() else "else_branch"
                return made[[a.name for a in node.attribute if a.HasField("g")].index(taken)]
            return [either(a, b) for a, b in zip(made[0], made[-1], strict=False)]
        body = held[0]
        given = [known or NOTHING for known in inputs]
        if node.op_type == "Loop":
            return self._loop(body, given)
        return self._scan(node, body, given)

    def _loop(self, body: onnx.GraphProto, given: list[Known]) -> list[Known]:
        carried = [without_data(known) for known in given[2:]]
        scalar = Known(onnx.TensorProto.INT64, ()), Known(onnx.TensorProto.BOOL, ())
        for _ in range(2):
            names = [value.name for value in body.input]
            self.enter(body, dict(zip(names, (*scalar, *carried), strict=False)), self._walk)
            again = [self.get(value.name) for value in body.output[1 : 1 + len(carried)]]
            wider = [either(before, after) for before, after in zip(carried, again, strict=False)]
            if all(a.dims == b.dims for a, b in zip(wider, carried, strict=True)):
                break
            carried = wider
        trips = given[0].data if given else None
        count = whole(tuple(int(array.reshape(-1)[0]) for array in trips)) if trips is not None else UNKNOWN
        stops = body.output[0].name != body.input[1].name and not self._always(body)
        rows = [
            stacked(self.get(value.name), UNKNOWN if stops else count, 0) for value in body.output[1 + len(carried) :]
        ]
        return [*map(without_data, carried), *rows]

    def _always(self, body: onnx.GraphProto) -> bool:
        """Whether a loop's condition is a constant true, or handed through."""
        data = self.get(body.output[0].name).data
        if data is not None:
            return bool(data[0].all())
        makers = {name: node for node in body.node for name in node.output}
        maker = makers.get(body.output[0].name)
        return maker is not None and maker.op_type == "Identity" and maker.input[0] == body.input[1].name

    def _scan(self, node: onnx.NodeProto, body: onnx.GraphProto, given: list[Known]) -> list[Known]:
        scanned = int(attribute_value(node, "num_scan_inputs", 0))
        states = given[: len(given) - scanned]
        axes = attribute_value(node, "scan_input_axes") or [0] * scanned
        rows, count = [], UNKNOWN
        for known, axis in zip(given[len(states) :], axes, strict=False):
            dims = known.dims
            if dims is None or not -len(dims) <= axis < len(dims):
                rows.append(Known(known.elem))
                continue
            place = axis % len(dims)
            count = dims[place]
            rows.append(Known(known.elem, dims[:place] + dims[place + 1 :]))
        names = [value.name for value in body.input]
        self.enter(body, dict(zip(names, (*map(without_data, states), *rows), strict=False)), self._walk)
        made = [self.get(value.name) for value in body.output]
        out_axes = attribute_value(node, "scan_output_axes") or [0] * (len(made) - len(states))
        last = [stacked(k, count, axis) for k, axis in zip(made[len(states) :], out_axes, strict=False)]
        return [*map(without_data, made[: len(states)]), *last]

    def _add_values(self, node: onnx.NodeProto, inputs: Sequence[Known | None], made: list[Known]) -> None:
        """What a node's first output holds, where all that goes in is known and it is small."""
        if not made or made[0].data is not None or node.domain not in ONNX or not made[0].elem:
            return
        if len(node.output) > 1 and node.op_type != "Split":
            return
        if any(known is not None and known.data is None for known in inputs) or not inputs:
            return
        if not made[0].complete or any(math.prod(made[0].shape_at(p) or ()) > SMALL for p in range(self.points)):
            return
        one = all(known is None or not moves(known) for known in inputs)
        results = []
        for point in range(1 if one else self.points):
            arrays = [None if known is None or known.data is None else known.data[point] for known in inputs]
            result = computed(node, arrays, self.opset)
            if result is None:
                return
            results.append(result)
        if one:
            results *= self.points
        for position, known in enumerate(made):
            known.data = tuple(result[position] for result in results if position < len(result)) or None
            if known.data is not None and len(known.data) != self.points:
                known.data = None


def _bound(node: onnx.NodeProto, attributes: Mapping[str, onnx.AttributeProto]) -> onnx.NodeProto:
    """A node of a function with the attributes that its caller gives."""
    if not any(attribute.ref_attr_name for attribute in node.attribute):
        return node
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    kept = []
    for attribute in copy.attribute:
        if not attribute.ref_attr_name:
            kept.append(attribute)
        elif attribute.ref_attr_name in attributes:
            given = onnx.AttributeProto()
            given.CopyFrom(attributes[attribute.ref_attr_name])
            given.name = attribute.name
            kept.append(given)
    del copy.attribute[:]
    copy.attribute.extend(kept)
    return copy


def _versions(imports: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    """Domain -> version, in the range that onnx's own inference takes."""
    return {entry.domain: max(0, min(int(entry.version), 2**31 - 1)) for entry in imports}
