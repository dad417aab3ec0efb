"""Saved results of validate are judged by other tolerances, and nothing is run."""

import json

import numpy as np
import onnx
import pytest

import graphkit as gk

TEXT = """<ir_version: 10, opset_import: ["" : 18]> g ({kind}[n] x) => ({kind}[n] y, int64[1] s)
<{kind}[1] k = {{{value}}}> {{ y = Mul(x, k) s = Shape(x) }}"""


def scaled(value, kind="float"):
    return onnx.parser.parse_model(TEXT.format(value=value, kind=kind))


@pytest.fixture
def results(tmp_path):
    report = gk.validate(scaled("1.01"), against=scaled("1.0"), bind={"n": [3, 5]}, samples=2, save=tmp_path / "r.npz")
    assert not report
    return report, tmp_path / "r.npz"


def test_the_same_tolerances_give_the_same_report(results):
    report, path = results
    again = gk.validate_saved(path)
    assert again.outputs == report.outputs
    assert again.samples == report.samples
    assert again.worst_sample == report.worst_sample
    assert (again.match, again.candidate, again.reference) == (report.match, report.candidate, report.reference)
    assert "nothing was run" in again.notes[0]


def test_other_tolerances_give_another_verdict_and_no_session_is_made(results, monkeypatch):
    _, path = results
    monkeypatch.setattr("graphkit.runtime.session.raw_session", None)
    assert gk.validate_saved(path, rtol=0.011, atol=0)
    assert not gk.validate_saved(path, rtol=0.009, atol=0)
    assert "rtol given" in next(iter(gk.validate_saved(path, rtol=0.5).outputs.values())).tolerance


@pytest.mark.parametrize(
    ("kind", "number"), [("bfloat16", 16), ("float16", 10), ("double", 11), ("bool", 9), ("string", 8)]
)
def test_dtypes_come_back(tmp_path, kind, number):
    text = f"""<ir_version: 10, opset_import: ["" : 18]> g (float[3] x) => ({kind}[3] y) {{ y = Cast<to = {number}>(x) }}"""
    model = onnx.parser.parse_model(text)
    report = gk.validate(model, against=model, samples=1, save=tmp_path / "r.npz")
    again = gk.validate_saved(tmp_path / "r.npz")
    assert again.match
    assert again.outputs == report.outputs


def test_what_holds_no_results_is_refused(tmp_path, results):
    np.savez(tmp_path / "other.npz", y=np.ones(3))
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "deep.npz", **{"graphkit.validate": np.array("[" * 5000)})
    cut = tmp_path / "cut.npz"
    cut.write_bytes(results[1].read_bytes()[:400])
    for path in (tmp_path / "other.npz", tmp_path / "text.npz", tmp_path / "deep.npz", cut):
        with pytest.raises(gk.FormatError, match="holds no results of validate"):
            gk.validate_saved(path)
    with pytest.raises(gk.ModelFileError, match="missing"):
        gk.validate_saved(tmp_path / "missing.npz")


def test_outputs_that_are_no_tensors_cannot_be_saved(tmp_path):
    text = (
        """<ir_version: 10, opset_import: ["" : 18]> g (float[2] x) => (seq(float[2]) y) { y = SequenceConstruct(x) }"""
    )
    model = onnx.parser.parse_model(text)
    with pytest.raises(gk.ComparisonError, match="cannot be saved"):
        gk.validate(model, against=model, save=tmp_path / "r.npz")
    assert not (tmp_path / "r.npz").exists()


def test_the_command(tmp_path, capsys):
    from graphkit_cli.main import main

    onnx.save(scaled("1.01"), tmp_path / "a.onnx")
    onnx.save(scaled("1.0"), tmp_path / "b.onnx")
    a, b, path = str(tmp_path / "a.onnx"), str(tmp_path / "b.onnx"), str(tmp_path / "r.npz")
    assert main(["validate", a, "--against", b, "--save", path]) == 1
    assert main(["validate", "--saved", path]) == 1
    assert main(["validate", "--saved", path, "--rtol", "0.02"]) == 0
    capsys.readouterr()
    assert main(["validate", "--saved", path, "--rtol", "0.02", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["match"] is True
    assert main(["validate", a, "--saved", path]) == 2
    assert main(["validate", "--saved", path, "--against", b]) == 2
    assert main(["validate", "--saved", str(tmp_path / "missing.npz")]) == 3
    assert main(["validate"]) == 2
