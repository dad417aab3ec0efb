"""``graphkit bisect``: where does a model go wrong?"""

from __future__ import annotations

import os
import shlex
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
@click.option(
    "--check",
    metavar="COMMAND",
    help="Find the smallest part of CANDIDATE on which this command still ends as on the whole; {} in it is the file, "
    "which else comes last. No shell runs it.",
)
@click.option(
    "--check-timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="With --check: what one run may take.  [default: ten times the first run, at least 10]",
)
@output_options
@with_pages
def command(
    render: Render,
    candidate: str,
    memory: str,
    save_repro: str | None,
    check: str | None,
    check_timeout: float | None,
    pages: Pages,
    **given: Any,
) -> int:
    r"""Find the first inner value that differs from a reference.

    CANDIDATE may also be a torch factory (PACKAGE.MODULE:FACTORY) with --against MODEL.

    Each node of a model is run once, in one piece for every 500 values, up to the first that differs: 2, 8 and 32 pieces
    a side for 1,000, 4,000 and 16,000 values, in 1, 2 and 5 seconds where the nodes are small. A torch module is run as a
    whole for every 500 values. --memory makes more pieces, --isolate runs every node of CANDIDATE once more.

    Numbers that are smaller than any tolerance are compared too, unless they are what rounding leaves of larger ones.
    Where that is not known (small results of Sigmoid, Gelu, LSTM and the like, operators of other domains) a note says so.

    With --check there is no reference: COMMAND is run on parts of CANDIDATE, and the smallest part on which it ends with
    the same exit code as on the whole is shown, or written with --save-repro. Exit 1 where it fails, 0 where it does not.

    \b
    graphkit bisect edited.onnx --against model.onnx
    graphkit bisect model.onnx --torch net:make --html report.html
    graphkit bisect model.onnx --check 'python check.py {}' --save-repro smallest
    """
    if check is not None:
        return _reduce(render, candidate, check, check_timeout, save_repro, pages, given)
    if check_timeout is not None:
        raise click.UsageError("--check-timeout is for --check")
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


def _reduce(
    render: Render,
    candidate: str,
    check: str,
    timeout: float | None,
    save_repro: str | None,
    pages: Pages,
    given: dict[str, Any],
) -> int:
    """Find the smallest part on which a command fails."""
    import graphkit as gk

    if given["against"] is not None or given["torch"] is not None:
        raise click.UsageError("--check needs no reference: leave --against and --torch out")
    try:
        words = shlex.split(check)
    except ValueError as error:
        raise click.UsageError(f"--check: {error}") from error
    if not words:
        raise click.UsageError("--check: there is no command")
    with render.progress(f"reducing {candidate}") as progress:
        found = gk.reduce_model(candidate, check, timeout=timeout, progress=progress)
    if save_repro is not None and found.fails:
        for path in gk.save_repro(found, save_repro):
            render.note(f"wrote {path}")
    elif save_repro is not None:
        render.note(f"the command does not fail: there is nothing to write to {save_repro}")
    elif found.fails:
        render.note("--save-repro DIR writes the part, and a script that runs the command on it")
    show(render, found, pages, candidate)
    return DIVERGES if found.fails else 0
