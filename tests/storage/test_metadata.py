"""Metadata under our own keys that somebody else wrote: text like any other, or a GraphkitError."""

import onnx
import pytest

import graphkit as gk

DIGITS = "9" * 5000
"""More than Python makes an int of."""

TEXT = '<ir_version: 8, opset_import: ["": 18]> g (float[4] x) => (float[4] y) { y = Relu(x) }'


@pytest.mark.parametrize(
    "text", [f"[{DIGITS}]", "[" * 100_000, f'[{{"operation": {DIGITS}}}]', f'{{"format": {DIGITS}}}']
)
def test_an_unreadable_history_is_shown_as_text_and_refused_by_edits(text):
    model = onnx.parser.parse_model(TEXT)
    model.metadata_props.add(key="graphkit.history", value=text)
    assert gk.inspect(model).metadata["graphkit.history"] == text
    with pytest.raises(gk.FormatError, match="history"):
        gk.rename(model, values={"x": "z"})


@pytest.mark.parametrize("text", [f'{{"a": {DIGITS}}}', "[" * 100_000, "[]", "no json"])
def test_unreadable_bases_are_said_to_be_damaged(tmp_path, text):
    model = onnx.parser.parse_model(TEXT)
    model.metadata_props.add(key="graphkit.bases", value=text)
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(gk.FormatError, match="damaged"):
        gk.load(tmp_path / "m.onnx")


def test_an_unreadable_list_of_modules_is_none():
    model = onnx.parser.parse_model(TEXT)
    model.graph.node[0].metadata_props.add(key="graphkit.module_calls", value=f"[{DIGITS}]")
    model.graph.node[0].metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'a', 'node']")
    assert [m.path for m in gk.inspect(model).modules]
