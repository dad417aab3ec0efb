"""``graphkit prove``: is an edited model what its history says, and do the laws of its steps hold?"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from graphkit_cli.fleet import many
from graphkit_cli.options import output_options
from graphkit_cli.render import Render
from graphkit_cli.running import Pages, custom_ops_option, feed_option, name_pairs, pairs, show, with_pages

if TYPE_CHECKING:
    import graphkit as gk

NO = 1


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    """What ``prove`` is given for each of many models."""
    if given["feeds"]:
        raise click.UsageError("--feed is for one model.")
    if given["state"]:
        raise click.UsageError("--state is for one model.")
    return {"samples": given["samples"], "seed": given["seed"], "custom_ops": given["custom_ops"]}


@click.command()
@many("prove", "an edited model, and its original where that is not beside it", _options)
@click.argument("edited", metavar="EDITED")
@click.argument("originals", metavar="[ORIGINAL]...", nargs=-1)
@feed_option
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=None,
    help="Runs at the usual sizes; 5 to 20, or fewer where a run is slow.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Where the random numbers start.")
@click.option(
    "--state",
    "state",
    multiple=True,
    metavar="OUT=IN",
    help="An output that is fed to an input in the next step, such as a cache: steps have to equal one run. Repeatable.",
)
@custom_ops_option
@output_options
@with_pages
def command(
    render: Render,
    edited: str,
    originals: tuple[str, ...],
    feeds: tuple[str, ...],
    samples: int | None,
    seed: int,
    state: tuple[str, ...],
    custom_ops: tuple[str, ...],
    pages: Pages,
) -> int:
    r"""Prove an edited model against its original, step by step.

    Two questions: does the history of EDITED, replayed on ORIGINAL, give these bytes; and does each step do what its law
    says, on random feeds at several sizes? ORIGINAL is the file that the history names, beside EDITED, or the one that is
    given; of a merge all models that were merged. Exit 1 where something is broken, or could not be proved.

    \b
    graphkit prove edited.onnx
    graphkit prove edited.onnx original.onnx --feed image=@photo.png --html proof.html
    graphkit prove decoder.onnx --state present=past
    graphkit prove whole.onnx backbone.onnx head.onnx
    """
    import graphkit as gk

    given = pairs(feeds, "--feed", edited, *originals)
    with render.progress(f"proving {edited}") as progress:
        proof = gk.prove(
            edited,
            originals if len(originals) > 1 else next(iter(originals), None),
            feeds=given,
            samples=samples,
            seed=seed,
            state=name_pairs(state, "--state", edited),
            custom_ops=custom_ops,
            progress=progress,
        )
    show(render, proof, pages, edited, *_changes(edited, originals or (proof.original,), pages))
    return 0 if proof else NO


def _changes(edited: str, originals: Sequence[str], pages: Pages) -> list[gk.Difference]:
    """What the steps changed, for the drawing; nothing where several models were merged."""
    if pages.view is None or len(originals) != 1 or not ("://" in originals[0] or os.path.exists(originals[0])):
        return []
    import graphkit as gk

    return [gk.diff(gk.load(originals[0], strict=False), edited, ignore=["weights"], steps=False)]
