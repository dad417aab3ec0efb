"""``graphkit diff``: how does one model differ from another?"""

from __future__ import annotations

import click

from graphkit_cli.options import output_options
from graphkit_cli.render import Render
from graphkit_cli.running import Pages, check_pages, write_pages

NO = 1


@click.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option(
    "--ignore",
    type=click.Choice(["names", "metadata", "weights", "shapes"]),
    multiple=True,
    help="What does not count: names; metadata, docs and producer; values of weights, which are not read then; declared "
    "shapes. Repeats.",
)
@click.option("--no-steps", is_flag=True, help="Do not replay the history of B to say which step made what.")
@click.option("--html", metavar="FILE", help="Write one self-contained page, both models side by side.")
@click.option(
    "--view", metavar="FILE", help="Draw B as a page, its differences in colour; the page of --html links to it."
)
@click.option("--markdown", metavar="FILE", help="Write the differences as Markdown tables.")
@output_options
def command(
    render: Render,
    before: str,
    after: str,
    ignore: tuple[str, ...],
    no_steps: bool,
    html: str | None,
    view: str | None,
    markdown: str | None,
) -> int:
    r"""Show how model B differs from A; exit 1 where they differ.

    Interface, opsets, functions, nodes, attributes, weights (by their bytes, and how far they moved), metadata and
    declared shapes. Nodes are matched by what they compute, by name, and by torch module, so that a renamed model is
    renamed and not another. Where bytes are stored and the history are no difference. Where the history of B goes on
    from A, it is replayed and each difference has the step that made it.

    With --json: equal, verdict, and the lists added, removed, renamed, moved, changed; an entry has kind, name, former
    (its name in A), before, after, details, movement (of a weight), steps.

    \b
    graphkit diff old.onnx new.onnx
    graphkit diff old.onnx new.onnx --ignore names --ignore metadata --html diff.html
    """
    check_pages([html, view, markdown], [before, after])
    import graphkit as gk

    with render.progress(f"comparing {before} with {after}"):
        result = gk.diff(before, after, ignore=ignore, steps=not no_steps)
    write_pages(render, result, Pages(html, view), after)
    if markdown is not None:
        gk.save_markdown(result, markdown)
        render.note(f"wrote {markdown}")
    render.result(result, lambda: gk.text(result))
    return 0 if result else NO
