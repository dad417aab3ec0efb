"""Optional packages: missing, broken and too old ones are told apart, and what mends them is said."""

import importlib.metadata
import sys

import onnx
import pytest

import graphkit as gk
from graphkit import optional as room
from graphkit.optional import EXTRAS, is_there, optional, outdated

MODEL = onnx.parser.parse_model(
    '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) { y = Relu(x) }'
)


@pytest.fixture
def asked(monkeypatch):
    """Set what graphkit's metadata asks for."""

    def ask(*lines):
        monkeypatch.setattr(room, "_accepted", set())
        monkeypatch.setattr(importlib.metadata, "requires", lambda name: list(lines))

    return ask


def test_a_package_that_is_too_old_is_refused_before_it_fails(asked):
    asked("numpy>=1.0", 'onnxruntime-gpu>=999.1; extra == "gpu"', 'onnxruntime>=999.0; extra == "cpu"')
    with pytest.raises(gk.OutdatedPackageError, match=r"needs onnxruntime(-gpu)? 999\.0 or later; 1\.") as caught:
        gk.run(MODEL, {"x": [1, 2]})
    (package,) = room.installed_distributions("onnxruntime")
    mending = f'pip install "{package}>=999.0"'
    assert caught.value.hint == mending
    (check,) = (check for check in gk.doctor().checks if check.what == "onnxruntime")
    assert (check.state, check.remedy) == ("broken", mending)


@pytest.mark.parametrize(
    ("installed", "lowest", "old"),
    [
        ("1.26.0", "1.27", True),
        ("1.27.0", "1.27", False),
        ("1.100.0", "1.27", False),
        ("2.13.0+cpu", "2.13", False),
        ("2.13.0.dev20260101", "2.13", False),
        ("2.13.0rc1", "2.13.1", True),
        ("0.9", "0.10", True),
    ],
)
def test_versions_are_compared_as_numbers(asked, installed, lowest, old):
    asked(f'torch>={lowest}; extra == "torch"')
    assert outdated("torch", installed) == (lowest if old else None)


def test_without_an_installed_distribution_nothing_is_asked(asked, monkeypatch):
    asked()

    def none(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", none)
    assert outdated("onnxruntime", "0.1") is None


def test_a_package_that_is_there_and_does_not_load_is_not_called_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(EXTRAS, "halfbroken", "cpu")
    (tmp_path / "halfbroken.py").write_text("raise ImportError('libnothing.so.1: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(gk.MissingExtraError, match=r"installed and cannot be imported: libnothing\.so"):
        optional("halfbroken", "a test")
    monkeypatch.setitem(EXTRAS, "not_there_at_all", "cpu")
    with pytest.raises(
        gk.MissingExtraError, match="a test needs the package 'not_there_at_all', which is not installed"
    ):
        optional("not_there_at_all", "a test")


def test_every_optional_package_comes_with_an_extra_and_a_lowest_version():
    asked = [line for line in importlib.metadata.requires("onnx-graphkit") if "extra ==" in line]
    for name, extra in EXTRAS.items():
        wanted = room.distributions(name)[0]
        assert any(line.startswith(f"{wanted}>=") and f"'{extra}'" in line.replace('"', "'") for line in asked), name


def test_a_package_that_a_finder_refuses_is_missing(monkeypatch):
    class Refusing:
        def find_spec(self, name, path=None, target=None):
            if name == "onnxruntime":
                raise ModuleNotFoundError(name)

    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Refusing(), *sys.meta_path])
    assert not is_there("onnxruntime")
    with pytest.raises(gk.MissingExtraError, match="not installed"):
        optional("onnxruntime", "running a model")
