"""validate: right answers for right models, wrong ones for wrong models, and clear words where nothing can be compared."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.verify.validate import validate

HEAD = '<ir_version: 8, opset_import: ["" : 18]>'


def model(text, **weights):
    proto = onnx.parser.parse_model(f"{HEAD} {text}")
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    onnx.checker.check_model(proto)
    return proto


AFFINE = model(
    "g (float[n,3] x) => (float[n,3] y) <float[1] k = {2.0}, float[1] b = {1.0}> { h = Mul(x, k)\n y = Add(h, b) }"
)
RAISED = model("g (float[n,3] x, float[1] k) => (float[n,3] y) <float[1] b = {1.0}> { h = Mul(x, k)\n y = Add(h, b) }")


def test_a_model_matches_itself_and_not_its_mutants():
    assert validate(AFFINE, against=AFFINE).match
    for text in (
        "<float[1] k = {2.02}, float[1] b = {1.0}> { h = Mul(x, k)\n y = Add(h, b) }",
        "<float[1] k = {2.0}, float[1] b = {1.0}> { h = Mul(x, k)\n y = Sub(h, b) }",
        "<float[1] k = {2.0}, float[1] b = {0.0}> { h = Mul(x, k)\n y = Div(h, b) }",
    ):
        report = validate(model("g (float[n,3] x) => (float[n,3] y) " + text), against=AFFINE)
        assert not report.match
        with pytest.raises(gk.MismatchError, match="output 'y'"):
            report.raise_for_mismatch()
    validate(AFFINE, against=AFFINE).raise_for_mismatch()


def test_a_promoted_constant_is_fed_the_constant_it_was():
    report = validate(RAISED, against=AFFINE)
    assert report.match
    assert report.bindings["k"] == "k"
    assert not validate(RAISED, against=AFFINE, feeds={"k": 2.5}).match
    assert validate(RAISED, against=AFFINE, feeds={"k": 2.0}).match


def test_a_promoted_constant_of_another_name_needs_a_word():
    renamed = model(
        "g (float[n,3] x, float[1] gain) => (float[n,3] y) <float[1] b = {1.0}> { h = Mul(x, gain)\n y = Add(h, b) }"
    )
    with pytest.raises(gk.ComparisonError, match="'gain'") as caught:
        validate(renamed, against=AFFINE)
    assert "map={'gain': " in str(caught.value)
    assert validate(renamed, against=AFFINE, map={"gain": "k"}).match
    with pytest.raises(gk.NameNotFoundError, match="'kk'"):
        validate(renamed, against=AFFINE, map={"gain": "kk"})
    with pytest.raises(gk.NameNotFoundError, match="'gainn'"):
        validate(renamed, against=AFFINE, map={"gainn": "k"})


def test_a_factor_stands_for_the_last_of_the_scales():
    scales = np.array([1, 1, 2.5, 2.5], np.float32)
    baked = model('g (float[1,3,8,8] x) => (float[1,3,20,20] y) { y = Resize<mode="linear">(x, , s) }', s=scales)
    text = """g (float[1,3,8,8] x, float[{}] factor) => (float[a,b,c,d] y) {{
      s = Concat<axis=0>(one, factor)
      y = Resize<mode="linear">(x, , s) }}"""
    two = model(text.format(2), one=np.ones(2, np.float32))
    assert validate(two, against=baked, map={"factor": "s"}).match
    assert not validate(two, against=baked, feeds={"factor": 2}).match


def test_a_renamed_and_a_retyped_input():
    renamed = model(
        "g (float[n,3] image) => (float[n,3] y) <float[1] k = {2.0}, float[1] b = {1.0}> { h = Mul(image, k)\n y = Add(h, b) }"
    )
    assert validate(renamed, against=AFFINE, map={"image": "x"}).match
    half = model(
        "g (float16[n,3] x) => (float[n,3] y) <float[1] k = {2.0}, float[1] b = {1.0}> "
        "{ c = Cast<to=1>(x)\n h = Mul(c, k)\n y = Add(h, b) }"
    )
    assert validate(half, against=AFFINE).match


def test_an_extracted_part_is_fed_what_the_original_computes():
    part = model("g (float[n,3] h) => (float[n,3] y) <float[1] b = {1.0}> { y = Add(h, b) }")
    report = validate(part, against=AFFINE)
    assert report.match
    wrong = model("g (float[n,3] h) => (float[n,3] y) <float[1] b = {1.5}> { y = Add(h, b) }")
    assert not validate(wrong, against=AFFINE).match
    head = model("g (float[n,3] x) => (float[n,3] h) <float[1] k = {2.0}> { h = Mul(x, k) }")
    assert validate(head, against=AFFINE).match


def test_a_frozen_input_is_fed_to_the_reference_alone():
    with pytest.raises(gk.ComparisonError, match="needs inputs that the candidate") as caught:
        validate(AFFINE, against=RAISED)
    assert "feeds={'k': " in str(caught.value)
    assert validate(AFFINE, against=RAISED, feeds={"k": 2.0}).match
    assert not validate(AFFINE, against=RAISED, feeds={"k": 2.1}).match
    with pytest.raises(gk.NameNotFoundError, match="'kk'"):
        validate(AFFINE, against=RAISED, feeds={"kk": 2.0, "k": 2.0})


TWO = "g (float[n,3] x) => ({}) {{ a = Relu(x)\n b = Neg(x) }}"


def test_outputs_in_another_order_or_number_cannot_be_compared():
    both = model(TWO.format("float[n,3] a, float[n,3] b"))
    swapped = model(TWO.format("float[n,3] b, float[n,3] a"))
    one = model(TWO.format("float[n,3] a"))
    with pytest.raises(gk.ComparisonError, match="another order"):
        validate(swapped, against=both)
    assert validate(swapped, against=both, outputs=["a", "b"]).match
    with pytest.raises(gk.ComparisonError, match="'b' is missing"):
        validate(one, against=both)
    assert validate(one, against=both, outputs=["a"]).match
    with pytest.raises(gk.NameNotFoundError, match="'c'"):
        validate(one, against=both, outputs=["c"])
    strange = model(
        "g (float[n,3] x) => (float[n,3] p, float[n,3] q, float[n,3] r) { p = Relu(x)\n q = Neg(x)\n r = Abs(x) }"
    )
    with pytest.raises(gk.ComparisonError, match="are no values of the reference"):
        validate(strange, against=both)


def test_renamed_outputs_are_compared_by_position_and_said():
    renamed = model(
        "g (float[n,3] x) => (float[n,3] out) <float[1] k = {2.0}, float[1] b = {1.0}> { h = Mul(x, k)\n out = Add(h, b) }"
    )
    report = validate(renamed, against=AFFINE)
    assert report.match
    assert any("'out' with 'y'" in note for note in report.notes)


def test_outputs_that_agree_in_another_order_are_no_mismatch_of_numbers():
    three = "g (float[n,3] x) => (float[n,3] {}, float[n,3] {}, float[n,3] {}) {{ {} = Relu(x)\n {} = Neg(x)\n {} = Exp(x) }}"
    right = model(three.format(*"abc", *"abc"))
    renamed = model(three.format(*"pqr", *"prq"))
    with pytest.raises(gk.ComparisonError, match=r"another order.*'q' agrees with 'c', 'r' agrees with 'b'") as caught:
        validate(renamed, against=right)
    assert caught.value.hint == "say which is which with map={'q': 'c', 'r': 'b'}"
    assert validate(renamed, against=right, map={"q": "c", "r": "b"}).match
    around = model(three.format(*"pqr", *"rpq"))
    with pytest.raises(gk.ComparisonError, match="'p' agrees with 'b', 'q' agrees with 'c', 'r' agrees with 'a'"):
        validate(around, against=right)
    named = validate(model(three.format(*"abc", *"acb")), against=right)
    assert not named.match  # names are believed
    assert "'b' agrees with 'c', 'c' agrees with 'b'" in named.doubts[0]
    assert named.doubts[0] in " ".join(gk.text(named).split())
    with pytest.raises(gk.MismatchError) as mismatch:
        named.raise_for_mismatch()
    assert mismatch.value.hint == named.doubts[0]
    wrong = model(three.format(*"pqr", *"prq").replace("Exp", "Abs"))
    assert not validate(wrong, against=right).match
    assert validate(right, against=right).doubts == ()


def test_numbers_that_agree_in_another_dtype_are_told():
    double = model("g (float[n,3] x) => (double[n,3] y) { t = Neg(x)\n y = Cast<to=11>(t) }")
    plain = model("g (float[n,3] x) => (float[n,3] y) { y = Neg(x) }")
    assert "any_dtype" in validate(double, against=plain).outputs["y"].problem
    other = model("g (float[n,3] x) => (float[n,3] y) { y = Abs(x) }")
    assert "any_dtype" not in validate(double, against=other).outputs["y"].problem


def test_scores_with_their_sign_reversed_beneath_a_mask():
    i = np.arange(16)
    weights = {"m": ~((i[:, None] >= i) & (i[:, None] - i < 4)), "low": np.finfo(np.float32).min}

    def scores(factor):
        text = "g (float[2,4,16,16] x) => (float[2,4,16,16] y) { z = Mul(x, k)\n y = Where(m, low, z) }"
        return model(text, k=np.float32(factor), **weights)

    for factor in (-1, 1.01):
        assert not validate(scores(factor), against=scores(1)).match
        found = gk.bisect(scores(factor), against=scores(1))
        assert found.first.value == "z"
    assert validate(scores(1), against=scores(1)).match


def test_models_with_other_inputs_are_refused_by_name():
    other = model("g (float[n,3] z) => (float[n,3] y) { y = Neg(z) }")
    with pytest.raises(gk.ComparisonError, match="'z'"):
        validate(other, against=AFFINE)


def test_every_combination_of_dims_and_feeds_is_run():
    report = validate(AFFINE, against=AFFINE, bind={"n": [1, 2, 8]}, samples=2)
    assert [s.bind for s in report.samples] == [{"n": n} for n in (1, 1, 2, 2, 8, 8)]
    assert {s.feeds["x"].partition(" ")[0] for s in report.samples} == {f"float32[{n},3]" for n in (1, 2, 8)}
    report = validate(RAISED, against=RAISED, feeds={"k": ["1", "2.5"]}, bind={"n": 2}, samples=1)
    assert [s.bind["k"] for s in report.samples] == ["1", "2.5"]
    with pytest.raises(gk.FeedError, match="'batch'"):
        validate(AFFINE, against=AFFINE, bind={"batch": 3})


def test_an_error_that_only_some_sizes_show_is_found():
    baked = model(
        "g (float[n,3] x) => (float[n,3] y) { t = Reshape(x, two)\n s = ReduceSum<keepdims=0>(t, ax)\n y = Add(x, s) }",
        two=np.array([2, -1]),
        ax=np.array([0, 1]),
    )
    free = model(
        "g (float[n,3] x) => (float[n,3] y) { t = Reshape(x, any)\n s = ReduceSum<keepdims=0>(t, ax)\n y = Add(x, s) }",
        any=np.array([-1]),
        ax=np.array([0]),
    )
    assert validate(baked, against=free, bind={"n": 2}).match
    with pytest.raises(gk.SessionError):
        validate(baked, against=free, bind={"n": 3})


def test_sizes_that_the_reference_fixes_are_taken():
    fixed = model("g (float[5,3] x) => (float[5,3] y) { y = Neg(x) }")
    free = model("g (float[n,m] x) => (float[n,m] y) { y = Neg(x) }")
    assert validate(free, against=fixed).samples[0].feeds["x"] == "float32[5,3]"
    with pytest.raises(gk.FeedError, match="axis 0 is 2 and must be 5"):
        validate(free, against=fixed, bind={"n": 2})


def test_the_same_seed_gives_the_same_numbers():
    first, again, other = (validate(RAISED, against=AFFINE, feeds={"k": 2.1}, seed=s) for s in (3, 3, 4))
    assert first == again
    assert first.outputs["y"].max_abs != other.outputs["y"].max_abs
    errors = [s.outputs["y"].max_abs for s in first.samples]
    assert len(set(errors)) == 3
    assert first.outputs["y"].max_abs == max(errors)
    assert first.worst_sample["y"] == errors.index(max(errors))


def test_another_shape_or_dtype_or_nan_fails():
    double = model("g (float[n,3] x) => (double[n,3] y) { t = Neg(x)\n y = Cast<to=11>(t) }")
    plain = model("g (float[n,3] x) => (float[n,3] y) { y = Neg(x) }")
    assert "dtype" in validate(double, against=plain).outputs["y"].problem
    assert validate(double, against=plain, any_dtype=True).match
    flat = model("g (float[n,3] x) => (float[m] y) { t = Neg(x)\n y = Reshape(t, k) }", k=np.array([-1]))
    assert "shape" in validate(flat, against=plain).outputs["y"].problem
    nan = model("g (float[n,3] x) => (float[n,3] y) { z = Sub(x, x)\n y = Div(z, z) }")
    assert "NaN" in validate(nan, against=plain).outputs["y"].problem
    assert "NaN" in validate(nan, against=nan).outputs["y"].problem
    assert validate(nan, against=nan, equal_nan=True).match


def test_a_model_that_fails_at_run_time_is_no_mismatch():
    broken = model("g (float[n,3] x) => (float[a,b] y) { y = Reshape(x, k) }", k=np.array([7, 11]))
    with pytest.raises(gk.SessionError, match="running"):
        validate(broken, against=AFFINE)
    with pytest.raises(gk.FeedError, match="rank"):
        validate(AFFINE, against=AFFINE, feeds={"x": np.zeros(3, np.float32)})
    with pytest.raises(ValueError, match="either"):
        validate(AFFINE)
    with pytest.raises(ValueError, match="at least 1"):
        validate(AFFINE, against=AFFINE, samples=0)


def test_a_session_is_built_once_for_each_model(monkeypatch):
    import onnxruntime

    built = []
    real = onnxruntime.InferenceSession

    def counting(*args, **kwargs):
        built.append(1)
        return real(*args, **kwargs)

    monkeypatch.setattr(onnxruntime, "InferenceSession", counting)
    report = validate(AFFINE, against=AFFINE, bind={"n": list(range(1, 21))}, samples=5)
    assert len(report.samples) == 100
    assert len(built) == 2


def test_progress_is_told():
    told = []
    validate(AFFINE, against=AFFINE, samples=4, progress=lambda done, total, _: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_what_an_input_can_stand_for():
    text = "g (float[n,3] x{}) => (float[n,3] y) <float[1] b = {{1.0}}{}> {{ h = Mul(x, {})\n y = Add(h, b) }}"
    original = model(text.format("", ", float[3] k = {2.0, 2.0, 2.0}", "k"))
    for shape in ("[3]", "[1]", "", "[1,3]", "[m]"):
        assert validate(model(text.format(f", float{shape} k", "", "k")), against=original).match, shape
    uneven = model(text.format("", ", float[3] k = {2.0, 2.0, 3.0}", "k"))
    for shape in ("[1]", "[1,2]"):
        candidate = onnx.parser.parse_model(f"{HEAD} " + text.format(f", float{shape} k", "", "b"))
        with pytest.raises(gk.ComparisonError, match=r"cannot stand for the constant 'k' of shape \[3\]"):
            validate(candidate, against=uneven)
