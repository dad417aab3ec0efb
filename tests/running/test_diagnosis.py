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
        detail = named[provider].detail
        assert (named[provider].state, named[provider].remedy) == ("missing", providers.remedy(detail))
        with pytest.raises(gk.ProviderError, match="cannot be used") as caught:
            gk.session(RELU, device=device)
        assert caught.value.hint == providers.remedy(detail)


@pytest.mark.parametrize(
    ("problem", "wanted", "unwanted"),
    [
        (providers.NO_DRIVER, "install NVIDIA's driver", "pip"),
        (providers.NO_TENSORRT, "built with TensorRT", "pip"),
        (
            "Failed to load libcudnn.so.9: libcudnn.so.9: cannot open shared object file: No such file or directory",
            'pip install "onnxruntime-gpu[cuda,cudnn]"',
            "tensorrt",
        ),
        ("libcublasLt.so.13: cannot open shared object file", "onnxruntime-gpu[cuda,cudnn]", "tensorrt"),
        ("Failed to load cufft64_12.dll: [WinError 126]", "onnxruntime-gpu[cuda,cudnn]", "tensorrt"),
        ("libnvinfer.so.10: cannot open shared object file", "pip install tensorrt==10.*", "cudnn"),
        ("nvinfer_10.dll is not there", "pip install tensorrt", "cudnn"),
        ("its library loads, but the provider refused to start", "nvidia-smi", "pip"),
    ],
)
def test_what_mends_it_fits_the_reason(problem, wanted, unwanted):
    said = providers.remedy(problem)
    assert wanted in said
    assert unwanted not in said


@pytest.mark.parametrize(
    ("installed", "line"),
    [
        (["onnxruntime"], "pip uninstall onnxruntime, then pip install"),
        (["onnxruntime", "onnxruntime-gpu"], "pip uninstall onnxruntime onnxruntime-gpu, then pip install"),
        ([], 'pip install "onnx-graphkit[gpu]"'),
    ],
)
def test_a_cpu_build_makes_room_for_the_other(monkeypatch, installed, line):
    monkeypatch.setattr(providers, "installed_distributions", lambda name: dict.fromkeys(installed, "1.30"))
    assert providers.remedy(providers.CPU_BUILD).startswith(line)


def test_a_cpu_build_is_the_reason_for_tensorrt_too(monkeypatch):
    providers.tensorrt_problem.cache_clear()
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert providers.tensorrt_problem() == providers.CPU_BUILD
    monkeypatch.undo()
    providers.tensorrt_problem.cache_clear()


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
