"""graphkit outline: the nodes of a torch module become a function."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from graphkit_cli.edit import edit_command

if TYPE_CHECKING:
    import graphkit as gk


@edit_command
@click.option("--module", "modules", metavar="PATH", multiple=True, required=True, help="A torch module; repeats.")
@click.option("--domain", default="graphkit.modules", show_default=True, help="The functions' domain.")
def command(model: str, modules: tuple[str, ...], domain: str) -> gk.Model:
    r"""Put the nodes of torch modules into functions.

    \b
    graphkit outline model.onnx readable.onnx --module layers.0 --module layers.1
    graphkit outline model.onnx readable.onnx --module encoder --domain my.modules
    """
    import graphkit as gk

    return gk.outline(model, list(modules), domain=domain)
