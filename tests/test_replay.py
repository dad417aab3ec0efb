"""A history is a recipe: every operation, with every option, replayed on the original gives the same bytes."""

import inspect

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.model import Model
from graphkit.operation import operation_of, operations
from operation_nets import CUSTOM, DEFINED, FIXED, NET, TWICE, net

MODULES = """<ir_version: 10, opset_import: ["" : 18]>
g (float[2] x) => (float[2] y) <float[2] k = {1, 2}> { ["/a/Add"] h = Add(x, k) ["/a/Neg"] r = Neg(h) ["/b/Exp"] y = Exp(r) }"""

DEFAULT = """<ir_version: 10, opset_import: ["" : 18]>
g (float[2] x, float[2] k) => (float[2] y) <float[2] k = {1, 2}> { y = Add(x, k) }"""

LARGE = f"""<ir_version: 10, opset_import: ["" : 18]>
g (float[300] x) => (float[300] y) {{ w = Constant<value = float[300] {{{", ".join(["1"] * 300)}}}>() y = Add(x, w) }}"""

BODY = """<ir_version: 10, opset_import: ["" : 18]>
g (float[2] x) => (float[2] y) <float[2] w = {2, 3}> { y = Mul(x, w) }"""


X = np.random.default_rng(1).standard_normal((1, 3, 8, 8), dtype=np.float32)

CASES = {
    "deduplicate": [(NET, {})],
    "define": [(CUSTOM, {"function": TWICE})],
    "dims": [
        (NET, {"values": {"x:0": "batch", "x:2": "h"}}),
        (FIXED, {"values": {"x:0": "n"}, "repair_shapes": True}),
        (NET, {"values": {"x:0": 1}, "fold": True}),
        (FIXED, {"values": {"x:0": "n"}, "repair_shapes": True, "strict": True}),
    ],
    "extract": [
        (NET, {"inputs": ["c"], "outputs": ["y"], "input_types": {"c": "float32[1,3,8,8]"}}),
        (NET, {"nodes": ["relu"], "hops": 1}),
        (NET, {"outputs": iter(["r"])}),
    ],
    "freeze": [
        (NET, {"values": {"t": [1.5, float("inf")]}, "fold": True, "fold_limit": 100}),
        (NET, {"values": {"x": X}}),
        (DEFAULT, {"defaults": True}),
    ],
    "image": [
        (
            NET,
            {"input": "x", "layout": "NCHW", "order": "bgr", "mean": [0.4, 0.5, 0.6], "std": 0.2, "resize": "opencv"},
        ),
        (NET, {"input": "x", "dtype": "float32", "resize": "pil", "filter": "bicubic"}),
    ],
    "inline": [(DEFINED, {"functions": ["Twice"]})],
    "insert": [
        (NET, {"at": ["c"], "function": "relu", "readers": ["relu"]}),
        (NET, {"at": "r|c", "function": "(a) => (b) { b = Abs(a) }", "regex": True}),
        (NET, {"at": "t", "body_model": onnx.parser.parse_model(BODY)}),
    ],
    "layout": [(NET, {"io": {"x": "NHWC", "y": "NHWC"}}), (NET, {"io": {"x": "-0", "t": "+0,+1"}})],
    "opset": [(NET, {"to": 20})],
    "outline": [
        (MODULES, {"modules": ["a"], "domain": "mine"}),
        (NET, {"inputs": ["c"], "outputs": ["r"], "name": "act"}),
    ],
    "precision": [
        (NET, {"to": "float16", "only_ops": ["Conv"]}),
        (NET, {"to": "float16", "keep_io": True, "keep_ops": ("Relu",), "keep_nodes": {"double"}}),
        (NET, {"to": "int8", "feeds": {"t": np.float32([1, 2])}, "samples": 2, "seed": 3, "per_channel": True}),
        (NET, {"to": "float16", "keep_auto": True, "only_ops": ["Conv", "Relu"], "feeds": {"x": X}}),
        (NET, {"to": "bfloat16"}),
        (NET, {"to": "int8-dynamic", "samples": 2}),
    ],
    "promote": [
        (NET, {"tensors": {"b": "bias"}, "keep_default": True}),
        (NET, {"tensors": ["b"], "only": ["conv"]}),
        (NET, {"every": True, "keep_default": True}),
    ],
    "remove": [
        (NET, {"nodes": ["rel.*"], "regex": True, "outputs": ["u"], "inputs": ["t"]}),
    ],
    "rename": [
        (NET, {"values": {"x": "image"}, "nodes": {"conv": "first"}}),
        (NET, {"regex": {"^(.)$": "v_\\1"}, "prefix": "net/"}),
    ],
    "reorder": [(NET, {"inputs": ["t"], "outputs": ["u", "y"], "sort": True, "name_all": True})],
    "replace": [
        (NET, {"nodes": "rel.", "regex": True, "function": "(a) => (b) { b = Abs(a) }"}),
        (NET, {"inputs": ["t"], "outputs": ["u"], "body_model": onnx.parser.parse_model(BODY)}),
    ],
    "resize": [
        (NET, {"input_name": "f", "form": "scales", "nodes": ["up"], "semantics": "scales", "keep_default": True}),
        (NET, {"relative": True, "separate": True, "repair_shapes": True}),
    ],
    "retype": [(NET, {"io": {"x": "uint8", "u": "float64"}})],
    "rewrite": [
        (
            NET,
            {
                "rules": ["pattern (x) => (y) { y = Relu(x) }\nreplacement (x) => (y) { y = Sigmoid(x) }"],
                "target": "tensorrt",
            },
        )
    ],
    "simplify": [(NET, {}), (FIXED, {"fold_limit": 0})],
    "set_parts": [
        (
            NET,
            {
                "attributes": {"conv:pads": [0, 0, 0, 0]},
                "operands": {"double:1": [1, 2]},
                "tensors": {"b": np.float32([3, 2, 1])},
            },
        ),
        (NET, {"metadata": {"a": "b"}, "doc": "text", "opset_import": {"": 19}, "ir": 9, "shapes": "infer"}),
        (NET, {"strip_weights": True, "clear": ["conv:pads", "docs"]}),
        (LARGE, {"strip_weights": True, "fill_weights": "random"}),
    ],
    "tap": [(NET, {"names": "c", "replace": True}), (NET, {"names": ["[cr]"], "regex": True})],
}
"""operation -> (model, arguments), ..."""


NOT_REPLAYED = {"module", "feeds", "restore_weights"}
"""Options that hold what no history can: code, data and another model."""


def cases():
    return [(name, text, arguments) for name, found in CASES.items() for text, arguments in found]


@pytest.mark.filterwarnings("ignore::graphkit.GraphkitWarning")
@pytest.mark.parametrize(
    ("name", "text", "arguments"), cases(), ids=lambda v: v if isinstance(v, str) and v.isidentifier() else ""
)
def test_the_history_replayed_on_the_original_gives_the_same_bytes(tmp_path, name, text, arguments):
    onnx.save(net(text), tmp_path / "original.onnx")
    getattr(gk, name)(tmp_path / "original.onnx", **arguments).save(tmp_path / "edited.onnx")
    loaded = gk.load(tmp_path / "edited.onnx")
    assert [step.operation for step in loaded.history] == [name]
    gk.replay(loaded, tmp_path / "original.onnx").save(tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "edited.onnx").read_bytes()


@pytest.mark.parametrize("name", operations())
def test_every_option_of_every_operation_is_among_the_cases(name):
    if name == "edit":
        return  # test_an_edit_by_another_tool_is_replayed
    given = {option for _, arguments in CASES[name] for option in arguments}
    assert given | NOT_REPLAYED >= set(operation_of(name).signature.parameters), name


def test_a_chain_over_several_files_is_replayed_in_one(tmp_path):
    onnx.save(net(), tmp_path / "a.onnx")
    gk.rename(tmp_path / "a.onnx", values={"x": "image"}).save(tmp_path / "b.onnx")
    gk.promote(gk.load(tmp_path / "b.onnx"), ["b"]).save(tmp_path / "c.onnx")
    with gk.load(tmp_path / "c.onnx").edit() as edit:
        edit.proto.producer_name = "me"
    edit.model.save(tmp_path / "d.onnx")
    done = gk.load(tmp_path / "d.onnx")
    assert [step.operation for step in done.history] == ["rename", "promote", "edit"]
    assert done.original.file == "a.onnx"
    for start in ("a.onnx", "b.onnx", "c.onnx"):
        gk.replay(done, tmp_path / start).save(tmp_path / "again.onnx")
        assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "d.onnx").read_bytes(), start


@pytest.mark.parametrize("kind", ["proto", "graphsurgeon"])
def test_an_edit_by_another_tool_is_replayed(tmp_path, kind):
    big = net()
    big.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((200, 200), np.float32), "unused"))
    onnx.save(big, tmp_path / "original.onnx")
    with gk.rename(tmp_path / "original.onnx", values={"x": "image"}).edit(kind) as edit:
        if kind == "proto":
            edit.proto.graph.node[0].name = "first"
            new = onnx.numpy_helper.from_array(np.arange(1000, dtype=np.float32), "more")
            edit.proto.graph.initializer.append(new)
        else:
            edit.graph.nodes[0].name = "first"
    assert edit.model.nodes[0].name == "first"
    edit.model.save(tmp_path / "edited.onnx")
    gk.replay(tmp_path / "edited.onnx", tmp_path / "original.onnx").save(tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "edited.onnx").read_bytes()


def test_an_edit_that_fails_changes_nothing():
    source = gk.rename(net(), values={"x": "image"})
    edit = source.edit()
    with pytest.raises(ZeroDivisionError), edit:
        edit.proto.graph.node[0].name = str(1 / 0)
    assert edit.model is source


def test_an_invalid_edit_is_refused():
    with (
        pytest.raises(gk.InvalidGraphError, match="nothing in the model defines"),
        gk.rename(net(), values={"x": "i"}).edit() as edit,
    ):
        edit.proto.graph.node[0].input[0] = "nowhere"


def test_bytes_that_are_not_at_hand_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr("graphkit.step.INLINE", 100)
    onnx.save(net(), tmp_path / "original.onnx")
    frozen = gk.freeze(tmp_path / "original.onnx", {"x": np.ones((1, 3, 8, 8), np.float32) * 2}, fold=True)
    gone = gk.extract(frozen, inputs=["t"], outputs=["u"])
    gone.save(tmp_path / "edited.onnx")
    with pytest.raises(gk.GraphkitError, match="768 bytes with the sha256"):
        gk.replay(tmp_path / "edited.onnx", tmp_path / "original.onnx")
    data = (np.ones((1, 3, 8, 8), np.float32) * 2).tobytes()
    gk.replay(tmp_path / "edited.onnx", tmp_path / "original.onnx", arrays=lambda digest, length: data).save(
        tmp_path / "again.onnx"
    )
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "edited.onnx").read_bytes()


def test_another_model_with_another_history_is_refused(tmp_path):
    one, two = gk.rename(net(), values={"x": "one"}), gk.rename(net(), values={"x": "two"})
    with pytest.raises(gk.GraphkitError, match="is not where that of the edited model begins"):
        gk.replay(one, two)
    with pytest.raises(gk.GraphkitError, match="no history"):
        gk.replay(net(), net())


def test_a_step_of_another_graphkit_is_refused_by_name():
    edited = gk.rename(net(), values={"x": "image"})
    for step, error in [
        (gk.Step("fly", {}), "fly"),
        (gk.Step("rename", {"wings": 2}), "wings"),
        (gk.Step("rename", {"values": {"$odd": 1}}), r"\$odd"),
    ]:
        with pytest.raises(gk.GraphkitError, match=error):
            gk.replay(edited.after(step, edited.proto), net())


def test_no_history_is_written_where_none_is_wanted(tmp_path):
    edited = gk.rename(net(), values={"x": "image"})
    gk.save(edited, tmp_path / "a.onnx", history=False)
    assert gk.load(tmp_path / "a.onnx").history == ()
    edited.save(tmp_path / "b.onnx")
    gk.save(tmp_path / "b.onnx", tmp_path / "c.onnx", history=False)
    assert gk.load(tmp_path / "c.onnx").history == ()


def test_a_public_operation_keeps_its_signature():
    assert str(inspect.signature(gk.rename)).startswith("(model: 'ModelLike', *, values:")
    assert operation_of("rename").law == "same"
    assert operation_of("rename").summary == gk.rename.__doc__.splitlines()[0]
    with pytest.raises(gk.NameNotFoundError, match="extrct"):
        operation_of("extrct")


def test_an_array_that_an_edit_left_is_found_in_the_model_before_it(tmp_path):
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 18]> g (float[2, 40] x) => (float[2, 40] y) { h = MatMul(x, w) y = Tanh(h) }'
    )
    weight = np.random.default_rng(0).standard_normal((40, 40)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    with Model(model).edit() as edit:
        edit.proto.graph.node[1].op_type = "Sin"
    halved = gk.precision(edit.model, to="float16")  # the array of the edit's skeleton is not in this model
    assert gk.replay(halved, model).proto == halved.proto
    assert gk.prove(halved, model)
