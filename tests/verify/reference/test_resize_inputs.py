"""validate: an input that resize made is mapped to the scales or sizes that the original held."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.verify.bisect.bisect import bisect
from graphkit.verify.validate import validate

HEAD = '<ir_version: 8, opset_import: ["" : 18]>'
RESIZE = 'y = Resize<mode="linear", coordinate_transformation_mode="half_pixel"{}>(h, , {})'


def model(body, dims="1,3,10,14", out="a,b,c,d", **weights):
    proto = onnx.parser.parse_model(f"{HEAD} g (float[{dims}] x) => (float[{out}] y) {{ h = Relu(x)\n {body} }}")
    proto.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()
    )
    onnx.checker.check_model(proto)
    return proto


def scales(*numbers, **options):
    return model(RESIZE.format("", "s"), s=np.array(numbers, np.float32), **options)


def sizes(*numbers, **options):
    return model(RESIZE.format("", ", s"), s=np.array(numbers, np.int64), **options)


COMPUTED = """d = Shape<start=0, end=2>(x)
    s = Concat<axis=0>(d, t)
    """ + RESIZE.format("", ", s")

ORIGINALS = {
    "one scale": scales(1, 1, 2.5, 2.5),
    "two scales": scales(1, 1, 2, 1.5),
    "scales, free dims": scales(1, 1, 3, 3, dims="n,3,h,w"),
    "scales that cut down": scales(1, 1, 1.7, 1.7, dims="n,3,h,w"),
    "scales of some axes": model(RESIZE.format(", axes=[3, 2]", "s"), s=np.array([1.5, 2], np.float32)),
    "scales as a node": model("s = Constant<value_floats=[1.0, 1.0, 2.0, 2.0]>()\n " + RESIZE.format("", "s")),
    "sizes": sizes(1, 3, 25, 49),
    "sizes, free dims": sizes(1, 3, 25, 49, dims="1,3,h,w"),
    "sizes, computed": model(COMPUTED, dims="n,c,h,w", t=np.array([25, 49])),
    "channels last": scales(1, 2, 3, 1),
}
FORMS = ["factor", "scales", "sizes"]


def fed(report, name="factor"):
    return report.samples[0].feeds[name]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ORIGINALS)
def test_every_form_is_fed_what_the_original_means(name, form):
    original = ORIGINALS[name]
    candidate = gk.resize(original, form=form)
    options = {"against": original, "map": {"factor": "s"}, "device": "cpu", "bind": {"h": [9, 20], "w": 11, "n": 2}}
    known = [dim.dim_param for dim in original.graph.input[0].type.tensor_type.shape.dim]
    options["bind"] = {dim: sizes for dim, sizes in options["bind"].items() if dim in known}
    report = validate(candidate, **options)
    if (name, form) == ("scales that cut down", "sizes"):  # the same sizes, sampled size / in apart and not 1 / scale
        assert not report.match
        assert all(0 < metrics.max_abs < 1 for metrics in report.outputs.values())
        return
    assert report.match, (fed(report), report.outputs)
    assert report.bindings["factor"] == "s"
    wrong = gk.resize(original, form=form, semantics="sizes" if form == "factor" else "keep").materialize()
    resize = next(node for node in wrong.graph.node if node.op_type == "Resize")
    next(a for a in resize.attribute if a.name == "coordinate_transformation_mode").s = b"asymmetric"
    assert not validate(wrong, **options).match


def test_what_is_fed():
    original, both = ORIGINALS["one scale"], {"map": {"factor": "s"}, "device": "cpu"}
    assert "2.5, 2.5]" in fed(validate(gk.resize(original), against=original, **both))
    assert "[1.0, 1.0, 2.5, 2.5]" in fed(validate(gk.resize(original, form="scales"), against=original, **both))
    assert "[25, 35]" in fed(validate(gk.resize(original, form="sizes"), against=original, **both))
    relative = gk.resize(original, relative=True)
    assert fed(validate(relative, against=original, **both)).endswith("[1.0]")
    assert validate(relative, against=original, **both).match
    last = ORIGINALS["channels last"]
    assert "[2.0, 3.0]" in fed(validate(gk.resize(last), against=last, **both))


@pytest.mark.parametrize("size", [7, 13, 25, 33, 49, 61, 99, 199, 301, 1001])
@pytest.mark.parametrize("semantics", ["keep", "scales"])
def test_a_factor_made_of_sizes_gives_these_sizes(size, semantics):
    """in * (size / in) is often cut down to one less in float32."""
    for before in (6, 15, 49):
        original = sizes(1, 1, size, size, dims=f"1,1,{before},{before}")
        candidate = gk.resize(original, semantics=semantics)
        report = validate(candidate, against=original, map={"factor": "s"}, samples=1, any_dtype=True, device="cpu")
        assert report.outputs["y"].shape == (1, 1, size, size)


def test_an_input_of_one_number_stands_for_equal_ones_only():
    text = (
        HEAD
        + """g (float[1,3,10,14] x, float[1] factor) => (float[a,b,c,d] y) <float[2] one = {1, 1}, int64[1] two = {2}> {
        h = Relu(x)
        f = Expand(factor, two)
        s = Concat<axis=0>(one, f)
        """
        + RESIZE.format("", "s")
        + "}"
    )
    candidate = onnx.parser.parse_model(text)
    options = {"map": {"factor": "s"}, "device": "cpu"}
    assert validate(candidate, against=ORIGINALS["one scale"], **options).match
    with pytest.raises(
        gk.ComparisonError, match=r"float32\[1\] and cannot stand for 's'.*by scales \[2.0, 1.5\]"
    ) as caught:
        validate(candidate, against=ORIGINALS["two scales"], **options)
    assert "feeds={'factor'" in caught.value.hint


def test_nodes_that_share_scales_must_mean_the_same():
    original = model(
        "z = Resize(x, , s)\n w = MaxPool<kernel_shape=[2,2], strides=[2,2]>(h)\n v = Resize(w, , s)\n y = GlobalMaxPool(v)",
        s=np.float32([1, 1, 2, 2]),
    )
    original.graph.output.add(name="z").type.tensor_type.elem_type = 1
    options = {"against": original, "map": {"factor": "s"}, "device": "cpu"}
    assert validate(gk.resize(original), **options).match
    with pytest.raises(gk.ComparisonError, match="make different sizes"):
        validate(gk.resize(original, form="sizes"), **options)


def test_bisect_takes_the_same_words():
    original = ORIGINALS["sizes, free dims"]
    feeds = {"x": np.random.default_rng(0).random((1, 3, 12, 15), np.float32)}
    for form in FORMS:
        result = bisect(
            gk.resize(original, form=form), against=original, map={"factor": "s"}, feeds=feeds, device="cpu"
        )
        assert not result.diverges, form
        assert any(row.value == "y" for row in result.rows)
