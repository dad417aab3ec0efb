"""graphkit rename: other names for values and nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from graphkit_cli.edit import edit_command
from graphkit_cli.running import name_pairs

if TYPE_CHECKING:
    import graphkit as gk


@edit_command
@click.option(
    "--value", "values", metavar="OLD=NEW", multiple=True, help="Rename an input, an output or another value."
)
@click.option("--node", "nodes", metavar="OLD=NEW", multiple=True, help="Rename a node.")
def command(model: str, values: tuple[str, ...], nodes: tuple[str, ...]) -> gk.Model:
    r"""Give values and nodes of MODEL other names, wherever they are written.

    \b
    graphkit rename model.onnx out.onnx --value input.1=image --value 240=logits
    """
    import graphkit as gk

    if not values and not nodes:
        raise click.UsageError("Say what to rename: --value OLD=NEW or --node OLD=NEW.")
    return gk.rename(
        model, values=name_pairs(values, "--value", model), nodes=name_pairs(nodes, "--node", model, of="node")
    )
