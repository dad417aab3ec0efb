"""precision: integers that stand for a weight are asked one by one, whatever the outputs make of them."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.graph import walk
from graphkit.model import Model
from graphkit.verify.laws.held_weights import wrong_integers


def text(source, **weights):
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 18]> {source}')
    for name, array in weights.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return model


def random(*shape):
    return np.random.default_rng(len(shape) + shape[0]).standard_normal(shape).astype(np.float32) * np.float32(0.3)


def bodies():
    """Two bodies with a weight each, that have one name."""
    model = text("""g (float[4, 64] x, bool c) => (float[4, 48] y) { y = If(c)
        <then_branch = t () => (float[4, 48] p) { p = MatMul(x, w) }, else_branch = e () => (float[4, 48] q) { q = MatMul(x, w) }> }""")
    for number, attribute in enumerate(model.graph.node[0].attribute):
        attribute.g.initializer.append(onnx.numpy_helper.from_array(random(64, 48) + np.float32(number), "w"))
    return model


def constant():
    model = text("g (float[4, 64] x) => (float[4, 48] y) { a = MatMul(x, w) y = Tanh(a) }")
    made = onnx.helper.make_node("Constant", [], ["w"], value=onnx.numpy_helper.from_array(random(64, 48)))
    model.graph.node.insert(0, made)
    return model


NETS = {
    "gemm": lambda: text("g (float[4, 64] x) => (float[4, 48] y) { a = Gemm<transB = 1>(x, w, b) r = Relu(a) y = Gemm(r, v, c) }",
                         w=random(96, 64), b=random(96), v=random(96, 48), c=random(48)),
    "one weight both ways": lambda: text("g (float[4, 64] x) => (float[4, 64] y) { a = MatMul(x, w) t = Tanh(a) y = Gemm<transB = 1>(t, w) }",
                                         w=random(64, 64)),
    "a table": lambda: text("g (int64[4] i) => (float[4, 48] y) { e = Gather(w, i) y = MatMul(e, v) }", w=random(100, 64), v=random(64, 48)),
    "bodies": bodies,
    "a constant": constant,
}  # fmt: skip


def damages(tensor):
    """What was done, and the numbers then: a channel of integers zeroed, a number lost, a scale or weight that is off."""
    array = onnx.numpy_helper.to_array(tensor)
    if tensor.name.endswith("_zero_points") or array.size < 8:
        return
    lost = np.array(array)
    lost.reshape(-1)[array.size // 2] = 0 if lost.reshape(-1)[array.size // 2] else 1
    yield "a number", lost
    if array.dtype.kind == "f":
        yield "all numbers", (array * 1.05).astype(array.dtype)
    elif array.ndim > 1:
        for axis in range(array.ndim):
            lost = np.array(array)
            lost[(slice(None),) * axis + (array.shape[axis] // 2,)] = 0
            yield f"a channel of axis {axis}", lost


@pytest.mark.filterwarnings("ignore::graphkit.GraphkitWarning")
@pytest.mark.parametrize("to", ["int8-weights", "int4-weights"])
@pytest.mark.parametrize("kind", NETS)
def test_damage_to_a_weight_in_integers_is_refused_where_the_outputs_would_not_tell(kind, to):
    net = NETS[kind]()
    edited = gk.precision(net, to=to)
    whole = edited.materialize()
    proof = gk.prove(edited, net, samples=2)
    assert proof or "relative L2 error" in proof.laws[0].why, gk.text(proof)
    count = 0
    for place, tensor in enumerate(walk.tensors(whole)):
        for what, numbers in damages(tensor):
            wrong = onnx.ModelProto.FromString(whole.SerializeToString())
            changed = list(walk.tensors(wrong))[place]
            changed.CopyFrom(onnx.numpy_helper.from_array(numbers, tensor.name))
            broken = Model(wrong, {}, original=edited.original, steps=edited.history)
            why = wrong_integers(Model(net), broken, {}) or ""
            assert "scaled back" in why or "another weight" in why, (what, tensor.name)
            count += 1
    assert count >= 3
    answer = gk.prove(broken, net, samples=1, replay=False)
    assert (answer.verdict, answer.laws[0].why) == ("broken", why), gk.text(answer)


@pytest.mark.parametrize("columns", [32, 48])
def test_gaussian_weights_in_four_bits_are_proved_within_what_sixteen_levels_allow(columns):
    net = text(f"g (float[4, 64] x) => (float[4, {columns}] y) {{ a = MatMul(x, w) y = Tanh(a) }}",
               w=random(64, columns) * np.float32(10))  # fmt: skip
    edited = gk.precision(net, to="int4-weights")
    proof = gk.prove(edited, net)
    assert proof, gk.text(proof)
    assert float(proof.laws[0].outputs["y"].tolerance.rsplit(" ", 1)[1]) < 0.35
    for name, change in {"w_scales": lambda a: a * np.float32(1.05), "w_int4": lambda a: np.flip(a, 1)}.items():
        proto = edited.materialize()
        tensor = next(each for each in proto.graph.initializer if each.name == name)
        array = np.ascontiguousarray(change(onnx.numpy_helper.to_array(tensor)))
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, name))
        wrong = Model(proto, {}, path=edited.path, original=edited.original, steps=edited.history)
        assert gk.prove(wrong, net, replay=False).verdict == "broken", name
