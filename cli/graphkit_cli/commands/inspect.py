"""``graphkit inspect``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from graphkit_cli.fleet import many
from graphkit_cli.options import model_argument, output_options
from graphkit_cli.running import bound_sizes, check_pages, read_name
from graphkit_cli.spelling import told

if TYPE_CHECKING:
    from graphkit_cli.render import Render

LEFT_OUT = re.compile(r" and \d+ (more|torch modules)$", re.MULTILINE)
"""How a text says that a list goes on."""

MANY = 20_000
"""Nodes from which on shapes are inferred only where sizes are given: it takes a second or more."""


@click.command()
@many("inspect", "a model", lambda given: {"infer": given["values"], "bind": _sizes(given["bind"]) or None})
@model_argument
@click.option("--all", "whole", is_flag=True, help="Cut no list to one screen.")
@click.option("--nodes", is_flag=True, help="List every node with its attributes, inputs and outputs.")
@click.option("--values", is_flag=True, help="List every value and every weight with its type; infers missing types.")
@click.option(
    "--bind",
    metavar="DIM=SIZE",
    multiple=True,
    help="Size of a symbolic dim or of an axis, such as batch=1 or x:1=576, to be told what a run computes and holds; "
    "repeats.",
)
@click.option("--find", "text", metavar="TEXT", help="List what holds this text: names, operators, modules, shapes.")
@click.option("--node", metavar="NAME", help="Show a node and what is around it.")
@click.option("--hops", type=click.IntRange(min=0), default=1, show_default=True, help="How far around --node.")
@click.option(
    "--value", metavar="NAME", help="Show a value: type, who makes and reads it, and the numbers of a constant."
)
@click.option("--html", metavar="FILE", help="Write one self-contained page.")
@output_options
def command(
    render: Render,
    model: str,
    whole: bool,
    nodes: bool,
    values: bool,
    bind: tuple[str, ...],
    text: str | None,
    node: str | None,
    hops: int,
    value: str | None,
    html: str | None,
) -> None:
    r"""Show what a model holds: interface, operators, weights.

    On one screen: inputs, outputs, whether the installed runtime takes it, size and largest weights, operators, functions,
    torch modules, what a run computes and holds, and what is in the way, with the command that mends it; --all, --nodes
    and --values list what a screen has no room for. MODEL is a file or an address (https://, s3://, hf://). Of the weights only those of 16 elements or fewer are read. With --json
    everything is listed: see graphkit.Summary, graphkit.ValueDetails (--value), graphkit.Neighbours (--node) and
    graphkit.Matches (--find).

    \b
    graphkit inspect model.onnx --bind batch=1
    graphkit inspect model.onnx --value scales
    """
    if sum(one is not None for one in (text, node, value)) > 1:
        raise click.UsageError("give one of --find, --node and --value")
    if html is not None and any(one is not None for one in (text, node, value)):
        raise click.UsageError("--html writes the page of the whole model: leave --find, --node and --value away")
    check_pages([html], [model])
    import graphkit as gk

    if value is not None:
        details = gk.look_up_value(model, read_name(value, model))
        render.result(details, lambda: gk.text(details))
    elif node is not None:
        around = gk.neighbours(model, read_name(node, model, of="node"), hops=hops)
        render.result(around, lambda: gk.text(around))
    elif text is not None:
        found = gk.find(model, text)
        render.result(found, lambda: gk.text(found))
    else:
        sizes = _sizes(bind, model)
        source = gk.load(model)
        few = len(source.nodes) <= MANY
        summary = told(gk.inspect(source, infer=values, bind=sizes if sizes or few else None))
        if html is not None:
            gk.save_html(summary, html)
            render.note(f"wrote {html}")
        render.result(summary, lambda: _marked(gk.text(summary, nodes=nodes, values=values, whole=whole)))


def _marked(text: str) -> str:
    """A text that says how to see what it leaves out."""
    return f"{text}\n(--all lists what is left out here)" if LEFT_OUT.search(text) else text


def _sizes(texts: Sequence[str], *models: str) -> dict[str, int]:
    return {name: _one(name, given) for name, given in bound_sizes(texts, *models).items()}


def _one(name: str, sizes: list[int]) -> int:
    if len(sizes) > 1:
        raise click.UsageError(f"--bind wants one size for {name!r} here")
    return sizes[0]
