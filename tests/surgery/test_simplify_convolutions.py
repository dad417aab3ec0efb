"""simplify: a Conv does what stands around it, where that is one number a channel, and nowhere else."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from oracle import assert_same, run_ort

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(2, 3, 8, 8)).astype(np.float32)
HELD = {
    "W": DRAW.normal(size=(4, 3, 3, 3)),
    "b": [1, 2, 3, 4],
    "s": [0.3, -2, 3, 0.7],
    "v": [1, 2, 3, 0.1],
    "k": np.reshape([1.1, -2.3, 0, 0.5], (4, 1, 1)),
    "row": [1, 2, 3, 4, 5, 6],
    "each": np.reshape([1, 2], (2, 1, 1, 1)),
    "more": np.reshape([1, 2, 3], (3, 1, 1, 1, 1)),
    "one": 1.7,
    "huge": 3e38,
}
PADS = "p = Constant<value_ints = [0, 0, 1, 2, 0, 0, 1, 0]>() q = Pad{}(x, p{}) y = Conv{}(q, W, b)"


def net(text, *, more="", opset=18, elem=onnx.TensorProto.FLOAT):
    word = {onnx.TensorProto.FLOAT: "float", onnx.TensorProto.FLOAT16: "float16"}[elem]
    model = onnx.parser.parse_model(
        f'<ir_version: 9, opset_import: ["": {opset}]> g ({word}[2,3,8,8] x) => ({word}[a,c,h,w] y{more}) {{ {text} }}'
    )
    dtype = onnx.helper.tensor_dtype_to_np_dtype(elem)
    read = {name for node in model.graph.node for name in node.input}
    with np.errstate(over="ignore"):
        held = {name: np.asarray(array).astype(dtype) for name, array in HELD.items() if name in read}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in held.items())
    return model


def simplified(model, **options):
    """The operators that are left; the numbers stay, and a second time changes nothing."""
    after = gk.simplify(model, **options)
    assert_same(run_ort(after, {"x": X}), run_ort(model, {"x": X}), rtol=1e-4, atol=1e-4)
    assert gk.simplify(after, **options).proto == after.proto
    assert gk.prove(after, model)
    return [node.op_type for node in after.nodes]


@pytest.mark.parametrize(
    "text",
    [
        "c = Conv(x, W, b) y = Mul(c, k)",
        "c = Conv(x, W) y = Mul(one, c)",
        "c = Conv(x, W, b) y = Div(c, one)",
        "c = Conv(x, W) y = Sub(c, k)",
        "c = Conv(x, W) d = Mul(c, k) e = Add(k, d) y = BatchNormalization(e, s, b, s, v)",
        PADS.format("", "", ""),
        PADS.format("", "", "<pads = [1, 1, 1, 1], strides = [2, 1]>"),
    ],
)
def test_one_conv_is_left(text):
    assert simplified(net(text)) == ["Conv"]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("c = Conv(x, W, b) y = Div(one, c)", ["Conv", "Div"]),
        ("c = Conv(x, W, b) y = Sub(k, c)", ["Conv", "Sub"]),
        ("c = Conv(x, W, b) y = Mul(c, row)", ["Conv", "Mul"]),
        ("c = Conv(x, W, b) y = Mul(c, each)", ["Conv", "Mul"]),
        ("c = Conv(x, W, b) y = Mul(c, more)", ["Conv", "Mul"]),
        ("c = Conv(x, W, b) d = Mul(c, one) e = Neg(c) y = Add(d, e)", ["Conv", "Mul", "Neg", "Add"]),
        (PADS.format("", ", one", ""), ["Pad", "Conv"]),
        (PADS.format('<mode = "reflect">', "", ""), ["Pad", "Conv"]),
        (PADS.format("", "", '<auto_pad = "SAME_UPPER">'), ["Pad", "Conv"]),
    ],
)
def test_what_is_no_number_a_channel_stays(text, left):
    assert simplified(net(text)) == left


def test_a_weight_that_would_not_be_finite_is_not_written():
    after = gk.simplify(net("c = Conv(x, W) y = Mul(c, huge)"))
    assert [node.op_type for node in after.nodes] == ["Conv", "Mul"]


def test_weights_narrower_than_float32_stay():
    after = gk.simplify(net("c = Conv(x, W) y = Mul(c, k)", elem=onnx.TensorProto.FLOAT16))
    assert [node.op_type for node in after.nodes] == ["Conv", "Mul"]


def test_a_result_that_is_an_output_too_stays():
    assert simplified(net("c = Conv(x, W) y = Mul(c, k)", more=", float[a,c,h,w] c")) == ["Conv", "Mul"]


def test_a_default_that_callers_may_override_stays():
    model = net("c = Conv(x, W) y = Mul(c, k)")
    model.graph.input.append(onnx.helper.make_tensor_value_info("k", onnx.TensorProto.FLOAT, [4, 1, 1]))
    assert [node.op_type for node in gk.simplify(model).nodes] == ["Conv", "Mul"]


@pytest.mark.parametrize(("limit", "left"), [(0, ["Conv", "Mul", "Conv", "Add"]), (4096, ["Conv", "Conv", "Add"])])
def test_a_weight_that_two_nodes_read_becomes_two_where_the_limit_allows_it(limit, left):
    model = net(
        "c = Conv(x, W) d = Mul(c, k) e = Conv<pads = [1, 1, 1, 1], strides = [1, 1]>(x, W) f = Slice(e, p, q, r) y = Add(d, f)"
    )
    for name, numbers in {"p": [1, 1], "q": [7, 7], "r": [2, 3]}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(numbers), name))
    kinds = simplified(model, fold_limit=limit)
    assert [kind for kind in kinds if kind != "Slice"] == left


def test_what_was_done_is_said():
    notes = gk.simplify(net("c = Conv(x, W) y = Mul(c, k)")).history[-1].notes
    assert "1 node became part of the Conv beside it" in notes
