"""Operators that torch's exporters or the runtime do not know, from the torch side to numbers out of ONNX Runtime.

1. asinh: the torchscript exporter has no rule for it; one is registered (ONNX has Asinh since opset 9).
2. my_add, written in C++ and loaded with torch.utils.cpp_extension: both exporters, as an operator of a custom domain
   and as ordinary ONNX operators.
3. deform_conv2d, an operator of one's own: both exporters write ONNX's DeformConv (opset 19).
4. The file with custom.MyAdd runs nowhere; ``graphkit.define`` gives it a body, and a plain edit replaces the node.

    python samples/custom_operators.py [FOLDER]

Needs: pip install "onnx-graphkit[cpu,torch]"; for part 2 a C++ compiler and ninja, without which a Python operator
stands in.
"""

import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxscript
import torch
from torch import nn
from torch.nn import functional

import graphkit as gk

op = onnxscript.opset19

MY_ADD = """
#include <ATen/core/Tensor.h>
#include <ATen/ops/add.h>
#include <ATen/ops/mul.h>
#include <torch/library.h>

at::Tensor my_add(const at::Tensor& a, const at::Tensor& b) {
  return at::add(at::mul(a, 2), b);
}

TORCH_LIBRARY(samples, m) { m.def("my_add(Tensor a, Tensor b) -> Tensor"); }
TORCH_LIBRARY_IMPL(samples, CPU, m) { m.impl("my_add", &my_add); }
"""

BODY = """
<domain: "custom", opset_import: ["" : 18]>
MyAdd (a, b) => (c)
{
    twice = Add(a, a)
    c = Add(twice, b)
}
"""


def compare(title: str, model: gk.Model, module: nn.Module, feeds: dict[str, torch.Tensor]) -> None:
    """Run a model and hold it against its module."""
    with torch.no_grad():
        expected = module(*feeds.values()).numpy()
    (actual,) = gk.run(model, {name: value.numpy() for name, value in feeds.items()}, device="cpu").values()
    error = float(np.abs(actual - expected).max())
    nodes = ", ".join(f"{n.domain}.{n.op_type}".lstrip(".") for n in model.proto.graph.node if n.op_type != "Constant")
    print(f"{title:34} {error:.1e}  {nodes}")
    assert error < 1e-5, title


def asinh() -> None:
    """A rule for an operator that the torchscript exporter does not know."""

    class Asinh(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.asinh(x)

    x = torch.linspace(-2, 2, 9)
    try:
        gk.export(Asinh(), x, exporter="torchscript", opset=9)
    except gk.ExportError as error:
        print(str(error).splitlines()[0])
    torch.onnx.register_custom_op_symbolic("aten::asinh", lambda g, value: g.op("Asinh", value), 9)
    compare("asinh, torchscript", gk.export(Asinh(), x, exporter="torchscript", opset=9), Asinh(), {"x": x})
    torch.onnx.unregister_custom_op_symbolic("aten::asinh", 9)
    compare("asinh, dynamo", gk.export(Asinh(), x), Asinh(), {"x": x})


def load_my_add(folder: Path) -> str:
    """Build the C++ operator, or make one of Python where there is no compiler; says which."""
    if shutil.which("ninja") and (shutil.which("g++") or shutil.which("c++")):
        from torch.utils import cpp_extension

        build = folder / "my_add"
        build.mkdir(exist_ok=True)
        (build / "my_add.cpp").write_text(MY_ADD)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cpp_extension.load(
                "my_add",
                [str(build / "my_add.cpp")],
                build_directory=str(build),
                extra_cflags=["-O0"],
                is_python_module=False,
            )
        made = "built with torch.utils.cpp_extension"
    else:
        torch.library.define("samples::my_add", "(Tensor a, Tensor b) -> Tensor")
        torch.library.impl("samples::my_add", "CPU", lambda a, b: 2 * a + b)
        made = "in Python: there is no C++ compiler or no ninja"
    torch.library.register_fake("samples::my_add", lambda a, b: torch.empty_like(a + b))
    return made


class MyAdd(nn.Module):
    """2 * a + b in one operator."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Two tensors of one shape."""
        return torch.ops.samples.my_add(a, b)


def register_my_add_schema() -> Callable:
    """Tell onnx what custom.MyAdd is; onnxscript writes only operators whose schema it knows."""
    formal = onnx.defs.OpSchema.FormalParameter
    schema = onnx.defs.OpSchema(
        "MyAdd",
        "custom",
        1,
        inputs=[formal("a", "T"), formal("b", "T")],
        outputs=[formal("c", "T")],
        type_constraints=[("T", ["tensor(float)"], "")],
    )
    onnx.defs.register_schema(schema)
    custom = onnxscript.values.Opset("custom", 1)
    return lambda a, b: custom.MyAdd(a, b)  # noqa: PLW0108 (a translation has to be a function with parameters)


def my_add(folder: Path) -> gk.Model:
    """The operator as a node of a custom domain, and as ordinary nodes; gives the model that no runtime can run."""
    print("my_add:", load_my_add(folder))
    a, b = torch.rand(3), torch.rand(3)

    def ordinary(left: onnxscript.FLOAT, right: onnxscript.FLOAT) -> onnxscript.FLOAT:
        return op.Add(op.Add(left, left), right)

    target = torch.ops.samples.my_add.default
    compare(
        "my_add as Adds, dynamo", gk.export(MyAdd(), (a, b), translations={target: ordinary}), MyAdd(), {"a": a, "b": b}
    )
    torch.onnx.register_custom_op_symbolic("samples::my_add", lambda g, x, y: g.op("Add", g.op("Add", x, x), y), 9)
    traced = gk.export(MyAdd(), (a, b), exporter="torchscript")
    compare("my_add as Adds, torchscript", traced, MyAdd(), {"a": a, "b": b})
    torch.onnx.register_custom_op_symbolic("samples::my_add", lambda g, x, y: g.op("custom::MyAdd", x, y), 9)
    gk.export(MyAdd(), (a, b), folder / "my_add_torchscript.onnx", exporter="torchscript")
    return gk.export(
        MyAdd(), (a, b), folder / "my_add.onnx", translations={target: register_my_add_schema()}, output_names=["c"]
    )


def run_the_unknown(model: gk.Model, folder: Path) -> None:
    """Two ways to run a model with an operator that the runtime does not know."""
    a, b = torch.rand(3), torch.rand(3)
    feeds = {"a": a, "b": b}
    try:
        gk.session(model, device="cpu")
    except gk.SessionError as error:
        print(str(error).splitlines()[0])
    compare("custom.MyAdd with a body", gk.define(model, BODY), MyAdd(), feeds)
    compare("the same from torchscript", gk.define(folder / "my_add_torchscript.onnx", BODY), MyAdd(), feeds)
    proto = model.copy_proto()
    (node,) = proto.graph.node
    twice = onnx.helper.make_node("Add", [node.input[0], node.input[0]], ["twice"])
    sum_of_both = onnx.helper.make_node("Add", ["twice", node.input[1]], list(node.output))
    del proto.graph.node[:]
    proto.graph.node.extend([twice, sum_of_both])
    compare("custom.MyAdd replaced", gk.Model(proto), MyAdd(), feeds)


@torch.library.custom_op("samples::deform_conv2d", mutates_args=())
def deform_conv2d(x: torch.Tensor, weight: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """3x3 deformable convolution, padding 1, as torchvision.ops.deform_conv2d has it.

    Dai et al., "Deformable Convolutional Networks" (arXiv:1703.06211): each tap of the kernel samples the image at a
    place of its own. ``offset`` is float32[n, 2 * 9, h, w]: for each tap how much further down and to the right.
    """
    n, _, h, w = x.shape
    down, right = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    columns = []
    for tap in range(9):
        rows = down + tap // 3 - 1 + offset[:, 2 * tap]
        cols = right + tap % 3 - 1 + offset[:, 2 * tap + 1]
        grid = torch.stack([2 * cols / (w - 1) - 1, 2 * rows / (h - 1) - 1], dim=-1)
        columns.append(functional.grid_sample(x, grid, padding_mode="zeros", align_corners=True))
    taps = torch.stack(columns, dim=2)
    return torch.einsum("ncthw,oct->nohw", taps, weight.flatten(2)).reshape(n, -1, h, w)


@deform_conv2d.register_fake
def _(x: torch.Tensor, weight: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    return x.new_empty(x.shape[0], weight.shape[0], *offset.shape[2:])


class Deformable(nn.Module):
    """A convolution that learns where to look."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = nn.Conv2d(3, 18, 3, padding=1)
        self.weight = nn.Parameter(torch.randn(4, 3, 3, 3) / 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images float32[n,3,h,w] to float32[n,4,h,w]."""
        return deform_conv2d(x, self.weight, self.offset(x))


def deformable() -> None:
    """ONNX has DeformConv since opset 19."""
    torch.manual_seed(2)
    module, x = Deformable().eval(), torch.rand(1, 3, 8, 8)

    def translated(image: onnxscript.FLOAT, weight: onnxscript.FLOAT, offset: onnxscript.FLOAT) -> onnxscript.FLOAT:
        return op.DeformConv(image, weight, offset, kernel_shape=[3, 3], pads=[1, 1, 1, 1])

    table = {torch.ops.samples.deform_conv2d.default: translated}
    compare("deform_conv2d, dynamo", gk.export(module, x, opset=19, translations=table), module, {"x": x})

    def symbolic(g: object, image: object, weight: object, offset: object) -> object:
        return g.op("DeformConv", image, weight, offset, kernel_shape_i=[3, 3], pads_i=[1, 1, 1, 1])

    torch.onnx.register_custom_op_symbolic("samples::deform_conv2d", symbolic, 19)
    compare("deform_conv2d, torchscript", gk.export(module, x, exporter="torchscript", opset=19), module, {"x": x})


def main(folder: Path) -> int:
    """All four stories; an assertion stops where numbers differ."""
    folder.mkdir(parents=True, exist_ok=True)
    asinh()
    run_the_unknown(my_add(folder), folder)
    deformable()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "out"))
