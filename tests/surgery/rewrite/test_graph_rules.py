"""Built-in rules that are code: initializers, outputs of bodies, tied weights, masks; and operators of the runtime's own."""

import numpy as np
import onnx
import onnxruntime as ort

import graphkit as gk


def model(body, opset=17):
    return onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}]> g {body}')


def run(proto, **feeds):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"]).run(None, feeds)


def test_a_head_that_is_the_embedding_transposed_reads_the_embedding():
    table = np.random.default_rng(0).standard_normal((7, 4), dtype=np.float32)
    proto = model("(int64[3] i) => (float[3,7] y) { e = Gather(t, i) y = MatMul(e, h) }")
    proto.graph.initializer.append(onnx.numpy_helper.from_array(table, "t"))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(table.T), "h"))
    edited = gk.rewrite(proto, "tie-embeddings")
    assert [t.name for t in edited.proto.graph.initializer] == ["t"]
    ids = np.array([1, 5, 0])
    np.testing.assert_allclose(run(proto, i=ids)[0], run(edited.proto, i=ids)[0], rtol=1e-5, atol=1e-6)
    proto.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(table.T) + 1e-6, "h"))
    assert gk.rewrite(proto, "tie-embeddings").proto.graph == proto.graph


def test_a_gemm_head_reads_the_embedding_through_its_own_transpose():
    table = np.random.default_rng(0).standard_normal((7, 4), dtype=np.float32)
    proto = model("(int64[3] i) => (float[3,7] y) { e = Gather(t, i) y = Gemm(e, h) }")
    proto.graph.initializer.append(onnx.numpy_helper.from_array(table, "t"))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(table.T), "h"))
    edited = gk.rewrite(proto, "tie-embeddings")
    ids = np.array([1, 5, 0])
    assert len(edited.proto.graph.initializer) == 1
    np.testing.assert_allclose(run(proto, i=ids)[0], run(edited.proto, i=ids)[0], rtol=1e-5, atol=1e-6)


BODIES = """(bool c, float[2] x) => (float[2] y) <float[2] w = {5, 6}> {
  y = If(c) <then_branch = t () => (float[2] u) <float[2] k = {1, 2}> { u = Add(x, k) },
             else_branch = e () => (float[2] w) <float[2] k = {3, 4}> { v = Mul(x, k) }>
}"""


def test_initializers_of_bodies_move_to_the_main_graph_under_names_of_their_own():
    proto = model(BODIES)
    proto = gk.rewrite(proto, "identity-outputs").proto
    edited = gk.rewrite(proto, "lift-initializers")
    assert len(edited.proto.graph.initializer) == 3
    assert all(not a.g.initializer for a in edited.proto.graph.node[0].attribute)
    for condition in (True, False):
        feeds = {"c": np.array(condition), "x": np.float32([1, 2])}
        np.testing.assert_array_equal(run(proto, **feeds)[0], run(edited.proto, **feeds)[0])


def test_an_outer_value_as_the_output_of_a_body_comes_out_of_an_identity():
    proto = model(BODIES)
    edited = gk.rewrite(proto, "identity-outputs")
    body = next(a.g for a in edited.proto.graph.node[0].attribute if a.name == "else_branch")
    assert body.node[-1].op_type == "Identity"
    for condition, expected in ((True, [2, 4]), (False, [5, 6])):  # ONNX Runtime refuses the model before
        assert run(edited.proto, c=np.array(condition), x=np.float32([1, 2]))[0].tolist() == expected


def test_numbers_of_masks_below_a_threshold_become_another_number_and_weights_do_not():
    proto = model(
        "(float[2] x) => (float[2] y, float[2] z) <float[2] m = {-3.4e38, 0}, float[2] w = {-3.4e38, 1}>"
        "{ a = Add(x, m) y = Softmax(a) z = Div(x, w) }"
    )
    edited = gk.rewrite(proto, "mask-value")
    held = {t.name: onnx.numpy_helper.to_array(t).tolist() for t in edited.proto.graph.initializer}
    assert held["m"] == [-10000.0, 0.0]
    assert held["w"][0] < -3e38
    np.testing.assert_array_equal(run(proto, x=np.float32([1, 2]))[0], run(edited.proto, x=np.float32([1, 2]))[0])
    other = gk.rewrite(proto, "mask-value:threshold=-1e30,value=-65504")
    assert onnx.numpy_helper.to_array(other.proto.graph.initializer[0])[0] == -65504


def test_copies_between_devices_go():
    proto = model("(float[2] x) => (float[2] y) { a = MemcpyFromHost(x) b = Neg(a) y = MemcpyToHost(b) }")
    edited = gk.rewrite(proto, "remove-memcpy")
    assert [n.op_type for n in edited.proto.graph.node] == ["Neg", "Identity"]
    np.testing.assert_array_equal(run(edited.proto, x=np.float32([1, 2]))[0], [-1, -2])
