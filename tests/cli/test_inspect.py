"""``graphkit inspect``."""

import json

import onnx
import pytest

import graphkit as gk

MODEL = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[n] x) => (float[n] y) { [first] m = Neg(x) y = Abs(m) }
"""


@pytest.fixture
def path(tmp_path):
    onnx.save(onnx.parser.parse_model(MODEL), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_text(graphkit, path):
    ran = graphkit("inspect", path)
    assert ran.code == 0
    assert ran.err == ""
    assert "x  float32[n]" in ran.out
    assert "1 Neg, 1 Abs" in ran.out
    assert "first" not in ran.out


def test_nodes_and_values(graphkit, path):
    ran = graphkit("inspect", path, "--nodes", "--values")
    assert ran.code == 0
    assert "Neg()  first" in ran.out
    assert "m  float32[n]  made by first" in ran.out


def test_json_lists_everything(graphkit, path):
    read = json.loads(graphkit("inspect", path, "--json").out)
    assert [node["operator"] for node in read["nodes"]] == ["Neg", "Abs"]
    assert read["values"][0]["name"] == "m"


def test_a_file_that_is_not_there(graphkit, tmp_path):
    ran = graphkit("inspect", tmp_path / "none.onnx")
    assert ran.code == 3
    assert ran.out == ""
    assert "none.onnx" in ran.err


def test_a_file_that_is_no_model(graphkit, tmp_path):
    (tmp_path / "text.onnx").write_text("hello " * 20)
    ran = graphkit("inspect", tmp_path / "text.onnx")
    assert ran.code == 3
    assert "text.onnx" in ran.err


def test_one_value_one_node_and_a_text(graphkit, path):
    assert "made by  Neg 'first'(x) -> m" in graphkit("inspect", path, "--value", "m").out
    assert "+1  Abs(m) -> y" in graphkit("inspect", path, "--node", "first", "--hops", "2").out
    assert "1 thing holds 'neg'" in graphkit("inspect", path, "--find", "neg").out
    assert json.loads(graphkit("inspect", path, "--value", "m", "--json").out)["kind"] == "made"
    assert graphkit("inspect", path, "--value", "nope").code == 3
    assert graphkit("inspect", path, "--value", "m", "--node", "first").code == 2


def test_sizes_tell_what_a_run_computes(graphkit, path):
    assert "bind sizes to n" in graphkit("inspect", path).out
    ran = graphkit("inspect", path, "--bind", "n=4")
    assert "at most 32 B of values at once" in ran.out
    assert json.loads(graphkit("inspect", path, "--bind", "n=4", "--json").out)["work"]["peak_bytes"] == 32
    assert graphkit("inspect", path, "--bind", "k=4").code in (2, 3)
    assert graphkit("inspect", path, "--bind", "n=4,5").code == 2


def test_a_cycle_is_named_and_no_command_is_said_to_mend_it(graphkit, tmp_path):
    text = '<ir_version: 8, opset_import: ["": 18]> g (float[2] x) => (float[2] b) { a = Add(x, b) b = Relu(a) }'
    path = tmp_path / "cyclic.onnx"
    path.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    findings = json.loads(graphkit("inspect", path, "--json").out)["findings"]
    assert [(one["kind"], one["remedy"]) for one in findings] == [("cycle", None)]


def test_the_page_has_what_the_text_has_and_names_stay_text(graphkit, tmp_path):
    bad = "<script>alert(1)</script>"
    node = onnx.helper.make_node("Relu", [bad], ["y"], name=bad)
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph([node], bad, [value(bad, 1, ["n", 3])], [value("y", 1, ["n", 3])])
    path, page = tmp_path / "m.onnx", tmp_path / "m.html"
    path.write_bytes(onnx.helper.make_model(graph, ir_version=9, producer_name=bad).SerializeToString())
    assert graphkit("inspect", path, "--html", page).code == 0
    text = page.read_text()
    assert bad not in text
    assert "&lt;script&gt;" in text
    assert "float32[n,3]" in text
    assert "IR 9" in text
    assert "Relu" in text
    assert graphkit("inspect", path, "--html", page, "--find", "x").code == 2
    assert graphkit("inspect", path, "--html", path).code == 2, "the page would take the place of the model"


def test_a_cut_list_says_how_to_see_the_rest(graphkit, tmp_path):
    nodes = [onnx.helper.make_node("Relu", [f"x{i}"], [f"y{i}"]) for i in range(30)]
    values = [dict.fromkeys((f"{side}{i}" for i in range(30)), "float32[2]") for side in "xy"]
    gk.save(gk.build(nodes, *values), tmp_path / "m.onnx")
    short, whole = graphkit("inspect", tmp_path / "m.onnx").out, graphkit("inspect", tmp_path / "m.onnx", "--all").out
    assert short.splitlines()[-1] == "(--all lists what is left out here)"
    assert ("y29" in short, "y29" in whole, "--all" in whole) == (False, True, False)
