"""``graphkit validate``: does a model compute what another model or a torch module computes?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from graphkit_cli.fleet import many
from graphkit_cli.options import output_options
from graphkit_cli.render import Render
from graphkit_cli.running import (
    Pages,
    comparison_options,
    cpu_nodes_option,
    one_reference,
    optimization_option,
    read_comparison,
    reference_options,
    show,
    tensorrt_choice,
    tensorrt_options,
    with_pages,
)

NO = 1


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    """What ``validate`` is given for each of many models."""
    for name in ("against", "torch", "feeds", "map", "bind", "trt_profiles", "outputs"):
        if given.get(name):
            raise click.UsageError(
                f"--{name.removesuffix('s')} is for one model: a line of --list names its reference."
            )
    names = (
        "device",
        "samples",
        "seed",
        "rtol",
        "atol",
        "tf32",
        "any_dtype",
        "equal_nan",
        "allow_cpu_nodes",
        "optimization",
    )
    return {name: given[name] for name in names if name in given}


@click.command()
@many("validate", "a model and its reference", _options)
@click.argument("candidate", metavar="CANDIDATE")
@reference_options
@comparison_options(several=True)
@cpu_nodes_option
@optimization_option
@tensorrt_options
@click.option("--output", "outputs", metavar="NAME", multiple=True, help="Compare this output of CANDIDATE; repeats.")
@click.option("--samples", type=click.IntRange(min=1), default=3, show_default=True, help="Runs for each combination.")
@click.option(
    "--any-dtype", is_flag=True, help="Compare also where dtypes differ, with the tolerance of the coarser one."
)
@click.option("--equal-nan", is_flag=True, help="NaN agrees with NaN; otherwise any NaN is a failure.")
@output_options
@with_pages
def command(
    render: Render,
    candidate: str,
    device: str,
    trt_profiles: tuple[str, ...],
    trt_fp16: bool,
    trt_int8: bool,
    trt_calibration: str | None,
    pages: Pages,
    **given: Any,
) -> int:
    r"""Compare with another model or a torch module.

    A --feed that is given several times for one input is run with each of its values.

    Inputs without --feed are random, from what the graph does with them: indices below the rows that they choose from,
    zeros and ones for masks, numbers for which every Log and Sqrt is defined; else 0 to 1 for pictures, all numbers of
    an 8-bit type, a standard normal distribution. Dims without --bind are 2 for the batch, 16 in sequences and 32 in
    pictures, more where the window of a convolution would not fit.

    \b
    graphkit validate model.onnx --torch net:make
    graphkit validate half.onnx --against model.onnx --any-dtype --html report.html
    """
    one_reference(given)
    given = read_comparison(given, candidate, given["against"], several=True)
    import graphkit as gk

    tensorrt = tensorrt_choice(device, trt_profiles, trt_calibration, trt_fp16=trt_fp16, trt_int8=trt_int8)
    with render.progress(f"validating {candidate}") as progress:
        report = gk.validate(candidate, device=device, tensorrt=tensorrt, progress=progress, **given)
    show(render, report, pages, candidate)
    return 0 if report.match else NO
