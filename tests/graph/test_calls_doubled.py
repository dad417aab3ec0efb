"""Functions that double: commands that would inline them refuse, and feeds do not walk into them."""

import onnx
import pytest

import graphkit as gk
from graphkit.feeds.dataflow import Walk
from graphkit.graph.index import GraphIndex

HEAD = '<ir_version: 10, opset_import: ["" : 18, "m" : 1]> g (float[2] x) => (float[2] y) { y = m.f%d(x) }'
FUNCTION = '<domain: "m", opset_import: ["" : 18, "m" : 1]> f%d (a) => (o) { %s }'


def doubling(count):
    bodies = ["o = Relu(a)", *(f"t = m.f{i}(a) o = m.f{i}(t)" for i in range(count - 1))]
    return onnx.parser.parse_model(HEAD % (count - 1) + "".join(FUNCTION % pair for pair in enumerate(bodies)))


INLINES = {
    "inline": gk.inline,
    "opset": lambda proto: gk.opset(proto, to=21),
    "precision": lambda proto: gk.precision(proto, to="float16"),
}


@pytest.mark.parametrize("count", [17, 40])
@pytest.mark.parametrize("work", INLINES)
def test_what_doubles_is_not_inlined(work, count):
    with pytest.raises(gk.GraphkitError, match="graphkit stops at 16384 more than there are"):
        INLINES[work](doubling(count))


def test_what_comes_to_a_few_thousand_nodes_is_inlined():
    assert len(gk.inline(doubling(12)).proto.graph.node) == 2**11


def test_feeds_are_drawn_without_a_walk_into_what_doubles(monkeypatch):
    looked = []
    plain = Walk._node
    monkeypatch.setattr(Walk, "_node", lambda self, *args: (looked.append(1), plain(self, *args)))
    proto = doubling(40)
    Walk(proto, GraphIndex(proto.graph)).over({"x": (-1.0, 1.0)})
    assert len(looked) == 1
