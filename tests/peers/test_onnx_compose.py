"""onnx.compose: joining models, prefixes, another axis at an output."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from onnx_text import parse
from oracle import assert_same, run_ort
from peers.suites import Suite, assert_runs_the_same, feeds_of, names, ops

SUITE = Suite(
    "onnx.compose",
    "onnx/onnx onnx/test/compose_test.py",
    outside=[
        (2, "inplace=: graphkit's operations return a new model (add_prefix_inplace and the half of expand_out_dim)")
    ],
)

FIRST = """g (float[N, M] A0, float[N, M] A1, float[N, M] unused) => (float[N, M] B00, float[N, M] B10, float[N, M] B20)
{ B00 = Add(A0, A1) B10 = Sub(A0, A1) B20 = Mul(A0, A1) }"""
SECOND = """g (float[N, M] B01, float[N, M] B11, float[N, M] B21) => (float[N, M] D0)
{ C0 = Add(B01, B11) C1 = Sub(B11, B21) D0 = Mul(C0, C1) }"""
BOTH = "Add Sub Mul Add Sub Mul"


def merged_of(connect, first=FIRST, second=SECOND, **options):
    models = {"m1": parse(first, opset=13), "m2": parse(second, opset=13)}
    return gk.merge(models, connect=connect, **options), models


def in_turn(models, wires, feeds):
    """What the two models give one after the other, the wires carried by hand."""
    first = run_ort(models["m1"], {k: v for k, v in feeds.items() if k in names(models["m1"].graph.input)})
    wired = {b: first[a] for a, b in wires}
    rest = {name: wired[name] if name in wired else feeds[name] for name in names(models["m2"].graph.input)}
    return first, run_ort(models["m2"], rest)


@SUITE.case("connect_all_no_name_collision")
def test_every_output_feeds_an_input():
    wires = [("B00", "B01"), ("B10", "B11"), ("B20", "B21")]
    merged, models = merged_of([f"m1:{a}=m2:{b}" for a, b in wires])
    assert names(merged.inputs) == ["A0", "A1", "unused"]
    assert names(merged.outputs) == ["D0"]
    assert ops(merged) == BOTH
    feeds = feeds_of(models["m1"])
    assert_same(run_ort(merged, feeds), in_turn(models, wires, feeds)[1])


@SUITE.case("connect_same_output_twice")
def test_one_output_feeds_every_input_and_the_others_stay_outputs():
    merged, models = merged_of({"m1:B00": ["m2:B01", "m2:B11", "m2:B21"]})
    assert names(merged.outputs) == ["B10", "B20", "D0"]
    assert ops(merged) == BOTH
    feeds = feeds_of(models["m1"])
    first, second = in_turn(models, [("B00", b) for b in ("B01", "B11", "B21")], feeds)
    assert_same(run_ort(merged, feeds), {"B10": first["B10"], "B20": first["B20"], "D0": second["D0"]})


@SUITE.case("connect_same_output_drop_outputs")
def test_outputs_that_are_not_wanted_go_with_what_led_to_them():
    merged, models = merged_of({"m1:B00": ["m2:B01", "m2:B11", "m2:B21"]})
    kept = gk.extract(merged, inputs=["A0", "A1"], outputs=["D0"])
    assert names(kept.outputs) == ["D0"]
    assert ops(kept) == "Add Add Sub Mul"
    feeds = feeds_of(models["m1"])
    _, second = in_turn(models, [("B00", b) for b in ("B01", "B11", "B21")], feeds)
    assert_same(run_ort(kept, {name: feeds[name] for name in names(kept.inputs)}), second)


@SUITE.case("connect_same_input_output_name")
def test_a_connected_output_and_input_may_have_one_name():
    merged, models = merged_of(
        ["m1:B=m2:B"],
        "g (float[N] A) => (float[N] B) { B = Add(A, A) }",
        "g (float[N] B) => (float[N] C) { C = Mul(B, B) }",
    )
    assert (names(merged.inputs), names(merged.outputs)) == (["A"], ["C"])
    feeds = feeds_of(models["m1"])
    assert_same(run_ort(merged, feeds), in_turn(models, [("B", "B")], feeds)[1])


@SUITE.case("drop_inputs_outputs")
def test_inputs_that_are_not_wanted_go_with_what_they_lead_to():
    merged, _ = merged_of(
        ["m1:A1=m2:B2"],
        "g (float[N] A0, float[N] B0) => (float[N] A1, float[N] B1) { A1 = Add(A0, A0) B1 = Sub(B0, B0) }",
        "g (float[N] A2, float[N] B2) => (float[N] A3, float[N] B3) { A3 = Add(A2, A2) B3 = Mul(B2, B2) }",
    )
    kept = gk.extract(merged, inputs=["A0"], outputs=["B3"])
    assert (names(kept.inputs), names(kept.outputs), ops(kept)) == (["A0"], ["B3"], "Add Mul")
    assert_same(run_ort(kept, {"A0": np.float32([1, -2])}), {"B3": np.float32([4, 16])})


@SUITE.case(
    "name_collision_prefix",
    differs="the interface keeps its names where it can: the first model's names stay, the second's get a prefix only where they collide",
)
def test_a_model_joined_to_itself_keeps_both_meanings_of_a_name():
    text = "g (float[N] A, float[N] B) => (float[N] C) { C = Sub(A, B) }"
    merged, _ = merged_of(["m1:C=m2:A"], text, text)
    assert (names(merged.inputs), names(merged.outputs)) == (["A", "B", "m2/B"], ["m2/C"])
    feeds = {"A": np.float32([5, 6]), "B": np.float32([1, 2]), "m2/B": np.float32([10, 20])}
    assert_same(run_ort(merged, feeds), {"m2/C": np.float32([-6, -16])})


@SUITE.case("connect_partially_no_name_collision")
def test_what_is_not_connected_stays_in_the_interface():
    wires = [("B00", "B01"), ("B10", "B11")]
    merged, models = merged_of([f"m1:{a}=m2:{b}" for a, b in wires])
    assert names(merged.inputs) == ["A0", "A1", "unused", "B21"]
    assert names(merged.outputs) == ["B20", "D0"]
    feeds = feeds_of(merged)
    first, second = in_turn(models, wires, feeds)
    assert_same(run_ort(merged, feeds), {"B20": first["B20"], "D0": second["D0"]})


@SUITE.case(
    "merge_models_with_metadata_props",
    differs="one key with two values is no error: the second model's gets its name in front, so that nothing is lost",
)
def test_metadata_of_both_models_is_kept():
    models = {"m1": parse(FIRST), "m2": parse(SECOND)}
    onnx.helper.set_model_props(models["m1"], {"p1": "v1", "same": "s"})
    onnx.helper.set_model_props(models["m2"], {"p1": "other", "same": "s", "p3": "v3"})
    merged = gk.merge(models, connect=["m1:B00=m2:B01"])
    kept = {p.key: p.value for p in merged.materialize().metadata_props if not p.key.startswith("graphkit")}
    assert kept["p1"] == "v1"
    assert kept["same"] == "s"
    assert kept["p3"] == "v3"
    assert "other" in kept.values()
    feeds = feeds_of(merged)
    first, second = in_turn(models, [("B00", "B01")], feeds)
    assert_same(run_ort(merged, feeds), {"B10": first["B10"], "B20": first["B20"], "D0": second["D0"]})


@SUITE.case("error_wrong_input_output_name")
@pytest.mark.parametrize("wire", ["m1:nothing=m2:B01", "m1:B00=m2:nothing"])
def test_a_connection_that_names_nothing_is_refused_by_name(wire):
    with pytest.raises(gk.NameNotFoundError, match="nothing"):
        merged_of([wire])


@SUITE.case("error_ir_version_mismatch", differs="models of different IR versions are merged: the older one is raised")
def test_models_of_two_ir_versions_are_merged():
    one = "g (float[N] X0) => (float[N] Y0) { Y0 = Add(X0, X0) }"
    two = "g (float[N] X1) => (float[N] Y1) { Y1 = Mul(X1, X1) }"
    merged = gk.merge({"a": parse(one, opset=13, ir=7), "b": parse(two, opset=13, ir=6)}, connect=["a:Y0=b:X1"])
    assert merged.proto.ir_version == 7
    assert_same(run_ort(merged, {"X0": np.float32([1, 2])}), {"Y1": np.float32([4, 16])})


@SUITE.case(
    "error_opset_import_mismatch",
    differs="models of different opsets are merged: the older one is converted, and a note says so",
)
def test_models_of_two_opsets_are_merged():
    models = {"m1": parse(FIRST, opset=10), "m2": parse(SECOND, opset=15)}
    wires = [("B00", "B01"), ("B10", "B11"), ("B20", "B21")]
    merged = gk.merge(models, connect=[f"m1:{a}=m2:{b}" for a, b in wires])
    assert [i.version for i in merged.proto.opset_import] == [15]
    assert "m1 was raised to opset 15" in merged.history[-1].notes
    feeds = feeds_of(models["m1"])
    assert_same(run_ort(merged, feeds), in_turn(models, wires, feeds)[1])


NAMED = "g (float[N] A0, float[N] A1) => (float[N] B) <float[1] w = {2}> { [add] h = Add(A0, A1) [mul] B = Mul(h, w) }"


@SUITE.case("add_prefix_nodes")
def test_nodes_alone_get_a_prefix():
    before = parse(NAMED)
    after = gk.rename(before, nodes={node.name: f"pre/{node.name}" for node in before.graph.node})
    assert [node.name for node in after.nodes] == ["pre/add", "pre/mul"]
    assert names(after.inputs) == ["A0", "A1"]
    assert_runs_the_same(after, before)


@SUITE.case("add_prefix_inputs add_prefix_outputs add_prefix_edges")
@pytest.mark.parametrize("chosen", [["A0", "A1"], ["B"], ["A0", "A1", "h", "w", "B"]])
def test_inputs_outputs_or_all_values_get_a_prefix_and_their_readers_follow(chosen):
    before = parse(NAMED)
    after = gk.rename(before, values={name: f"pre/{name}" for name in chosen})
    new = [f"pre/{name}" if name in chosen else name for name in ("A0", "A1", "B")]
    assert [*names(after.inputs), *names(after.outputs)] == new
    feeds = feeds_of(before)
    got = run_ort(after, dict(zip(names(after.inputs), feeds.values(), strict=True)))
    assert_same([*got.values()], [*run_ort(before, feeds).values()])


@SUITE.case(
    "add_prefix_all",
    differs="--prefix leaves the interface alone, so that callers go on working; --regex '^=pre/' renames it too",
)
def test_everything_gets_a_prefix():
    before = parse(NAMED)
    inner = gk.rename(before, prefix="pre/")
    assert [*names(inner.inputs), *names(inner.outputs)] == ["A0", "A1", "B"]
    assert [node.name for node in inner.nodes] == ["pre/add", "pre/mul"]
    assert names(inner.proto.graph.initializer) == ["pre/w"]
    assert_runs_the_same(inner, before)
    whole = gk.rename(before, regex={"^": "pre/"})
    assert [*names(whole.inputs), *names(whole.outputs)] == ["pre/A0", "pre/A1", "pre/B"]
    feeds = feeds_of(before)
    assert_same(
        [*run_ort(whole, {f"pre/{k}": v for k, v in feeds.items()}).values()], [*run_ort(before, feeds).values()]
    )


@SUITE.case("add_prefix_attribute_subgraph")
def test_bodies_follow_a_prefix():
    before = parse(
        """g (bool c, float[N, 1] X, float[N, 1] Y, float[N, 1] Z) => (float[N, 1] Out) {
        XY = Mul(X, Y)
        Out = If(c) <then_branch = t () => (float[N, 1] a) { a = Add(XY, Z) }, else_branch = e () => (float[N, 1] b) { b = Sub(XY, Z) }>
        }"""
    )
    after = gk.rename(before, prefix="p.")
    branches = {a.name: a.g for a in after.nodes[1].attribute}
    assert list(branches["then_branch"].node[0].input) == ["p.XY", "Z"]
    assert branches["else_branch"].output[0].name == "p.b"
    assert_runs_the_same(after, before)


@SUITE.case("expand_out_dim")
@pytest.mark.parametrize("axis", [0, 2, -1, -3])
def test_outputs_get_another_axis_and_keep_their_names(axis):
    before = parse(
        "g (float[N, M] A0, float[N, M] A1) => (float[N, M] B0, float[N, M] B1) { B0 = Add(A0, A1) B1 = Sub(A0, A1) }"
    )
    body = f"f (x) => (y) {{ axis = Constant<value = int64[1] {{{axis}}}>() y = Unsqueeze(x, axis) }}"
    after = gk.insert(before, at=["B0", "B1"], function=f'<domain: "own", opset_import: ["" : 18]> {body}')
    feeds = feeds_of(before)
    expected = {name: np.expand_dims(value, axis) for name, value in run_ort(before, feeds).items()}
    assert_same(run_ort(after, feeds), expected)
    assert [len(v.type.tensor_type.shape.dim) for v in after.outputs] == [3, 3]


OVERLAPS = {
    "overlapping_input_names": ("i0", "o0", "w0"),
    "overlapping_output_names": ("i1", "o", "w1"),
    "overlapping_initializer_names": ("i1", "o1", "w"),
    "overlapping_value_info_names": ("i1", "o1", "w1"),
}


@SUITE.case(" ".join([*OVERLAPS, "overlapping_sparse_initializer_names"]))
@pytest.mark.parametrize("name", ["i", "o", "w", "h", "s"])
def test_names_that_two_models_share_are_told_apart(name):
    """Of an input, an output, an initializer, an inner value with its type, a sparse initializer."""
    text = "g (float[3] i) => (float[3] o) <float[3] w = {1, 2, 3}, float[3] h> { h = Add(i, w) o = Mul(h, s) }"
    models = {"m1": parse(text), "m2": parse(text)}
    for factor, model in enumerate(models.values()):
        model.graph.sparse_initializer.append(sparse("s", [1.7 + factor, 0.4]))
    other = {"i": "i2", "o": "o2", "w": "w2", "h": "h2", "s": "s2"}
    models["m2"] = gk.rename(models["m2"], values={k: v for k, v in other.items() if k != name}).materialize()
    merged = gk.merge(models)
    x = np.float32([1, -1, 2])
    got = run_ort(merged, dict.fromkeys(names(merged.inputs), x))
    expected = [run_ort(m, {m.graph.input[0].name: x})[m.graph.output[0].name] for m in models.values()]
    assert_same([*got.values()], expected)


def sparse(name, values):
    return onnx.helper.make_sparse_tensor(
        onnx.numpy_helper.from_array(np.float32(values), name),
        onnx.numpy_helper.from_array(np.int64([0, 2]), f"{name}_at"),
        [3],
    )


CALLS = "g (float[N] x0, float[N] x1) => (float[N] y) { y = local.NAME(x0, x1) }"
F1 = '<domain: "local", opset_import: ["" : 13]> f1 (a, b) => (c) { c = OP(a, b) }'
F2 = '<domain: "local", opset_import: ["" : 13, "local" : 1]> f2 (a, b) => (c) { d = local.f1(a, b) e = Mul(a, b) c = Add(d, e) }'


def caller(name, *functions):
    return parse(CALLS.replace("NAME", name), opset=13, imports='"local" : 1', functions=" ".join(functions))


@SUITE.case("overlapping_function_names")
@pytest.mark.parametrize("second", [caller("f1", F1.replace("OP", "Mul")), caller("f2", F1.replace("OP", "Sub"), F2)])
def test_functions_of_one_name_and_two_bodies_are_told_apart(second):
    first = caller("f1", F1.replace("OP", "Add"))
    merged = gk.merge({"m1": first, "m2": second}, connect={"m1:y": ["m2:x0", "m2:x1"]})
    feeds = {"x0": np.float32([1, 2]), "x1": np.float32([3, 5])}
    middle = run_ort(first, feeds)["y"]
    expected = run_ort(second, {"x0": middle, "x1": middle})["y"]
    assert_same([*run_ort(merged, feeds).values()], [expected])
    assert len(merged.proto.functions) == 1 + len(second.functions)


@SUITE.case("merge_drop_unnecessary_initializers_and_value_info")
@pytest.mark.parametrize("kind", ["initializer", "sparse", "value_info"])
def test_the_default_of_an_input_that_is_fed_now_goes(kind):
    first = parse("g (float[3] x) => (float[3] y) { y = Neg(x) }")
    second = parse("g (float[3] x) => (float[3] z) { z = Exp(x) }")
    if kind == "initializer":
        second.graph.initializer.append(onnx.numpy_helper.from_array(np.float32([0, 0, 0]), "x"))
    elif kind == "sparse":
        second.graph.sparse_initializer.append(sparse("x", [1, 2]))
    else:
        second.graph.value_info.append(second.graph.input[0])
    merged = gk.merge({"m1": first, "m2": second}, connect=["m1:y=m2:x"])
    graph = merged.proto.graph
    assert not graph.initializer
    assert not graph.sparse_initializer
    assert not [v for v in graph.value_info if v.name != "y"]
    x = np.float32([1, 2, 3])
    assert_same(run_ort(merged, {"x": x}), {"z": np.exp(-x)})
