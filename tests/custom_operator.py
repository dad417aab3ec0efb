"""A shared library with one custom operator for ONNX Runtime, built with the C++ compiler where there is one."""

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "custom_ops" / "offset.cpp"

MODEL = """g (float[n,3] x) => (float[n,3] y) { a = Relu(x)  b = shop.Offset<by: float = 2.0>(a)  y = Neg(b) }"""
"""y = -(Relu(x) + 2)."""


def build_library(folder):
    """The library, in a folder."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler builds the custom operator")
    path = folder / "liboffset.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", path, SOURCE], check=True, timeout=60)
    return path
