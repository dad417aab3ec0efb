"""Which execution provider a session is to use, and why one did not load."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
import os
import re
from collections.abc import Collection
from typing import Any, Literal, TypeAlias, get_args

from graphkit.errors import ProviderError
from graphkit.hint import Argument, Hint
from graphkit.optional import installed_distributions, is_there
from graphkit.runtime.failures import import_runtime
from graphkit.runtime.tensorrt import TensorRT

Device: TypeAlias = Literal["auto", "cpu", "cuda", "tensorrt"]
"""Where a model is asked to run. ``auto`` is CUDA where it loads, else the CPU; the session says which."""

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"

CPU_BUILD = "the installed onnxruntime is a CPU build"
NO_DRIVER = "there is no NVIDIA driver on this machine (libcuda is not found)"
NO_TENSORRT = "the installed onnxruntime has no TensorRT provider"

_WANTED = {"cpu": CPU, "cuda": CUDA, "tensorrt": TENSORRT}


def wanted_provider(device: str) -> str:
    """The provider of a device other than ``auto``.

    Raises:
        ValueError: There is no such device.
    """
    if device not in _WANTED:
        raise ValueError(f"{device!r} is no device; the devices are {', '.join(get_args(Device))}")
    return _WANTED[device]


def options(device: str, *, tf32: bool, tensorrt: TensorRT | None = None) -> list[tuple[str, dict[str, str]]]:
    """The provider list of a session on a device, each with its options.

    TF32 is on by default in the CUDA provider (``use_tf32``), which alone moves float32 results by about 1e-3.
    """
    cuda = (CUDA, {"use_tf32": "1" if tf32 else "0"})
    match device:
        case "cuda":
            return [cuda, (CPU, {})]
        case "tensorrt":
            # TensorRT 8.6 and later takes TF32 from the environment; it reads it when the builder starts.
            os.environ["NVIDIA_TF32_OVERRIDE"] = "1" if tf32 else "0"
            return [(TENSORRT, tensorrt.provider_options() if tensorrt else {}), cuda, (CPU, {})]
    return [(CPU, {})]


@functools.cache
def cuda_problem() -> str | None:
    """Why the CUDA provider cannot work here, or None where nothing speaks against it.

    Looks for the provider in the installed onnxruntime, for the driver, and for the libraries that the provider
    links to, which are loaded first from where the CUDA build of torch or the ``nvidia-*`` packages put them.

    Cost: about a second where CUDA is there; the answer is kept.
    """
    runtime = import_runtime()
    if CUDA not in runtime.get_available_providers():
        return CPU_BUILD
    try:
        ctypes.CDLL("libcuda.so.1" if os.name == "posix" else "nvcuda.dll")
    except OSError:
        return NO_DRIVER
    missing = _missing_libraries(runtime)
    if missing and is_there("torch"):
        import torch  # a CUDA build of torch brings the libraries and loads them

        missing = _missing_libraries(runtime) if torch.version.cuda else missing
    return missing[0] if missing else None


def _missing_libraries(runtime: Any) -> list[str]:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):  # preload_dlls prints what it does not find
        runtime.preload_dlls()
    return [line for line in said.getvalue().splitlines() if line.startswith("Failed to load")]


def library_problem(device: str) -> str:
    """Why the library of a provider did not load. Only to be called after a session has tried to load it: the library
    looks for its host while it is loaded, and finds none when it is loaded by anybody else first.
    """
    runtime = import_runtime()
    folder = os.path.join(os.path.dirname(runtime.__file__), "capi")
    prefix, suffix = ("lib", ".so") if os.name == "posix" else ("", ".dll")
    try:
        ctypes.CDLL(os.path.join(folder, f"{prefix}onnxruntime_providers_{device}{suffix}"))
    except OSError as error:
        return str(error)
    return "its library loads, but the provider refused to start (ONNX Runtime's log on stderr says why)"


@functools.cache
def tensorrt_problem() -> str | None:
    """Why the TensorRT provider cannot work here, or None. Cost: as ``cuda_problem``."""
    runtime = import_runtime()
    if TENSORRT not in runtime.get_available_providers():
        return CPU_BUILD if CUDA not in runtime.get_available_providers() else NO_TENSORRT
    return cuda_problem()


def problem_with(device: str) -> str | None:
    """Why a device cannot be used here, or None."""
    if device == "cuda":
        return cuda_problem()
    return tensorrt_problem() if device == "tensorrt" else None


_LIBRARY = re.compile(r"\b(?:lib)?(cu[a-z]+|nv[a-z]+)[^\s/\\:']*\.(?:so|dll)(?:\.(\d+))?")
"""A library of CUDA, cuDNN or TensorRT by its file's name, and its version."""


def remedy(problem: str) -> str:
    """What to do about a problem that ``problem_with`` or ``library_problem`` tells."""
    if problem == NO_DRIVER:
        return Hint(
            "install NVIDIA's driver, or run where there is an NVIDIA GPU (nvidia-smi shows both); without one: ",
            Argument("device", "cpu"),
            ", or auto",
        )
    if problem == CPU_BUILD:
        installed = installed_distributions("onnxruntime")
        first = f"pip uninstall {' '.join(installed)}, then " if installed else ""
        return f'{first}pip install "onnx-graphkit[gpu]" (onnxruntime and onnxruntime-gpu share one import name)'
    if problem == NO_TENSORRT:
        return Hint("install an onnxruntime-gpu that was built with TensorRT, or use ", Argument("device", "cuda"))
    library = _LIBRARY.search(problem)
    if library is not None and library[1].startswith("nvinfer"):
        return f"pip install {f'tensorrt=={library[2]}.*' if library[2] else 'tensorrt'}"
    if library is not None and library[1] != "cuda":
        return 'pip install "onnxruntime-gpu[cuda,cudnn]", or the CUDA build of torch that has these libraries'
    return "see what ONNX Runtime says on stderr; nvidia-smi shows the CUDA version that the driver is good for"


def resolve(device: str) -> tuple[str, str | None]:
    """(device to use, note): what ``auto`` means here, and why it is not CUDA.

    Raises:
        ProviderError: A device was asked for by name and cannot be used here.
        ValueError: There is no such device.
    """
    if device == "auto":
        problem = cuda_problem()
        return ("cpu", f"runs on the CPU: {problem}") if problem else ("cuda", None)
    wanted_provider(device)
    if problem := problem_with(device):
        raise ProviderError(f"device {device!r} was asked for and cannot be used: {problem}", hint=remedy(problem))
    return device, None


def require(device: str, loaded: Collection[str]) -> None:
    """The provider of a device is among those that a session loaded.

    Raises:
        ProviderError: It is not.
    """
    if wanted_provider(device) not in loaded:
        problem = library_problem(device)
        raise ProviderError(f"device {device!r} was asked for and did not load: {problem}", hint=remedy(problem))
