"""``graphkit replace``: a body stands where a node or a region stood."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from graphkit_cli.body import body_options, one_body
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
    help="A node to replace; NODE.ATTRIBUTE/NAME in a body, '*' for any text; repeat it.",
)
@click.option("--input", "inputs", metavar="VALUE", multiple=True, help="What a region reads; repeat it, in order.")
@click.option("--output", "outputs", metavar="VALUE", multiple=True, help="What the region makes; repeat it, in order.")
@body_options
@click.option("--regex", is_flag=True, help="--node holds regular expressions.")
def command(
    model: str,
    nodes: tuple[str, ...],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    function: str | None,
    body_model: str | None,
    regex: bool,
) -> gk.Model:
    r"""Put nodes in the place of a node, or of a region.

    \b
    graphkit replace model.onnx out.onnx --node Gelu_3 --function '(x) => (y) { y = Relu(x) }'
    graphkit replace model.onnx out.onnx --input q --input k --output scores --model attention.onnx
    """
    import graphkit as gk

    one_body(function, body_model)
    if bool(nodes) == bool(inputs or outputs) or bool(inputs) != bool(outputs):
        raise click.UsageError("say what to replace: --node NODE, or --input VALUE and --output VALUE")
    return gk.replace(
        model,
        nodes=nodes if regex else read_names(nodes, model, of="node"),
        inputs=read_names(inputs, model),
        outputs=read_names(outputs, model),
        function=function,
        body_model=body_model,
        regex=regex,
    )
