"""What ONNX Runtime and torch raise, told apart by what is to be done about it."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.runtime.failures import SMALLER, is_out_of_memory, out_of_memory
from graphkit.verify.laws.side import Side

RELU = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y) { y = Relu(x) }')


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("std::bad_alloc"),
        RuntimeError(
            "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : ... BFCArena::AllocateRawInternal Available memory ..."
        ),
        RuntimeError("CUDA error cudaErrorMemoryAllocation:out of memory"),
        RuntimeError("CUDA_ERROR_OUT_OF_MEMORY"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 400 bytes."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 400 bytes."),
    ],
    ids=lambda error: str(error)[:20] or "MemoryError",
)
def test_memory_that_ran_out_is_known_in_every_spelling(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "text", ["mat1 and mat2 shapes cannot be multiplied", "memory format option is not supported", ""]
)
def test_other_failures_are_none_of_memory(text):
    assert not is_out_of_memory(RuntimeError(text))


HUGE = onnx.parser.parse_model(
    """<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float z) <int64[2] s = {281474976710656, 1}> {
      y = Expand(x, s)  z = ReduceSum<keepdims = 0>(y) }"""
)


def torch_array(x):
    import torch

    return torch.from_numpy(x)


def greedy(torch):
    class Greedy(torch.nn.Module):
        def forward(self, x):
            return x.relu() + x.repeat(10**14).sum()

    return Greedy()


ASKED = {
    "validate": lambda greedy, x: gk.validate(RELU, torch=greedy, feeds={"x": x}, device="cpu"),
    "bisect": lambda greedy, x: gk.bisect(RELU, torch=greedy, feeds={"x": x}),
    "layers": lambda greedy, x: gk.layers(RELU, torch=greedy, feeds={"x": x}),
    "export": lambda greedy, x: gk.export(greedy, (torch_array(x),), exporter="torchscript"),
    "find_baked": lambda greedy, x: gk.find_baked(greedy, (torch_array(x),)),
    "run": lambda _, x: gk.run(HUGE, {"x": x}),
    "candidate": lambda _, x: gk.validate(HUGE, against=HUGE, feeds={"x": x}),
    "reference evaluator": lambda _, x: Side(gk.load(HUGE), ["z"], [], reference=True).run({"x": x}),
}


@pytest.mark.parametrize("asked", ASKED)
def test_memory_that_ran_out_is_said_alike_whatever_ran_out_of_it(asked):
    with pytest.raises(gk.GraphkitError, match=" ran out of memory") as caught:
        ASKED[asked](greedy(pytest.importorskip("torch")), np.ones(2, np.float32))
    assert caught.value.hint == SMALLER
    assert not caught.value.message.endswith((": ", ":"))
    if asked in ("validate", "bisect", "layers", "find_baked", "export"):
        assert "Greedy" in caught.value.message
        assert "test_failures.py" in caught.value.message


def test_an_error_without_a_text_leaves_no_colon():
    assert out_of_memory("Net", ", at net.py:3", MemoryError()) == "Net ran out of memory, at net.py:3"


@pytest.mark.parametrize(
    "text",
    [
        "g (float[b,4] x) => (float[2,4] y) <int64[2] s = {2,4}> { y = Reshape(x, s) }",
        "g (float[4,n] x) => (float[4,1] y) <float[8,1] w = {1,1,1,1,1,1,1,1}> { y = Gemm(x, w) }",
        "g (float[n] x) => (float[n] y) <float[3] c = {1,2,3}> { y = Add(x, c) }",
        "g (float[n,4] x) => (float[n,6] y) <float[3,2] c = {1,2,3,4,5,6}> { y = Concat<axis = 1>(x, c) }",
        "g (float[1,1,n] x) => (float[1,1,m] y) <float[1,1,50] w> { y = Conv(x, w) }",
        "g (float[n] x) => (float[2] y, float[1] z) <int64[2] s = {2,1}> { y, z = Split(x, s) }",
    ],
)
def test_a_size_that_is_baked_in_is_said_to_be(text):
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {text}')
    if "Conv" in text:
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((1, 1, 50), np.float32), "w"))
    dims = model.graph.input[0].type.tensor_type.shape.dim
    x = np.ones([d.dim_value or 5 for d in dims], np.float32)
    with pytest.raises(gk.SessionError) as caught:
        gk.run(model, {"x": x}, device="cpu")
    assert "bind={DIM: SIZE}" in caught.value.hint


def test_a_message_that_quotes_no_text_is_readable():
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]> g (float[1,1,2,2] x) => (float[1,1,4,4] y)
        <float[4] s = {1, 1, 2, 2}> { y = Resize <mode: string = "linear">(x, , s) }"""
    )
    model.graph.node[0].attribute[0].s = b"\xff\xfe"
    with pytest.raises(
        gk.SessionError, match=r"mode attribute is .* nearest\(default\) or linear|text that is no UTF-8"
    ):
        gk.run(model, {"x": "random"})
