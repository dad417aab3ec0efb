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


RECIPE = """
[[step]]
do = "rename"
values = { x = "image" }
[[step]]
do = "insert"
at = "h"
function = "f (x) => (y) { y = Tanh(x) }"
"""


def highlighted(page):
    """Label -> number of boxes, as the page of a drawing has them."""
    data = json.JSONDecoder().raw_decode(page.partition('"highlights":')[2])[0]
    return {entry["label"]: len(entry["places"]) for entry in data}


def test_the_page_of_a_recipe_links_to_a_drawing_of_what_was_made_with_its_changes_in_colour(graphkit, folder):
    (folder / "r.toml").write_text(RECIPE, encoding="utf-8")
    ran = graphkit("apply", "r.toml", "model.onnx", "--out", "out.onnx", "--html", "r.html", "--view", "v.html")
    assert ran.code == 0, ran.err
    assert "changed 1 node: Relu a" in ran.err
    assert 'href="./v.html"' in (folder / "r.html").read_text(encoding="utf-8")
    (own,) = (folder / "r_models").iterdir()
    assert 'href="../v.html"' in own.read_text(encoding="utf-8")
    drawn = (folder / "v.html").read_text(encoding="utf-8")
    assert "<title>out.onnx" in drawn
    assert highlighted(drawn) == {"added": 1, "renamed": 1, "changed": 1}
    assert graphkit("apply", "r.toml", "model.onnx", "--out", "no.onnx", "--view", "no/v.html").code == 3
    assert graphkit("apply", "r.toml", "model.onnx", "--out", "no.onnx", "--view", "model.onnx").code == 2
    assert not (folder / "no.onnx").exists()


def test_the_stages_of_a_recipe_that_splits_are_in_colour(graphkit, folder):
    (folder / "r.toml").write_text('[[step]]\ndo = "split"\nat = ["h"]\n', encoding="utf-8")
    assert graphkit("apply", "r.toml", "model.onnx", "--out", "parts", "--view", "v.html").code == 0
    drawn = highlighted((folder / "v.html").read_text(encoding="utf-8"))
    assert drawn == {"stage0.onnx": 1, "stage1.onnx": 1}


@pytest.mark.parametrize("command", ["apply", "prove", "validate"])
def test_pages_of_many_models_link_to_a_drawing_of_each(graphkit, folder, command):
    (folder / "r.toml").write_text(RECIPE, encoding="utf-8")
    onnx.save(onnx.parser.parse_model(TEXT.replace("Neg", "Abs")), "other.onnx")
    assert graphkit("apply", "r.toml", "model.onnx", "--out", "edited.onnx").code == 0
    given = {
        "apply": ("apply", "r.toml", "model.onnx", "other.onnx", "--out", "outs", "--html", "p.html"),
        "prove": ("prove", "--list", "l.txt", "--html", "p.html"),
        "validate": ("validate", "--list", "l.txt", "--html", "p.html"),
    }[command]
    (folder / "l.txt").write_text("edited.onnx model.onnx" if command == "prove" else "other.onnx model.onnx")
    ran = graphkit(*given, "--view", "drawn")
    assert ran.code == (1 if command == "validate" else 0), ran.err
    page = (folder / "p.html").read_text(encoding="utf-8")
    pages = list((folder / "drawn").iterdir())
    assert len(pages) == (2 if command == "apply" else 1)
    assert all(f'href="./drawn/{one.name}"' in page for one in pages)
    assert all(f'href="../drawn/{one.name}"' in (folder / "p_models" / one.name).read_text() for one in pages)
    refused = graphkit(*given, "--view", "drawn.html")
    assert (refused.code, "the folder of their drawings" in refused.err) == (2, True)


def test_a_drawing_of_a_proof_shows_what_the_steps_changed_and_where_they_break(graphkit, folder):
    (folder / "r.toml").write_text(RECIPE, encoding="utf-8")
    assert graphkit("apply", "r.toml", "model.onnx", "--out", "out.onnx").code == 0
    assert graphkit("prove", "out.onnx", "--html", "p.html", "--view", "v.html").code == 0
    assert 'href="./v.html"' in (folder / "p.html").read_text(encoding="utf-8")
    drawn = highlighted((folder / "v.html").read_text(encoding="utf-8"))
    assert drawn == {"added": 1, "renamed": 1, "changed": 1}


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
