"""precision: what float16 and int8 models compute, what stays float32, and that nothing else is lost."""

import numpy as np
import onnx
import onnx.parser
import pytest

import graphkit as gk
from oracle import assert_same, run_ort

NET = """
<ir_version: 9, opset_import: ["" : 18], doc_string: "model", metadata_props: ["author": "me"]>
net (float[n, 3, h, w] x, bool t) => (float[n, c, p, q] y)
<float[4] scales = {1, 1, 2, 2}, float[3, 3, 1, 1] weight = {1, 2, 3, 1, 2, 3, 1, 2, -3}, float[1] spare = {2}>
{
    [up] u = Resize<mode = "linear">(x, , scales)
    [conv] c = Conv(u, weight)
    v = Relu(c)
    [top] k = Max(v, u)
    [choose] y = If(t) <
        then_branch = yes () => (float[n, c, p, q] a) <float[1] z = {3}> { [scale] a = Mul(k, z) },
        else_branch = no () => (float[n, c, p, q] b) { d = Max(u, k) b = Add(d, u) }
    >
}
"""


@pytest.fixture
def net():
    model = onnx.parser.parse_model(NET)
    model.graph.doc_string = "graph"
    model.graph.node[0].doc_string = "node"
    model.graph.node[0].metadata_props.add(key="module", value="up")
    model.graph.metadata_props.add(key="g", value="1")
    model.producer_name = "mine"
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("u", 1, ["n", 3, "p", "q"]))
    model.graph.quantization_annotation.add(tensor_name="u")
    del model.graph.initializer[2]
    return model


def feeds(dtype=np.float32, *, t=True):
    x = np.random.default_rng(0).random((2, 3, 4, 5), dtype=np.float32) - 0.3
    return {"x": x.astype(dtype), "t": np.array(t)}


def wide(answer):
    return {name: array.astype(np.float32) for name, array in answer.items()}


def shapes(graph):
    """Names and dims of everything that is declared, without the types."""
    values = (*graph.input, *graph.output, *graph.value_info)
    return [(v.name, [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]) for v in values]


@pytest.mark.parametrize("t", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"keep_io": True},
        {"keep_nodes": ["conv", "d"]},
        {"keep_ops": ["Relu", "Resize", "Mul"]},
        {"keep_ops": ["Conv", "Relu", "Max", "Add"], "keep_io": True},
    ],
    ids=str,
)
def test_float16_computes_nearly_the_same(net, options, t):
    half = gk.precision(net, to="float16", **options)
    onnx.checker.check_model(half.proto, full_check=True)
    want = run_ort(net, feeds(t=t))
    dtype = np.float32 if options.get("keep_io") else np.float16
    got = run_ort(half, feeds(dtype, t=t))
    assert got["y"].dtype == dtype
    assert_same(wide(got), want, rtol=4e-3, atol=4e-3)
    assert not np.array_equal(wide(got)["y"], want["y"])


def test_float16_loses_nothing_else(net):
    before = net.SerializeToString()
    half = gk.precision(net, to="float16")
    assert net.SerializeToString() == before
    proto = half.proto
    assert (proto.doc_string, proto.graph.doc_string, proto.producer_name) == ("model", "graph", "mine")
    assert [(p.key, p.value) for p in proto.metadata_props] == [("author", "me")]
    assert [(p.key, p.value) for p in proto.graph.metadata_props] == [("g", "1")]
    up = proto.graph.node[0]
    assert (up.name, up.doc_string, up.metadata_props[0].value) == ("up", "node", "up")
    assert len(proto.graph.quantization_annotation) == 1
    assert shapes(proto.graph) == shapes(net.graph)
    assert [n.name for n in proto.graph.node if n.op_type != "Cast"] == [n.name for n in net.graph.node]
    assert {"u", "c", "v", "k", "y"} <= {name for node in proto.graph.node for name in node.output}
    assert {t.name: t.data_type for t in proto.graph.initializer} == {"scales": 1, "weight": 10}


def test_the_notes_say_what_stays_and_what_is_cut(net):
    notes = gk.precision(net, to="float16", keep_nodes=["conv"]).history[-1].notes
    assert notes == ("these nodes stay in float32: Conv 'conv', Max 'top', Max 'd'",)
    weight = np.full((3, 3, 1, 1), 1e6, np.float32)
    net.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(weight, "weight"))
    half = gk.precision(net, to="float16")
    assert half.history[-1].notes[0] == "9 numbers of 'weight' are beyond 65504 and become that"
    assert half.array("weight").max() == 65504


@pytest.mark.parametrize("factor", [2.7, 1 / 3, 2.3])
def test_what_decides_sizes_is_computed_as_before(factor):
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[1, 3, h, w] x, float[2] factor) => (float[1, 3, p, q] y, float[1, 3, h, w] z)
        <float[2] ones = {1, 1}, float[1] one = {1}>
        { s = Concat<axis=0>(ones, factor) u = Resize<mode="linear">(x,, s) y = Mul(u, one)
          d = Shape(x) f = Cast<to=1>(d) r = Mul(f, one) e = Cast<to=7>(r) z = Reshape(x, e) }"""
    )
    half = gk.precision(model, to="float16")
    assert half.history[-1].notes[-1] == "the input 'factor' stays float32: it decides sizes"
    x = np.random.default_rng(0).random((1, 3, 10, 2051), dtype=np.float32)
    given = {"x": x, "factor": np.full(2, factor, np.float32)}
    want, got = run_ort(model, given), run_ort(half, given | {"x": x.astype(np.float16)})
    assert_same(wide(got), want, rtol=2e-3, atol=2e-3)


def test_an_input_with_a_default_and_weights_outside(tmp_path):
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[1, 1, 4, 4] x, float[4] scales) => (float[1, 1, p, q] y)
        <float[4] scales = {1, 1, 2, 2}, float[1] big = {0}> { u = Resize(x,, scales) y = Mul(u, big) }"""
    )
    model.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(np.full((8, 8, 8, 8), 2, np.float32), "big"))
    want = run_ort(model, {"x": np.ones((1, 1, 4, 4), np.float32)})
    path = tmp_path / "m.onnx"
    onnx.save(model, path, save_as_external_data=True, location="m.data", size_threshold=1024)
    gk.save(gk.precision(path, to="float16"), tmp_path / "half.onnx")
    got = run_ort(tmp_path / "half.onnx", {"x": np.ones((1, 1, 4, 4), np.float16)})
    assert_same(wide(got), want)
    assert (tmp_path / "half.onnx").stat().st_size < 10_000


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("t", [True, False])
def test_int8_computes_roughly_the_same_and_loses_nothing_else(net, t, per_channel):
    before = net.SerializeToString()
    small = gk.precision(net, to="int8", feeds={"x": [feeds()["x"]], "t": True}, per_channel=per_channel)
    assert net.SerializeToString() == before
    onnx.checker.check_model(small.proto, full_check=True)
    want, got = run_ort(net, feeds(t=t)), run_ort(small, feeds(t=t))
    scale = np.abs(want["y"]).max()
    assert_same(got, want, rtol=0, atol=0.03 * scale)
    assert np.abs(got["y"] - want["y"]).max() > 1e-4 * scale
    graph = small.proto.graph
    assert [n.name for n in graph.node if n.name in ("up", "conv", "top", "choose")] == ["up", "conv", "top", "choose"]
    assert small.proto.graph.node[0] == net.graph.node[0]
    assert shapes(graph) == shapes(net.graph)
    assert (small.proto.producer_name, small.proto.doc_string) == ("mine", "model")
    assert [(p.key, p.value) for p in small.proto.metadata_props] == [("author", "me")]
    [choose] = [n for n in graph.node if n.name == "choose"]
    assert [a.name for a in choose.attribute] == ["then_branch", "else_branch"]
    kinds = {t.name: t.data_type for t in graph.initializer}
    assert kinds["weight_quantized"] == onnx.TensorProto.INT8
    assert small.history[-1].notes[:2] == ("quantized: 1 Conv, 1 Relu", "ranges are from 1 run")


def test_int8_ranges_are_those_of_the_feeds(net):
    def scale(x):
        small = gk.precision(net, to="int8", feeds={"x": x, "t": True})
        return float(small.array("u_scale"))

    ones = np.ones((1, 3, 16, 16), np.float32)
    assert scale(ones) == pytest.approx(2 / 254, rel=1e-3)
    assert scale([ones, 5 * ones]) == pytest.approx(10 / 254, rel=1e-3)


def test_int8_keeps_nodes_and_says_that_feeds_were_random(net):
    small = gk.precision(net, to="int8", keep_nodes=["v"], samples=2)
    assert small.history[-1].notes[:2] == (
        "quantized: 1 Conv",
        (
            "ranges are from 2 runs, random numbers for 't', 'x' ('x': 0 to 1 and standard normal in turns): "
            "feed your own for ranges that fit them"
        ),
    )
    assert "v_scale" not in {tensor.name for tensor in small.proto.graph.initializer}
    assert "v_scale" in {tensor.name for tensor in gk.precision(net, to="int8").proto.graph.initializer}
    with pytest.raises(gk.EditError, match="no node that ONNX Runtime's quantizer knows; but those that are to stay"):
        gk.precision(net, to="int8", keep_ops=["Conv", "Relu", "Max", "Resize"])


@pytest.mark.parametrize("to", ["int8", "int8-dynamic", "int8-weights", "int4-weights", "float16"])
def test_weights_that_were_stripped_are_named(to):
    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["": 18]> g (float[2,16] x) => (float[2,32] y) { y = MatMul(x, w) }'
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((16, 32), np.float32), "w"))
    with pytest.raises(gk.WeightsError, match=r"tensor 'w' .* the weights of this model were stripped"):
        gk.precision(gk.set_parts(model, strip_weights=True), to=to)


def test_refusals(net):
    half = gk.precision(net, to="float16")
    with pytest.raises(gk.EditError, match="nothing in the model becomes float16"):
        gk.precision(half, to="float16")
    with pytest.raises(gk.NameNotFoundError, match="conf") as caught:
        gk.precision(net, to="float16", keep_nodes=["conf"])
    assert "conv" in caught.value.hint
    with pytest.raises(gk.EditError, match="'choose' has bodies"):
        gk.precision(net, to="float16", keep_nodes=["choose"])
    with pytest.raises(gk.EditError, match="wants opset 13") as caught:
        gk.precision(gk.opset(net, to=12), to="int8")
    assert "graphkit.opset(model, to=13)" in caught.value.hint
    for options in ({"to": "int4"}, {"to": "int8", "keep_io": True}, {"to": "float16", "feeds": {"x": 1}}):
        with pytest.raises(ValueError, match=r"go(es)? with|lowered to"):
            gk.precision(net, **options)
    with pytest.raises(ValueError, match="lists of 1 and 2"):
        gk.precision(net, to="int8", feeds={"x": ["random", "random"], "t": ["true"]})
    with pytest.raises(gk.FeedError):
        gk.precision(net, to="int8", feeds={"x": np.ones(3, np.float32), "t": True})
    net.training_info.add()
    net.graph.initializer.append(net.graph.initializer[0])
    for to in ("float16", "int8"):
        with pytest.raises(gk.EditError, match="training graphs, and two weights are named 'scales'"):
            gk.precision(net, to=to)


@pytest.mark.parametrize("to", ["float16", "int8"])
def test_functions_are_inlined_first(to):
    model = onnx.parser.parse_model("""
    <ir_version: 8, opset_import: ["" : 17, "my" : 1]>
    g (float[1,2] x) => (float[1,2] y) <float[2,2] w = {1, 2, 3, 4}> { h = my.twice(x) y = MatMul(h, w) }
    <domain: "my", opset_import: ["" : 17]> twice (a) => (b) { b = Add(a, a) }""")
    x = np.array([[1, -0.5]], np.float32)
    small = gk.precision(model, to=to, **({"feeds": {"x": x}} if to == "int8" else {"keep_io": True}))
    assert not small.proto.functions
    assert small.history[-1].notes[0] == "inlined: my::twice (1x)"
    assert_same(run_ort(small, {"x": x}), run_ort(model, {"x": x}), rtol=0.05, atol=0.05)


def test_an_operator_of_another_domain_stays_float32():
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18, "my" : 1]> g (float[2] x) => (float[2] y)
           { a = Relu(x) b = my.op(a) y = Neg(b) }"""
    )
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("b", 1, [2]))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(2, np.float32), "unused"))
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("unused", 1, [2]))
    half = gk.precision(model, to="float16")
    assert [n.op_type for n in half.proto.graph.node] == ["Relu", "Cast", "op", "Cast", "Neg"]
    assert [n.attribute[0].i for n in half.proto.graph.node if n.op_type == "Cast"] == [1, 10]


def test_a_body_may_call_a_weight_as_the_main_graph_does():
    model = onnx.parser.parse_model("""
    <ir_version: 8, opset_import: ["" : 17]>
    g (float[2] x, bool c) => (float[2] y) <float[2] w = {1, 2}> {
        y = If (c) <then_branch = t () => (float[2] p) <float[2] w = {3, 4}> { p = Add(x, w) },
                    else_branch = e () => (float[2] q) { q = Mul(x, w) }>
    }""")
    half = gk.precision(model, to="float16")
    for c in (np.array(True), np.array(False)):
        want = run_ort(model, {"x": np.array([1, 5], np.float32), "c": c})
        assert_same(wide(run_ort(half, {"x": np.array([1, 5], np.float16), "c": c})), want)


def test_a_picture_may_be_normalised_so_both_ranges_calibrate():
    rng = np.random.default_rng(5)
    w = rng.standard_normal((4, 3, 3, 3)).astype("f")
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], name="conv")
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "g",
        [info("x", onnx.TensorProto.FLOAT, [1, 3, 8, 8])],
        [info("y", onnx.TensorProto.FLOAT, [1, 4, 6, 6])],
        [onnx.numpy_helper.from_array(w, "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    small = gk.precision(model, to="int8")
    assert "'x': 0 to 1 and standard normal in turns" in " ".join(small.history[-1].notes)
    for x in (rng.random((1, 3, 8, 8)), rng.standard_normal((1, 3, 8, 8))):
        expected, actual = (run_ort(each, {"x": x.astype("f")})["y"] for each in (model, small))
        assert np.linalg.norm(actual - expected) <= 0.1 * np.linalg.norm(expected)


def test_a_root_of_a_picture_is_calibrated_on_0_to_1_alone():
    text = """<ir_version: 9, opset_import: ["" : 17]> g (float[1,3,8,8] x) => (float[1,3,8,8] y) {
        a = Sqrt(x)
        y = Mul(a, x)
    }"""
    notes = " ".join(gk.precision(onnx.parser.parse_model(text), to="int8").history[-1].notes)
    assert "random numbers for 'x'" in notes
    assert "standard normal" not in notes
