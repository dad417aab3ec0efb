"""What only the deployed model shall do, in three places: in the module, around the export, on the finished file.

The tutorials ask ``torch.onnx.is_in_onnx_export()`` in ``forward``, warn that such lines spread through the code, and point
to a rewriter that replaces functions while a model is exported, all from one table. Python has one: ``unittest.mock.patch``.
Here SRCNN shall give pixels of 0..1 where it is deployed, and what it always gave in torch:

1. ``module``: forward asks whether it is being exported
2. ``patches``: a table of functions that are others during the export; the module's own code knows nothing of it
3. ``file``: an edit of the finished model, which needs no torch

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


PATCHES: Mapping[str, Any] = {"super_resolution.SRCNN.forward": clipped}


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
    with patched(PATCHES):
        from_patches = gk.export(trained_srcnn(3), (image,), **options)
    return {
        "module": gk.export(Asking(), (image,), **options),
        "patches": from_patches,
        "file": with_clip(gk.export(trained_srcnn(3), (image,), **options)),
    }


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
    return 0 if held and SRCNN.forward is forward else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "out"))
