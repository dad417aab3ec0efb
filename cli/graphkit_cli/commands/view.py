"""``graphkit view``: a model as a page to look into."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from graphkit_cli.options import model_argument, output_options
from graphkit_cli.running import check_pages

if TYPE_CHECKING:
    from graphkit_cli.render import Render

PYTHON_ONLY = {"weights": "the command spells it --no-weights"}
CLI_ONLY = {
    "html": "the function gives the page; save() and open() write it",
    "no_weights": "the function's keyword is weights",
}


@click.command()
@model_argument
@click.option(
    "--html", metavar="FILE", help="Write the page here; without it a temporary page is opened in the browser."
)
@click.option(
    "--highlight",
    metavar="WHAT",
    multiple=True,
    help="Colour a node or value by its NAME, cut:INPUT,INPUT->OUTPUT, module:PATH, step:N, bisect:FILE (of graphkit "
    "bisect --json), placement:DEVICE (which provider runs which node); repeats.",
)
@click.option("--no-weights", is_flag=True, help="Do not read weights: no statistics, no histograms.")
@output_options
def command(render: Render, model: str, html: str | None, highlight: tuple[str, ...], no_weights: bool) -> None:
    r"""Draw a model as one page: modules, search, paths, findings.

    The page loads nothing from any network. Torch modules are groups where MODEL knows them, else prefixes of names,
    else runs of nodes. What graphkit check and graphkit lint find is marked. A link to FILE#value=NAME opens at a value.

    \b
    Examples:
      graphkit view model.onnx --html model.html
      graphkit view model.onnx --html cut.html --highlight 'cut:image->features'
    """
    check_pages([html], [model])
    import graphkit as gk

    with render.progress(f"drawing {model}"):
        made = gk.view(model, highlight=highlight, weights=not no_weights)
    path = html
    if path is None:
        path = made.open()
    else:
        made.save(path)
    for note in made.notes:
        render.note(note)
    told = {"path": path, "name": made.name, "nodes": made.nodes, "groups": made.groups}
    told |= {"highlighted": made.highlighted, "findings": made.findings, "notes": made.notes}
    render.result(told, lambda: f"wrote {path}: {_counted(made.nodes, 'node')}, {_counted(made.findings, 'finding')}")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
