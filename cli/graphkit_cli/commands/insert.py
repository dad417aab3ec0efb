"""``graphkit insert``: a body stands between a value and those who read it."""

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
    "--at",
    metavar="VALUE",
    multiple=True,
    required=True,
    help="The value; NODE.ATTRIBUTE/NAME in a body, '*' for any text; repeat it.",
)
@body_options
@click.option(
    "--reader",
    "readers",
    metavar="NODE",
    multiple=True,
    help="Only this node reads the result; repeat it. [default: all]",
)
@click.option("--regex", is_flag=True, help="--at holds regular expressions.")
def command(
    model: str,
    at: tuple[str, ...],
    function: str | None,
    body_model: str | None,
    readers: tuple[str, ...],
    regex: bool,
) -> gk.Model:
    r"""Put nodes between a value and those who read it.

    \b
    graphkit insert model.onnx out.onnx --at logits --function softmax:axis=1
    graphkit insert model.onnx out.onnx --at x --function '(a) => (b) { b = Relu(a) }'
    """
    import graphkit as gk

    one_body(function, body_model)
    values = at if regex else read_names(at, model)
    readers_of = read_names(readers, model, of="node") or None
    return gk.insert(model, values, function, body_model=body_model, readers=readers_of, regex=regex)
