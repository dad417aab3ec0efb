"""``graphkit validate``: does a model compute what another model or a torch module computes?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from graphkit_cli.edit import check_target
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
    read_names,
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
        "custom_ops",
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
@click.option("--save", metavar="FILE", help="Keep the outputs of both sides in this .npz, for --saved.")
@click.option(
    "--saved",
    metavar="FILE",
    help="Run nothing: judge what --save kept by --rtol, --atol, --any-dtype, --equal-nan. Without CANDIDATE.",
)
@output_options
@with_pages
def command(
    render: Render,
    candidate: str | None,
    device: str,
    trt_profiles: tuple[str, ...],
    trt_fp16: bool,
    trt_int8: bool,
    trt_calibration: str | None,
    saved: str | None,
    pages: Pages,
    **given: Any,
) -> int:
    r"""Compare with another model or a torch module.

    A --feed that is given several times for one input is run with each of its values.

    Inputs without --feed are random, from what the graph does with them: indices below the rows that they choose from,
    zeros and ones for masks, numbers for which every Log and Sqrt is defined; else 0 to 1 for pictures, all numbers of
    an 8-bit type, a standard normal distribution. Dims without --bind are 2 for the batch, 16 in sequences and 32 in
    pictures, more where the window of a convolution would not fit.

    --save keeps what both sides gave; validate --saved FILE --rtol X judges it again, by other tolerances.

    \b
    graphkit validate model.onnx --torch net:make
    graphkit validate half.onnx --against model.onnx --any-dtype --html report.html
    """
    if saved is not None:
        return _again(render, saved, pages, {"candidate": candidate, **given})
    assert candidate is not None
    if given["save"] is not None:
        check_target(given["save"])
    one_reference(given)
    given = read_comparison(given, candidate, given["against"], several=True)
    given["outputs"] = read_names(given["outputs"], candidate)
    import graphkit as gk

    tensorrt = tensorrt_choice(device, trt_profiles, trt_calibration, trt_fp16=trt_fp16, trt_int8=trt_int8)
    with render.progress(f"validating {candidate}") as progress:
        report = gk.validate(candidate, device=device, tensorrt=tensorrt, progress=progress, **given)
    show(render, report, pages, candidate)
    return 0 if report.match else NO


def _again(render: Render, saved: str, pages: Pages, given: Mapping[str, Any]) -> int:
    """Judge saved results."""
    for name in ("candidate", "against", "torch", "save", "feeds", "bind", "map", "outputs"):
        if given[name]:
            raise click.UsageError(
                f"--saved runs nothing: it excludes {name.upper() if name == 'candidate' else '--' + name.removesuffix('s')}"
            )
    if pages.view is not None:
        raise click.UsageError("--saved holds no model that --view could draw")
    import graphkit as gk

    chosen = {name: given[name] for name in ("rtol", "atol", "any_dtype", "equal_nan")}
    report = gk.validate_saved(saved, **chosen)
    show(render, report, pages, saved)
    return 0 if report.match else NO
