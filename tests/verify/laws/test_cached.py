"""cached: steps that hand a cache on equal one run; an edit that breaks that is found."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.model import Model

DECODER = """<ir_version: 10, opset_import: ["" : 18]>
g (float[b, s, 4] x, float[b, p, 4] past, bool[b, t] mask) => (float[b, s, 4] y, float[b, t, 4] present)
<float[4, 4] w = {1, 0.5, 0, 0, -1, 1, 0.5, 0, 0, 0, 1, 0.25, 1, 0, 0, -1}, float low = {-10000}, int64[1] one = {1}> {
  [keys] q = MatMul(x, w) [grow] present = Concat<axis = 1>(past, x)
  turned = Transpose<perm = [0, 2, 1]>(present) scores = MatMul(q, turned)
  size = Shape(scores) zero = ConstantOfShape<value = float[1] {1}>(size)
  held = Shape<start = 1, end = 2>(past) first = Squeeze(held) [causal] seen = Trilu<upper = 0>(zero, first)
  may = Cast<to = 9>(seen) wide = Unsqueeze(mask, one) both = And(may, wide)
  kept = Where(both, scores, low) [soft] a = Softmax<axis = -1>(kept) y = MatMul(a, present) }"""

RECURRENT = """<ir_version: 10, opset_import: ["" : 18]>
g (float[s, 2, 3] x, float[1, 2, 2] h) => (float[s, 1, 2, 2] y, float[1, 2, 2] last)
<float[1, 2, 3] w = {1, 0, 1, 0, 1, -1}, float[1, 2, 2] r = {0.5, 0, 0.25, 1}> {
  [rnn] y, last = RNN<hidden_size = 2>(x, w, r, , , h) }"""


def parsed(text):
    model = onnx.parser.parse_model(text)
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == "t":
                dim.dim_param = "p + s"
    return model


def edited(text):
    model = parsed(text)
    return gk.rename(model, values={"x": "input"}), model


@pytest.mark.parametrize(("text", "state"), [(DECODER, {"present": "past"}), (RECURRENT, {"last": "h"})])
def test_steps_that_hand_a_cache_on_are_one_run(text, state):
    made, model = edited(text)
    proof = gk.prove(made, model, state=state)
    assert proof, gk.text(proof)
    assert [held.law for held in proof.laws] == ["same", "cached"]
    assert "y" in proof.laws[1].outputs


def damaged(text, change):
    made, model = edited(text)
    proto = made.materialize()
    change({node.name or node.output[0]: node for node in proto.graph.node})
    return Model(proto, {}, original=made.original, steps=made.history), model


def test_a_step_that_forgets_the_cache_is_broken_though_one_run_is_right():
    """The cache that goes out is of the right shape, and its newest entry is another one."""

    def forget(nodes):
        nodes["grow"].output[0] = "whole"
        for node in nodes.values():
            node.input[:] = ["whole" if name == "present" else name for name in node.input]

    model = parsed(DECODER)
    with Model(model).edit() as edit:
        nodes = {node.name or node.output[0]: node for node in edit.proto.graph.node}
        forget(nodes)
        edit.proto.graph.node.extend([onnx.helper.make_node("Neg", ["whole"], ["present"])])
    proof = gk.prove(edit.model, model, state={"present": "past"})
    assert proof.laws[0], gk.text(proof)
    assert (proof.laws[-1].law, proof.laws[-1].verdict, proof.laws[-1].first) == ("cached", "broken", "y")


def test_what_holds_of_the_original_neither_is_not_said_to_be_broken():
    text = DECODER.replace("Trilu<upper = 0>(zero, first)", "Identity(zero)")
    made, model = edited(text)
    held = gk.prove(made, model, state={"present": "past"}).laws[-1]
    assert (held.verdict, "steps of the original are no run either" in held.why) == ("unproved", True)


def test_a_model_of_one_size_cannot_be_asked():
    made, model = edited(RECURRENT.replace("float[s", "float[1"))
    held = gk.prove(made, model, state={"last": "h"}).laws[-1]
    assert (held.verdict, "no input has a free axis" in held.why) == ("unproved", True)


def test_names_that_are_not_there_are_said():
    made, model = edited(RECURRENT)
    with pytest.raises(gk.NameNotFoundError, match="'lost'"):
        gk.prove(made, model, state={"lost": "h"})
    with pytest.raises(gk.NameNotFoundError, match="'x'"):
        gk.prove(made, model, state={"last": "x"})


def test_a_weight_that_changed_breaks_the_other_law_too():
    wrong, model = damaged(
        RECURRENT,
        lambda nodes: nodes["rnn"].attribute.add().CopyFrom(onnx.helper.make_attribute("activations", ["Relu"])),
    )
    assert np.array(
        [held.verdict for held in gk.prove(wrong, model, replay=False, state={"last": "h"}).laws]
    ).tolist() == [
        "broken",
        "proved",
    ]
