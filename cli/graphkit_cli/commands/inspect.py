"""``graphkit inspect``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from graphkit_cli.fleet import many
from graphkit_cli.options import model_argument, output_options

if TYPE_CHECKING:
    from graphkit_cli.render import Render


@click.command()
@many("inspect", "a model", lambda given: {"infer": given["values"]})
@model_argument
@click.option("--nodes", is_flag=True, help="List every node with its attributes, inputs and outputs.")
@click.option("--values", is_flag=True, help="List every value and every weight with its type; infers missing types.")
@output_options
def command(render: Render, model: str, nodes: bool, values: bool) -> None:
    """Show what a model holds: interface, operators, weights.

    MODEL is a file or an address (https://, s3://, hf://). Weights are not read. With --json everything is listed.
    """
    import graphkit as gk

    summary = gk.inspect(model, infer=values)
    render.result(summary, lambda: gk.text(summary, nodes=nodes, values=values))
