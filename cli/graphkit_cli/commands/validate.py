"""``graphkit validate``: does a model compute what another model or a torch module computes?"""

from __future__ import annotations

import click

from graphkit_cli.edit import check_target
from graphkit_cli.options import output_options
from graphkit_cli.render import Render
from graphkit_cli.running import (
    bound_sizes,
    device_options,
    feed_lists,
    feed_option,
    map_option,
    one_reference,
    pairs,
    reference_options,
    tensorrt_choice,
    tensorrt_options,
    tolerance_options,
)

NO = 1


@click.command()
@click.argument("candidate", metavar="CANDIDATE")
@reference_options
@device_options
@tensorrt_options
@click.option(
    "--bind", "binds", metavar="DIM=SIZES", multiple=True, help="Sizes of a symbolic dim, such as batch=1,2,8; repeats."
)
@feed_option
@map_option
@click.option("--output", "outputs", metavar="NAME", multiple=True, help="Compare this output of CANDIDATE; repeats.")
@click.option("--samples", type=click.IntRange(min=1), default=3, show_default=True, help="Runs for each combination.")
@click.option("--seed", type=int, default=0, show_default=True, help="Where the random feeds start.")
@tolerance_options
@click.option(
    "--any-dtype", is_flag=True, help="Compare also where dtypes differ, with the tolerance of the coarser one."
)
@click.option("--equal-nan", is_flag=True, help="NaN agrees with NaN; otherwise any NaN is a failure.")
@click.option("--html", metavar="FILE", help="Write one self-contained page.")
@output_options
def command(
    render: Render,
    candidate: str,
    against: str | None,
    torch_factory: str | None,
    device: str,
    tf32: bool,
    allow_cpu_nodes: bool,
    trt_profiles: tuple[str, ...],
    trt_fp16: bool,
    trt_int8: bool,
    trt_calibration: str | None,
    binds: tuple[str, ...],
    feeds: tuple[str, ...],
    mappings: tuple[str, ...],
    outputs: tuple[str, ...],
    samples: int,
    seed: int,
    rtol: float | None,
    atol: float | None,
    any_dtype: bool,
    equal_nan: bool,
    html: str | None,
) -> int:
    """Compare CANDIDATE with another model or with a torch module; exit 1 where they differ.

    A --feed that is given several times for one input is run with each of its values.

    Inputs without --feed are random, from what the graph does with them: indices below the rows that they choose from,
    zeros and ones for masks, numbers for which every Log and Sqrt is defined; else 0 to 1 for pictures, all numbers of
    an 8-bit type, a standard normal distribution. Dims without --bind are 2 for the batch, 16 in sequences and 32 in
    pictures, more where the window of a convolution would not fit.
    """
    one_reference(against, torch_factory)
    if html is not None:
        check_target(html)
    import graphkit as gk

    with render.progress(f"validating {candidate}") as progress:
        report = gk.validate(
            candidate,
            against=against,
            torch=torch_factory,
            device=device,
            tensorrt=tensorrt_choice(device, trt_profiles, trt_calibration, trt_fp16=trt_fp16, trt_int8=trt_int8),
            tf32=tf32,
            allow_cpu_nodes=allow_cpu_nodes,
            bind=bound_sizes(binds),
            feeds=feed_lists(feeds),
            map=pairs(mappings, "--map"),
            outputs=outputs,
            samples=samples,
            seed=seed,
            rtol=rtol,
            atol=atol,
            any_dtype=any_dtype,
            equal_nan=equal_nan,
            progress=progress,
        )
    if html is not None:
        gk.save_html(report, html)
        render.note(f"wrote {html}")
    render.result(report, lambda: gk.report_text(report))
    for note in report.notes:
        render.note(note)
    return 0 if report.match else NO
