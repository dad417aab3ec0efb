"""What only the deployed model shall do, in three places: in the module, around the export, on the finished file; by target.

The tutorials ask ``torch.onnx.is_in_onnx_export()`` in ``forward``, warn that such lines spread through the code, and point
to a rewriter that replaces functions while a model is exported, all from one table. Python has one: ``unittest.mock.patch``.
Here SRCNN shall give pixels of 0..1 where it is deployed, and what it always gave in torch:

1. ``module``: forward asks whether it is being exported
2. ``patches``: a table of functions that are others during the export; the module's own code knows nothing of it
3. ``file``: an edit of the finished model, which needs no torch

Tools such as MMDeploy choose patches by the runtime that the model is for. ``for_target`` does that with two tables: PATCHES,
functions that are others during the export, and REWRITES, rules for the finished file. TensorRT has no cubic Resize: the rule
in ``samples/rules/cubic_resize_plugin.txt`` puts a plugin's node in its place. No plugin was to be had; a body for its
operator (``define``) stands in, so that the file runs and gives the same numbers.

    python samples/deploy_time_patches.py [FOLDER]

Needs: pip install "onnx-graphkit[cpu,torch,image]"
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnx
import torch
from images import photograph, shrink
from super_resolution import SRCNN, trained_srcnn
from torch import nn

import graphkit as gk

forward = SRCNN.forward


class Asking(nn.Module):
    """Way 1: the module itself knows that it will be deployed."""

    def __init__(self) -> None:
        super().__init__()
        self.net = trained_srcnn(3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Images float32[n,3,h,w] to float32[n,3,3h,3w]."""
        larger = self.net(image)
        return larger.clamp(0, 1) if torch.onnx.is_in_onnx_export() else larger


def clipped(net: SRCNN, image: torch.Tensor) -> torch.Tensor:
    """Way 2: what stands in the place of ``SRCNN.forward``."""
    return forward(net, image).clamp(0, 1)


def as_bytes(net: SRCNN, image: torch.Tensor) -> torch.Tensor:
    """What stands there for TensorRT: the program behind the engine takes 0..255."""
    return (clipped(net, image) * 255).round()


PATCHES: Mapping[str, Mapping[str, Any]] = {
    "any": {"super_resolution.SRCNN.forward": clipped},
    "tensorrt": {"super_resolution.SRCNN.forward": as_bytes},
}
"""Target -> function -> what it is during the export; a target's own go before those for any."""

REWRITES: Mapping[str, list[Path]] = {
    "onnxruntime": [],
    "tensorrt": [Path(__file__).parent / "rules" / "cubic_resize_plugin.txt"],
}
"""Target -> rules for the finished file."""

PLUGIN = """
<domain: "plugins", opset_import: ["" : 18]>
CubicResize <scale_height, scale_width, cubic_coeff_a> (x) => (y) {
    same = Constant <value_floats = [1.0, 1.0]> ()
    h = Constant <value_float: float = @scale_height> ()
    w = Constant <value_float: float = @scale_width> ()
    first = Constant <value_ints = [0]> ()
    h1 = Unsqueeze (h, first)
    w1 = Unsqueeze (w, first)
    scales = Concat <axis = 0> (same, h1, w1)
    y = Resize <mode = "cubic", cubic_coeff_a: float = @cubic_coeff_a> (x, , scales)
}
"""
"""What the plugin computes, in ONNX's own operators."""


@contextmanager
def patched(patches: Mapping[str, Any]) -> Iterator[None]:
    """Other functions in the places that a table names; afterwards everything is as it was."""
    with ExitStack() as stack:
        for target, replacement in patches.items():
            stack.enter_context(mock.patch(target, replacement))
        yield


def with_clip(model: gk.Model) -> gk.Model:
    """Way 3: a Clip behind the output of a finished model."""
    raw = gk.rename(model, values={"larger": "larger_raw"})
    with raw.edit() as edit:
        graph = edit.proto.graph
        for name, value in (("darkest", 0), ("brightest", 1)):
            graph.initializer.append(onnx.numpy_helper.from_array(np.array(value, np.float32), name))
        graph.node.append(onnx.helper.make_node("Clip", ["larger_raw", "darkest", "brightest"], ["larger"]))
        graph.output[0].name = "larger"
    return edit.model


def ways(image: torch.Tensor, exporter: str) -> dict[str, gk.Model]:
    """Each way's model."""
    options = {"exporter": exporter, "output_names": ["larger"]}
    with patched(PATCHES["any"]):
        from_patches = gk.export(trained_srcnn(3), (image,), **options)
    return {
        "module": gk.export(Asking(), (image,), **options),
        "patches": from_patches,
        "file": with_clip(gk.export(trained_srcnn(3), (image,), **options)),
    }


def for_target(target: str, image: torch.Tensor) -> gk.Model:
    """The model as a target takes it."""
    with patched({**PATCHES["any"], **PATCHES.get(target, {})}):
        model = gk.export(trained_srcnn(3), (image,), output_names=["larger"])
    rules = REWRITES[target]
    return gk.rewrite(model, rules, target=target) if rules else model


def main(folder: Path) -> int:
    """Export every way with both exporters and hold it against torch's own result, clipped."""
    folder.mkdir(parents=True, exist_ok=True)
    image = shrink(photograph(), 120)
    with torch.inference_mode():
        plain = trained_srcnn(3)(image).numpy()
    print(f"torch: {plain.min():.3f} to {plain.max():.3f}")
    held = plain.max() > 1
    for exporter in ("dynamo", "torchscript"):
        for way, model in ways(image, exporter).items():
            gk.save(model, folder / f"clipped_{way}_{exporter}.onnx")
            (larger,) = gk.run(model, {"image": image.numpy()}, device="cpu").values()
            error = float(abs(larger - plain.clip(0, 1)).max())
            print(
                f"{way:8} {exporter:12} {larger.min():.3f} to {larger.max():.3f}  max |ONNX - clipped torch| {error:.1e}"
            )
            held = held and error < 1e-4  # on images of 0..1
    for target in REWRITES:
        model = for_target(target, image)
        gk.save(model, folder / f"for_{target}.onnx")
        runs = gk.define(model, PLUGIN) if target == "tensorrt" else model
        (larger,) = gk.run(runs, {"image": image.numpy()}, device="cpu").values()
        expected = plain.clip(0, 1) if target == "onnxruntime" else np.round(plain.clip(0, 1) * 255)
        error = float(abs(larger - expected).max())
        left = [violation.rule for violation in gk.lint(model, "tensorrt").violations]
        resizer = next(node.op_type for node in model.nodes if "Resize" in node.op_type)
        print(f"for {target:12} {resizer:12} TensorRT lacks: {', '.join(left)}  max |ONNX - torch| {error:.1e}")
        held = held and error <= (1 if target == "tensorrt" else 1e-4)  # a rounding may fall to the other side
    return 0 if held and SRCNN.forward is forward else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "out"))
