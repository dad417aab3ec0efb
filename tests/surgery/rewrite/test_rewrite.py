"""Rules: what matches, what does not and why, what is refused, what is kept."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx.reference import ReferenceEvaluator

import graphkit as gk

SILU = """# x * Sigmoid(x) is Swish.
pattern (x) => (y) { s = Sigmoid(x)  y = Mul(x, s) }
replacement (x) => (y) { y = Swish(x) }
"""


def model(body, opset=24, more=""):
    return onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}{more}]> g {body}')


def notes(edited):
    return " ".join(edited.history[-1].notes)


def operators(edited):
    return [node.op_type for node in edited.proto.graph.node]


def run(proto, **feeds):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {name: np.asarray(value, np.float32) for name, value in feeds.items()})


PLAIN = "(float[2] x) => (float[2] y) { [sig] s = Sigmoid(x) [mul] y = Mul(s, x) }"


def test_the_output_keeps_its_name_and_the_node_its_name_doc_and_metadata():
    proto = model(PLAIN)
    proto.graph.node[1].doc_string = "here"
    proto.graph.node[1].metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'act']")
    node = gk.rewrite(proto, SILU).proto.graph.node[0]
    assert (node.name, node.op_type, list(node.output), node.doc_string) == ("mul", "Swish", ["y"], "here")
    assert node.metadata_props[0].value == "['', 'act']"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("(float[2] x) => (float[2] y) { s = Relu(x) y = Mul(s, x) }", "the model has no Sigmoid"),
        ("(float[2] x) => (float[2] y, float[2] s) { s = Sigmoid(x) y = Mul(s, x) }", "'s', which would go, is read outside"),
        (
            "(float[2] x) => (float[2] y, float[2] z) { s = Sigmoid(x) y = Mul(s, x) [other] z = Neg(s) }",
            "'s', which would go, is also read by Neg 'other'",
        ),
        ("(float[2] x, float[2] z) => (float[2] y) { s = Sigmoid(x) [mul] y = Mul(s, z) }", "Mul 'mul': its 'x' is"),
    ],
)  # fmt: skip
def test_a_rule_that_does_not_match_says_where_it_came_nearest_and_why(body, why):
    edited = gk.rewrite(model(body), SILU)
    assert why in notes(edited)
    assert edited.proto.graph == model(body).graph


def test_an_operator_that_the_opset_does_not_have_is_named_with_its_version():
    assert "opset 18 has no Swish, which came with opset 24" in notes(gk.rewrite(model(PLAIN, 18), SILU))


@pytest.mark.parametrize(
    ("written", "close"), [("SimplifiedLayerNormalization", "LayerNormalization"), ("Softmaxx", "Softmax")]
)
def test_an_operator_that_no_version_of_onnx_has_is_refused_and_one_of_another_domain_is_written(written, close):
    rule = f"pattern (x) => (y) {{ s = Sigmoid(x)  y = Mul(x, s) }}\nreplacement (x) => (y) {{ y = {written}(x) }}"
    with pytest.raises(gk.EditError, match=f"ONNX has no operator '{written}'") as caught:
        gk.rewrite(model(PLAIN), rule)
    assert f"did you mean {close}? " in caught.value.hint
    assert f"com.microsoft.{written}" in caught.value.hint
    edited = gk.rewrite(model(PLAIN), rule.replace(written, "com.microsoft.QuickGelu<alpha = 1.0>"))
    assert [(node.domain, node.op_type) for node in edited.proto.graph.node] == [("com.microsoft", "QuickGelu")]
    assert gk.validate(edited, against=model(PLAIN), samples=1)


def test_an_attribute_that_the_pattern_leaves_out_has_to_have_its_default():
    rule = "pattern (x) => (y) { y = LeakyRelu(x) }\nreplacement (x) => (y) { y = Relu(x) }"
    for alpha, expected in (("", "Relu"), ("<alpha = 0.01>", "Relu"), ("<alpha = 0.5>", "LeakyRelu")):
        edited = gk.rewrite(model(f"(float[2] x) => (float[2] y) {{ y = LeakyRelu{alpha}(x) }}"), rule)
        assert operators(edited) == [expected]


def test_attributes_are_bound_and_computed():
    rule = """pattern <alpha> (x) => (y) { y = LeakyRelu<alpha: float = @alpha>(x) }
where alpha > 0.1
let half = alpha / 2
replacement (x) => (y) { y = LeakyRelu<alpha: float = @half>(x) }
"""
    edited = gk.rewrite(model("(float[2] x) => (float[2] y) { y = LeakyRelu<alpha = 0.5>(x) }"), rule)
    assert edited.proto.graph.node[0].attribute[0].f == 0.0625  # as long as the rule matches


def test_a_label_carries_a_node_over_with_its_attributes():
    rule = """pattern (x, w) => (y) { [conv] c = Conv(x, w) y = Relu(c) }
replacement (x, w) => (y) { n = Neg(x) [conv] y = Conv(n, w) }
"""
    body = """(float[1,1,4,4] x) => (float[1,1,4,4] y) <float[1,1,3,3] w = {1,2,3,4,5,6,7,8,9}> {
      [c1] c = Conv<pads = [1,1,1,1]>(x, w) y = Relu(c) }"""
    conv = gk.rewrite(model(body), rule).proto.graph.node[1]
    assert conv.name == "c1"
    assert list(conv.attribute[0].ints) == [1, 1, 1, 1]


def test_a_value_with_other_readers_may_be_shared_where_the_rule_says_so():
    rule = SILU.replace("replacement", "shared s\nreplacement")
    body = "(float[2] x) => (float[2] y, float[2] z) { s = Sigmoid(x) y = Mul(s, x) z = Neg(s) }"
    edited = gk.rewrite(model(body), rule)
    assert sorted(operators(edited)) == ["Neg", "Sigmoid", "Swish"]
    for old, new in zip(run(model(body), x=[1, 2]), run(edited.proto, x=[1, 2]), strict=True):
        np.testing.assert_allclose(old, new, rtol=1e-6)


def test_several_outputs_are_matched_together():
    rule = """pattern (x) => (a, b) { a = Sin(x) b = Cos(x) }
replacement (x) => (a, b) { b = Cos(x) t = Tan(x) a = Mul(b, t) }
"""
    body = "(float[2] x) => (float[2] y, float[2] z) { y = Sin(x) t = Relu(y) z = Cos(x) }"
    edited = gk.rewrite(model(body), rule)
    assert sorted(operators(edited)) == ["Cos", "Mul", "Relu", "Tan"]
    np.testing.assert_allclose(run(edited.proto, x=[1, 2]), [np.sin([1, 2]), np.cos([1, 2])], rtol=1e-6)


def test_what_a_rule_joins_may_not_depend_on_itself():
    rule = """pattern (x, z) => (a, b) { a = Add(x, z) b = Sub(x, z) }
replacement (x, z) => (a, b) { n = Neg(z) a = Sub(x, n) b = Add(x, n) }
"""
    body = "(float[2] x) => (float[2] y) { a = Add(x, x) r = Relu(a) y = Sub(x, r) }"
    assert operators(gk.rewrite(model(body), rule)) == ["Add", "Relu", "Sub"]


def test_a_rule_that_rewrites_for_ever_is_refused_by_name():
    rule = "rule swap\npattern (x, y) => (z) { z = Add(x, y) }\nreplacement (x, y) => (z) { z = Add(y, x) }"
    with pytest.raises(gk.EditError, match="the rule 'swap' rewrites for ever"):
        gk.rewrite(model("(float[2] x, float[2] z) => (float[2] y) { y = Add(x, z) }"), rule)
    rule = "pattern (x) => (z) { z = Relu(x) }\nreplacement (x) => (z) { a = Relu(x) z = Relu(a) }"
    with pytest.raises(gk.EditError, match="for ever"):
        gk.rewrite(model("(float[2] x) => (float[2] y) { y = Relu(x) }"), rule)


def test_a_chain_is_rewritten_to_its_end():
    body = (
        "(float[2] x) => (float[2] y) {"
        + "".join(f"a{i + 1} = Neg({f'a{i}' if i else 'x'})" for i in range(99))
        + " y = Neg(a99) }"
    )
    rule = "pattern (x) => (y) { a = Neg(x) y = Neg(a) }\nreplacement (x) => (x) { }"
    edited = gk.rewrite(model(body), rule)
    assert operators(edited) == ["Identity"]
    np.testing.assert_array_equal(run(edited.proto, x=[1, 2])[0], [1, 2])


def test_bodies_are_rewritten_and_read_what_is_left():
    body = """(bool c, float[2] x) => (float[2] y) {
      a = Identity(x)
      y = If(c) <then_branch = t () => (float[2] u) { s = Sigmoid(a) u = Mul(a, s) },
                 else_branch = e () => (float[2] v) { v = Neg(a) }>
    }"""
    no_identity = "pattern (x) => (y) { y = Identity(x) }\nreplacement (x) => (x) { }"
    edited = gk.rewrite(model(body), [SILU, no_identity])
    assert operators(edited) == ["If"]
    branches = {a.name: a.g for a in edited.proto.graph.node[0].attribute}
    assert [n.op_type for n in branches["then_branch"].node] == ["Swish"]
    options = ort.SessionOptions()
    options.log_severity_level = 4
    for condition in (True, False):
        feeds = {"c": np.array(condition), "x": np.float32([1, 2])}
        old, new = (
            ort.InferenceSession(p.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(None, feeds)
            for p in (model(body), edited.proto)
        )
        np.testing.assert_allclose(old, new, rtol=1e-6)


def test_conditions_about_types_use_what_inference_finds():
    rule = SILU.replace("replacement", 'where rank(s) == 1 and dtype(s) == "float32"\nreplacement')
    body = "(float[2] x) => (float[2] y) { n = Neg(x) s = Sigmoid(n) y = Mul(s, n) }"
    assert operators(gk.rewrite(model(body), rule)) == ["Neg", "Swish"]
    wrong = rule.replace("rank(s) == 1", "rank(s) == 2")
    assert "does not hold" in notes(gk.rewrite(model(body), wrong))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("pattern (x) => (y) { y = Relu(x) }", "a pattern has no replacement"),
        ("replacement (x) => (y) { y = Relu(x) }", "no pattern before it"),
        ("hello", "begins with none of the keywords"),
        ("pattern (x) => (y) { y = Relu(x }\nreplacement (x) => (x) {}", "is no function in ONNX's text"),
        ("pattern (x) => (y) { y = Relu(x)\nreplacement (x) => (x) {}", "no closing brace"),
        ("pattern (x) => (y) { y = Relu(x) }\nwhere __import__('os')\nreplacement (x) => (x) {}", "calls '__import__'"),
        ("pattern (x) => (y) { y = Relu(x) }\nwhere x.y\nreplacement (x) => (x) {}", "Attribute in it"),
        ("pattern (x) => (y) { y = Relu(x) }\nwhere q == 1\nreplacement (x) => (x) {}", "uses 'q'"),
        ("pattern (x) => (y) { y = Relu(x) }\nreplacement (x) => (z) { z = Neg(q) }", "reads 'q'"),
        ("pattern (x) => (y) { y = Relu(z) }\nreplacement (x) => (x) {}", "reads 'z'"),
        ("pattern (x, z) => (a, b) { a = Relu(x) b = Relu(z) }\nreplacement (x, z) => (x, z) {}", "falls into parts"),
        ("pattern (x) => (y) { y = Relu(x) }\nreplacement (x) => (x, x) {}", "1 values and the replacement 2"),
        ("law close\npattern (x) => (y) { y = Relu(x) }\nreplacement (x) => (x) {}", "close has a bound"),
    ],
)
def test_a_file_that_is_no_rule_says_what_is_wrong(tmp_path, text, why):
    (tmp_path / "mine.txt").write_text(text)
    with pytest.raises(gk.FormatError, match="mine") as raised:
        gk.rewrite(model(PLAIN), tmp_path / "mine.txt")
    assert why in str(raised.value)


def test_names_files_folders_and_parameters(tmp_path):
    with pytest.raises(gk.NameNotFoundError, match="silu"):
        gk.rewrite(model(PLAIN), "sillu")
    with pytest.raises(gk.FormatError, match="no parameter 'level'"):
        gk.rewrite(model(PLAIN), "mask-value:level=3")
    with pytest.raises(gk.ModelFileError, match="holds no rules"):
        gk.rewrite(model(PLAIN), tmp_path)
    with pytest.raises(ValueError, match="name a rule"):
        gk.rewrite(model(PLAIN))
    (tmp_path / "a.txt").write_text(SILU)
    (tmp_path / "b.txt").write_text(
        "parameter slope = 0.5\npattern (x) => (y) { y = Swish(x) }\n"
        "replacement (x) => (y) { y = LeakyRelu<alpha: float = @slope>(x) }"
    )
    edited = gk.rewrite(model(PLAIN), str(tmp_path))
    assert edited.proto.graph.node[0].attribute[0].f == 0.5
    edited = gk.rewrite(model(PLAIN), [tmp_path / "a.txt", f"{tmp_path / 'b.txt'}:slope=0.25"])
    assert edited.proto.graph.node[0].attribute[0].f == 0.25
    for file in ("a.txt", "b.txt"):
        (tmp_path / file).unlink()
    assert gk.replay(edited, model(PLAIN)).proto.graph == edited.proto.graph


def test_a_rule_made_in_python_takes_functions_and_then_it_cannot_be_replayed():
    pattern, replacement = (
        "(x) => (y) { s = Sigmoid(x) y = Mul(x, s) }",
        "(x) => (y) { y = Swish<alpha: float = @a>(x) }",
    )
    seen = []
    rule = gk.rewrite_rule(
        pattern,
        replacement,
        name="mine",
        where=[lambda facts: not seen.append(facts.rank("x"))],
        let={"a": lambda _: 2.0},
    )
    edited = gk.rewrite(model(PLAIN), rule)
    assert seen == [1]
    assert edited.proto.graph.node[0].attribute[0].f == 2.0
    with pytest.raises(gk.GraphkitError, match="cannot be"):
        gk.replay(edited, model(PLAIN))
    plain = gk.rewrite_rule(pattern, "(x) => (y) { y = Swish(x) }", where=["rank(x) == 1"])
    edited = gk.rewrite(model(PLAIN), plain)
    assert gk.replay(edited, model(PLAIN)).proto.graph == edited.proto.graph


def test_weights_are_not_read_where_no_rule_computes_with_them(tmp_path):
    proto = model("(float[2] x) => (float[2] y) { s = Sigmoid(x) m = Mul(s, x) y = Add(m, w) }")
    tensor = proto.graph.initializer.add(name="w", data_type=1, dims=[2], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="gone.bin")
    onnx.save(proto, tmp_path / "m.onnx")
    assert operators(gk.rewrite(tmp_path / "m.onnx", SILU)) == ["Swish", "Add"]


def test_an_operator_that_the_model_defines_itself_is_not_the_rules():
    text = """<ir_version: 10, opset_import: ["" : 20, "com.microsoft" : 1]>
    g (float[2] x) => (float[2] y) { y = com.microsoft.QuickGelu(x) }
    <domain: "com.microsoft", opset_import: ["" : 20]> QuickGelu (a) => (b) { b = Neg(a) }"""
    edited = gk.rewrite(onnx.parser.parse_model(text), "expand-quick-gelu")
    assert "the model defines QuickGelu itself" in notes(edited)


@pytest.mark.parametrize("constant", ["int32 t = {3}", "float[1,1] t = {3}", "float[2] t = {3, 3}"])
def test_a_number_of_a_pattern_is_no_integer_no_vector_and_adds_no_axis(constant):
    kind = "int32[2]" if "int32" in constant else "float[2]"
    shape = kind.replace("[2]", "[1,2]") if "[1,1]" in constant else kind
    rule = """pattern (x) => (y) { three = Constant<value = float {3.0}>() y = Add(x, three) }
replacement (x) => (y) { y = Neg(x) }"""
    proto = model(f"({kind} x) => ({shape} y) <{constant}> {{ y = Add(x, t) }}")
    assert gk.rewrite(proto, rule).proto.graph == proto.graph


def test_a_weight_that_callers_may_override_is_no_constant():
    body = "(float[2] x, float t) => (float[2] y) <float t = {3}> { y = Add(x, t) }"
    rule = """pattern (x) => (y) { three = Constant<value = float {3.0}>() y = Add(x, three) }
replacement (x) => (y) { y = Neg(x) }"""
    assert "'t' is no constant" in notes(gk.rewrite(model(body), rule))


def test_a_target_chooses_the_rules():
    body = "(float[2,6,7] x) => (float[2,4,9] y) <int64[2] s = {4, 9}> { y = CenterCropPad<axes = [1, 2]>(x, s) }"
    edited = gk.rewrite(model(body, 18), target="tensorrt")
    assert "CenterCropPad" not in operators(edited)
    refused = {v.node for v in gk.lint(model(body, 18)).violations if v.severity == "error"}
    assert "y" in refused
    assert "CenterCropPad" not in str([v.message for v in gk.lint(edited).violations])
    assert "nothing to rewrite for tensorrt" in notes(gk.rewrite(model(PLAIN), target="tensorrt"))
    with pytest.raises(ValueError, match="no target"):
        gk.rewrite(model(PLAIN), target="toaster")


LATE = {
    "Attention": "(float[1,2,3,4] x) => (float[1,2,3,4] y) { y = Attention(x, x, x) }",
    "Swish": "(float[2,3] x) => (float[2,3] y) { y = Swish(x) }",
    "Gelu": "(float[2,3] x) => (float[2,3] y) { y = Gelu(x) }",
    "Mish": "(float[2,3] x) => (float[2,3] y) { y = Mish(x) }",
    "HardSwish": "(float[2,3] x) => (float[2,3] y) { y = HardSwish(x) }",
    "RMSNormalization": "(float[2,3] x) => (float[2,3] y) <float[3] w = {1, 2, 3}> { y = RMSNormalization(x, w) }",
    "LayerNormalization": "(float[2,3] x) => (float[2,3] y) <float[3] w = {1, 2, 3}> { y = LayerNormalization(x, w) }",
    "GroupNormalization": """(float[2,4,3] x) => (float[2,4,3] y) <float[4] w = {1, 2, 3, 4}, float[4] b = {0, 1, 0, 1}> {
        y = GroupNormalization<num_groups = 2>(x, w, b) }""",
    "CenterCropPad": "(float[2,6] x) => (float[2,4] y) <int64[1] s = {4}> { y = CenterCropPad<axes = [1]>(x, s) }",
}
"""Operators that a target lacks, in models of opset 24."""


@pytest.mark.parametrize("op", [*LATE])
def test_for_tensorrt_8_5_what_it_lacks_is_taken_apart_and_the_model_can_be_written_in_its_last_opset(op):
    before = model(LATE[op], 24)
    edited = gk.opset(gk.simplify(gk.rewrite(before, target="tensorrt-8.5")), to=17)
    assert op not in operators(edited)
    assert gk.lint(edited, "tensorrt", "8.5").ok
    x = np.random.default_rng(0).standard_normal(
        [d.dim_value for d in before.graph.input[0].type.tensor_type.shape.dim]
    )
    expected = ReferenceEvaluator(before).run(None, {"x": x.astype(np.float32)})[0]
    np.testing.assert_allclose(run(edited.proto, x=x)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("op", ["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"])
def test_losses_that_tensorrt_lacks_are_taken_apart(op):
    before = model(f"(float[3,5] x, int64[3] t) => (float y) {{ y = {op}(x, t) }}", 22)
    edited = gk.rewrite(before, target="tensorrt")
    assert op not in operators(edited)
    feeds = {"x": np.random.default_rng(0).standard_normal((3, 5)), "t": np.array([0, 4, 2])}
    feeds = {name: value.astype(np.float32 if name == "x" else np.int64) for name, value in feeds.items()}
    np.testing.assert_allclose(gk.run(edited, feeds)["y"], gk.run(before, feeds)["y"], rtol=1e-5)
    assert gk.lint(edited).ok


def test_every_operator_of_the_tables_that_onnx_defines_by_others_is_taken_apart_for_tensorrt():
    book = json.loads((Path(gk.__file__).parent / "inspection" / "tensorrt.json").read_text())
    defined = {
        op
        for op in book["tables"][-1]["unsupported"]
        if (schema := onnx.defs.get_schema(op)).has_function or schema.has_context_dependent_function
    }
    # Bernoulli draws random numbers; ONNX's definition of AffineGrid fails for a batch of 1 (it squeezes that axis too); the
    # other two are made of operators and types that TensorRT lacks as well.
    taken = {"CenterCropPad", "NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"}
    assert defined - {"Bernoulli", "AffineGrid", "DynamicQuantizeLinear", "SequenceMap"} == taken


def test_a_row_of_zeros_has_no_norm_to_be_divided_by():
    body = "(float[2,2] x) => (float[2,2] y) { y = LpNormalization<axis = 1>(x) }"
    edited = gk.rewrite(model(body, 18), "expand-lp-normalization")
    np.testing.assert_allclose(run(edited.proto, x=[[0, 0], [3, 4]])[0], [[0, 0], [0.6, 0.8]], rtol=1e-6)


def test_the_list_of_rules_is_shown_in_ten_lines():
    rules = gk.rewrite_rules()
    shown = repr(rules)
    assert shown.startswith(f"{len(rules)} rules: attention, ")
    assert len(shown.splitlines()) <= 10
    assert max(map(len, shown.splitlines())) <= 100
    assert isinstance(rules, list)
