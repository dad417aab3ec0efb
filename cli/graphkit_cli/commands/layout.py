"""``graphkit layout``: inputs and outputs with their axes in another order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from graphkit_cli.edit import edit_command
from graphkit_cli.running import pairs

if TYPE_CHECKING:
    import graphkit as gk


@edit_command
@click.option(
    "--io",
    metavar="NAME=NHWC|NCHW|+AXIS|-AXIS",
    multiple=True,
    required=True,
    help="An input or output and its layout, or axes of size 1 that come (+0,+3) or go (-0); '*' for any text; repeat it.",
)
def command(model: str, io: tuple[str, ...]) -> gk.Model:
    r"""Give inputs and outputs their channels first or last.

    \b
    graphkit layout model.onnx out.onnx --io image=NHWC
    graphkit layout model.onnx out.onnx --io '*=NCHW'
    graphkit layout model.onnx out.onnx --io tokens=+0,+1
    """
    import graphkit as gk

    return gk.layout(model, pairs(io, "--io", model, of="value", form="NAME=LAYOUT"))
