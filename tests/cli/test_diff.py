"""``graphkit diff``."""

import json

import onnx
import pytest

TEXT = """<ir_version: 10, opset_import: ["" : 18]> g (float[2] x) => (float[2] y)
{{ [first] m = {}({}) y = Abs(m) }}"""
HOSTILE = "<script>|`x`\x1b[2J\n\u202e*" + "long" * 2500


@pytest.fixture
def paths(tmp_path):
    def write(name, operator, change=None):
        model = onnx.parser.parse_model(TEXT.format(operator, "x"))
        if change is not None:
            change(model)
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    return write


def hostile(model):
    model.graph.node[0].name = model.graph.node[0].output[0] = model.graph.node[1].input[0] = HOSTILE
    model.metadata_props.add(key=HOSTILE, value=HOSTILE)


def test_equal_is_0_different_is_1_and_what_is_ignored_is_0(graphkit, paths):
    a, b = paths("a.onnx", "Neg"), paths("b.onnx", "Neg")
    c = paths("c.onnx", "Neg", lambda m: setattr(m.graph.node[0], "name", "other"))
    d = paths("d.onnx", "Relu")
    same = graphkit("diff", a, b)
    assert same.code == 0
    assert same.out.splitlines()[0] == "equal"
    assert graphkit("diff", a, c).code == 1
    assert "equal but for names" in graphkit("diff", a, c).out
    assert graphkit("diff", a, c, "--ignore", "names").code == 0
    ran = graphkit("diff", a, d, "--ignore", "names", "--ignore", "weights")
    assert ran.code == 1
    assert "~ first (Relu): operator Neg -> Relu" in ran.out
    assert graphkit("diff", a, "missing.onnx").code == 3
    assert graphkit("diff", a, b, "--ignore", "nodes").code == 2


def test_json(graphkit, paths):
    a, c = paths("a.onnx", "Neg"), paths("c.onnx", "Neg", lambda m: setattr(m.graph.node[0], "name", "other"))
    read = json.loads(graphkit("diff", a, c, "--json").out)
    assert read["equal"] is False
    assert read["renamed"][0]["kind"] == "node"
    assert (read["renamed"][0]["former"], read["renamed"][0]["name"]) == ("first", "other")
    assert read["added"] == read["removed"] == read["changed"] == read["moved"] == []


def test_hostile_names_neither_steer_the_terminal_nor_break_pages_and_tables(graphkit, paths, tmp_path):
    a, b = paths("a.onnx", "Neg"), paths("b.onnx", "Sin", hostile)
    ran = graphkit("diff", a, b, "--html", tmp_path / "d.html", "--markdown", tmp_path / "d.md")
    assert ran.code == 1
    assert "\x1b" not in ran.out
    assert "\u202e" not in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80
    assert len(ran.out) < 4000
    page = (tmp_path / "d.html").read_text()
    assert "<script" not in page
    assert '<tr class="changed"' in page
    assert "http" not in page
    table = (tmp_path / "d.md").read_text()
    assert "<script" not in table
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {5}


def test_a_page_that_cannot_be_written_is_refused_before_the_work(graphkit, paths, tmp_path):
    a = paths("a.onnx", "Neg")
    assert graphkit("diff", a, a, "--html", tmp_path / "nowhere" / "d.html").code == 3
