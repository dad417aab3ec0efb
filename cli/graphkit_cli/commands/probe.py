"""``graphkit probe``: which input shapes a model accepts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from graphkit_cli.options import output_options
from graphkit_cli.running import custom_ops_option, every_pair, feed_option, pairs
from graphkit_cli.spelling import told

if TYPE_CHECKING:
    from graphkit_cli.render import Render


@click.command()
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option(
    "--shape",
    "texts",
    metavar="NAME=SHAPE",
    multiple=True,
    required=True,
    help="A shape to try: x=1,3,64,64. The n-th --shape of each input belongs to the n-th attempt; an input that is "
    "given once has this shape in all of them.",
)
@feed_option
@custom_ops_option
@output_options
def command(
    render: Render,
    models: tuple[str, ...],
    texts: tuple[str, ...],
    feeds: tuple[str, ...],
    custom_ops: tuple[str, ...],
) -> int:
    r"""Try input shapes on models, and say which axis is to blame.

    Exit code 1 where a shape is refused.

    \b
    graphkit probe a.onnx b.onnx --shape image=1,3,224,224
    graphkit probe model.onnx --shape image=1,3,64,64 --shape image=4,3,64,64
    """
    import graphkit as gk

    attempts, fed = _attempts(texts, models), pairs(feeds, "--feed", *models)
    both = sorted(fed.keys() & attempts[0].keys())
    if both:
        raise click.UsageError(f"{both[0]!r} is given a --shape and a --feed; give one of them")
    probed = {}
    with render.progress("probing", total=len(models)) as report:
        for done, model in enumerate(models):
            report(done, len(models), f"probing {model}")
            probed[model] = told(gk.probe(model, attempts, feeds=fed, custom_ops=custom_ops))
    render.result(probed, lambda: gk.text(probed))
    return 0 if all(attempt.accepted for found in probed.values() for attempt in found) else 1


def _attempts(texts: tuple[str, ...], models: tuple[str, ...]) -> list[dict[str, tuple[int, ...]]]:
    import graphkit as gk

    shapes: dict[str, list[tuple[int, ...]]] = {}
    for name, sizes in every_pair(texts, "--shape", *models, form="NAME=SHAPE"):
        try:
            shapes.setdefault(name, []).append(tuple(gk.read_shape(sizes)))
        except gk.TextError as error:
            raise click.UsageError(f"--shape {name}={sizes}: write NAME=SHAPE, such as x=1,3,64,64") from error
    count = max(map(len, shapes.values()))
    uneven = [name for name, given in shapes.items() if len(given) not in (1, count)]
    if uneven:
        raise click.UsageError(f"--shape {uneven[0]} is given {len(shapes[uneven[0]])} times, others {count} times")
    return [{name: given[n if len(given) > 1 else 0] for name, given in shapes.items()} for n in range(count)]
