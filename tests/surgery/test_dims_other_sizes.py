"""A model whose axes were freed is the model that would have been written at another size: the same text with other numbers."""

import warnings

import numpy as np
import pytest

import graphkit as gk
import onnx_text
from oracle import assert_same, run_ort


def mesh(*sizes):
    return [axis.astype(np.float32) for axis in np.meshgrid(*map(np.arange, sizes), indexing="ij")]


def points(n):
    """Centres of the cells of two maps, one behind the other: the anchors of a detector."""
    places = [np.stack([a.reshape(-1) + 0.5 for a in mesh(size, size)[::-1]]) for size in (n, n // 2)]
    return np.concatenate(places, 1)


def anchors(n):
    text = f"""g (float[1,2,{n},{n}] x) => (float[a,b,c] y) <int64[3] t = {{1,2,-1}}> {{
        half = AveragePool<kernel_shape=[2,2], strides=[2,2]>(x) a = Reshape(x, t) b = Reshape(half, t)
        both = Concat<axis=2>(a, b) q = Sigmoid(both) d = Sub(points, q) y = Mul(d, strides) }}"""
    strides = np.concatenate([np.full(n * n, 2.0), np.full(n * n // 4, 4.0)])[None]
    return onnx_text.parse(text, 17, points=points(n), strides=strides)


def behind_a_cache(n):
    text = f"""g (float[3,4] x, float[{n},4] past) => (float[a,b] y) {{
        k = Concat<axis=0>(past, x) t = Transpose<perm=[1,0]>(k) s = MatMul(x, t) y = Add(s, mask) }}"""
    return onnx_text.parse(text, 17, mask=np.triu(np.full((3, n + 3), -9.0), n + 1))


def triangle_behind_a_cache(n):
    text = f"""g (float[3,4] x, float[{n},4] past) => (float[a,b] y) <int64 k0 = {{{n}}}> {{
        k = Concat<axis=0>(past, x) t = Transpose<perm=[1,0]>(k) s = MatMul(x, t) y = Trilu<upper=0>(s, k0) }}"""
    return onnx_text.parse(text, 17)


def slopes(n):
    apart = np.arange(n)[:, None] - np.arange(n)[None]
    text = f"g (float[1,2,{n},{n}] x) => (float[a,b,c,d] y) {{ y = Sub(x, bias) }}"
    return onnx_text.parse(text, 17, bias=np.stack([apart * 0.5, apart * 0.25])[None])


def sinusoids(n):
    angles = np.arange(n)[:, None] * 10000.0 ** (-np.arange(0, 8, 2) / 8)
    table = np.stack([np.sin(angles), np.cos(angles)], -1).reshape(n, 8)
    return onnx_text.parse(f"g (float[1,{n},8] x) => (float[a,b,c] y) {{ y = Add(x, table) }}", 17, table=table)


def counted_by_a_running_sum(n):
    text = f"""g (float[1,{n},6] x) => (float[a,b,c] y) <int64 one = {{1}}, int64[1] s = {{-1}}, int64[1] e = {{{2**63 - 1}}}, int64[1] ax = {{1}}> {{
        c = CumSum(ones, one) last = Slice(c, s, e, ax) z = Add(last, tiny) p = Div(c, z) y = Mul(x, p) }}"""
    return onnx_text.parse(text, 17, ones=np.ones((1, n, 6)), tiny=np.float32(1e-6))


def variance(n):
    text = f"""g (float[1,{n},4] x) => (float[a,b,c] y) <float n0 = {{{n}}}, float n1 = {{{n - 1}}}> {{
        m = ReduceMean<axes=[1]>(x) d = Sub(x, m) q = Mul(d, d) v = ReduceMean<axes=[1]>(q) t = Mul(v, n0) u = Div(t, n1)
        s = Sqrt(u) y = Div(d, s) }}"""
    return onnx_text.parse(text, 17)


def every_second(n):
    places = ",".join(map(str, range(0, n, 2)))
    text = f"g (float[1,{n},4] x) => (float[a,b,c] y) <int64[{(n + 1) // 2}] i = {{{places}}}> {{ y = Gather<axis=1>(x, i) }}"
    return onnx_text.parse(text, 17)


def frames(n):
    count = (n - 4) // 2 + 1
    places = ",".join(str(2 * row + column) for row in range(count) for column in range(4))
    text = f"g (float[1,{n}] x) => (float[a,b,c] y) <int64[{count},4] i = {{{places}}}> {{ y = Gather<axis=1>(x, i) }}"
    return onnx_text.parse(text, 17)


def resized_to_what_it_is_joined_with(n):
    half = (n + 1) // 2
    quarter = (half + 1) // 2
    text = f"""g (float[1,1,{n},6] x) => (float[a,b,c,d] y) <int64[4] s = {{1,1,{half},3}}, int64[4] t = {{1,2,{n},6}}> {{
        a = Conv<strides=[2,2], pads=[1,1,1,1]>(x, w) b = Conv<strides=[2,1], pads=[1,1,1,1]>(a, w)
        c = Resize<mode="nearest">(b, , , s) d = Concat<axis=1>(a, c) y = Resize<mode="linear">(d, , , t) }}"""
    assert quarter * 2 != half
    return onnx_text.parse(text, 17, w=np.arange(9).reshape(1, 1, 3, 3) / 9)


def shifted_positions(n):
    text = f"""g (float[1,{n},{n}] x) => (float[a,b,c] y)
        <int64[3] t = {{1,{n + 1},{n}}}, int64[6] p = {{0,0,1,0,0,0}}, int64[1] s = {{1}}, int64[1] e = {{{2**63 - 1}}}, int64[1] ax = {{1}}> {{
        q = Pad(x, p) r = Reshape(q, t) y = Slice(r, s, e, ax) }}"""
    return onnx_text.parse(text, 17)


def patches_by_einsum(n):
    text = f"""g (float[1,3,{n},4] x) => (float[a,b,c] y) <int64[6] t = {{1,3,{n // 2},2,2,2}}, int64[3] u = {{1,{n},12}}> {{
        r = Reshape(x, t) e = Einsum<equation="nchpwq->nhwpqc">(r) y = Reshape(e, u) }}"""
    return onnx_text.parse(text, 17)


NETS = [
    (anchors, 8, 12, ["x:2", "x:3"]),
    (behind_a_cache, 5, 9, ["past:0"]),
    (triangle_behind_a_cache, 5, 9, ["past:0"]),
    (slopes, 6, 11, ["x:2", "x:3"]),
    (sinusoids, 8, 21, ["x:1"]),
    (counted_by_a_running_sum, 5, 8, ["x:1"]),
    (variance, 6, 10, ["x:1"]),
    (every_second, 7, 10, ["x:1"]),
    (frames, 11, 16, ["x:1"]),
    (resized_to_what_it_is_joined_with, 13, 21, ["x:2"]),
    (shifted_positions, 5, 7, ["x:1", "x:2"]),
    (patches_by_einsum, 6, 10, ["x:2"]),
]


def drawn(model):
    rng = np.random.default_rng(0)
    shapes = {info.name: [dim.dim_value for dim in info.type.tensor_type.shape.dim] for info in model.graph.input}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize(("net", "size", "other", "axes"), NETS, ids=[entry[0].__name__ for entry in NETS])
def test_it_is_the_model_of_another_size(net, size, other, axes):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        edited = gk.dims(net(size), dict.fromkeys(axes, "n"), repair_shapes=True)
    for wanted in (net(size), net(other)):
        feeds = drawn(wanted)
        assert_same(run_ort(edited, feeds), run_ort(wanted, feeds), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "lookup", ["g0 = Gather<axis=0>(rows, flat)", "deep = Unsqueeze(flat, last) g0 = GatherND(rows, deep)"]
)
def test_rows_that_were_looked_up_for_one_sample_are_those_of_each_sample(lookup):
    text = f"""g (float[1,5,3] x) => (float[a,b,c,d] y)
        <int64[2] t = {{5,3}}, int64[1] f = {{10}}, int64[4] u = {{1,5,2,3}}, int64[1] two = {{2}}, int64[1] last = {{-1}}> {{
        xt = Transpose<perm=[0,2,1]>(x) s = MatMul(x, xt) v, i = TopK(s, two)
        rows = Reshape(x, t) flat = Reshape(i, f) {lookup} y = Reshape(g0, u) }}"""
    model = onnx_text.parse(text, 17)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        edited = gk.dims(model, {"x:0": "n"}, repair_shapes=True)
    x = np.random.default_rng(0).standard_normal((3, 5, 3)).astype(np.float32)
    alone = np.concatenate([run_ort(model, {"x": x[k : k + 1]})["y"] for k in range(3)])
    assert_same(run_ort(edited, {"x": x}), {"y": alone})


def test_halves_are_cut_in_the_middle_and_said_to_be_a_guess():
    text = """g (float[1,{n},4] x) => (float[a,b,c] y) <int64[1] z = {{0}}, int64[1] h = {{{h}}}, int64[1] e = {{{n}}}, int64[1] ax = {{1}}> {{
        first = Slice(x, z, h, ax) second = Slice(x, h, e, ax) y = Sub(first, second) }}"""
    with pytest.warns(gk.GraphkitWarning, match="halves at 4, and the file does not say") as caught:
        edited = gk.dims(onnx_text.parse(text.format(n=8, h=4), 17), {"x:1": "s"}, repair_shapes=True)
    assert all("may be wrong" in str(warning.message) for warning in caught)
    wanted = onnx_text.parse(text.format(n=12, h=6), 17)
    feeds = drawn(wanted)
    assert_same(run_ort(edited, feeds), run_ort(wanted, feeds))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "g (float[1,8] x) => (int64[a,b] y) <int64[1] k = {3}, int64 w = {8}> { v, i = TopK(x, k) y = Mod(i, w) }",
            "the number 8",
        ),
        (
            "g (float[1,2,8] x) => (int64[a,b] y) <int64[1] k = {3}, int64[2] t = {1,-1}, int64 w = {16}> { f = Reshape(x, t) v, i = TopK(f, k) y = Mod(i, w) }",
            "the number 16",
        ),
        ("g (float[1,1,8] x) => (float[a,b,c] y) <float w = {7}> { y = Sub(w, x) }", "the number 7"),
        ("g (float[1,1,8] x) => (float[a,b,c] y) <float z = {0}, float w = {7}> { y = Clip(x, z, w) }", "the number 7"),
        (
            "g (float[1,2,8] x) => (float[a] y) <int64[2] ax = {1,2}, float w = {16}> { s = ReduceSum<keepdims=0>(x, ax) y = Div(s, w) }",
            "the number 16",
        ),
        (
            "g (float[8,1] x) => (float[a] y) <int64[3,2] i = {1,0,5,0,7,0}> { y = GatherND(x, i) }",
            "fixed places of axis 0",
        ),
        (
            "g (float[1,1,8] x) => (float[a,b,c] y) <int64[1] s = {-4}, int64[1] e = {99}, int64[1] ax = {2}> { y = Slice(x, s, e, ax) }",
            "4 before its end",
        ),
        (
            "g (float[1,6,8] x) => (float[a,b,c] y) <int64 k = {7}> { y = Trilu(x, k) }",
            "fixed diagonal",
        ),
    ],
)
def test_what_holds_a_size_and_cannot_follow_is_named(text, words):
    model = onnx_text.parse(text, 17)
    info = model.graph.input[0]
    sizes = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
    with pytest.warns(gk.GraphkitWarning, match=words):
        gk.dims(model, {f"{info.name}:{sizes.index(8)}": "n"}, repair_shapes=True)


def test_a_number_that_is_no_size_is_not_named():
    text = "g (float[1,6,8] x) => (float[a,b,c] y) <float z = {0}, float six = {6}, float w = {8}> { c = Clip(x, z, six) y = Add(c, w) }"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gk.dims(onnx_text.parse(text, 17), {"x:1": "h", "x:2": "w"}, repair_shapes=True)
