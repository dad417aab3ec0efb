"""merge: the merged model equals the models run one after the other, and nothing of any of them is lost."""

from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import graphkit as gk
from graphkit.verify.laws import round as laws
from graphkit.verify.laws.round import SAMPLES
from onnx_text import parse
from oracle import assert_same, run_ort

A = """<ir_version: 8, opset_import: ["" : 17]> first (float[n, 2] x) => (float[n, 2] y, float[n, 2] extra)
<float[2] k = {1, 2}> { [add] h = Add(x, k) [neg] y = Neg(h) extra = Abs(h) }"""

B = """<ir_version: 9, opset_import: ["" : 18]> second (float[m, 2] x, float[n] t) => (float[m, 2] y, float[n] u)
<float[2] k = {3, 4}> { [add] h = Mul(x, k) y = Exp(h) u = Neg(t) }"""


def run(model, feeds):
    data = (model if isinstance(model, onnx.ModelProto) else model.materialize()).SerializeToString()
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


X = np.float32([[1, 2], [3, 4]])
T = np.float32([5, 6, 7])


def test_an_output_feeds_an_input_and_leaves_the_interface():
    merged = gk.merge({"A": parse(A), "B": parse(B)}, connect={"A:y": "B:x"})
    assert [v.name for v in merged.inputs] == ["x", "t"]
    assert [v.name for v in merged.outputs] == ["extra", "B/y", "u"]
    got = run(merged, {"x": X, "t": T})
    first = run(parse(A), {"x": X})
    second = run(parse(B), {"x": first["y"], "t": T})
    np.testing.assert_array_equal(got["extra"], first["extra"])
    np.testing.assert_array_equal(got["B/y"], second["y"])
    np.testing.assert_array_equal(got["u"], second["u"])
    notes = merged.history[-1].notes
    assert "A was raised to opset 18" in notes
    assert "'y' of B is called 'B/y'" in notes


def test_symbols_of_connected_values_are_one_and_others_are_two():
    merged = gk.merge({"A": parse(A), "B": parse(B)}, connect={"A:y": "B:x"})
    dims = {
        v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*merged.inputs, *merged.outputs)
    }
    assert dims == {"x": ["n", 2], "t": ["B_n"], "extra": ["n", 2], "B/y": ["n", 2], "u": ["B_n"]}


def test_models_side_by_side_share_nothing():
    merged = gk.merge({"A": parse(A), "B": parse(B)})
    assert [v.name for v in merged.inputs] == ["x", "B/x", "t"]
    got = run(merged, {"x": X, "B/x": X[:1], "t": T})
    np.testing.assert_array_equal(got["y"], run(parse(A), {"x": X})["y"])
    np.testing.assert_array_equal(got["B/y"], run(parse(B), {"x": X[:1], "t": T})["y"])


def test_an_input_can_be_shared():
    merged = gk.merge({"A": parse(A), "B": parse(B)}, connect={"A:x": "B:x"})
    assert [v.name for v in merged.inputs] == ["x", "t"]
    got = run(merged, {"x": X, "t": T})
    np.testing.assert_array_equal(got["B/y"], run(parse(B), {"x": X, "t": T})["y"])
    np.testing.assert_array_equal(got["y"], run(parse(A), {"x": X})["y"])


def test_one_output_feeds_several_inputs_and_a_chain_of_three():
    merged = gk.merge({"A": parse(A), "B": parse(B), "C": parse(A)}, connect={"A:y": ["B:x", "C:x"]})
    got = run(merged, {"x": X, "t": T})
    y = run(parse(A), {"x": X})["y"]
    np.testing.assert_array_equal(got["B/y"], run(parse(B), {"x": y, "t": T})["y"])
    np.testing.assert_array_equal(got["C/y"], run(parse(A), {"x": y})["y"])
    chained = gk.merge({"C": parse(A), "B": parse(A), "A": parse(A)}, connect=["A:y=B:x", "B:y=C:x"])  # last one first
    want = X
    for _ in range(3):
        want = run(parse(A), {"x": want})["y"]
    np.testing.assert_array_equal(run(chained, {"x": X})["y"], want)


def test_models_that_feed_each_other_both_ways():
    two = '<ir_version: 8, opset_import: ["" : 17]> g (float[2] a, float[2] b) => (float[2] c, float[2] d) {{ c = {}(a) d = {}(b) }}'
    merged = gk.merge({"A": parse(two.format("Neg", "Exp")), "B": parse(two.format("Abs", "Sqrt"))},
                      connect={"A:c": "B:a", "B:c": "A:b"})  # fmt: skip
    got = run(merged, {"a": X[0], "b": X[1]})
    np.testing.assert_allclose(got["d"], np.exp(np.abs(-X[0])), rtol=1e-6)
    one = '<ir_version: 8, opset_import: ["" : 17]> g (float[2] a) => (float[2] c) { c = Neg(a) }'
    with pytest.raises(gk.EditError, match="cycle"):
        gk.merge({"A": parse(one), "B": parse(one)}, connect={"A:c": "B:a", "B:c": "A:a"})


BODY = """<ir_version: 8, opset_import: ["" : 17, "f" : 1]> g (float[2] x, bool flag) => (float[2] y) <float[2] w = {1, 1}> {
  h = f.twice(x)
  [choose] y = If(flag) <then_branch = t () => (float[2] p) { q = Add(h, w) p = Neg(q) }, else_branch = e () => (float[2] r) { r = Sub(h, w) }>
} <domain: "f", opset_import: ["" : 17]> twice (a) => (b) { b = OP(a, a) }"""


def test_bodies_captures_and_functions_of_one_name_keep_apart():
    first, second = BODY.replace("OP", "Add"), BODY.replace("OP", "Mul")
    merged = gk.merge({"A": parse(first), "B": parse(second)}, connect={"A:y": "B:x"})
    assert sorted(f.name for f in merged.proto.functions) == ["B_twice", "twice"]
    for flags in ((True, False), (False, True)):
        fed = {"x": X[0], "flag": np.array(flags[0]), "B/flag": np.array(flags[1])}
        middle = run(parse(first), {"x": X[0], "flag": fed["flag"]})["y"]
        want = run(parse(second), {"x": middle, "flag": fed["B/flag"]})["y"]
        np.testing.assert_array_equal(
            run(merged, fed)["B/y"] if "B/y" in run(merged, fed) else run(merged, fed)["y"], want
        )
    same = gk.merge({"A": parse(first), "B": parse(first)})
    assert [f.name for f in same.proto.functions] == ["twice"]


def test_weights_of_two_files_of_one_name_keep_apart(tmp_path):
    rng, want = np.random.default_rng(0), np.ones((1, 64), np.float32)
    paths = []
    for folder in ("one", "two"):
        weight = rng.standard_normal((64, 64), dtype=np.float32)
        info = onnx.helper.make_tensor_value_info
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [info("x", 1, [1, 64])], [info("y", 1, [1, 64])],
            [onnx.numpy_helper.from_array(weight, "w")],
        )  # fmt: skip
        (tmp_path / folder).mkdir()
        paths.append(str(tmp_path / folder / "model.onnx"))
        model = onnx.helper.make_model(graph, ir_version=9, opset_imports=[onnx.helper.make_opsetid("", 18)])
        onnx.save(model, paths[-1], save_as_external_data=folder == "two", location="model.data", size_threshold=0)
        want = want @ weight
    merged = gk.merge(dict(zip("AB", paths, strict=True)), connect={"A:y": "B:x"})
    merged.save(tmp_path / "merged.onnx")
    got = run(gk.load(tmp_path / "merged.onnx"), {"x": np.ones((1, 64), np.float32)})
    np.testing.assert_allclose(next(iter(got.values())), want, rtol=1e-4)


def test_metadata_of_all_models_is_kept():
    one, two = parse(A), parse(B)
    for model, value in ((one, "1"), (two, "2")):
        model.metadata_props.add(key="version", value=value)
        model.metadata_props.add(key="licence", value="MIT")
        model.doc_string = f"model {value}"
        model.graph.node[0].metadata_props.add(key="module", value=value)
    merged = gk.merge({"A": one, "B": two}, connect={"A:y": "B:x"}).proto
    held = {entry.key: entry.value for entry in merged.metadata_props}
    assert held == {"version": "1", "licence": "MIT", "B/version": "2"}
    assert merged.doc_string == "model 1\nmodel 2"
    assert [n.metadata_props[0].value for n in merged.graph.node if n.metadata_props] == ["1", "2"]


def test_a_default_of_an_input_that_is_fed_goes():
    other = B.replace("float[n] t)", "float[n] t, float[2] k)")
    merged = gk.merge({"A": parse('<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) { y = Neg(x) }'),
                       "B": parse(other)}, connect={"A:y": "B:k"})  # fmt: skip
    fed = {"x": X[0], "B/x": X, "t": T}
    np.testing.assert_allclose(run(merged, fed)["B/y"], np.exp(X * -X[0]), rtol=1e-6)


def test_all_names_get_a_prefix_where_that_is_asked_for():
    merged = gk.merge({"A": parse(A), "B": parse(B)}, connect={"A:y": "B:x"}, prefix=True)
    assert [n.name for n in merged.nodes if n.name] == ["A/add", "A/neg", "B/add"]
    assert {t.name for t in merged.proto.graph.initializer} == {"A/k", "B/k"}
    assert [v.name for v in merged.inputs] == ["x", "t"]


WRONG = [
    ({"A:z": "B:x"}, gk.NameNotFoundError, "output or input named 'A:z'"),
    ({"A:y": "B:z"}, gk.NameNotFoundError, "input named 'B:z'"),
    ({"C:y": "B:x"}, gk.EditError, "no model is called 'C': they are 'A', 'B'"),
    ({"A:y": "B:t"}, gk.EditError, r"float32\[n,2\] and 'B:t' wants float32\[n\]"),
    ({"A:y": "B:x", "A:extra": "B:x"}, gk.EditError, "fed twice"),
    ({"A:x": "A:x"}, gk.EditError, "itself"),
    (["A:y"], gk.TextError, "A:OUTPUT=B:INPUT"),
]


@pytest.mark.parametrize(("connect", "error", "text"), WRONG, ids=lambda v: str(v)[:30])
def test_what_does_not_fit_is_refused_with_names(connect, error, text):
    with pytest.raises(error, match=text):
        gk.merge({"A": parse(A), "B": parse(B)}, connect=connect)


def test_models_need_names_and_company(tmp_path):
    onnx.save(parse(A), tmp_path / "m.onnx")
    with pytest.raises(ValueError, match="at least two"):
        gk.merge([tmp_path / "m.onnx"])
    with pytest.raises(ValueError, match="no name"):
        gk.merge([parse(A), parse(B)])
    with pytest.raises(gk.NameTakenError, match=r"two models are called 'm\.onnx'"):
        gk.merge([tmp_path / "m.onnx", tmp_path / "m.onnx"])


def test_a_merge_is_proved_against_its_models_and_a_wrong_one_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(laws, "time", SimpleNamespace(monotonic=lambda: 0.0))  # there is time for all feeds
    onnx.save(parse(A), tmp_path / "a.onnx")
    onnx.save(parse(B), tmp_path / "b.onnx")
    merged = gk.merge([tmp_path / "a.onnx", tmp_path / "b.onnx"], connect=["a:y=b:x"])
    merged.save(tmp_path / "whole.onnx")
    proof = gk.prove(tmp_path / "whole.onnx")
    assert proof
    other = 2  # one feed each at two other sizes of the batch
    assert len(proof.laws[0].sizes) == 1 + other
    assert proof.laws[0].runs == 4 * SAMPLES + other  # four times as many feeds where inputs are small
    assert gk.prove(tmp_path / "whole.onnx", samples=3).laws[0].runs == 3 + other
    assert gk.prove(gk.merge({"A": parse(A), "B": parse(B)}, connect={"A:x": "B:x"}), {"A": parse(A), "B": parse(B)})
    wrong = gk.load(tmp_path / "whole.onnx")
    wrong.proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.float32([1, 2.01]), "k"))
    proof = gk.prove(wrong, {"a": tmp_path / "a.onnx", "b": tmp_path / "b.onnx"})
    assert not proof
    assert proof.verdict == "broken"
    with pytest.raises(gk.GraphkitError, match="another model"):
        gk.prove(merged, {"a": tmp_path / "b.onnx", "b": tmp_path / "a.onnx"})


CALLING = """<ir_version: 10, opset_import: ["" : 18, "f" : 1]> g (float[2] x) => (float[2] y) {{ y = f.Outer(x) }}
<domain: "f", opset_import: ["" : 18, "f" : 1]> Outer (a) => (b) {{ b = f.Inner(a) }}
<domain: "f", opset_import: ["" : 18]> Inner (a) => (b) {{ b = {op}(a) }}"""


def test_a_function_that_calls_another_definition_is_another_function_though_it_reads_the_same():
    """Found in review: ``Outer`` is the same text in both, and calls what its own model calls ``Inner``."""
    models = {name: onnx.parser.parse_model(CALLING.format(op=op)) for name, op in (("A", "Neg"), ("B", "Exp"))}
    merged = gk.merge(models, connect={"A:x": "B:x"})
    got = gk.run(merged, {"x": np.float32([1, 2])})
    np.testing.assert_allclose(got["y"], [-1, -2])
    np.testing.assert_allclose(got["B/y"], np.exp([1, 2]), rtol=1e-6)
    assert gk.prove(merged, models)


@pytest.mark.parametrize("first", [True, False])
def test_a_function_of_one_model_does_not_replace_an_operator_of_another(first):
    operator = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]> g (float[2] x) => (float[2] y) { y = com.microsoft.QuickGelu(x) }"""
    )
    function = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]> g (float[2] x) => (float[2] z) { z = com.microsoft.QuickGelu(x) }
        <domain: "com.microsoft", opset_import: ["" : 18]> QuickGelu (a) => (b) { b = Neg(a) }"""
    )
    models = {"A": operator, "B": function} if first else {"B": function, "A": operator}
    source, target = list(models)
    merged = gk.merge(models, connect={f"{source}:x": f"{target}:x"})
    feeds = {"x": np.float32([1, 2])}
    got = gk.run(merged, feeds)
    np.testing.assert_array_equal(got["z"], [-1, -2])
    np.testing.assert_array_equal(got["y"], gk.run(operator, feeds)["y"])


def test_names_of_nodes_stay_apart_though_one_is_called_what_another_would_be():
    one = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18]> g (float[2] x) => (float[2] y) { ["n"] h = Neg(x) ["B/n"] y = Abs(h) }"""
    )
    merged = gk.merge({"A": one, "B": one}, connect={"A:y": "B:x"})
    names = [node.name for node in merged.nodes]
    assert len(set(names)) == 4, names
    assert gk.prove(merged, {"A": one, "B": one})


def test_the_sparse_default_of_an_input_that_is_fed_now_goes():
    one = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18]> g (float[3] x, float[3] k) => (float[3] y) { y = Add(x, k) }"""
    )
    values = onnx.numpy_helper.from_array(np.float32([1]), "k")
    one.graph.sparse_initializer.append(
        onnx.helper.make_sparse_tensor(values, onnx.numpy_helper.from_array(np.array([1])), [3])
    )
    other = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18]> g (float[3] z) => (float[3] made) { made = Neg(z) }"""
    )
    merged = gk.merge({"A": other, "B": one}, connect={"A:made": "B:k"})
    got = gk.run(merged, {"x": np.float32([1, 2, 3]), "z": np.float32([1, 1, 1])})
    np.testing.assert_array_equal(got["y"], [0, 1, 2])


@pytest.mark.parametrize("source", ["A:y", "A:x"])
def test_an_input_that_is_an_output_too_stays_an_output_when_it_is_fed(source):
    """Found by random models, seed 1058 and 1059: the output took the name of the value that fed it."""
    one = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18]> g (float[2] x) => (float[2] x, float[2] y) { y = Neg(x) }"""
    )
    merged = gk.merge({"A": one, "B": one}, connect={source: "B:x"})
    got = gk.run(merged, {merged.inputs[0].name: np.float32([1, 2])})
    if source == "A:y":
        assert list(got) == ["x", "B/x", "B/y"]
        np.testing.assert_array_equal(got["B/x"], [-1, -2])
        np.testing.assert_array_equal(got["B/y"], [1, 2])
    else:
        assert set(got) == {"y", "B/x", "B/y"}
        np.testing.assert_array_equal(got["B/x"], [1, 2])
    assert gk.prove(merged, {"A": one, "B": one})


def _calling(op):
    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 18, "my" : 1]> g (float[2] x) => (float[2] y) { y = my.F(x) } '
        f'<domain: "my", opset_import: ["" : 18]> F (a) => (b) {{ c = {op}(a)  b = Neg(c) }}'
    )
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("my::F/c", onnx.TensorProto.FLOAT, [2]))
    return model


@pytest.mark.parametrize(("other", "declared"), [("Abs", ["my::B_F/c", "my::F/c"]), ("Relu", ["my::F/c"])])
def test_declared_values_of_functions_follow_the_name_that_their_function_gets(other, declared):
    merged = gk.merge({"A": _calling("Relu"), "B": _calling(other)}, connect={"A:y": "B:x"})
    assert sorted(info.name for info in merged.proto.graph.value_info if "::" in info.name) == declared
    assert gk.check(merged)


def test_sizes_that_meet_behind_an_open_dim_and_do_not_fit_are_refused():
    one = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 17]> a (float[n,4] x) => (float[n,c] y) { y = Relu(x) }'
    )
    text = '<ir_version: 9, opset_import: ["" : 17]> b (float[n,K] u) => (float[n,2] v) <float[K2,2] w = {}> { v = MatMul(u, w) }'
    fits, other = (
        onnx.parser.parse_model(text.replace("K2", str(size)).replace("{}", "{" + ",".join("1" * (2 * size)) + "}"))
        for size in (4, 5)
    )
    assert gk.run(gk.merge({"a": one, "b": fits}, connect={"a:y": "b:u"}), np.ones((3, 4), np.float32))["v"].shape == (
        3,
        2,
    )
    with pytest.raises(gk.EditError, match=r"connecting a:y with b:u leaves types that do not fit together.*MatMul"):
        gk.merge({"a": one, "b": other}, connect={"a:y": "b:u"})


@pytest.mark.parametrize("count", [3, 5])
@pytest.mark.parametrize("prefix", [False, True])
def test_models_of_one_interface_in_a_chain_have_the_first_ones_input_and_the_last_ones_output(count, prefix):
    models = {
        f"m{k}": onnx.parser.parse_model(
            f'<ir_version: 8, opset_import: ["": 18]> g (float[2] x) => (float[2] y, float[2] aside) <float[2] w = {{{k}, {k + 1}}}> '
            "{ t = Add(x, w) y = Mul(t, w) aside = Neg(t) }"
        )
        for k in range(1, count + 1)
    }
    merged = gk.merge(models, connect={f"m{k}:y": f"m{k + 1}:x" for k in range(1, count)}, prefix=prefix)
    assert [value.name for value in merged.inputs] == ["x"]
    names = [value.name for value in merged.outputs]
    assert names == ["aside", *(f"m{k}/aside" for k in range(2, count)), f"m{count}/y", f"m{count}/aside"]
    value = np.array([0.5, -1], np.float32)
    said = run_ort(merged, {"x": value})
    for model in models.values():
        answer = run_ort(model, {"x": value})
        value = answer["y"]
    assert_same({"y": said[f"m{count}/y"], "aside": said[f"m{count}/aside"]}, answer)
    assert gk.prove(merged, models)
