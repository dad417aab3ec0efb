"""Whatever a conversion wrote is held to the schemas and loaded before it is handed out: each conversion, by one that lies."""

import numpy as np
import onnx
import pytest

import graphkit as gk
import onnx_text
from graphkit.runtime.written import check_written

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


def test_simplify_in_functions(monkeypatch):
    from graphkit.surgery import simplify

    def lying(source, proto, most):
        if proto.functions[0].node[0].op_type == "Softplus":
            return {}
        proto.functions[0].node[0].op_type = "Softplus"
        proto.functions[0].node[0].attribute.add(name="no_such_attribute", i=1, type=onnx.AttributeProto.INT)
        return {"nodes that nothing reads are gone": 1}

    monkeypatch.setattr(simplify, "simplify_functions", lying)
    with pytest.raises(gk.EditError, match=r"Softplus 'c' cannot be written so.*no_such_attribute"):
        gk.simplify(called("Erf"))


def test_a_node_that_stayed_is_looked_at_where_what_it_reads_is_another_type():
    source = onnx_text.parse(
        "g (float[2,3] x) => (float[2,3] y) { h = Cast<to=1>(x) [n] k = Add(h, x) y = Abs(k) }", 17
    )
    cast, weight = (
        onnx.ModelProto.FromString(source.SerializeToString()),
        onnx_text.parse(MODEL, 17, w=np.ones((32, 32))),
    )
    cast.graph.node[0].attribute[0].i = onnx.TensorProto.DOUBLE
    with pytest.raises(gk.EditError, match=r"Add 'n' cannot be written so.*one type"):
        check_written(source, cast, new_only=True)
    changed = onnx.ModelProto.FromString(weight.SerializeToString())
    changed.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.ones(32, np.float16), "z"))
    with pytest.raises(gk.EditError, match=r"Add 'b' cannot be written so.*one type"):
        check_written(weight, changed, new_only=True)


CALLED = """<ir_version: 8, opset_import: ["": 17, "my": 1]> g (TYPE[2,3] x) => (TYPE[2,3] y) { y = my.F(x) }
   <domain: "my", opset_import: ["": 17]> F (a) => (b) { c = OP(a) b = Neg(c) }"""


def called(op, kind="float"):
    return onnx.parser.parse_model(CALLED.replace("OP", op).replace("TYPE", kind))


def test_inline(monkeypatch):
    from graphkit.surgery import inline

    calls = inline.inline_calls

    def lying(proto, keys):
        done = calls(proto, keys)
        broken(proto)
        return done

    assert len(gk.inline(called("Erf")).nodes) == 2
    monkeypatch.setattr(inline, "inline_calls", lying)
    with pytest.raises(gk.EditError, match=r"Softmax .*cannot be written so.*no_such_attribute"):
        gk.inline(called("Erf"))


def test_what_a_function_breaks_for_the_types_of_its_call_is_no_fault_of_who_inlines_it():
    """ONNX Runtime has no Erf of doubles, in a function or out of it."""
    flat = gk.inline(called("Erf", "double"))
    assert [node.op_type for node in flat.nodes] == ["Erf", "Neg"]
    assert [node.op_type for node in gk.opset(called("Erf", "double"), to=18).nodes] == ["Erf", "Neg"]
    with pytest.raises(gk.EditError, match="Erf 'c' cannot be written so"):
        check_written(called("Abs", "double"), flat.proto, new_only=True)
