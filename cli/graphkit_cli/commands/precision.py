"""graphkit precision: the model in float16, bfloat16, int8, or with int4 weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from graphkit_cli.edit import edit_command
from graphkit_cli.running import feed_option, read_names, single_or_many

if TYPE_CHECKING:
    import graphkit as gk


@edit_command
@click.option(
    "--to",
    type=click.Choice(["float16", "bfloat16", "int8", "int8-dynamic", "int8-weights", "int4-weights"]),
    required=True,
    help="The precision.",
)
@click.option("--keep-io", is_flag=True, help="float16, bfloat16: inputs and outputs stay float32.")
@click.option("--keep-op", "keep_ops", metavar="OP", multiple=True, help="This operator stays in float32; repeat it.")
@click.option("--keep-node", "keep_nodes", metavar="NAME", multiple=True, help="This node stays in float32; repeat it.")
@click.option("--only-op", "only_ops", metavar="OP", multiple=True, help="All but this operator stays; repeat it.")
@click.option("--keep-auto", is_flag=True, help="float16: find the nodes that have to stay in float32, on feeds.")
@feed_option
@click.option("--samples", type=click.IntRange(min=1), default=8, show_default=True, help="Runs on random feeds.")
@click.option("--seed", type=int, default=0, show_default=True, help="Where the random feeds start.")
@click.option("--per-channel", is_flag=True, help="int8, int8-dynamic: a scale for each output channel of a weight.")
def command(
    model: str,
    to: Literal["float16", "bfloat16", "int8", "int8-dynamic", "int8-weights", "int4-weights"],
    keep_io: bool,
    keep_ops: tuple[str, ...],
    keep_nodes: tuple[str, ...],
    only_ops: tuple[str, ...],
    keep_auto: bool,
    feeds: tuple[str, ...],
    samples: int,
    seed: int,
    per_channel: bool,
) -> gk.Model:
    r"""Write a model in float16, bfloat16, int8, or int4 weights.

    float16 and bfloat16 convert weights and values; int8 quantizes both on calibration feeds, int8-dynamic without any;
    int8-weights and int4-weights store the weights smaller, and compute in float32. A --feed that is given several times
    for one input is one calibration run each time; of four or more, the last is kept to measure the error. How far the
    result is from MODEL: graphkit validate OUT --against MODEL --any-dtype.

    \b
    graphkit precision model.onnx half.onnx --to float16 --keep-io
    graphkit precision model.onnx small.onnx --to int8 --feed image=@a.npy --feed image=@b.npy
    """
    half = to in ("float16", "bfloat16")
    if keep_io and not half:
        raise click.UsageError("--keep-io goes with float16 and bfloat16.")
    if keep_auto and to != "float16":
        raise click.UsageError("--keep-auto goes with float16.")
    if (half and feeds and not keep_auto) or (per_channel and to not in ("int8", "int8-dynamic")):
        raise click.UsageError("--feed goes with int8, int4 and --keep-auto; --per-channel with int8 and int8-dynamic.")
    given = single_or_many(feeds, model)
    import graphkit as gk

    return gk.precision(
        model,
        to=to,
        keep_io=keep_io,
        keep_ops=keep_ops,
        keep_nodes=read_names(keep_nodes, model, of="node"),
        only_ops=only_ops,
        keep_auto=keep_auto,
        feeds=given or None,
        samples=samples,
        seed=seed,
        per_channel=per_channel,
    )
