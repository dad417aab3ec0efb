"""dims: symbolic dims are set, renamed and fixed everywhere, and what contradicts is named."""

import warnings

import numpy as np
import onnx
import onnx.parser
import pytest

import graphkit as gk
from graphkit.graph.symbols import names_in, substituted
from onnx_text import parse
from oracle import assert_same, run_ort


def shapes(model):
    graph = model.proto.graph
    return {
        v.name: [d.dim_value if d.HasField("dim_value") else d.dim_param for d in v.type.tensor_type.shape.dim]
        for v in (*graph.input, *graph.value_info, *graph.output)
    }


CONV = """g (float[batch,3,h,w] x, float[batch,1] bias) => (float[batch,3,h,w] y)
  <float[3,3,1,1] k = {1,0,0,0,1,0,0,0,1}, float[batch,3,h,w] c> { c = Conv(x, k) y = Relu(c) }"""
STATIC = """g (float[1,3,8,8] x) => (float[1,3,8,8] y)
  <float[3,3,1,1] k = {1,0,0,0,1,0,0,0,1}, float[1,3,8,8] c> { c = Conv(x, k) y = Relu(c) }"""


def test_a_symbol_is_renamed_everywhere():
    renamed = gk.dims(parse(CONV), {"x:0": "n"})
    assert shapes(renamed) == {
        "x": ["n", 3, "h", "w"],
        "bias": ["n", 1],
        "c": ["n", 3, "h", "w"],
        "y": ["n", 3, "h", "w"],
    }


def test_a_symbol_can_be_named_by_itself():
    assert shapes(gk.dims(parse(CONV), {"h": "height"}))["y"] == ["batch", 3, "height", "w"]


def test_a_symbol_is_fixed_everywhere():
    fixed = gk.dims(parse(CONV), {"x:0": 2, "x:-1": 5})
    onnx.checker.check_model(fixed.proto, full_check=True)
    assert shapes(fixed) == {"x": [2, 3, "h", 5], "bias": [2, 1], "c": [2, 3, "h", 5], "y": [2, 3, "h", 5]}


COMPUTED_SIZES = """g (float[n,4,h] x, float[k] z) => (float[a,b] y, float[k] q) {
  s = Shape(x) i = Constant<value_int = 0>() first = Gather(s, i) zero = Constant<value_ints = [0]>()
  batch = Unsqueeze(first, zero) minus = Constant<value_ints = [-1]>() target = Concat<axis = 0>(batch, minus)
  r = Relu(x) f = Reshape(r, target) wide = Shape<start = 1>(f) ones = Constant<value_floats = [1.0]>()
  c = Expand(ones, wide) y = Add(f, c) count = Size(r) d = CastLike(count, z) q = Add(z, d) }"""


def test_what_is_made_of_sizes_alone_is_computed_on_request():
    model = parse(COMPUTED_SIZES)
    assert len(gk.dims(model, {"n": 2, "h": 3}).proto.graph.node) == len(model.graph.node)
    folded = gk.dims(model, {"n": 2, "h": 3}, fold=True)
    onnx.checker.check_model(folded.proto, full_check=True)
    assert [n.op_type for n in folded.proto.graph.node] == ["Relu", "Reshape", "Add", "CastLike", "Add"]
    assert "computed beforehand" in folded.history[-1].notes[-1]
    assert [d.dim_value for d in folded.proto.graph.output[0].type.tensor_type.shape.dim] == [2, 12]
    x = np.random.default_rng(0).standard_normal((2, 4, 3), np.float32)
    feeds = {"x": x, "z": np.ones(5, np.float32)}
    expected = {"y": np.maximum(x, 0).reshape(2, 12) + 1, "q": np.full(5, 25, np.float32)}
    assert_same(run_ort(folded, feeds), expected)
    assert_same(run_ort(model, feeds), expected)
    half = gk.dims(model, {"h": 3}, fold=True)
    assert [n.op_type for n in half.proto.graph.node].count("Shape") == 2
    assert_same(run_ort(half, feeds), expected)


def test_two_symbols_may_swap_names():
    assert shapes(gk.dims(parse(CONV), {"h": "w", "w": "h"}))["x"] == ["batch", 3, "w", "h"]


def test_a_fixed_dim_becomes_free_and_no_stale_size_stays():
    free = gk.dims(parse(STATIC), {"x:2": "h", "x:0": "n"})
    onnx.checker.check_model(free.proto, full_check=True)
    assert shapes(free) == {"x": ["n", 3, "h", 8], "c": ["n", 3, "", 8], "y": ["n", 3, "", 8]}
    x = np.random.default_rng(0).random((2, 3, 5, 8), dtype=np.float32)
    assert_same(run_ort(free, {"x": x}), {"y": x})


def test_a_fixed_dim_gets_another_size():
    assert shapes(gk.dims(parse(STATIC), {"x:3": 6}))["y"] == [1, 3, 8, 6]


def test_an_unknown_dim_gets_a_name():
    model = parse(STATIC)
    for info in (model.graph.input[0], model.graph.output[0], model.graph.value_info[0]):
        info.type.tensor_type.shape.dim[0].Clear()
    assert shapes(gk.dims(model, {"x:0": "n"})) == {"x": ["n", 3, 8, 8], "c": ["n", 3, 8, 8], "y": ["n", 3, 8, 8]}


def test_expressions_are_renamed_and_computed():
    model = parse("g (float[h,3] x) => (float[a,3] y) <float[2] s = {2,1}> { y = Resize(x,, s) }")
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "TruncToInt(2.0*ToFloat(h))"
    assert shapes(gk.dims(model, {"x:0": "height"}))["y"] == ["TruncToInt(2.0*ToFloat(height))", 3]
    assert shapes(gk.dims(model, {"x:0": 7}))["y"] == [14, 3]


def test_bodies_follow():
    model = parse(
        """g (float[n,3] x, bool t) => (float[n,3] y) { y = If(t) <
             then_branch = th () => (float[n,3] p) { p = Neg(x) }, else_branch = el () => (float[n,3] q) { q = Abs(x) } > }"""
    )
    body = gk.dims(model, {"n": "rows"}).proto.graph.node[0].attribute[0].g
    assert body.output[0].type.tensor_type.shape.dim[0].dim_param == "rows"


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (
            "t = Constant<value_ints=[1,192]>() y = Reshape(x, t)",
            r"Reshape 'y' has the fixed target \[1, 192\].*another size of x:2",
        ),
        ("t = Constant<value_ints=[2,3,8,8]>() y = Expand(x, t)", "Expand 'y' has the fixed target"),
        ("y = Add(x, fixed)", "Add 'y' joins"),
    ],
)
def test_constants_that_contradict_a_freed_dim_are_named(nodes, message):
    model = parse(f"g (float[1,3,8,8] x, float[1,3,8,8] fixed) => (float[a,b] y) {{ {nodes} }}")
    with pytest.warns(gk.GraphkitWarning, match=message):
        gk.dims(model, {"x:2": "h"})


def test_a_baked_flattening_can_be_repaired():
    model = parse(
        "g (float[1,3,8,8] x) => (float[1,3,64] y) { t = Constant<value_ints=[1,3,64]>() r = Reshape(x, t) y = Relu(r) }"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        free = gk.dims(model, {"x:2": "h", "x:3": "w"}, repair_shapes=True)
    x = np.arange(60, dtype=np.float32).reshape(1, 3, 4, 5)
    assert_same(run_ort(free, {"x": x}), {"y": x.reshape(1, 3, 20)})


def test_renaming_touches_nothing_but_names():
    model = parse(CONV)
    renamed = gk.dims(gk.dims(model, {"h": "height"}), {"height": "h"})
    assert renamed.proto == model


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"z:0": "n"}, gk.NameNotFoundError, "'z'"),
        ({"x:9": "n"}, gk.EditError, "has 4 axes"),
        ({"x:0": -1}, gk.EditError, "cannot be -1"),
        ({"x:0": "2n"}, gk.EditError, "cannot be '2n'"),
        ({"x:0": ""}, gk.EditError, "cannot be ''"),
        ({"x:0": 2, "bias:0": 3}, gk.EditError, "cannot be both 2 and 3"),
        ({"bacth": 2}, gk.NameNotFoundError, "did you mean 'batch'"),
    ],
)
def test_what_cannot_be_set_is_refused(values, error, message):
    with pytest.raises(error) as caught:
        gk.dims(parse(CONV), values)
    assert message in str(caught.value)


def test_an_input_without_a_shape_is_refused():
    model = parse(CONV)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(gk.EditError, match="shape of input 'x' is not declared"):
        gk.dims(model, {"x:0": "n"})


@pytest.mark.parametrize(
    ("symbol", "values", "expected"),
    [
        ("n", {"n": 3}, 3),
        ("2*h + 1", {"h": 4}, 9),
        ("h//2", {"h": 5}, 2),
        ("Max(h, w)", {"h": 5, "w": 7}, 7),
        ("h*w", {"h": 5}, None),
        ("h*w", {"h": "k"}, "k*w"),
        ("Max(h, Maximum)", {"h": "k"}, "Max(k, Maximum)"),
        ("h/2", {"h": 5}, None),
        ("h//0", {"h": 5}, None),
        ("no expression (", {"no": 5}, "no expression ("),
        ("s77", {"s7": 5}, "s77"),
    ],
)
def test_symbols_are_substituted(symbol, values, expected):
    assert substituted(symbol, values) == expected


def test_function_names_are_no_symbols():
    assert names_in("TruncToInt(2.5*ToFloat(d2))") == {"d2"}


def test_a_target_that_can_be_computed_is_told_with_the_option():
    text = """
    <ir_version: 8, opset_import: ["": 17]>
    net (float[1, 4, 2] x) => (float[1, 8] y) <int64[2] target = {1, -1}> { [view] y = Reshape(x, target) }
    """
    with pytest.warns(gk.GraphkitWarning, match=r"has the fixed target \[1, -1\]"):
        model = gk.dims(onnx.parser.parse_model(text), {"x:0": "n"})
    told = "with repair_shapes=True Reshape 'view' has the fixed target [1, -1] (constant 'target'); its axes 0 follow 'x' now"
    assert any(note.startswith(told) for note in model.history[-1].notes)
    repaired = gk.dims(onnx.parser.parse_model(text), {"x:0": "n"}, repair_shapes=True)
    x = np.arange(24, dtype=np.float32).reshape(3, 4, 2)
    assert_same(run_ort(repaired, {"x": x}), {"y": x.reshape(3, 8)})


RESIZES = """g (float[1,2,h,w] x) => (float[1,2,p,q] y) <float[4] s = {1, 1, 2, 2}> {
  [relu] r = Relu(x) [one] a = Resize<mode = "nearest">(r, , s) [neg] y = Neg(a) }"""


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("keep_default", [False, True])
def test_what_depends_on_dims_that_were_free_before_alone_is_left_as_it_is(keep_default, relative):
    model = gk.resize(parse(RESIZES), keep_default=keep_default, relative=relative)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        free = gk.dims(model, {"x:0": "n", "x:1": "c"}, repair_shapes=True)
    assert [n.SerializeToString() for n in free.proto.graph.node] == [
        n.SerializeToString() for n in model.proto.graph.node
    ]
    x = np.random.default_rng(0).random((3, 5, 4, 6), np.float32)
    for factor in (2.0, 3.0):
        y = run_ort(free, {"x": x, "factor": np.array([factor], np.float32)})["y"]
        assert y.shape == (3, 5, *(int(size * factor * (2 if relative else 1)) for size in (4, 6)))


def test_a_default_that_a_feed_may_replace_declares_no_shape():
    model = gk.dims(gk.resize(parse(RESIZES), keep_default=True), {"h": 8, "w": 6})
    assert [d.dim_value for d in model.proto.graph.output[0].type.tensor_type.shape.dim] == [1, 2, 0, 0]
    assert not any(d.dim_value for d in model.proto.graph.output[0].type.tensor_type.shape.dim[2:])


def test_inputs_that_do_not_fit_at_other_sizes_of_their_own_are_no_matter_of_another_axis():
    model = parse(
        "g (float[n,4] a, float[m,4] b, float[3,2] x) => (float[p,4] y, float[3,2] z) { y = Add(a, b) z = Neg(x) }"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gk.dims(model, {"x:0": "k"})


def test_an_output_whose_batch_inference_loses_is_named_all_the_same():
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[1,3,h,w] x) => (float[1,3,p,q] y) {
        s = Constant<value_floats = [1.0, 1.0, 2.0, 2.0]>()
        y = Resize(x, , s)
    }"""
    freed = gk.dims(onnx.parser.parse_model(text), {"x:0": "N"}, repair_shapes=True)
    assert gk.inspect(freed).outputs[0].type.startswith("float32[N,3,")
    sized = gk.dims(onnx.parser.parse_model(text), {"x:0": 4}, repair_shapes=True)
    assert "x_0" not in str(sized.proto.graph.output)


@pytest.mark.parametrize("repair", [False, True])
def test_an_input_that_is_an_output_too_is_declared_the_same_in_both_places(repair):
    """Found by a random model: the output kept the old size, and inference said nothing about the others."""
    model = parse("g (float[2, 3] x) => (float[2, 3] x, float[2, 3] y) { y = Neg(x) }")
    for value in ("n", 5):
        made = gk.dims(model, {"x:1": value}, repair_shapes=repair)
        shapes = [v.type.tensor_type.shape.dim[1] for v in (*made.inputs, *made.outputs)]
        assert [dim.dim_param or dim.dim_value for dim in shapes] == [value] * 3
