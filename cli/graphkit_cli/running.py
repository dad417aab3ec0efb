"""Options of the commands that run models: feeds, devices, what to compare with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from click.decorators import FC

F = TypeVar("F", bound="Callable[..., object]")

feed_option = click.option(
    "--feed",
    "feeds",
    metavar="NAME=VALUE",
    multiple=True,
    help="Feed an input: @photo.png, @x.npy, @x.npz, @x.npz:MEMBER, random, a number, or a list such as 2,3; repeats.",
)


def device_options(function: FC) -> FC:
    """``--device``, ``--tf32``, ``--allow-cpu-nodes``."""
    function = click.option(
        "--allow-cpu-nodes",
        is_flag=True,
        help="On a GPU: list the nodes that run on the CPU, where otherwise they are an error.",
    )(function)
    function = click.option("--tf32", is_flag=True, help="Let CUDA use TF32 for float32 products.")(function)
    return click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda", "tensorrt"]),
        default="auto",
        show_default=True,
        help="Where to run; cuda and tensorrt fail where they do not load, auto says what it took.",
    )(function)


def pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """``NAME=VALUE`` texts as a dict.

    Raises:
        click.UsageError: A text without "=", or a name that is given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, value = pair(text, option)
        if name in found:
            raise click.UsageError(f"{option} names {name!r} twice")
        found[name] = value
    return found


def pair(text: str, option: str) -> tuple[str, str]:
    """One ``NAME=VALUE``.

    Raises:
        click.UsageError: There is no "=" in it.
    """
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise click.UsageError(f"{option} wants NAME=VALUE, not {text!r}")
    return name, value
