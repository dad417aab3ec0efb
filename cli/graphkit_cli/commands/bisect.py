"""``graphkit bisect``: where does a model go wrong?"""

from __future__ import annotations

import os
from typing import Any

import click

from graphkit_cli.options import output_options
from graphkit_cli.render import Render
from graphkit_cli.running import (
    Pages,
    comparison_options,
    one_reference,
    read_comparison,
    reference_options,
    sample_option,
    show,
    with_pages,
)

DIVERGES = 1


@click.command()
@click.argument("candidate", metavar="CANDIDATE")
@reference_options
@comparison_options()
@sample_option
@click.option("--any-dtype", is_flag=True, help="Outputs of another dtype are no difference by themselves.")
@click.option("--reference-device", metavar="DEVICE", help="Run the reference model elsewhere: cpu, cuda, tensorrt.")
@click.option(
    "--isolate", is_flag=True, help="Try every node alone on the reference's values: shows which ones introduce error."
)
@click.option(
    "--memory",
    metavar="SIZE",
    default="2GB",
    show_default=True,
    help="What the process may hold at once; where it cannot be kept, a note says so.",
)
@click.option("--save-repro", metavar="DIR", help="Write the smallest failing model, its feeds and a script.")
@output_options
@with_pages
def command(render: Render, candidate: str, memory: str, save_repro: str | None, pages: Pages, **given: Any) -> int:
    r"""Find the first inner value that differs from a reference.

    CANDIDATE may also be a torch factory (PACKAGE.MODULE:FACTORY) with --against MODEL.

    Each node of a model is run once, in one piece for every 500 values, up to the first that differs: 2, 8 and 32 pieces
    a side for 1,000, 4,000 and 16,000 values, in 1, 2 and 5 seconds where the nodes are small. A torch module is run as a
    whole for every 500 values. --memory makes more pieces, --isolate runs every node of CANDIDATE once more.

    Numbers that are smaller than any tolerance are compared too, unless they are what rounding leaves of larger ones.
    Where that is not known (small results of Sigmoid, Gelu, LSTM and the like, operators of other domains) a note says so.

    \b
    graphkit bisect edited.onnx --against model.onnx
    graphkit bisect model.onnx --torch net:make --html report.html
    """
    one_reference(given)
    given = read_comparison(given, candidate, given["against"])
    import graphkit as gk

    try:
        limit = gk.parse_bytes(memory)
    except ValueError as error:
        raise click.UsageError(f"--memory: {error}") from error
    with render.progress(f"bisecting {candidate}") as progress:
        found = gk.bisect(candidate, memory=limit, progress=progress, **given)
    if save_repro is not None and not found.diverges:
        render.note(f"nothing diverges: there is nothing to write to {save_repro}")
    elif save_repro is not None and (found.failing is None or found.failing.made is None):
        render.note(f"nothing is written to {save_repro}: no node that can be run alone shows the difference")
    elif save_repro is not None:
        for path in gk.save_repro(found, save_repro):
            render.note(f"wrote {path}")
    drawn = candidate if os.path.exists(candidate) or "://" in candidate else given["against"]
    show(render, found, pages, drawn)
    return DIVERGES if found.diverges else 0
