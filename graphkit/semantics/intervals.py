"""Interval arithmetic: between which numbers an operator's output lies, from where its inputs lie (onnx/docs/Operators.md).

Only as sharp as questions about the domains of Log, Sqrt, Div and their like need; a rule that does not know says ``ANY``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import onnx

from graphkit.graph.values import attribute_value
from graphkit.semantics.elementwise import BOOLEAN
from graphkit.semantics.kinds import SELECTS, SHAPE_ONLY

Interval: TypeAlias = tuple[float, float]
"""(lowest, highest) of all elements of a value, both included."""

ANY: Interval = (-math.inf, math.inf)

TINY = 1e-30
"""The least that an exponential comes to: above 0, as long as it does not underflow."""

SATURATION = 1e-6
"""How far a sigmoid or tanh stays away from its limits, as long as it is not saturated."""

Known: TypeAlias = Sequence[Interval]
"""The intervals of a node's inputs."""


def output_interval(node: onnx.NodeProto, given: Sequence[Interval | None]) -> Interval:
    """The interval of the first output of a node of ai.onnx that holds no body.

    Args:
        node: The node.
        given: The intervals of its inputs; None for one that is left out.

    Cost: O(inputs); no weight is read.
    """
    try:
        if (rule := _RULES.get(node.op_type)) is not None:
            low, high = rule([interval or ANY for interval in given])
        elif (special := _SPECIAL.get(node.op_type)) is not None:
            low, high = special(node, given)
        else:
            return ANY
    except IndexError:  # a node without an input that its operator needs: nothing follows from it
        return ANY
    return (-math.inf if math.isnan(low) else low, math.inf if math.isnan(high) else high)


def has_rule(op_type: str) -> bool:
    """Whether anything is known of an operator's output."""
    return op_type in _RULES or op_type in _SPECIAL


def hull(intervals: Iterable[Interval | None]) -> Interval:
    """The narrowest interval around some; of none: ``ANY``."""
    known = [interval for interval in intervals if interval is not None]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else ANY


def multiplied(a: Interval, b: Interval) -> Interval:
    """The products of a number in one interval and one in another."""
    corners = [0.0 if x == 0 or y == 0 else x * y for x in a for y in b]
    return min(corners), max(corners)


def _inverse(a: Interval) -> Interval:
    return ANY if a[0] <= 0 <= a[1] else (1 / a[1], 1 / a[0])


def _total(term: Interval) -> Interval:
    """The sum of any number of terms, at least one."""
    low, high = term
    return low if low >= 0 else -math.inf, high if high <= 0 else math.inf


def _magnitude(a: Interval) -> Interval:
    low, high = a
    return (0.0 if low <= 0 <= high else min(abs(low), abs(high))), max(abs(low), abs(high))


def _raised(base: float, exponent: float) -> float:
    """A power of a number that is not negative; infinite where it is too large."""
    if base == 0:
        return math.inf if exponent < 0 else float(exponent == 0)
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return math.inf


def _power(known: Known) -> Interval:
    base, exponent = known[0], known[1]
    if base[0] >= 0:
        corners = [_raised(x, e) for x in base for e in exponent]
    elif exponent[0] != exponent[1] or not float(exponent[0]).is_integer():
        return ANY
    elif exponent[0] % 2 == 0:
        corners = [_raised(x, exponent[0]) for x in _magnitude(base)]
    elif exponent[0] < 0 <= base[1]:
        return ANY
    else:
        corners = [math.copysign(_raised(abs(x), exponent[0]), x) for x in base]
    return min(corners), max(corners)


def _product(known: Known) -> Interval:
    low, _ = known[0]
    return (low if low >= 1 else TINY if low > 0 else 0.0, math.inf) if low >= 0 else ANY


def _sums_of_products(known: Known) -> Interval:
    """MatMul, and Conv with its bias."""
    low, high = _total(multiplied(known[0], known[1]))
    return (low + known[2][0], high + known[2][1]) if len(known) > 2 else (low, high)


def _einsum(known: Known) -> Interval:
    product: Interval = (1.0, 1.0)
    for interval in known:
        product = multiplied(product, interval)
    return _total(product)


def _added(known: Known) -> Interval:
    return sum(low for low, _ in known), sum(high for _, high in known)


def _range(known: Known) -> Interval:
    start, limit, delta = known[:3] if len(known) > 2 else (ANY, ANY, ANY)
    return (start[0], max(limit[1], start[0])) if delta[0] >= 0 else ANY


def _fixed(low: float, high: float) -> Callable[[Known], Interval]:
    return lambda _: (low, high)


def _activation(lowest: float) -> Callable[[Known], Interval]:
    """Activations that keep what is positive, or nearly, and have a least value."""

    def rule(known: Known) -> Interval:
        low, high = known[0]
        return (low / 2 if low >= 0 else max(low * max(1.0, -lowest), lowest)), max(high * 1.06, 0.0)

    return rule


def _exp(x: float) -> float:
    return max(math.exp(x), TINY) if x < 700 else math.inf


def _sigmoid(x: float) -> float:
    return min(max(1 / (1 + _exp(-x)), SATURATION), 1 - SATURATION)


def _below_one(x: float) -> float:
    return min(max(x, SATURATION - 1), 1 - SATURATION)


def _sign(x: float) -> float:
    return float((x > 0) - (x < 0))


def _whole(rounding: Callable[[float], float]) -> Callable[[float], float]:
    return lambda x: float(rounding(x)) if math.isfinite(x) else x


_GROWING: dict[str, Callable[[float], float]] = {
    "Acosh": lambda x: math.acosh(max(x, 1.0)),
    "Asin": lambda x: math.asin(min(max(x, -1.0), 1.0)),
    "Asinh": math.asinh,
    "Atan": math.atan,
    "Atanh": lambda x: math.atanh(_below_one(x)),
    "Ceil": _whole(math.ceil),
    "Erf": lambda x: _below_one(math.erf(x)),
    "Exp": _exp,
    "Floor": _whole(math.floor),
    "Log": lambda x: math.log(x) if x > 0 else -math.inf,
    "Relu": lambda x: max(x, 0.0),
    "Round": _whole(round),
    "Sigmoid": _sigmoid,
    "Sign": _sign,
    "Softplus": lambda x: math.log1p(_exp(x)) if -30 < x < 30 else _exp(x) if x < 0 else x,
    "Softsign": lambda x: x / (1 + abs(x)) if math.isfinite(x) else _sign(x),
    "Sqrt": lambda x: math.sqrt(max(x, 0.0)),
    "Tanh": lambda x: _below_one(math.tanh(x)),
}
"""Operators on one number that grow with it."""


def _growing(function: Callable[[float], float]) -> Callable[[Known], Interval]:
    return lambda known: (function(known[0][0]), function(known[0][1]))


_SAME = (*SELECTS, "CastLike", "GlobalAveragePool", "ReduceMean", "Upsample")

_TRUTH = (*BOOLEAN, *"Not IsNaN IsInf Bernoulli HardSigmoid Hardmax HannWindow HammingWindow BlackmanWindow".split())

_RULES: dict[str, Callable[[Known], Interval]] = {
    **{name: _growing(function) for name, function in _GROWING.items()},
    **dict.fromkeys(_SAME, lambda known: known[0]),
    **dict.fromkeys(_TRUTH, _fixed(0.0, 1.0)),
    **dict.fromkeys(("Concat", "Mean", "SequenceConstruct", "SequenceInsert"), hull),
    **dict.fromkeys(
        ("AveragePool", "Dropout", "Trilu", "RoiAlign", "GridSample"), lambda known: hull([known[0], (0.0, 0.0)])
    ),
    **dict.fromkeys(("ScatterElements", "ScatterND", "Scatter"), lambda known: hull([known[0], known[2]])),
    **dict.fromkeys(("ReduceSum", "CumSum", "LpPool"), lambda known: _total(known[0])),
    **dict.fromkeys(("ReduceL1", "ReduceL2"), lambda known: (_magnitude(known[0])[0], math.inf)),
    **dict.fromkeys(SHAPE_ONLY, _fixed(1.0, math.inf)),
    **dict.fromkeys(("ArgMax", "ArgMin", "NonZero"), _fixed(0.0, math.inf)),
    **dict.fromkeys(("Sin", "Cos"), _fixed(-1.0, 1.0)),
    **dict.fromkeys(("Gelu", "Swish", "Mish", "HardSwish"), _activation(-0.376)),
    **dict.fromkeys(("MatMul", "Conv", "ConvTranspose"), _sums_of_products),
    **dict.fromkeys(("Add", "Sum"), _added),
    "Abs": lambda known: _magnitude(known[0]),
    "Acos": _fixed(0.0, math.pi),
    "Cosh": _fixed(1.0, math.inf),
    "Div": lambda known: multiplied(known[0], _inverse(known[1])),
    "Einsum": _einsum,
    "LogSoftmax": _fixed(-math.inf, 0.0),
    "Max": lambda known: (max(low for low, _ in known), max(high for _, high in known)),
    "Min": lambda known: (min(low for low, _ in known), min(high for _, high in known)),
    "Neg": lambda known: (-known[0][1], -known[0][0]),
    "OneHot": lambda known: known[2],
    "PRelu": lambda known: known[0] if known[0][0] >= 0 else ANY,
    "Pow": _power,
    "Range": _range,
    "Reciprocal": lambda known: _inverse(known[0]),
    "ReduceLogSumExp": lambda known: (known[0][0], math.inf),
    "ReduceProd": _product,
    "ReduceSumSquare": lambda known: (_raised(_magnitude(known[0])[0], 2), math.inf),
    "Selu": _activation(-1.758),
    "Softmax": _fixed(TINY, 1.0),
    "Sub": lambda known: (known[0][0] - known[1][1], known[0][1] - known[1][0]),
    "Where": lambda known: hull(known[1:]),
}
"""Operator -> the interval of its first output, where the intervals of the inputs decide it."""

Given: TypeAlias = Sequence[Interval | None]


def _at(given: Given, place: int) -> Interval | None:
    return given[place] if place < len(given) else None


def _mul(node: onnx.NodeProto, given: Given) -> Interval:
    if node.input[0] == node.input[1]:
        low, high = _magnitude(given[0] or ANY)
        return low * low, high * high
    return multiplied(given[0] or ANY, given[1] or ANY)


def _gemm(node: onnx.NodeProto, given: Given) -> Interval:
    alpha, beta = attribute_value(node, "alpha", 1.0), attribute_value(node, "beta", 1.0)
    product = multiplied(_total(multiplied(given[0] or ANY, given[1] or ANY)), (alpha, alpha))
    added = multiplied(_at(given, 2) or (0.0, 0.0), (beta, beta))
    return product[0] + added[0], product[1] + added[1]


def _clip(node: onnx.NodeProto, given: Given) -> Interval:
    low, high = given[0] or ANY
    least, most = _at(given, 1), _at(given, 2)  # attributes below opset 11
    lowest = float(attribute_value(node, "min", -math.inf)) if least is None else least[0]
    highest = float(attribute_value(node, "max", math.inf)) if most is None else most[1]
    return min(max(low, lowest), highest), max(min(high, highest), lowest)


def _cast(node: onnx.NodeProto, given: Given) -> Interval:
    to = attribute_value(node, "to", onnx.TensorProto.FLOAT)
    if to == onnx.TensorProto.BOOL:
        return 0.0, 1.0
    low, high = given[0] or ANY
    return (_whole(math.trunc)(low), _whole(math.trunc)(high)) if to in _INTEGERS else (low, high)


_T = onnx.TensorProto
_INTEGERS = (_T.INT8, _T.INT16, _T.INT32, _T.INT64, _T.UINT8, _T.UINT16, _T.UINT32, _T.UINT64)


def _elu(node: onnx.NodeProto, given: Given) -> Interval:
    return _activation(-float(attribute_value(node, "alpha", 1.0)) * (1 - SATURATION))([given[0] or ANY])


def _leaky(node: onnx.NodeProto, given: Given) -> Interval:
    low, high = given[0] or ANY
    alpha = float(attribute_value(node, "alpha", 0.01))
    if low >= 0 or not 0 < alpha <= 1:
        return low, high
    return low * alpha, max(high, high * alpha)


def _mod(node: onnx.NodeProto, given: Given) -> Interval:
    low, high = given[1] or ANY
    if low <= 0:
        return ANY
    return (-high if attribute_value(node, "fmod", 0) else 0.0), high


def _pad(node: onnx.NodeProto, given: Given) -> Interval:
    if attribute_value(node, "mode", "constant") != "constant":
        return given[0] or ANY
    value = float(attribute_value(node, "value", 0.0))
    return hull([given[0], _at(given, 2) or (value, value)])


def _dequantized(_: onnx.NodeProto, given: Given) -> Interval:
    low, high = given[0] or ANY
    zero = _at(given, 2) or (0.0, 0.0)
    return multiplied((low - zero[1], high - zero[0]), given[1] or ANY)


def _resized(node: onnx.NodeProto, given: Given) -> Interval:
    return ANY if attribute_value(node, "mode", "nearest") == "cubic" else given[0] or ANY


def _uniform(node: onnx.NodeProto, _: Given) -> Interval:
    return float(attribute_value(node, "low", 0.0)), float(attribute_value(node, "high", 1.0))


def _normal(node: onnx.NodeProto, _: Given) -> Interval:
    mean, scale = float(attribute_value(node, "mean", 0.0)), float(attribute_value(node, "scale", 1.0))
    return mean - 6 * scale, mean + 6 * scale


_SPECIAL: dict[str, Callable[[onnx.NodeProto, Given], Interval]] = {
    **dict.fromkeys(("Elu", "Celu"), _elu),
    **dict.fromkeys(("RandomUniform", "RandomUniformLike"), _uniform),
    **dict.fromkeys(("RandomNormal", "RandomNormalLike"), _normal),
    "Cast": _cast,
    "Clip": _clip,
    "DequantizeLinear": _dequantized,
    "Gemm": _gemm,
    "LeakyRelu": _leaky,
    "Mod": _mod,
    "Mul": _mul,
    "Pad": _pad,
    "Resize": _resized,
}
"""Operators whose attributes, or inputs that are left out, count too."""
