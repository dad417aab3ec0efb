"""``graphkit tap``: inner values become outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from graphkit_cli.edit import edit_command

if TYPE_CHECKING:
    import graphkit as gk


@edit_command
@click.option(
    "--value", "names", metavar="NAME", multiple=True, required=True, help="A value of the main graph; repeat it."
)
@click.option(
    "--replace", is_flag=True, help="Drop the outputs that are not named; what leads only to them is not run."
)
def command(model: str, names: tuple[str, ...], replace: bool) -> gk.Model:
    r"""Make inner values graph outputs, to look at them.

    \b
    graphkit tap model.onnx tapped.onnx --value relu_3 --value add_7
    graphkit run tapped.onnx --feed x=random
    """
    import graphkit as gk

    return gk.tap(model, names, replace=replace)
