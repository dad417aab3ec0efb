"""``graphkit history``: what was done to a model, as text or as a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from graphkit_cli.options import model_argument, output_options

if TYPE_CHECKING:
    import graphkit as gk
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
@output_options
def command(render: Render, model: str, recipe: str | None, portable: bool, original: str | None) -> int:
    r"""Show what was done to a model, or write it as a recipe.

    The recipe gives the same bytes on the original; a portable one does the same on another export of the network.

    \b
    graphkit history edited.onnx
    graphkit history edited.onnx --recipe patch.toml --portable
    """
    if recipe is None and (portable or original is not None):
        raise click.UsageError("--portable and --original are for --recipe FILE.")
    import graphkit as gk

    loaded = gk.load(model)
    known = loaded.original
    result = {
        "model": model,
        "original": None if known is None else {"file": known.file, "sha256": known.digest},
        "steps": [step.document() for step in loaded.history],
    }
    if recipe is None:
        render.result(result, lambda: _text(loaded))
        return 0
    files = gk.save_recipe(loaded, recipe, portable=portable, original=original)
    render.result({**result, "files": files}, lambda: "\n".join(f"wrote {name}" for name in reversed(files)))
    return 0


def _text(model: gk.Model) -> str:
    if not model.history:
        return "graphkit did nothing to this model, or its history was left out"
    import graphkit as gk

    known = model.original
    lines = [f"from {known.file or 'a model that was made in memory'}" if known is not None else "from nothing"]
    for number, step in enumerate(model.history, 1):
        lines += f"{number}. {gk.text(step)}".split("\n")
    return "\n".join(lines)
