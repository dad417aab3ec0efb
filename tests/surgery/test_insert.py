"""insert: what stands between a value and its readers is computed, what is upstream stays as it was."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import graphkit as gk
from oracle import assert_same, run_ort, run_reference

NET = """<ir_version: 8, opset_import: ["": 17]> g (float[2,3] x, bool c) => (float[2,3] y, float[2,3] z) {
  [neg] a = Neg(x)
  [exp] y = Exp(a)
  [choose] z = If(c) <then_branch = t () => (float[2,3] u) { [times] u = Mul(a, y) },
                      else_branch = e () => (float[2,3] v) { v = Identity(a) }>
}"""
X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)


def net(text=NET):
    return onnx.parser.parse_model(text)


def outputs(model, x=X, c=True):
    onnx.checker.check_model(model.proto, full_check=True)
    return run_ort(model, {"x": x, "c": np.array(c)})


def test_all_readers_of_an_inner_value_read_the_result_also_in_bodies():
    edited = gk.insert(net(), "a", "(p) => (q) { r = Abs(p) q = Sqrt(r) }")
    a = np.sqrt(np.abs(X))
    assert_same(outputs(edited), {"y": np.exp(a), "z": a * np.exp(a)})
    assert [node.op_type for node in edited.nodes] == ["Neg", "Abs", "Sqrt", "Exp", "If"]
    assert edited.nodes[0].output[0] == "a"
    assert edited.history[-1].notes == ("'body' is put behind 'a': 2 nodes, read by 2 nodes",)


def test_some_readers_only():
    one = gk.insert(net(), "a", "relu", readers=["exp"])
    assert_same(outputs(one), {"y": np.exp(np.maximum(-X, 0)), "z": -X * np.exp(np.maximum(-X, 0))})
    body = gk.insert(net(), "a", "relu", readers="choose")
    assert_same(outputs(body), {"y": np.exp(-X), "z": np.maximum(-X, 0) * np.exp(-X)})
    with pytest.raises(gk.EditError, match="none of the readers reads 'x'"):
        gk.insert(net(), "x", "relu", readers=["exp"])


def test_an_output_keeps_its_name_and_gets_the_bodys_type():
    edited = gk.insert(net(), "y", "cast:to=float16", readers="y")
    assert edited.outputs[0].type.tensor_type.elem_type == TensorProto.FLOAT16
    assert [d.dim_value for d in edited.outputs[0].type.tensor_type.shape.dim] == [2, 3]
    assert_same(outputs(edited), {"y": np.exp(-X).astype(np.float16), "z": -X * np.exp(-X)}, rtol=1e-3)
    both = gk.insert(net(), "y", "sigmoid")
    y = 1 / (1 + np.exp(-np.exp(-X)))
    assert_same(outputs(both), {"y": y, "z": -X * y})


def test_further_outputs_of_a_body_at_an_output_are_outputs():
    edited = gk.insert(net(), "z", "topk:k=2")
    z = -X * np.exp(-X)
    order = np.argsort(-z, axis=1, kind="stable")[:, :2]
    found = outputs(edited)
    assert list(found) == ["y", "z", "indices"]
    assert_same(found["z"], np.take_along_axis(z, order, 1))
    assert_same(found["indices"], order)


def test_an_input_keeps_its_name_and_gets_the_type_that_the_body_takes():
    edited = gk.insert(net(), "x", "normalize:mean=0.5,std=0.25,layout=NHWC,from=uint8")
    assert gk.inspect(edited).inputs[0].type == "uint8[2,3]"
    x = np.array([[0, 100, 255], [1, 2, 3]], np.uint8)
    a = -(x.astype(np.float32) / 255 - 0.5) / 0.25
    assert_same(outputs(edited, x), {"y": np.exp(a), "z": a * np.exp(a)}, rtol=1e-5)
    shaped = gk.insert(net(), "x", "g (uint8[3,2] x) => (float[2,3] y) { t = Transpose(x) y = Cast<to = 1>(t) }")
    assert gk.inspect(shaped).inputs[0].type == "uint8[3,2]"
    assert_same(outputs(shaped, x.T.copy(), c=False)["z"], -x.astype(np.float32))
    with pytest.raises(gk.EditError, match=r"the input 'x' is float32\[2,3\], and 'g' makes float16"):
        gk.insert(net(), "x", "g (uint8[3,2] x) => (float16[3,2] y) { y = Cast<to = 10>(x) }")


def test_in_a_body_and_in_a_function():
    edited = gk.insert(net(), "choose.then_branch/u", "sigmoid")
    assert_same(outputs(edited)["z"], 1 / (1 + np.exp(X * np.exp(-X))))
    model = net(
        """<ir_version: 8, opset_import: ["": 17, "my": 1]> g (float[2,3] x) => (float[2,3] y) { y = my.F(x) }
        <domain: "my", opset_import: ["": 17]> F (p) => (q) { h = Exp(p) q = Neg(h) }"""
    )
    inside = gk.insert(
        model,
        ["function:my::F/h", "function:my::F/q"],
        "(a) => (b) { one = Constant<value = float {1.0}>() b = Add(a, one) }",
    )
    assert_same(run_ort(inside, {"x": X}), {"y": 1 - (np.exp(X) + 1)})


def test_patterns_put_the_body_everywhere():
    model = net(
        '<ir_version: 8, opset_import: ["": 17]> g (float[2,3] x) => (float[2,3] y) { h1 = Neg(x) h2 = Exp(h1) h3 = Abs(h2) y = Neg(h3) }'
    )
    edited = gk.insert(model, "h*", "identity")
    assert [node.op_type for node in edited.nodes] == ["Neg", "Identity", "Exp", "Identity", "Abs", "Identity", "Neg"]
    assert_same(run_ort(edited, {"x": X}), run_ort(model, {"x": X}))
    assert [n.op_type for n in gk.insert(model, "h[12]", "identity", regex=True).nodes].count("Identity") == 2


def test_a_body_with_weights_from_a_file(tmp_path):
    body = net('<ir_version: 8, opset_import: ["": 17]> b (float[k,3] p) => (float[k,3] q) { q = MatMul(p, w) }')
    w = np.random.default_rng(0).standard_normal((3, 3), dtype=np.float32)
    body.graph.initializer.append(onnx.numpy_helper.from_array(w, "w"))
    onnx.save(body, tmp_path / "body.onnx")
    onnx.save(net(), tmp_path / "net.onnx")
    edited = gk.insert(tmp_path / "net.onnx", "a", body_model=tmp_path / "body.onnx")
    a = -X @ w
    assert_same(outputs(edited), {"y": np.exp(a), "z": a * np.exp(a)}, rtol=1e-4)
    twice = gk.insert(net(), ["a", "x"], body_model=body)
    assert [t.name for t in twice.proto.graph.initializer] == ["w"]
    (tmp_path / "f.txt").write_text("(a) => (b) { b = Relu(a) }")
    assert_same(outputs(gk.insert(net(), "a", str(tmp_path / "f.txt"))), outputs(gk.insert(net(), "a", "relu")))


def test_a_body_with_several_inputs_takes_several_values():
    both = "(p, q) => (r, s) { r = Add(p, q) s = Sub(p, q) }"
    a, y = -X, np.exp(-X)
    edited = gk.insert(net(), ["y", "a"], both, readers=["y", "choose"])
    assert_same(outputs(edited), {"y": y + a, "z": (y - a) * (y + a)})
    with pytest.raises(gk.EditError, match=r"cannot take 'y', 'a' .* in a cycle"):
        gk.insert(net(), ["y", "a"], both)
    with pytest.raises(gk.EditError, match="2 inputs, and 1 values"):
        gk.insert(net(), "a", "(p, q) => (r) { r = Add(p, q) }")


def test_nms_behind_a_box_head():
    model = net(
        """<ir_version: 8, opset_import: ["": 17]> g (float[1,4,4] b, float[1,2,4] s) => (float[1,4,4] boxes, float[1,2,4] scores)
        { boxes = Identity(b) scores = Identity(s) }"""
    )
    edited = gk.insert(model, ["boxes", "scores"], "nms:iou=0.5,score=0.3")
    boxes = np.float32([[[0, 0, 1, 1], [0, 0, 1, 0.9], [2, 2, 3, 3], [5, 5, 6, 6]]])
    scores = np.float32([[[0.9, 0.8, 0.7, 0.1], [0.0, 0.2, 0.6, 0.4]]])
    found = run_ort(edited, {"b": boxes, "s": scores})
    assert list(found) == ["boxes", "scores", "classes", "batch"]
    assert_same(found["scores"], np.float32([0.9, 0.7, 0.6, 0.4]))
    assert_same(found["boxes"], boxes[0][[0, 2, 2, 3]])
    assert_same(found["classes"], np.array([0, 0, 1, 1]))


def test_the_library_computes_what_it_says():
    model = net('<ir_version: 8, opset_import: ["": 17]> g (float[2,3] x) => (float[2,3] y) { y = Identity(x) }')
    x = X * 80
    e = np.exp(x - x.max(1, keepdims=True))
    mean = np.float32([0.485, 0.456, 0.406])
    expected = {
        "argmax": x.argmax(1),
        "argmax:axis=0,keepdims=1": x.argmax(0)[None],
        "cast:to=int32": x.astype(np.int32),
        "clip:low=-1,high=2.5": np.clip(x, -1, 2.5),
        "clip_uint8": np.clip(np.round(x), 0, 255).astype(np.uint8),
        "clip_uint8:scale=0.5": np.clip(np.round(x * 0.5), 0, 255).astype(np.uint8),
        "identity": x,
        "normalize:layout=NHWC": (x / 255 - mean) / np.float32([0.229, 0.224, 0.225]),
        "relu": np.maximum(x, 0),
        "sigmoid": (1 / (1 + np.exp(-x.astype(np.float64)))).astype(np.float32),
        "softmax": e / e.sum(1, keepdims=True),
        "softmax:axis=0": np.exp(x - x.max(0)) / np.exp(x - x.max(0)).sum(0),
        "topk:k=1": x.max(1, keepdims=True),
        "transpose:perm=1,0": x.T,
    }
    for text, wanted in expected.items():
        edited = gk.insert(model, "y", text)
        onnx.checker.check_model(edited.proto, full_check=True)
        assert_same(run_reference(edited, {"x": x})["y"], wanted, rtol=1e-4, where=text)


@pytest.mark.parametrize(
    ("at", "body", "error", "said"),
    [
        ("a", "(p) => (q) { q = Gelu(p) }", gk.EditError, "no operator 'Gelu' in opset 17.*\n.*since opset 20"),
        ("a", "(p) => (q) { q = Gleu(p) }", gk.EditError, "no operator 'Gleu'"),
        ("a", "argmax", gk.EditError, "putting argmax behind 'a' leaves types that do not fit"),
        ("a", "topk", gk.EditError, "needs 'k'"),
        ("a", "clip:lower=1", gk.EditError, "does not take 'lower=1'.*\n.*low=0, high=1"),
        ("a", "cast:to=float99", gk.EditError, "float99"),
        ("a", "(p) => (q) { q = Relu(p)", gk.FormatError, "no ONNX function"),
        (
            "a",
            "g (float16[2,3] p) => (float16[2,3] q) { q = Relu(p) }",
            gk.EditError,
            r"'a' is float32\[2,3\], and .* takes float16",
        ),
        ("neg", "relu", gk.NameNotFoundError, "name of a node, Neg, which makes 'a'"),
        ("a", "soft_max", gk.ModelFileError, "one of argmax"),
        ("z", "(p) => (q) { q = Neg(z) }", gk.EditError, "reads 'z'"),
        (
            "a",
            "(p) => (q) { q = Add(p, r) r = Neg(q) }",
            gk.EditError,
            "is not valid: the nodes read from each other in a cycle",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(at, body, error, said):
    model = net()
    before = model.SerializeToString()
    with pytest.raises(error, match=said):
        gk.insert(model, at, body)
    assert model.SerializeToString() == before


def test_an_opset_that_the_body_is_written_in_is_reconciled():
    older = '<domain: "b", opset_import: ["": 11]> sum (p) => (q) { q = ReduceSum<axes = [1], keepdims = 1>(p) }'
    edited = gk.insert(net(), "a", older)
    total = (-X).sum(1, keepdims=True)
    assert_same(run_ort(edited, {"x": X, "c": np.array(False)})["y"], np.exp(total))
    newer = '<domain: "b", opset_import: ["": 21]> f (p) => (q) { q = Relu(p) }'
    assert_same(outputs(gk.insert(net(), "a", newer)), outputs(gk.insert(net(), "a", "relu")))
