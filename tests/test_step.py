"""Arguments are written without loss, and a damaged history is a GraphkitError."""

import json
import math

import ml_dtypes
import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.step import INLINE, History, Opaque, Original, Step, bytes_in, decoded, encoded, read_history
from graphkit_cli.main import main

VALUES = [
    None, True, 3, -(10**30), 1.5, float("inf"), "text", "$text", b"\x00\xff", 1j, [1, ["a"]], {"a": 1}, {"$a": 1}, {1: "b"},
    {"$pairs": {"$float": [2.0]}},
]  # fmt: skip

ARRAYS = [
    np.float32([1, np.nan, -0.0]), np.float16(2), np.array(True), np.int64([[1], [2]]), np.array(["a", "ü"]),
    np.array([1, 2], ml_dtypes.bfloat16), np.array([1, -3, 2], ml_dtypes.int4), np.array([], np.uint8), np.array([1 + 2j]),
    np.array(3.5, ">f4"),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_plain_values_come_back_as_they_were(value):
    again = decoded(json.loads(json.dumps(encoded(value))))
    assert (again, type(again)) == (value, type(value))


def test_nan_comes_back():
    assert math.isnan(decoded(json.loads(json.dumps(encoded(float("nan"))))))


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
def test_arrays_come_back_bit_for_bit(array):
    again = np.asarray(decoded(json.loads(json.dumps(encoded(array)))))
    assert again.shape == array.shape
    if array.dtype.kind in "US":
        assert [str(v) for v in again.ravel()] == [str(v) for v in array.ravel()]
    else:
        assert again.dtype == array.dtype.newbyteorder("=")
        assert again.tobytes() == array.astype(again.dtype).tobytes()


def test_a_large_array_is_known_by_its_digest():
    array = np.arange(INLINE, dtype=np.float64)
    written = json.dumps(encoded({"w": array}))
    assert len(written) < 300
    with pytest.raises(gk.GraphkitError, match="not at hand"):
        decoded(json.loads(written))
    asked = []
    pieces = [(array.nbytes, lambda: asked.append(1) or array.tobytes()), (7, lambda: asked.append(2))]
    assert decoded(json.loads(written), bytes_in(pieces))["w"].tobytes() == array.tobytes()
    assert 2 not in asked


def test_messages_come_back():
    function = onnx.parser.parse_function('<domain: "m", opset_import: ["" : 18]> f (a) => (b) { b = Neg(a) }')
    assert decoded(json.loads(json.dumps(encoded(function)))) == function
    types = {"x": onnx.helper.make_tensor_type_proto(1, [2, "n"])}
    assert decoded(json.loads(json.dumps(encoded(types)))) == types


def test_a_callable_cannot_be_written():
    with pytest.raises(Opaque, match="builtin_function_or_method"):
        encoded(len)


def test_a_history_comes_back():
    history = History(
        Original("a.onnx", "12"), (Step("rename", {"values": {"a": "b"}}), Step("edit", {}, (), "too large"))
    )
    assert read_history(history.text({"graphkit": "1"})) == history


@pytest.mark.parametrize(
    "text",
    ["", "[", "{}", "3", "[1]", '[{"operation": 1}]', "[" * 100_000, '{"format": 2, "steps": []}', '{"format": 1}',
     '{"format": 1, "steps": [{}]}', '{"format": 1, "steps": [{"operation": "a", "arguments": []}]}',
     '{"format": 1, "steps": [{"operation": "a", "more": 1}]}', '{"format": 1, "original": 3, "steps": []}',
     '{"format": ' + "1" * 5000 + "}"],
    ids=lambda t: t[:40],
)  # fmt: skip
def test_a_damaged_history_is_a_format_error(text):
    with pytest.raises(gk.FormatError, match="history"):
        read_history(text)


@pytest.mark.parametrize("argument", [{"$tensor": 3}, {"$tensor": {"data": "?"}}, {"$proto": "Model", "data": ""},
                                      {"$proto": "ModelProto", "data": "AAAA"}, {"$bytes": 1}, {"$new": 1}], ids=str)  # fmt: skip
def test_a_damaged_argument_is_a_format_error(argument):
    with pytest.raises(gk.FormatError, match="argument"):
        decoded(argument)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m: gk.dims(m, "x:0=n"), "write values={'x:0': 'n'}"),
        (lambda m: gk.retype(m, ["x=float16"]), "write io={'x': 'float16'}"),
        (lambda m: gk.freeze(m, ["x"]), "write values={NAME: VALUE}"),
        (lambda m: gk.rename(m, values={"x": ["y"]}), r"values is a table of texts, and \['y'\] in it is none"),
        (lambda m: gk.set_parts(m, opset_import={"my": "1"}), "opset_import is a table of numbers, and '1' in it"),
        (lambda m: gk.tap(m, 5), r"names is a list of names, and 5 is none.*such as names=\[NAME\]"),
        (lambda m: gk.extract(m, outputs=[["y"]]), r"outputs is a list of names, and \['y'\] is none"),
        (lambda m: gk.promote(m, [None]), "tensors is a list of names, and None is none"),
        (lambda m: gk.opset(m, to="twenty"), "to is a whole number, not 'twenty'"),
        (lambda m: gk.rename(m, prefix=3), "prefix is a text, not 3"),
        (lambda m: gk.set_parts(m, ir=True), "ir is a whole number, not True"),
        (lambda m: gk.promote(m, "w", keep_default="no"), "keep_default is True or False, not 'no'"),
        (lambda m: gk.set_parts(m, opset_import={"mine": 10**30}), "version 1 or more"),
        (lambda m: gk.set_parts(m, operands={"neg:0": [1, [2]]}), "no array of numbers"),
    ],
)
def test_an_argument_of_another_kind_is_refused_with_the_spelling_that_is_meant(call, said):
    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 18]> g (float[2] x) => (float[2] y) { [neg] y = Neg(x) }'
    )
    with pytest.raises(gk.EditError, match=f"(?s){said}"):
        call(model)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m: gk.rewrite(m, rules=5), "a rule is a name, a file or a Rule, not int"),
        (lambda m: gk.rewrite(m, rules=["silu", None]), "a rule is a name, a file or a Rule, not NoneType"),
        (lambda m: gk.load(b"abc"), r"graphkit\.load\(io\.BytesIO\(data\)\)"),
        (lambda m: gk.load(m.graph), r"onnx\.helper\.make_model\(graph\)"),
        (lambda m: gk.load(5), "expected a path, an onnx.ModelProto or a graphkit.Model, not int"),
        (lambda m: gk.extract(m, outputs=["y"], input_types={"x": 5}), "a text or a TypeProto, not int"),
        (lambda m: gk.promote(m, {"x": 5}), "the input for 'x' is a name, not 5"),
        (lambda m: gk.rename(m, valuess={}), "valuess"),
    ],
)
def test_what_is_no_model_and_no_argument_is_a_type_error_with_a_sentence(call, said):
    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 18]> g (float[2] x) => (float[2] y) { y = Neg(x) }'
    )
    with pytest.raises(TypeError, match=said):
        call(model)


def test_what_is_a_model_already_is_loaded_as_it_is():
    proto = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 18]> g (float[2] x) => (float[2] y) { y = Neg(x) }'
    )
    model = gk.load(proto)
    assert model.proto == proto
    assert gk.load(model) is model


def test_a_bug_of_an_operation_is_not_taken_for_a_damaged_history(monkeypatch, tmp_path):
    """A ``TypeError`` that no argument explains is shown as it is: in a replay, and in a recipe."""
    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 18]> g (float[2] x) => (float[2] y) { y = Neg(x) }'
    )
    edited = gk.rename(model, values={"y": "z"})

    def broken(*_args, **_kwargs):
        raise TypeError("a bug")

    monkeypatch.setattr("graphkit.graph.addresses.Addresses.value", broken)
    with pytest.raises(TypeError, match="a bug"):
        gk.replay(edited, model)
    recipe = tmp_path / "r.toml"
    recipe.write_text('[[step]]\ndo = "rename"\nvalues = { y = "z" }\n')
    with pytest.raises(TypeError, match="a bug"):
        gk.Recipe.load(recipe).apply(model)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (lambda text: text.replace('"values"', '"valuess"'), "arguments that it does not take"),
        (lambda text: text.replace('"rename"', '"renane"'), "no operation named 'renane'"),
        (lambda text: text.replace('{"y": "z"}', '[["y"]]'), "values is a table"),
        (lambda text: text.replace('{"y": "z"}', "{}"), "cannot be done as it is written"),
        (lambda text: "no JSON", "no JSON that can be read"),
        (lambda text: text.replace('"z"', "9" * 5000), "no JSON that can be read"),
        (lambda text: "[" * 100_000, "no JSON that can be read"),
    ],
)
def test_a_history_that_was_tampered_with_is_refused(tmp_path, changed, said):
    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 18]> g (float[2] x) => (float[2] y) { y = Neg(x) }'
    )
    onnx.save(model, tmp_path / "m.onnx")
    gk.rename(tmp_path / "m.onnx", values={"y": "z"}).save(tmp_path / "e.onnx")
    proto = onnx.load(tmp_path / "e.onnx")
    proto.metadata_props[0].value = changed(proto.metadata_props[0].value)
    onnx.save(proto, tmp_path / "e.onnx")
    with pytest.raises(gk.GraphkitError, match=said):
        gk.replay(tmp_path / "e.onnx", tmp_path / "m.onnx")
    if "table" not in said and "written" not in said:
        with pytest.raises(gk.GraphkitError, match=said):
            gk.save_recipe(tmp_path / "e.onnx", tmp_path / "r.toml")
    copied = tmp_path / "c.onnx"
    assert main(["copy", str(tmp_path / "e.onnx"), str(copied), "--no-history"]) == 0
    assert not onnx.load(copied).metadata_props


NAMED = onnx.parser.parse_model(
    '<ir_version: 9, opset_import: ["": 18]> g (float[n] x) => (float[n] y) { [a] y = Relu(x) }'
)

HALF = "\ud800"
"""Half of a character, as JSON can name it; no UTF-8 has it, so no model does."""


@pytest.mark.parametrize(
    "call",
    [
        lambda m: gk.rename(m, values={"x": HALF}),
        lambda m: gk.rename(m, nodes={"a": f"b{HALF}"}),
        lambda m: gk.rename(m, prefix=HALF),
        lambda m: gk.set_parts(m, metadata={"key": HALF}),
        lambda m: gk.set_parts(m, doc="\udcff"),
    ],
)
def test_text_that_is_no_utf_8_is_told_with_its_argument(call):
    with pytest.raises(gk.EditError, match="is no UTF-8, and a model holds no other text"):
        call(NAMED)


def test_half_a_character_in_a_history_is_no_bug_of_ours(tmp_path):
    gk.save(gk.rename(NAMED, values={"x": "z"}), tmp_path / "renamed.onnx")
    damaged = onnx.load(tmp_path / "renamed.onnx")
    (entry,) = [entry for entry in damaged.metadata_props if entry.key == "graphkit.history"]
    entry.value = entry.value.replace('"z"', '"\\ud800"')
    proof = gk.prove(damaged, NAMED)
    assert not proof
    assert "is no UTF-8" in gk.text(proof)


@pytest.mark.parametrize("path", ["a\0.onnx", f"{HALF}.onnx"])
def test_a_path_that_no_file_can_have_is_refused(path):
    with pytest.raises(gk.SaveError, match="no path holds"):
        gk.save(NAMED, path)
    with pytest.raises(gk.ModelFileError, match="no path holds"):
        gk.load(path)


@pytest.mark.parametrize("name", ["w\0.bin", "w\udcff.bin"])
def test_a_file_that_a_model_cannot_name_is_refused(name, tmp_path):
    with pytest.raises(gk.SaveError, match="cannot write weights to"):
        gk.save(NAMED, tmp_path / "model.onnx", external=name)
    with pytest.raises(gk.SessionError, match="cannot be loaded: "):
        gk.run(NAMED, custom_ops=str(tmp_path / name))
    assert not list(tmp_path.iterdir())
