"""``graphkit run``: feeds in, numbers or a picture out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import click

from graphkit_cli.edit import check_target
from graphkit_cli.options import model_argument, output_options
from graphkit_cli.render import Render
from graphkit_cli.running import (
    bound_size,
    cpu_nodes_option,
    custom_ops_option,
    device_option,
    feed_option,
    optimization_option,
    pairs,
    read_names,
    tensorrt_choice,
    tensorrt_options,
    tf32_option,
)

if TYPE_CHECKING:
    import graphkit as gk


@click.command()
@model_argument
@feed_option
@click.option(
    "--output",
    "outputs",
    metavar="NAME",
    multiple=True,
    help="Give this value, a graph output or an inner value; repeats.",
)
@device_option
@tf32_option
@cpu_nodes_option
@optimization_option
@tensorrt_options
@custom_ops_option
@click.option(
    "--bind",
    metavar="DIM=SIZE",
    multiple=True,
    help="Size of a symbolic dim or of an axis, such as batch=2 or x:1=576, for inputs fed with random; repeats.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="For inputs fed with random.")
@click.option(
    "--save",
    metavar="FILE",
    help="Write the outputs: .npz; .npy or .png for a single one. Floats are taken as 0..1 and RGB in a picture; "
    "out.png:0-255, :bgr, :mean=..., :std=... say otherwise.",
)
@click.option(
    "--luma",
    is_flag=True,
    help="For nets of one channel: feed the luma of a colour photograph; resize its chroma (bicubic), merge, give RGB.",
)
@output_options
def command(
    render: Render,
    model: str,
    feeds: tuple[str, ...],
    outputs: tuple[str, ...],
    device: str,
    tf32: bool,
    allow_cpu_nodes: bool,
    optimization: Literal["all", "extended", "basic", "none"],
    trt_profiles: tuple[str, ...],
    trt_fp16: bool,
    trt_int8: bool,
    trt_calibration: str | None,
    custom_ops: tuple[str, ...],
    bind: tuple[str, ...],
    seed: int,
    save: str | None,
    luma: bool,
) -> None:
    r"""Run a model in ONNX Runtime; show or save its outputs.

    Without --feed every input is drawn at random.

    \b
    graphkit run model.onnx
    graphkit run model.onnx --bind batch=4 --seed 1
    graphkit run model.onnx --feed image=@photo.png --feed factor=2.5 --save larger.png
    graphkit run espcn.onnx --feed luma=@photo.png --luma --save larger.png
    """
    import graphkit as gk

    given = pairs(feeds, "--feed", model)
    if save is not None:
        check_target(save)
    options: dict[str, Any] = {
        "outputs": read_names(outputs, model) or None,
        "device": device,
        "tensorrt": tensorrt_choice(device, trt_profiles, trt_calibration, trt_fp16=trt_fp16, trt_int8=trt_int8),
        "tf32": tf32,
        "allow_cpu_nodes": allow_cpu_nodes,
        "optimization": optimization,
        "custom_ops": custom_ops,
        "seed": seed,
        "bind": bound_size(bind, model),
    }
    with render.progress(f"running {model}"):
        ran = gk.run_luma(model, given, save=save, **options) if luma else gk.run_report(model, given, **options)
    taken = None
    if save is not None and not luma:
        taken = gk.save_arrays(ran.arrays, save)
    render.result(_summary(ran, save), lambda: gk.text(ran))
    for note in ran.notes:
        render.note(note)
    if save is not None:
        render.note(f"wrote {save}" + (f": {', '.join(ran.arrays)} taken as {taken}" if taken else ""))


def _summary(ran: gk.Ran, save: str | None) -> dict[str, object]:
    return {"model": ran.model, "device": ran.device, "providers": ran.providers, "outputs": ran.outputs, "saved": save}
