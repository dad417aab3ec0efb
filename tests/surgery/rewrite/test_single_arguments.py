"""One condition, one optional operand, one shared value: given alone, each is a list of one."""

from __future__ import annotations

import onnx
import pytest

import graphkit as gk

NET = onnx.parser.parse_model(
    '<ir_version: 10, opset_import: ["": 21]> g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }'
)


@pytest.mark.parametrize(
    ("where", "matches"),
    [
        ("rank(x) == 2", True),
        ("rank(x) == 3", False),
        (lambda facts: facts.rank(facts.names["x"]) == 2, True),
        (lambda facts: facts.rank(facts.names["x"]) == 3, False),
    ],
)
def test_one_condition_is_a_list_of_one(where, matches):
    rule = gk.rewrite_rule("(x) => (y) { y = Relu(x) }", "(x) => (y) { y = Abs(x) }", where=where)
    assert [node.op_type for node in gk.rewrite(NET, rule).nodes] == ["Abs" if matches else "Relu"]


def test_one_optional_operand_and_one_shared_value_are_lists_of_one():
    clip = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 21]> g (float[2] x) => (float[2] y, float[2] a) { a = Neg(x) y = Clip(a) }'
    )
    rule = gk.rewrite_rule(
        "(x, low) => (y) { inner = Neg(x) y = Clip(inner, low) }",
        "(x) => (y) { y = Neg(x) }",
        optional="low",
        shared="inner",
    )
    assert [node.op_type for node in gk.rewrite(clip, rule).nodes] == ["Neg", "Neg"]
