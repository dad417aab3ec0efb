"""``graphkit calibrate``: the calibration table that int8 in TensorRT wants."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from graphkit_cli.edit import check_target
from graphkit_cli.options import model_argument, output_options
from graphkit_cli.running import custom_ops_option, feed_option, single_or_many

if TYPE_CHECKING:
    from graphkit_cli.render import Render


@click.command()
@model_argument
@click.argument("table", metavar="TABLE", type=click.Path())
@feed_option
@click.option("--samples", type=click.IntRange(min=1), default=8, show_default=True, help="Runs on random feeds.")
@click.option("--seed", type=int, default=0, show_default=True, help="Where the random feeds start.")
@custom_ops_option
@output_options
def command(
    render: Render,
    model: str,
    table: str,
    feeds: tuple[str, ...],
    samples: int,
    seed: int,
    custom_ops: tuple[str, ...],
) -> None:
    r"""Note how large values become, for int8 in TensorRT.

    Runs MODEL and writes TABLE for --trt-int8 --trt-calibration TABLE: the largest size of each float32 value, in the
    format of ONNX Runtime's calibration.flatbuffers. A --feed that is given several times for one input is one run each
    time; inputs without one are random. MODEL stays in float32; for an int8 model for other runtimes see precision.

    \b
    graphkit calibrate model.onnx model.flatbuffers
    graphkit calibrate model.onnx model.flatbuffers --feed image=@a.npy --feed image=@b.npy
    """
    given = single_or_many(feeds, model)
    check_target(table)
    import graphkit as gk

    with render.progress(f"calibrating {model}"):
        found = gk.calibrate(model, given, samples=samples, seed=seed, custom_ops=custom_ops)
    found.save(table)
    render.result(found, lambda: gk.text(found))
    for note in found.notes:
        render.note(note)
    render.note(f"wrote {table}")
