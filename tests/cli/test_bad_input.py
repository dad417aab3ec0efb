"""What a user can get wrong: one clear message, exit code 3, no traceback, no output file."""

import sys

import onnx
import pytest


@pytest.fixture
def files(tmp_path, chain):
    """Every input file of this module's commands, in one folder; ``out.onnx`` is not there."""
    (tmp_path / "text.onnx").write_text("this is no model\n", encoding="utf-8")
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "picture.onnx").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40)
    (tmp_path / "cut.onnx").write_bytes(chain.read_bytes()[:-7])
    two = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        two (float[2] a, float[2] b) => (float[2] y) { left = Relu(a)  right = Neg(b)  y = Add(left, right) }"""
    )
    onnx.save(two, tmp_path / "two.onnx")
    return tmp_path


CASES = {
    "missing file": ("extract missing.onnx out.onnx --input x --output y", ["missing.onnx"]),
    "a folder": ("extract . out.onnx --input x --output y", ["."]),
    "no ONNX file, text": ("extract text.onnx out.onnx --input x --output y", ["text.onnx"]),
    "no ONNX file, empty": ("extract empty.onnx out.onnx --input x --output y", ["empty.onnx"]),
    "no ONNX file, picture": ("extract picture.onnx out.onnx --input x --output y", ["picture.onnx"]),
    "an ONNX file cut short": ("extract cut.onnx out.onnx --input x --output y", ["cut.onnx"]),
    "inspect no ONNX file": ("inspect text.onnx", ["text.onnx"]),
    "inspect a missing file": ("inspect missing.onnx", ["missing.onnx"]),
    "unknown value": ("extract chain.onnx out.onnx --input hiden --output y", ["'hiden'", "did you mean 'hidden'?"]),
    "inputs that do not determine the output": (
        "extract two.onnx out.onnx --input left --output y",
        ["'y'", "b", "right"],
    ),
    "no Resize": ("resize chain.onnx out.onnx", ["no Resize"]),
    "unknown initializer": ("promote chain.onnx out.onnx --tensor bais", ["'bais'", "did you mean 'bias'?"]),
    "a module path that does not import": ("export no_such_package.net:factory out.onnx", ["no_such_package"]),
    "a module without the factory": ("export onnx.helper:no_such_factory out.onnx", ["no_such_factory"]),
    "a factory that is not a name": ("export onnx.helper out.onnx", ["package.module:factory"]),
    "run a missing file": ("run missing.onnx", ["missing.onnx"]),
    "a feed that is not there": ("run chain.onnx --feed x=@missing.npy", ["missing.npy"]),
    "a feed for no input": ("run chain.onnx --feed z=random", ["'z'"]),
    "the target's folder is missing": ("promote chain.onnx no/out.onnx --tensor bias", ["no/out.onnx", "mkdir"]),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_3_with_a_message_that_names_it(graphkit, files, monkeypatch, case):
    line, said = CASES[case]
    if line.startswith("export"):
        pytest.importorskip("torch")
    monkeypatch.chdir(files)
    before = sorted(files.iterdir())
    code, out, err = graphkit(*line.split())
    assert code == 3, err
    assert out == ""
    assert err.startswith("graphkit: error: ")
    assert "Traceback" not in err
    assert len(err) < 1000
    for word in said:
        assert word in err
    assert sorted(files.iterdir()) == before


@pytest.mark.parametrize(
    ("line", "package", "extra"),
    [
        ("run chain.onnx --feed x=random", "onnxruntime", "cpu"),
        ("run chain.onnx --feed x=@photo.png", "PIL", "image"),
        ("export onnx.helper:make_node out.onnx", "torch", "torch"),
        ("export torch.nn:ReLU out.onnx --input x=1,3", "onnxscript", "torch"),
        ("ops --torch aten::relu", "torch", "torch"),
    ],
)
def test_a_missing_extra_names_the_pip_line(graphkit, files, monkeypatch, line, package, extra):
    for name in [m for m in sys.modules if m.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.chdir(files)
    (files / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    code, out, err = graphkit(*line.split())
    assert (code, out) == (3, ""), err
    assert f'pip install "onnx-graphkit[{extra}]"' in err
    assert not (files / "out.onnx").exists()


def test_a_failed_command_leaves_the_old_output_alone(graphkit, files, monkeypatch):
    monkeypatch.chdir(files)
    (files / "out.onnx").write_bytes(b"precious")
    assert graphkit("promote", "chain.onnx", "out.onnx", "--tensor", "bais").code == 3
    assert (files / "out.onnx").read_bytes() == b"precious"


def test_bad_input_through_the_installed_script(shell):
    code, out, err = shell("inspect", "missing.onnx")
    assert (code, out) == (3, "")
    assert err.startswith("graphkit: error: ")
    assert "missing.onnx" in err
