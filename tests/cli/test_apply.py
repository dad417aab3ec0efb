"""graphkit apply and history: one model, many, and what was done written as a recipe."""

import json

import numpy as np
import onnx
import pytest

import graphkit as gk

PATCH = """\
[vars]
name = "image"
[[step]]
do = "rename"
values = { x = "${name}" }
[[step]]
expect = { inputs = ["${name}"], runs = true, same_as = "original" }
"""


@pytest.fixture
def patch(tmp_path):
    path = tmp_path / "patch.toml"
    path.write_text(PATCH, encoding="utf-8")
    return path


def test_a_recipe_is_applied_and_saved(graphkit, chain, patch, tmp_path):
    out = tmp_path / "out.onnx"
    done = graphkit("apply", patch, chain, "--out", out, "--var", "name=picture", "--prove")
    assert done.code == 0, done.err
    assert [v.name for v in gk.load(out).inputs] == ["picture"]
    assert f"{patch}:3:1: rename: inputs x become picture" in done.err


def test_a_failed_expectation_is_1_and_leaves_nothing(graphkit, chain, patch, tmp_path):
    patch.write_text(PATCH + '[[step]]\nexpect = { no_op = "Relu" }\n', encoding="utf-8")
    out, xml = tmp_path / "out.onnx", tmp_path / "out.xml"
    done = graphkit("apply", patch, chain, "--out", out, "--junit", xml)
    assert done.code == 1
    assert f"{patch}:8:1: not as expected: it has Relu" in done.err
    assert not out.exists()
    assert 'failures="1"' in xml.read_text()


def test_a_dry_run_says_what_each_step_would_touch_and_writes_nothing(graphkit, chain, patch, tmp_path):
    before = sorted(tmp_path.iterdir())
    done = graphkit("apply", patch, chain, "--out", tmp_path / "out.onnx", "--dry-run")
    assert done.code == 0
    assert "rename: inputs x become image" in done.out
    assert "would write" in done.out
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["none.toml", "MODEL", "--out", "x.onnx"], 3, "none.toml"),
        (["PATCH", "MODEL"], 2, "--out"),
        (["PATCH"], 2, "RECIPE and a MODEL"),
        (["PATCH", "MODEL", "--out", "x.onnx", "--var", "nam=3"], 3, "no variable 'nam'"),
        (["PATCH", "MODEL", "MODEL", "--out", "x"], 3, "named twice"),
        (["PATCH", "none.onnx", "--out", "x.onnx"], 3, "none.onnx"),
        (["PATCH", "MODEL", "--out", "x.onnx", "--resume"], 2, "--journal"),
        (["PATCH", "*.onnx", "--out", "x.onnx"], 2, "go into a folder"),
        (["PATCH", "MODEL", "--out", "x.onnx", "--jobs", "2", "--scheduler", "tcp://h:1"], 2, "of this machine"),
    ],
)
def test_bad_input_is_refused(graphkit, chain, patch, tmp_path, monkeypatch, arguments, code, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "second.onnx").write_bytes(chain.read_bytes())
    done = graphkit("apply", *({"PATCH": patch, "MODEL": chain}.get(a, a) for a in arguments))
    assert done.code == code, done
    assert said in done.err
    assert not (tmp_path / "x.onnx").exists()


def test_a_scheduler_that_is_not_there_leaves_no_folder(graphkit, chain, patch, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    test_bad_input_is_refused(
        *(graphkit, chain, patch, tmp_path, monkeypatch),
        ["PATCH", "MODEL", "second.onnx", "--out", "x.onnx/", "--scheduler", "nowhere"],
        *(3, "no Dask scheduler"),
    )


def test_the_schema_is_printed(graphkit):
    done = graphkit("apply", "--schema")
    assert json.loads(done.out)["title"] == "graphkit recipe"


def test_a_folder_is_worked_on_with_an_outcome_a_model(graphkit, chain, patch, tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.onnx").write_bytes(chain.read_bytes())
    (folder / "bad.onnx").write_bytes(b"nothing")
    done = graphkit("apply", patch, folder, "--out", tmp_path / "out", "--markdown", tmp_path / "o.md", "--json")
    assert done.code == 3
    told = json.loads(done.out)
    assert {row["model"].rpartition("/")[2]: row["outcome"] for row in told["outcomes"]} == {
        "a.onnx": "done",
        "b.onnx": "done",
        "bad.onnx": "failed",
    }
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "a.onnx",
        "b.onnx",
        "outcomes.html",
        "outcomes.jsonl",
        "outcomes_models",
    ]
    assert "3 models: 1 failed, 2 done" in (tmp_path / "o.md").read_text()
    np.testing.assert_array_equal(
        gk.run(str(tmp_path / "out" / "a.onnx"), {"image": [[-1, 2, 3]]})["y"], gk.run(chain, {"x": [[-1, 2, 3]]})["y"]
    )


def test_a_recipe_that_splits_writes_a_folder_of_stages(graphkit, chain, patch, tmp_path):
    patch.write_text('[[step]]\ndo = "split"\nat = ["hidden"]\n', encoding="utf-8")
    done = graphkit("apply", patch, chain, "--out", tmp_path / "parts")
    assert done.code == 0, done.err
    assert (tmp_path / "parts" / "stages.json").exists()


def test_history_shows_the_steps_and_its_recipe_gives_the_same_bytes(graphkit, chain, tmp_path):
    once, out, again = tmp_path / "once.onnx", tmp_path / "out.onnx", tmp_path / "again.onnx"
    weight = np.arange(3, dtype=np.float32)
    gk.save(gk.rename(chain, values={"x": "${image}", "hidden": 'a "b"\n\x7f'}), once)
    gk.save(gk.set_parts(once, tensors={"bias": weight}, metadata={"k": "v"}, doc="é"), out)
    shown = graphkit("history", out)
    assert shown.out.splitlines()[0] == "from chain.onnx"
    assert shown.out.splitlines()[1].startswith("1. rename(values={'x': '${image}'")
    done = graphkit("history", out, "--recipe", tmp_path / "r.toml")
    assert done.code == 0, done.err
    assert graphkit("apply", tmp_path / "r.toml", chain, "--out", again).code == 0
    assert again.read_bytes() == out.read_bytes()


def test_the_page_of_a_history_has_its_steps(graphkit, chain, tmp_path):
    out, page = tmp_path / "out.onnx", tmp_path / "h.html"
    gk.save(gk.rename(gk.rename(chain, values={"x": "<b>"}), values={"<b>": "image"}), out)
    assert graphkit("history", out, "--html", page).code == 0
    text = page.read_text(encoding="utf-8")
    assert text.count("<tr><td") == 2
    assert "&lt;b&gt;" in text
    assert "from chain.onnx" in text
    assert graphkit("history", out, "--html", out).code == 2
    told = gk.history(out)
    assert [step.operation for step in told.steps] == ["rename", "rename"]
    assert told._repr_html_() == gk.report_html(told)
    assert gk.text(gk.history(chain)) == "graphkit did nothing to this model, or its history was left out"


def test_large_arrays_of_a_history_lie_beside_its_recipe(graphkit, tmp_path):
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[20000] x) => (float[20000] y) { y = Add(x, w) }'
    )
    values = np.random.default_rng(0).standard_normal(20_000, dtype=np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(values, "w"))
    onnx.save(model, tmp_path / "m.onnx")
    gk.save(gk.freeze(tmp_path / "m.onnx", {"x": values[::-1].copy()}), tmp_path / "e.onnx")
    done = graphkit("history", tmp_path / "e.onnx", "--recipe", tmp_path / "r.toml")
    assert done.code == 0, done.err
    assert len(list(tmp_path.glob("r.*.bin"))) == 1
    assert graphkit("apply", tmp_path / "r.toml", tmp_path / "m.onnx", "--out", tmp_path / "a.onnx").code == 0
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "e.onnx").read_bytes()


def test_a_portable_recipe_fits_a_model_with_other_names(graphkit, chain, tmp_path):
    other = tmp_path / "other.onnx"
    gk.save(gk.rename(chain, prefix="v2/", values={"x": "in", "y": "out"}), other, history=False)
    edited = gk.tap(gk.dims(gk.rename(chain, values={"x": "image"}), {"image:0": 4}), "hidden")
    gk.save(edited, tmp_path / "edited.onnx")
    assert graphkit("history", tmp_path / "edited.onnx", "--recipe", tmp_path / "r.toml", "--portable").code == 0
    text = (tmp_path / "r.toml").read_text()
    assert '"@input[0]" = "image"' in text
    assert "@value(Relu)[0]" in text
    made = gk.Recipe.load(tmp_path / "r.toml").apply(other)
    assert [v.name for v in made.inputs] == ["image"]
    x = np.random.default_rng(0).standard_normal((4, 3), dtype=np.float32)
    for mine, theirs in zip(gk.run(made, {"image": x}).values(), gk.run(edited, {"image": x}).values(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_portable_recipe_needs_the_original(graphkit, chain, tmp_path):
    out = tmp_path / "sub" / "e.onnx"
    out.parent.mkdir()
    gk.save(gk.rename(chain, values={"x": "image"}), out)
    missing = graphkit("history", out, "--recipe", tmp_path / "r.toml", "--portable")
    assert missing.code == 3
    assert "--original FILE" in missing.err
    assert graphkit("history", out, "--recipe", tmp_path / "r.toml", "--portable", "--original", chain).code == 0
    wrong = graphkit("history", out, "--recipe", tmp_path / "r.toml", "--portable", "--original", out)
    assert wrong.code == 3


def test_each_fault_of_a_recipe_has_a_line(graphkit, tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text('[[step]]\ndo = "renam"\n[[step]]\ndo = "dims"\nvaleus = 1\n')
    code, _, err = graphkit("apply", recipe, tmp_path / "m.onnx", "--out", tmp_path / "o.onnx")
    assert code == 3
    lines = err.splitlines()
    assert lines[0].endswith("faults:")
    assert [line.partition("r.toml:")[2][:4] for line in lines[1:4]] == ["2:1:", "3:1:", "5:1:"]


def test_the_notes_of_the_last_step_are_printed_once(graphkit, tmp_path):
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[2,3,4,5] x) => (float[2,3,4,5] y) { y = Relu(x) }'
    )
    onnx.save(model, tmp_path / "m.onnx")
    recipe = tmp_path / "r.toml"
    recipe.write_text('[[step]]\ndo = "layout"\nio = { x = "NHWC" }\n')
    code, _, err = graphkit("apply", recipe, tmp_path / "m.onnx", "--out", tmp_path / "o.onnx")
    assert (code, err.count("'x' is NHWC")) == (0, 1)
