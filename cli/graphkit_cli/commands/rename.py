"""graphkit rename: other names for values and nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from graphkit_cli.edit import edit_command

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
    return gk.rename(model, values=_table("--value", values), nodes=_table("--node", nodes))


def _table(option: str, texts: tuple[str, ...]) -> dict[str, str]:
    """OLD=NEW; the last "=" separates, for old names may contain one more often than new ones."""
    table: dict[str, str] = {}
    for text in texts:
        old, separator, new = text.rpartition("=")
        if not separator or not old or not new:
            raise click.UsageError(f"{option} is OLD=NEW, not {text!r}.")
        if old in table:
            raise click.UsageError(f"{option} gives {old!r} two names.")
        table[old] = new
    return table
