"""Five ways to a scale that is known at run time only: four of torch's, and graphkit's on the finished file.

The tutorials write an ``autograd.Function`` with a ``symbolic`` method, which only the torchscript exporter reads. This
sample holds it beside what today's torch offers, and beside ``graphkit.resize``, which needs no change to the module:

1. ``symbolic``: autograd.Function.symbolic                        torchscript
2. ``script``: a float argument of a torch.jit.script module        torchscript
3. ``onnx op``: torch.onnx.ops.symbolic inside of the export       dynamo
4. ``custom op``: torch.library.custom_op and a translation        dynamo and torchscript
5. ``resize``: graphkit.resize on a file exported with a constant  dynamo and torchscript

    python samples/dynamic_scale_five_ways.py [FOLDER]

Needs: pip install "onnx-graphkit[cpu,torch]"
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import onnxscript
import torch
from rich.console import Console
from rich.table import Table
from super_resolution import SRCNN, trained_srcnn
from torch import nn
from torch.nn import functional

import graphkit as gk

FACTORS = ((3.0, 3.0), (4.0, 4.0), (2.5, 2.5), (1.7, 2.2))
TOLERANCE = 1e-5
op = onnxscript.opset18


def bicubic(image: torch.Tensor, factors: tuple[float, float]) -> torch.Tensor:
    """What every way has to compute."""
    return functional.interpolate(image, scale_factor=factors, mode="bicubic")


class Symbolic(torch.autograd.Function):
    """Way 1, the tutorials': ``forward`` for torch, ``symbolic`` for the torchscript exporter."""

    @staticmethod
    def forward(_ctx: object, image: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        """Images float32[n,c,h,w]; scales float32[4] as Resize has them."""
        return bicubic(image, tuple(scales[2:].tolist()))

    @staticmethod
    def symbolic(g: object, image: object, scales: object) -> object:
        """The node that the exporter writes in the place of the call."""
        roi = g.op("Constant", value_t=torch.tensor([], dtype=torch.float32))
        return g.op(
            "Resize",
            image,
            roi,
            scales,
            coordinate_transformation_mode_s="half_pixel",
            cubic_coeff_a_f=-0.75,
            mode_s="cubic",
        )


def onnx_op(image: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Way 3: the ONNX node itself, in the export only. Its shape has to be given, so it is that of one factor."""
    if not torch.onnx.is_in_onnx_export():
        return bicubic(image, tuple(scales[2:].tolist()))
    attributes = {"mode": "cubic", "cubic_coeff_a": -0.75, "coordinate_transformation_mode": "half_pixel"}
    n, c, h, w = image.shape
    return torch.onnx.ops.symbolic(
        "Resize", (image, None, scales), attributes, dtype=image.dtype, shape=(n, c, h * 3, w * 3), version=18
    )


@torch.library.custom_op("samples::resize", mutates_args=())
def custom(image: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Way 4: an operator of one's own, which both exporters take as one piece."""
    return bicubic(image, tuple(scales[2:].tolist()))


@custom.register_fake
def _(image: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    del scales
    size = torch.library.get_ctx()
    return image.new_empty(*image.shape[:2], size.new_dynamic_size(), size.new_dynamic_size())


def custom_in_dynamo(image: onnxscript.FLOAT, scales: onnxscript.FLOAT) -> onnxscript.FLOAT:
    """The translation for the dynamo exporter, in onnxscript."""
    return op.Resize(
        image, None, scales, mode="cubic", cubic_coeff_a=-0.75, coordinate_transformation_mode="half_pixel"
    )


class Upscaler(nn.Module):
    """SRCNN's trained convolutions behind any upsampling of two tensors."""

    def __init__(self, upsample: object) -> None:
        super().__init__()
        self.upsample = upsample
        self.trunk = trained_srcnn(3).trunk

    def forward(self, image: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        """Images float32[n,3,h,w] and what the upsampling takes for a scale."""
        large = self.upsample(image, scales)
        return large + self.trunk(large)


class ScriptedUpscaler(nn.Module):
    """Way 2: a number that is an argument of a scripted forward stays a value. One number: a list of two does not."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = trained_srcnn(3).trunk

    def forward(self, image: torch.Tensor, factor: float) -> torch.Tensor:
        """Images float32[n,3,h,w] and one factor for both axes."""
        large = functional.interpolate(image, scale_factor=factor, mode="bicubic")
        return large + self.trunk(large)


def scripted() -> torch.jit.ScriptModule:
    """The module compiled instead of traced."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript is on its way out
        return torch.jit.script(ScriptedUpscaler().eval())


def ways() -> dict[tuple[str, str], gk.Model]:
    """Each way's model, by its name and exporter; all take the image and a scale."""
    image, scales = torch.rand(1, 3, 32, 32), torch.tensor([1.0, 1.0, 3.0, 3.0])
    both = {"input_names": ["image", "scales"], "output_names": ["larger"]}
    torch.onnx.register_custom_op_symbolic("samples::resize", Symbolic.symbolic, 11)
    models = {
        ("symbolic", "torchscript"): gk.export(
            Upscaler(Symbolic.apply), (image, scales), exporter="torchscript", opset=17, **both
        ),
        ("script", "torchscript"): gk.export(
            scripted(), (image, 3.0), exporter="torchscript", opset=17, output_names=["larger"]
        ),
        ("onnx op", "dynamo"): gk.export(Upscaler(onnx_op), (image, scales), **both),
        ("custom op", "dynamo"): gk.export(
            Upscaler(custom), (image, scales), translations={torch.ops.samples.resize.default: custom_in_dynamo}, **both
        ),
        ("custom op", "torchscript"): gk.export(
            Upscaler(custom), (image, scales), exporter="torchscript", opset=17, **both
        ),
    }
    for exporter in ("dynamo", "torchscript"):
        baked = gk.export(trained_srcnn(3), (image,), exporter=exporter, output_names=["larger"])
        models["resize", exporter] = gk.resize(baked, form="scales", input_name="scales")
    return models


def main(folder: Path) -> int:
    """Run every way at every factor and hold it against torch; the exit code says whether all hold."""
    folder.mkdir(parents=True, exist_ok=True)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    table = Table("way", "exporter", *(f"x{high:g} by x{wide:g}" for high, wide in FACTORS), title="max |ONNX - torch|")
    worst = 0.0
    for (way, exporter), model in ways().items():
        gk.save(model, folder / f"{way.replace(' ', '_')}_{exporter}.onnx")
        session = gk.session(model, device="cpu")
        errors = [measured(session, image, factors) for factors in FACTORS]
        worst = max(worst, *(error for error in errors if error is not None))
        table.add_row(way, exporter, *("-" if error is None else f"{error:.1e}" for error in errors))
    Console(width=100).print(table)
    return 0 if worst < TOLERANCE else 1


def measured(session: gk.Session, image: torch.Tensor, factors: tuple[float, float]) -> float | None:
    """The largest error at some factors; None where a way has one factor for both axes."""
    feeds = {"image": image.numpy(), "scales": np.array([1.0, 1.0, *factors], np.float32)}
    if "factor" in session.inputs:
        if factors[0] != factors[1]:
            return None
        feeds = {"image": image.numpy(), "factor": np.array(factors[0], np.float64)}
    return float(np.abs(session.run(feeds)["larger"] - reference(image, factors)).max())


def reference(image: torch.Tensor, factors: tuple[float, float]) -> np.ndarray:
    """SRCNN with the factors as its own."""
    net = SRCNN(factors)
    net.load_state_dict(trained_srcnn(3).state_dict())
    with torch.no_grad():
        return net.eval()(image).numpy()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "out"))
