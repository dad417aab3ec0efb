"""resize: every spelling of a Resize gets its factor from an input, in bodies too, and what cannot be done is said."""

import itertools
import warnings

import numpy as np
import onnx
import onnx.parser
import pytest

import graphkit as gk
import onnx_text
from oracle import assert_same, run_ort

RNG = np.random.default_rng(0)
X = RNG.random((1, 2, 4, 6), dtype=np.float32)
HALF = 'mode="linear", coordinate_transformation_mode="half_pixel"'


def parse(text, opset=18, ir=8, functions=""):
    imports = '"my" : 1' if functions else ""
    return onnx_text.parse(text, opset, ir, imports, functions)


def baked(factors, mode=HALF, x=X, opset=18):
    """What a Resize with constant scales makes: the independent answer, for every spelling."""
    scales = "{" + ",".join(map(str, factors)) + "}"
    if opset < 11:
        op, inputs = ("Upsample" if opset < 10 else "Resize"), "x, s"
    else:
        op, inputs = "Resize", "x,, s"
    text = f"g (float{list(x.shape)} x) => (float[a,b,c,d] y) <float[{len(factors)}] s = {scales}> {{ y = {op}<{mode}>({inputs}) }}"
    model = parse(text, opset=opset)
    del model.graph.output[0].type.tensor_type.shape.dim[x.ndim :]
    return run_ort(model, {"x": x})["y"]


def given(*numbers):
    return np.array(numbers, np.float32)


def answers(model, factor, x=X):
    onnx.checker.check_model(model.proto, full_check=True)
    return run_ort(model, {"x": x, "factor": factor})["y"]


# The ways in which scales and sizes are written down.

SPELLINGS = {
    "Constant": ("", "s = Constant<value_floats=[1.0,1.0,2.0,2.0]>() y = Resize<{m}>(x,, s)", 18),
    "initializer": ("<float[4] s = {1,1,2,2}>", "y = Resize<{m}>(x,, s)", 13),
    "behind an Identity": ("<float[4] s = {1,1,2,2}>", "t = Identity(s) y = Resize<{m}>(x,, t)", 19),
    "roi is required": ("<float[4] s = {1,1,2,2}, float[0] r = {}>", "y = Resize<{m}>(x, r, s)", 11),
    "sizes": ("<int64[4] s = {1,2,8,12}>", "y = Resize<{m}>(x,,, s)", 18),
    "sizes in opset 11": ("<int64[4] s = {1,2,8,12}, float[0] e = {}>", "y = Resize<{m}>(x, e, e, s)", 11),
    "sizes, batch and channels from Shape": (
        "<int64[2] hw = {8,12}, int64[1] z = {0}, int64[1] t = {2}>",
        "d = Shape(x) nc = Slice(d, z, t) s = Concat<axis=0>(nc, hw) y = Resize<{m}>(x,,, s)",
        18,
    ),
    "a multiple of the own size": (
        "<int64[4] k = {1,1,2,2}>",
        "d = Shape(x) s = Mul(d, k) y = Resize<{m}>(x,,, s)",
        18,
    ),
    "floor of a product": (
        "<float[4] k = {1,1,2,2}>",
        "d = Shape(x) f = Cast<to=1>(d) p = Mul(f, k) w = Floor(p) s = Cast<to=7>(w) y = Resize<{m}>(x,,, s)",
        18,
    ),
    "axes": ("<float[2] s = {2,2}>", "y = Resize<{m}, axes=[2,3]>(x,, s)", 18),
    "axes from behind": ("<float[2] s = {2,2}>", "y = Resize<{m}, axes=[-2,-1]>(x,, s)", 18),
    "axes in another order": ("<float[4] s = {2,1,2,1}>", "y = Resize<{m}, axes=[2,0,3,1]>(x,, s)", 18),
    "sizes with axes": ("<int64[2] s = {8,12}>", "y = Resize<{m}, axes=[2,3]>(x,,, s)", 18),
    "keep_aspect_ratio_policy": (
        "<int64[2] s = {8,12}>",
        'y = Resize<{m}, axes=[2,3], keep_aspect_ratio_policy="not_larger">(x,,, s)',
        18,
    ),
}


@pytest.mark.parametrize("form", ["factor", "scales", "sizes"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_takes_every_form(spelling, form):
    constants, nodes, opset = SPELLINGS[spelling]
    text = f"g (float[1,2,4,6] x) => (float[a,b,c,d] y) {constants} {{ {nodes.replace('{m}', HALF)} }}"
    resized = gk.resize(parse(text, opset=opset), form=form)
    order = {"axes in another order": [2, 0, 3, 1]}.get(spelling, [0, 1, 2, 3])
    short = ("axes" in spelling and spelling != "axes in another order") or spelling == "keep_aspect_ratio_policy"
    for height, width in ((2, 2), (3, 1), (1.5, 2.5)):
        if spelling == "keep_aspect_ratio_policy" and form != "scales" and height != width:
            continue  # the policy makes other sizes of these, as it is meant to
        scales = np.array([1, 1, height, width], np.float32)[order]
        feed = {
            "factor": given(height, width),
            "scales": given(height, width) if short else scales,
            "sizes": np.array([4 * height, 6 * width], np.int64),
        }[form]
        assert_same(answers(resized, feed), baked((1, 1, height, width)), where=f"{height} x {width}: ")
    if form == "factor":
        assert_same(answers(resized, given(3)), baked((1, 1, 3, 3)))


@pytest.mark.parametrize("opset", [7, 8])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_upsample_with_its_scales_in_an_attribute(opset, mode):
    model = parse(
        f'g (float[1,2,4,6] x) => (float[1,2,8,12] y) {{ y = Upsample<mode="{mode}", scales=[1.0,1.0,2.0,2.0]>(x) }}',
        opset=opset,
        ir=3,
    )
    resized = gk.resize(model)
    assert resized.proto.opset_import[0].version == 9
    for factors in ((2, 2), (3, 1), (1.5, 2)):
        assert_same(answers(resized, given(*factors)), baked((1, 1, *factors), f'mode="{mode}"', opset=9))


@pytest.mark.parametrize(("op", "opset"), [("Upsample", 9), ("Resize", 10)])
@pytest.mark.parametrize("form", ["factor", "scales", "sizes"])
def test_scales_as_the_second_input(op, opset, form):
    model = parse(
        f'g (float[1,2,4,6] x) => (float[1,2,8,12] y) <float[4] s = {{1,1,2,2}}> {{ y = {op}<mode="nearest">(x, s) }}',
        opset=opset,
        ir=4,
    )
    resized = gk.resize(model, form=form)
    for height, width in itertools.product((1, 2, 3), repeat=2):
        feed = {
            "factor": given(height, width),
            "scales": given(1, 1, height, width),
            "sizes": np.array([4 * height, 6 * width]),
        }[form]
        assert_same(answers(resized, feed), baked((1, 1, height, width), 'mode="nearest"', opset=opset))


def test_a_shared_initializer_is_not_edited_in_place():
    model = parse(
        f"g (float[1,2,4,6] x) => (float[a,b,c,d] y, float[e,f,h,i] z) <float[4] s = {{1,1,2,2}}> "
        f"{{ [up] y = Resize<{HALF}>(x,, s) [other] z = Resize<{HALF}>(x,, s) }}"
    )
    resized = gk.resize(model, nodes=["up"])
    found = run_ort(resized, {"x": X, "factor": given(3)})
    assert_same(found, {"y": baked((1, 1, 3, 3)), "z": baked((1, 1, 2, 2))})


def test_scales_that_are_an_input_already_are_replaced():
    model = parse(f"g (float[1,2,4,6] x, float[4] factor) => (float[a,b,c,d] y) {{ y = Resize<{HALF}>(x,, factor) }}")
    resized = gk.resize(model)
    assert [v.name for v in resized.proto.graph.input] == ["x", "factor"]
    assert_same(answers(resized, given(3, 2)), baked((1, 1, 3, 2)))
    assert "is gone" in " ".join(resized.history[-1].notes)


def test_scales_computed_from_a_scalar_input_are_replaced():
    """As torch.jit.script exports a float argument."""
    model = parse(
        f"g (float[1,2,4,6] x, double k) => (float[a,b,c,d] y) <float[2] o = {{1,1}}, int64[1] z = {{0}}> "
        f"{{ u = Unsqueeze(k, z) c = Cast<to=1>(u) s = Concat<axis=0>(o, c, c) y = Resize<{HALF}>(x,, s) }}"
    )
    resized = gk.resize(model)
    assert [v.name for v in resized.proto.graph.input] == ["x", "factor"]
    assert_same(answers(resized, given(2.5)), baked((1, 1, 2.5, 2.5)))


def test_resizing_twice_gives_the_same_as_once():
    model = parse(
        f"g (float[1,2,4,6] x) => (float[a,b,c,d] y) <float[4] s = {{1,1,2,2}}> {{ y = Resize<{HALF}>(x,, s) }}"
    )
    once = gk.resize(model)
    assert gk.resize(once).proto == once.proto


def test_a_region_of_interest_stays():
    mode = 'mode="linear", coordinate_transformation_mode="tf_crop_and_resize"'
    roi = "{0,0,0.25,0.0,1,1,0.75,1}"
    text = "g (float[1,2,4,6] x) => (float[a,b,c,d] y) <float[4] s = {1,1,%d,2}, float[8] r = %s> { y = Resize<%s>(x, r, s) }"
    resized = gk.resize(parse(text % (2, roi, mode)))
    assert_same(answers(resized, given(4, 2)), run_ort(parse(text % (4, roi, mode)), {"x": X})["y"])


@pytest.mark.parametrize(
    ("shape", "scales", "factors", "want"),
    [
        ((1, 4, 6, 2), "{1,2,2,1}", (3, 2), (1, 3, 2, 1)),
        ((4, 6), "{2,2}", (3, 2), (3, 2)),
        ((2, 3, 5), "{1,1,2}", (3,), (1, 1, 3)),
        ((1, 2, 2, 3, 4), "{1,1,2,2,2}", (2, 3, 1), (1, 1, 2, 3, 1)),
    ],
    ids=["channels last", "matrix", "one axis", "three axes"],
)
def test_the_factor_goes_to_the_axes_that_are_resized(shape, scales, factors, want):
    x = RNG.random(shape, dtype=np.float32)
    dims = ",".join("abcde"[: len(shape)])
    text = f'g (float{list(shape)} x) => (float[{dims}] y) <float[{len(shape)}] s = {scales}> {{ y = Resize<mode="nearest">(x,, s) }}'
    resized = gk.resize(parse(text))
    expected = x
    for axis, times in enumerate(want):
        expected = np.repeat(expected, times, axis=axis)
    nearest = baked(want, 'mode="nearest"', x)
    assert_same(answers(resized, given(*factors), x), nearest)
    assert nearest.shape == expected.shape


def test_half_precision_keeps_float32_scales():
    text = f"g (float16[1,2,4,6] x) => (float16[a,b,c,d] y) <float[4] s = {{1,1,2,2}}> {{ y = Resize<{HALF}>(x,, s) }}"
    resized = gk.resize(parse(text))
    assert resized.proto.graph.input[1].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert_same(answers(resized, given(2), X.astype(np.float16)), baked((1, 1, 2, 2)).astype(np.float16), atol=1e-3)


# Several nodes.

PYRAMID = f"""g (float[1,2,4,6] x) => (float[a,b,c,d] y, float[e,f,h,i] z)
  <float[4] two = {{1,1,2,2}}, float[4] four = {{1,1,4,4}}> {{
  [small] y = Resize<{HALF}>(x,, two) [large] z = Resize<{HALF}>(x,, four) }}"""


def test_one_input_drives_all_and_says_that_they_differed():
    resized = gk.resize(parse(PYRAMID))
    assert_same(run_ort(resized, {"x": X, "factor": given(3)}), {"y": baked((1, 1, 3, 3)), "z": baked((1, 1, 3, 3))})
    assert any("had different factors (2 x 2, 4 x 4)" in note for note in resized.history[-1].notes)


def test_separate_inputs():
    resized = gk.resize(parse(PYRAMID), separate=True)
    assert [v.name for v in resized.proto.graph.input] == ["x", "factor_1", "factor_2"]
    found = run_ort(resized, {"x": X, "factor_1": given(3), "factor_2": given(1, 2)})
    assert_same(found, {"y": baked((1, 1, 3, 3)), "z": baked((1, 1, 1, 2))})


@pytest.mark.parametrize("form", ["factor", "scales"])
def test_relative_keeps_the_proportions(form):
    resized = gk.resize(parse(PYRAMID), relative=True, form=form)
    for factor in (1, 1.5, 2):
        feed = given(factor) if form == "factor" else given(1, 1, factor, factor)
        found = run_ort(resized, {"x": X, "factor": feed})
        assert_same(found["y"], baked((1, 1, 2 * factor, 2 * factor)))
        assert_same(found["z"], baked((1, 1, 4 * factor, 4 * factor)))


@pytest.mark.parametrize("opset", [9, 11, 18])
def test_relative_to_sizes(opset):
    if opset == 9:
        text = 's = Constant<value=float[4] {1,1,2,2}>() y = Upsample<mode="nearest">(x, s)'
    else:
        roi = "e, e" if opset == 11 else ","
        text = f's = Constant<value=int64[4] {{1,2,8,12}}>() y = Resize<mode="nearest">(x, {roi}, s)'
    constants = "<float[0] e = {}>" if opset == 11 else ""
    model = parse(f"g (float[1,2,4,6] x) => (float[a,b,c,d] y) {constants} {{ {text} }}", opset=opset)
    resized = gk.resize(model, relative=True)
    assert_same(answers(resized, given(1)), baked((1, 1, 2, 2), 'mode="nearest"'))
    assert_same(answers(resized, given(2, 1.5)), baked((1, 1, 4, 3), 'mode="nearest"'))
    as_scales = gk.resize(model, relative=True, semantics="scales")
    assert_same(answers(as_scales, given(2, 1.5)), baked((1, 1, 4, 3), 'mode="nearest"'))


def test_a_node_that_follows_another_size_is_left_alone_while_there_are_others():
    text = f"""g (float[1,2,4,6] x, float[1,2,h,w] skip) => (float[a,b,c,d] y) <float[4] s = {{1,1,2,2}}> {{
      u = Resize<{HALF}>(x,, s) d = Shape(skip) [follow] y = Resize<{HALF}>(u,,, d) }}"""
    resized = gk.resize(parse(text))
    assert any("'follow' follows the size of 'skip'" in note for note in resized.history[-1].notes)
    skip = np.zeros((1, 2, 5, 7), np.float32)
    assert run_ort(resized, {"x": X, "skip": skip, "factor": given(3)})["y"].shape == skip.shape
    alone = gk.resize(parse(text), nodes=["follow"])
    assert run_ort(alone, {"x": X, "factor": given(3)})["y"].shape == (1, 2, 24, 36)


@pytest.mark.parametrize("form", ["factor", "scales", "sizes"])
def test_a_kept_default_is_the_baked_value(form):
    text = f"g (float[1,2,4,6] x) => (float[a,b,c,d] y) <float[4] s = {{1,1,2,3}}> {{ y = Resize<{HALF}>(x,, s) }}"
    resized = gk.resize(parse(text), form=form, keep_default=True)
    assert_same(run_ort(resized, {"x": X})["y"], baked((1, 1, 2, 3)))
    feed = {"factor": given(3), "scales": given(1, 1, 3, 3), "sizes": np.array([12, 18])}[form]
    assert_same(run_ort(resized, {"x": X, "factor": feed})["y"], baked((1, 1, 3, 3)))
    assert all(not d.HasField("dim_value") for d in resized.proto.graph.output[0].type.tensor_type.shape.dim[2:])


def test_a_default_that_would_change_something_is_refused():
    with pytest.raises(gk.EditError, match="different factor"):
        gk.resize(parse(PYRAMID), keep_default=True)
    assert_same(
        run_ort(gk.resize(parse(PYRAMID), keep_default=True, relative=True), {"x": X})["z"], baked((1, 1, 4, 4))
    )


# Bodies.


def test_a_resize_in_a_loop_reads_the_factor_from_outside():
    text = f"""g (float[1,2,4,6] x, int64 n) => (float[1,2,c,d] y) <float[4] s = {{1,1,2,2}}, bool t = {{1}}> {{
      [loop] y = Loop(n, t, x) <body = b (int64 i, bool c0, float[1,2,4,6] v) => (bool c1, float[1,2,8,12] o)
        {{ c1 = Identity(c0) [inner] u = Resize<{HALF}>(v,, s) o = Relu(u) }}> }}"""
    for options in ({}, {"semantics": "sizes"}):
        resized = gk.resize(parse(text), **options)
        onnx.checker.check_model(resized.proto)
        expected = X
        for _ in range(2):
            expected = baked((1, 1, 1.5, 2), x=expected)
        assert_same(run_ort(resized, {"x": X, "n": np.array(2), "factor": given(1.5, 2)})["y"], expected)
        body = resized.proto.graph.node[-1].attribute[0].g
        for info in (body.input[2], body.output[1]):
            assert [d.HasField("dim_value") for d in info.type.tensor_type.shape.dim][2:] == [False, False]


def test_resizes_in_sibling_bodies_may_have_values_of_the_same_name():
    branch = f"s = Constant<value_floats=[1.0,1.0,%s,%s]>() r = Resize<{HALF}>(x,, s)"
    text = f"""g (float[1,2,4,6] x, bool t) => (float[a,b,c,d] y) {{ y = If(t) <
      then_branch = th () => (float[a,b,c,d] r) {{ {branch % ("2.0", "2.0")} }},
      else_branch = el () => (float[a,b,c,d] r) {{ {branch % ("3.0", "3.0")} }}> }}"""
    resized = gk.resize(parse(text), relative=True)
    assert_same(run_ort(resized, {"x": X, "t": np.array(True), "factor": given(2)})["y"], baked((1, 1, 4, 4)))
    assert_same(run_ort(resized, {"x": X, "t": np.array(False), "factor": given(2)})["y"], baked((1, 1, 6, 6)))
    absolute = gk.resize(parse(text))
    assert_same(run_ort(absolute, {"x": X, "t": np.array(False), "factor": given(2)})["y"], baked((1, 1, 2, 2)))


# What is mended on the way.


@pytest.mark.parametrize(
    ("producer", "version", "mended"), [("pytorch", "2.13.0", True), ("pytorch", "1.13.1", False), ("x", "2.0", False)]
)
def test_pytorch_half_pixel_becomes_half_pixel_for_models_of_torch_2(producer, version, mended):
    text = "g (float[1,2,4,6] x) => (float[a,b,c,d] y) <float[4] s = {1,1,2,2}> { y = Resize<%s>(x,, s) }"
    model = parse(text % HALF.replace("half", "pytorch_half"))
    model.producer_name, model.producer_version = producer, version
    resized = gk.resize(model)
    assert any("pytorch_half_pixel" in note for note in resized.history[-1].notes) is mended
    tiny = answers(resized, given(0.3))
    assert np.allclose(tiny, baked((1, 1, 0.3, 0.3))) is mended


def test_antialias_goes_on_with_scales():
    """torch's dynamo exporter writes the size and loses the scale; 7 * 0.6 = 4.2 is where they differ."""
    torch = pytest.importorskip("torch")
    x = RNG.random((1, 2, 7, 9), dtype=np.float32)
    mode = HALF + ", antialias=1, exclude_outside=1"
    text = f"g (float[1,2,7,9] x) => (float[a,b,c,d] y) <int64[4] s = {{1,2,4,5}}> {{ y = Resize<{mode}>(x,,, s) }}"
    want = torch.nn.functional.interpolate(
        torch.from_numpy(x), scale_factor=0.6, mode="bilinear", antialias=True
    ).numpy()
    assert_same(answers(gk.resize(parse(text)), given(0.6), x), want)
    kept = answers(gk.resize(parse(text), semantics="sizes"), given(0.6), x)
    assert not np.allclose(kept, want, atol=0.01)


def test_a_policy_on_sizes_goes_with_the_sizes():
    text = 'g (float[1,2,4,6] x) => (float[a,b,c,d] y) <int64[2] s = {8,12}> { y = Resize<mode="nearest", axes=[2,3], keep_aspect_ratio_policy="not_larger">(x,,, s) }'
    kept = gk.resize(parse(text), form="sizes")
    assert answers(kept, np.array([8, 6])).shape == (1, 2, 4, 6)
    assert any("still changes the size" in note for note in kept.history[-1].notes)
    dropped = gk.resize(parse(text), form="scales")
    assert answers(dropped, given(2, 1)).shape == (1, 2, 8, 6)
    assert any("is dropped" in note for note in dropped.history[-1].notes)


# Shapes.

CHAIN = f"""g (float[1,2,4,6] x) => (float[1,2,8,12] y, float[1,2] z) <float[4] s = {{1,1,2,2}}, float[2,2,1,1] w = {{1,0,0,1}}> {{
  u = Resize<{HALF}>(x,, s) v = Conv(u, w) y = Relu(v) p = GlobalAveragePool(v) z = Flatten(p) }}"""


def test_no_stale_static_dim_survives():
    model = onnx.shape_inference.infer_shapes(parse(CHAIN))
    assert len(model.graph.value_info) == 3
    resized = gk.resize(model).proto.graph
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*resized.value_info, *resized.output)
    }
    assert shapes == {"u": [1, 2, 0, 0], "v": [1, 2, 0, 0], "y": [1, 2, 0, 0], "p": [1, 2, 1, 1], "z": [1, 2]}


def test_every_declared_shape_is_true_at_every_factor():
    resized = gk.resize(onnx.shape_inference.infer_shapes(parse(CHAIN)))
    declared = {v.name: v for v in (*resized.proto.graph.value_info, *resized.proto.graph.output)}
    tapped = gk.tap(resized, list(declared))
    for factor in (1, 2, 2.5, 3):
        found = run_ort(tapped, {"x": X, "factor": given(factor)})
        for name, info in declared.items():
            dims = [d.dim_value for d in info.type.tensor_type.shape.dim]
            assert len(dims) == found[name].ndim
            assert all(a in (0, b) for a, b in zip(dims, found[name].shape, strict=True)), name


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ("t = Constant<value_ints=[1,192]>() y = Reshape(u, t)", r"Reshape 'y' has the fixed target \[1, 192\]"),
        ("t = Constant<value_ints=[-1,2,8,6,2]>() y = Reshape(u, t)", r"Reshape 'y' has the fixed target"),
        ("t = Constant<value_ints=[3,2,8,12]>() y = Expand(u, t)", r"Expand 'y' has the fixed target"),
        ("y = Add(u, skip)", "Add 'y' joins values whose sizes match now only"),
        ("y = Concat<axis=1>(u, skip)", "Concat 'y' joins values whose sizes match now only"),
        ("f = Flatten(u) y = Gemm(f, big)", "Gemm 'y' multiplies by 'big'"),
    ],
)
def test_what_breaks_at_another_factor_is_named(nodes, message):
    text = f"""g (float[1,2,4,6] x, float[1,2,8,12] skip, float[192,3] big) => (float[a,b] y) <float[4] s = {{1,1,2,2}}> {{
      u = Resize<{HALF}>(x,, s) {nodes} }}"""
    with pytest.warns(gk.GraphkitWarning, match=message):
        gk.resize(parse(text))


@pytest.mark.parametrize(
    "nodes",
    [
        "t = Constant<value_ints=[1,-1]>() y = Reshape(u, t)",
        "t = Constant<value_ints=[0,0,-1]>() y = Reshape(u, t)",
        "t = Constant<value_ints=[1,2,1,1]>() y = Expand(u, t)",
        "y = Add(u, bias)",
        "p = GlobalAveragePool(u) t = Constant<value_ints=[1,2]>() y = Reshape(p, t)",
    ],
)
def test_what_goes_along_is_not_named(nodes):
    text = f"""g (float[1,2,4,6] x, float[1,2,1,1] bias) => (float[a,b] y) <float[4] s = {{1,1,2,2}}> {{
      u = Resize<{HALF}>(x,, s) {nodes} }}"""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gk.resize(parse(text))


# Refusals.

PLAIN = "g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }"
ONE = f"g (float[1,2,4,6] x) => (float[a,b,c,d] y) <float[4] s = {{1,1,2,2}}> {{ [up] y = Resize<{HALF}>(x,, s) }}"


def test_a_model_without_a_resize_is_refused():
    with pytest.raises(gk.NoResizeError, match="no Resize and no Upsample"):
        gk.resize(parse(PLAIN))


def test_a_resize_inside_of_a_function_is_refused_with_the_way_out():
    model = parse(
        "g (float[1,2,4,6] x) => (float[a,b,c,d] y) { y = my.up(x) }",
        functions='<domain: "my", opset_import: ["" : 18]> up (v) => (r) { s = Constant<value_floats=[1.0,1.0,2.0,2.0]>() r = Resize(v,, s) }',
    )
    with pytest.raises(gk.NoResizeError, match=r"inside of a function \('up'\).*inline"):
        gk.resize(model)


def test_an_interpolation_without_a_resize_is_recognised():
    model = parse("g (float[2,3] x, int64[1,2] i) => (float[1] y) { [pick] y = GatherND(x, i) }", ir=10)
    model.graph.node[0].metadata_props.add(
        key="pkg.torch.onnx.fx_node", value="target=torch.ops.aten._unsafe_index.Tensor"
    )
    with pytest.raises(gk.NoResizeError, match=r"nearest-exact, area and 1-D linear.*'pick'"):
        gk.resize(model)


def test_names_are_checked():
    with pytest.raises(gk.NameNotFoundError, match="did you mean 'up'"):
        gk.resize(parse(ONE), nodes=["upp"])
    with pytest.raises(gk.NameTakenError, match="'y'"):
        gk.resize(parse(ONE), input_name="y")


def test_one_input_cannot_serve_nodes_that_want_different_numbers():
    text = PYRAMID.replace("[large] z = Resize<", "[large] z = Resize<axes=[2,3], ").replace(
        "four = {1,1,4,4}", "four_ = {1,1,4,4}, float[2] four = {4,4}"
    )
    with pytest.raises(gk.EditError, match="different numbers of scales"):
        gk.resize(parse(text), form="scales")
    assert_same(run_ort(gk.resize(parse(text)), {"x": X, "factor": given(3)})["z"], baked((1, 1, 3, 3)))


def test_options_that_exclude_each_other():
    for options in ({"relative": True}, {"semantics": "scales"}):
        with pytest.raises(ValueError, match="sizes"):
            gk.resize(parse(ONE), form="sizes", **options)


def test_an_unknown_rank_is_refused():
    model = parse(
        "g (float[1,2,4,6] x, float[k] s) => (float[a,b,c,d] y) { h = my.op(x) y = Resize(h,, s) }", functions=" "
    )
    model.opset_import.add(domain="my", version=1)
    with pytest.raises(gk.EditError, match="how many axes 'h' has"):
        gk.resize(model)


def test_the_model_that_was_given_stays_as_it_was():
    model = parse(ONE)
    before = model.SerializeToString(deterministic=True)
    gk.resize(model, keep_default=True)
    assert model.SerializeToString(deterministic=True) == before


def test_a_resize_in_a_function_beside_others_is_reported():
    model = parse(
        f"g (float[1,2,4,6] x) => (float[a,b,c,d] y) <float[4] s = {{1,1,2,2}}> {{ u = Resize<{HALF}>(x,, s) y = my.up(u) }}",
        functions='<domain: "my", opset_import: ["" : 18]> up (v) => (r) { s = Constant<value_floats=[1.0,1.0,2.0,2.0]>() r = Resize(v,, s) }',
    )
    resized = gk.resize(model)
    assert any("inside of the function 'up' and is left as it is" in note for note in resized.history[-1].notes)
    assert run_ort(resized, {"x": X, "factor": given(3)})["y"].shape == (1, 2, 24, 36)


@pytest.mark.parametrize("operation", ["resize", "promote", "freeze", "dims"])
def test_weights_are_neither_read_nor_changed(operation, tmp_path, monkeypatch):
    text = f"""g (float[1,64,4,6] x, float k) => (float[1,64,8,12] y) <float[4] s = {{1,1,2,2}}> {{
      u = Resize<{HALF}>(x,, s) c = Conv<pads=[1,1,1,1]>(u, w) y = Mul(c, k) }}"""
    model = parse(text)
    weights = RNG.random((64, 64, 3, 3), dtype=np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=operation in ("promote", "dims"), location="m.data")

    def no_reading(*_):
        raise AssertionError("weights were read")

    loaded = gk.load(tmp_path / "m.onnx")
    with monkeypatch.context() as patch:
        patch.setattr(gk.Model, "payload", no_reading)
        edited = {
            "resize": lambda: gk.resize(loaded),
            "promote": lambda: gk.promote(loaded, ["s", "w"], keep_default=True),
            "freeze": lambda: gk.freeze(loaded, {"k": 2}, fold=True),
            "dims": lambda: gk.dims(loaded, {"x:0": "n"}),
        }[operation]()
    gk.save(edited, tmp_path / "out.onnx")
    [kept] = [t for t in onnx.load(tmp_path / "out.onnx").graph.initializer if t.name == "w"]
    assert onnx.numpy_helper.to_array(kept).tobytes() == weights.tobytes()


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
@pytest.mark.parametrize("relative", [False, True])
def test_the_default_of_a_node_with_a_policy_is_the_scale_that_the_policy_chose(policy, relative):
    text = f'g (float[1,2,4,6] x) => (float[a,b,c,d] y) <int64[2] s = {{8,18}}> {{ y = Resize<mode="linear", axes=[2,3], keep_aspect_ratio_policy="{policy}">(x,,, s) }}'
    want = run_ort(parse(text), {"x": X})["y"]
    for options in ({}, {"form": "scales"}, {"semantics": "scales"}):
        resized = gk.resize(parse(text), keep_default=True, relative=relative, **options)
        assert_same(run_ort(resized, {"x": X})["y"], want)


def test_the_input_needs_a_name():
    with pytest.raises(gk.EditError, match="must have a name"):
        gk.resize(parse(ONE), input_name="")


def test_a_target_computed_from_the_size_of_the_input_alone_is_named():
    text = f"""g (float[1,2,h,w] x) => (float[a,b,c,d] y) <float[4] s = {{1,1,2,2}}, int64 two = {{2}}, int64[1] all = {{-1}}, int64[2] n = {{1,2}}> {{
      u = Resize<{HALF}>(x,, s) f = Flatten<axis=2>(u)
      p = Shape<start=2, end=3>(x) q = Shape<start=3>(x) p0 = Squeeze(p) q0 = Squeeze(q) pp = Mul(p0, two) qq = Mul(q0, two)
      p1 = Reshape(pp, all) q1 = Reshape(qq, all) t = Concat<axis=0>(n, p1, q1) y = Reshape(f, t) }}"""
    assert run_ort(parse(text), {"x": X})["y"].shape == (1, 2, 8, 12)
    with pytest.warns(gk.GraphkitWarning, match="Reshape 'y' computes its target from the size of 'x' alone"):
        gk.resize(parse(text))


def test_equal_factors_of_nodes_of_different_rank_are_not_called_different():
    text = f"""g (float[1,2,4] x, float[1,2,4,6] z) => (float[a,b,c] y, float[d,e,f,g] w) <float[3] s = {{1,1,2}}, float[4] t = {{1,1,2,2}}> {{
      y = Resize<{HALF}>(x,, s) w = Resize<{HALF}>(z,, t) }}"""
    assert not any("different" in note for note in gk.resize(parse(text)).history[-1].notes)


def test_what_comes_behind_a_repaired_reshape_is_named_too():
    text = f"""g (float[1,2,4,6] x) => (float[1,2,8,12] y) <float[4] s = {{1,1,2,2}}, int64[3] f = {{1,2,96}}, int64[4] t = {{1,2,8,12}}> {{
      u = Resize<{HALF}>(x,, s) v = Reshape(u, f) w = Transpose<perm=[0,2,1]>(v) z = Transpose<perm=[0,2,1]>(w) y = Reshape(z, t) }}"""
    with pytest.warns(gk.GraphkitWarning, match="Reshape 'y' has the fixed target"):
        repaired = gk.resize(parse(text), repair_shapes=True)
    assert any("Reshape 'v' is computed now" in note for note in repaired.history[-1].notes)


def test_fixed_targets_in_bodies_are_named():
    text = f"""g (float[1,2,4,6] x, bool c) => (float[a] y) <float[4] s = {{1,1,2,2}}> {{ y = If(c)<
      then_branch = a () => (float[192] p) {{ u = Resize<{HALF}>(x,, s) t = Constant<value_ints=[192]>() [flat] p = Reshape(u, t) }},
      else_branch = b () => (float[k] q) {{ e = Constant<value_ints=[-1]>() q = Reshape(x, e) }}> }}"""
    with pytest.warns(gk.GraphkitWarning, match=r"Reshape 'flat' in a body of 'y' has the fixed target \[192\]"):
        gk.resize(parse(text))


@pytest.mark.parametrize(("op", "opset", "said"), [("Upsample", 9, True), ("Resize", 10, False)])
def test_an_upsample_only_enlarges_and_says_so(op, opset, said):
    text = f'g (float[1,2,4,6] x) => (float[a,b,c,d] y) <float[4] s = {{1,1,2,2}}> {{ y = {op}<mode="nearest">(x, s) }}'
    notes = gk.resize(parse(text, opset)).history[-1].notes
    assert any("only enlarges" in note for note in notes) == said


UP = "g (float[1,2,4,6] x) => (float[a,b,c,d] y)"


def test_scales_may_have_any_shape():
    """ONNX Runtime looks at how many there are."""
    scales = f"{UP} <float[2,2] s = {{1,1,2,2}}> {{ y = Resize<{HALF}>(x,, s) }}"
    sizes = f"{UP} <int64[4,1] s = {{1,2,8,12}}> {{ y = Resize<{HALF}>(x,,, s) }}"
    for text in (scales, sizes):
        expected = run_ort(parse(text), {"x": X})["y"]
        assert_same(answers(gk.resize(parse(text)), given(2)), expected)
        for semantics in ("scales", "sizes"):
            relative = gk.resize(parse(text), relative=True, semantics=semantics)
            assert_same(answers(relative, given(1)), expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{UP} <float[3] s = {{1,2,2}}> {{ [up] y = Resize(x,, s) }}", "'up' has 3 scales or sizes for 4 axes"),
        (f"{UP} <float[1] s = {{2}}> {{ y = Resize<axes=[2,3]>(x,, s) }}", "'y' has 1 scales or sizes for 2 axes"),
        (
            f"{UP} <float[2] s = {{2,2}}> {{ y = Resize<axes=[2,9]>(x,, s) }}",
            r"the axes \[2, 9\] of a tensor that has 4",
        ),
        (f"{UP} {{ y = Resize(x) }}", "'y' is given neither scales nor sizes"),
        (f"{UP} <bool[4] s = {{1,1,1,1}}> {{ y = Resize(x,, s) }}", "are no numbers"),
    ],
)
def test_a_resize_that_contradicts_itself_is_refused(text, message):
    with pytest.raises(gk.InvalidGraphError, match=message):
        gk.resize(parse(text))
