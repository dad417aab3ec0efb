"""graphkit inline: calls of functions become the functions' bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from graphkit_cli.edit import edit_command
from graphkit_cli.running import read_names

if TYPE_CHECKING:
    import graphkit as gk


@edit_command
@click.option(
    "--function",
    "functions",
    metavar="NAME",
    multiple=True,
    help="Inline this function only: NAME, DOMAIN::NAME or DOMAIN::NAME:OVERLOAD; repeat it. All where none is given.",
)
def command(model: str, functions: tuple[str, ...]) -> gk.Model:
    r"""Replace calls of the model's own functions by their bodies.

    \b
    graphkit inline model.onnx flat.onnx
    graphkit inline model.onnx out.onnx --function my::Attention
    """
    import graphkit as gk

    return gk.inline(model, read_names(functions, model, of="text") or None)
