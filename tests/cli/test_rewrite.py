"""``graphkit rewrite``: the list, what it says, what it refuses."""

import json

import onnx

PLAIN = """<ir_version: 10, opset_import: ["" : 24]>
g (float[2] x) => (float[2] y) { [sig] s = Sigmoid(x) [mul] y = Mul(s, x) }"""


def test_the_built_in_rules_are_listed(graphkit):
    code, out, _ = graphkit("rewrite", "--list", "--json")
    assert code == 0
    assert {"silu", "gelu", "batchnorm"} <= {rule["name"] for rule in json.loads(out)}
    _, out, _ = graphkit("rewrite", "--list")
    assert any(line.startswith("silu ") for line in out.splitlines())


def test_what_a_rule_did_is_said(tmp_path, graphkit):
    onnx.save(onnx.parser.parse_model(PLAIN), tmp_path / "m.onnx")
    code, _, err = graphkit("rewrite", tmp_path / "m.onnx", tmp_path / "o.onnx", "--rule", "silu")
    assert code == 0
    assert "1 rewritten: Mul 'mul'" in err
    assert [n.op_type for n in onnx.load(tmp_path / "o.onnx").graph.node] == ["Swish"]


def test_a_call_without_a_rule_or_a_file_is_a_usage_error(tmp_path, graphkit):
    onnx.save(onnx.parser.parse_model(PLAIN), tmp_path / "m.onnx")
    assert graphkit("rewrite", tmp_path / "m.onnx", tmp_path / "o.onnx")[0] == 2
    assert graphkit("rewrite", tmp_path / "m.onnx", "--rule", "silu")[0] == 2
    assert graphkit("rewrite", tmp_path / "m.onnx", tmp_path / "o.onnx", "--rule", "sillu")[0] == 3
    assert not (tmp_path / "o.onnx").exists()
