"""``graphkit layers``: the outputs of all modules, torch beside ONNX."""

from __future__ import annotations

import click

from graphkit_cli.options import model_argument, output_options
from graphkit_cli.render import Render
from graphkit_cli.running import (
    device_option,
    feed_option,
    map_option,
    one_size,
    pairs,
    tf32_option,
    tolerance_options,
)

DIFFERS = 1


@click.command()
@model_argument
@click.option(
    "--torch",
    "torch_factory",
    metavar="PACKAGE.MODULE:FACTORY",
    required=True,
    help="Compare with the torch module that this gives.",
)
@device_option
@tf32_option
@click.option("--bind", "binds", metavar="DIM=SIZE", multiple=True, help="Size of a symbolic dim; repeats.")
@feed_option
@map_option
@click.option("--seed", type=int, default=0, show_default=True, help="Where the random feeds start.")
@tolerance_options
@output_options
def command(
    render: Render,
    model: str,
    torch_factory: str,
    device: str,
    tf32: bool,
    binds: tuple[str, ...],
    feeds: tuple[str, ...],
    mappings: tuple[str, ...],
    seed: int,
    rtol: float | None,
    atol: float | None,
) -> int:
    """Show what every submodule returns, in torch and in MODEL; exit 1 where one differs."""
    import graphkit as gk

    with render.progress(f"comparing {model}") as progress:
        table = gk.layers(
            model,
            torch=torch_factory,
            device=device,
            tf32=tf32,
            bind=one_size(binds),
            feeds=pairs(feeds, "--feed"),
            map=pairs(mappings, "--map"),
            seed=seed,
            rtol=rtol,
            atol=atol,
            progress=progress,
        )
    render.result(table, lambda: gk.report_text(table))
    for note in table.notes:
        render.note(note)
    return 0 if table.match else DIFFERS
