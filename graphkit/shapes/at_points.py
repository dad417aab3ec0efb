"""Shapes at several points: every operator's own inference, run node by node, and the arithmetic of computed sizes.

onnx infers a model in one go and follows the values of computed shapes through a few operators only. Here each node is
inferred by itself with the values that its inputs hold at each point, so that a shape is followed through every operator
and opset that has a schema: Where, Cast, float arithmetic, bodies and functions included.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import onnx

from graphkit.graph import walk
from graphkit.graph.calls import expands_beyond
from graphkit.graph.values import attribute_value, constant_tensor, tensor_type
from graphkit.semantics.kinds import CONTROL_FLOW, SHAPE_ONLY
from graphkit.semantics.schemas import schema_in
from graphkit.shapes.points import UNKNOWN, Dim, Sizes, align, fixed, whole
from graphkit.shapes.value_rules import computed

if TYPE_CHECKING:
    from graphkit.tensor import Array

SMALL = 4096
"""Elements of a value that is followed: as many as a shape, a list of indices or a small mask has."""

_ONNX = ("", "ai.onnx")

_REFUSED = (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError, ValueError)
"""What onnx raises for a node that does not fit its operator."""

MOST_CALLED = 1 << 13
"""Nodes that calls of functions may come to; in a model of more, whose functions double each other, none is followed."""

MOST_CALLS = 5000
"""Calls of functions that are followed: functions that call others twice each are more than any model has nodes."""

DEEPEST = 64
"""Calls and bodies within each other that are followed."""


@dataclass
class Known:
    """What is known of one value.

    Attributes:
        elem: Its element type, 0 where it is not known or no tensor.
        dims: Its dims, None where the rank is not known.
        data: What it holds at each point, where it is small and made of constants and shapes.
        types: Its type at each point where it is no tensor.
        constant: Whether it is made of constants alone.
    """

    elem: int = 0
    dims: tuple[Dim, ...] | None = None
    data: tuple[Array, ...] | None = None
    types: tuple[onnx.TypeProto, ...] = ()
    constant: bool = False

    @property
    def varies(self) -> bool:
        """Whether a dim of it has more than one size."""
        return self.dims is not None and any(dim.varies for dim in self.dims)

    @property
    def complete(self) -> bool:
        """Whether every dim is known."""
        return self.dims is not None and all(dim.sizes for dim in self.dims)

    def type_at(self, point: int) -> bytes:
        """Its type at a point, serialised; nothing where nothing is known."""
        if self.types:
            return self.types[point].SerializeToString()
        if not self.elem:
            return b""
        if self.dims is None:
            return _typed(self.elem, None)
        return _typed(self.elem, tuple([dim.sizes[point] if dim.sizes else None for dim in self.dims]))

    def shape_at(self, point: int) -> tuple[int, ...] | None:
        """Its shape at a point, None where a dim is not known."""
        if self.dims is None or not self.complete:
            return None
        return tuple(dim.sizes[point] for dim in self.dims)


NOTHING = Known()


@functools.lru_cache(maxsize=4096)
def _typed(elem: int, shape: tuple[int | None, ...] | None) -> bytes:
    return tensor_type(elem, shape).SerializeToString()


class OneType(NamedTuple):
    """What onnx infers for an output at one point: element type, sizes (-1 for one that is not known), or another type."""

    elem: int
    dims: tuple[int, ...] | None
    other: onnx.TypeProto | None


Made: TypeAlias = "OneType | None"


def _made(proto: onnx.TypeProto) -> Made:
    if proto.WhichOneof("value") != "tensor_type":
        return OneType(0, None, proto)
    tensor = proto.tensor_type
    if not tensor.HasField("shape"):
        return OneType(tensor.elem_type, None, None)
    sizes = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim)
    return OneType(tensor.elem_type, sizes, None)


@dataclass(frozen=True)
class Misfit:
    """A node whose inputs fit together at the first point and not at another.

    Attributes:
        node: The node.
        point: The first point at which they do not.
        why: What onnx says.
    """

    node: onnx.NodeProto
    point: int
    why: str


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
        self.misfits: list[Misfit] = []
        self.lost: list[onnx.NodeProto] = []
        self._read = read
        self._imports = _versions(model.opset_import)
        if "ai.onnx" in self._imports:
            self._imports.setdefault("", self._imports["ai.onnx"])
        followed = () if expands_beyond(model, MOST_CALLED) else model.functions
        self._functions = {walk.function_key(function): function for function in followed}
        self._ir = model.ir_version
        self._depth = self._calls = 0
        self._types = {info.name: info.type for graph in walk.graphs(model.graph) for info in graph.value_info}
        self._memory: dict[tuple[object, ...], Sequence[Made]] = {}
        self._schemas: dict[tuple[str, str], Any] = {}

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
            made = self._by_schema(node, inputs)
        self._add_values(node, inputs, made)
        for name, known in zip(node.output, made, strict=False):
            if name:
                self.known[name] = known
                self.remember(name)

    # Operators that hold other nodes, or that have no schema.

    def _special(self, node: onnx.NodeProto, inputs: list[Known | None]) -> list[Known] | None:
        if node.domain not in _ONNX:
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
            return [_either(a, b) for a, b in zip(made[0], made[-1], strict=False)]
        body = held[0]
        given = [known or NOTHING for known in inputs]
        if node.op_type == "Loop":
            return self._loop(body, given)
        return self._scan(node, body, given)

    def _loop(self, body: onnx.GraphProto, given: list[Known]) -> list[Known]:
        carried = [_without_data(known) for known in given[2:]]
        scalar = Known(onnx.TensorProto.INT64, ()), Known(onnx.TensorProto.BOOL, ())
        for _ in range(2):
            names = [value.name for value in body.input]
            self.enter(body, dict(zip(names, (*scalar, *carried), strict=False)), self._walk)
            again = [self.get(value.name) for value in body.output[1 : 1 + len(carried)]]
            wider = [_either(before, after) for before, after in zip(carried, again, strict=False)]
            if all(a.dims == b.dims for a, b in zip(wider, carried, strict=True)):
                break
            carried = wider
        trips = given[0].data if given else None
        count = whole(tuple(int(array.reshape(-1)[0]) for array in trips)) if trips is not None else UNKNOWN
        stops = body.output[0].name != body.input[1].name and not self._always(body)
        stacked = [
            _stacked(self.get(value.name), UNKNOWN if stops else count, 0) for value in body.output[1 + len(carried) :]
        ]
        return [*map(_without_data, carried), *stacked]

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
        self.enter(body, dict(zip(names, (*map(_without_data, states), *rows), strict=False)), self._walk)
        made = [self.get(value.name) for value in body.output]
        out_axes = attribute_value(node, "scan_output_axes") or [0] * (len(made) - len(states))
        last = [_stacked(k, count, axis) for k, axis in zip(made[len(states) :], out_axes, strict=False)]
        return [*map(_without_data, made[: len(states)]), *last]

    # Operators with a schema.

    def _by_schema(self, node: onnx.NodeProto, inputs: list[Known | None]) -> list[Known]:
        nothing = [NOTHING for _ in node.output]
        schema = self._schema(node)
        if schema is None:
            self._note_lost(node, inputs)
            return nothing
        if any(known is not None and not known.elem and not known.types for known in inputs):
            return nothing  # behind something that is not known
        moving = any(known is not None and (known.varies or _moves(known)) for known in inputs)
        results: list[Sequence[Made]] = []
        for point in range(self.points if moving else 1):
            try:
                results.append(self._inferred(schema, node, inputs, point))
            except _REFUSED as error:
                if not point:
                    return self._declared(node, inputs)
                self.misfits.append(Misfit(node, point, str(error)))
                return [self._supposed(made, inputs) for made in results[0]]
        if not moving:
            results *= self.points
        made = [self._merged(column, inputs) for column in zip(*results, strict=True)]
        if node.op_type in ("Reshape", "Flatten") and moving and inputs[0] is not None:
            self._align(inputs, made[0])
        if made and made[0].dims is None and not made[0].types:
            made[0].dims = shape_where_onnx_is_blind(node, inputs)
            made[0].elem = made[0].elem or next((known.elem for known in inputs if known is not None), 0)
            if made[0].dims is None:
                self._note_lost(node, inputs)
        constant = all(known is None or known.constant for known in inputs)
        for known in made:
            known.constant = constant
        return made

    def _supposed(self, made: Made, inputs: Sequence[Known | None]) -> Known:
        """What a node that fits at the first point only would make if it did at all: so that those behind it are seen."""
        if made is None or made.other is not None or made.dims is None:
            return Known(made.elem if made is not None else 0)
        dims = [fixed(size, self.points) for size in made.dims]
        for known in inputs:
            own = known.dims if known is not None and known.dims is not None else ()
            for axis, dim in enumerate(own, len(dims) - len(own)):
                if axis >= 0 and dim.varies and dim.base == dims[axis].base:
                    dims[axis] = dim
        return Known(made.elem, tuple(UNKNOWN if dim.base < 0 else dim for dim in dims))

    def _align(self, inputs: Sequence[Known | None], made: Known) -> None:
        """Give the dims that a Reshape makes the factors that they were merged from."""
        source = inputs[0]
        if source is None or source.dims is None or made.dims is None or not (source.complete and made.complete):
            return
        target = inputs[1].data if len(inputs) > 1 and inputs[1] is not None else None
        written = [int(size) for size in target[0].reshape(-1)] if target is not None else []
        open_axis = written.index(-1) if written.count(-1) == 1 else None
        for inner in (False, True):
            found = align(source.dims, [dim.base for dim in made.dims], open_axis, self.points, inner=inner)
            if found is not None and [dim.sizes for dim in found.dims] == [dim.sizes for dim in made.dims]:
                made.dims = found.dims
                return

    def _schema(self, node: onnx.NodeProto) -> Any:
        domain = "" if node.domain in _ONNX else node.domain
        key = (node.op_type, domain)
        if key not in self._schemas:
            self._schemas[key] = schema_in(domain, node.op_type, self._imports.get(domain, 1))
        return self._schemas[key]

    def _inferred(
        self, schema: Any, node: onnx.NodeProto, inputs: Sequence[Known | None], point: int
    ) -> Sequence[Made]:
        """What onnx infers for one node at one point; layers that repeat are inferred once."""
        types: dict[str, bytes] = {}
        values: dict[str, bytes] = {}
        for name, known in zip(node.input, inputs, strict=True):
            if known is None:
                continue
            if text := known.type_at(point):
                types[name] = text
            if known.data is not None and known.data[point].size <= 1024 and known.data[point].dtype != object:
                values[name] = onnx.numpy_helper.from_array(known.data[point]).SerializeToString()
        key = (
            *(node.op_type, node.domain, len(node.output)),
            *(attribute.SerializeToString() for attribute in node.attribute),
            *((types.get(name), values.get(name)) for name in node.input),
        )
        if key not in self._memory:
            made = schema._infer_node_outputs(node.SerializeToString(), types, values, {}, self._imports, self._ir)  # noqa: SLF001 (the public function serialises again for each call)
            found = {name: _made(onnx.TypeProto.FromString(text)) for name, text in made.items()}
            self._memory[key] = [found.get(name) for name in node.output]
        return self._memory[key]

    def _declared(self, node: onnx.NodeProto, inputs: Sequence[Known | None]) -> list[Known]:
        """What the file says of a node that onnx cannot infer even as it is."""
        made = [Known(_elem(self._types.get(name))) for name in node.output]
        dims = shape_where_onnx_is_blind(node, inputs)
        if dims is None:
            self.lost.append(node)
        else:
            made[0].dims = dims
            made[0].elem = made[0].elem or next((known.elem for known in inputs if known is not None), 0)
        return made

    def _note_lost(self, node: onnx.NodeProto, inputs: Sequence[Known | None]) -> None:
        if any(known is not None and known.varies for known in inputs):
            self.lost.append(node)

    def _merged(self, column: Sequence[Made], inputs: Sequence[Known | None]) -> Known:
        """One output, from what it is at each point."""
        first = column[0]
        if first is None or any(made is None for made in column):
            return Known()
        found = [made for made in column if made is not None]
        if first.other is not None:
            return Known(types=tuple(made.other for made in found if made.other is not None))
        shapes = [made.dims for made in found if made.dims is not None]
        if len(shapes) < len(found) or any(len(shape) != len(shapes[0]) for shape in shapes):
            return Known(first.elem)
        dims = [
            UNKNOWN if -1 in sizes else _like(sizes, axis, inputs)
            for axis, sizes in enumerate(zip(*shapes, strict=True))
        ]
        return Known(first.elem, tuple(dims))

    def _add_values(self, node: onnx.NodeProto, inputs: Sequence[Known | None], made: list[Known]) -> None:
        """What a node's first output holds, where all that goes in is known and it is small."""
        if not made or made[0].data is not None or node.domain not in _ONNX or not made[0].elem:
            return
        if len(node.output) > 1 and node.op_type != "Split":
            return
        if any(known is not None and known.data is None for known in inputs) or not inputs:
            return
        if not made[0].complete or any(math.prod(made[0].shape_at(p) or ()) > SMALL for p in range(self.points)):
            return
        one = all(known is None or not _moves(known) for known in inputs)
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


LIKE_FIRST = frozenset(("GroupNormalization", "MeanVarianceNormalization", "LpNormalization", "InstanceNormalization"))
"""Operators whose result has their first input's shape, of which onnx infers none for some versions."""


def shape_where_onnx_is_blind(node: onnx.NodeProto, inputs: Sequence[Known | None]) -> tuple[Dim, ...] | None:
    """The dims of the first output of an operator that onnx's own inference says nothing of.

    GroupNormalization and MeanVarianceNormalization have none in any version, GreaterOrEqual and LessOrEqual none in their
    first (onnx 1.23).
    """
    given = [known.dims if known is not None else None for known in inputs]
    first = given[0] if given else None
    if first is None or node.domain not in _ONNX:
        return None
    if node.op_type in LIKE_FIRST:
        return first
    if node.op_type in ("GreaterOrEqual", "LessOrEqual") and given[1:] and given[1] is not None:
        wide, narrow = (first, given[1]) if len(first) >= len(given[1]) else (given[1], first)
        padded = (*wide[: len(wide) - len(narrow)], *narrow)
        return tuple(b if a.sizes and set(a.sizes) == {1} else a for a, b in zip(wide, padded, strict=True))
    return None


def _moves(known: Known) -> bool:
    """Whether what a value holds is another at another point."""
    data = known.data
    return data is not None and any(a is not data[0] and not np.array_equal(a, data[0]) for a in data)


def _like(sizes: Sizes, axis: int, inputs: Sequence[Known | None]) -> Dim:
    """A dim of these sizes, made of the factors that an input's dim of the same sizes has."""
    if all(size == sizes[0] for size in sizes):
        return whole(sizes)
    candidates = [known.dims for known in inputs if known is not None and known.dims is not None]
    for dims in candidates:
        if axis < len(dims) and dims[axis].sizes == sizes and len(dims[axis].factors) > 1:
            return dims[axis]
    for dims in candidates:
        for dim in dims:
            if dim.sizes == sizes and len(dim.factors) > 1:
                return dim
    return whole(sizes)


def _elem(proto: onnx.TypeProto | None) -> int:
    return proto.tensor_type.elem_type if proto is not None and proto.WhichOneof("value") == "tensor_type" else 0


def _without_data(known: Known) -> Known:
    return Known(known.elem, known.dims, None, known.types)


def _either(a: Known, b: Known) -> Known:
    """What is known of a value that is one or the other."""
    if a.types or b.types or a.elem != b.elem:
        return Known(a.elem if a.elem == b.elem else 0, types=a.types)
    if a.dims is None or b.dims is None or len(a.dims) != len(b.dims):
        return Known(a.elem)
    dims = tuple(x if x.sizes == y.sizes else UNKNOWN for x, y in zip(a.dims, b.dims, strict=True))
    return Known(a.elem, dims)


def _stacked(known: Known, count: Dim, axis: int) -> Known:
    if known.dims is None:
        return Known(known.elem)
    place = axis % (len(known.dims) + 1)
    return Known(known.elem, (*known.dims[:place], count, *known.dims[place:]))


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
