"""Times on a GPU: ``python tests/bench/gpu.py``. Torch eager, the original export, and the graph with a run-time factor.

Tensors stay on the device, TF32 is off everywhere, and a run is timed with CUDA events after warming up. The rewritten
graph is to be no slower than the original at the same factor, within 5 %.
"""

from __future__ import annotations

import statistics
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import graphkit as gk

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "samples"))

WARM, RUNS, REPEATS = 10, 30, 5


def milliseconds(call: Callable[[], Any]) -> float:
    """Median over REPEATS of the mean of RUNS calls."""
    for _ in range(WARM):
        call()
    found = []
    for _ in range(REPEATS):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        start.record()
        for _ in range(RUNS):
            call()
        end.record()
        torch.cuda.synchronize()
        found.append(start.elapsed_time(end) / RUNS)
    return statistics.median(found)


def main() -> None:
    """Print the table; exit 1 where the rewritten graph is slower."""
    from super_resolution import trained_srcnn

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    table = Table("SRCNN", "torch eager ms", "original export ms", "factor as input ms", "ratio", "max abs error")
    slower = False
    for factor in (2, 3, 4):
        module = trained_srcnn(factor).cuda()
        for side in (64, 128, 256):
            image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)).cuda()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                original = gk.export(module, (image,), exporter="torchscript")
            name = original.proto.graph.input[0].name
            before = gk.session(original, device="cuda")
            after = gk.session(gk.resize(original), device="cuda")
            feeds = {name: image}
            fed = {**feeds, "factor": torch.tensor([float(factor)])}
            with torch.no_grad():
                eager = milliseconds(lambda: module(image))  # noqa: B023 (called at once)
                expected = module(image)
            old = milliseconds(lambda: before.run_tensors(feeds))  # noqa: B023 (called at once)
            new = milliseconds(lambda: after.run_tensors(fed))  # noqa: B023 (called at once)
            error = float((next(iter(after.run_tensors(fed).values())) - expected).abs().max())
            slower |= new > 1.05 * old
            cells = (f"{eager:.3f}", f"{old:.3f}", f"{new:.3f}", f"{new / old:.3f}", f"{error:.1e}")
            table.add_row(f"x{factor}, {side} x {side}", *cells)
    console = Console()
    console.print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    console.print(table)
    if slower:
        console.print("the graph with a run-time factor is more than 5 % slower")
        raise SystemExit(1)


if __name__ == "__main__":
    main()
