"""``graphkit history``: what was done to a model, as text or as a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from graphkit_cli.options import model_argument, output_options
from graphkit_cli.running import check_pages

if TYPE_CHECKING:
    from graphkit_cli.render import Render


@click.command()
@model_argument
@click.option("--recipe", metavar="FILE", help="Write it as a recipe, for `graphkit apply`.")
@click.option(
    "--portable",
    is_flag=True,
    help="With --recipe: name values and nodes by position, operator and torch module, so that it fits a re-export.",
)
@click.option(
    "--original", metavar="FILE", help="With --portable: the model that it begins with [default: beside MODEL]."
)
@click.option("--html", metavar="FILE", help="Write one self-contained page.")
@output_options
def command(
    render: Render, model: str, recipe: str | None, portable: bool, original: str | None, html: str | None
) -> int:
    r"""Show what was done to a model, or write it as a recipe.

    The recipe gives the same bytes on the original; a portable one does the same on another export of the network.

    \b
    graphkit history edited.onnx --html history.html
    graphkit history edited.onnx --recipe patch.toml --portable
    """
    if recipe is None and (portable or original is not None):
        raise click.UsageError("--portable and --original are for --recipe FILE.")
    check_pages([html], [model, original])
    import graphkit as gk

    loaded = gk.load(model)
    told = gk.history(loaded)
    known = told.original
    result = {
        "model": model,
        "original": None if known is None else {"file": known.file, "sha256": known.digest},
        "steps": [step.document() for step in told.steps],
    }
    if html is not None:
        gk.save_html(told, html)
        render.note(f"wrote {html}")
    if recipe is None:
        render.result(result, lambda: gk.text(told))
        return 0
    files = gk.save_recipe(loaded, recipe, portable=portable, original=original)
    render.result({**result, "files": files}, lambda: "\n".join(f"wrote {name}" for name in reversed(files)))
    return 0
