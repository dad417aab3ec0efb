"""The dims command: its report, and results that are compared before they are written."""

import functools
import json

import onnx
import onnx.parser

import onnx_text

parse = functools.partial(onnx_text.parse, opset=17)


TABLE = "g (float[1,6,4] x) => (float[a,b,c] y) <float[1,6,1] table = {2,1,2,5,2,2}> { [join] y = Mul(x, table) }"


def test_the_report_of_the_command_writes_nothing(graphkit, tmp_path):
    onnx.save(parse(TABLE), tmp_path / "m.onnx")
    done = graphkit("dims", tmp_path / "m.onnx", "--set", "x:1=s", "--report")
    assert (done.code, "property of the net: 1" in done.out) == (0, True)
    shown = graphkit("dims", tmp_path / "m.onnx", "--set", "x:1=s", "--report", "--json")
    assert json.loads(shown.out)["properties"][0]["node"] == "join"
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]
    assert graphkit("dims", tmp_path / "m.onnx", tmp_path / "o.onnx", "--set", "x:1=s", "--report").code == 2
    assert graphkit("dims", tmp_path / "m.onnx", "--set", "x:1=s").code == 2
    assert (
        graphkit("dims", tmp_path / "m.onnx", tmp_path / "o.onnx", "--set", "x:1=s", "--repair-shapes", "--strict").code
        == 3
    )
    assert not (tmp_path / "o.onnx").exists()


def test_an_export_at_another_size_proves_the_result(graphkit, tmp_path):
    flat = "g (float[1,{0},4] x) => (float[a,b] y) <int64[2] t = {{1,{1}}}> {{ r = Reshape(x, t) y = {2}(r) }}"
    for name, text in {
        "m": flat.format(6, 24, "Neg"),
        "same": flat.format(9, 36, "Neg"),
        "other": flat.format(9, 36, "Abs"),
    }.items():
        onnx.save(parse(text), tmp_path / f"{name}.onnx")
    common = ("dims", tmp_path / "m.onnx", tmp_path / "o.onnx", "--set", "x:1=s", "--repair-shapes", "--reference")
    assert graphkit(*common, tmp_path / "other.onnx").code == 1
    assert not (tmp_path / "o.onnx").exists()
    done = graphkit(*common, tmp_path / "same.onnx")
    assert (done.code, "every output agrees" in done.err) == (0, True), done.err
