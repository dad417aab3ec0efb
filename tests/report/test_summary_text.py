"""A Summary as text."""

import numpy as np
import onnx

import graphkit as gk


def linear(count: int = 2) -> gk.Model:
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "w"], ["m"], name="/fc/MatMul"),
        onnx.helper.make_node("Relu", ["m"], ["y"], name="/act/Relu"),
    ]
    nodes += [onnx.helper.make_node("Neg", ["y"], [f"n{i}"], name=f"/extra.{i}/Neg") for i in range(count - 2)]
    weights = {"w": np.zeros((300, 300), np.float32)}
    return gk.build(nodes, {"x": "float32[n,300]"}, {"y": "float32[n,300]"}, initializers=weights)


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_usual_text() -> None:
    shown = lines(gk.text(gk.inspect(linear())))
    assert shown[0] == "(graph)"
    assert "made by graphkit" in shown
    assert "format IR 10, opset ai.onnx 21" in shown
    assert "weights 90,000 in 1 tensors, 360.0 kB" in shown
    assert shown[shown.index("inputs") + 1] == "x float32[n,300]"
    assert shown[shown.index("outputs") + 1] == "y float32[n,300]"
    assert "1 MatMul, 1 Relu" in shown
    assert shown[shown.index("torch modules") + 1 :][:3] == [
        "nodes parameters bytes module class",
        "2 90,000 360.0 kB (the whole module)",
        "1 90,000 360.0 kB fc",
    ]
    assert "values" not in shown
    assert "nodes" not in shown


def test_nodes_and_values_on_demand() -> None:
    shown = lines(gk.text(gk.inspect(linear(), infer=True), nodes=True, values=True))
    assert shown[shown.index("values") + 1] == "m float32[n,300] made by /fc/MatMul"
    assert shown[shown.index("weights") + 1] == "w float32[300,300] 360.0 kB"
    at = shown.index("nodes")
    assert shown[at + 1 : at + 3] == ["MatMul() /fc/MatMul in fc", "x, w -> m"]


def test_long_lists_of_modules_are_cut() -> None:
    shown = lines(gk.text(gk.inspect(linear(60))))
    assert "... and 50 more; the JSON lists them all" in shown


def test_long_texts_stay_on_their_line() -> None:
    model = linear()
    proto = model.copy_proto()
    proto.metadata_props.add(key="config", value="{\n" * 200)
    shown = gk.text(gk.inspect(proto))
    assert max(map(len, shown.splitlines())) < 130
    assert "..." in shown


def test_what_was_done_is_listed() -> None:
    model = linear()
    edited = model.after(gk.Step("freeze", {"input": "x"}), model.copy_proto())
    assert "freeze input='x'" in lines(gk.text(gk.inspect(edited)))


def test_one_text_for_every_result() -> None:
    summary = gk.inspect(linear())
    assert gk.text(summary) == gk.text(summary)
