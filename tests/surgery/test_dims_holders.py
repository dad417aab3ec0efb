"""Each kind of node that holds a size follows an axis that becomes free, at every opset that writes it so, or is named."""

import functools
import warnings

import numpy as np
import onnx
import onnx.parser
import pytest

import graphkit as gk
import onnx_text
from oracle import assert_same, run_ort

RNG = np.random.default_rng(0)


parse = functools.partial(onnx_text.parse, opset=17)


def freed(model, values):
    """The model with free axes; nothing is to be warned of."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        edited = gk.dims(model, values, repair_shapes=True)
    onnx.checker.check_model(edited.proto, full_check=True)
    return edited


def with_size(model, values):
    """The model as it would be had it been exported at other sizes: the numbers in its text are replaced."""
    return gk.dims(model, values)


def numbers(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def stacked(text, opset, *, count=3, axis=0, feeds=None):
    """Several samples in one run give what each gives alone, and a single one still does."""
    model = parse(text, opset=opset)
    (info,) = list(model.graph.input)
    shape = [d.dim_value for d in info.type.tensor_type.shape.dim]
    samples = [numbers(*shape) for _ in range(count)] if feeds is None else feeds
    edited = freed(model, {f"{info.name}:{axis}": "n"})
    alone = [run_ort(model, {info.name: sample}) for sample in samples]
    together = run_ort(edited, {info.name: np.concatenate(samples, axis)})
    assert_same(together, {k: np.concatenate([one[k] for one in alone], axis) for k in alone[0]}, rtol=1e-4, atol=1e-5)
    assert_same(run_ort(edited, {info.name: samples[0]}), alone[0])


BATCHES = {
    "two flattenings": (
        (7, 13, 17, 22),
        "g (float[1,12,4] x) => (float[a,b] y) <int64[4] a = {1,3,4,4}, int64[2] b = {1,-1}> { r = Reshape(x, a) q = Relu(r) y = Reshape(q, b) }",
    ),
    "heads": (
        (9, 13, 17, 22),
        """g (float[1,4,6] x) => (float[a,b,c] y) <int64[4] t = {1,4,2,3}, int64[3] u = {1,4,6}>
           { r = Reshape(x, t) q = Transpose<perm=[0,2,1,3]>(r) k = Transpose<perm=[0,2,3,1]>(r) s = MatMul(q, k) p = Softmax<axis=3>(s)
             o = MatMul(p, q) w = Transpose<perm=[0,2,1,3]>(o) y = Reshape(w, u) }""",
    ),
    "attention of the dynamo exporter": (
        (18, 20),
        """g (float[1,2,4,3] x) => (float[a,b,c,d] y) <int64[3] t = {-1,4,3}, int64[4] u = {1,2,3,4}>
           { r = Reshape(x, t) k = Transpose<perm=[0,2,1]>(r) v = Reshape(k, u) y = MatMul(x, v) }""",
    ),
    "heads merged with the batch": (
        (13, 17),
        """g (float[1,4,6] x) => (float[a,b,c] y) <int64[4] t = {1,4,2,3}, int64[3] m = {2,4,3}, int64[4] b = {1,2,4,3}, int64[3] u = {1,4,6}>
           { r = Reshape(x, t) q = Transpose<perm=[0,2,1,3]>(r) h = Reshape(q, m) k = Transpose<perm=[0,2,1]>(h) s = MatMul(h, k) o = MatMul(s, h)
             z = Reshape(o, b) w = Transpose<perm=[0,2,1,3]>(z) y = Reshape(w, u) }""",
    ),
    "windows": (
        (13, 17),
        """g (float[1,4,6,2] x) => (float[a,b,c,d] y) <int64[6] t = {1,2,2,3,2,2}, int64[3] w = {6,4,2}, int64[6] b = {1,2,3,2,2,2}, int64[4] u = {1,4,6,2}>
           { r = Reshape(x, t) p = Transpose<perm=[0,1,3,2,4,5]>(r) v = Reshape(p, w) s = Softmax<axis=1>(v) z = Reshape(s, b)
             q = Transpose<perm=[0,1,3,2,4,5]>(z) y = Reshape(q, u) }""",
    ),
    "channel shuffle": (
        (7, 11, 17),
        "g (float[1,4,2,3] x) => (float[a,b,c,d] y) <int64[5] t = {1,2,2,2,3}, int64[4] u = {1,4,2,3}> { r = Reshape(x, t) q = Transpose<perm=[0,2,1,3,4]>(r) y = Reshape(q, u) }",
    ),
    "a class token through Where and Equal": (
        (11, 13, 17),
        """g (float[1,3,4] x) => (float[a,b,c] y) <float[1,1,4] token = {1,2,3,4}, int64[3] to = {1,-1,-1}, int64[1] minus = {-1}, int64[3] ones = {1,1,1}>
           { is = Equal(to, minus) shape = Where(is, ones, to) t = Expand(token, shape) y = Concat<axis=1>(t, x) }""",
    ),
    "a token that was folded": (
        (8, 13, 17),
        "g (float[1,3,4] x) => (float[a,b,c] y) <float[1,1,4] token = {1,2,3,4}> { y = Concat<axis=1>(token, x) }",
    ),
    "an Expand": ((13,), "g (float[1,1,4] x) => (float[a,b,c] y) <int64[3] t = {1,3,4}> { y = Expand(x, t) }"),
    "sizes of a Resize": (
        (11, 13, 19),
        'g (float[1,1,3,3] x) => (float[a,b,c,d] y) <int64[4] s = {1,1,6,6}, float[0] e = {}> { y = Resize<mode="nearest">(x, e, e, s) }',
    ),
    "initial states": (
        (7, 14, 22),
        """g (float[5,1,2] x) => (float[a,b,c,d] y) <float[1,12,2] w, float[1,12,3] r, float[1,1,3] h = {1,2,3}, float[1,1,3] c = {0,0,0}>
           { y = LSTM<hidden_size=3>(x, w, r,, , h, c) }""",
    ),
    "a scatter into zeros": (
        (11, 16, 18),
        """g (float[1,2,3] x) => (float[a,b,c] y) <int64[3] s = {1,4,3}, int64[1,2,2] i = {0,1,0,2}> { z = ConstantOfShape(s) y = ScatterND(z, i, x) }""",
    ),
    "a statistic in parts": (
        (12, 17),
        "g (float[1,4,6] x) => (float[a,b] y) <int64[3] s = {1,2,-1}, int64[2] u = {1,24}> { r = Reshape(x, s) m = ReduceMean<axes=[2], keepdims=1>(r) d = Sub(r, m) y = Reshape(d, u) }",
    ),
    "one hot": (
        (11, 13),
        "g (float[1,4] x) => (float[a,b,c] y) <int64 d = {4}, float[2] v = {0,1}> { i = Cast<to=7>(x) j = Abs(i) y = OneHot(j, d, v) }",
    ),
}


@pytest.mark.parametrize(("name", "opset"), [(n, o) for n, (opsets, _) in BATCHES.items() for o in opsets])
def test_samples_stacked_in_one_run_are_what_each_is_alone(name, opset):
    text = BATCHES[name][1]
    if name == "initial states":
        model = parse(text, opset=opset)
        for tensor in list(model.graph.initializer)[:0]:
            del tensor
        names = {t.name for t in model.graph.initializer}
        for weight, shape in (("w", (1, 12, 2)), ("r", (1, 12, 3))):
            if weight not in names:
                model.graph.initializer.append(onnx.numpy_helper.from_array(numbers(*shape), weight))
        kept = [v for v in model.graph.value_info if v.name not in ("w", "r", "h", "c")]
        del model.graph.value_info[:]
        model.graph.value_info.extend(kept)
        edited = freed(model, {"x:1": "n"})
        samples = [numbers(5, 1, 2) for _ in range(3)]
        alone = np.concatenate([run_ort(model, {"x": x})["y"] for x in samples], 2)
        got = run_ort(edited, {"x": np.concatenate(samples, 1)})["y"]
        np.testing.assert_allclose(got, alone, rtol=1e-4, atol=1e-5)
        return
    stacked(text, opset, axis=0)


def test_a_function_that_holds_a_size_is_inlined_and_another_stays():
    text = """<ir_version: 8, opset_import: ["" : 17, "my": 1]> g (float[1,4,2] x) => (float[a,b] y) {{ u = my.flat(x) y = Relu(u) }}
      <domain: "my", opset_import: ["" : 17]> flat (v) => (r) {{ t = Constant<value_ints={0}>() r = Reshape(v, t) }}"""
    model = onnx.parser.parse_model(text.format("[1,-1]"))
    edited = freed(model, {"x:0": "n"})
    x = numbers(3, 4, 2)
    assert_same(run_ort(edited, {"x": x}), {"y": np.maximum(x, 0).reshape(3, 8)})
    with pytest.warns(gk.GraphkitWarning, match="fixed target"):
        gk.dims(model, {"x:0": "n"})
    kept = freed(onnx.parser.parse_model(text.format("[0,-1]")), {"x:0": "n"})
    assert len(kept.proto.functions) == 1


@pytest.mark.parametrize(("axis", "weight"), [("h:0", "'W'"), ("h:2", "'R'"), ("x:2", "'W'")])
def test_axes_of_a_recurrent_node_that_its_weights_fix_are_named(axis, weight):
    text = """<ir_version: 9, opset_import: ["" : 17]> g (float[5,1,3] x, float[1,1,4] h) => (float[5,1,1,4] y)
        <float[1,4,3] W, float[1,4,4] R> { y = RNN<hidden_size = 4>(x, W, R, , , h) }"""
    model = onnx.parser.parse_model(text)
    del model.graph.value_info[:]
    for name, shape in (("W", (1, 4, 3)), ("R", (1, 4, 4))):  # all alike, as a constant that follows would be
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(shape, np.float32), name))
    with pytest.warns(gk.GraphkitWarning) as heard:
        gk.dims(model, {axis: "n"}, repair_shapes=True)
    assert any(f"with {weight}, a weight whose axis" in str(one.message) for one in heard)
    with pytest.raises(gk.EditError, match="contradicts a weight"):
        gk.dims(model, {axis: 2}, repair_shapes=True)


MASK = """g (int64[1,6] m) => (int64[a,b,c,d] y)
<int64[1,1,1,1] first = {0}, int64[1,1,1,6] row = {0,1,2,3,4,5}, int64[1] one = {1}, int64[1] open = {-1}>
{ shape = Shape(m) steps = Gather(shape, one) begin = Mul(first, steps) places = Add(row, begin) flat = Flatten<axis=2>(m)
  found = Gather<axis=0>(flat, places) line = Reshape(found, open) laid = Shape(places) y = Reshape(line, laid) }"""


def test_a_mask_that_is_looked_up_by_sample_and_step_follows_both():
    edited = freed(parse(MASK), {"m:0": "n", "m:1": "s"})
    mask = RNG.integers(0, 2, (3, 9))
    assert_same(run_ort(edited, {"m": mask}), {"y": mask[:, None, None, :]})


DISTANCES = """g (float[1,9,9] x) => (float[a,b,c] y) <int64[9,9] apart = {VALUES}, float[9,1] table = {0,1,2,3,4,5,6,7,8}>
{ [look] bias = Gather<axis=0>(table, apart) one = Squeeze(bias) y = Add(x, one) }"""


def test_a_table_that_is_looked_up_by_clamped_distances_follows():
    steps = np.arange(9)
    apart = np.clip(steps[None, :] - steps[:, None], -4, 4) + 4
    model = parse(DISTANCES.replace("VALUES", ",".join(map(str, apart.reshape(-1)))))
    edited = freed(model, {"x:1": "s", "x:2": "s"})
    steps = np.arange(14)
    right = np.clip(steps[None, :] - steps[:, None], -4, 4).astype(np.float32) + 4
    x = numbers(1, 14, 14)
    assert_same(run_ort(edited, {"x": x}), {"y": x + right})


SEAM = """g (float[1,6,4] a, float[1,3,4] b) => (float[p,q,r] y, float[s,t,u] z) <int64[2] k = {6,3}>
{ c = Concat<axis=1>(a, b) d = Relu(c) y, z = Split<axis=1>(d, k) }"""


def test_parts_that_were_joined_are_cut_where_they_were_joined():
    edited = freed(parse(SEAM), {"a:1": "m", "b:1": "k"})
    a, b = numbers(1, 2, 4), numbers(1, 7, 4)
    assert_same(run_ort(edited, {"a": a, "b": b}), {"y": np.maximum(a, 0), "z": np.maximum(b, 0)})
