"""An operator that no runtime knows gets a body, and runs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import graphkit as gk
from oracle import assert_same, run_ort, run_reference

MODEL = """
<ir_version: {ir}, opset_import: ["": 18, "custom": 1]>
net (float[n] a, float[n] b, bool c) => (float[n] y)
{{
    s = custom.twice_plus<factor = 3.0>(a, b)
    y = If(c) <
        then_branch = t () => (float[n] u) {{ u = custom.twice_plus<factor = 2.0>(s, b) }},
        else_branch = e () => (float[n] v) {{ v = Identity(s) }}
    >
}}
"""
BODY = """
<domain: "custom", opset_import: ["": 18]>
twice_plus <factor> (a, b) => (c)
{
    k = Constant<value_float: float = @factor>()
    d = Mul(a, k)
    c = Add(d, b)
}
"""


def model(ir=8):
    return onnx.parser.parse_model(MODEL.format(ir=ir))


# R51
@pytest.mark.parametrize("form", ["text", "file", "proto"])
def test_the_defined_operator_runs(form, tmp_path):
    (tmp_path / "body.txt").write_text(BODY)
    given = {"text": BODY, "file": tmp_path / "body.txt", "proto": onnx.parser.parse_function(BODY)}[form]
    with pytest.raises(gk.SessionError, match="twice_plus"):
        gk.session(model(), device="cpu")
    defined = gk.define(model(), given)
    onnx.checker.check_model(defined.materialize(), full_check=True)
    a, b = np.array([1, 2], np.float32), np.array([10, 20], np.float32)
    for flag, expected in ((False, 3 * a + b), (True, 2 * (3 * a + b) + b)):
        feeds = {"a": a, "b": b, "c": np.array(flag)}
        assert_same(run_ort(defined, feeds), {"y": expected})
        assert_same(run_reference(defined, feeds), {"y": expected})


def test_an_old_ir_version_is_raised_and_said():
    with_if = model(ir=7)
    defined = gk.define(with_if, BODY)
    assert (with_if.ir_version, defined.proto.ir_version) == (7, 8)
    assert "IR version 7 raised to 8" in defined.history[-1].notes[0]


def test_an_onnxscript_function_will_do():
    onnxscript = pytest.importorskip("onnxscript")
    from onnxscript import opset18 as op

    @onnxscript.script(onnxscript.values.Opset("custom", 1))
    def twice_plus(a, b, factor: float):
        return op.Add(op.Mul(a, op.Constant(value_float=factor)), b)

    defined = gk.define(model(), twice_plus)
    answer = run_ort(defined, {"a": np.ones(2, np.float32), "b": np.ones(2, np.float32), "c": np.array(False)})
    assert_same(answer, {"y": np.full(2, 4, np.float32)})


def test_what_cannot_be_defined_is_said(tmp_path):
    with pytest.raises(gk.NameTakenError, match="defines custom::twice_plus already"):
        gk.define(gk.define(model(), BODY), BODY)
    with pytest.raises(gk.EditError, match="default domain"):
        gk.define(model(), '<domain: "", opset_import: ["": 18]> f (a) => (c) { c = Neg(a) }')
    with pytest.raises(gk.EditError, match="has 2 inputs, and custom::twice_plus has 1"):
        gk.define(model(), '<domain: "custom", opset_import: ["": 18]> twice_plus <factor> (a) => (c) { c = Neg(a) }')
    with pytest.raises(gk.EditError, match="attribute 'factor', which the function does not take"):
        gk.define(model(), BODY.replace("<factor>", "").replace("@factor", "1.0"))
    with pytest.raises(gk.FormatError, match="no ONNX function"):
        gk.define(model(), "f (a) => { }")
    with pytest.raises(gk.ModelFileError, match="cannot read the function"):
        gk.define(model(), tmp_path / "none.txt")
    with pytest.raises(TypeError, match="not int"):
        gk.define(model(), 3)
    with pytest.warns(gk.GraphkitWarning, match="no node calls custom::other"):
        gk.define(model(), BODY.replace("twice_plus", "other"))


@pytest.mark.parametrize(
    ("opset", "body_opset", "body", "hint"),
    [
        (17, 18, "k = Constant<value_ints = [0]>() c = ReduceMean(a, k)", "graphkit.opset(model, to=18)"),
        (18, 17, "c = ReduceMean<axes = [0]>(a)", "write the body for opset 18"),
        (17, 11, "c = Softmax<axis = 0>(a)", "write the body for opset 17"),
        (16, 17, "k = Constant<value_floats = [1.0]>() c = LayerNormalization(a, k)", "to=17"),
    ],
)
def test_a_body_of_another_opset_is_refused_where_that_is_another_operator(opset, body_opset, body, hint):
    plain = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": {opset}, "custom": 1]> net (float[2, 3] a) => (float[n, m] y) {{ y = custom.f(a) }}'
    )
    text = f'<domain: "custom", opset_import: ["": {body_opset}]> f (a) => (c) {{ {body} }}'
    with pytest.raises(gk.EditError, match=f"written for opset {body_opset} and the model for {opset}") as caught:
        gk.define(plain, text)
    assert hint in caught.value.hint
    if body_opset > opset:
        raised = gk.define(gk.opset(plain, to=body_opset), text)
        run_ort(raised, {"a": np.ones((2, 3), np.float32)})


def test_a_body_of_another_opset_is_taken_where_its_operators_are_the_same():
    plain = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 13, "custom": 1]> net (float[2] a) => (float[4] y) { y = custom.f(a) }'
    )
    body = "k = Constant<value_floats = [2.0]>() d = Resize(a, , k) e = ReduceMean(d) c = Add(d, e)"
    defined = gk.define(plain, f'<domain: "custom", opset_import: ["": 18]> f (a) => (c) {{ {body} }}')
    assert_same(run_ort(defined, {"a": np.ones(2, np.float32)}), {"y": np.full(4, 2, np.float32)})
