"""TensorRT through ONNX Runtime: what the provider is handed. Its libraries could not be had, so nothing runs on it."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.runtime import providers
from graphkit_cli.main import main

MODEL = onnx.parser.parse_model(
    """
    <ir_version: 10, opset_import: ["": 20]>
    g (float[n, 3, h, 8] x, float[2] k) => (float[n, 3, h, 8] y) { y = Relu(x) }
    """
)


@pytest.fixture(autouse=True)
def tf32_variable(monkeypatch):
    monkeypatch.setitem(os.environ, "NVIDIA_TF32_OVERRIDE", "0")


# R53
def test_profiles_and_precisions_reach_the_provider():
    chosen = gk.TensorRT({"x": "1x3x8x8:2x3x16x8:4x3x64x8"}, fp16=True, int8=True, calibration_table="c.flatbuffers")
    chosen.check(gk.Model(MODEL))
    (name, options), (after, _), (last, _) = providers.options("tensorrt", tf32=False, tensorrt=chosen)
    assert (name, after, last) == (
        "TensorrtExecutionProvider",
        "CUDAExecutionProvider",
        "CPUExecutionProvider",
    )
    assert options == {
        "trt_fp16_enable": "1",
        "trt_int8_enable": "1",
        "trt_int8_calibration_table_name": "c.flatbuffers",
        "trt_profile_min_shapes": "x:1x3x8x8",
        "trt_profile_opt_shapes": "x:2x3x16x8",
        "trt_profile_max_shapes": "x:4x3x64x8",
    }


# R53
def test_the_options_have_the_names_that_the_providers_library_knows():
    found = importlib.util.find_spec("onnxruntime")
    assert found is not None
    library = Path(found.submodule_search_locations[0]) / "capi" / "libonnxruntime_providers_tensorrt.so"
    if not library.exists():
        pytest.skip("this build of onnxruntime has no TensorRT provider")
    known, full = library.read_bytes(), {"x": "1x3x8x8:2x3x16x8:4x3x64x8"}
    for option in gk.TensorRT(full, fp16=True, int8=True, calibration_table="c").provider_options():
        assert b"\0" + option.encode() + b"\0" in known, option


# R53
@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_the_dynamic_inputs_of_an_exported_module_get_their_profile(exporter):
    torch = pytest.importorskip("torch")
    module, x = torch.nn.Conv2d(3, 2, 3), torch.rand(1, 3, 8, 8)
    model = gk.export(module, x, exporter=exporter, dynamic=["input:0=batch", "input:2=h", "input:3=w"])
    sizes = {"batch": (1, 2, 4), "h": (8, 16, 64), "w": (8, 16, 32)}
    line = gk.trtexec(model, "conv.onnx", ranges=sizes)
    shapes = [next(p for p in line.split() if p.startswith(f"--{end}Shapes=input:")) for end in ("min", "opt", "max")]
    chosen = gk.TensorRT({"input": ":".join(shape.rpartition(":")[2] for shape in shapes)})
    chosen.check(model)
    assert chosen.provider_options()["trt_profile_max_shapes"] == "input:4x3x64x32"
    with pytest.raises(gk.FeedError, match="does not fit the input 'input'"):
        gk.TensorRT({"input": "1x1x8x8:1x1x8x8:1x1x8x8"}).check(model)


def test_without_options_the_provider_has_its_defaults():
    assert providers.options("tensorrt", tf32=False)[0] == ("TensorrtExecutionProvider", {})


@pytest.mark.parametrize("text", ["1x3:1x3", "1x3x8x8:1x3x8:1x3x8x8", "4x3:2x3:1x3", "ax3:1x3:1x3", "", "1x-3:1x3:1x3"])
def test_a_profile_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="profile"):
        gk.TensorRT({"x": text}).provider_options()


@pytest.mark.parametrize(
    ("profiles", "error", "says"),
    [
        ({"z": "1:1:1"}, gk.NameNotFoundError, "'z'"),
        ({"x": "1x3:1x3:1x3"}, gk.FeedError, "does not fit the input 'x'"),
        ({"x": "1x4x8x8:1x4x8x8:1x4x8x8"}, gk.FeedError, "does not fit the input 'x'"),
        ({"k": "2:2:2"}, gk.FeedError, "dynamic input 'x' has no profile"),
    ],
)
def test_profiles_are_held_against_the_inputs(profiles, error, says):
    with pytest.raises(error, match=says):
        gk.run(MODEL, {"x": "random", "k": "random"}, device="tensorrt", tensorrt=gk.TensorRT(profiles))


def test_options_of_tensorrt_go_with_no_other_device():
    with pytest.raises(ValueError, match="tensorrt"):
        gk.run(MODEL, {"x": "random", "k": "random"}, device="cpu", tensorrt=gk.TensorRT(fp16=True))


@pytest.mark.skipif(providers.tensorrt_problem() is None, reason="TensorRT is here")
def test_without_its_libraries_it_says_what_is_missing():
    with pytest.raises(gk.ProviderError, match="'tensorrt' was asked for and cannot be used") as caught:
        gk.run(MODEL, {"x": "random", "k": "random"}, device="tensorrt")
    assert caught.value.hint == providers.remedy(providers.tensorrt_problem())


def read_back(path):
    """The table as ONNX Runtime's TensorRT provider reads it: name -> the number that a text says."""
    from onnxruntime.quantization.CalTableFlatBuffers.TrtTable import TrtTable

    table = TrtTable.GetRootAs(path.read_bytes())
    pairs = [table.Dict(place) for place in range(table.DictLength())]
    return {pair.Key().decode(): float(pair.Value()) for pair in pairs}


CALIBRATED = onnx.parser.parse_model(
    """
    <ir_version: 10, opset_import: ["": 20]>
    g (float[n, 2] x) => (float[n, 2] y) <float[2] w = {1, -4}, int64[1] one = {1}> {
      low = Mul(x, w)  shape = Shape(x)  y = Neg(low)
    }
    """
)


# R53
def test_a_calibration_table_holds_the_largest_size_of_each_float_on_the_feeds(tmp_path):
    feeds = [
        np.array([[1, 2]], np.float32),
        np.array([[-3, 0.5], [0.1, 0.1]], np.float32),
        np.zeros((1, 2), np.float32),
    ]
    table = gk.calibrate(CALIBRATED, {"x": [*feeds, np.full((1, 2), -0.25, np.float32)]})
    assert (table.largest, table.runs, table.notes) == ({"x": 3.0, "low": 8.0, "y": 8.0}, 4, ())
    table.save(tmp_path / "table.flatbuffers")
    assert read_back(tmp_path / "table.flatbuffers") == table.largest
    chosen = gk.TensorRT(int8=True, calibration_table=str(tmp_path / "table.flatbuffers"))
    assert chosen.provider_options()["trt_int8_calibration_table_name"] == str(tmp_path / "table.flatbuffers")


def test_the_table_has_the_bytes_that_onnx_runtimes_own_writer_gives_for_the_same_numbers(tmp_path, monkeypatch):
    quantization = pytest.importorskip("onnxruntime.quantization")
    calibrate = pytest.importorskip("onnxruntime.quantization.calibrate")
    monkeypatch.chdir(tmp_path)
    table = gk.calibrate(CALIBRATED, {"x": np.array([[0.3, 7]], np.float32)})
    table.save("ours.flatbuffers")
    theirs = {
        name: calibrate.TensorData(lowest=np.float32(-value), highest=np.float32(value))
        for name, value in reversed(table.largest.items())
    }
    quantization.write_calibration_table(theirs)
    assert Path("ours.flatbuffers").read_bytes() == Path("calibration.flatbuffers").read_bytes()


# R53
def test_the_command_writes_the_table_and_says_what_was_random(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx.save(CALIBRATED, "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    np.save("a.npy", np.array([[1, 2]], np.float32))
    np.save("b.npy", np.array([[-5, 2]], np.float32))
    assert main(["calibrate", "m.onnx", "t.flatbuffers", "--feed", "x=@a.npy", "--feed", "x=@b.npy"]) == 0
    assert read_back(tmp_path / "t.flatbuffers") == {"x": 5.0, "low": 8.0, "y": 8.0}
    assert "3 values over 2 runs" in capsys.readouterr().out
    assert main(["calibrate", "m.onnx", "t.flatbuffers", "--samples", "2"]) == 0
    assert "drawn at random (seed 0): x" in capsys.readouterr().err
    assert main(["calibrate", "m.onnx", "nowhere/t.flatbuffers"]) == 3
    assert main(["calibrate", "m.onnx", "t.flatbuffers", "--feed", "z=1"]) == 3


def test_values_that_say_nothing_are_left_out_of_the_table_and_named():
    model = onnx.parser.parse_model(
        """
        <ir_version: 10, opset_import: ["": 20, "shop": 1]>
        g (float[2] x) => (float[2] y) { n = Log(x)  y = Relu(n) }
        """
    )
    table = gk.calibrate(model, {"x": np.array([-1, 1], np.float32)})
    assert table.largest == {"x": 1.0}
    assert "not finite: 'n', 'y'" in table.notes[0]
    with pytest.raises(gk.EditError, match="nothing to calibrate"):
        gk.calibrate(
            onnx.parser.parse_model(
                '<ir_version: 8, opset_import: ["":18]> g (int64[2] x) => (int64[2] y) { y = Neg(x) }'
            )
        )
