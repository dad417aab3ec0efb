"""Sessions: what runs where, and models in every form that they come in."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.runtime import providers
from graphkit.runtime.handover import carry
from graphkit.runtime.placement import named, shape_nodes
from oracle import assert_same

RELU = onnx.parser.parse_model("""
<ir_version: 8, opset_import: ["" : 17]>
g (float[n,3] x) => (float[n,3] y) { h = Relu(x)
 y = Neg(h) }
""")

X = np.array([[1.0, -2.0, 3.0]], np.float32)


def big(rows=64):
    """y = x @ w, with a weight that stays in its file."""
    w = np.random.default_rng(0).standard_normal((rows, rows), np.float32)
    nodes = [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes, "g", [value("x", 1, ["n", rows])], [value("y", 1, ["n", rows])], [onnx.numpy_helper.from_array(w, "w")]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    return model, w


def test_a_model_runs_from_a_path_a_proto_and_a_model(tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save(RELU, path)
    for form in (path, str(path), RELU, gk.load(path)):
        assert_same(gk.run(form, {"x": X}, device="cpu"), {"y": -np.maximum(X, 0)})


@pytest.mark.parametrize("external", [False, True])
def test_weights_reach_the_runtime_from_where_they_lie(tmp_path, external):
    proto, w = big()
    path = tmp_path / "m.onnx"
    onnx.save(proto, path, save_as_external_data=external, size_threshold=0, location="m.data" if external else None)
    x = np.ones((2, 64), np.float32)
    expected = {"y": x @ w}
    assert_same(gk.run(path, {"x": x}), expected, rtol=1e-4, atol=1e-4)
    loaded = gk.load(path)
    if external:
        assert loaded.proto.graph.initializer[0].data_location == onnx.TensorProto.EXTERNAL
    assert_same(gk.run(loaded, {"x": x}), expected, rtol=1e-4, atol=1e-4)


def test_weights_at_an_odd_offset_and_in_bodies(tmp_path):
    w = np.arange(4096, dtype=np.float32)
    model = onnx.parser.parse_model("""
    <ir_version: 8, opset_import: ["" : 17]>
    g (float[4096] x, bool c) => (float[4096] y) {
      y = If(c) <then_branch = a () => (float[4096] r) { r = Add(x, w) },
                else_branch = b () => (float[4096] r2) { r2 = Mul(x, v) }>
    }""")
    (tmp_path / "w.bin").write_bytes(b"abc" + w.tobytes())
    for name, graph in (("w", model.graph), ("v", model.graph.node[0].attribute[1].g)):
        tensor = graph.initializer.add(name=name, data_type=1, dims=[4096], data_location=1)
        for key, value in (("location", "w.bin"), ("offset", "3"), ("length", str(w.nbytes))):
            tensor.external_data.add(key=key, value=value)
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    x = np.full(4096, 2, np.float32)
    loaded = gk.load(path)
    assert_same(gk.run(loaded, {"x": x, "c": True}), {"y": x + w})
    assert_same(gk.run(loaded, {"x": x, "c": False}), {"y": x * w})


def test_an_inner_value_is_given_when_it_is_asked_for():
    assert_same(gk.run(RELU, {"x": X}, outputs=["h", "y"]), {"h": np.maximum(X, 0), "y": -np.maximum(X, 0)})
    with pytest.raises(gk.NameNotFoundError, match="'hh'"):
        gk.run(RELU, {"x": X}, outputs=["hh"])


def test_auto_says_what_it_took_and_cuda_never_falls_back():
    session = gk.session(RELU, device="auto")
    if providers.cuda_problem() is None:
        pytest.skip("CUDA is here")
    assert session.providers == ("CPUExecutionProvider",)
    assert any("CPU" in note for note in session.notes)
    with pytest.raises(gk.ProviderError, match="cannot be used") as caught:
        gk.session(RELU, device="cuda")
    assert caught.value.hint == providers.remedy(providers.cuda_problem())
    with pytest.raises(ValueError, match="no device"):
        gk.session(RELU, device="gpu")


def test_the_nodes_that_ran_are_listed_with_their_provider():
    placed = gk.session(RELU, device="cpu", optimize=False).placed
    assert [(p.op_type, p.provider) for p in placed] == [
        ("Relu", "CPUExecutionProvider"),
        ("Neg", "CPUExecutionProvider"),
    ]


def test_nodes_that_compute_shapes_are_told_from_others():
    model = onnx.parser.parse_model("""
    <ir_version: 8, opset_import: ["" : 18]>
    g (float[n,c,h,w] x, float[2] factor) => (float[a,b] y, float[p,q,r,s] z) <float[2] one = {1.0, 1.0}, int64[1] m = {-1}> {
      [shape] s = Shape(x)
      [first] b = Slice(s, m, m)
      [joined] t = Concat<axis=0>(b, m)
      [reshaped] y = Reshape(x, t)
      [scales] k = Concat<axis=0>(one, factor)
      [resized] z = Resize<mode="linear">(x, , k)
    }""")
    assert shape_nodes(model.graph) == {"shape", "first", "joined", "scales"}


def test_every_node_gets_a_name_for_the_report():
    model = gk.Model(RELU)
    names = [node.name for node in named(model).proto.graph.node]
    assert len(set(names)) == 2
    assert all(names)
    assert [node.name for node in RELU.graph.node] == ["", ""]


def test_types_that_numpy_has_no_word_for():
    import ml_dtypes

    model = onnx.parser.parse_model("""
    <ir_version: 9, opset_import: ["" : 19]>
    g (bfloat16[n] x) => (bfloat16[n] y, float8e4m3fn[n] z, string[1] s) <string[1] k = {"word"}> {
      y = Identity(x)
      z = Cast<to=17>(x)
      s = Identity(k)
    }""")
    x = np.array([1.5, -2.25], ml_dtypes.bfloat16)
    made = gk.run(model, {"x": x})
    assert_same(made["y"], x)
    assert_same(made["z"].astype(np.float32), np.array([1.5, -2.25], np.float32))
    assert made["s"].tolist() == ["word"]
    other = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 19]> g (float8e5m2[n] x) => (float[n] y) { y = Cast<to=1>(x) }'
    )
    assert_same(gk.run(other, {"x": x.astype(ml_dtypes.float8_e5m2)})["y"], np.array([1.5, -2.0], np.float32))


TEXTS = onnx.parser.parse_model("""
<ir_version: 9, opset_import: ["" : 20]>
g (string[n] x, string t) => (string[n] y, seq(string) s) <string[1] w = {"b"}> {
  y = StringConcat(x, w)
  s = SequenceConstruct(y, t)
}""")

PARTS = onnx.parser.parse_model("""
<ir_version: 8, opset_import: ["" : 17]>
g (float[4,3] x) => (seq(float[a,3]) s, float[a,3] y) <int64[2] sizes = {1, 3}, int64 last = {1}> {
  s = SplitToSequence <axis: int = 0>(x, sizes)
  y = SequenceAt(s, last)
}""")

CLASSES = onnx.parser.parse_model("""
<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 3]>
g (float[n,2] x) => (int64[n] label, seq(map(int64, float)) p) {
  label, scores = ai.onnx.ml.LinearClassifier <coefficients: floats = [1.0, 2.0, 3.0, 4.0],
    intercepts: floats = [0.0, 0.5], classlabels_ints: ints = [7, 8]>(x)
  p = ai.onnx.ml.ZipMap <classlabels_int64s: ints = [7, 8]>(scores)
}""")


def test_texts_go_in_and_come_out():
    made = gk.run(TEXTS, {"x": np.array(["é", "zz"], object), "t": "q"})
    assert made["y"].tolist() == ["éb", "zzb"]
    assert [part.tolist() for part in made["s"]] == [["éb", "zzb"], "q"]
    random = gk.run(TEXTS, {"x": "random", "t": "random"})
    assert random["y"].shape == (4,)
    assert gk.validate(TEXTS, against=TEXTS, device="cpu", samples=1).match


def test_sequences_come_out_as_lists_of_arrays():
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    made = gk.run(PARTS, {"x": x})
    assert_same(made["s"][0], x[:1])
    assert_same(made["s"][1], x[1:])
    assert_same(made["y"], x[1:])
    report = gk.run_report(PARTS, {"x": x})
    assert (report.outputs["s"].type, report.outputs["y"].type) == ("sequence of 2", "float32[3,3]")
    assert gk.validate(PARTS, against=PARTS, device="cpu", samples=1).match
    other = onnx.ModelProto.FromString(PARTS.SerializeToString())
    other.graph.node[0].attribute[0].i = 0
    other.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.array([2, 2]), "sizes"))
    assert not gk.validate(other, against=PARTS, device="cpu", samples=1).match


def test_maps_come_out_as_dicts():
    made = gk.run(CLASSES, {"x": np.array([[1, 2], [3, 4]], np.float32)})
    assert made["label"].tolist() == [8, 8]
    assert made["p"] == [{7: 5.0, 8: 11.5}, {7: 11.0, 8: 25.5}]
    assert gk.validate(CLASSES, against=CLASSES, device="cpu", samples=1).match


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize("model", [TEXTS, PARTS, CLASSES], ids=["texts", "sequences", "maps"])
def test_bisect_goes_past_values_that_are_no_numbers(model, isolate):
    assert gk.bisect(model, against=model, device="cpu", isolate=isolate).first is None


def test_texts_are_no_feed_for_numbers():
    numbers = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[n] x) => (float[n] y) { y = Relu(x) }'
    )
    texts = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (string[n] x) => (string[n] y) { y = Identity(x) }'
    )
    for function in (gk.validate, gk.bisect):
        with pytest.raises(gk.ComparisonError, match="has texts on the other"):
            function(texts, against=numbers, device="cpu")


def test_torch_tensors_go_in_and_come_out_where_they_are():
    torch = pytest.importorskip("torch")
    session = gk.session(RELU, device="cpu")
    made = session.run_tensors({"x": torch.from_numpy(X)})
    assert isinstance(made["y"], torch.Tensor)
    assert torch.equal(made["y"], -torch.relu(torch.from_numpy(X)))
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[n] x) => (bool[n] y) { y = IsNaN(x) }'
    )
    made = gk.session(model, device="cpu").run_tensors({"x": torch.tensor([1.0, float("nan")])})
    assert made["y"].tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<ir_version: 99, opset_import: ['' : 17]> g (float[n] x) => (float[n] y) { y = Relu(x) }", "IR version"),
        ("<ir_version: 8, opset_import: ['' : 17]> g (float[n] x) => (float[n] y) { y = Relux(x) }", "Relux"),
        ("<ir_version: 8, opset_import: ['' : 9]> g (float[n] x) => (float[n] y) { y = Range(x, x, x) }", "Range"),
        ("<ir_version: 8, opset_import: ['' : 17]> g (float[n] x) => (float[n] y) { y = Add(x) }", "input size 1"),
        ("<ir_version: 8, opset_import: ['' : 17]> g (float[2] x) => (float[n] z) { y = Neg(x) }", "does not exist"),
        ("<ir_version: 8, opset_import: ['' : 17]> g (float[2] x) => (float[2] y) { y = Conv(x, x) }", "Conv"),
        (
            "<ir_version: 8, opset_import: ['' : 17, 'my' : 1]> g (float[n] x) => (float[n] y) { y = my.Op(x) }",
            "registered",
        ),
    ],
)
def test_what_the_runtime_refuses_is_one_short_message_with_a_hint(text, message, tmp_path):
    model = onnx.parser.parse_model(text.replace("'", '"'))
    onnx.save(model, tmp_path / "m.onnx")
    for given in (model, tmp_path / "m.onnx"):
        with pytest.raises(gk.SessionError, match=message) as caught:
            gk.run(given, {"x": np.ones(2, np.float32)})
        assert "onnxruntime_src" not in str(caught.value)
        assert "[ONNXRuntimeError]" not in str(caught.value)
        assert str(caught.value).count("failed") == 1
        assert caught.value.hint


def test_a_resize_without_a_size_does_not_end_the_process():
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[] x) => (float[] y) <float[4,3,3,3] w> {
        c = Conv(x, w) r = Resize(c, ) y = Relu(r) }"""
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((4, 3, 3, 3), np.float32), "w"))
    del model.graph.value_info[:]
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(gk.InvalidGraphError, match="neither scales nor sizes"):
        gk.run(model, {"x": np.zeros((1, 3, 4, 4), np.float32)})


def test_running_out_of_memory_is_said_so():
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (int64[1] n) => (float[m] y) { y = ConstantOfShape(n) }'
    )
    with pytest.raises(gk.SessionError, match="memory"):
        gk.run(model, {"n": np.array([1 << 50])})


def test_a_large_weight_that_nothing_reads_is_no_hindrance(tmp_path):
    """ONNX Runtime drops such a weight before it looks for the array that is to take its place."""
    text = '<ir_version: 8, opset_import: ["": 18]> g (float[2] x) => (float[2] y) { y = Relu(x) }'
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(100_000, np.float32), "unread"))
    onnx.save(model, tmp_path / "m.onnx")
    assert gk.run(gk.load(tmp_path / "m.onnx"), {"x": np.float32([-1, 1])})["y"].tolist() == [0, 1]


def test_an_output_that_is_an_input_or_a_weight_has_memory_of_its_own():
    """Found by random models, seed 1058: it lay on the caller's array, and held garbage once that was gone."""
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18]> g (float[n] x) => (float[n] x, float[2] w, float[n] y)
        <float[2] w = {1, 2}> { y = Neg(x) }"""
    )
    session = gk.session(model)
    fed = np.arange(3, dtype=np.float32)
    got = session.run({"x": fed})
    fed[:] = 9
    np.testing.assert_array_equal(got["x"], [0, 1, 2])
    got["w"][:] = 7
    np.testing.assert_array_equal(session.run({"x": fed})["w"], [1, 2])


@pytest.mark.parametrize(
    ("moved", "read"),
    [
        ("a = Transpose <perm = [1, 0]> (d) m = Transpose <perm = [1, 0]> (a)", ("d", "m")),
        ("a = Transpose <perm = [1, 0]> (d) m = Transpose <perm = [1, 0]> (a)", ("m", "m")),
        ("to = Constant <value_ints = [2, 3]> () m = Reshape (d, to)", ("d", "m")),
    ],
)
def test_a_dequantized_value_that_bodies_read_does_not_end_the_process(moved, read):
    """ONNX Runtime 1.31 aborts where its optimizer moves the DequantizeLinear."""
    model = onnx.parser.parse_model(f"""<ir_version: 10, opset_import: ["": 21]>
    g (float[2,3] x, bool f) => (float[2,3] y) <float s = {{0.5}}, uint8 z = {{128}}> {{
      q = QuantizeLinear (x, s, z)
      d = DequantizeLinear (q, s, z)
      {moved}
      y = If (f) <then_branch = t () => (float[2,3] p) {{ p = Add (x, {read[0]}) }},
                  else_branch = e () => (float[2,3] r) {{ r = Sub (x, {read[1]}) }}> }}""")
    x = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    assert np.array_equal(gk.run(model, {"x": x, "f": True})["y"], 2 * x)


def test_weights_that_nothing_reads_are_neither_handed_over_nor_counted(tmp_path, monkeypatch):
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 20]> g (float[1000] x) => (float[1000] y) { y = Add (x, w) }'
    )
    for name in ("w", "unread"):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(1000, np.float32), name))
    gk.save(model, tmp_path / "m.onnx", external="m.data")
    monkeypatch.setattr("graphkit.runtime.handover.SERIALIZED_LIMIT", 3000)
    carried = carry(gk.load(tmp_path / "m.onnx"))
    assert carried.names == ["w"]
    assert len(carried.content) < 3000
    assert np.array_equal(
        gk.session(gk.load(tmp_path / "m.onnx")).run({"x": np.zeros(1000, np.float32)})["y"], np.ones(1000)
    )


def test_more_weights_than_a_proto_may_hold_in_constants_are_an_error(tmp_path, monkeypatch):
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 20]> g (float[1000] x) => (float[1000] y) { y = Add (x, w) }'
    )
    value = onnx.numpy_helper.from_array(np.ones(1000, np.float32), "w")
    model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["w"], value=value))
    gk.save(model, tmp_path / "m.onnx", external="m.data")
    monkeypatch.setattr("graphkit.runtime.handover.SERIALIZED_LIMIT", 3000)
    with pytest.raises(gk.SessionError, match="more than 2 GB"):
        carry(gk.load(tmp_path / "m.onnx"))
