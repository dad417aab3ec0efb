"""graphkit outline: the nodes of a torch module become a function."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from graphkit_cli.edit import edit_command
from graphkit_cli.running import read_names

if TYPE_CHECKING:
    import graphkit as gk


@edit_command
@click.option("--module", "modules", metavar="PATH", multiple=True, help="A torch module; repeats.")
@click.option("--input", "inputs", metavar="VALUE", multiple=True, help="A value that a cut begins with; repeats.")
@click.option("--output", "outputs", metavar="VALUE", multiple=True, help="A value that it ends with; repeats.")
@click.option("--name", default="piece", show_default=True, help="What the function of the cut is called.")
@click.option("--domain", default="graphkit.modules", show_default=True, help="The functions' domain.")
def command(
    model: str, modules: tuple[str, ...], inputs: tuple[str, ...], outputs: tuple[str, ...], name: str, domain: str
) -> gk.Model:
    r"""Put the nodes of torch modules into functions.

    Or those of a cut, which is named as for extract.

    \b
    graphkit outline model.onnx readable.onnx --module layers.0 --module layers.1
    graphkit outline model.onnx readable.onnx --input relu_3 --output add_7 --name block --domain my.modules
    """
    if not modules and not outputs:
        raise click.UsageError("give --module, or --output (and --input) for a cut")
    if inputs and not outputs:
        raise click.UsageError("--input goes with --output")
    import graphkit as gk

    return gk.outline(
        model,
        list(modules),
        inputs=read_names(inputs, model),
        outputs=read_names(outputs, model),
        name=name,
        domain=domain,
    )
