"""check, lint, inspect, validate and prove of many models: --list FILE."""

import json

import onnx
import pytest

import graphkit as gk


@pytest.fixture
def three(chain, tmp_path):
    """A model, an edited one, one that computes something else, and one that is no model; all in one folder."""
    gk.save(gk.rename(chain, values={"hidden": "h"}), tmp_path / "edited.onnx")
    other = onnx.load(chain)
    other.graph.node[0].op_type = "Neg"
    onnx.save(other, tmp_path / "other.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    return tmp_path


def outcomes(done):
    rows = json.loads(done.out)["outcomes"]
    return {row["model"].rpartition("/")[2]: (row["outcome"], row.get("answer")) for row in rows}


@pytest.mark.parametrize(
    ("command", "text", "code", "expected"),
    [
        ("check", "chain.onnx\nother.onnx\n", 0, {"chain.onnx": ("done", True), "other.onnx": ("done", True)}),
        ("check", "bad.onnx\nchain.onnx\n", 3, {"bad.onnx": ("failed", None), "chain.onnx": ("done", True)}),
        ("inspect", "*.onnx\n", 3, None),
        ("lint", "chain.onnx", 0, {"chain.onnx": ("done", True)}),
        (
            "validate",
            "edited.onnx chain.onnx\nother.onnx chain.onnx\n",
            1,
            {"edited.onnx": ("done", True), "other.onnx": ("done", False)},
        ),
        ("prove", "edited.onnx\n", 0, {"edited.onnx": ("done", True)}),
    ],
)
def test_a_list_has_an_outcome_a_model(graphkit, three, command, text, code, expected):
    listed = three / "list.txt"
    listed.write_text(text, encoding="utf-8")
    done = graphkit(command, "--list", listed, "--json", "--journal", three / "j.jsonl")
    assert done.code == code, done
    assert expected is None or outcomes(done) == expected
    assert len((three / "j.jsonl").read_text().splitlines()) == len(outcomes(done))
    again = graphkit(command, "--list", listed, "--json", "--journal", three / "j.jsonl", "--resume")
    assert again.code == code
    kinds = {model: kind for model, (kind, _) in outcomes(again).items()}
    assert kinds == {m: "failed" if k == "failed" else "skipped" for m, (k, _) in outcomes(done).items()}


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["check", "chain.onnx", "bad.onnx"], 3, {"chain.onnx", "bad.onnx"}),
        (["lint", "."], 3, {"chain.onnx", "bad.onnx", "edited.onnx", "other.onnx"}),
        (["inspect", "[ceo]?*.onnx"], 0, {"chain.onnx", "other.onnx", "edited.onnx"}),
        (["check", "@l.txt", "--no-runtime"], 0, {"chain.onnx"}),
    ],
)
def test_several_models_are_named_as_apply_takes_them(graphkit, three, monkeypatch, arguments, code, expected):
    monkeypatch.chdir(three)
    (three / "l.txt").write_text("chain.onnx\n", encoding="utf-8")
    done = graphkit(*arguments, "--json")
    assert done.code == code, done
    rows = json.loads(done.out)["outcomes"]
    assert {row["model"].removeprefix("./") for row in rows} == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check"], "Missing argument 'MODEL'"),
        (["check", "chain.onnx", "--list", "x.txt"], "excludes naming models"),
        (["check", "chain.onnx", "--jobs", "2"], "--list FILE"),
        (["validate", "--list", "l.txt", "--against", "x"], "--against is for one model"),
        (["prove", "--list", "l.txt", "--feed", "x=1"], "--feed is for one model"),
        (["validate", "--list", "l.txt"], "names more than 2 files"),
        (["validate", "--list", "alone.txt"], "names no reference"),
    ],
)
def test_options_that_do_not_go_together_are_2(graphkit, three, monkeypatch, arguments, said):
    monkeypatch.chdir(three)
    (three / "l.txt").write_text("a b c\n", encoding="utf-8")
    (three / "alone.txt").write_text("a\n", encoding="utf-8")
    done = graphkit(*arguments)
    assert done.code == 2, done
    assert said in done.err


def test_a_hint_of_a_row_is_spelt_as_a_command(graphkit, three):
    (three / "far").mkdir()
    gk.save(gk.rename(three / "chain.onnx", values={"hidden": "image"}), three / "far" / "edited.onnx")
    (three / "l.txt").write_text("far/edited.onnx\n", encoding="utf-8")
    done = graphkit("prove", "--list", three / "l.txt")
    assert done.code == 3
    assert "name it: graphkit prove EDITED ORIGINAL" in done.out
