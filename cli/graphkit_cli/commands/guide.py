"""graphkit guide: how to do what people come for, in the terminal."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import click

from graphkit_cli.options import output_options

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from rich.markdown import Markdown

    from graphkit_cli.render import Render

ORDER = "from-torch pictures dynamic cut-and-merge patch-in-ci prove wrong-layer precision big-files custom-operators coming-from"
"""Topics in the order in which they are listed; others follow."""


def _completed(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 (click's signature)
    return [name for name in topics() if name.startswith(incomplete)]


@click.command()
@click.argument("topic", metavar="[TOPIC]", required=False, shell_complete=_completed)
@output_options
def command(render: Render, topic: str | None) -> None:
    r"""Read a guide: make it dynamic, cut and merge, prove, ...

    Without TOPIC the guides are listed.

    \b
    graphkit guide
    graphkit guide dynamic
    """
    guides = topics()
    if topic is None:
        titles = {name: _title(path) for name, path in guides.items()}
        render.result(titles, lambda: "\n".join(f"{name:<18}{title}" for name, title in titles.items()))
        return
    if topic not in guides:
        raise click.UsageError(f"There is no guide {topic!r}. There are: {', '.join(guides)}.")
    text = guides[topic].read_text(encoding="utf-8")
    render.result({"topic": topic, "text": text}, lambda: _shown(text))


def topics() -> dict[str, Traversable]:
    """The guides by name, in their order."""
    found = {path.name.removesuffix(".md"): path for path in (files("graphkit_cli") / "guides").iterdir()}
    order = ORDER.split()
    return dict(sorted(found.items(), key=lambda item: (order.index(item[0]) if item[0] in order else 99, item[0])))


def _title(path: Traversable) -> str:
    return path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def _shown(text: str) -> Markdown:
    from rich.markdown import Markdown

    return Markdown(text)
