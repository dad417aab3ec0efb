"""float16 and bfloat16: one type a value, a Cast where a reader wants the other, weights exactly as asked."""

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx.reference import ReferenceEvaluator

import graphkit as gk
from graphkit.runtime.written import Unfit
from graphkit.surgery.precision import half as half_module
from oracle import assert_same, run_ort

HEAD = '<ir_version: 8, opset_import: ["" : 17]> '


def parse(text):
    return onnx.parser.parse_model(HEAD + text)


def constant(name, array):
    return onnx.helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(array))


def types(model):
    """Every float tensor that the model holds, in initializers and in Constants: name -> TensorProto type."""
    graph = model.proto.graph
    found = {tensor.name: tensor.data_type for tensor in graph.initializer}
    return found | {n.output[0]: n.attribute[0].t.data_type for n in graph.node if n.op_type == "Constant"}


X = np.array([[-1.5, 2, 0.25]], np.float32)


@pytest.mark.parametrize("keep_io", [False, True])
def test_an_input_may_be_an_output(keep_io):
    model = parse("g (float[1,3] x) => (float[1,3] x, float[1,3] y) { y = Neg(x) }")
    half = gk.precision(model, to="float16", keep_io=keep_io)
    dtype = np.float32 if keep_io else np.float16
    got = run_ort(half, {"x": X.astype(dtype)})
    assert {name: (array.dtype, array.tolist()) for name, array in got.items()} == {
        "x": (dtype, X.tolist()),
        "y": (dtype, (-X).tolist()),
    }


@pytest.mark.parametrize("keep_io", [False, True])
@pytest.mark.parametrize("spelling", ["initializer", "constant"])
def test_a_weight_may_be_an_output(keep_io, spelling):
    model = parse("g (float[1,3] x) => (float[1] w, float[1,3] y) { y = Mul(x, w) }")
    weight = np.array([0.1], np.float32)
    if spelling == "initializer":
        model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    else:
        model.graph.node.insert(0, constant("w", weight))
    half = gk.precision(model, to="float16", keep_io=keep_io)
    dtype = np.float32 if keep_io else np.float16
    got = run_ort(half, {"x": X.astype(dtype)})
    assert got["w"].dtype == dtype
    assert got["w"] == weight.astype(dtype)
    assert_same({"y": got["y"].astype(np.float32)}, {"y": X * weight}, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("kept", [{"keep_ops": ["BatchNormalization"]}, {"keep_nodes": ["bn"]}, {"only_ops": ["Relu"]}])
@pytest.mark.parametrize("spelling", ["initializer", "constant"])
def test_the_weights_of_a_kept_node_keep_their_numbers(kept, spelling):
    weights = {"s": 100.0, "b": 0.0, "mean": 0.0, "var": 1e8}
    model = parse("""g (float[1,2,2,2] x) => (float[1,2,2,2] y)
        { [bn] t = BatchNormalization(x, s, b, mean, var) y = Relu(t) }""")
    for name, number in weights.items():
        array = np.full(2, number, np.float32)
        if spelling == "initializer":
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
        else:
            model.graph.node.insert(0, constant(name, array))
    half = gk.precision(model, to="float16", keep_io=True, **kept)
    assert set(types(half).values()) == {onnx.TensorProto.FLOAT}
    x = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)
    assert_same(run_ort(half, {"x": x}), run_ort(model, {"x": x}), rtol=1e-3, atol=1e-6)


def test_a_weight_of_a_kept_node_and_of_another_is_stored_twice():
    model = parse(
        "g (float[1,3] x) => (float[1,3] y) <float[1] w = {100000}> { a = Mul(x, w) [kept] b = Div(a, w) y = Add(b, w) }"
    )
    half = gk.precision(model, to="float16", keep_io=True, keep_nodes=["kept"])
    assert types(half) == {"w": onnx.TensorProto.FLOAT, "w_float16": onnx.TensorProto.FLOAT16}
    assert half.array("w") == 100000
    assert half.array("w_float16") == 65504
    assert half.history[-1].notes[0] == "1 number of 'w' is beyond 65504 and becomes that"


@pytest.mark.parametrize("opset", [13, 17])
def test_one_empty_constant_may_be_roi_and_scales_of_a_resize(opset):
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : {opset}]>'
        """g (float[1,3,6,6] x) => (float[1,3,9,11] y) <float[0] e = {}, int64[4] s = {1,3,9,11}>
        { r = Resize<mode="linear">(x, e, e, s) y = Relu(r) }"""
    )
    x = np.random.default_rng(0).random((1, 3, 6, 6), np.float32)
    half = gk.precision(model, to="float16", keep_io=True)
    assert_same(run_ort(half, {"x": x}), run_ort(model, {"x": x}), rtol=2e-3, atol=2e-3)


QUANTIZED = {
    "QuantizeLinear": """g (float[1,3] x) => (float[1,3] y) <float s = {0.1}, int8 z = {0}>
        { q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) y = Relu(d) }""",
    "DynamicQuantizeLinear": """g (float[1,3] x) => (float[1,3] y)
        { q, s, z = DynamicQuantizeLinear(x) d = DequantizeLinear(q, s, z) y = Relu(d) }""",
}


@pytest.mark.parametrize("to", ["float16", "bfloat16", "int8"])
@pytest.mark.parametrize("text", QUANTIZED.values(), ids=QUANTIZED)
def test_a_quantized_model_is_kept_as_it_is(text, to):
    model = parse(text)
    kept = gk.precision(model, to=to)
    assert kept.proto.SerializeToString() == model.SerializeToString()
    assert "quantized already" in kept.history[-1].notes[0]
    assert "1 DequantizeLinear" in kept.history[-1].notes[0]


def test_only_the_operators_that_are_named_are_converted():
    model = parse("g (float[1,3] x) => (float[1,3] y) { a = Exp(x) b = Relu(a) y = Neg(b) }")
    half = gk.precision(model, to="float16", only_ops=["Relu"], keep_io=True)
    assert [n.op_type for n in half.proto.graph.node] == ["Exp", "Cast", "Relu", "Cast", "Neg"]
    assert_same(run_ort(half, {"x": X}), run_ort(model, {"x": X}), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("to", ["float16", "bfloat16", "int8"])
@pytest.mark.parametrize("option", ["keep_ops", "only_ops", "keep_nodes"])
def test_an_unknown_name_is_refused_with_those_there_are(option, to):
    model = parse("g (float[1,3] x) => (float[1,3] y) { [first] a = Relu(x) y = Neg(a) }")
    with pytest.raises(gk.NameNotFoundError, match="Rellu") as caught:
        gk.precision(model, to=to, **{option: ["Rellu"]})
    assert "Relu" in caught.value.hint or option == "keep_nodes"


def test_a_loop_computes_in_float16_with_its_bodies():
    model = parse("""g (float[1,3] x, int64 n) => (float[1,3] y, float[k,1,3] all) <bool go = {1}, float[1] w = {0.5}> {
        y, all = Loop(n, go, x) <body = b (int64 i, bool c, float[1,3] v) => (bool d, float[1,3] next, float[1,3] out)
            { d = Identity(c) next = Mul(v, w) out = Exp(next) }> }""")
    x, n = X, np.array(3)
    for keep_io in (False, True):
        half = gk.precision(model, to="float16", keep_io=keep_io)
        got = run_ort(half, {"x": x if keep_io else x.astype(np.float16), "n": n})
        want = run_ort(model, {"x": x, "n": n})
        assert_same({k: v.astype(np.float32) for k, v in got.items()}, want, rtol=2e-3, atol=1e-3)


def test_a_body_may_hand_out_a_value_of_the_graph_around_it():
    model = parse("""g (float[1,3] x, bool c) => (float[1,3] y) { [kept] a = Exp(x) y = If (c) <
        then_branch = t () => (float[1,3] a) { }, else_branch = e () => (float[1,3] q) { q = Neg(a) }> }""")
    for options in ({}, {"keep_nodes": ["kept"]}):
        half = gk.precision(model, to="float16", keep_io=True, **options)
        got = ReferenceEvaluator(half.proto).run(None, {"x": X, "c": np.array(True)})[0]
        assert_same({"y": got}, {"y": np.exp(X)}, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("{ s = Shape(x) c = ConstantOfShape(s) y = Add(x, c) }", X),
        ("{ s = Shape(x) c = ConstantOfShape<value = float[1] v = {2}>(s) y = Add(x, c) }", X + 2),
        ("{ i = Cast<to=6>(x) c = Cast<to=1>(i) y = Add(x, c) }", X + np.trunc(X)),
        ("{ c = CastLike(x, x) y = Neg(c) }", -X),
        ("{ c = Constant<value_float = 2.0>() y = Mul(x, c) }", X * 2),
        ("{ c = Constant<value_floats = [1.0, 2.0, 4.0]>() y = Mul(x, c) }", X * [1, 2, 4]),
        ("{ e = EyeLike(x) y = Add(x, e) }", X + np.eye(1, 3)),
        ("{ a, b = Split<axis=1, num_outputs=2>(x) y = Concat<axis=1>(b, a) }", None),
    ],
)
def test_what_an_attribute_makes_becomes_float16_too(text, want):
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[1,3] x) => (float[1,3] y) ' + text
    )
    half = gk.precision(model, to="float16")
    got = run_ort(half, {"x": X.astype(np.float16)})["y"]
    assert got.dtype == np.float16
    want = run_ort(model, {"x": X})["y"] if want is None else np.asarray(want, np.float32)
    assert_same({"y": got.astype(np.float32)}, {"y": want}, rtol=1e-3, atol=1e-3)


KEPT = {
    "sequences": """g (float[4,3] x) => (float[4,3] y) { a = Neg(x) s = SplitToSequence(a) i = Constant<value_int=1>()
        e = SequenceAt(s, i) t = SequenceInsert(s, e) c = ConcatFromSequence<axis=0>(t) y = Relu(a) }""",
    "reduction": """g (float[4,3] x) => (float[4,3] y) <int64[1,1] i = {2}> { a = Neg(x) u = Gather(a, i0)
        s = ScatterND<reduction="add">(a, i, u) y = Neg(s) }""",
}


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT)
def test_what_no_cast_or_kernel_serves_stays_float32(text):
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 18]> ' + text)
    if "i0" in text:
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "i0"))
    x = np.arange(12, dtype=np.float32).reshape(4, 3) - 5
    half = gk.precision(model, to="float16", keep_io=True)
    assert_same(run_ort(half, {"x": x}), run_ort(model, {"x": x}), rtol=1e-3, atol=1e-3)


def test_names_that_the_casts_would_like_are_left_alone():
    model = parse("""g (float[1,3] x) => (float[1,3] y) <float[1] x_float16 = {3}, float[1] y_float16 = {4}>
        { a_cast = Mul(x, x_float16) y = Add(a_cast, y_float16) }""")
    half = gk.precision(model, to="float16", keep_io=True)
    assert_same(run_ort(half, {"x": X}), {"y": 3 * X + 4}, rtol=2e-3, atol=1e-3)
    assert {"x_float16", "y_float16", "a_cast"} <= set(types(half)) | {
        o for n in half.proto.graph.node for o in n.output
    }


def test_sparse_weights_are_kept():
    model = parse("g (float[1,3] x) => (float[1,3] y) { y = Mul(x, w) }")
    values = onnx.numpy_helper.from_array(np.array([2.0], np.float32), "w")
    indices = onnx.numpy_helper.from_array(np.array([1]), "i")
    model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, indices, [3]))
    half = gk.precision(model, to="float16")
    got = run_ort(half, {"x": X.astype(np.float16)})["y"]
    assert got.tolist() == [[0, 4, 0]]
    assert half.proto.graph.sparse_initializer == model.graph.sparse_initializer


def test_bfloat16_computes_nearly_the_same():
    import ml_dtypes

    model = parse("g (float[1,3] x) => (float[1,4] y) { h = MatMul(x, w) r = Relu(h) y = Add(r, b) }")
    rng = np.random.default_rng(0)
    for name, shape in (("w", (3, 4)), ("b", (4,))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(rng.random(shape, np.float32), name))
    half = gk.precision(model, to="bfloat16")
    assert set(types(half).values()) == {onnx.TensorProto.BFLOAT16}
    [got] = ReferenceEvaluator(half.proto).run(None, {"x": X.astype(ml_dtypes.bfloat16)})
    assert got.dtype == ml_dtypes.bfloat16
    assert_same({"y": got.astype(np.float32)}, run_ort(model, {"x": X}), rtol=3e-2, atol=3e-2)
    assert any(
        "no bfloat16 kernel for Add, MatMul, Relu" in note and "onnx.reference" in note
        for note in half.history[-1].notes
    )


def test_what_the_runtime_does_not_load_goes_back_to_float32():
    """MeanVarianceNormalization is a function of onnx's, whose body does not load in float16."""
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 13]>'
        "g (float[1,3,2,2] x) => (float[1,3,2,2] y) { a = Relu(x) [mvn] b = MeanVarianceNormalization(a) y = Neg(b) }"
    )
    half = gk.precision(model, to="float16", keep_io=True)
    assert half.history[-1].notes == ("these nodes stay in float32: MeanVarianceNormalization 'mvn'",)
    x = np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)
    assert_same(run_ort(half, {"x": x}), run_ort(model, {"x": x}), rtol=4e-3, atol=4e-3)


def test_what_cannot_be_mended_is_refused_with_all_its_nodes(monkeypatch):
    """Everything that the runtime has against the result is said at once."""
    model = parse("g (float[1,3] x) => (float[1,3] y) { [one] a = Relu(x) [two] y = Neg(a) }")

    def refuses(proto):
        nodes = [node for node in proto.graph.node if node.op_type != "Cast"] if proto is not model else []
        return [Unfit(f"{node.op_type} {node.name!r}", node.op_type, node.name, "load", "no") for node in nodes]

    monkeypatch.setattr(half_module, "unfit", refuses)
    with pytest.raises(gk.EditError, match=r"nothing in the model becomes|Relu 'one': no; Neg 'two': no"):
        gk.precision(model, to="float16")


def test_the_fill_of_a_mask_stays_finite_in_bfloat16():
    """float32's own lowest number, which exporters write: as an infinity, a row that is masked whole would be NaN."""
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 20]> g (float[2] x, bool[2] c) => (float[2] y) { y = Where(c, x, fill) }'
    )
    lowest, infinite = np.finfo(np.float32).min, np.float32(-np.inf)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([lowest, infinite], np.float32), "fill"))
    half = gk.precision(model, to="bfloat16")
    fill = np.asarray(half.array("fill")).astype(np.float32)
    assert np.isfinite(fill[0])
    assert np.isneginf(fill[1])
    assert gk.prove(half, model).verdict == "proved"
