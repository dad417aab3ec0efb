"""meant and replaced: upstream is as it was, the piece does what its body says, the rest changed only through it."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.model import Model

NET = """<ir_version: 10, opset_import: ["" : 18, "my" : 1]>
g (float[2, 3] x, bool c, float[3] k) => (float[2, 3] y, float[2, 3] z, float[2, 3] u) <float[3] w = {1, 2, 3}> {
  [neg] a = Neg(x)
  [soft] s = Softmax<axis = 1>(a)
  [clip] l = Clip(s, , top)
  [exp] y = Exp(l)
  [choose] z = If(c) <then_branch = t () => (float[2, 3] p) { [in] q = Mul(a, w) [out] p = Abs(q) },
                      else_branch = e () => (float[2, 3] v) { v = Identity(a) }>
  [call] u = my.F(x, k)
  top = Constant<value_float = 0.9>()
}
<domain: "my", opset_import: ["" : 18]> F (d, e) => (f) { [first] g = Add(d, e) [second] f = Tanh(g) }"""

EDITS = {
    "behind an inner value": ("insert", {"at": "a", "function": "(p) => (q) { r = Cos(p) q = Mul(r, p) }"}),
    "before an output": ("insert", {"at": "y", "function": "relu", "readers": "y"}),
    "at an output of another type": ("insert", {"at": "y", "function": "cast:to=float16"}),
    "at an input": ("insert", {"at": "x", "function": "normalize:mean=0.5,std=2"}),
    "at an input of another type": ("insert", {"at": "x", "function": '<domain: "b", opset_import: ["" : 18]> f (p) => (q) { q = Cast<to = 1>(p) }'}),
    "for one reader": ("insert", {"at": "a", "function": "sigmoid", "readers": "choose"}),
    "for two values at once": ("insert", {"at": ["a", "x"], "function": "(p, q) => (r, s) { r = Add(p, q) s = Sub(p, q) }", "readers": ["soft", "call"]}),
    "with a further output": ("insert", {"at": "y", "function": "(p) => (q, r) { q = Neg(p) r = Cos(p) }"}),
    "in a branch": ("insert", {"at": "choose.then_branch/q", "function": "softmax"}),
    "in a function": ("insert", {"at": "function:my::F/g", "function": "(p) => (q) { q = Sin(p) }"}),
    "by a pattern": ("insert", {"at": "[asl]", "function": "identity", "regex": True}),
    "a node gone": ("remove", {"nodes": "soft"}),
    "two nodes gone, an output behind them": ("remove", {"nodes": ["clip", "exp"]}),
    "a node of a branch gone": ("remove", {"nodes": "choose.then_branch/out"}),
    "a node of a function gone": ("remove", {"nodes": "function:my::F/first"}),
    "an output gone": ("remove", {"outputs": "y"}),
    "an attribute": ("set_parts", {"attributes": {"soft:axis": 0}}),
    "an attribute cleared": ("set_parts", {"attributes": {"soft:axis": 0}, "clear": ["soft:axis", "docs"]}),
    "an operand": ("set_parts", {"operands": {"exp:0": "s", "clip:1": "0.2"}}),
    "an operand in a branch": ("set_parts", {"operands": {"choose.then_branch/in:1": [1, 0, 1]}}),
    "a weight": ("set_parts", {"tensors": {"w": [3, 2, 1]}}),
    "a constant": ("set_parts", {"tensors": {"top": 0.25}}),
    "an opset": ("set_parts", {"opset_import": {"ai.onnx": 19}, "metadata": {"who": "me"}}),
    "an equal body": ("replace", {"nodes": "neg", "function": "(p) => (q) { zero = Constant<value_float = 0.0>() q = Sub(zero, p) }"}),
    "an equal region": ("replace", {"inputs": "s", "outputs": "y", "function": "(p) => (q) { t = Constant<value_float = 0.9>() m = Min(p, t) q = Exp(m) }"}),
}  # fmt: skip


def net(text=NET):
    return onnx.parser.parse_model(text)


def edited(kind):
    name, arguments = EDITS[kind]
    return getattr(gk, name)(net(), **arguments)


@pytest.mark.parametrize("kind", EDITS)
def test_an_honest_edit_is_proved_whole(kind):
    proof = gk.prove(edited(kind), net())
    assert proof, gk.text(proof)
    made = [value.name for value in edited(kind).outputs]
    assert set(made) <= set(proof.laws[0].outputs)


def proved_by_law(model, change):
    """The proof of a model that somebody changed, by its law alone."""
    proto = model.materialize()
    change({node.name or node.output[0]: node for node in proto.graph.node}, proto)
    wrong = Model(proto, {}, original=model.original, steps=model.history)
    return gk.prove(wrong, net(), replay=False)


def operator(name, op):
    return lambda nodes, _: setattr(nodes[name], "op_type", op)


def attribute(name, value):
    return lambda nodes, _: setattr(nodes[name].attribute[0], "i", value)


def number(position, factor):
    def change(_, proto):
        tensor = proto.graph.initializer[position]
        array = onnx.numpy_helper.to_array(tensor) * np.float32(factor)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))

    return change


def body_operator(position, op):
    return lambda _, proto: setattr(proto.functions[0].node[position], "op_type", op)


def inserted(op):
    return lambda _, proto: setattr(next(n for n in proto.graph.node if n.op_type == op), "op_type", "Sin")


DAMAGES = [
    ("behind an inner value", "the body", inserted("Cos")),
    ("behind an inner value", "upstream", operator("neg", "Abs")),
    ("behind an inner value", "downstream", operator("exp", "Cos")),
    ("behind an inner value", "aside", body_operator(1, "Sin")),
    ("before an output", "the body", inserted("Relu")),
    ("for one reader", "a reader too many", lambda nodes, _: nodes["soft"].input.__setitem__(0, "x")),
    ("for two values at once", "the body", inserted("Sub")),
    ("with a further output", "the further output", inserted("Cos")),
    ("in a function", "the body", body_operator(1, "Cos")),
    ("a node gone", "a second node", lambda nodes, _: nodes["exp"].input.__setitem__(0, "a")),
    ("a node gone", "upstream", operator("neg", "Abs")),
    ("an attribute", "another value", attribute("soft", 1)),
    ("an operand", "another one", lambda nodes, _: nodes["exp"].input.__setitem__(0, "l")),
    ("a weight", "other numbers", number(0, 1.01)),
    (
        "an equal body",
        "what it makes",
        lambda _, proto: next(n for n in proto.graph.node if n.op_type == "Sub").input.reverse(),
    ),
    ("an equal region", "another region", operator("soft", "LogSoftmax")),
]


@pytest.mark.parametrize(("kind", "what", "change"), DAMAGES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_fault_beside_what_was_meant_breaks_the_law(kind, what, change):
    proof = proved_by_law(edited(kind), change)
    assert proof.verdict == "broken", gk.text(proof)


def test_the_first_value_that_is_not_what_the_body_makes_is_named():
    proof = proved_by_law(edited("behind an inner value"), operator("soft", "LogSoftmax"))
    assert proof.laws[0].first == "s", gk.text(proof)


def test_an_input_that_the_operation_lost_breaks_the_law():
    def lose(_, proto):
        del proto.graph.node[-2 if proto.graph.node[-1].op_type == "Constant" else -1]
        proto.graph.output.pop()
        proto.graph.input.pop()

    proof = proved_by_law(edited("a node gone"), lose)
    assert (proof.verdict, proof.laws[0].why) == ("broken", "the outputs are y, z and should be y, z, u")


def test_a_body_whose_input_has_symbols_leaves_the_models_sizes():
    text = """<ir_version: 10, opset_import: ["" : 18]> b (uint8[n, h, w, 3] p) => (float[n, 3, h, w] q) {
        t = Transpose<perm = [0, 3, 1, 2]>(p) q = Cast<to = 1>(t) }"""
    plain = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 18]> g (float[2, 3, 4, m] x) => (float[2, 3, 4, m] y) { y = Relu(x) }'
    )
    made = gk.insert(plain, "x", body_model=onnx.parser.parse_model(text))
    assert [d.dim_value or d.dim_param for d in made.inputs[0].type.tensor_type.shape.dim] == [2, 4, "m", 3]
    assert gk.prove(made, plain)


def test_an_edit_of_another_tool_is_held_to_the_skeleton_in_the_history():
    with Model(net()).edit() as edit:
        edit.proto.graph.node[3].op_type = "Cos"
    proof = gk.prove(edit.model, net())
    assert proof, gk.text(proof)
    assert {"y", "z", "u", "l"} <= set(proof.laws[0].outputs)
    for change in (operator("exp", "Sin"), operator("soft", "LogSoftmax"), operator("neg", "Abs")):
        assert proved_by_law(edit.model, change).verdict == "broken"


def test_what_is_tapped_by_a_pattern_is_compared_too():
    model = gk.tap(net(), ["*"])
    assert {"a", "s", "l"} <= set(gk.prove(model, net()).laws[0].outputs)
    assert proved_by_law(model, operator("soft", "Relu")).verdict == "broken"


def test_weights_that_are_gone_are_said_to_be_the_original_s_in_the_run():
    large = net()
    large.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(600, np.float32), "large"))
    proof = gk.prove(gk.set_parts(large, strip_weights=True), large)
    assert proof, gk.text(proof)
    assert proof.laws[0].also == ("run with the original's weights in the places of those that were taken out",)


def test_a_value_that_only_a_dead_node_reads_is_not_asked_for_where_dead_nodes_do_not_run():
    """Found by random models: remove leaves what was dead before, and the model beside it has none of it."""
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18]> g (float[2] x) => (float[2] y) {
        a = Neg(x) [gone] b = Identity(x) [dead] c = Add(a, b) y = Abs(b) }"""
    )
    removed = gk.remove(model, nodes="gone")
    for made in (removed, gk.tap(removed, "c")):
        proof = gk.prove(made, model)
        assert proof, gk.text(proof)


def test_a_value_of_a_branch_that_is_tapped_is_compared_in_both_branches():
    model = gk.tap(net(), ["choose.then_branch/q", "a"])
    proof = gk.prove(model, net())
    assert proof, gk.text(proof)
    assert {"choose.then_branch/q", "a", "y", "z", "u"} == set(proof.laws[0].outputs)

    def other(nodes, _):
        branch = next(a.g for a in nodes["choose"].attribute if a.name == "then_branch")
        handed = branch.output[-1].name
        next(node for node in branch.node if node.output[0] == handed).op_type = "Neg"

    assert proved_by_law(model, other).verdict == "broken"


def test_what_inference_had_against_the_model_before_is_no_fault_of_the_edit():
    """Found by random models: onnx's inference takes no sparse weight, and asks nobody whether a node is dead."""
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18]> g (float[3] x, bool c) => (float[3] y) {
        [dead] d = Add(x, s) [gone] i = Identity(x)
        y = If(c) <then_branch = t () => (float[3] p) { p = Neg(i) }, else_branch = e () => (float[3] q) { q = Exp(i) }> }"""
    )
    values = onnx.numpy_helper.from_array(np.float32([1, 2]), "s")
    places = onnx.numpy_helper.from_array(np.int64([0, 2]))
    model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, places, [3]))
    proof = gk.prove(gk.remove(model, nodes="gone"), model)
    assert proof, gk.text(proof)


def test_a_shape_that_the_model_before_declared_otherwise_is_no_excuse():
    """What runs beside the model after is another than the model before, whose declarations say nothing of it."""
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18]> g (float[1, 2, 6, 6] x) => (float[1, 2, 12, 9] y) <int64[4] s = {1, 2, 12, 9}> {
        [relu] r = Relu(x) [one] y = Resize<mode = "linear">(r, , , s) }"""
    )
    made = gk.remove(model, nodes=["one", "relu"])
    assert gk.prove(made, model)
    proto = made.materialize()
    proto.graph.output[0].type.tensor_type.shape.dim[2].dim_value = 7
    wrong = Model(proto, {}, original=made.original, steps=made.history)
    proof = gk.prove(wrong, model, replay=False)
    assert (proof.verdict, "declared" in proof.laws[0].why) == ("broken", True), gk.text(proof)


def test_an_element_that_one_feed_in_two_shows_is_looked_at_often_enough():
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18]> g (int64[4] x, bool[4] keep) => (int64[4] y) <int64[4] v = {0, 7, 0, 7}> {
        y = Where(keep, x, v) }"""
    )
    made = gk.set_parts(model, doc="mine")
    assert gk.prove(made, model).laws[0].runs >= 20
    for place in range(4):
        proto = made.materialize()
        array = np.int64([0, 7, 0, 7])
        array[place] += 1
        proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(array, "v"))
        wrong = Model(proto, {}, original=made.original, steps=made.history)
        assert all(gk.prove(wrong, model, replay=False, seed=seed).verdict == "broken" for seed in range(8))


def test_outputs_that_are_nothing_but_nan_prove_nothing_whatever_lies_upstream_of_them():
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 18]> g (float[3] x) => (float[3] y) { d = Sub(x, x) y = Div(d, d) }'
    )
    proof = gk.prove(gk.insert(model, at="d", function="relu"), model)
    assert (proof.verdict, "nothing but NaN" in proof.laws[0].why) == ("unproved", True), gk.text(proof)
