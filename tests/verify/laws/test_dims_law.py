"""dims: what is asked at other sizes, of nodes that follow and of those that do not, and axes that share a name."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.errors import GraphkitWarning
from graphkit.model import Model


def text(source):
    return onnx.shape_inference.infer_shapes(
        onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 18]> {source}')
    )


def resized(batch, height):
    """A Resize to sizes of the file, and a sum over everything that no size of the file takes part in."""
    return text(f"""g (float[{batch}, 2, {height}, 6] x) => (float[{batch}, 2, 12, 9] y, float[{batch}] z)
      <int64[4] s = {{{batch}, 2, 12, 9}}, int64[3] all = {{1, 2, 3}}> {{
        [relu] r = Relu(x) [up] y = Resize<mode = "linear">(r, , , s) [sum] z = ReduceSum<keepdims = 0>(r, all) }}""")


def flat(batch, length):
    return text(f"""g (float[{batch}, {length}, 4] x) => (float[{batch}, {4 * length}] y) <int64[2] t = {{{batch}, {4 * length}}}> {{
        r = Relu(x) y = Reshape(r, t) }}""")


@pytest.mark.filterwarnings("ignore::graphkit.GraphkitWarning")
@pytest.mark.parametrize("values", [{"x:2": "h"}, {"x:2": "h", "x:0": "n"}, {"x:3": "w"}])
def test_a_size_that_follows_is_no_false_alarm_at_another_size_at_which_the_old_one_ran_too(values):
    model = resized(1, 6)
    proof = gk.prove(gk.dims(model, values, repair_shapes=True), model)
    assert proof, gk.text(proof)
    assert any("runs with true declared shapes" in also for also in proof.laws[0].also)


@pytest.mark.filterwarnings("ignore::graphkit.GraphkitWarning")
def test_what_hangs_on_no_size_that_follows_is_compared_at_the_other_sizes():
    model = resized(1, 6)
    edited = gk.dims(model, {"x:2": "h"}, repair_shapes=True)
    wrong = edited.copy_proto()
    nodes = list(wrong.graph.node)
    cut = onnx.helper.make_node("Slice", ["r", "zero", "six", "two"], ["cut"])
    numbers = [onnx.numpy_helper.from_array(np.array([n]), t) for n, t in ((0, "zero"), (6, "six"), (2, "two"))]
    wrong.graph.initializer.extend(numbers)
    place = next(place for place, node in enumerate(nodes) if node.name == "sum")
    nodes[place].input[0] = "cut"
    wrong.graph.node.insert(place, cut)
    proof = gk.prove(Model(wrong, edited.sources, original=edited.original, steps=edited.history), model, replay=False)
    assert (proof.verdict, "'z' differs (x=1x2x12x6)" in proof.laws[0].why) == ("broken", True), gk.text(proof)


@pytest.mark.parametrize(
    ("net", "first", "second"), [(flat(1, 6), "x:0", "x:1"), (flat(1, 6), "x:1", "x:0"), (flat(6, 6), "x:1", "x:0")]
)
def test_two_steps_that_give_two_axes_of_one_input_one_name_are_told_of_and_proved(net, first, second):
    once = gk.dims(net, {first: "n"}, repair_shapes=True, strict=True)
    with pytest.warns(GraphkitWarning, match=f"{first} and {second} are both 'n' now"):
        twice = gk.dims(once, {second: "n"}, repair_shapes=True, strict=True)
    proof = gk.prove(twice, net)
    assert proof, gk.text(proof)


@pytest.mark.parametrize(("batch", "height"), [(1, 6), (2, 2)])
def test_a_name_that_the_batch_has_already_proves_nothing_of_another_axis(batch, height):
    once = gk.dims(resized(batch, height), {"x:0": "n"}, repair_shapes=True, strict=True)
    for name in ("n", "h"):
        with pytest.raises(gk.EditError, match="not every size follows"):
            gk.dims(once, {"x:2": name}, repair_shapes=True, strict=True)


def test_axes_of_two_sizes_are_never_compared_at_one_size():
    net = flat(1, 6)
    with pytest.warns(GraphkitWarning, match="both 'n'"):
        edited = gk.dims(gk.dims(net, {"x:0": "n"}, repair_shapes=True), {"x:1": "n"}, repair_shapes=True)
    assert [held.steps for held in gk.prove(edited, net).laws] == [("dims",), ("dims",)]


def test_a_loop_that_stacks_what_its_turns_make_is_followed():
    """Found by the campaign: it ended the walk through the model."""
    net = text("""g (float[2, 3] x, int64 turns) => (float[2, 3] y, float[m, 2, 3] z) {
        yes = Constant<value = bool {1}>()
        y, z = Loop(turns, yes, x) <body = b (int64 i, bool go, float[2, 3] s) => (bool again, float[2, 3] o, float[2, 3] q) {
          again = Identity(go) q = Sin(s) o = Sub(q, x) }> }""")
    proof = gk.prove(gk.dims(net, {"x:0": "n"}, repair_shapes=True), net)
    assert proof, gk.text(proof)
