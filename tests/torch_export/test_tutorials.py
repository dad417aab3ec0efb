"""Claims of the tutorials that have no test of their own elsewhere, on today's torch (README's table, by row)."""

from __future__ import annotations

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


@pytest.mark.parametrize(
    ("exporter", "opset"), [("torchscript", 11), ("torchscript", 20), ("dynamo", 18), ("dynamo", 25)]
)
def test_r05_a_bicubic_upsample_is_one_resize(exporter, opset):
    module, x = Upscaler(), image(1, 3, 8, 8)
    model = gk.export(module, x, exporter=exporter, opset=opset)
    assert operators(model) == ["Resize", "Conv"]
    onnx.checker.check_model(model.materialize(), full_check=True)
    compare(model, module, x)


@pytest.mark.parametrize(
    ("exporter", "opset", "expected"),
    [("torchscript", 10, "Transpose"), ("torchscript", 11, "DepthToSpace"), ("dynamo", None, "DepthToSpace")],
)
def test_r17_pixel_shuffle_with_a_dynamic_batch(exporter, opset, expected):
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 9, 3, padding=1), torch.nn.PixelShuffle(3))
    model = gk.export(module, image(1, 1, 8, 8), exporter=exporter, opset=opset, dynamic=["input:0=batch"])
    assert expected in operators(model)
    compare(model, module, image(2, 1, 8, 8))


def test_r18_the_weights_may_stay_out_of_the_file():
    module = torch.nn.Linear(3, 2)
    model = gk.export(module, image(1, 3), parameters="inputs")
    assert [tensor.name for tensor in model.proto.graph.initializer] == []
    weights = {name: value.detach().numpy() for name, value in module.named_parameters()}
    x = image(1, 3)
    answer = run_ort(model, {"input": x.numpy(), **weights})
    with torch.no_grad():
        assert_same(next(iter(answer.values())), module(x).numpy(), atol=1e-5)


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


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_r23_a_loop_of_constant_length_is_unrolled_scripted_or_not():
    """The tutorial's script gave one Loop for any n; since then torch unrolls it. test_export has the Loop of an argument."""
    for n in (2, 3):
        module, x = Repeated(n), image(1, 3, 10, 10)
        traced = gk.export(module, x, exporter="torchscript")
        scripted = gk.export(torch.jit.script(module), x, exporter="torchscript")
        assert operators(traced) == operators(scripted) == ["Conv"] * n
        compare(traced, module, x)
        compare(scripted, module, x)


@BOTH
def test_r31_silu_is_sigmoid_and_mul_and_no_longer_unsupported(exporter):
    model = gk.export(torch.nn.SiLU(), image(3), exporter=exporter)
    assert operators(model) == ["Sigmoid", "Mul"]
    compare(model, torch.nn.SiLU(), image(3))


@BOTH
def test_r32_batch_norm_behind_a_convolution_is_folded_into_it(exporter):
    """The tutorial took it for a fault of Netron; it is the exporter, and ``optimize=False`` keeps the node."""
    behind = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, bias=False), torch.nn.BatchNorm2d(4), torch.nn.ReLU()).eval()
    before = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).eval()
    for norm in (behind[1], before[0]):
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
    x = image(1, 3, 8, 8)
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


def test_r54_a_plugins_node_is_exported_linted_and_runs_with_a_body():
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


def test_r10_a_python_number_is_a_constant_and_r15_resize_makes_it_an_input():
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
