"""Types behind elementwise operators, by ONNX's rules for them (docs/Broadcasting.md, Operators.md): no inference run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import onnx

from graphkit.graph.index import GraphIndex
from graphkit.graph.values import dims, tensor_type
from graphkit.semantics.kinds import SOFTMAXES

OPSET = 8
"""From this version of ai.onnx on, all of the operators below broadcast as numpy does; before, each had its own way."""

ONE_BY_ONE = (
    *SOFTMAXES,
    *"""Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Ceil Celu Clip Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish
    Identity LeakyRelu Log Mish Neg Not PRelu Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt
    Swish Tan Tanh ThresholdedRelu""".split(),
)
"""Operators whose result has the type and shape of their first input, element for element."""

KEEPS_AXES = frozenset((*ONE_BY_ONE, "Cast", "Dropout"))
"""Operators whose first output has its elements where their first input has them."""

_BROADCAST = "Add BitShift BitwiseAnd BitwiseOr BitwiseXor Div Max Mean Min Mod Mul Pow Sub Sum".split()

BOOLEAN = "And Equal Greater GreaterOrEqual Less LessOrEqual Or Xor".split()
"""Comparisons and logical operators of two inputs."""

_RULES: dict[str, tuple[bool, bool]] = {
    **dict.fromkeys(ONE_BY_ONE, (True, False)),
    **dict.fromkeys(("IsInf", "IsNaN"), (True, True)),
    **dict.fromkeys(_BROADCAST, (False, False)),
    **dict.fromkeys(BOOLEAN, (False, True)),
}
"""Operator -> (whether its first input alone decides the type, whether the result is boolean)."""

BROADCASTING = frozenset((*_RULES, "Cast", "Where", "Clip"))
"""Operators that go element by element; their inputs broadcast to the shape of the result."""


def types_behind(
    index: GraphIndex,
    names: Iterable[str],
    start: Callable[[str], onnx.TypeProto | None],
    declared: Collection[str],
) -> dict[str, onnx.TypeProto]:
    """The types of values that only elementwise operators lie before, from those with which they start.

    Args:
        index: The graph. It imports version 8 of ai.onnx or a later one.
        names: The values asked for.
        start: The type, with its shape, of a value to start from; None for a value to be found out.
        declared: The values that nodes make and for which ``start`` is to be asked; it is for all others.

    Returns:
        name -> type, for the values asked for and those between. The rest is left out: other operators, unsorted nodes,
        values that are no tensors or have no shape, shapes that contradict each other.

    Cost: O(nodes between).
    """
    found: dict[str, onnx.TypeProto] = {}
    steps: dict[int, tuple[str, list[str], bool]] = {}
    producer_of, nodes, inputs, rule_of = index.producer.get, index.nodes, index.columns.inputs, _RULES.get
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        position = producer_of(name)
        if position is not None and position in steps:
            continue
        if position is None or name in declared:
            known = start(name)
            if known is not None:
                found[name] = known
                continue
            if position is None:
                continue
        node = nodes[position]
        rule = rule_of(node.op_type)
        if rule is not None and node.domain in ("", "ai.onnx"):
            reads = inputs[position][:1] if rule[0] else inputs[position]
            steps[position] = (name, reads, rule[1])
            waiting += reads
    spread = _Spread()
    for position in sorted(steps):
        name, reads, boolean = steps[position]
        operands = [found[read] for read in reads if read in found]
        if operands and len(operands) == len(reads):
            result = spread(operands, boolean=boolean) if boolean or len(operands) > 1 else operands[0]
            if result is not None:
                found[name] = result
    return found


class _Spread:
    """Multidirectional broadcasting of types; a result is remembered, and is the first operand itself where it can be."""

    def __init__(self) -> None:
        self._results: dict[tuple[int, ...], onnx.TypeProto | None] = {}

    def __call__(self, operands: Sequence[onnx.TypeProto], *, boolean: bool) -> onnx.TypeProto | None:
        key = (boolean, *map(id, operands))
        if key not in self._results:
            self._results[key] = _broadcast(operands, boolean=boolean)
        return self._results[key]


def _broadcast(operands: Sequence[onnx.TypeProto], *, boolean: bool) -> onnx.TypeProto | None:
    shapes = [shape for operand in operands if (shape := dims(operand)) is not None]
    if len(shapes) < len(operands):
        return None
    element = onnx.TensorProto.BOOL if boolean else operands[0].tensor_type.elem_type
    rank = max(map(len, shapes))
    aligned = [[*[1] * (rank - len(shape)), *shape] for shape in shapes]
    result: list[int | str | None] = []
    for column in zip(*aligned, strict=True):
        sizes = {dim for dim in column if isinstance(dim, int) and dim != 1}
        symbols = {dim for dim in column if not isinstance(dim, int)}
        if len(sizes) > 1:
            return None
        result += [*sizes] or ([*symbols] if len(symbols) == 1 else [None if symbols else 1])
    same = result == shapes[0] and element == operands[0].tensor_type.elem_type
    return operands[0] if same else tensor_type(element, result)
