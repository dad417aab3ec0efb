"""One trained super-resolution net, one .onnx file, every factor.

torch's exporters write the factor of ``nn.Upsample`` into the file as a constant. This sample exports SRCNN with the
factor 3, turns the constant into a graph input, and runs the one file at 2, 2.5, 3, 4 and (2, 3), each compared with the
torch module at that factor. Then it cuts the convolutions out and proves them alone.

    python samples/dynamic_super_resolution.py [FOLDER]

Writes the models and a picture to FOLDER (default: samples/out). Needs: pip install "onnx-graphkit[cpu,torch,image]"
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import torch
from images import contact_sheet, photograph, picture, psnr, shrink
from PIL import Image
from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn
from rich.table import Table
from super_resolution import srcnn, trained_srcnn
from torch.nn import functional

import graphkit as gk

FACTORS = (2.0, 2.5, 3.0, 4.0, (2.0, 3.0))
TOLERANCE = 1e-4  # on images of 0..1
PICTURE = "dynamic_super_resolution.png"
FACE = (80, 40, 200, 160)  # left, top, right, bottom of what the picture shows

console = Console()


def main(folder: Path) -> int:
    """Tell the whole story; the exit code says whether every comparison held."""
    folder.mkdir(parents=True, exist_ok=True)
    with Progress(*Progress.get_default_columns(), TimeElapsedColumn(), console=console) as progress:
        with step(progress, "export with the factor 3, make the factor an input"):
            dynamic = make_dynamic(folder)
        session, truth = gk.session(dynamic, device="cpu"), photograph()
        factors = progress.track(FACTORS, description="run at every factor, compare with torch")
        results = [run_at(factor, session, truth) for factor in factors]
        with step(progress, "cut the convolutions out, validate them alone"):
            trunk = prove_trunk(dynamic, folder)
        with step(progress, "check both files, draw the picture"):
            finish(folder, results)
    console.print(table(results))
    error = max(metrics.max_abs for metrics in trunk.outputs.values())
    console.print(
        f"the convolutions alone, {len(trunk.samples)} random images: max |ONNX - torch| {error:.1e}", highlight=False
    )
    console.print(f"wrote srcnn_x3.onnx, srcnn.onnx, trunk.onnx and {PICTURE} to {folder}", highlight=False)
    return 0 if trunk.match and all(result["error"] <= TOLERANCE for result in results) else 1


@contextmanager
def step(progress: Progress, text: str) -> Iterator[None]:
    """A line of progress for one step of the story."""
    task = progress.add_task(text, total=1)
    yield
    progress.update(task, completed=1)


def make_dynamic(folder: Path) -> gk.Model:
    """Export, then turn the constant scales of the Resize into the graph input ``factor``."""
    module, args = srcnn()
    dynamic = {"image": {2: "height", 3: "width"}}
    baked = gk.export(module, args, folder / "srcnn_x3.onnx", output_names=["larger"], dynamic=dynamic)
    model = gk.resize(baked)
    gk.save(model, folder / "srcnn.onnx")
    return model


def run_at(factor: float | tuple[float, float], session: gk.Session, truth: torch.Tensor) -> dict:
    """Shrink the photograph by a factor, enlarge it again, and measure."""
    scale = factor if isinstance(factor, tuple) else (factor, factor)
    small = shrink(truth, (round(truth.shape[2] / scale[0]), round(truth.shape[3] / scale[1])))
    start = time.perf_counter()
    ours = session.run({"image": small.numpy(), "factor": np.array(scale, np.float32)})["larger"]
    seconds = time.perf_counter() - start
    with torch.inference_mode():
        expected = trained_srcnn(scale)(small)
        bicubic = functional.interpolate(small, scale_factor=scale, mode="bicubic")
    error = float(abs(ours - expected.numpy()).max())
    pictures = {"small": small, "bicubic": bicubic, "ours": torch.from_numpy(ours), "truth": truth}
    return {"factor": factor, "error": error, "seconds": seconds, **pictures}


def prove_trunk(dynamic: gk.Model, folder: Path) -> gk.Report:
    """Cut out what the torch module calls ``trunk`` and compare it with that module on random images."""
    trunk = gk.extract(dynamic, module="trunk")
    gk.save(trunk, folder / "trunk.onnx")
    return gk.validate(trunk, torch=trained_srcnn(3).trunk, device="cpu")


def finish(folder: Path, results: list[dict]) -> None:
    """Let onnx.checker read both files, and draw input, bicubic and ours at each factor."""
    for name in ("srcnn.onnx", "trunk.onnx"):
        onnx.checker.check_model(folder / name, full_check=True)
    size = results[0]["truth"].shape[3], results[0]["truth"].shape[2]
    rows = {
        "input": [picture(r["small"]).resize(size, Image.Resampling.NEAREST) for r in results],
        "bicubic": [picture(r["bicubic"]) for r in results],
        "SRCNN in\nONNX Runtime": [picture(r["ours"]) for r in results],
        "original": [picture(r["truth"]) for r in results],
    }
    sheet = contact_sheet(rows, [label(r["factor"]) for r in results], FACE)
    sheet.save(folder / PICTURE, optimize=True)


def label(factor: float | tuple[float, float]) -> str:
    """x3, or x2 down and x3 across."""
    return f"x{factor:g}" if isinstance(factor, float) else " by ".join(f"x{f:g}" for f in factor)


def table(results: list[dict]) -> Table:
    """What was measured, a row to each factor."""
    shown = Table(title="one file, every factor: PSNR on a photograph that the net was not trained on")
    for column in ("factor", "input", "output", "max |ONNX - torch|", "PSNR bicubic", "PSNR SRCNN", "time"):
        shown.add_column(column, justify="right")
    for result in results:
        bicubic, ours = psnr(result["bicubic"], result["truth"]), psnr(result["ours"], result["truth"])
        shown.add_row(
            label(result["factor"]),
            " x ".join(map(str, result["small"].shape[2:])),
            " x ".join(map(str, result["ours"].shape[2:])),
            f"{result['error']:.1e}",
            f"{bicubic:.2f} dB",
            f"{ours:.2f} dB",
            f"{1000 * result['seconds']:.0f} ms",
        )
    return shown


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "out"))
