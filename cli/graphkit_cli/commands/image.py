"""``graphkit image``: a model takes pictures as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from graphkit_cli.edit import edit_command
from graphkit_cli.running import read_name

if TYPE_CHECKING:
    import graphkit as gk


def _numbers(ctx: click.Context, parameter: click.Parameter, text: str) -> float | list[float]:  # noqa: ARG001 (click's signature)
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise click.UsageError(f"{parameter.opts[0]} wants numbers such as 0.485,0.456,0.406, not {text!r}") from None
    return numbers if len(numbers) > 1 else numbers[0]


@edit_command
@click.option("--input", metavar="NAME", required=True, help="The input.")
@click.option(
    "--from", "dtype", metavar="TYPE", default="uint8", show_default=True, help="The element type of the pictures."
)
@click.option(
    "--layout", type=click.Choice(["NHWC", "NCHW"]), default="NHWC", show_default=True, help="That of the pictures."
)
@click.option(
    "--order",
    type=click.Choice(["rgb", "bgr"]),
    default="rgb",
    show_default=True,
    help="bgr: the pictures have their channels in the opposite order to the model's.",
)
@click.option("--mean", metavar="NUMBERS", default="0", callback=_numbers, help="Of values from 0 to 1. [default: 0]")
@click.option("--std", metavar="NUMBERS", default="1", callback=_numbers, help="Of values from 0 to 1. [default: 1]")
@click.option(
    "--resize",
    type=click.Choice(["pil", "opencv", "torchvision"]),
    is_flag=False,
    flag_value="pil",
    help="Take pictures of any size, and resize them as this library does; pil where none is named.",
)
@click.option(
    "--filter",
    type=click.Choice(["bilinear", "bicubic", "nearest"]),
    default="bilinear",
    show_default=True,
    help="How resizing interpolates.",
)
def command(
    model: str,
    input: str,  # noqa: A002 (the option's name)
    dtype: str,
    layout: Literal["NHWC", "NCHW"],
    order: Literal["rgb", "bgr"],
    mean: float | list[float],
    std: float | list[float],
    resize: Literal["pil", "opencv", "torchvision"] | None,
    filter: Literal["bilinear", "bicubic", "nearest"],  # noqa: A002 (the option's name)
) -> gk.Model:
    r"""Let an input take pictures as they come: uint8, any size.

    \b
    graphkit image model.onnx out.onnx --input x --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
    graphkit image model.onnx out.onnx --input x --resize opencv --order bgr
    """
    import graphkit as gk

    if resize is None and filter != "bilinear":
        raise click.UsageError("--filter says how pictures are resized: it goes with --resize")
    return gk.image(
        model,
        read_name(input, model),
        dtype=dtype,
        layout=layout,
        order=order,
        mean=mean,
        std=std,
        resize=resize,
        filter=filter,
    )
