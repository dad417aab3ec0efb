"""check: everything that is wrong with a model, each fault with its rule and its node or value."""

import json
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphkit as gk
from rich_model import rich_model

HEAD = '<ir_version: 8, opset_import: ["": 18]> '


def parse(text):
    return onnx.parser.parse_model(HEAD + text)


def found(model, **options):
    """Rule -> node or value, of every finding; the runtime's left out."""
    return [(f.kind, f.node or f.value) for f in gk.check(model, **options).findings if f.kind != "runtime"]


def test_a_valid_model_is_true_and_the_runtime_is_named():
    result = gk.check(parse("g (float[2] x) => (float[2] y) { y = Relu(x) }"))
    assert result
    assert (result.valid, result.findings) == (True, ())
    assert result.runtime.startswith("onnxruntime 1.")
    assert gk.text(result) == f"valid; {result.runtime} loads it"


FAULTS = {
    "[a] y = Relux(x)": [("operator", "a")],
    "[a] y = Neg(t)  [b] t = Abs(x)": [("order", "a")],
    "[a] y = Neg(t)  [b] t = Abs(y)": [("cycle", "b")],
    "[a] y = Neg(x)  [b] y = Abs(x)": [("definition", "y")],
    "[a] y = Neg(q)": [("reference", "a")],
    "[a] y = Neg(x, x)": [("node", "a")],
    "[a] y = Concat(x, x)": [("node", "a")],
    "[a] y = Neg<alpha = 1.0>(x)": [("onnx-checker", "a")],
    "[a] t = Cast<to = 7>(x)  [b] y = Add(x, t)": [("type", "b")],
    "[a] t = Not(x)  [b] y = Relu(x)": [("type", "a")],
    "[a] y = Add(x, w)": [("shape", "a")],
    "[a] y = Attention(x, x, x)": [("operator", "a")],
    "[a] y = my.F(x)": [],
}


@pytest.mark.parametrize("text", FAULTS)
def test_each_fault_is_named_by_its_rule_and_node(text):
    model = parse(f"g (float[2] x) => (float[2] y) <float[3] w = {{1, 2, 3}}> {{ {text} }}")
    if "my." in text:
        model.opset_import.add(domain="my", version=1)
    assert found(model) == FAULTS[text]
    assert not gk.check(model)


def test_all_that_is_wrong_is_said_in_bodies_and_functions_too():
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 18, "my": 1]>
        g (float[3] x, int64[3] i, bool c) => (float[3] z) {
            [n1] a = Add(x, i)
            [n2] b = Sub(x, q)
            [n3] d = my.F(x)
            [n4] z = If (c) <
                then_branch = t () => (float[3] tb) { [n5] tb = Mul(x, i) },
                else_branch = e () => (float[3] eb) { [n6] eb = Foo(x, i) }
            >
        } <domain: "my", opset_import: ["": 18]> F (p) => (r) { [f1] s = Bar(p)  [f2] r = Neg(gone) }""")
    assert set(found(model)) == {
        ("type", "n1"), ("reference", "n2"), ("type", "n5"), ("operator", "n6"), ("operator", "f1"), ("reference", "f2"),
    }  # fmt: skip


def test_what_the_runtime_alone_knows_is_said():
    model = parse("g (float[2] x) => (float[2] y) { [a] y = my.Foo(x) }")
    model.opset_import.add(domain="my", version=1)
    result = gk.check(model)
    assert [f.kind for f in result.findings] == ["runtime"]
    assert "my:Foo" in result.findings[0].message
    assert gk.check(model, runtime=False)


@pytest.mark.parametrize("change", [{"ir_version": 99}, {"opset": 99}])
def test_versions_that_the_installed_runtime_does_not_take(change):
    model = parse("g (float[2] x) => (float[2] y) { [a] y = Neg(x) }")
    model.ir_version = change.get("ir_version", 8)
    model.opset_import[0].version = change.get("opset", 18)
    assert "runtime" in [f.kind for f in gk.check(model).findings]


def weighted(tensor):
    model = parse("g (float[40, 40] x) => (float[40, 40] y) { y = Add(x, w) }")
    model.graph.initializer.append(tensor)
    return model


def test_files_that_load_refuses_are_read_and_every_tensor_is_said(tmp_path):
    model = weighted(TensorProto(name="w", data_type=1, dims=[40, 40], raw_data=bytes(6396)))
    outside = model.graph.initializer.add(name="o", data_type=1, dims=[40, 40], data_location=TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="../secret")
    both = model.graph.initializer.add(
        name="b", data_type=1, dims=[2], data_location=TensorProto.EXTERNAL, raw_data=bytes(8)
    )
    both.external_data.add(key="location", value="here")
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(gk.TensorError):
        gk.load(tmp_path / "m.onnx")
    kinds = [
        (f.kind, f.value) for f in gk.check(tmp_path / "m.onnx").findings if f.kind not in ("runtime", "onnx-checker")
    ]
    assert sorted(kinds) == [("external-data", None), ("tensor", "b"), ("tensor", "w")]
    opened = gk.load(tmp_path / "m.onnx", strict=False)
    assert [t.name for t in opened.proto.graph.initializer] == ["w", "o", "b"]
    with pytest.raises(gk.TensorError, match="'w'"):
        opened.array("w")
    with pytest.raises(gk.WeightsError, match="secret"):
        opened.array("o")


@pytest.mark.parametrize("large", [False, True])
def test_a_file_without_an_opset_is_read(tmp_path, monkeypatch, large):
    if large:
        monkeypatch.setattr("graphkit.storage.load.SMALL_FILE", 0)
    model = parse("g (float[2] x) => (float[2] y) { [a] y = Neg(x) }")
    del model.opset_import[:]
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(gk.FormatError, match="imports no operator set"):
        gk.load(tmp_path / "m.onnx")
    assert not gk.check(tmp_path / "m.onnx")
    assert gk.load(tmp_path / "m.onnx", strict=False).proto == model


def test_weights_that_are_not_there_are_said(tmp_path):
    model = weighted(TensorProto(name="w", data_type=1, dims=[40, 40]))
    assert found(model) == [("weights", "w")]
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((40, 40), np.float32), "w"))
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.data")
    assert gk.check(tmp_path / "m.onnx")
    (tmp_path / "w.data").unlink()
    assert found(tmp_path / "m.onnx") == [("external-data", "w")]


def test_large_weights_are_no_fault_and_are_not_read(tmp_path):
    gk.save(weighted(numpy_helper.from_array(np.ones((40, 40), np.float32), "w")), tmp_path / "m.onnx")
    assert gk.check(gk.load(tmp_path / "m.onnx"), runtime=False)


def test_of_a_model_with_every_field_only_what_is_wrong_is_said():
    """It names a data file that is not there, and declares another rank than its If makes."""
    assert set(found(rich_model(), runtime=False)) == {("external-data", "outside"), ("shape", "branch")}


def test_it_agrees_with_the_checker_on_what_onnx_calls_invalid():
    """Whatever the checker refuses is refused here, and the other way round but for what the runtime or types say."""
    texts = [*FAULTS, "y = Relu(x)", "y = Clip(x)", "y = Identity(x)"]
    for text in texts:
        model = parse(f"g (float[2] x) => (float[2] y) <float[3] w = {{1, 2, 3}}> {{ {text} }}")
        try:
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
            assert not gk.check(model, runtime=False), text
        else:
            assert gk.check(model, runtime=False), text


def test_functions_that_double_are_checked_at_once():
    opsets = [helper.make_opsetid("my", 1), helper.make_opsetid("", 18)]
    functions = [helper.make_function("my", "F0", ["a"], ["o"], [helper.make_node("Relu", ["a"], ["o"])], opsets)]
    for i in range(1, 40):
        calls = [helper.make_node(f"F{i - 1}", [a], [o], domain="my") for a, o in (("a", "t"), ("t", "o"))]
        functions.append(helper.make_function("my", f"F{i}", ["a"], ["o"], calls, opsets))
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "xy")
    graph = helper.make_graph([helper.make_node("F39", ["x"], ["y"], domain="my")], "g", [x], [y])
    start = time.process_time()
    result = gk.check(helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=functions))
    assert time.process_time() - start < 20  # of a slow machine; 2 ** 39 calls take weeks
    assert {f.kind for f in result.findings} <= {"runtime", "shape"}
    assert not result


def test_json_has_the_verdict_and_the_findings():
    said = json.loads(gk.to_json(gk.check(parse("g (float[2] x) => (float[2] y) { [a] y = Relux(x) }"))))
    assert said["valid"] is False
    assert (said["findings"][0]["kind"], said["findings"][0]["node"]) == ("operator", "a")


UNTYPED = """<ir_version: 8, opset_import: ["": 18, "ai.onnx.ml": 1]> g (float[2,2] x) => (z)
  <int64[1] at = {1}> { y = ai.onnx.ml.Scaler <offset = [0.0], scale = [2.0]> (x)
  a = ai.onnx.ml.ArrayFeatureExtractor(y, at) z = Identity(a) }"""


def test_a_type_that_inference_does_not_know_is_no_fault(tmp_path):
    """scikit-learn's models: operators of ai.onnx.ml have no rule of inference, so that nothing is known behind them."""
    model = onnx.parser.parse_model(UNTYPED.replace("=> (z)", "=> (float[2,1] z)"))
    checked = gk.check(model)
    assert checked.valid, gk.text(checked)
    with pytest.raises(onnx.shape_inference.InferenceError, match="instead is null"):
        onnx.shape_inference.infer_shapes(model, strict_mode=True)
