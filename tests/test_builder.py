"""gk.build: models from nodes, that the installed runtime runs."""

import importlib
import sys
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import graphkit as gk
from graphkit.builder import RuntimeLimits, build, runtime_limits

room = importlib.import_module("graphkit.builder")

X = np.array([1.0, -2.0, 3.0], np.float32)


def run(model: gk.Model, *arrays: Any) -> list[Any]:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(model.proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {i.name: a for i, a in zip(session.get_inputs(), arrays, strict=True)})


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def test_linear_function_runs() -> None:
    infos = {n: helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n"]) for n in ("a", "x", "b", "output")}
    model = build(
        [node("Mul", "a x", "c"), node("Add", "c b", "output")],
        [infos["a"], infos["x"], infos["b"]],
        [infos["output"]],
        name="linear",
    )
    np.testing.assert_array_equal(run(model, X, X, X)[0], X * X + X)
    assert model.proto.graph.name == "linear"
    assert [(o.domain, o.version) for o in model.proto.opset_import] == [("", 21)]
    assert model.proto.ir_version == 10


def test_initializers_as_arrays_and_types_as_text() -> None:
    model = build([node("Mul", "x w", "y")], {"x": "float32[n]"}, {"y": "float32[n]"}, initializers={"w": X})
    np.testing.assert_array_equal(run(model, X)[0], X * X)
    same = build(
        [node("Mul", "x w", "y")],
        {"x": "float32[n]"},
        {"y": "float32[n]"},
        initializers=[onnx.numpy_helper.from_array(X, "w")],
    )
    assert same.proto == model.proto


def test_unsorted_nodes_are_sorted_and_the_given_ones_left_alone() -> None:
    given = [node("Neg", "m", "y"), node("Abs", "x", "m")]
    model = build(given, {"x": "float32[3]"}, {"y": "float32[3]"})
    assert [n.op_type for n in model.proto.graph.node] == ["Abs", "Neg"]
    assert [n.op_type for n in given] == ["Neg", "Abs"]
    np.testing.assert_array_equal(run(model, X)[0], -abs(X))


def test_an_operator_newer_than_the_usual_opset_raises_it() -> None:
    model = build(
        [node("RMSNormalization", "x w", "y")], {"x": "float32[2,3]", "w": "float32[3]"}, {"y": "float32[2,3]"}
    )
    expected = min(23, runtime_limits().opset)
    assert model.proto.opset_import[0].version == expected


def test_functions_and_their_domain() -> None:
    function = helper.make_function(
        "mine", "Twice", ["p"], ["q"], [node("Add", "p p", "q")], [helper.make_opsetid("", 21)]
    )
    model = build(
        [node("Twice", "x", "y", domain="mine")], {"x": "float32[3]"}, {"y": "float32[3]"}, functions=[function]
    )
    np.testing.assert_array_equal(run(model, X)[0], 2 * X)
    assert {o.domain: o.version for o in model.proto.opset_import} == {"": 21, "mine": 1}


def test_machine_learning_operators_get_their_opset() -> None:
    model = build([node("Binarizer", "x", "y", domain="ai.onnx.ml")], {"x": "float32[3]"}, {"y": "float32[3]"})
    assert {o.domain: o.version for o in model.proto.opset_import} == {"": 21, "ai.onnx.ml": 5}
    np.testing.assert_array_equal(run(model, X)[0], [1, 0, 1])


def test_opset_and_ir_version_asked_for() -> None:
    model = build(
        [node("Neg", "x", "y")],
        {"x": "float32[3]"},
        {"y": "float32[3]"},
        opset={"ai.onnx": 13, "extra": 2},
        ir_version=8,
    )
    assert {o.domain: o.version for o in model.proto.opset_import} == {"": 13, "extra": 2}
    assert model.proto.ir_version == 8
    np.testing.assert_array_equal(run(model, X)[0], -X)


@pytest.mark.parametrize(
    ("nodes", "error", "words"),
    [
        ([("Neg", "in", "y")], gk.NameNotFoundError, "'in'"),
        ([("Neg", "x", "z")], gk.NameNotFoundError, "graph output"),
        ([("Neg", "x", "y"), ("Abs", "x", "y")], gk.NameTakenError, "already an output of a node Neg"),
        ([("Neg", "x", "x")], gk.NameTakenError, "already a graph input"),
        ([("Neg", "x", "w")], gk.NameTakenError, "already an initializer"),
        ([("Add", "x c", "b"), ("Neg", "b", "c"), ("Neg", "c", "y")], gk.InvalidGraphError, "cycle"),
        ([("Negg", "x", "y")], gk.InvalidGraphError, "did you mean Neg"),
        ([("Swish", "x", "y")], gk.InvalidGraphError, "since opset 24"),
        ([("Upsample", "x w", "y")], gk.InvalidGraphError, "deprecated"),
        ([("Add", "x", "y")], gk.InvalidGraphError, "checker"),
    ],
)
def test_what_makes_no_graph(nodes: list[tuple[str, str, str]], error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        build(
            [node(*spelt) for spelt in nodes],
            {"x": "float32[3]"},
            {"y": "float32[3]"},
            initializers={"w": X},
            opset=21,
        )
    assert words in str(caught.value)


def test_a_name_close_by_is_suggested() -> None:
    with pytest.raises(gk.NameNotFoundError, match="did you mean 'image'"):
        build([node("Neg", "imaeg", "y")], {"image": "float32[3]"}, {"y": "float32[3]"})


def test_inputs_and_initializers_named_twice() -> None:
    info = helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])
    with pytest.raises(gk.NameTakenError, match="a graph input twice"):
        build([], [info, info], [])
    with pytest.raises(gk.NameTakenError, match="an initializer twice"):
        build([], [], [], initializers=[onnx.numpy_helper.from_array(X, "w")] * 2)


def test_an_initializer_may_be_the_default_of_an_input() -> None:
    model = build([node("Neg", "x", "y")], {"x": "float32[3]"}, {"y": "float32[3]"}, initializers={"x": X})
    assert len(model.proto.graph.input) == 1
    np.testing.assert_array_equal(run(model)[0], -X)


def test_arguments_of_another_kind() -> None:
    with pytest.raises(TypeError, match="ValueInfoProto"):
        build([], ["x"], [])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="TensorProto"):
        build([], [], [], initializers=[X])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="no type"):
        build([], {"x": "float32[3"}, {})
    with pytest.raises(ValueError, match="knows no opset above"):
        build([], {}, {}, opset=999)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.22.1", (10, 22)),
        ("1.23.2", (11, 23)),
        ("1.24.4", (13, 25)),
        ("1.31.1", (13, 26)),
        ("2.0.0", (13, 26)),
        ("1.17.0", (8, 17)),
        ("", (10, 22)),
    ],
)
def test_limits_by_version(version: str, expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_runtime_version", lambda: version)
    assert runtime_limits() == RuntimeLimits(version, *expected)


def test_a_model_the_runtime_cannot_load_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_runtime_version", lambda: "1.22.1")
    with pytest.warns(gk.GraphkitWarning, match=r"onnxruntime 1\.22\.1 loads up to IR 10 and opset 22"):
        build([node("Neg", "x", "y")], {"x": "float32[3]"}, {"y": "float32[3]"}, opset=23)


def test_the_version_is_told_without_importing_the_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    assert runtime_limits().version == onnxruntime.__version__
    monkeypatch.delitem(sys.modules, "onnxruntime")
    assert runtime_limits().version == onnxruntime.__version__
    assert "onnxruntime" not in sys.modules


def loads(ir_version: int, opset: int) -> bool:
    onnxruntime = pytest.importorskip("onnxruntime")
    info = (
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [1]),
    )
    proto = helper.make_model(
        helper.make_graph([node("Add", "x x", "y")], "g", info[:1], info[1:]),
        ir_version=ir_version,
        opset_imports=[helper.make_opsetid("", opset)],
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except onnxruntime.capi.onnxruntime_pybind11_state.Fail:
        return False
    return True


def test_the_installed_runtime_loads_what_the_table_says() -> None:
    limits = runtime_limits()
    assert loads(limits.ir_version, limits.opset)
    assert not loads(limits.ir_version + 1, limits.opset)
    assert not loads(limits.ir_version, limits.opset + 1)
