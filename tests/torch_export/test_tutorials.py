"""Claims of the tutorials that have no test of their own elsewhere, on today's torch (README's table, by row)."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import onnx
import pytest

import graphkit as gk
from oracle import assert_same, run_ort

torch = pytest.importorskip("torch")
F = torch.nn.functional

BOTH = pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])


def image(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(4))


def operators(model):
    return [node.op_type for node in model.proto.graph.node if node.op_type != "Constant"]


def compare(model, module, *inputs):
    with torch.no_grad():
        expected = module.eval()(*inputs).numpy()
    names = [value.name for value in model.proto.graph.input]
    answer = run_ort(model, dict(zip(names, (tensor.numpy() for tensor in inputs), strict=True)))
    assert_same(next(iter(answer.values())), expected, atol=1e-5)


class Upscaler(torch.nn.Module):
    """SRCNN as the tutorial has it: a fixed factor, opset 11."""

    def __init__(self):
        super().__init__()
        self.up = torch.nn.Upsample(scale_factor=3, mode="bicubic", align_corners=False)
        self.conv = torch.nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return self.conv(self.up(x))


# R01, R06, R07, R08
@BOTH
def test_from_torch_to_a_file_to_numbers_that_agree(exporter, tmp_path):
    """The first chapter as it stands, with torch's exporter called by graphkit."""
    import onnxruntime

    module, x, path = Upscaler(), image(1, 3, 8, 8), tmp_path / "srcnn.onnx"
    gk.export(module, x, path, exporter=exporter, input_names=["input"], output_names=["output"])
    onnx.checker.check_model(onnx.load(path))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (output,) = session.run(["output"], {"input": x.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(output, module(x).numpy(), rtol=1e-3, atol=1e-5)
    assert_same(gk.run(path, {"input": x.numpy()}, device="cpu"), {"output": output})
    assert gk.validate(path, torch=(module, (x,)), device="cpu").match
    with pytest.raises(gk.NameNotFoundError, match=r"'outputs'.*\n.*did you mean 'output'"):
        gk.run(path, {"input": x.numpy()}, outputs=["outputs"], device="cpu")


# R06
def test_a_model_that_the_checker_takes_may_run_nowhere():
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17, "mine": 1]> g (float[n] x) => (float[n] y) { y = mine.Special(x) }'
    )
    onnx.checker.check_model(model, full_check=True)
    with pytest.raises(gk.SessionError, match="mine:Special"):
        gk.run(model, {"x": np.ones(2, np.float32)}, device="cpu")


@functools.cache
def upscaler(exporter):
    """(the module, its export without further options)."""
    module = Upscaler()
    return module, gk.export_report(module, image(1, 3, 8, 8), exporter=exporter)


# R09
@BOTH
def test_inspect_tells_attributes_edges_and_weights(exporter):
    module, report = upscaler(exporter)
    model = report.model
    summary = gk.inspect(model)
    resize, conv = (node for node in summary.nodes if node.operator != "Constant")
    assert (conv.attributes["strides"], conv.attributes["pads"]) == ("[1, 1]", "[1, 1, 1, 1]")
    assert conv.inputs == (resize.outputs[0], "conv.weight", "conv.bias")
    weights = {weight.name: weight.type for weight in summary.initializers}
    assert weights["conv.weight"] == "float32[3,3,3,3]"
    assert "strides=[1, 1]" in gk.text(summary, nodes=True)
    assert_same(np.array(model.array("conv.weight")), module.conv.weight.detach().numpy())


# R05
@pytest.mark.parametrize(
    ("exporter", "opset"), [("torchscript", 11), ("torchscript", 20), ("dynamo", 18), ("dynamo", 25)]
)
def test_a_bicubic_upsample_is_one_resize(exporter, opset):
    module, x = Upscaler(), image(1, 3, 8, 8)
    model = gk.export(module, x, exporter=exporter, opset=opset)
    assert operators(model) == ["Resize", "Conv"]
    onnx.checker.check_model(model.materialize(), full_check=True)
    compare(model, module, x)


# R05
def test_an_opset_that_an_exporter_does_not_write_is_said():
    (said,) = gk.export_report(Upscaler(), image(1, 3, 8, 8), opset=11).findings
    assert said.message == "opset 11 was asked for and the model has opset 18"
    with pytest.raises(
        gk.ExportError, match=r"upsample_bicubic2d has no translation to opset 9.*\n.* opset 11 or later"
    ):
        gk.export(Upscaler(), image(1, 3, 8, 8), exporter="torchscript", opset=9)


# R17
@pytest.mark.parametrize(
    ("exporter", "opset", "expected"),
    [("torchscript", 10, "Transpose"), ("torchscript", 11, "DepthToSpace"), ("dynamo", None, "DepthToSpace")],
)
def test_pixel_shuffle_with_a_dynamic_batch(exporter, opset, expected):
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 9, 3, padding=1), torch.nn.PixelShuffle(3))
    model = gk.export(module, image(1, 1, 8, 8), exporter=exporter, opset=opset, dynamic=["input:0=batch"])
    assert expected in operators(model)
    compare(model, module, image(2, 1, 8, 8))


# R18
@BOTH
def test_the_weights_may_stay_out_of_the_file(exporter):
    module = torch.nn.Linear(3, 2)
    model = gk.export(module, image(1, 3), exporter=exporter, parameters="inputs")
    onnx.checker.check_model(model.materialize(), full_check=True)
    assert [tensor.name for tensor in model.proto.graph.initializer] == []
    weights = {name: value.detach().numpy() for name, value in module.named_parameters()}
    x = image(1, 3)
    answer = run_ort(model, {"input": x.numpy(), **weights})
    with torch.no_grad():
        assert_same(next(iter(answer.values())), module(x).numpy(), atol=1e-5)


# R19
@BOTH
def test_without_an_opset_the_exporters_write_20(exporter):
    _, report = upscaler(exporter)
    assert report.opset == 20


class Repeated(torch.nn.Module):
    """The tutorial's loop over a number that the constructor was given."""

    def __init__(self, n):
        super().__init__()
        self.n = n
        self.conv = torch.nn.Conv2d(3, 3, 3)

    def forward(self, x):
        for _ in range(self.n):
            x = self.conv(x)
        return x


# R23
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_loop_of_constant_length_is_unrolled_scripted_or_not():
    """The tutorial's script gave one Loop for any n; since then torch unrolls it. test_export has the Loop of an argument."""
    for n in (2, 3):
        module, x = Repeated(n), image(1, 3, 10, 10)
        traced = gk.export(module, x, exporter="torchscript")
        scripted = gk.export(torch.jit.script(module), x, exporter="torchscript")
        assert operators(traced) == operators(scripted) == ["Conv"] * n
        compare(traced, module, x)
        compare(scripted, module, x)


class Computed(torch.nn.Module):
    """Sizes that are computed from the input's, as detection heads have them."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        y = self.conv(x)
        n, c, h, w = y.shape
        return F.interpolate(y.reshape(n, c // 2, 2, h, w).mean(2), size=(h * 2, w * 2), mode="bilinear")


# R29
@BOTH
def test_shapes_are_made_static_on_the_file(exporter):
    """The tutorials break the trace on purpose for this; the file can be exported for any size and fixed afterwards."""
    module, x = Computed(), image(1, 3, 8, 8)
    anything = gk.export(module, x, exporter=exporter, dynamic=["x:0=n", "x:2=h", "x:3=w"])
    assert {"Shape", "Concat"} <= set(operators(anything))
    static = gk.dims(anything, {"n": 1, "h": 8, "w": 8}, fold=True)
    assert operators(static) == ["Conv", "Reshape", "ReduceMean", "Resize"]
    onnx.checker.check_model(static.materialize(), full_check=True)
    assert [d.dim_value for d in static.proto.graph.output[0].type.tensor_type.shape.dim] == [1, 2, 16, 16]
    compare(static, module, x)
    compare(anything, module, image(2, 3, 6, 9))


# R29
@BOTH
def test_a_value_is_made_static_on_the_file(exporter):
    class Scaled(torch.nn.Module):
        def forward(self, x, k):
            return x * (k * 2 + 1)

    model = gk.export(Scaled(), (image(3), torch.tensor(2.0)), exporter=exporter)
    static = gk.freeze(model, {"k": 3.0}, fold=True)
    assert operators(static) == ["Mul"]
    assert [value.name for value in static.proto.graph.input] == ["x"]
    x = image(3)
    assert_same(next(iter(run_ort(static, {"x": x.numpy()}).values())), x.numpy() * 7)


# R31
@BOTH
def test_silu_is_sigmoid_and_mul_and_no_longer_unsupported(exporter):
    model = gk.export(torch.nn.SiLU(), image(3), exporter=exporter)
    assert operators(model) == ["Sigmoid", "Mul"]
    compare(model, torch.nn.SiLU(), image(3))


# R32
@BOTH
def test_batch_norm_behind_a_convolution_is_folded_into_it(exporter):
    """The tutorial took it for a fault of Netron; it is the exporter, and ``optimize=False`` keeps the node."""
    behind = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, bias=False), torch.nn.BatchNorm2d(4), torch.nn.ReLU()).eval()
    before = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).eval()
    for norm in (behind[1], before[0]):
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
    x = image(1, 3, 8, 8)
    assert operators(gk.export(before[0], x, exporter=exporter)) == ["BatchNormalization"]
    folded = gk.export(behind, x, exporter=exporter)
    assert operators(folded) == ["Conv", "Relu"]
    whole = gk.export(behind, x, exporter=exporter, optimize=False)
    kept = [op for op in operators(whole) if op in ("Conv", "BatchNormalization", "Relu")]
    assert kept == ["Conv", "BatchNormalization", "Relu"]
    assert operators(gk.export(before, x, exporter=exporter)) == ["BatchNormalization", "Conv", "Relu"]
    compare(folded, behind, x)
    compare(whole, behind, x)
    names = {tensor.name for tensor in whole.proto.graph.initializer}
    assert {"0.weight", "1.running_mean"} <= names


PLUGIN_BODY = """
<domain: "Test", opset_import: ["": 18]>
DynamicTRTResize <align_corners> (x, size) => (y)
{
    shape = Shape<start = 2>(size)
    head = Shape<end = 2>(x)
    sizes = Concat<axis = 0>(head, shape)
    y = Resize<mode = "cubic", cubic_coeff_a = -0.75>(x, , , sizes)
}
"""


# R54
def test_a_plugins_node_is_exported_linted_and_runs_with_a_body():
    """The plugin of the TensorRT chapter: only the shape of its second input counts."""

    class Plugin(torch.autograd.Function):
        @staticmethod
        def forward(_ctx, x, size):
            return F.interpolate(x, size=size.shape[2:], mode="bicubic")

        @staticmethod
        def symbolic(g, x, size):
            return g.op("Test::DynamicTRTResize", x, size, align_corners_i=0)

    class Net(torch.nn.Module):
        def forward(self, x, size):
            return Plugin.apply(x, size)

    x, size = image(1, 3, 8, 8), image(1, 1, 20, 12)
    model = gk.export(Net(), (x, size), exporter="torchscript", opset=17, dynamic=["size:2=h", "size:3=w"])
    assert operators(model) == ["DynamicTRTResize"]
    assert [v.rule for v in gk.lint(model).violations] == ["custom-operator"]
    with pytest.raises(gk.SessionError, match="DynamicTRTResize"):
        gk.session(model, device="cpu")
    compare(gk.define(model, PLUGIN_BODY), Net(), x, size)
    compare(gk.define(model, PLUGIN_BODY), Net(), x, image(1, 1, 13, 31))
    traced_through = gk.export(Net(), (x, size))
    assert "Resize" in operators(traced_through)
    assert [v.rule for v in gk.lint(traced_through).violations] == ["resize-mode"]


def torchs_own(module, args, path, *, dynamo):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), args, path, dynamo=dynamo, verbose=False)
    return onnx.load(path).graph


# R10, R30
def test_what_torch_itself_makes_of_a_python_number(tmp_path):
    class Scaled(torch.nn.Module):
        def forward(self, x, factor):
            return F.interpolate(x, scale_factor=factor, mode="bicubic")

    class Times(torch.nn.Module):
        def forward(self, x, number):
            return x * number

    x = image(1, 3, 8, 8)
    with pytest.raises(TypeError, match="upsample_bicubic2d"):
        torchs_own(Scaled(), (x, 3), tmp_path / "scaled.onnx", dynamo=False)
    assert len(torchs_own(Scaled(), (x, 3), tmp_path / "scaled.onnx", dynamo=True).input) == 1
    (_, number) = torchs_own(Times(), (x, 2.5), tmp_path / "times.onnx", dynamo=False).input
    assert number.type.tensor_type.elem_type == onnx.TensorProto.DOUBLE
    assert len(torchs_own(Times(), (x, 2.5), tmp_path / "times.onnx", dynamo=True).input) == 1


# R10, R15
def test_a_python_number_is_a_constant_and_resize_makes_it_an_input():
    class Scaled(torch.nn.Module):
        def forward(self, x, factor):
            return F.interpolate(x, scale_factor=factor, mode="bicubic")

    x = image(1, 3, 8, 8)
    for exporter in ("dynamo", "torchscript"):
        report = gk.export_report(Scaled(), (x, 3), exporter=exporter)
        assert [f.kind for f in report.findings] == ["number-baked"]
        mended = gk.resize(report.model)
        for factor in (2.0, 3.3, (2.0, 3.5)):
            pair = factor if isinstance(factor, tuple) else (factor, factor)
            feeds = {"x": x.numpy(), "factor": np.array(pair, np.float32)}
            answer = next(iter(run_ort(mended, feeds).values()))
            assert_same(answer, F.interpolate(x, scale_factor=pair, mode="bicubic").numpy(), atol=1e-5)
