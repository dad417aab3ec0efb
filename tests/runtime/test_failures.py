"""What ONNX Runtime and torch raise, told apart by what is to be done about it."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.runtime.failures import is_out_of_memory

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


def test_a_torch_module_that_asks_for_too_much_memory_is_not_said_to_have_wrong_feeds():
    torch = pytest.importorskip("torch")

    class Greedy(torch.nn.Module):
        def forward(self, x):
            return torch.empty(10**15)[: len(x)]

    x = np.ones(2, np.float32)
    with pytest.raises(gk.ComparisonError, match="Greedy ran out of memory") as caught:
        gk.validate(RELU, torch=Greedy(), feeds={"x": x}, device="cpu")
    assert caught.value.hint == "bind smaller dims, or feed smaller inputs"
    assert "test_failures.py" in caught.value.message
