"""Shapes at several points of nodes whose operator has a schema: onnx's own inference, run for one node at each point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import onnx

from graphkit.semantics.schemas import schema_in
from graphkit.shapes.known import NOTHING, Known, moves
from graphkit.shapes.points import UNKNOWN, Dim, Sizes, align, fixed, whole

ONNX = ("", "ai.onnx")

_REFUSED = (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError, ValueError)
"""What onnx raises for a node that does not fit its operator."""


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


class SchemaInference:
    """Infers single nodes by their operator's schema, at every point.

    Attributes:
        misfits: Nodes that fit at the first point only.
        lost: Nodes behind which shapes are not known although their inputs' were.
    """

    def __init__(self, points: int, ir: int, declared: Mapping[str, onnx.TypeProto]) -> None:
        self.misfits: list[Misfit] = []
        self.lost: list[onnx.NodeProto] = []
        self._points = points
        self._ir = ir
        self._types = declared
        self._memory: dict[tuple[object, ...], Sequence[Made]] = {}
        self._schemas: dict[tuple[str, str, int], Any] = {}

    def infer(self, node: onnx.NodeProto, inputs: list[Known | None], imports: Mapping[str, int]) -> list[Known]:
        """What a node makes, by the schema that its operator has in these versions of its domains."""
        nothing = [NOTHING for _ in node.output]
        schema = self._schema(node, imports)
        if schema is None:
            self._note_lost(node, inputs)
            return nothing
        if any(known is not None and not known.elem and not known.types for known in inputs):
            return nothing  # behind something that is not known
        moving = any(known is not None and (known.varies or moves(known)) for known in inputs)
        results: list[Sequence[Made]] = []
        for point in range(self._points if moving else 1):
            try:
                results.append(self._inferred((schema, imports), node, inputs, point))
            except _REFUSED as error:
                if not point:
                    return self._declared(node, inputs)
                self.misfits.append(Misfit(node, point, str(error)))
                return [self._supposed(made, inputs) for made in results[0]]
        if not moving:
            results *= self._points
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
        dims = [fixed(size, self._points) for size in made.dims]
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
        for place, inner in ((open_axis, False), (open_axis, True), (None, False), (None, True)):
            found = align(source.dims, [dim.base for dim in made.dims], place, self._points, inner=inner)
            if found is not None and [dim.sizes for dim in found.dims] == [dim.sizes for dim in made.dims]:
                made.dims = found.dims
                return

    def _schema(self, node: onnx.NodeProto, imports: Mapping[str, int]) -> Any:
        domain = "" if node.domain in ONNX else node.domain
        key = (node.op_type, domain, imports.get(domain, 1))
        if key not in self._schemas:
            self._schemas[key] = schema_in(domain, node.op_type, imports.get(domain, 1))
        return self._schemas[key]

    def _inferred(
        self, operator: tuple[Any, Mapping[str, int]], node: onnx.NodeProto, inputs: Sequence[Known | None], point: int
    ) -> Sequence[Made]:
        """What onnx infers for one node at one point; layers that repeat are inferred once."""
        schema, imports = operator
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
            *(node.op_type, node.domain, schema.since_version, len(node.output)),
            *(attribute.SerializeToString() for attribute in node.attribute),
            *((types.get(name), values.get(name)) for name in node.input),
        )
        if key not in self._memory:
            made = schema._infer_node_outputs(node.SerializeToString(), types, values, {}, imports, self._ir)  # noqa: SLF001 (the public function serialises again for each call)
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


LIKE_FIRST = frozenset(("GroupNormalization", "MeanVarianceNormalization", "LpNormalization", "InstanceNormalization"))
"""Operators whose result has their first input's shape, of which onnx infers none for some versions."""


def shape_where_onnx_is_blind(node: onnx.NodeProto, inputs: Sequence[Known | None]) -> tuple[Dim, ...] | None:
    """The dims of the first output of an operator that onnx's own inference says nothing of.

    GroupNormalization and MeanVarianceNormalization have none in any version, GreaterOrEqual and LessOrEqual none in their
    first (onnx 1.23).
    """
    given = [known.dims if known is not None else None for known in inputs]
    first = given[0] if given else None
    if first is None or node.domain not in ONNX:
        return None
    if node.op_type in LIKE_FIRST:
        return first
    if node.op_type in ("GreaterOrEqual", "LessOrEqual") and given[1:] and given[1] is not None:
        wide, narrow = (first, given[1]) if len(first) >= len(given[1]) else (given[1], first)
        padded = (*wide[: len(wide) - len(narrow)], *narrow)
        return tuple(b if a.sizes and set(a.sizes) == {1} else a for a, b in zip(wide, padded, strict=True))
    return None


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
