"""The C++ runner is built and gives what Python gives, where a compiler, CMake and ONNX Runtime's headers are there."""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import graphkit as gk
from onnx_text import parse

SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "cpp_runner"

PLACES = ("/usr/include/onnxruntime", "/usr/local/include/onnxruntime", "/usr/include", "/usr/local/include")
"""Where Debian's libonnxruntime-dev and releases of ONNX Runtime have the headers; ONNXRUNTIME_INCLUDE names another place."""


def built(folder):
    """The program; skipped where it cannot be built."""
    for tool in ("cmake", "g++"):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool}")
    places = [os.environ.get("ONNXRUNTIME_INCLUDE", ""), *PLACES]
    headers = next((place for place in places if place and Path(place, "onnxruntime_cxx_api.h").exists()), None)
    if headers is None:
        pytest.skip(
            "ONNX Runtime's C++ headers are not there (Debian 13: libonnxruntime-dev; or set ONNXRUNTIME_INCLUDE)"
        )
    package = Path(importlib.util.find_spec("onnxruntime").submodule_search_locations[0])
    libraries = sorted(package.glob("capi/libonnxruntime.so.*"))
    if not libraries:
        pytest.skip("the installed onnxruntime has no shared library of its own")
    options = [f"-DONNXRUNTIME_INCLUDE={headers}", f"-DONNXRUNTIME_LIBRARY={libraries[0]}"]
    subprocess.run(["cmake", "-S", SAMPLE, "-B", folder, *options], check=True, capture_output=True, timeout=60)
    subprocess.run(["cmake", "--build", folder], check=True, capture_output=True, timeout=120)
    return folder / "cpp_runner"


# R55
def test_a_program_in_cpp_gives_what_python_gives_at_every_factor(tmp_path):
    program = built(tmp_path / "build")
    net = """g (float[1,3,H,W] image) => (float[1,3,OH,OW] larger) <float[4] scales = {1, 1, 3, 3}> {
      enlarged = Resize<mode = "cubic", cubic_coeff_a = -0.75>(image, , scales)
      larger = Conv<pads = [1, 1, 1, 1]>(enlarged, w)
    }"""
    random = np.random.default_rng(0)
    model = gk.resize(parse(net, w=random.standard_normal((3, 3, 3, 3))))
    model.save(tmp_path / "model.onnx")
    image = random.random((1, 3, 12, 17), np.float32)
    image.tofile(tmp_path / "image.f32")
    for factor in ([2.0], [2.5], [2.0, 3.0]):
        words = ["model.onnx", "image.f32", "1,3,12,17", "out.f32", ",".join(map(str, factor))]
        done = subprocess.run([program, *words], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
        expected = gk.run(tmp_path / "model.onnx", {"image": image, "factor": np.array(factor, np.float32)})["larger"]
        assert done.stdout == f"larger {','.join(map(str, expected.shape))}\n"
        made = np.fromfile(tmp_path / "out.f32", np.float32).reshape(expected.shape)
        np.testing.assert_array_equal(made, expected)
    wrong = ["model.onnx", "image.f32", "1,3,12,17", "out.f32", "1,2,3"]
    failed = subprocess.run([program, *wrong], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert failed.returncode == 1
    assert failed.stderr
