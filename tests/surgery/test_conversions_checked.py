"""Whatever a conversion wrote is held to the schemas and loaded before it is handed out: each conversion, by one that lies."""

import numpy as np
import onnx
import pytest

import graphkit as gk
import onnx_text

MODEL = """g (float[2,32] x) => (float[2,32] y) <float[32] z = {0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}> {
    a = MatMul(x, w) b = Add(a, z) c = Relu(b) d = MatMul(c, w) y = Identity(d) }"""


def model():
    rng = np.random.default_rng(0)
    return onnx_text.parse(MODEL, 17, w=rng.standard_normal((32, 32)))


def broken(proto):
    """A node as no schema has it."""
    proto.graph.node.append(
        onnx.helper.make_node("Softmax", [proto.graph.output[0].name], ["lie"], no_such_attribute=1)
    )


CONVERTERS = {
    "int8": "to_int8",
    "int8-dynamic": "to_dynamic",
    "int8-weights": "to_weights",
    "int4-weights": "to_weights",
}


@pytest.mark.parametrize("to", CONVERTERS)
def test_a_lower_precision(to, monkeypatch):
    from graphkit.surgery.precision import precision

    name = CONVERTERS[to]
    convert = getattr(precision, name)

    def lying(*args, **kwargs):
        proto, notes = convert(*args, **kwargs)
        broken(proto)
        return proto, notes

    gk.precision(model(), to=to, samples=2)
    monkeypatch.setattr(precision, name, lying)
    with pytest.raises(gk.EditError, match=r"Softmax .*cannot be written so.*no_such_attribute"):
        gk.precision(model(), to=to, samples=2)


def test_simplify(monkeypatch):
    from graphkit.surgery import simplify

    once = simplify.simplify_once

    def lying(source, proto, most):
        done = once(source, proto, most)
        if done:
            broken(proto)
        return done

    monkeypatch.setattr(simplify, "simplify_once", lying)
    monkeypatch.setattr(simplify, "remove_unused", lambda _: {})
    with pytest.raises(gk.EditError, match=r"Softmax .*cannot be written so.*no_such_attribute"):
        gk.simplify(model())
