"""Addresses: every value and node of a model has one that finds it."""

import onnx
import pytest

import graphkit as gk
from graphkit.graph.addresses import Addresses

NESTED = """<ir_version: 8, opset_import: ["": 17, "my": 1]> g (float[2] x, bool c, int64 n) => (float[2] z) {
  [neg] a = Neg(x)
  b = Abs(a)
  [choose] z = If(c) <
    then_branch = t () => (float[2] u) {
      [turn] u = Loop(n, c, b) <body = l (int64 i, bool go, float[2] s) => (bool on, float[2] r) {
        on = Identity(go) [step] r = Add(s, a) }>
    },
    else_branch = e () => (float[2] v) { v = my.Soft(b) }>
}
<domain: "my", opset_import: ["": 17]> Soft (p) => (q) { h = Exp(p) q = Softmax(h) }"""


def nested():
    return onnx.parser.parse_model(NESTED)


def test_every_value_and_node_is_found_by_its_own_address():
    addresses = Addresses(nested())
    found = [each.address for each in addresses.values(".*", regex=True)]
    for address in found:
        assert addresses.value(address).address == address
    assert found == [
        *("x", "c", "n", "a", "b", "z", "choose.then_branch/u"),
        *(f"choose.then_branch/turn.body/{name}" for name in ("i", "go", "s", "on", "r")),
        *("choose.else_branch/v", "function:my::Soft/p", "function:my::Soft/h", "function:my::Soft/q"),
    ]
    for each in addresses.nodes("*"):
        assert addresses.node(each.address).node is each.node
    assert addresses.node("b").node.op_type == "Abs"
    assert addresses.node("choose.then_branch/turn.body/r").node.name == "step"


def test_a_name_that_looks_like_an_address_is_a_name():
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]> g (float[2] x, bool c) => (float[2] z) {
        ["if.0"] "if.0.then_branch/u" = Neg(x) z = If(c) <then_branch = t () => (float[2] u) { u = Abs(x) },
        else_branch = e () => (float[2] v) { v = Abs(x) }> }""".replace('["if.0"]', "").replace(
            '"if.0.then_branch/u"', "p"
        )
    )
    model.graph.node[0].output[0] = "z.then_branch/u"
    assert Addresses(model).value("z.then_branch/u").site.prefix == ""
    assert Addresses(model).value("z.else_branch/v").site.prefix == "z.else_branch/"


def test_patterns_match_whole_addresses_and_made_values_only_where_asked():
    addresses = Addresses(nested())
    assert [f.address for f in addresses.values("*/u")] == ["choose.then_branch/u"]
    assert [f.address for f in addresses.values("function:*", made=True)] == [
        "function:my::Soft/h",
        "function:my::Soft/q",
    ]
    assert [f.address for f in addresses.values(["a", "[ab]", "a"], regex=True)] == ["a", "b"]
    with pytest.raises(gk.NameNotFoundError, match="q7"):
        addresses.values("*q7*")
    with pytest.raises(gk.EditError, match="no regular expression"):
        addresses.values("(", regex=True)


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("u", "value", "write 'choose.then_branch/u'"),
        ("neg", "value", "it is the name of a node, Neg, which makes 'a'"),
        ("choose.then_branch/turn", "value", "which makes 'u'"),
        ("step", "node", "write 'choose.then_branch/turn.body/step'"),
        ("x", "node", "the name of a value that no node makes"),
        ("chose", "node", "did you mean 'choose'"),
    ],
)
def test_what_is_elsewhere_or_of_the_other_kind_is_said(name, kind, said):
    with pytest.raises(gk.NameNotFoundError, match=said):
        getattr(Addresses(nested()), kind)(name)


def test_nodes_of_one_name_are_told_apart_by_their_outputs():
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[2] x) => (float[2] z) { [n] y = Neg(x) [n] z = Abs(y) }'
    )
    with pytest.raises(gk.NameNotFoundError, match="name one by its output: 'y', 'z'"):
        Addresses(model).node("n")
    assert Addresses(model).node("z").node.op_type == "Abs"
