"""``graphkit define``: a body for an operator that the runtime does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from graphkit_cli.edit import edit_command

if TYPE_CHECKING:
    import graphkit as gk


@edit_command
@click.option(
    "--function",
    metavar="FILE|TEXT",
    required=True,
    help="The function in ONNX's text form, or a file that holds it.",
)
def command(model: str, function: str) -> gk.Model:
    r"""Give an operator of a custom domain a body.

    \b
    graphkit define model.onnx runs.onnx --function my_add.txt
    graphkit define model.onnx runs.onnx --function \
      '<domain: "custom", opset_import: ["" : 18]> my_add (a, b) => (c) { d = Add(a, a) c = Add(d, b) }'
    """
    import graphkit as gk

    return gk.define(model, function)
