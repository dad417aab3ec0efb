"""``graphkit reorder``: inputs and outputs in another order, nodes sorted and named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from graphkit_cli.edit import edit_command
from graphkit_cli.running import read_names

if TYPE_CHECKING:
    import graphkit as gk


@edit_command
@click.option(
    "--input", "inputs", metavar="NAME", multiple=True, help="The inputs in the wanted order; others follow. Repeat it."
)
@click.option(
    "--output",
    "outputs",
    metavar="NAME",
    multiple=True,
    help="The outputs in the wanted order; others follow. Repeat it.",
)
@click.option("--sort", is_flag=True, help="Put every node behind those that it reads from.")
@click.option("--name-all", is_flag=True, help="Give a name to each node that has none.")
def command(model: str, inputs: tuple[str, ...], outputs: tuple[str, ...], sort: bool, name_all: bool) -> gk.Model:
    r"""Put inputs and outputs in another order; sort and name nodes.

    \b
    graphkit reorder model.onnx out.onnx --input mask --input ids
    graphkit reorder model.onnx out.onnx --sort --name-all
    """
    import graphkit as gk

    if not (inputs or outputs or sort or name_all):
        raise click.UsageError("say what to order: --input NAME, --output NAME, --sort or --name-all")
    return gk.reorder(
        model, inputs=read_names(inputs, model), outputs=read_names(outputs, model), sort=sort, name_all=name_all
    )
