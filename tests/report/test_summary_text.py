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
    assert "operators 1 MatMul, 1 Relu" in shown
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


def test_a_large_model_is_told_on_one_screen_and_whole_where_that_is_asked_for() -> None:
    summary = gk.inspect(linear(60))
    shown = lines(gk.text(summary))
    modules = shown[shown.index("torch modules") :]
    listed = len(modules) - len(["title", "head", "more"])
    assert (len(shown) <= 29, modules[-1]) == (
        True,
        f"... and {len(summary.modules) - listed} more",
    )
    whole = gk.text(summary, whole=True)
    assert all(module.path in whole for module in summary.modules)


def test_many_inputs_functions_and_metadata_are_cut_to_one_screen_and_listed_whole_on_demand() -> None:
    inputs = {f"past.{i}": "float32[n]" for i in range(40)}
    nodes = [
        onnx.helper.make_node(f"F{i}", [f"past.{i}"], [f"y{i}"], f"/layers.{i}/f", domain="own") for i in range(40)
    ]
    model = gk.build(nodes, inputs, {f"y{i}": "float32[n]" for i in range(40)}, opset={"": 20, "own": 1})
    proto = model.copy_proto()
    inner = [onnx.helper.make_node("Relu", ["a"], ["b"])]
    for i in range(40):
        proto.functions.append(
            onnx.helper.make_function("own", f"F{i}", ["a"], ["b"], inner, [onnx.helper.make_opsetid("", 20)])
        )
        proto.metadata_props.add(key=f"key{i}", value="v" * i)
    summary = gk.inspect(proto)
    shown, whole = gk.text(summary).splitlines(), gk.text(summary, whole=True)
    assert len(shown) <= 29
    assert max(map(len, shown)) <= 80
    assert "  ... and 36 more" in shown
    for word in ("past.39", "y39", "own::F39", "key39", "layers.39"):
        assert word in whole


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
    assert "edits freeze; `graphkit history`" in lines(gk.text(gk.inspect(edited)))
    assert "freeze input='x'" in lines(gk.text(gk.inspect(edited), whole=True))


def test_one_text_for_every_result() -> None:
    summary = gk.inspect(linear())
    assert gk.text(summary) == gk.text(summary)
