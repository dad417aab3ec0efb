"""What rounding does inside of a model: the narrowest floats that values go through, and integers that it decides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from graphkit.graph import walk
from graphkit.graph.index import GraphIndex
from graphkit.graph.upstream import upstream
from graphkit.model import Model
from graphkit.semantics.elementwise import BOOLEAN
from graphkit.semantics.kinds import RANKING, REGROUPS, SHAPE_ONLY
from graphkit.tensor import numpy_type

SHARE = 0.25
"""The share of the elements of all runs that may be others where rounding decides them."""

FEW = 2
"""Elements that may be others in any case."""


@dataclass(frozen=True)
class Others:
    """How many elements of an output are others, over several runs."""

    others: int = 0
    elements: int = 0

    def plus(self, actual: Any, expected: Any) -> Others:
        """With one run more."""
        differ = int(np.count_nonzero(np.asarray(actual) != np.asarray(expected)))
        return Others(self.others + differ, self.elements + int(np.size(expected)))

    @property
    def too_many(self) -> bool:
        """Whether that is more than rounding does."""
        return self.others > max(FEW, SHARE * self.elements)


NARROW: dict[int, str] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.BFLOAT16: "bfloat16",
}
"""Types in which values may be computed whose rounding other operators do otherwise, the coarser ones last."""


def narrowest(models: Iterable[Model]) -> str | None:
    """The coarsest float dtype that values of models have on their way; None where there is none but double."""
    kinds: set[int] = set()
    for proto in (model.proto for model in models):
        kinds.update(tensor.data_type for tensor in walk.tensors(proto))
        kinds.update(value.type.tensor_type.elem_type for value in (*proto.graph.input, *proto.graph.output))
        casts = (node for node in walk.model_nodes(proto) if node.op_type == "Cast")
        kinds.update(attribute.i for node in casts for attribute in node.attribute if attribute.name == "to")
    return NARROW[max(kinds.intersection(NARROW))] if kinds.intersection(NARROW) else None


def hangs_on_floats(model: Model, value: str) -> bool:
    """Whether a value of the main graph is computed from floats, so that rounding may decide what it is."""
    index = GraphIndex(model.proto.graph)
    if not index.has(value):
        return True
    behind = upstream(index, [value])
    kinds = [tensor.data_type for name in behind.values if (tensor := index.initializers.get(name)) is not None]
    kinds += [index.inputs[name].type.tensor_type.elem_type for name in behind.values if name in index.inputs]
    if any(_is_float(kind) for kind in kinds):
        return True
    return any(_makes_floats(index.nodes[position], model.proto) for position in behind.nodes)


SIGMOID_STEPS = 2.0**-22
"""What ONNX Runtime's float32 Sigmoid may be off by where it is nearly 0: it adds one half to a fraction, so its results are
multiples of 2**-24, and numbers of 1e-6 have one digit."""


def is_sigmoid(model: Model, value: str) -> bool:
    """Whether a value of the main graph is what a Sigmoid gives."""
    position = GraphIndex(model.proto.graph).producer.get(value)
    return position is not None and model.proto.graph.node[position].op_type == "Sigmoid"


def _is_float(data_type: int) -> bool:
    dtype = numpy_type(data_type)
    return dtype is None or dtype.kind not in "biuOUS"


def _makes_floats(node: onnx.NodeProto, proto: onnx.ModelProto) -> bool:
    """Whether a node may begin with floats of its own: a constant, a cast, a random draw, a body, a function."""
    if walk.called_functions([node], proto.functions) or node.domain not in ("", "ai.onnx"):
        return True
    tensors = [tensor for attribute in node.attribute for tensor in walk.attribute_tensors(attribute)]
    if node.op_type == "Constant":
        return any(_is_float(t.data_type) for t in tensors) or any(a.type in FLOATS for a in node.attribute)
    if node.op_type == "Cast":
        return any(_is_float(attribute.i) for attribute in node.attribute if attribute.name == "to")
    return node.op_type not in PLAIN or any(_is_float(tensor.data_type) for tensor in tensors)


FLOATS = (onnx.AttributeProto.FLOAT, onnx.AttributeProto.FLOATS)

PLAIN = frozenset(
    (
        *(*SHAPE_ONLY, *REGROUPS, *RANKING, *BOOLEAN),
        *"""Abs Add BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Compress Concat ConstantOfShape CumSum Div Einsum
        Expand Gather GatherElements GatherND Identity MatMul Max Min Mod Mul Neg NonZero Not OneHot Pad Pow Range ReduceMax
        ReduceMin ReduceProd ReduceSum ScatterElements ScatterND Sign Slice Split Sub Sum Tile Transpose Trilu Unique
        Where""".split(),
    )
)
"""Operators that make integers of integers."""
