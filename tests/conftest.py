"""What every test shares."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from exports import Exports, share_registry

# The models are tiny: threads inside an operator only wait for each other, and for those of the other worker (README: -n 2).
# Set before torch is imported; the processes that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GRAPHKIT_THREADS", "1")

# No test is timed: a slow machine is no failure. What fails is printed so that it can be run again.
settings.register_profile("graphkit", deadline=None, print_blob=True)
settings.load_profile("graphkit")


@pytest.fixture(scope="session")
def exports(tmp_path_factory):
    """Exports that test files share, also those that run in another worker."""
    folder = tmp_path_factory.getbasetemp()
    return Exports((folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "exports")


def pytest_runtest_setup():
    """Once torch's exporter has been imported, it keeps its table."""
    share_registry()


def pytest_collection_modifyitems(items):
    """Skip what is marked ``gpu`` where there is no NVIDIA device or no runtime built for one.

    Where both are there and CUDA still does not load, the tests run, and fail.
    """
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and (reason := no_gpu()):
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))


def no_gpu():
    """Why tests for a GPU cannot run here, or an empty string."""
    import onnxruntime

    if not Path("/dev/nvidiactl").exists():
        return "no NVIDIA device"
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return "ONNX Runtime without CUDA: install the gpu extra"
    return ""
