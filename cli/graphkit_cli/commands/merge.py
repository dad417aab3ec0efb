"""graphkit merge: several models become one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from graphkit_cli.edit import Saving, check_target, save_merged, with_saving
from graphkit_cli.options import output_options

if TYPE_CHECKING:
    from graphkit_cli.render import Render

CLI_ONLY = {"replace": "Python names the file in save(), which says that it writes over it"}


@click.command()
@click.argument("out", metavar="OUT")
@click.argument("models", metavar="MODEL MODEL...", nargs=-1, required=True)
@click.option(
    "--connect",
    metavar="A:OUTPUT=B:INPUT",
    multiple=True,
    help="Feed an input of one model by an output of another, or make one input of two (A:in=B:in); repeats.",
)
@click.option(
    "--prefix", is_flag=True, help="Put the model's name before every inner name, not only where two collide."
)
@click.option("--replace", is_flag=True, help="Write over an OUT that exists.")
@with_saving
@output_options
def command(
    render: Render,
    out: str,
    models: tuple[str, ...],
    connect: tuple[str, ...],
    prefix: bool,
    replace: bool,
    saving: Saving,
) -> int:
    r"""Join models, outputs of some wired to inputs of others.

    Models are called by the stem of their file's name. OUT stands first; one that exists is written over only with
    --replace, because it is most often a MODEL that was meant to be read.

    \b
    graphkit merge whole.onnx backbone.onnx head.onnx --connect backbone:features=head:x
    graphkit merge pair.onnx left.onnx right.onnx --connect left:image=right:image
    """
    import graphkit as gk

    check_target(out, saving)
    if len(models) < 2:
        raise click.UsageError("Name at least two models behind OUT.")
    if os.path.exists(out) and not replace and not saving.dry_run:
        raise gk.SaveError(
            f"{out!r} exists; OUT is the first name",
            path=out,
            hint=gk.Hint("to write over it, give ", gk.Argument("replace")),
        )
    with render.progress(f"merge {' '.join(models)}"):
        merged = gk.merge(list(models), connect=list(connect), prefix=prefix)
    names = merged.history[-1].arguments["models"]
    return save_merged(render, merged, dict(zip(names, models, strict=True)), out, saving)
