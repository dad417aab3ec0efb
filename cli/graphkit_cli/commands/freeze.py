"""graphkit freeze: a graph input becomes a constant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from graphkit_cli.edit import edit_command
from graphkit_cli.running import pairs

if TYPE_CHECKING:
    import graphkit as gk


@edit_command
@click.option(
    "--set",
    "values",
    metavar="NAME=VALUE",
    multiple=True,
    help="An input and its value: a number, a list such as 2,3, @x.npy, @x.npz or @photo.png; repeat it.",
)
@click.option("--defaults", is_flag=True, help="Every input that has a default value becomes a constant.")
@click.option("--fold", is_flag=True, help="Compute now what depends on nothing but constants any more.")
@click.option(
    "--fold-limit",
    metavar="BYTES",
    type=click.IntRange(0),
    default=1 << 20,
    show_default=True,
    help="With --fold: leave nodes alone whose result takes more than this.",
)
def command(model: str, values: tuple[str, ...], defaults: bool, fold: bool, fold_limit: int) -> gk.Model:
    r"""Turn graph inputs into constants, the inverse of promote.

    \b
    graphkit freeze model.onnx fixed.onnx --set factor=2.5
    graphkit freeze model.onnx fixed.onnx --defaults
    """
    import graphkit as gk

    if not values and not defaults:
        raise click.UsageError("Say what to bind: --set NAME=VALUE or --defaults.")
    return gk.freeze(model, pairs(values, "--set", model), defaults=defaults, fold=fold, fold_limit=fold_limit)
