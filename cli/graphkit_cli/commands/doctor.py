"""``graphkit doctor``: what is installed, and what really works here; and what an error of ONNX Runtime means."""

from __future__ import annotations

import dataclasses
import sys

import click

from graphkit_cli.options import output_options
from graphkit_cli.render import Render
from graphkit_cli.spelling import spelt

BROKEN = 1
UNKNOWN = 1


@click.command()
@click.option(
    "--explain",
    "message",
    metavar="TEXT",
    help="An error of ONNX Runtime from your own program: what it means, which axis, what to do; - reads it from stdin. "
    "Exit code 1 where it is not known.",
)
@output_options
def command(render: Render, message: str | None) -> int:
    r"""Show versions, limits and the providers that really load.

    \b
    graphkit doctor
    graphkit doctor --json
    graphkit doctor --explain "Invalid Output Name:conv1"
    """
    import graphkit as gk

    if message is not None:
        meant = gk.explain(sys.stdin.read() if message == "-" else message)
        meant = dataclasses.replace(meant, remedies=tuple(map(spelt, meant.remedies)))
        render.result(meant, lambda: gk.text(meant))
        return 0 if meant else UNKNOWN
    with render.progress("looking around"):
        found = gk.doctor()
    render.result(found, lambda: gk.text(found))
    return 0 if found.ok else BROKEN
