"""SRCNN in float32, float16 and int8: how large, how far off, and what that does to a photograph.

int8 is offline quantization: the net is run on a picture, and each value gets the range that it had there. The ranges come
from the left half of a photograph, and the right half is what is measured. The Add that puts the correction on the picture
need not be int8: kept in float32, it leaves the picture its 256 levels. The float32 model is the reference of all.

On a CPU ONNX Runtime computes float16 nodes in float32, so that only the rounding of the weights shows here.

    python samples/lower_precision.py [FOLDER]

Writes the four models to FOLDER (default: samples/out). Needs: pip install "onnx-graphkit[cpu,torch,image]"
"""

import sys
from pathlib import Path

import numpy as np
import torch
from images import photograph, psnr, shrink
from rich.console import Console
from rich.table import Table
from super_resolution import srcnn

import graphkit as gk

FACTOR = 3
TOLERANCE = {"float16": 4e-3, "int8": 0.1, "int8 but Add": 0.1}  # largest error of a pixel, on images of 0..1


def main(folder: Path) -> int:
    """Convert, validate, measure; the exit code says whether every comparison held."""
    folder.mkdir(parents=True, exist_ok=True)
    module, args = srcnn()
    exact = gk.export(module, args, output_names=["larger"], dynamic={"image": {2: "height", 3: "width"}})
    left, truth = photograph().chunk(2, dim=3)
    models = {
        "float32": exact,
        "float16": gk.precision(exact, to="float16", keep_io=True),
        "int8": gk.precision(exact, to="int8", feeds={"image": shrunk(left)}),
        "int8 but Add": gk.precision(exact, to="int8", feeds={"image": shrunk(left)}, keep_ops=["Add"]),
    }
    small = shrunk(truth)
    table, held = Table(title=f"SRCNN x{FACTOR}, {truth.shape[3]} x {truth.shape[2]} pixels"), True
    for column in ("precision", "file", "largest error", "mean error", "allowed", "PSNR"):
        table.add_column(column, justify="right")
    for name, model in models.items():
        saved = gk.save(model, folder / f"srcnn_{name.replace(' ', '_')}.onnx")
        allowed = TOLERANCE.get(name, 0)
        report = gk.validate(
            model, against=exact, device="cpu", feeds={"image": small}, rtol=0, atol=allowed, samples=1
        )
        larger = torch.from_numpy(gk.run(model, {"image": small}, device="cpu")["larger"])
        error = report.outputs["larger"]
        numbers = (f"{error.max_abs:.1e}", f"{error.mean_abs:.1e}", f"{allowed:g}", f"{psnr(larger, truth):.2f} dB")
        table.add_row(name, f"{saved.size} bytes", *numbers)
        held = held and report.match
    console = Console()
    console.print(table)
    for name in TOLERANCE:
        notes = models[name].history[-1].notes or ("nothing stays in float32 but the scales of Resize",)
        console.print(f"{name}: {'; '.join(notes)}", highlight=False)
    return 0 if held else 1


def shrunk(image: torch.Tensor) -> np.ndarray:
    """What the net is given to make the image of: float32[1,3,h/3,w/3]."""
    return shrink(image, (image.shape[2] // FACTOR, image.shape[3] // FACTOR)).numpy()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "out"))
