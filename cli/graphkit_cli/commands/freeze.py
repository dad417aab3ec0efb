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
    required=True,
    help="An input and its value: a number, a list such as 2,3, @x.npy, @x.npz or @photo.png; repeat it.",
)
@click.option("--fold", is_flag=True, help="Compute now what depends on nothing but constants any more.")
@click.option(
    "--fold-limit",
    metavar="BYTES",
    type=click.IntRange(0),
    default=1 << 20,
    show_default=True,
    help="With --fold: leave nodes alone whose result takes more than this.",
)
def command(model: str, values: tuple[str, ...], fold: bool, fold_limit: int) -> gk.Model:
    """Turn graph inputs into constants, the inverse of promote."""
    import graphkit as gk

    return gk.freeze(model, pairs(values, "--set", model), fold=fold, fold_limit=fold_limit)
