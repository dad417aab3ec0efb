"""Polygraphy: surgeon (extract, insert, sanitize, weight-strip), comparator, debug reduce."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from onnx_text import parse
from oracle import assert_same, run_ort
from peers.suites import Suite, assert_runs_the_same, feeds_of, names, ops

SUITE = Suite(
    "Polygraphy",
    "NVIDIA/TensorRT tools/Polygraphy/tests/tools/test_surgeon.py, test_debug.py, tests/comparator/test_compare.py",
    outside=[
        (
            8,
            "debug build, repeat, precision and interactive answers: hunts in TensorRT's builds, and a terminal's questions",
        ),
        (6, "surgeon prune (2:4 sparsity), which changes what a model computes"),
        (40, "classes, names of fields and averages over runs of its own comparator; perceptual metrics and indices"),
    ],
)

TWO = "g (float[1, 1, 2, 2] X) => (float[1, 1, 2, 2] out_2) { [first] out_0 = Neg(X) [second] out_2 = Exp(out_0) }"
FREE = "g (float[1, 2, height, width] X) => (float[1, 2, height, width] Y) { h = Neg(X) Y = Exp(h) }"
BRANCHES = """g (float[1] X0, float[1] Y0) => (float[1] out_6, float[1] out_8) {
[n1] out_0 = Neg(X0) [n3] out_2 = Exp(Y0) [n5] out_4 = Add(out_0, out_2) [n7] out_6 = Sin(out_4) [n9] out_8 = Cos(out_4) }"""


@SUITE.case(
    "extract.no_shape_inference_if_has_metadata extract.onnx_shape_inference_if_no_metadata extract.fallback_shape_inference"
)
@pytest.mark.parametrize(("boundary", "left"), [("X out_2", "Neg Exp"), ("out_0 out_2", "Exp"), ("X out_0", "Neg")])
def test_types_at_a_cut_are_found(boundary, left):
    before = parse(TWO)
    start, end = boundary.split()
    part = gk.extract(before, inputs=[start], outputs=[end])
    assert ops(part) == left
    assert {str(v.type) for v in [*part.inputs, *part.outputs]} == {str(before.graph.input[0].type)}
    feeds = feeds_of(before)
    values = {**feeds, **run_ort(gk.tap(before, ["out_0"]), feeds)}
    assert_same(run_ort(part, {start: values[start]}), {end: values[end]})


@SUITE.case(
    "extract.force_fallback_shape_inference sanitize.force_fallback_shape_inference",
    differs="free dims stay free: a size is set by dims --set, never by a run with numbers that happen to be fed",
)
def test_free_dims_stay_free_in_a_part():
    part = gk.extract(parse(FREE), outputs=["Y"])
    assert [d.dim_param or d.dim_value for d in part.inputs[0].type.tensor_type.shape.dim] == [1, 2, "height", "width"]
    assert_runs_the_same(part, parse(FREE))


@SUITE.case("extract.sanity_dim_param")
def test_a_name_of_a_dim_comes_along():
    assert_runs_the_same(gk.extract(parse(FREE), outputs=["Y"]), parse(FREE))


FAKE = '<domain: "own", opset_import: ["" : 18]> Fake (a) => (b) { c = Add(a, a) b = Abs(c) }'


@SUITE.case("insert.at_tensor insert.graph_output insert.at_graph_input")
@pytest.mark.parametrize(("at", "left"), [("out_0", "Neg Fake Exp"), ("out_2", "Neg Exp Fake"), ("X", "Fake Neg Exp")])
def test_a_node_goes_in_at_a_value_an_output_and_an_input_and_their_names_stay(at, left):
    before = parse(TWO)
    after = gk.insert(before, at=at, function=FAKE)
    assert [node.op_type for node in gk.inline(after).nodes] == [
        o for x in left.split() for o in ({"Fake": ["Add", "Abs"]}.get(x, [x]))
    ]
    assert (names(after.inputs), names(after.outputs)) == (["X"], ["out_2"])
    x = feeds_of(before)["X"]
    twice = {"out_0": np.exp(np.abs(-2 * x)), "out_2": np.abs(2 * np.exp(-x)), "X": np.exp(-np.abs(2 * x))}[at]
    assert_same(run_ort(after, {"X": x}), {"out_2": twice}, rtol=1e-4)


@SUITE.case("insert.multi_use_input_replace_single_path")
def test_a_node_goes_into_one_branch_in_place_of_another():
    before = parse(BRANCHES)
    after = gk.replace(before, nodes="n9", function=FAKE)
    feeds = feeds_of(before)
    want = run_ort(before, feeds)
    total = -feeds["X0"] + np.exp(feeds["Y0"])
    assert_same(run_ort(after, feeds), {"out_6": want["out_6"], "out_8": np.abs(2 * total)}, rtol=1e-4)
    assert names(after.outputs) == ["out_6", "out_8"]


@SUITE.case("insert.multi_use_input_replace_all_paths")
def test_a_node_goes_in_for_every_reader():
    before = parse(BRANCHES)
    after = gk.insert(before, at="out_4", function=FAKE)
    feeds = feeds_of(before)
    total = np.abs(2 * (-feeds["X0"] + np.exp(feeds["Y0"])))
    assert_same(run_ort(after, feeds), {"out_6": np.sin(total), "out_8": np.cos(total)}, rtol=1e-4, atol=1e-5)


@SUITE.case(
    "insert.with_attributes",
    differs="an output behind an operator that nobody knows is declared without a type, with a warning: its old one may be false now",
)
def test_attributes_of_all_kinds_can_be_set():
    before = parse("g (float[2] x) => (float[2] y) { [odd] y = nobody.Fake(x) }", imports='"nobody" : 1')
    given = {"s": "0", "i": 0, "f": 0.0, "n": "name", "ss": ["0", "1"], "ii": [1, 2, 3], "ff": [0.0, -1.0, -2.0]}
    after = gk.set_parts(before, attributes={f"odd:{k}": v for k, v in given.items() if k not in ("s", "n", "ss")})
    kept = {a.name: onnx.helper.get_attribute_value(a) for a in after.nodes[0].attribute}
    assert (kept["i"], kept["f"], kept["ii"], kept["ff"]) == (0, 0.0, [1, 2, 3], [0.0, -1.0, -2.0])
    with pytest.warns(gk.GraphkitWarning, match="no type is known for 'out_2'"):
        texts = gk.insert(
            parse(TWO),
            at="X",
            function='<domain: "own", opset_import: ["" : 18, "nobody" : 1]> F (a) => (b) { b = nobody.Fake<s = "0", n = "name", ss = ["0", "1"]>(a) }',
        )
    bodies = {n.op_type: n for f in [texts.proto.graph, *texts.proto.functions] for n in f.node}
    assert {a.name: onnx.helper.get_attribute_value(a) for a in bodies["Fake"].attribute} == {
        "s": b"0",
        "n": b"name",
        "ss": [b"0", b"1"],
    }


FOLDABLE = "g (float[1, 3] input) => (float[1, 3] output) <float[1, 3] a = {1, 1, 1}, float[1, 3] b = {1, 1, 1}, float[1, 3] d = {1, 1, 1}> { c = Add(a, b) e = Add(c, d) output = Add(input, e) }"


@SUITE.case(
    "sanitize.fold_constants*12 sanitize.fold_constants_single_pass",
    differs="one way of folding: partitions, passes and shapes are no options",
)
def test_constants_are_folded_to_one_node():
    before = parse(FOLDABLE)
    after = gk.simplify(before)
    assert ops(after) == "Add"
    assert_runs_the_same(after, before)


@SUITE.case("sanitize.override_shapes*3")
@pytest.mark.parametrize("size", [1, 2, 3])
def test_free_dims_become_sizes(size):
    before = parse(FREE)
    after = gk.dims(before, {"height": size, "width": size})
    assert [[d.dim_value for d in v.type.tensor_type.shape.dim] for v in [*after.inputs, *after.outputs]] == [
        [1, 2, size, size]
    ] * 2
    x = {"X": np.random.default_rng(0).standard_normal((1, 2, size, size), np.float32)}
    assert_same(run_ort(after, x), run_ort(before, x))


@SUITE.case(
    "sanitize.override_shapes_no_clear_const_tensors_meta sanitize.override_shapes_partial_inputs",
    differs="a dim or input that the model does not have is refused by name, where Polygraphy goes on",
)
def test_an_input_that_is_not_there_is_refused():
    with pytest.raises(gk.NameNotFoundError, match="'Y'"):
        gk.dims(parse(FREE.replace("Y", "out")), {"Y:2": 3})
    after = gk.dims(parse(FREE), {"height": 5})
    assert [d.dim_param or d.dim_value for d in after.inputs[0].type.tensor_type.shape.dim] == [1, 2, 5, "width"]


@SUITE.case("sanitize.override_shapes_no_reorder")
def test_inputs_stay_in_their_order():
    text = "g (float[n] X0, float[n] Y0) => (float[n] out) { out = Add(X0, Y0) }"
    after = gk.dims(parse(text), {"Y0:0": 5, "X0:0": 5})
    assert names(after.inputs) == ["X0", "Y0"]
    assert_runs_the_same(after, after.materialize())


@SUITE.case("sanitize.modify_onnx_outputs")
def test_all_values_become_outputs():
    before = parse(TWO)
    after = gk.tap(before, "*")
    assert sorted(names(after.outputs)) == ["out_0", "out_2"]
    feeds = feeds_of(before)
    got = run_ort(after, feeds)
    assert_same(got["out_0"], -feeds["X"])
    assert_same(got["out_2"], run_ort(before, feeds)["out_2"])


@SUITE.case("sanitize.cleanup")
def test_another_output_leaves_what_leads_to_it():
    before = parse(TWO)
    after = gk.extract(before, outputs=["out_0"])
    assert (ops(after), names(after.outputs)) == ("Neg", ["out_0"])
    feeds = feeds_of(before)
    assert_same(run_ort(after, feeds), {"out_0": -feeds["X"]})


@SUITE.case("sanitize.external_data")
def test_weights_in_a_file_are_folded_and_stay_in_a_file(tmp_path):
    w = np.random.default_rng(0).standard_normal((64, 64), np.float32)
    before = parse("g (float[1, 64] x) => (float[1, 64] y) { a = Add(w, w) y = MatMul(x, a) }", w=w)
    onnx.save(before, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    (tmp_path / "out").mkdir()
    gk.simplify(tmp_path / "m.onnx").save(tmp_path / "out" / "m.onnx", external="w.data")
    assert (tmp_path / "out" / "w.data").stat().st_size >= w.nbytes
    assert ops(gk.load(tmp_path / "out" / "m.onnx")) == "MatMul"
    assert_runs_the_same(tmp_path / "out" / "m.onnx", onnx.load(tmp_path / "m.onnx"), rtol=1e-4, atol=1e-4)


@SUITE.case("sanitize.size_threshold*2")
@pytest.mark.parametrize(("limit", "left"), [(1 << 20, ""), (1000, "Tile")])
def test_a_constant_that_would_bloat_the_file_is_not_computed(limit, left):
    before = parse("g () => (float[50000] y) <float[1] k = {2}, int64[1] r = {50000}> { y = Tile(k, r) }")
    after = gk.simplify(before, fold_limit=limit)
    assert ops(after) == left
    assert_runs_the_same(after, before)


@SUITE.case(
    "weight_strip*4 weight_reconstruct*4",
    differs="stripped weights come back from the model that has them (--restore-weights) or as stand-ins (--fill-weights)",
)
@pytest.mark.parametrize(
    "text",
    [
        "g (float[1, 64] x) => (float[1, 64] y) { y = MatMul(x, w) }",
        "g (float[1, 64] x) => (float[1, 64] y) { t = Transpose<perm = [1, 0]>(w) y = MatMul(x, t) }",
    ],
)
def test_weights_go_and_come_back(text, tmp_path):
    w = np.random.default_rng(0).standard_normal((64, 64), np.float32)
    before = parse(text, w=w)
    bare = gk.set_parts(before, strip_weights=True)
    bare.save(tmp_path / "bare.onnx")
    assert (tmp_path / "bare.onnx").stat().st_size < 1500
    assert_runs_the_same(gk.set_parts(tmp_path / "bare.onnx", restore_weights=before), before)
    shown = gk.set_parts(tmp_path / "bare.onnx", fill_weights="random")
    assert run_ort(shown, feeds_of(before))["y"].shape == (1, 64)


def pair(one, other, dtype="float32"):
    """Two models that give some numbers: what is looked at, and what is right."""
    models = []
    for values in (one, other):
        array = np.asarray(values, dtype)
        tensor = onnx.numpy_helper.from_array(array, "k")
        info = onnx.helper.make_tensor_value_info("out", tensor.data_type, array.shape)
        graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["k"], ["out"])], "g", [], [info], [tensor])
        models.append(onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 18)]))
    return models


def compared(one, other, dtype="float32", **options):
    candidate, reference = pair(one, other, dtype)
    return gk.validate(candidate, against=reference, samples=1, **options)


@SUITE.case("compare.comparison*18")
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int8", "float16"])
@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 0), (25, 30)])
def test_differences_of_narrow_types_do_not_wrap(dtype, one, other):
    result = compared([one], [other], dtype)
    assert not result
    assert result.outputs["out"].max_abs == abs(one - other)
    assert result.outputs["out"].mean_abs == abs(one - other)


@SUITE.case("compare.can_compare_bool*2")
def test_bools_are_compared():
    assert not compared(np.zeros((2, 2), bool), np.ones((2, 2), bool), "bool")
    assert compared(np.ones((2, 2), bool), np.ones((2, 2), bool), "bool")


@SUITE.case("compare.non_matching_outputs*8")
@pytest.mark.parametrize(("shape", "same"), [((), False), ((0, 2), True), ((1,), False), ((2, 2, 2), False)])
def test_outputs_of_any_shape_are_compared_and_an_empty_one_is_no_proof(shape, same):
    result = compared(np.zeros(shape), np.ones(shape))
    assert bool(result) is same or result.doubts
    assert bool(result) is False or same


@SUITE.case("compare.atol_rtol_either_pass*8 compare.atol_rtol_combined_pass*2")
def test_either_tolerance_is_enough_and_both_add_up():
    one, other = [1, 2], [1.25, 2.5]
    assert not compared(one, other)
    assert compared(one, other, rtol=0.25, atol=0)
    assert compared(one, other, atol=0.5, rtol=0)
    one, other = [0, 1, 2, 3], [0.15, 1.25, 2.5, 3.75]
    assert not compared(one, other, atol=0.3, rtol=0)
    assert not compared(one, other, atol=0, rtol=0.25)
    assert compared(one, other, atol=0.3, rtol=0.25)


@SUITE.case("compare.nans_always_fail*16")
@pytest.mark.parametrize(("one", "other"), [(np.nan, 0.15), (0.15, np.nan)])
def test_nan_is_never_right(one, other):
    assert not compared([one], [other], atol=10, rtol=10)
    assert not compared([np.nan], [np.nan])
    assert compared([np.nan], [np.nan], equal_nan=True)


@SUITE.case(
    "compare.infinities_compare_equal*8",
    differs="the same infinity is always the same number; there is no switch against it",
)
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_the_same_infinity_is_the_same(value):
    assert compared([value], [value])
    assert not compared([value], [-value], atol=1e30)


TWO_OUTPUTS = "g (float[2] x) => (float[2] a, float[2] b) { a = Neg(x) b = Exp(x) }"


@SUITE.case(
    "compare.per_output_tol*4 compare.per_output_tol_fallback*4 compare.default_tol_in_map*4 compare.per_output_error_stat*8",
    differs="a tolerance holds for all outputs that are compared: --output NAME compares one, with a tolerance of its own",
)
def test_one_output_is_judged_by_its_own_tolerance():
    reference = parse(TWO_OUTPUTS)
    candidate = parse(TWO_OUTPUTS.replace("b = Exp(x)", "e = Exp(x) b = Add(e, o)"), o=[0.5])
    assert not gk.validate(candidate, against=reference, samples=1)
    assert gk.validate(candidate, against=reference, samples=1, outputs=["a"], atol=0, rtol=0)
    assert gk.validate(candidate, against=reference, samples=1, outputs=["b"], atol=0.6)


@SUITE.case(
    "compare.quantile*10 compare.check_error_stat*16 compare.invalid_error_stat*2 compare.l2*6 compare.cosine*6 compare.psnr*6 compare.snr*6",
    differs="each element has to agree; mean, RMS, cosine, PSNR and quantiles in units in the last place are shown beside that, and no option lets one of them decide",
)
def test_other_measures_are_shown_and_the_worst_element_decides():
    good = np.zeros(100)
    bad = good.copy()
    bad[0] = 100
    result = compared(bad, good, atol=1)
    assert not result
    shown = result.outputs["out"]
    assert (shown.max_abs, shown.mean_abs, shown.worst) == (100, 1, (0,))
    assert shown.rms == pytest.approx(10)


def failing(name, model):
    """Whether a part without the node is right, as a user's check would say."""
    return name not in {node.name for node in model.nodes}


@SUITE.case("reduce.can_isolate_node*10 reduce.with_constant reduce.shape_inference*2")
@pytest.mark.parametrize("name", ["n1", "n3", "n5", "n7", "n9"])
def test_the_failing_node_is_left_alone(name):
    found = gk.reduce_model(parse(BRANCHES), lambda part: failing(name, part))
    assert [node.name for node in found.model.nodes] == [name]
    assert gk.check(found.model)
    whole = gk.tap(parse(BRANCHES), [f"out_{i}" for i in (0, 2, 4)])
    feeds = feeds_of(parse(BRANCHES))
    values = {**feeds, **run_ort(whole, feeds)}
    got = run_ort(found.model, {v.name: values[v.name] for v in found.model.inputs})
    assert_same(got, {v.name: values[v.name] for v in found.model.outputs})


@SUITE.case("reduce.no_reduce_required_branches*2")
@pytest.mark.parametrize("both", [{"n1", "n3"}, {"n7", "n9"}])
def test_branches_that_fail_together_stay_together(both):
    found = gk.reduce_model(parse(BRANCHES), lambda part: not both <= {node.name for node in part.nodes})
    left = {node.name for node in found.model.nodes}
    assert both <= left
    assert len(left) <= 3


@SUITE.case(
    "reduce.no_reduce_inputs reduce.no_reduce_outputs reduce.custom_return_code reduce.custom_fail_message*2 reduce.with_replay reduce.custom_data_multibranch_input*2",
    differs="a part counts where the command ends with the exit code that it ended with on the whole model, so other failures are told apart without options; inputs and outputs are always reduced, and a part is fed by the command itself",
)
def test_another_failure_is_another_exit_code(tmp_path):
    script = tmp_path / "check.sh"
    script.write_text('#!/bin/sh\ngrep -q n5 "$1" && exit 1\nexit 2\n')
    script.chmod(0o755)
    found = gk.reduce_model(parse(BRANCHES), [str(script)])
    assert ([node.name for node in found.model.nodes], found.code) == (["n5"], 1)


@SUITE.case("reduce.node_with_multiple_outputs_that_are_graph_outputs")
def test_a_model_that_passes_is_said_to_pass():
    before = parse("g (float[4] x) => (float[2] a, float[2] b) { a, b = Split<num_outputs = 2>(x) }")
    found = gk.reduce_model(before, lambda part: run_ort(part, feeds_of(part)) is not None)
    assert found
    assert found.model is None
