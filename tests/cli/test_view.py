"""graphkit view."""

import json
import webbrowser
from pathlib import Path

import onnx
import pytest

TEXT = '<ir_version: 8, opset_import: ["": 18]> g (float[2] x) => (float[2] y) { [a] h = Relu(x)\n [b] y = Neg(h) }'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx.save(onnx.parser.parse_model(TEXT), "model.onnx")
    return tmp_path


def test_a_page_is_written_and_said(graphkit, folder):
    ran = graphkit("view", "model.onnx", "--html", "model.html")
    assert (ran.code, ran.out, ran.err) == (0, "wrote model.html: 2 nodes, 0 findings\n", "")
    assert (folder / "model.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    said = json.loads(graphkit("view", "model.onnx", "--html", "m.html", "--highlight", "cut:h->y", "--json").out)
    assert (said["path"], said["nodes"], said["highlighted"]) == ("m.html", 2, {"cut h -> y": 1})


def test_the_foot_says_version_date_and_command(shell, folder):
    assert shell("view", "model.onnx", "--html", "model.html").code == 0
    page = (folder / "model.html").read_text(encoding="utf-8")
    assert ": graphkit view model.onnx --html model.html" in page


def test_without_a_file_the_browser_is_opened_on_a_temporary_page(graphkit, folder, monkeypatch):
    called = []
    monkeypatch.setattr(webbrowser, "open", called.append)
    said = json.loads(graphkit("view", "model.onnx", "--json").out)
    path = Path(said["path"])
    assert called == [path.as_uri()]
    path.unlink()
    path.parent.rmdir()


def test_what_cannot_be_done_is_refused_and_nothing_is_written(graphkit, folder):
    assert graphkit("view", "model.onnx", "--html", "no/model.html").code == 3
    assert graphkit("view", "none.onnx", "--html", "model.html").code == 3
    (folder / "damaged.onnx").write_bytes(b"\x08\x0a\x3a\xff")
    assert graphkit("view", "damaged.onnx", "--html", "model.html").code == 3
    ran = graphkit("view", "model.onnx", "--html", "model.html", "--highlight", "nowhere")
    assert ran.code == 3
    assert "no node or value named 'nowhere'" in ran.err
    assert not (folder / "model.html").exists()


@pytest.mark.parametrize("command", ["validate", "bisect"])
def test_the_page_of_a_comparison_links_to_the_drawing_that_is_written_beside_it(graphkit, folder, command):
    onnx.save(onnx.parser.parse_model(TEXT.replace("Neg", "Abs")), "other.onnx")
    (folder / "pages").mkdir()
    ran = graphkit(command, "model.onnx", "--against", "other.onnx", "--html", "pages/r.html", "--view", "m.html")
    assert ran.code == 1
    assert 'href="../m.html#value=y"' in (folder / "pages" / "r.html").read_text(encoding="utf-8")
    drawn = (folder / "m.html").read_text(encoding="utf-8")
    assert ("first difference: y" in drawn) == (command == "bisect")
    assert graphkit(command, "model.onnx", "--against", "other.onnx", "--view", "no/m.html").code == 3


def test_the_page_of_a_difference_links_to_the_drawing_where_it_is_in_colour(graphkit, folder):
    onnx.save(onnx.parser.parse_model(TEXT.replace("y = Neg(h)", "k = Abs(h)\n [c] y = Neg(k)")), "other.onnx")
    assert graphkit("diff", "model.onnx", "other.onnx", "--html", "d.html", "--view", "v.html").code == 1
    page = (folder / "d.html").read_text(encoding="utf-8")
    assert 'href="./v.html"' in page
    assert "./v.html#value=" in page
    assert '"label":"added"' in (folder / "v.html").read_text(encoding="utf-8")
    assert graphkit("diff", "model.onnx", "other.onnx", "--view", "no/v.html").code == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ("view", "model.onnx", "--html", "./model.onnx"),
        ("diff", "model.onnx", "other.onnx", "--html", "other.onnx"),
        ("validate", "model.onnx", "--against", "other.onnx", "--html", "other.onnx"),
        ("bisect", "model.onnx", "--against", "other.onnx", "--html", "a.html", "--view", "a.html"),
    ],
)
def test_a_page_takes_the_place_of_no_model_and_of_no_other_page(graphkit, folder, arguments):
    onnx.save(onnx.parser.parse_model(TEXT), "other.onnx")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert graphkit(*arguments).code == 2
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
