"""graphkit dims: set, rename and fix the dims of graph inputs."""

from __future__ import annotations

import re
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
    metavar="INPUT:AXIS=NAME|INT",
    multiple=True,
    required=True,
    help="An axis of an input (or a symbolic dim) and what it shall be: a name, or a size; repeat it.",
)
@click.option(
    "--repair-shapes", is_flag=True, help="Make what holds a size follow, where it is certain what it has to follow."
)
@click.option("--strict", is_flag=True, help="Refuse where a size does not follow, instead of warning.")
@click.option("--fold", is_flag=True, help="Compute now what depends on nothing but sizes: Shape and what follows.")
def command(model: str, values: tuple[str, ...], repair_shapes: bool, strict: bool, fold: bool) -> gk.Model:
    """Set, rename and fix the dims of graph inputs, everywhere they occur."""
    import graphkit as gk

    texts = pairs(values, "--set", model, of="dim", form="INPUT:AXIS=NAME|INT")
    given = {key: int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else text for key, text in texts.items()}
    return gk.dims(model, given, repair_shapes=repair_shapes, strict=strict, fold=fold)
