"""What a conversion wrote is held to the schemas and loaded, kind by kind."""

import numpy as np
import onnx
import pytest

import graphkit as gk
import onnx_text
from backend_cases import node_cases
from graphkit.runtime import written
from graphkit.runtime.written import check_written, unfit


def model_of(nodes, opset, inputs="float[2,2] x", more=""):
    return onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": {opset}{more}]> g ({inputs}) => (float[?,?] y) {{ {nodes} }}'
    )


UNFIT = {
    "an attribute that came later": (
        '[n] y = ScatterElements<reduction="max">(x, i, x)',
        16,
        "schema",
        "reduction='max' came with opset 18",
    ),
    "an operator that came later": ("[n] y = Gelu(x)", 19, "schema", "opset 19 has no operator Gelu"),
    "an attribute that is gone": ('[n] y = Pad<mode="edge", value=2.0>(x, p)', 13, "schema", "no attribute 'value'"),
    "a value that is gone": ('[n] y = GridSample<mode="bilinear">(x, x)', 20, "schema", "gone since opset 20"),
    "a value that nobody has": ('[n] y = Pad<mode="mirror">(x, p)', 20, "schema", "none that ONNX has"),
    "a value for some types only": ("[n] y = Mod(x, x)", 13, "schema", "fmod=0 on floats came with opset 28"),
    "a deprecated operator": ("[n] y = Scatter(x, i, x)", 13, "schema", "deprecated"),
    "a type that is not allowed": ("i64 = Cast<to=7>(x) [n] z = Sqrt(i64) y = Cast<to=1>(z)", 13, "schema", "int64"),
    "two types of one variable": ("d = Cast<to=11>(x) [n] z = Add(x, d) y = Cast<to=1>(z)", 13, "schema", "one type"),
    "too few inputs": ("[n] y = Add(x)", 13, "schema", "1 input"),
    "no kernel": ("d = Cast<to=11>(x) [n] z = Erf(d) y = Cast<to=1>(z)", 13, "kernel", "ONNX Runtime"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_each_rule_names_the_node(case):
    nodes, opset, rule, why = UNFIT[case]
    model = model_of(nodes, opset, "float[2,2] x, int64[2,2] i, int64[4] p")
    found = unfit(model)
    assert [(one.name, one.rule) for one in found][:1] == [("n", rule)]
    assert why in found[0].why
    source = model_of("y = Relu(x)", opset)
    with pytest.raises(gk.EditError, match="'n' cannot be written so"):
        check_written(source, model)


def test_what_the_source_breaks_already_is_no_fault_of_the_conversion():
    model = model_of("[n] y = Gelu(x)", 19)
    assert check_written(model, model) == []


def test_onnx_own_cases_are_not_refused():
    for case in node_cases()[::7]:
        if case.model.opset_import[0].version <= 20:
            assert [one for one in unfit(case.model) if one.rule == "schema"] == []


def test_a_thousand_nodes_of_one_kind_are_loaded_once(monkeypatch):
    loaded = []
    assert written._knows(18)  # asked once a process, with a model of its own
    monkeypatch.setattr(written, "_ANSWERS", {})
    monkeypatch.setattr(written, "_answer", loaded.append)
    body = " ".join(f"v{i + 1} = Add(v{i}, x)" for i in range(1000))
    model = model_of(f"v0 = Relu(x) {body} y = Neg(v1000)", 18)
    assert unfit(model) == []
    assert len(loaded) == 3


def test_names_dims_and_weights_make_no_new_kind():
    model = model_of("a = Mul(x, w) b = Mul(a, v) y = Relu(b)", 18)
    for name in ("w", "v"):
        array = np.full((2, 2), len(name) + ord(name), np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    scope = next(written.scopes(written.inferred(model).graph))
    first, second = (written._alone(node, scope, {"": 18}) for node in model.graph.node[:2])
    assert first == second


def test_the_nodes_of_bodies_and_functions_are_looked_at():
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 16, "my": 1]> g (bool t, float[2] x) => (float[2] y) {
             y = If(t) <then_branch = th () => (float[2] p) { [inner] p = Gelu(x) },
                        else_branch = el () => (float[2] q) { q = my.F(x) }> }
           <domain: "my", opset_import: ["": 16]> F (a) => (b) { [deep] b = Mish(a) }"""
    )
    assert [(one.name, one.rule) for one in unfit(model)] == [("inner", "schema"), ("deep", "schema")]


def test_a_source_whose_opset_the_runtime_does_not_know_says_nothing_about_implementations(monkeypatch):
    model = model_of("d = Cast<to=11>(x) [n] z = Erf(d) y = Cast<to=1>(z)", 13)
    source = model_of("y = Relu(x)", 12)
    with pytest.raises(gk.EditError, match="'n' cannot be written so"):
        check_written(source, model)
    knows = written._knows
    monkeypatch.setattr(written, "_knows", lambda opset: opset != 12 and knows(opset))
    assert check_written(source, model) == ["this ONNX Runtime has no implementation of Erf 'n'"]


def test_scales_below_one_are_no_upsample_and_others_are():
    text = '[n] y = Upsample<mode = "nearest">(x, s)'
    model = model_of(text, 9)
    for scale, bad in ((2, False), (0.5, True)):
        del model.graph.initializer[:]
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32([scale, scale]), "s"))
        assert bool(unfit(model)) == bad


def test_nodes_that_were_there_word_by_word_are_not_looked_at_again(monkeypatch):
    source = onnx_text.parse("g (float[2,3] x) => (float[2,3] y) { a = Relu(x) y = Neg(a) }", 17)
    monkeypatch.setattr("graphkit.runtime.written.unfit", lambda *_: pytest.fail("nothing was written"))
    assert check_written(source, source, new_only=True) == []


@pytest.mark.parametrize("operator", ["Cast<to=99>(x)", "Transpose<perm=[0,5]>(x)", "Relu<axis=1>(x)"])
def test_a_node_that_was_written_is_looked_at_beside_others_that_stayed(operator):
    source = onnx_text.parse("g (float[2,3] x) => (float[2,3] y) { a = Relu(x) y = Neg(a) }", 17)
    wrong = onnx_text.parse(f"g (float[2,3] x) => (float[a,b] y) {{ a = Relu(x) y = {operator} }}", 17)
    with pytest.raises(gk.EditError, match="cannot be written so"):
        check_written(source, wrong, new_only=True)
