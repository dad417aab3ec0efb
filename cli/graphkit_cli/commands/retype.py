"""``graphkit retype``: inputs and outputs of another element type."""

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
    metavar="NAME=TYPE",
    multiple=True,
    required=True,
    help="An input or output and its element type; '*' for any text, or a type for all of it; repeat it.",
)
def command(model: str, io: tuple[str, ...]) -> gk.Model:
    r"""Give inputs and outputs another element type.

    \b
    graphkit retype model.onnx out.onnx --io image=uint8 --io logits=float16
    graphkit retype model.onnx out.onnx --io int64=int32
    """
    import graphkit as gk

    return gk.retype(model, pairs(io, "--io", model, of="value", form="NAME=TYPE"))
