"""doctor: what really loads here, which is not what ONNX Runtime lists."""

import importlib.metadata
import importlib.util

import onnx
import onnxruntime
import pytest

import graphkit as gk
from graphkit.builder import runtime_limits
from graphkit.runtime import providers

RELU = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y) { y = Relu(x) }')


def checks():
    return {check.what: check for check in gk.doctor().checks}


# R02
def test_a_provider_that_is_listed_and_does_not_load_is_not_among_those_that_do(monkeypatch):
    """``get_available_providers`` and ``get_device`` of a GPU build say CUDA on every machine."""
    listed = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)
    monkeypatch.setattr(onnxruntime, "get_device", lambda: "GPU")
    found = gk.doctor()
    assert "CPUExecutionProvider" in found.providers
    named = {check.what: check for check in found.checks}
    for device, provider in (("cuda", "CUDAExecutionProvider"), ("tensorrt", "TensorrtExecutionProvider")):
        if provider in found.providers:
            assert named[provider].detail == "ran a model"
            continue
        assert (named[provider].state, named[provider].remedy) == ("missing", providers.MENDING[device])
        with pytest.raises(gk.ProviderError, match="cannot be used"):
            gk.session(RELU, device=device)


# R02
def test_a_loaded_session_says_where_it_runs():
    session = gk.session(RELU, device="auto")
    assert session.providers[0] in gk.doctor().providers


def test_versions_and_limits_are_told():
    found = checks()
    assert found["onnxruntime"].detail.endswith(onnxruntime.__version__)
    assert f"opsets up to {runtime_limits().opset}" in found["onnxruntime accepts"].detail


def test_an_optional_package_that_is_not_there_breaks_nothing(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "PIL" else real(name, *rest))
    assert checks()["PIL"].state == "missing"
    assert checks()["PIL"].remedy == 'pip install "onnx-graphkit[image]"'
    assert gk.doctor().ok


def test_two_builds_of_the_runtime_at_once_are_broken(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.0")
    found = gk.doctor()
    assert not found.ok
    assert "share one import name" in next(c.detail for c in found.checks if c.what == "onnxruntime")
