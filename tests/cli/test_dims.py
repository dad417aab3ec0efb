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


FACTORIES = """
import torch

class Net(torch.nn.Module):
    def __init__(self, sign):
        super().__init__()
        self.sign = sign

    def forward(self, x):
        return self.sign * x.reshape(x.shape[0], -1)

def same():
    return Net(-1).eval()

def other():
    return Net(1).eval()
"""


def test_a_torch_module_at_other_sizes_proves_the_result(graphkit, tmp_path, monkeypatch):
    (tmp_path / "dims_factories.py").write_text(FACTORIES)
    monkeypatch.syspath_prepend(tmp_path)
    text = "g (float[1,6,4] x) => (float[a,b] y) <int64[2] t = {1,24}> { r = Reshape(x, t) y = Neg(r) }"
    onnx.save(parse(text), tmp_path / "m.onnx")
    out = tmp_path / "o.onnx"
    common = ("dims", tmp_path / "m.onnx", out, "--set", "x:0=n", "--set", "x:-2=s")
    refused = graphkit(*common, "--repair-shapes", "--torch", "dims_factories:other")
    assert (refused.code, "MISMATCH" in refused.out, out.exists()) == (1, True, False)
    rows = [line.split()[:2] for line in refused.out.splitlines() if line.endswith("FAILS")]
    assert [row for row in rows if row[0] in "23"] == [[n, s] for n in "23" for s in ("12", "18")]
    stuck = graphkit(*common, "--torch", "dims_factories:same")
    assert (stuck.code, "DOES NOT RUN at another size" in stuck.out, out.exists()) == (1, True, False)
    done = graphkit(*common, "--repair-shapes", "--torch", "dims_factories:same")
    assert (done.code, "compared with dims_factories:same: every output agrees" in done.err) == (0, True), done.err
    assert out.exists()


def test_a_name_of_an_output_that_follows_a_named_axis_is_that_name(graphkit, tmp_path):
    onnx.save(parse("g (float[1,6] x) => (float[1,6] y) { y = Neg(x) }"), tmp_path / "m.onnx")
    common = ("dims", tmp_path / "m.onnx", tmp_path / "o.onnx", "--set", "x:0=n", "--set")
    refused = graphkit(*common, "y:0=k")
    assert (refused.code, "y:0 follows x:0, which is to be 'n'" in refused.err) == (3, True), refused.err
    done = graphkit(*common, "y:0=n")
    assert (done.code, "symbolic" in done.err) == (0, False), done.err


def test_an_axis_that_gets_the_name_of_a_free_one_is_stacked_with_it(graphkit, tmp_path):
    text = "g (float[n,6] x, float[4,6] z) => (float[n,6] y, float[4,6] w) { y = Neg(x) w = Neg(z) }"
    onnx.save(parse(text), tmp_path / "m.onnx")
    done = graphkit("dims", tmp_path / "m.onnx", tmp_path / "o.onnx", "--set", "z:0=n", "--repair-shapes")
    assert (done.code, "warning" in done.err) == (0, False), done.err
    assert "3 samples stacked along z:0, x:0 give in one run what each gives alone" in done.err
