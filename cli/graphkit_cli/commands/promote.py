"""graphkit promote: a constant becomes a graph input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from graphkit_cli.edit import edit_command
from graphkit_cli.running import every_pair, read_names

if TYPE_CHECKING:
    import graphkit as gk


@edit_command
@click.option(
    "--tensor",
    "tensors",
    metavar="NAME[=INPUT]",
    multiple=True,
    help="The constant, and what the input shall be called; NODE:ATTRIBUTE for an attribute; repeat it.",
)
@click.option("--all", "every", is_flag=True, help="Every initializer of the main graph.")
@click.option("--only", metavar="NODE", multiple=True, help="Only this node reads the input; repeat it. [default: all]")
@click.option("--keep-default", is_flag=True, help="The input may be left out and then has the old value.")
def command(model: str, tensors: tuple[str, ...], every: bool, only: tuple[str, ...], keep_default: bool) -> gk.Model:
    r"""Turn constants (weights, attributes) into graph inputs.

    \b
    graphkit promote model.onnx out.onnx --tensor conv1.bias=bias
    graphkit promote model.onnx out.onnx --all --keep-default
    """
    import graphkit as gk

    if every == bool(tensors):
        raise click.UsageError("Say what to promote: --tensor NAME, or --all.")
    wanted: dict[str, str | None] = {}
    for name, chosen in every_pair(tensors, "--tensor", model, of="constant", form="NAME[=INPUT]", alone=True):
        if not name or name in wanted:
            raise click.UsageError(f"--tensor {name}: write NAME or NAME=INPUT, and each name once")
        wanted[name] = gk.unquoted(chosen) or None
    return gk.promote(
        model, wanted, every=every, only=read_names(only, model, of="node") or None, keep_default=keep_default
    )
