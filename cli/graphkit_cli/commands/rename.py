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
    "--value",
    "values",
    metavar="OLD=NEW",
    multiple=True,
    help="Rename an input, an output or another value; NODE.ATTRIBUTE/NAME in a body; repeat it.",
)
@click.option("--node", "nodes", metavar="OLD=NEW", multiple=True, help="Rename a node; repeat it.")
@click.option(
    "--regex",
    metavar="PATTERN=REPLACEMENT",
    multiple=True,
    help="Replace what a regular expression finds in the names of all values and nodes; repeat it.",
)
@click.option("--prefix", metavar="TEXT", default="", help="A text in front of all names but inputs and outputs.")
def command(
    model: str, values: tuple[str, ...], nodes: tuple[str, ...], regex: tuple[str, ...], prefix: str
) -> gk.Model:
    r"""Give values and nodes other names, wherever they are written.

    \b
    graphkit rename model.onnx out.onnx --value input.1=image --value 240=logits
    graphkit rename model.onnx out.onnx --regex '^/model/=' --prefix backbone/
    """
    import graphkit as gk

    if not (values or nodes or regex or prefix):
        raise click.UsageError("Say what to rename: --value OLD=NEW, --node OLD=NEW, --regex or --prefix.")
    return gk.rename(
        model,
        values=name_pairs(values, "--value", model),
        nodes=name_pairs(nodes, "--node", model, of="node"),
        regex=_patterns(regex),
        prefix=prefix,
    )


def _patterns(texts: tuple[str, ...]) -> dict[str, str]:
    """PATTERN=REPLACEMENT; the last "=" separates, and the replacement may be empty."""
    table: dict[str, str] = {}
    for text in texts:
        pattern, equals, replacement = text.rpartition("=")
        if not equals or not pattern or pattern in table:
            raise click.UsageError(f"--regex wants PATTERN=REPLACEMENT, each pattern once, not {text!r}")
        table[pattern] = replacement
    return table
