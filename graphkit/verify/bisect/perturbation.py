"""How much of a value may be rounding: its nodes again, every number that goes in or is made on the way a little wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx.inliner

from graphkit.edit.nodes import NodeWriter, set_nodes
from graphkit.graph import walk
from graphkit.graph.names import Names
from graphkit.model import Model
from graphkit.runtime.handover import require_runnable
from graphkit.semantics.kinds import DRAWS as DRAWING
from graphkit.semantics.kinds import RECURRENT
from graphkit.shapes.inference import inferred
from graphkit.verify.compare.blocks import blocks
from graphkit.verify.compare.tolerance import SMALLEST_SCALE

if TYPE_CHECKING:
    from graphkit.tensor import Array
    from graphkit.verify.compare.tolerance import Policy

DRAWS = 3
"""How often the nodes are run: a number may be wrong by nearly nothing once."""

NEAR_ONE = frozenset(
    (
        "Asinh", "Atanh", "Celu", "Elu", "Gelu", "LogSoftmax", "Mish", "Selu", "Sigmoid", "Sinh", "Softplus", "Swish",
    )
)  # fmt: skip
"""Operators whose small results are made of numbers near 1, or near their input: exp(x) - 1, x (1 + erf(x)), ONNX Runtime's
Sigmoid. Such a result is wrong by as much as a large one, and a slightly wrong input does not show it."""

OPAQUE = DRAWING | {"NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"}
"""Operators that make something else in every run, or that are not understood here."""

_FLOATS: dict[int, str] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.DOUBLE: "float64",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.BFLOAT16: "bfloat16",
}


def near_one(model: Model) -> bool:
    """Whether a model's small results may be as exact as large ones only: it has nodes of NEAR_ONE, or recurrent ones, which have such functions inside."""
    return any(node.op_type in NEAR_ONE or node.op_type in RECURRENT for node in walk.model_nodes(model.proto))


def shaken(model: Model, policy: Policy, *, absolutely: bool) -> tuple[Model, dict[str, str]] | None:
    """A model in which every float that is fed or made is multiplied by a random number near 1, anew in every run.

    It is off by the relative tolerance of its dtype at most, which two numbers that count as the same may be.

    Args:
        model: The model.
        policy: The tolerances.
        absolutely: What comes out of NEAR_ONE and RECURRENT is off by what the absolute tolerance is for the smallest numbers,
            too.

    Returns:
        (the model, old name of an input -> new name); None where a node is not understood.

    Scope: main graph and bodies; functions are inlined. Weights stay as they are.
    """
    proto = model.copy_proto()
    if proto.functions:
        require_runnable(proto)
        proto = onnx.inliner.inline_local_functions(proto)
    nodes = list(walk.nodes(proto.graph))
    if any(node.domain not in ("", "ai.onnx") or node.op_type in OPAQUE for node in nodes):
        return None
    kinds = _float_kinds(inferred(proto).graph)
    names = Names(proto.graph)
    shaker = _Shaker(names, policy, absolutely=absolutely)
    renamed: dict[str, str] = {}
    for graph in walk.graphs(proto.graph):
        shaker.nodes = made = []
        for info in graph.input if graph is proto.graph else ():
            if info.name in kinds:
                plain = renamed[info.name] = names.fresh(f"{info.name}_plain")
                shaker.relatively(plain, info.name, kinds[info.name])
                info.name = plain
        for node in graph.node:
            made.append(node)
            for at, name in enumerate(node.output):
                if name in kinds and node.op_type != "Constant":
                    node.output[at] = names.fresh(f"{name}_plain")
                    shaker.output(node, at, name, kinds[name])
        set_nodes(graph, made)
    return Model(proto, model.sources, path=model.path), renamed


def _float_kinds(graph: onnx.GraphProto) -> dict[str, int]:
    """Value -> data type, of values that are floats in the main graph and in bodies."""
    infos = (info for scope in walk.graphs(graph) for info in (*scope.input, *scope.value_info, *scope.output))
    kinds = {info.name: info.type.tensor_type.elem_type for info in infos}
    return {name: kind for name, kind in kinds.items() if kind in _FLOATS}


class _Shaker:
    """Writes the nodes that make values a little wrong.

    Attributes:
        nodes: Where to.
    """

    def __init__(self, names: Names, policy: Policy, *, absolutely: bool) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._absolutely = absolutely
        self._names = names
        self._policy = policy
        self._writer = NodeWriter(names)

    def output(self, node: onnx.NodeProto, at: int, shaky: str, kind: int) -> None:
        """Make an output of a node wrong."""
        plain = node.output[at]
        if self._absolutely and node.op_type in NEAR_ONE:
            wrong = self._add("Mul", [self._wrong(plain, kind), self._near_one(node.input[0], kind)])
            plain = self._add("Add", [plain, wrong])
        elif self._absolutely and node.op_type in RECURRENT:
            plain = self._add("Add", [plain, self._wrong(plain, kind)])
        self.relatively(plain, shaky, kind)

    def relatively(self, plain: str, shaky: str, kind: int) -> None:
        """Make a value wrong by the relative tolerance."""
        off = self._policy.tolerance(_FLOATS[kind]).rtol
        self.nodes.append(onnx.helper.make_node("Mul", [plain, self._random(plain, kind, 1, off)], [shaky]))

    def _wrong(self, like: str, kind: int) -> str:
        return self._random(like, kind, 0, self._policy.tolerance(_FLOATS[kind]).atol * SMALLEST_SCALE)

    def _near_one(self, name: str, kind: int) -> str:
        """1 + |x|."""
        one = onnx.helper.make_tensor("", kind, [], [1.0])
        return self._add("Add", [self._add("Abs", [name]), self._add("Constant", [], value=one)])

    def _random(self, like: str, kind: int, middle: float, off: float) -> str:
        # The generator makes the same numbers for the same seed.
        options = {"low": middle - off, "high": middle + off, "seed": float(len(self.nodes))}
        noise = self._add("RandomUniformLike", [like], dtype=onnx.TensorProto.FLOAT, **options)
        return noise if kind == onnx.TensorProto.FLOAT else self._add("Cast", [noise], to=kind)

    def _add(self, op: str, inputs: list[str], **attributes: Any) -> str:
        return self._writer.add(self.nodes, op, inputs, "noise", **attributes)


def largest_difference(value: Array, draw: Callable[[], Any]) -> Array | None:
    """How far several draws of a value are from it, element by element; None where one has another shape or dtype."""
    largest = np.zeros_like(value)
    for _ in range(DRAWS):
        other = np.asarray(draw())
        if other.shape != value.shape or other.dtype != value.dtype:
            return None
        for box in blocks(value.shape):
            with np.errstate(invalid="ignore", over="ignore"):
                difference = abs(other[box] - value[box])
                known = np.isfinite(difference)
                np.maximum(largest[box], difference, out=largest[box], where=known)
    return largest
