"""What dims says: of holders that cannot follow, of names, of outputs; and what it refuses."""

import functools
import re
import warnings

import numpy as np
import onnx
import onnx.parser
import pytest

import graphkit as gk
import onnx_text
from oracle import assert_same, run_ort

parse = functools.partial(onnx_text.parse, opset=17)


def said(model, values, **options):
    """The edited model and its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        edited = gk.dims(model, values, repair_shapes=True, **options)
    return edited, [str(w.message) for w in caught]


TABLE = "g (float[1,6,4] x) => (float[a,b,c] y) <float[1,6,1] table = {2,1,2,5,2,2}> { [join] y = Mul(x, table) }"
DIVISOR = "g (float[1,6,4] x) => (float[a,b] y) <float n = {6}, int64[1] ax = {1}> { s = ReduceSum<keepdims=0>(x, ax) [mean] y = Div(s, n) }"
TILED = "g (float[1,2,8,8] x) => (float[a,b,c,d] y) { [pool] y = AveragePool<kernel_shape=[4,4], strides=[4,4]>(x) }"
HALF = "g (float[1,8] x) => (float[a,b] y) <int64[1] z = {0}, int64[1] e = {4}, int64[1] ax = {1}> { [half] y = Slice(x, z, e, ax) }"
LAST = "g (float[1,8] x) => (float[a] y) <int64 i = {7}> { [last] y = Gather<axis=1>(x, i) }"
UNEVEN = "g (float[1,6] x) => (float[a,b] y) <int64[2] k = {1,5}> { [cut] p, y = Split<axis=1>(x, k) }"
FIRST = "g (float[1,4] x) => (float[a] y) <int64 i = {0}> { y = Gather<axis=0>(x, i) }"
TIED = "g (float[6,4] x, float[6,4] z) => (float[a,b] y) { [tie] y = Add(x, z) }"
PLACED = "g (float[1,3] x) => (float[a,b] y) <int64[1,2] i = {0,2}, float[1] u = {9}> { [put] y = ScatterND(x, i, u) }"
PICKED = "g (float[3,2] x) => (float[a,b] y) <int64[3,1] i = {2,0,1}> { [pick] y = GatherND(x, i) }"
WINDOW = """g (float[1,7,7,4] x) => (float[a,b,c] y) <int64[6] s = {1,1,7,1,7,4}, int64[3] t = {-1,49,4}>
{ [cut] r = Reshape(x, s) p = Transpose<perm=[0,1,3,2,4,5]>(r) y = Reshape(p, t) }"""
PATCH = """g (float[1,8,2,2] x) => (float[a,b,c,d] y) <int64[4] s = {8,2,1,2}, int64[4] t = {1,8,1,4}>
{ [cut] r = Reshape(x, s) p = Transpose<perm=[0,2,1,3]>(r) y = Reshape(p, t) }"""
HIDDEN = "g (float[1,4] x) => (float[a,b] y) { u = my.op(x) [later] y = Relu(u) }"


@pytest.mark.parametrize(
    ("text", "values", "words"),
    [
        (TABLE, {"x:1": "s"}, ["Mul 'join'", "'table'", "interpolate the table"]),
        (DIVISOR, {"x:1": "s"}, ["Div 'mean'", "the number 6"]),
        (TILED, {"x:2": "h"}, ["AveragePool 'pool'", "tile"]),
        (HALF, {"x:1": "s"}, ["Slice 'half'", "at 4"]),
        (LAST, {"x:1": "s"}, ["Gather 'last'", "the place 7"]),
        (UNEVEN, {"x:1": "s"}, ["Split 'cut'", "[1, 5]"]),
        (WINDOW, {"x:1": "h"}, ["Reshape 'cut'", "whether axis 1 or axis 2"]),
        (WINDOW, {"x:2": "w"}, ["Reshape 'cut'", "whether axis 3 or axis 4"]),
        (PATCH, {"x:2": "h"}, ["Reshape 'cut'", "the file does not say"]),
        (FIRST, {"x:0": "n"}, ["'y' does not vary with x:0"]),
        (PLACED, {"x:0": "n"}, ["ScatterND 'put'", "fixed places of axis 0"]),
        (PICKED, {"x:0": "n"}, ["GatherND 'pick'", "fixed places of axis 0"]),
        (TIED, {"x:0": "s"}, ["Add 'tie'", "free the axis of 'z'"]),
        (TIED, {"x:0": "s", "z:0": "t"}, ["Add 'tie'", "must agree"]),
    ],
)
def test_what_does_not_follow_is_named_with_what_to_do(text, values, words):
    model = parse(text)
    _, sentences = said(model, values)
    assert all(any(word in sentence for sentence in sentences) for word in words), sentences
    with pytest.raises(gk.EditError) as refused:
        gk.dims(model, values, repair_shapes=True, strict=True)
    assert all(word in str(refused.value) for word in words)
    assert "strict=True" in refused.value.hint


def test_sizes_stop_at_an_operator_that_nobody_knows():
    model = parse(HIDDEN)
    model.opset_import.add(domain="my", version=1)
    _, sentences = said(model, {"x:0": "n"})
    assert any("my" not in s and "cannot be followed past it" in s for s in sentences), sentences


def test_a_table_that_is_longer_says_how_far_sizes_go():
    text = "g (float[1,6,2] x) => (float[a,b,c] y) <int64[6] k = {0,1,2,3,4,5}, int64[1] z = {0}> { p = Gather<axis=0>(t, k) y = Add(x, p) }"
    model = parse(text)
    model.graph.initializer.append(
        onnx.numpy_helper.from_array(np.random.default_rng(0).random((10, 2), np.float32), "t")
    )
    edited, sentences = said(model, {"x:1": "s"})
    assert sentences == []
    assert any("10 rows" in note for note in edited.history[-1].notes)
    x = np.zeros((1, 9, 2), np.float32)
    assert_same(run_ort(edited, {"x": x}), {"y": onnx.numpy_helper.to_array(model.graph.initializer[-1])[None, :9]})


def test_one_name_is_one_size_and_a_size_fits_the_weights():
    two = parse("g (float[6,4] x, float[5,4] z) => (float[a,b] y) { y = Concat<axis=0>(x, z) }")
    with pytest.raises(gk.EditError, match="both cannot be 's'"):
        gk.dims(two, {"x:0": "s", "z:0": "s"})
    model = parse("g (float[6,4] x) => (float[a,b] y) <float[4,1] w = {1,7,3,4}> { [fc] y = MatMul(x, w) }")
    with pytest.raises(gk.EditError, match="contradicts a weight: x:1 = 5, and MatMul 'fc'"):
        gk.dims(model, {"x:1": 5})


def test_dims_of_outputs_are_named():
    model = parse("g (float[6,4] x) => (float[6,4] y, float[b,4] z) { y = Relu(x) z = Neg(x) }")
    edited, sentences = said(model, {"x:0": "s", "y:0": "s"})
    assert sentences == []
    dims = {
        v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in edited.proto.graph.output
    }
    assert dims == {"y": ["s", 4], "z": ["s", 4]}
    assert gk.dims(model, {"z:0": "rows"}).proto.graph.output[1].type.tensor_type.shape.dim[0].dim_param == "rows"
    with pytest.raises(gk.EditError, match="no input's axis that is free makes it vary"):
        gk.dims(model, {"x:0": "s", "y:1": "columns"})


def test_what_was_tried_is_in_the_notes():
    model = parse("g (float[1,4] x) => (float[a,b] y) { y = Relu(x) }")
    notes = gk.dims(model, {"x:0": "n"}, repair_shapes=True).history[-1].notes
    assert any("3 samples stacked along x:0" in note for note in notes)
    assert any("it runs with n = 2; n = 3" in note for note in notes)


def test_a_batch_that_is_mixed_is_told():
    model = parse("g (float[1,4] x) => (float[a,b] y) { [mix] y = Softmax<axis=0>(x) }")
    _, sentences = said(model, {"x:0": "n"})
    assert any("Softmax 'mix' mixes what lies along it" in sentence for sentence in sentences), sentences


def test_the_report_has_three_answers():
    text = """g (float[1,6,4] x) => (float[a,b] y) <float[1,6,1] table = {2,1,2,5,2,2}, int64[2] t = {1,24}, int64[1] e = {3}, int64[1] z = {0}, int64[1] ax = {1}>
      { [join] u = Mul(x, table) [flat] y = Reshape(u, t) [half] v = Slice(x, z, e, ax) }"""
    found = gk.dims_report(parse(text), {"x:1": "s"})
    assert [f.node for f in found.follows] == ["flat"]
    assert [f.node for f in found.held] == ["half"]
    assert [f.node for f in found.properties] == ["join"]
    assert not found
    assert found.outputs == {"y": (1,)}
    assert all(
        word in gk.text(found) for word in ("follows, once it is repaired: 1", "property of the net: 1", "'table'")
    )
    assert gk.dims_report(parse("g (float[1,4] x) => (float[a,b] y) { y = Relu(x) }"), {"x:0": "n"})
    with pytest.raises(gk.EditError, match="none of these dims has a fixed size"):
        gk.dims_report(parse("g (float[n,4] x) => (float[a,b] y) { y = Relu(x) }"), {"x:0": "m"})


OPEN = '<ir_version: 8, opset_import: ["": 18]> g (float[n,3] x) => (float[n,3] y, float[a,b] z) { y = Neg(x) z = Transpose(x) }'


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"z:0": 5}, "z:0 cannot be 5: the nodes before it give it the size 3"),
        ({"z:1": 7, "x:0": 4}, "z:1 cannot be 7: the nodes before it give it the size 4"),
        ({"z:1": 7}, "z:1 cannot be 7 alone: it is 'n', as x:0 is"),
    ],
)
def test_an_axis_of_an_output_has_no_size_that_the_nodes_do_not_give_it(values, said):
    with pytest.raises(gk.EditError, match=re.escape(said)):
        gk.dims(onnx.parser.parse_model(OPEN), values)


@pytest.mark.parametrize(
    ("values", "shape"),
    [({"z:0": 3}, [3, "b"]), ({"z:0": "three", "z:1": "n"}, ["three", "n"]), ({"z:1": 4, "x:0": 4}, [3, 4])],
)
def test_what_axes_of_outputs_are_said_to_be_is_proved(values, shape):
    model = onnx.parser.parse_model(OPEN)
    edited = gk.dims(model, values)
    declared = edited.outputs[1].type.tensor_type.shape.dim
    assert [dim.dim_value or dim.dim_param for dim in declared] == shape
    assert gk.prove(edited, model)
