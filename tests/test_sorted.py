"""Graphs whose nodes are in no order come out of every operation sorted, also those in bodies and functions, and say the same."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.graph import order as gk_order
from oracle import assert_same, run_ort

X = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
W = np.random.default_rng(1).standard_normal((4, 4)).astype(np.float32)


def unsorted(functions=True):
    call = "my.F(k)" if functions else "Neg(k)"
    text = f"""<ir_version: 10, opset_import: ["": 17, "my": 1]> g (bool t, float[2,4] x) => (float[2,4] y) {{
        y = Add(b, two)
        b = If (t) <then_branch = th () => (float[2,4] p) {{ p = Abs(q) q = Neg(f) }},
                    else_branch = el () => (float[2,4] r) {{ r = Identity(f) }}>
        f = {call}
        two = Constant<value = float[1] {{2}}>()
        k = Relu(h)
        h = MatMul(x, w)
    }} {'<domain: "my", opset_import: ["": 17]> F (a) => (o) { o = Abs(c) c = Neg(a) }' if functions else ""}"""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(W, "w"))
    return model


def is_sorted(proto):
    onnx.checker.check_model(proto)
    return all(gk_order.is_ordered(function.node) for function in proto.functions)


OPERATIONS = {
    "rename": lambda m: gk.rename(m, values={"h": "hh"}),
    "extract": lambda m: gk.extract(m, inputs=["t", "x"], outputs=["y"]),
    "simplify": gk.simplify,
    "deduplicate": gk.deduplicate,
    "opset": lambda m: gk.opset(m, to=20),
    "inline": gk.inline,
    "dims": lambda m: gk.dims(m, {"x:0": "N"}),
    "float16": lambda m: gk.precision(m, to="float16", keep_io=True),
    "promote": lambda m: gk.promote(m, tensors=["two"]),
    "freeze": lambda m: gk.freeze(m, {"t": True}),
    "tap": lambda m: gk.tap(m, ["h"]),
    "set": lambda m: gk.set_parts(m, doc="x"),
    "remove": lambda m: gk.remove(m, nodes=["k"]),
    "reorder": lambda m: gk.reorder(m, inputs=["x", "t"]),
}


@pytest.mark.parametrize("functions", [True, False])
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_result_is_sorted_and_says_the_same(name, functions):
    model = unsorted(functions)
    before = {"y": np.maximum(X @ W, 0) + 2}  # ONNX Runtime itself refuses bodies and functions that are not sorted
    made = OPERATIONS[name](model)
    assert is_sorted(made.proto)
    feeds = {"t": np.array(True), "x": X, "two": np.float32([2])}
    answer = run_ort(made, {value.name: feeds[value.name] for value in made.inputs})
    if name != "remove":
        assert_same(answer["y"], before["y"], rtol=2e-2, atol=2e-2)


def test_the_model_that_was_given_keeps_its_order():
    model = unsorted()
    text = model.SerializeToString()
    gk.rename(model, values={"h": "hh"})
    assert model.SerializeToString() == text


def test_the_history_of_an_unsorted_model_is_replayed_to_the_same_bytes(tmp_path):
    onnx.save(unsorted(), tmp_path / "m.onnx")
    edited = gk.rename(gk.opset(tmp_path / "m.onnx", to=20), values={"h": "hh"})
    edited.save(tmp_path / "e.onnx")
    gk.replay(tmp_path / "e.onnx", tmp_path / "m.onnx").save(tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "e.onnx").read_bytes()
    assert gk.prove(tmp_path / "e.onnx", tmp_path / "m.onnx")


def test_a_cycle_is_still_refused():
    model = unsorted()
    model.graph.node[-1].input[0] = "y"
    with pytest.raises(gk.InvalidGraphError, match="cycle"):
        gk.opset(model, to=20)
