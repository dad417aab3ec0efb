"""graphkit rename: exit codes, messages, and the file that it writes."""

import json

import numpy as np
import onnx
import pytest

from oracle import assert_same, run_ort

X = np.array([[-1, 2, -3]], np.float32)


def test_values_and_nodes(graphkit, chain, tmp_path) -> None:
    out = tmp_path / "out.onnx"
    code, text, err = graphkit(
        "rename", chain, out, "--value", "x=image", "--value", "bias=offset", "--node", "hidden=relu"
    )
    assert (code, err) == (
        0,
        "note: renamed 2 values and 1 node: 'x' to 'image', 'bias' to 'offset', 'hidden' to 'relu'\n",
    )
    assert "image -> y" in text
    assert_same(run_ort(out, {"image": X}), {"y": np.maximum(X, 0) + np.array([1, 2, 3], np.float32)})
    assert onnx.load(out).graph.node[0].name == "relu"


def test_a_swap(graphkit, chain, tmp_path) -> None:
    out = tmp_path / "out.onnx"
    assert graphkit("rename", chain, out, "--value", "x=y", "--value", "y=x").code == 0
    assert list(run_ort(out, {"y": X})) == ["x"]


def test_the_last_equals_sign_separates(graphkit, chain, tmp_path) -> None:
    model = onnx.load(chain)
    model.graph.input[0].name = model.graph.node[0].input[0] = "x=1"
    onnx.save(model, chain)
    assert graphkit("rename", chain, tmp_path / "out.onnx", "--value", "x=1=image").code == 0
    assert onnx.load(tmp_path / "out.onnx").graph.input[0].name == "image"


def test_json_and_dry_run(graphkit, chain, tmp_path) -> None:
    out = tmp_path / "out.onnx"
    code, text, _ = graphkit("rename", chain, out, "--value", "x=image", "--json", "--dry-run")
    assert code == 0
    report = json.loads(text)
    assert (report["inputs"], report["size"], report["dry_run"]) == (["image"], None, True)
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--value", "hiden=h"], ["no value named 'hiden'", "did you mean 'hidden'?"]),
        (["--value", "hidden=y"], ["'hidden' cannot become 'y'", "a value of the model has that name already"]),
        (["--value", "x=q", "--value", "y=q"], ["'y' cannot become 'q'"]),
        (["--node", "q=r"], ["no node named 'q'"]),
    ],
)
def test_what_is_refused_is_3_and_leaves_no_file(graphkit, chain, tmp_path, options, said) -> None:
    code, out, err = graphkit("rename", chain, tmp_path / "out.onnx", *options)
    assert (code, out) == (3, "")
    for words in said:
        assert words in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["chain.onnx"]


@pytest.mark.parametrize(
    "options",
    [[], ["--value", "x"], ["--value", "x="], ["--value", "=y"], ["--node", "q"], ["--value", "x=a", "--value", "x=b"]],
)
def test_wrong_usage_is_2(graphkit, chain, tmp_path, options) -> None:
    code, out, err = graphkit("rename", chain, tmp_path / "out.onnx", *options)
    assert (code, out) == (2, ""), err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["chain.onnx"]
