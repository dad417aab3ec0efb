"""``graphkit tap``: inner values become outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from graphkit_cli.edit import edit_command
from graphkit_cli.running import read_names

if TYPE_CHECKING:
    import graphkit as gk


@edit_command
@click.option(
    "--value",
    "names",
    metavar="NAME",
    multiple=True,
    required=True,
    help="A value; NODE.ATTRIBUTE/NAME in a body, '*' for any text; repeat it.",
)
@click.option(
    "--replace", is_flag=True, help="Drop the outputs that are not named; what leads only to them is not run."
)
@click.option("--regex", is_flag=True, help="--value holds regular expressions.")
def command(model: str, names: tuple[str, ...], replace: bool, regex: bool) -> gk.Model:
    r"""Make inner values graph outputs, to look at them.

    \b
    graphkit tap model.onnx tapped.onnx --value relu_3 --value add_7
    graphkit tap model.onnx all.onnx --value '*'
    graphkit tap model.onnx turns.onnx --value Loop_3.body/hidden
    """
    import graphkit as gk

    return gk.tap(model, names if regex else read_names(names, model), replace=replace, regex=regex)
