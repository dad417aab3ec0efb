"""Numbers that are a function of a size, and tables of windows and of places: they are named, or made again."""

import functools
import warnings

import numpy as np
import onnx
import pytest

import graphkit as gk
import onnx_text
from oracle import assert_same, run_ort

RNG = np.random.default_rng(3)

parse = functools.partial(onnx_text.parse, opset=17)

SEQUENCE = "g (float[1,10,4] x) => (float[a,b,c] y)"


def said(model, values):
    """What is warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gk.dims(model, values, repair_shapes=True)
    return "; ".join(str(w.message) for w in caught if issubclass(w.category, gk.GraphkitWarning))


NAMED = {
    "the root of": f"{SEQUENCE} <float s = {{3.1622777}}> {{ t = Transpose<perm=[0,2,1]>(x) m = MatMul(t, x) y = Div(m, s) }}",
    "the inverse root of": f"{SEQUENCE} <float s = {{0.31622777}}> {{ t = Transpose<perm=[0,2,1]>(x) m = MatMul(t, x) y = Mul(m, s) }}",
    "the logarithm of": f"{SEQUENCE} <float s = {{2.302585}}> {{ t = Transpose<perm=[0,2,1]>(x) m = MatMul(x, t) y = Mul(m, s) }}",
    "4 times 10": f"{SEQUENCE} <float s = {{40}}> {{ t = Transpose<perm=[0,2,1]>(x) m = MatMul(t, x) y = Div(m, s) }}",
    "the middle of axis 1": "g (float[1,10,4] x) => (float[a,c] y) <int64 i = {5}> { y = Gather<axis=1>(x, i) }",
    "fixed places of axis 1": f"{SEQUENCE} <int64[4] i = {{1,3,6,8}}> {{ y = Gather<axis=1>(x, i) }}",
    "the number 10": "g (float[1,10,4] x) => (float[a,c] y) <float[1,1] n = {10}> { m = ReduceMean<axes=[1], keepdims=0>(x) y = Concat<axis=1>(m, n) }",
}


@pytest.mark.parametrize("words", NAMED)
def test_a_number_that_is_a_function_of_the_size_is_named(words):
    assert words in said(parse(NAMED[words]), {"x:1": "steps"})


def test_the_scale_of_attention_is_no_size_even_where_it_is_the_root_of_one():
    text = """g (float[1,16,16] x) => (float[a,b,c] y) <float s = {0.25}>
              { t = Transpose<perm=[0,2,1]>(x) m = MatMul(x, t) p = Mul(m, s) q = Softmax<axis=2>(p) y = MatMul(q, x) }"""
    assert said(parse(text), {"x:1": "steps"}) == ""


def test_widths_and_heights_side_by_side_are_named_though_another_input_is_divided_by_them():
    text = """g (float[1,3,8,12] x, float[1,5,2,2] q) => (float[a,b,c,d] z, float[e,f,g,h] y) <float[2,2] s = {12,8,6,4}>
              { z = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x) y = Div(q, s) }"""
    assert "numbers of sizes in the file such as 8" in said(parse(text), {"x:2": "height"})


def test_a_mask_that_is_looked_up_by_sample_and_step_goes_over_all_samples_and_steps():
    places = np.stack(np.meshgrid([0], np.arange(6), indexing="ij"), -1).astype(np.int64).reshape(1, 1, 1, 6, 2)
    model = parse("g (bool[1,6] mask) => (bool[a,b,c,d] y) { y = GatherND(mask, places) }")
    model.graph.initializer.append(onnx.numpy_helper.from_array(places, "places"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        edited = gk.dims(model, {"mask:0": "n", "mask:1": "steps"}, repair_shapes=True)
    mask = RNG.random((3, 9)) > 0.5
    assert_same(run_ort(edited, {"mask": mask}), {"y": mask[:, None, None]})


def test_places_that_are_no_mesh_are_named():
    places = np.array([[[0, 1], [0, 0], [0, 5]]], np.int64)
    model = parse("g (float[1,6] x) => (float[a,b] y) { y = GatherND(x, places) }")
    model.graph.initializer.append(onnx.numpy_helper.from_array(places, "places"))
    assert "takes fixed places of axis 1" in said(model, {"x:1": "steps"})


def swin_mask(rows, columns, side, down, right):
    """The mask of shifted windows as Swin's authors make it."""
    regions, count = np.zeros((rows * side, columns * side)), 0

    def cuts(shift):
        return (slice(0, -side), slice(-side, -shift), slice(-shift, None)) if shift else (slice(None),)

    for low in cuts(down):
        for far in cuts(right):
            regions[low, far] = count
            count += 1
    parts = regions.reshape(rows, side, columns, side).transpose(0, 2, 1, 3).reshape(-1, side * side)
    return np.where(parts[:, None] == parts[:, :, None], 0, -100).astype(np.float32)


@pytest.mark.parametrize(
    ("rows", "columns", "side", "down", "right"), [(2, 3, 4, 2, 2), (3, 2, 4, 1, 3), (2, 2, 2, 1, 1), (4, 3, 3, 1, 1)]
)
def test_the_mask_of_shifted_windows_follows_the_picture(rows, columns, side, down, right):
    height, width, count = rows * side, columns * side, side * side
    model = parse(f"""g (float[1,{height},{width},2] x) => (float[a,b,c] y)
        <int64[6] t = {{1,{rows},{side},{columns},{side},2}}, int64[3] w = {{{rows * columns},{count},2}}>
        {{ r = Reshape(x, t) p = Transpose<perm=[0,1,3,2,4,5]>(r) v = Reshape(p, w) k = Transpose<perm=[0,2,1]>(v)
           s = MatMul(v, k) m = Add(s, mask) q = Softmax<axis=2>(m) y = MatMul(q, v) }}""")
    model.graph.initializer.append(onnx.numpy_helper.from_array(swin_mask(rows, columns, side, down, right), "mask"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        edited = gk.dims(model, {"x:1": "h", "x:2": "w"}, repair_shapes=True)
    for more, wide in ((5, 2), (3, 4), (rows, columns)):
        x = RNG.standard_normal((1, more * side, wide * side, 2)).astype(np.float32)
        parts = x.reshape(more, side, wide, side, 2).transpose(0, 2, 1, 3, 4).reshape(-1, count, 2)
        scores = parts @ parts.transpose(0, 2, 1) + swin_mask(more, wide, side, down, right)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        assert_same(
            run_ort(edited, {"x": x}), {"y": weights / weights.sum(-1, keepdims=True) @ parts}, rtol=1e-4, atol=1e-5
        )


def test_a_table_of_windows_that_is_no_mask_of_a_shift_is_named():
    mask = swin_mask(2, 3, 4, 2, 2)
    mask[0, 0, 1] = -100
    model = parse("""g (float[1,8,12,2] x) => (float[a,b,c] y) <int64[6] t = {1,2,4,3,4,2}, int64[3] w = {6,16,2}>
        { r = Reshape(x, t) p = Transpose<perm=[0,1,3,2,4,5]>(r) v = Reshape(p, w) k = Transpose<perm=[0,2,1]>(v)
          s = MatMul(v, k) y = Add(s, mask) }""")
    model.graph.initializer.append(onnx.numpy_helper.from_array(mask, "mask"))
    assert "a table whose axis 0 has the size 6" in said(model, {"x:1": "h", "x:2": "w"})


POSITIONS = {
    "a line": '<float[3] line = {5,6,7}, float[2] f = {1,0.01}> { a = Einsum<equation="i,j->ij">(line, f) t = Cos(a)',
    "one number": '<float[1] line = {5}, float[2] f = {1,0.01}> { a = Einsum<equation="i,j->ij">(line, f) t = Cos(a)',
    "a table": "{ t = Identity(table)",
}


@pytest.mark.parametrize("how", POSITIONS)
@pytest.mark.parametrize("past", [5, 9])
def test_positions_that_begin_where_a_cache_ends_begin_there_at_every_size(how, past):
    steps = 1 if how == "one number" else 3
    angles = np.arange(5, 5 + steps)[:, None] * np.array([1, 0.01])
    text = f"g (float[{steps},2] x, float[5,2] past) => (float[{steps},2] y, float[c,2] k) {POSITIONS[how]} y = Mul(x, t) k = Concat<axis=0>(past, y) }}"
    model = parse(text.replace("Identity(table)", "Mul(one, table)") if how == "a table" else text)
    if how == "a table":
        tables = {"table": np.cos(angles).astype(np.float32), "one": np.ones((1, 1), np.float32)}
        model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in tables.items())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        edited = gk.dims(model, {"past:0": "past"}, repair_shapes=True)
    x, k = (RNG.standard_normal((n, 2)).astype(np.float32) for n in (steps, past))
    right = x * np.cos((angles[:, :1] - 5 + past) * np.array([1, 0.01])).astype(np.float32)
    assert_same(
        run_ort(edited, {"x": x, "past": k}), {"y": right, "k": np.concatenate((k, right))}, rtol=1e-4, atol=1e-5
    )


def test_a_row_of_a_table_that_is_as_far_as_a_cache_is_long_is_named():
    text = """g (float[1,2] x, float[5,2] past) => (float[1,2] y, float[c,2] k) <float[8,2] wpe = {0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15}, int64[1] i = {5}>
              { t = Gather<axis=0>(wpe, i) y = Add(x, t) k = Concat<axis=0>(past, y) }"""
    assert "looks up the row 5" in said(parse(text), {"past:0": "past"})


def test_a_line_that_begins_at_a_size_by_chance_stays_as_it_is():
    text = """g (float[5,2] x) => (float[a,2] y, float[3,2] z) <float[3,1] line = {5,6,7}, float[1,2] f = {1,0.5}>
              { t = Mul(line, f) z = Cos(t) y = Relu(x) }"""
    edited = gk.dims(parse(text), {"x:0": "n"}, repair_shapes=True)
    x = RNG.standard_normal((9, 2)).astype(np.float32)
    assert_same(run_ort(edited, {"x": x})["z"], run_ort(parse(text), {"x": x[:5]})["z"])


TOLD = {
    "adds 10 places": (13, "g (float[1,6] x) => (float[1,16] y) <int64[4] p = {0,0,0,10}> { y = Pad(x, p) }", "x:1"),
    "repeats its input": (13, "g (float[1,6] x) => (float[6,6] y) <int64[2] s = {6,1}> { y = Tile(x, s) }", "x:1"),
    "fixed size 8": (
        18,
        "g (float[1,6] x) => (float[1,8] y) <int64[1] s = {8}> { y = CenterCropPad<axes=[1]>(x, s) }",
        "x:1",
    ),
    "keeps fixed places": (
        11,
        "g (float[6] x) => (float[k] y) <bool[6] i = {0,1,0,1,0,1}> { y = Compress<axis=0>(x, i) }",
        "x:0",
    ),
    "the fixed element 5": (
        11,
        "g (float[6,2] x) => (float[1,2] y) <int64 p = {5}> { s = SplitToSequence<axis=0>(x) y = SequenceAt(s, p) }",
        "x:0",
    ),
    "selects at most": (
        11,
        "g (float[1,6,4] b, float[1,1,6] s) => (int64[k,3] y) <int64 m = {6}, float t = {0.5}> { y = NonMaxSuppression(b, s, m, t) }",
        "b:1",
    ),
}


@pytest.mark.parametrize("words", TOLD)
def test_an_operator_that_is_told_the_size_is_named(words):
    opset, text, place = TOLD[words]
    other = {"s:2": "n"} if place == "b:1" else {}
    assert words in said(parse(text, opset=opset), {place: "n", **other})


def cosines(count, function):
    return function(np.arange(count)[:, None] * np.array([1, 0.01])).astype(np.float32)[None]


FOLLOWED = {
    "a causal mask of Attention": (
        23,
        "g (float[1,2,6,4] x) => (float[a,b,c,d] y) { y = Attention(x, x, x, mask) }",
        lambda n: {"mask": np.triu(np.full((n, n), -1e9, np.float32), 1)},
        (1, 2, 4),
    ),
    "the tables of RotaryEmbedding": (
        23,
        "g (float[1,2,6,4] x) => (float[a,b,c,d] y) { y = RotaryEmbedding(x, co, si) }",
        lambda n: {"co": cosines(n, np.cos), "si": cosines(n, np.sin)},
        (1, 2, 4),
    ),
    "a line before there is a Range": (
        9,
        "g (float[1,2,6,1] x) => (float[a,b,c,d] y) { y = Add(x, line) }",
        lambda n: {"line": np.arange(n, dtype=np.float32).reshape(1, 1, n, 1)},
        (1, 2, 1),
    ),
    "a CenterCropPad of another axis": (
        18,
        "g (float[1,2,6,4] x) => (float[a,b,c,d] y) { y = CenterCropPad(x, s) }",
        lambda n: {"s": np.array([1, 2, n, 2], np.int64)},
        (1, 2, 4),
    ),
}


@pytest.mark.parametrize("what", FOLLOWED)
def test_what_an_operator_is_told_of_an_axis_follows_it(what):
    opset, text, tables, (batch, heads, width) = FOLLOWED[what]

    def at(count):
        model = parse(text.replace("6", str(count)), opset=opset)
        made = (onnx.numpy_helper.from_array(array, name) for name, array in tables(count).items())
        model.graph.initializer.extend(made)
        return model

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        edited = gk.dims(at(6), {"x:2": "n"}, repair_shapes=True)
    for count in (9, 4, 6):
        x = RNG.standard_normal((batch, heads, count, width)).astype(np.float32)
        assert_same(run_ort(edited, {"x": x}), run_ort(at(count), {"x": x}), rtol=1e-4, atol=1e-5)
