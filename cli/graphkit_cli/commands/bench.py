"""``graphkit bench``: how fast, and how much memory?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from graphkit_cli.options import model_argument, output_options
from graphkit_cli.running import (
    bound_sizes,
    check_pages,
    custom_ops_option,
    device_option,
    feed_option,
    pairs,
    tf32_option,
)

if TYPE_CHECKING:
    from graphkit_cli.render import Render


@click.command()
@model_argument
@click.argument("other", metavar="[MODEL2]", required=False)
@click.option(
    "--bind",
    metavar="DIM=SIZES",
    multiple=True,
    help="Sizes of a symbolic dim or of an axis, such as batch=1,8 or x:1=576; every combination is a row; repeats.",
)
@feed_option
@device_option
@click.option(
    "--optimization",
    "optimizations",
    type=click.Choice(["all", "extended", "basic", "none"]),
    multiple=True,
    default=("all", "none"),
    show_default=True,
    help="How far ONNX Runtime may rewrite the model before it runs it; repeats.",
)
@click.option("--runs", type=click.IntRange(min=1), help="Timed runs of each row [default: as fit into --seconds].")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    help="Time for the runs of each row.",
)
@click.option("--threads", type=click.IntRange(min=1), help="Threads inside an operator [default: the runtime's].")
@tf32_option
@custom_ops_option
@click.option("--profile", is_flag=True, help="Say where the time goes, by operator and node.")
@click.option("--no-memory", is_flag=True, help="Do not measure memory, which takes a process for each model.")
@click.option("--seed", type=int, default=0, show_default=True, help="Where the random feeds start.")
@click.option("--html", metavar="FILE", help="Write one self-contained page.")
@output_options
def command(
    render: Render,
    model: str,
    other: str | None,
    bind: tuple[str, ...],
    feeds: tuple[str, ...],
    device: str,
    optimizations: tuple[Literal["all", "extended", "basic", "none"], ...],
    runs: int | None,
    seconds: float,
    threads: int | None,
    tf32: bool,
    custom_ops: tuple[str, ...],
    profile: bool,
    no_memory: bool,
    seed: int,
    html: str | None,
) -> None:
    r"""Measure how long a run takes and how much memory.

    Quantiles of the time of a run at each size, optimised and not; of two models, beside each other, run in turn. Inputs
    without --feed are random, dims without --bind as validate has them. Memory is that of a process of its own (Linux).
    With --json: models, device, timings, memory, profiles; see graphkit.Benchmark.

    \b
    graphkit bench model.onnx --bind batch=1,8
    graphkit bench model.onnx int8.onnx --profile --threads 1 --html bench.html
    """
    check_pages([html], [model, other])
    import graphkit as gk

    with render.progress(f"measuring {model}") as progress:
        result = gk.bench(
            model,
            other,
            bind=bound_sizes(bind, model, other),
            feeds=pairs(feeds, "--feed", model, other),
            device=device,
            optimizations=optimizations,
            runs=runs,
            seconds=seconds,
            threads=threads,
            tf32=tf32,
            custom_ops=custom_ops,
            profile=profile,
            memory=not no_memory,
            seed=seed,
            progress=progress,
        )
    if html is not None:
        gk.save_html(result, html)
        render.note(f"wrote {html}")
    render.result(result, lambda: gk.text(result))
