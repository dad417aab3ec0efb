"""Interval arithmetic: the numbers that an operator gives lie in the interval that is told for it."""

import math
import warnings

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from graphkit.semantics.domains import violation
from graphkit.semantics.intervals import ANY, SATURATION, TINY, has_rule, hull, output_interval

INTERVALS = ((-2.0, 3.0), (0.5, 3.0), (-3.0, -0.5), (0.0, 1.0), (1.5, 1.5), (-0.9, 0.9), (-4.0, 0.0))

UNARY = """Abs Acos Acosh Asin Asinh Atan Atanh Ceil Celu Cos Cosh Elu Erf Exp Floor Gelu GlobalAveragePool GlobalMaxPool
HardSigmoid HardSwish Identity LeakyRelu Log LogSoftmax Mish Neg Reciprocal ReduceL1 ReduceL2 ReduceLogSumExp ReduceMax
ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Round Selu Shape Sigmoid Sign Sin Size Softmax Softplus
Softsign Sqrt Swish Tanh Transpose Flatten ArgMax NonZero IsNaN""".split()

BINARY = "Add Sub Mul Div Pow Max Min Mean Sum Concat MatMul PRelu Greater Equal Mod Gemm CumSum".split()

WITH_ATTRIBUTES = {
    "Celu": {"alpha": 2.0},
    "Concat": {"axis": 0},
    "Elu": {"alpha": 0.5},
    "Gemm": {"alpha": -0.5, "transB": 1},
    "LeakyRelu": {"alpha": 0.3},
    "Mod": {"fmod": 1},
}


def node(op, inputs, attributes=None):
    return onnx.helper.make_node(
        op, inputs, ["y"], **(WITH_ATTRIBUTES.get(op, {}) if attributes is None else attributes)
    )


def evaluated(made, arrays):
    value = onnx.helper.make_tensor_value_info
    inputs = [value(name, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for name, a in arrays.items()]
    graph = onnx.helper.make_graph([made], "g", inputs, [onnx.ValueInfoProto(name="y")])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 24)])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return np.asarray(ReferenceEvaluator(model).run(None, arrays)[0], np.float64)


def numbers(interval, shape=(4, 4), seed=0):
    """Numbers of an interval, both ends among them."""
    array = np.random.default_rng(seed).uniform(*interval, shape).astype(np.float32)
    array.flat[0], array.flat[-1] = interval
    return array


def assert_inside(made, interval):
    low, high = interval
    finite = made[np.isfinite(made)]
    slack = 1e-5 * max(1.0, np.abs(finite).max(initial=0.0))
    assert (finite >= low - slack).all(), (finite.min(), interval)
    assert (finite <= high + slack).all(), (finite.max(), interval)


@pytest.mark.parametrize("interval", INTERVALS, ids=str)
@pytest.mark.parametrize("op", UNARY)
def test_of_one_input(op, interval):
    made = node(op, ["x"])
    shape = (1, 2, 4, 4) if op.startswith("Global") else (4, 4)
    told = output_interval(made, [interval])
    result = evaluated(made, {"x": numbers(interval, shape)})
    assert has_rule(op)
    assert_inside(result, told)
    if violation(made, [interval]) is None:
        assert np.isfinite(result).all()


@pytest.mark.parametrize("second", INTERVALS, ids=str)
@pytest.mark.parametrize("first", INTERVALS, ids=str)
@pytest.mark.parametrize("op", BINARY)
def test_of_two_inputs(op, first, second):
    other = np.array(1) if op == "CumSum" else numbers(second, (4,) if op == "PRelu" else (4, 4), seed=1)
    if op == "Mod" and second[0] <= 0 <= second[1]:
        return
    made = node(op, ["a", "b"])
    result = evaluated(made, {"a": numbers(first), "b": other})
    assert_inside(result, output_interval(made, [first, second]))
    if violation(made, [first, second]) is None:
        assert np.isfinite(result).all()


@pytest.mark.parametrize("interval", INTERVALS, ids=str)
def test_of_a_square(interval):
    made = node("Mul", ["x", "x"])
    told = output_interval(made, [interval, interval])
    assert told[0] >= 0
    assert_inside(evaluated(made, {"x": numbers(interval)}), told)


@pytest.mark.parametrize("exponent", [2.0, 3.0, 0.5, -1.0, -2.0, 0.0, 4.0])
@pytest.mark.parametrize("base", INTERVALS, ids=str)
def test_of_a_power(base, exponent):
    made = node("Pow", ["x", "e"])
    given = [base, (exponent, exponent)]
    result = evaluated(made, {"x": numbers(base), "e": np.float32([exponent])})
    assert_inside(result, output_interval(made, given))
    assert np.isfinite(result).all() or violation(made, given) is not None


@pytest.mark.parametrize("interval", INTERVALS, ids=str)
def test_of_operators_with_settings(interval):
    x = numbers(interval)
    bounds = {"low": np.float32(-1), "high": np.float32(2)}
    clip = node("Clip", ["x", *bounds])
    assert_inside(evaluated(clip, {"x": x, **bounds}), output_interval(clip, [interval, (-1, -1), (2, 2)]))
    assert output_interval(clip, [interval, (-1, -1), (2, 2)])[0] >= -1
    old = node("Clip", ["x"], {"min": 0.25, "max": 0.5})
    assert output_interval(old, [interval]) == pytest.approx(np.clip(interval, 0.25, 0.5).tolist())
    whole = node("Cast", ["x"], {"to": onnx.TensorProto.INT64})
    assert_inside(evaluated(whole, {"x": x}), output_interval(whole, [interval]))
    pad = node("Pad", ["x", "p"])
    assert_inside(evaluated(pad, {"x": x, "p": np.array([0, 1, 0, 1])}), output_interval(pad, [interval, (0, 1)]))
    where = node("Where", ["c", "x", "z"])
    chosen = evaluated(where, {"c": x > 0, "x": x, "z": np.float32(7)})
    assert_inside(chosen, output_interval(where, [(0, 1), interval, (7, 7)]))
    einsum = node("Einsum", ["x", "x"], {"equation": "ij,jk->ik"})
    assert_inside(evaluated(einsum, {"x": x}), output_interval(einsum, [interval, interval]))
    conv = node("Conv", ["x", "w", "b"])
    arrays = {"x": x[None, None], "w": np.float32([[[[0.5, 2.0]]]]), "b": np.float32([-1])}
    assert_inside(evaluated(conv, arrays), output_interval(conv, [interval, (0.5, 2.0), (-1, -1)]))
    bytes_ = {"q": np.arange(16, dtype=np.uint8), "s": np.float32(0.5), "z": np.uint8(4)}
    scaled = node("DequantizeLinear", list(bytes_))
    assert_inside(evaluated(scaled, bytes_), output_interval(scaled, [(0, 15), (0.5, 0.5), (4, 4)]))


def test_what_is_not_known_is_anything():
    assert output_interval(node("LayerNormalization", ["x", "s"]), [(0, 1), (0, 1)]) == ANY
    assert output_interval(node("Add", ["x", "z"]), [(0, 1), None]) == ANY
    assert output_interval(node("Add", ["x"]), []) != (math.nan, math.nan)
    assert output_interval(node("Sub", ["x", "z"]), [(-math.inf, math.inf), (-math.inf, math.inf)]) == ANY
    assert output_interval(node("Mul", ["x", "z"]), [(0, 0), ANY]) == (0, 0)
    assert output_interval(node("Where", ["x"]), [(0, 1)]) == ANY
    assert not has_rule("LayerNormalization")
    assert hull([]) == ANY
    assert output_interval(node("Resize", ["x"], {"mode": "cubic"}), [(0, 1)]) == ANY


def test_what_comes_near_a_limit_does_not_reach_it():
    assert output_interval(node("Exp", ["x"]), [ANY]) == (TINY, math.inf)
    assert output_interval(node("Sigmoid", ["x"]), [ANY]) == (SATURATION, 1 - SATURATION)
    assert output_interval(node("Softmax", ["x"]), [ANY])[0] > 0


@pytest.mark.parametrize(
    ("op", "given", "said"),
    [
        ("Log", [(-1, 1)], "undefined"),
        ("Log", [(0, 1)], "pole"),
        ("Log", [(0.1, 1)], None),
        ("Sqrt", [(0, 1)], None),
        ("Sqrt", [(-0.1, 1)], "undefined"),
        ("Div", [(0, 1), (-1, 1)], "pole"),
        ("Div", [(-1, 1), (0.1, 1)], None),
        ("Reciprocal", [(0, 1)], "pole"),
        ("Pow", [(-1, 1), (0.5, 0.5)], "undefined"),
        ("Pow", [(-1, 1), (2, 2)], None),
        ("Pow", [(0, 1), (-1, -1)], "pole"),
        ("Acosh", [(0.5, 2)], "undefined"),
        ("Asin", [(-1, 1)], None),
        ("Atanh", [(-1, 1)], "undefined"),
        ("Sin", [ANY], None),
        ("Log", [None], "undefined"),
        ("Log", [], None),
    ],
)
def test_domains(op, given, said):
    assert violation(node(op, ["x", "z"][: len(given)], {}), given) == said
