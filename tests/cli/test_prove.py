"""graphkit prove, and --prove on the commands that write."""

import json

import numpy as np
import onnx
import pytest

import graphkit as gk


@pytest.fixture
def edited(graphkit, chain, tmp_path):
    assert graphkit("rename", chain, tmp_path / "out.onnx", "--value", "x=image").code == 0
    return tmp_path / "out.onnx"


def damaged(path):
    """The file with another operator in it, its history as it was."""
    model = onnx.load(path)
    model.graph.node[0].op_type = "Abs"
    onnx.save(model, path)


def test_a_proved_edit_is_0_and_a_page_is_written(graphkit, edited, tmp_path):
    code, out, err = graphkit("prove", edited, "--html", tmp_path / "proof.html")
    assert (code, "PROVED" in out) == (0, True), err
    assert "image=" in out
    assert "proved" in (tmp_path / "proof.html").read_text()
    ran = graphkit("prove", edited, "--json", "--samples", 2)
    assert json.loads(ran.out)["verdict"] == "proved"


def test_a_damaged_file_is_1_and_the_value_is_named(graphkit, edited):
    damaged(edited)
    code, out, _ = graphkit("prove", edited)
    assert (code, "the first value that differs: 'hidden'" in out) == (1, True), out


def test_a_file_without_history_is_3(graphkit, chain):
    code, _, err = graphkit("prove", chain)
    assert (code, "no history" in err) == (3, True)


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_prove_says_on_how_many_feeds(graphkit, chain, tmp_path, more):
    out = tmp_path / "out.onnx"
    code, _, err = graphkit("rename", chain, out, "--value", "x=image", "--prove", *more)
    assert (code, "proved on " in err and " feeds" in err, out.exists()) == (0, True, not more), err


def test_a_broken_law_leaves_what_was_there(graphkit, chain, tmp_path, monkeypatch):
    right = gk.rename

    def wrong(*args, **options):
        model = right(*args, **options)
        model.proto.graph.node[0].op_type = "Abs"
        return model

    monkeypatch.setattr(gk, "rename", wrong)
    out = tmp_path / "out.onnx"
    out.write_bytes(b"mine")
    code, text, _ = graphkit("rename", chain, out, "--value", "x=image", "--prove")
    assert (code, out.read_bytes()) == (1, b"mine")
    assert "rename (same): NO" in text
    assert "'hidden'" in text


def test_what_cannot_be_proved_is_not_written(graphkit, tmp_path):
    text = """<ir_version: 10, opset_import: ["" : 18, "no.such" : 1]>
    g (float[2] x) => (float[2] y) { y = no.such.Operator(x) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "in.onnx")
    code, text, _ = graphkit("rename", tmp_path / "in.onnx", tmp_path / "out.onnx", "--value", "x=a", "--prove")
    assert (code, "UNPROVED" in text, (tmp_path / "out.onnx").exists()) == (1, True, False), text


def test_python_proves_too(edited, chain):
    assert gk.prove(edited, chain)


UNPROVED = {
    "no kernel": ("y = no.such.Operator(x)", ["rename", "--value", "x=a"], "cannot be run"),
    "nothing but NaN": ("z = Sub(x, x) y = Div(z, z)", ["rename", "--value", "x=a"], "nothing but NaN"),
    "random numbers": ("y = RandomNormalLike(x)", ["rename", "--value", "x=a"], "draws other numbers"),
    "only one size": (
        "t = Constant<value_ints = [2, 1]>() r = Reshape(x, t) s = Constant<value_ints = [2]>() y = Reshape(r, s)",
        ["dims", "--set", "x:0=n"],
        "its old size only",
    ),
}


@pytest.mark.filterwarnings("ignore::graphkit.GraphkitWarning")
@pytest.mark.parametrize("why", UNPROVED)
def test_the_reason_why_it_could_not_be_proved_is_said_and_nothing_is_written(graphkit, tmp_path, why):
    body, (name, *options), said = UNPROVED[why]
    text = f"""<ir_version: 10, opset_import: ["" : 18, "no.such" : 1]> g (float[2] x) => (float[2] y) {{ {body} }}"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "in.onnx")
    code, out, _ = graphkit(name, tmp_path / "in.onnx", tmp_path / "out.onnx", *options, "--prove")
    assert (code, said in " ".join(out.split()), (tmp_path / "out.onnx").exists()) == (1, True, False), out


def test_without_any_runtime_nothing_is_proved(graphkit, chain, tmp_path, monkeypatch):
    from graphkit.verify.laws import side

    def missing(*_):
        raise gk.MissingExtraError("onnxruntime", "cpu", "running")

    def cannot(*_):
        raise gk.SessionError("onnx.reference cannot load it")

    monkeypatch.setattr(side, "_runtime", missing)
    monkeypatch.setattr(side, "_reference", cannot)
    code, out, _ = graphkit("rename", chain, tmp_path / "out.onnx", "--value", "x=image", "--prove")
    assert (code, "onnxruntime" in out, (tmp_path / "out.onnx").exists()) == (1, True, False), out


COPIES = {
    "external": ["out.onnx", "--external", "weights.bin"],
    "linked": ["out.onnx", "--weights", "link", "--no-history"],
    "kept": ["out.onnx", "--weights", "keep"],
    **{suffix: [f"out.{suffix}"] for suffix in ("onnx", "json", "onnxtxt", "textproto")},
}


@pytest.fixture
def weighty(tmp_path):
    """A file with a weight that can lie elsewhere."""
    text = '<ir_version: 10, opset_import: ["" : 18]> g (float[n, 64] x) => (float[n, 32] y) { h = MatMul(x, w) y = Tanh(h) }'
    model = onnx.parser.parse_model(text)
    weight = np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(model, tmp_path / "in.onnx")
    return tmp_path / "in.onnx"


@pytest.mark.parametrize("form", COPIES)
def test_a_copy_is_written_read_again_and_proved_there_and_back(graphkit, weighty, form):
    folder = weighty.parent
    name, *options = COPIES[form]
    files = {name, "back.onnx", "in.onnx"} | {"external": {"weights.bin"}, "linked": {"in.onnx"}}.get(form, set())
    for source, out, more in ((weighty, folder / name, options), (folder / name, folder / "back.onnx", [])):
        code, said, err = graphkit("copy", source, out, "--prove", *more)
        assert (code, "proved on" in err) == (0, True), said + err
    assert {path.name for path in folder.iterdir()} == files
    if form != "onnxtxt":  # which does not say how a weight is stored
        assert onnx.load(folder / "back.onnx") == onnx.load(weighty)


@pytest.mark.parametrize("form", COPIES)
def test_a_copy_that_is_another_model_is_not_written(graphkit, weighty, monkeypatch, form):
    right = gk.save

    def wrong(model, path, **options):
        proto = model.copy_proto()
        proto.graph.node[0].output[0] = proto.graph.node[1].input[0] = "h"
        proto.graph.node[1].op_type = "Sigmoid"
        return right(gk.Model(proto, model.sources, path=model.path), path, **options)

    monkeypatch.setattr(gk, "save", wrong)
    name, *options = COPIES[form]
    code, said, err = graphkit("copy", weighty, weighty.parent / name, "--prove", *options)
    assert code == 1, said + err
    assert "the first value that differs: 'y'" in said
    assert [path.name for path in weighty.parent.iterdir()] == ["in.onnx"]


def test_a_merge_with_a_step_behind_it_is_proved_against_the_models_that_are_named(graphkit, chain, tmp_path):
    other, merged, edited = (tmp_path / name for name in ("other.onnx", "merged.onnx", "edited.onnx"))
    assert graphkit("rename", chain, other, "--value", "x=second", "--no-history").code == 0
    assert graphkit("merge", merged, chain, other).code == 0
    assert graphkit("rename", merged, edited, "--value", "second=image", "--prove").code == 0
    for models, steps in (([], "(rename)"), ([merged], "(rename)"), ([other, chain], "(merge, rename)")):
        code, out, err = graphkit("prove", edited, *models)
        assert (code, steps in out) == (0, True), out + err
    code, _, err = graphkit("prove", merged, chain)
    assert (code, "'other' (other.onnx) that was merged is not at hand" in err) == (3, True), err
    assert "graphkit prove EDITED A.onnx B.onnx" in err
    code, _, err = graphkit("prove", other, chain, merged)
    assert (code, "no history" in err) == (3, True), err


def test_a_cache_is_handed_on(graphkit, tmp_path):
    text = """<ir_version: 10, opset_import: ["" : 18]>
    g (float[s, 1, 2] x, float[1, 1, 2] h) => (float[s, 1, 1, 2] y, float[1, 1, 2] last)
    <float[1, 2, 2] w = {1, 0, 1, -1}, float[1, 2, 2] r = {0.5, 0, 0.25, 1}> { y, last = RNN<hidden_size = 2>(x, w, r, , , h) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "in.onnx")
    out = tmp_path / "out.onnx"
    assert graphkit("rename", tmp_path / "in.onnx", out, "--value", "x=sound").code == 0
    code, said, err = graphkit("prove", out, "--state", "last=h")
    assert (code, "all steps (cached): yes" in said) == (0, True), said + err
    code, _, err = graphkit("prove", out, "--state", "lost=h")
    assert (code, "'lost'" in err) == (3, True), err


def by_onnx(source, path):
    onnx.save(onnx.load(source), path, save_as_external_data=True, location="other.bin", size_threshold=0)


def by_numbers(source, path):
    model = onnx.load(source)
    weight = model.graph.initializer[0]
    weight.float_data.extend(np.frombuffer(weight.raw_data, np.float32))
    weight.ClearField("raw_data")
    onnx.save(model, path)


@pytest.mark.parametrize("tool", [*COPIES, by_onnx, by_numbers])
def test_a_copy_by_whatever_tool_is_proved_against_its_original_and_the_other_way_round(graphkit, weighty, tool):
    folder = weighty.parent
    if callable(tool):
        copy = folder / "copy.onnx"
        tool(weighty, copy)
    else:
        name, *options = COPIES[tool]
        copy = folder / name
        assert graphkit("copy", weighty, copy, *options).code == 0
    for pair in ((copy, weighty), (weighty, copy)):
        code, out, err = graphkit("prove", *pair)
        assert (code, "copy (same): yes" in out, "the weights the same? yes" in out) == (0, True, True), out + err


def test_a_copy_of_an_edited_model_is_a_copy_and_what_its_history_says(graphkit, weighty):
    folder = weighty.parent
    edited, copy, bare = (folder / name for name in ("edited.onnx", "copy.onnx", "bare.onnx"))
    assert graphkit("rename", weighty, edited, "--value", "x=image").code == 0
    by_onnx(edited, copy)
    assert graphkit("copy", edited, bare, "--no-history").code == 0
    for pair, step in (
        ((copy, edited), "(copy)"),
        ((copy, weighty), "(rename)"),
        ((copy,), "(rename)"),
        ((bare, edited), "(copy)"),
    ):
        code, out, err = graphkit("prove", *pair)
        assert (code, step in out) == (0, True), out + err
    code, _, err = graphkit("prove", bare, weighty)
    assert (code, "no history" in err, "it is no copy: node 'h' reads image, w, and in the original x, w" in err) == (
        3,
        True,
        True,
    ), err
    model = onnx.load(copy)
    model.graph.node[1].op_type = "Sigmoid"
    onnx.save(model, copy)
    code, out, _ = graphkit("prove", copy, edited)
    assert (code, "copy (same): NO" in out, "the first value that differs: 'y'" in out) == (1, True, True), out


def test_a_copy_needs_nothing_that_runs_it(graphkit, tmp_path):
    text = '<ir_version: 10, opset_import: ["no.such" : 1]> g (float[2] x) => (float[2] y) { y = no.such.Operator(x) }'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "in.onnx")
    code, out, err = graphkit("copy", tmp_path / "in.onnx", tmp_path / "out.onnx", "--prove")
    assert (code, "by the graph and the bytes alone" in err) == (0, True), out + err
    assert graphkit("prove", tmp_path / "out.onnx", tmp_path / "in.onnx").code == 0


@pytest.mark.parametrize("name", ["image", "x"])
def test_a_feed_is_for_the_name_now_or_the_one_that_the_original_has(graphkit, edited, name):
    code, out, err = graphkit("prove", edited, "--feed", f"{name}=[[1, 2, 3], [4, 5, 6], [7, 8, 9]]")
    assert (code, "at image=3x3\n" in out) == (0, True), out + err
    for feed in ("[[1, 2]]", "text"):
        code, _, err = graphkit("prove", edited, "--feed", f"{name}={feed}")
        assert (code, repr(name) in err) == (3, True), err
