"""prove: the replay gives the bytes, the law of each step holds, and a history that lies is found."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.operation import operations
from graphkit.verify.laws.table import BINDINGS
from operation_nets import CUSTOM, DEFINED, FIXED, NET, TWICE, net

HONEST = {
    "define": [(CUSTOM, {"function": TWICE})],
    "dims": [
        (NET, {"values": {"x:0": "batch", "x:2": "h"}}),
        (FIXED, {"values": {"x:0": "n"}, "repair_shapes": True}),
        (NET, {"values": {"x:0": 1}, "fold": True}),
        (NET, {"values": {"x:2": 16}}),
    ],
    "extract": [
        (NET, {"inputs": ["c"], "outputs": ["y"], "input_types": {"c": "float32[1,3,8,8]"}}),
        (NET, {"nodes": ["relu"], "hops": 1}),
        (NET, {"inputs": ["x", "w"], "outputs": ["r", "c"]}),
    ],
    "freeze": [(NET, {"values": {"t": [1.5, float("inf")]}, "fold": True})],
    "inline": [(DEFINED, {"functions": ["Twice"]})],
    "image": [(NET, {"input": "x", "order": "bgr", "mean": [0.4, 0.5, 0.6], "std": 0.25})],
    "insert": [(NET, {"at": "r", "function": "sigmoid"}), (NET, {"at": "u", "function": "relu"})],
    "layout": [(NET, {"io": {"x": "NHWC", "y": "NHWC"}})],
    "opset": [(NET, {"to": 20})],
    "precision": [
        (NET, {"to": "float16", "keep_io": True, "keep_ops": ("Relu",), "keep_nodes": {"double"}}),
        (NET, {"to": "float16"}),
        (NET, {"to": "int8", "feeds": {"t": np.float32([1, 2])}, "samples": 2, "seed": 3, "per_channel": True}),
    ],
    "promote": [
        (NET, {"tensors": {"b": "bias"}, "keep_default": True}),
        (NET, {"tensors": ["b"], "only": ["conv"]}),
        (NET, {"tensors": ["b", "w"]}),
    ],
    "remove": [(NET, {"nodes": "relu"})],
    "replace": [(NET, {"nodes": "relu", "function": "(a) => (b) { n = Neg(a) m = Relu(n) b = Add(m, a) }"})],
    "reorder": [(NET, {"inputs": ["t"], "outputs": ["u"]})],
    "retype": [(NET, {"io": {"x": "uint8", "y": "float16", "t": "float64"}})],
    "rewrite": [
        (
            """<ir_version: 10, opset_import: ["" : 24]> g (float[2, 3] x) => (float[2, 3] y) { s = Sigmoid(x) y = Mul(x, s) }""",
            {"rules": "silu"},
        ),
        (
            """<ir_version: 10, opset_import: ["" : 20]> g (float[2, 3] x) => (float[2, 3] y) { y = Gelu(x) }""",
            {"rules": ["gelu-tanh"]},
        ),
    ],
    "set_parts": [(NET, {"attributes": {"conv:pads": [0, 0, 2, 2]}}), (NET, {"metadata": {"author": "me"}})],
    "rename": [
        (NET, {"regex": {"^(.)$": "\\1_of_one"}, "values": {"x": "image"}}),
        (NET, {"prefix": "net/"}),
        (NET, {"values": {"x": "image", "y": "x"}, "nodes": {"conv": "first"}}),
    ],
    "resize": [
        (NET, {"input_name": "f", "form": "scales", "nodes": ["up"], "semantics": "scales", "keep_default": True}),
        (NET, {"relative": True, "separate": True, "repair_shapes": True}),
        (NET, {"form": "sizes"}),
        (NET, {}),
    ],
    "tap": [(NET, {"names": "c", "replace": True}), (NET, {"names": ["c", "t", "b"]})],
}
"""operation -> (model, arguments), ..."""


def honest():
    return [(name, text, arguments) for name, found in HONEST.items() for text, arguments in found]


def saved(tmp_path, name, text=NET, **arguments):
    onnx.save(net(text), tmp_path / "original.onnx")
    getattr(gk, name)(tmp_path / "original.onnx", **arguments).save(tmp_path / "edited.onnx")
    return tmp_path / "edited.onnx"


@pytest.mark.filterwarnings("ignore::graphkit.GraphkitWarning")
@pytest.mark.parametrize(
    ("name", "text", "arguments"), honest(), ids=lambda v: v if isinstance(v, str) and v.isidentifier() else ""
)
def test_an_honest_edit_is_proved(tmp_path, name, text, arguments):
    proof = gk.prove(saved(tmp_path, name, text, **arguments))
    assert proof, gk.text(proof)
    assert proof.replayed
    assert proof.steps == (name,)
    assert all(held.runs >= 2 for held in proof.laws)


def test_every_operation_has_a_law_that_binds():
    from graphkit.operation import operation_of

    lawless = [name for name in operations() if name not in BINDINGS and operation_of(name).law != "same"]
    assert not lawless, f"add a line for {lawless} to graphkit/verify/laws/table.py"


def changed(path, change):
    """A file whose proto somebody changed by hand, history left as it is."""
    proto = onnx.load(path)
    change(proto)
    onnx.save(proto, path)


def weight(proto):
    tensor = next(t for t in proto.graph.initializer if t.name == "w")
    array = onnx.numpy_helper.to_array(tensor) * np.float32(1.01)
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, "w"))


def attribute(proto):
    proto.graph.node[0].attribute[0].ints[:] = [2, 1, 0, 1]


def edge(proto):
    node = next(n for n in proto.graph.node if n.op_type == "Resize")
    node.input[0] = "c"


@pytest.mark.parametrize(("change", "first"), [(weight, "c"), (attribute, "c"), (edge, "y")])
def test_a_file_that_was_changed_after_it_was_written_is_broken_and_the_first_value_is_named(tmp_path, change, first):
    path = saved(tmp_path, "rename", values={"x": "image"})
    changed(path, change)
    proof = gk.prove(path)
    assert proof.verdict == "broken"
    assert proof.replayed.verdict == "broken"
    assert proof.laws[0].verdict == "broken"
    assert proof.laws[0].first == first
    law = gk.prove(path, replay=False)
    assert law.verdict == "broken"
    assert law.replayed is None


def test_what_no_output_shows_breaks_the_first_question(tmp_path):
    path = saved(tmp_path, "rename", values={"x": "image"})
    changed(path, lambda proto: setattr(proto, "doc_string", "mine"))
    proof = gk.prove(path)
    assert proof.verdict == "broken"
    assert "doc_string" in proof.replayed.why
    assert proof.laws[0]


def test_another_model_is_no_original(tmp_path):
    path = saved(tmp_path, "rename", values={"x": "image"})
    other = net()
    other.graph.node[1].op_type = "Tanh"
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(gk.GraphkitError, match="not the model that the history begins with"):
        gk.prove(path, tmp_path / "other.onnx")
    (tmp_path / "original.onnx").unlink()
    with pytest.raises(gk.GraphkitError, match="not beside"):
        gk.prove(path)


def test_a_model_without_a_history_cannot_be_proved(tmp_path):
    with pytest.raises(gk.GraphkitError, match="no history"):
        gk.prove(net())


def scaled_weight(proto):
    """The largest weight that a node reads, half as large again."""
    read = {name for node in proto.graph.node for name in node.input}
    tensors = [t for t in proto.graph.initializer if t.name in read and np.prod(t.dims) > 20]
    if not tensors:
        return False
    tensor = max(tensors, key=lambda t: np.prod(t.dims))
    array = onnx.numpy_helper.to_array(tensor)
    tensor.CopyFrom(onnx.numpy_helper.from_array((array * 1.5).astype(array.dtype), tensor.name))
    return True


def other_attribute(proto):
    """Pads of a Conv the other way round, another axis, another number."""
    for node in proto.graph.node:
        for attribute in node.attribute:
            if attribute.name == "pads" and node.op_type == "Conv":
                attribute.ints[:] = [2, 1, 0, 1]
                return True
            if attribute.name == "axis":
                attribute.i = attribute.i - 1 if attribute.i > 0 else attribute.i + 1
                return True
    return False


def other_edge(proto):
    """The last node that reads what another node makes reads what that one reads."""
    makers = {node.output[0]: node for node in proto.graph.node if node.input and node.input[0]}
    for node in reversed(proto.graph.node):
        if (
            node.input
            and node.input[0] in makers
            and makers[node.input[0]].op_type in ("Relu", "Conv", "Add", "Sigmoid")
        ):
            node.input[0] = makers[node.input[0]].input[0]
            return True
    return False


@pytest.mark.filterwarnings("ignore::graphkit.GraphkitWarning")
@pytest.mark.parametrize("damage", [scaled_weight, other_attribute, other_edge], ids=lambda value: value.__name__)
@pytest.mark.parametrize(
    "name", sorted({name for name, found in HONEST.items() if any(text == NET for text, _ in found)})
)
def test_whatever_was_changed_by_hand_after_any_operation_is_found_and_by_the_law_alone_too(tmp_path, name, damage):
    text, arguments = [pair for pair in HONEST[name] if pair[0] == NET][-1]
    path = saved(tmp_path, name, text, **arguments)
    found = []
    changed(path, lambda proto: found.append(damage(proto)))
    if not found[0]:
        assert (name, damage) in [("extract", scaled_weight), ("promote", scaled_weight)]  # the large weight went
        return
    proof = gk.prove(path, samples=1)
    assert (proof.verdict, proof.replayed.verdict) == ("broken", "broken"), gk.text(proof)
    law = proof.laws[-1]
    assert law.verdict == "broken", gk.text(proof)
    assert law.first or "does not" in law.why or "should be" in law.why or "scaled back" in law.why, gk.text(proof)


@pytest.mark.matrix
def test_a_model_above_two_gibibytes_is_proved_from_its_path(tmp_path):
    """Weights of 3 GiB in holes of sparse files, kept where they are; a minute and 4 GB of memory."""
    from sparse_files import chain

    path = chain(tmp_path / "large.onnx", 3, 16384, external="large.bin")
    gk.rename(path, values={"x0": "input", "x2": "inner"}).save(tmp_path / "edited.onnx", weights="keep")
    proof = gk.prove(tmp_path / "edited.onnx", samples=1)
    assert proof, gk.text(proof)
    assert proof.replayed
    proto = onnx.load(tmp_path / "edited.onnx", load_external_data=False)
    proto.graph.node[2].input[0] = "input"
    (tmp_path / "edited.onnx").write_bytes(proto.SerializeToString())
    law = gk.prove(tmp_path / "edited.onnx", samples=1, replay=False).laws[0]
    assert (law.verdict, law.first) == ("broken", "x3")


LOST_BY_THE_RUNTIME = """<ir_version: 8, opset_import: ["": 17]> g (float[2] x, bool flag) => (float[2] y) {
  a = Cast <to: int = 11> (x)
  b = Cast <to: int = 1> (a)
  y = If (flag) <then_branch = t () => (float[2] p) { p = Sub (x, b) }, else_branch = e () => (float[2] q) { q = Add (x, b) }> }"""
"""ONNX Runtime takes both Casts out, and the bodies find nothing where they read b."""


def test_models_that_the_runtime_fails_on_are_merged_and_split_in_onnx_reference():
    one = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> h (float[2] u) => (float[2] v) { v = Abs (u) }'
    )
    two = onnx.parser.parse_model(LOST_BY_THE_RUNTIME)
    with pytest.raises(gk.SessionError, match="Missing Input: b"):
        gk.run(two, {"x": [1.0, 2.0], "flag": True})
    merged = gk.merge({"one": one, "two": two}, connect={"one:v": ["two:x"]})
    for proof in (gk.prove(merged, {"one": one, "two": two}), gk.prove(gk.split(two, stages=2), two)):
        assert proof.verdict == "proved", gk.text(proof)
        assert proof.laws[0].evaluator == "onnx.reference"


def test_a_part_of_a_merged_model_that_fails_everywhere_is_unproved():
    """A Gather beyond the end: neither the runtime nor onnx.reference runs it."""
    one = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> h (float[2] u) => (float v) <int64 k = {9}> { v = Gather (u, k) }'
    )
    two = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 17]> g (float x) => (float y) { y = Abs (x) }')
    merged = gk.merge({"one": one, "two": two}, connect={"one:v": ["two:x"]})
    proof = gk.prove(merged, {"one": one, "two": two})
    assert proof.verdict == "unproved"
    assert "the model before does not run" in proof.laws[0].why


def test_a_merged_model_that_fails_where_its_models_run_is_broken():
    one = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> h (float[2] u) => (float[2] v) { v = Abs (u) }'
    )
    merged = gk.merge({"one": one, "two": one}, connect={"one:v": ["two:u"]})
    wrong = merged.proto.graph.node.add(op_type="Gather", input=["u", "k"], output=["z"])
    merged.proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(9), "k"))
    merged.proto.graph.node.insert(0, wrong)
    del merged.proto.graph.node[-1]
    merged.proto.graph.node[-1].input[0] = "z"
    proof = gk.prove(merged, {"one": one, "two": one})
    assert proof.verdict == "broken", gk.text(proof)
    assert "it does not run where the model before does" in proof.laws[0].why


def test_a_promoted_weight_of_four_bits_is_fed_in_onnx_reference():
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 21]> g (float[3] x) => (float[3] y) <float s = {0.5}> '
        "{ d = DequantizeLinear (q, s) y = Add (x, d) }"
    )
    model.graph.initializer.append(onnx.helper.make_tensor("q", onnx.TensorProto.INT4, [3], [1, -2, 3]))
    proof = gk.prove(gk.promote(model, "q"), model)
    assert proof.verdict == "proved", gk.text(proof)
    assert proof.laws[0].evaluator == "onnx.reference"


def test_an_edit_that_was_not_saved_is_proved_against_the_file_that_it_was_opened_from(tmp_path):
    path = tmp_path / "m.onnx"
    net = '<ir_version: 8, opset_import: ["": 18]> g (float[2, 3] x) => (float[2, 3] y) { y = Relu(x) }'
    onnx.save(onnx.parser.parse_model(net), path)
    assert gk.prove(gk.rename(path, values={"x": "image"}))
    gk.rename(path, values={"x": "image"}).save(path)
    with pytest.raises(gk.GraphkitError, match="is gone: an edited model was written over it"):
        gk.prove(path)
