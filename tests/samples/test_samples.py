"""Every sample runs as its docstring says, in a folder of its own, and writes what it promises."""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest

import forked

SAMPLES = Path(__file__).resolve().parents[2] / "samples"


def tell(name: str, folder: Path) -> str:
    """What a sample prints, with its numbers of runs and times as they come."""
    done = subprocess.run(
        [forked.commands() / "python", SAMPLES / name, folder],
        env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


# R37, R38, R40
def test_first_graph(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    told = tell("first_graph.py", tmp_path)
    assert "Mul: ['a', 'x'] -> ['c']" in told
    assert "fields of ModelProto: graph is number 7, opset_import 8" in told
    assert "difference.onnx computes what it should" in told
    assert "did you mean 'c'?" in told
    assert [n.op_type for n in onnx.load(tmp_path / "linear.onnx").graph.node] == ["Mul", "Add"]
    assert [n.op_type for n in onnx.load(tmp_path / "difference.onnx").graph.node] == ["Mul", "Sub"]


# R02, R23, R24
def test_trace_and_script(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    told = tell("trace_and_script.py", tmp_path)
    assert "fixed: image [1, 3, 8, 8], 16 x 16 refused" in told
    assert "free: image [1, 3, 'h', 'w'], 16 x 16 (1, 4, 7, 7)" in told
    assert "traced: inputs ['x'], no Loop, told 5 it adds 3" in told
    assert "scripted: inputs ['rounds', 'x'], Loop, told 5 it adds 5" in told
    assert re.search(r"^get_device\(\) [CG]PU, compiled in \d+ providers$", told, re.MULTILINE)
    assert re.search(r"^loaded .*CPUExecutionProvider; nodes on ", told, re.MULTILINE)


# R41, R42, R43, R44
def test_extract_variants(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    told = tell("extract_variants.py", tmp_path)
    assert "no output needs the input 'x'" in told
    assert "missing is 'conv2d_6'" in told
    for stage in range(1, 5):
        onnx.checker.check_model(tmp_path / f"stage{stage}.onnx", full_check=True)


# R04
def test_espcn_color_photo(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    image = pytest.importorskip("PIL.Image")
    told = tell("espcn_color_photo.py", tmp_path)
    assert "2 photographs, (2, 1, 360, 360)" in told
    bicubic, ours = map(float, re.findall(r"(\d+\.\d+) dB", told))
    assert ours > bicubic + 0.5
    with image.open(tmp_path / "espcn.png") as picture, image.open(SAMPLES / "photos" / "astronaut.png") as photograph:
        assert (picture.mode, picture.size) == ("RGB", photograph.size)
        apart = np.asarray(picture, np.float32) - np.asarray(photograph.convert("RGB"), np.float32)
    assert (np.abs(apart).mean(axis=(0, 1)) < 10).all()  # of 255; planes in another order are 20 and more apart


# R01, R14
def test_dynamic_super_resolution(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    image = pytest.importorskip("PIL.Image")
    told = tell("dynamic_super_resolution.py", tmp_path)
    rows = re.findall(r"│ +(x\S.*?) │.*? x .*?│ +360 x 360 │ +(\S+) │ +(\S+) dB │ +(\S+) dB │", told)
    assert [row[0] for row in rows] == ["x2", "x2.5", "x3", "x4", "x2 by x3"]
    assert all(float(error) < 1e-4 for _, error, _, _ in rows)
    assert all(float(ours) > float(bicubic) for _, _, bicubic, ours in rows)
    at_three = rows[2]
    assert float(at_three[3]) > float(at_three[2]) + 0.5
    for name in ("srcnn.onnx", "trunk.onnx"):
        onnx.checker.check_model(tmp_path / name, full_check=True)
    graph = onnx.load(tmp_path / "srcnn.onnx").graph
    assert [value.name for value in graph.input] == ["image", "factor"]
    assert "Resize" not in {node.op_type for node in onnx.load(tmp_path / "trunk.onnx").graph.node}
    with image.open(tmp_path / "dynamic_super_resolution.png") as picture:
        assert picture.width > 1000


# R52
def test_lower_precision(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("PIL.Image")
    told = tell("lower_precision.py", tmp_path)
    rows = re.findall(r"│ +(\w[\w ]*?) │ +(\d+) bytes │ +(\S+) │ +(\S+) │ +(\S+) │ +(\S+) dB │", told)
    assert [row[0] for row in rows] == ["float32", "float16", "int8", "int8 but Add"]
    exact, half, small, mixed = ([float(cell) for cell in row[1:]] for row in rows)
    assert exact[0] > 1.5 * half[0] > 1.5 * small[0]
    assert exact[1] == 0 < half[2] < mixed[2] < small[2]
    assert half[4] > exact[4] - 0.02
    assert small[4] > exact[4] - 0.3
    assert "int8: quantized: 1 Add, 3 Conv, 2 Relu; ranges are from 1 run; relative L2 error 0.0" in told
    graph = onnx.load(tmp_path / "srcnn_float16.onnx").graph
    scales = {name for node in graph.node if node.op_type == "Resize" for name in node.input[2:3]}
    assert {tensor.data_type for tensor in graph.initializer if tensor.name in scales} == {onnx.TensorProto.FLOAT}
    onnx.checker.check_model(tmp_path / "srcnn_int8.onnx", full_check=True)


def test_samples_are_all_run() -> None:
    stories = {path.name for path in SAMPLES.glob("*.py") if "__main__" in path.read_text(encoding="utf-8")}
    run = set(re.findall(r'tell\("(\w+\.py)"', Path(__file__).read_text(encoding="utf-8")))
    assert stories == run


def test_what_is_shipped_stays_small_and_says_where_it_is_from() -> None:
    checkpoints = list((SAMPLES / "checkpoints").iterdir())
    assert {path.name for path in checkpoints} == {"srcnn.pt", "espcn.pt"}
    assert all(path.stat().st_size < 300_000 for path in checkpoints)
    licences = (SAMPLES / "photos" / "LICENSES.md").read_text(encoding="utf-8")
    photos = [path for path in (SAMPLES / "photos").iterdir() if path.suffix != ".md"]
    assert photos
    assert all(f"`{path.name}`" in licences and path.stat().st_size < 300_000 for path in photos)


# R13, R14, R16
def test_dynamic_scale_five_ways(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    told = tell("dynamic_scale_five_ways.py", tmp_path)
    rows = re.findall(
        r"│ (symbolic|script|onnx op|custom op|resize) +│ (\w+) +│ (\S+) +│ (\S+) +│ (\S+) +│ (\S+) +│", told
    )
    assert [row[:2] for row in rows] == [
        ("symbolic", "torchscript"),
        ("script", "torchscript"),
        ("onnx op", "dynamo"),
        ("custom op", "dynamo"),
        ("custom op", "torchscript"),
        ("resize", "dynamo"),
        ("resize", "torchscript"),
    ]
    errors = [cell for row in rows for cell in row[2:]]
    assert errors.count("-") == 1  # a script has one factor for both axes
    assert all(float(error) < 1e-5 for error in errors if error != "-")


# R48, R49, R50, R51
def test_custom_operators(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    told = tell("custom_operators.py", tmp_path)
    assert "aten::asinh has no translation to opset 9" in told
    assert "custom:MyAdd(-1) is not a registered function/op" in told
    assert told.count("DeformConv") == 2
    assert all(float(error) < 1e-5 for error in re.findall(r"\d\.\de[-+]\d\d", told))


# R27, R55
def test_deploy_time_patches(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("PIL.Image")
    told = tell("deploy_time_patches.py", tmp_path)
    assert float(re.findall(r"torch: \S+ to (\S+)", told)[0]) > 1
    ways = re.findall(r"^(\w+) +(\w+) +0\.000 to 1\.000 .* (\S+)$", told, re.MULTILINE)
    expected = [(way, exporter) for exporter in ("dynamo", "torchscript") for way in ("module", "patches", "file")]
    assert [(way, exporter) for way, exporter, _ in ways] == expected
    assert all(float(error) < 1e-4 for _, _, error in ways)
    for way, exporter in expected:
        graph = onnx.load(tmp_path / f"clipped_{way}_{exporter}.onnx").graph
        assert (graph.node[-1].op_type, graph.output[0].name) == ("Clip", "larger")
    assert re.findall(r"^for (\w+) +(\w+) +TensorRT lacks: (\S+)", told, re.MULTILINE) == [
        ("onnxruntime", "Resize", "resize-mode"),
        ("tensorrt", "CubicResize", "custom-operator"),
    ]


# R46, R47
def test_precision_alignment(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    told = tell("precision_alignment.py", tmp_path).splitlines()
    verdicts = [re.findall(r"(x_\d) \S+ (ok|DIFFERS)", line) for line in told]
    right = [(f"x_{number}", "ok") for number in range(4)]
    wrong = [("x_0", "ok"), *((f"x_{number}", "DIFFERS") for number in range(1, 4))]
    assert [found for found in verdicts if found] == [right, right, wrong, wrong]
    named = [line for line in told if "first wrong value" in line]
    assert len(named) == 2
    assert all("x_1, module convs2.1, " in line and "precision_alignment.py:" in line for line in named)
    for exporter in ("dynamo", "torchscript"):
        graph = onnx.load(tmp_path / f"suspect_{exporter}.onnx").graph
        assert [node.op_type for node in graph.node] == ["Conv", "Conv"]
