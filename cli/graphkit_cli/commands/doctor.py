"""``graphkit doctor``: what is installed, and what really works here."""

from __future__ import annotations

import click

from graphkit_cli.options import output_options
from graphkit_cli.render import Render

BROKEN = 1


@click.command()
@output_options
def command(render: Render) -> int:
    r"""Show versions, limits and the providers that really load.

    \b
    graphkit doctor
    graphkit doctor --json
    """
    import graphkit as gk

    with render.progress("looking around"):
        found = gk.doctor()
    render.result(found, lambda: gk.text(found))
    return 0 if found.ok else BROKEN
