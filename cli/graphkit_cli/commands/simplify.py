"""graphkit simplify: what a graph does not need is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from graphkit_cli.edit import edit_command

if TYPE_CHECKING:
    import graphkit as gk


@edit_command
@click.option(
    "--fold-limit",
    type=int,
    default=1 << 20,
    show_default=True,
    metavar="BYTES",
    help="Bytes by which computed constants may make the model larger.",
)
def command(model: str, fold_limit: int) -> gk.Model:
    r"""Leave out what the graph does not need.

    Constants are computed and so are sizes that follow from declared shapes; nodes that change nothing go; two nodes in a
    row become one where one can do both; what is there twice is there once. Quantized weights stay quantized, and inputs
    stay inputs.

    \b
    graphkit simplify model.onnx smaller.onnx
    graphkit simplify model.onnx smaller.onnx --fold-limit 0
    """
    import graphkit as gk

    return gk.simplify(model, fold_limit=fold_limit)
