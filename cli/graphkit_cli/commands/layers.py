"""``graphkit layers``: the outputs of all modules, torch beside ONNX."""

from __future__ import annotations

from typing import Any

import click

from graphkit_cli.options import model_argument, output_options
from graphkit_cli.render import Render
from graphkit_cli.running import Pages, comparison_options, read_comparison, sample_option, show, with_pages

DIFFERS = 1


@click.command()
@model_argument
@click.option(
    "--torch",
    metavar="PACKAGE.MODULE:FACTORY",
    required=True,
    help="Compare with the torch module that this gives.",
)
@comparison_options()
@sample_option
@output_options
@with_pages
def command(render: Render, model: str, pages: Pages, **given: Any) -> int:
    r"""Show what every submodule returns, in torch and in the model.

    \b
    graphkit layers model.onnx --torch net:make
    graphkit layers model.onnx --torch net:make --html table.html
    """
    import graphkit as gk

    given = read_comparison(given, model)
    with render.progress(f"comparing {model}") as progress:
        table = gk.layers(model, progress=progress, **given)
    show(render, table, pages, model)
    return 0 if table.match else DIFFERS
