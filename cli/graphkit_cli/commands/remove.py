"""``graphkit remove``: nodes, inputs and outputs go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from graphkit_cli.edit import edit_command
from graphkit_cli.running import read_names

if TYPE_CHECKING:
    import graphkit as gk


@edit_command
@click.option(
    "--node",
    "nodes",
    metavar="NODE",
    multiple=True,
    help="A node; its readers read its first input. NODE.ATTRIBUTE/NAME in a body, '*' for any text; repeat it.",
)
@click.option(
    "--input",
    "inputs",
    metavar="NAME",
    multiple=True,
    help="An input that nothing reads, or only as an optional operand; repeat it.",
)
@click.option(
    "--output", "outputs", metavar="NAME", multiple=True, help="An output, and what only it needs; repeat it."
)
@click.option("--regex", is_flag=True, help="--node holds regular expressions.")
def command(
    model: str, nodes: tuple[str, ...], inputs: tuple[str, ...], outputs: tuple[str, ...], regex: bool
) -> gk.Model:
    r"""Take nodes, inputs and outputs out.

    \b
    graphkit remove model.onnx out.onnx --node Dropout_7
    graphkit remove model.onnx out.onnx --output aux_logits
    """
    import graphkit as gk

    if not nodes and not inputs and not outputs:
        raise click.UsageError("say what to remove: --node NODE, --input NAME or --output NAME")
    return gk.remove(
        model,
        nodes=nodes if regex else read_names(nodes, model, of="node"),
        inputs=read_names(inputs, model),
        outputs=read_names(outputs, model),
        regex=regex,
    )
