"""Options of the commands that run models: feeds, devices, what to compare with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.decorators import FC

    import graphkit as gk
    from graphkit_cli.render import Render

Read = Callable[[Sequence[str]], object]
"""Makes of an option's texts what the library takes."""


def together(*options: Callable[[FC], FC]) -> Callable[[FC], FC]:
    """Options as one decorator, in the order of the help."""

    def decorated(function: FC) -> FC:
        for option in reversed(options):
            function = option(function)
        return function

    return decorated


def _reading(read: Read) -> Callable[[click.Context, click.Parameter, Sequence[str]], object]:
    return lambda ctx, parameter, texts: read(texts)  # noqa: ARG005 (click's signature)


def feed_option(read: Read) -> Callable[[FC], FC]:
    """``--feed``; its texts are read by ``one_feed`` or ``feed_lists``."""
    return click.option(
        "--feed",
        "feeds",
        metavar="NAME=VALUE",
        multiple=True,
        callback=_reading(read),
        help="Feed an input: @photo.png, @x.npy, @x.npz, @x.npz:MEMBER, random, a number, or a list such as 2,3; "
        "repeats.",
    )


device_option = click.option(
    "--device",
    "--provider",
    "device",
    type=click.Choice(["auto", "cpu", "cuda", "tensorrt"]),
    default="auto",
    show_default=True,
    help="Where to run; cuda and tensorrt fail where they do not load, auto says what it took.",
)

tf32_option = click.option("--tf32", is_flag=True, help="Let CUDA use TF32 for float32 products.")

optimization_option = click.option(
    "--optimization",
    type=click.Choice(["all", "extended", "basic", "none"]),
    default="all",
    show_default=True,
    help="How far ONNX Runtime may rewrite the model before it runs it.",
)

cpu_nodes_option = click.option(
    "--allow-cpu-nodes",
    is_flag=True,
    help="On a GPU: list the nodes that run on the CPU, where otherwise they are an error.",
)


tensorrt_options = together(
    click.option(
        "--trt-profile",
        "trt_profiles",
        metavar="NAME=MIN:OPT:MAX",
        multiple=True,
        help="With --provider tensorrt: shapes of a dynamic input, such as x=1x3x32x32:1x3x64x64:4x3x256x256; repeats.",
    ),
    click.option("--trt-fp16", is_flag=True, help="With --provider tensorrt: let layers compute in float16."),
    click.option("--trt-int8", is_flag=True, help="With --provider tensorrt: let layers compute in int8."),
    click.option("--trt-calibration", metavar="FILE", help="With --trt-int8: the table that a calibration wrote."),
)


def tensorrt_choice(
    device: str,
    trt_profiles: Sequence[str],
    trt_calibration: str | None,
    *,
    trt_fp16: bool,
    trt_int8: bool,
) -> gk.TensorRT | None:
    """TensorRT's options, or None where none is given.

    Raises:
        click.UsageError: They go with another device, or a profile is none.
    """
    if not (trt_profiles or trt_fp16 or trt_int8 or trt_calibration):
        return None
    if device != "tensorrt":
        raise click.UsageError("--trt-... options go with --provider tensorrt")
    import graphkit as gk

    chosen = gk.TensorRT(pairs(trt_profiles, "--trt-profile"), trt_fp16, trt_int8, trt_calibration)
    try:
        chosen.provider_options()
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return chosen


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


reference_options = together(
    click.option("--against", metavar="MODEL", help="Compare with this model."),
    click.option("--torch", metavar="PACKAGE.MODULE:FACTORY", help="Compare with the torch module that this gives."),
)


def one_reference(given: Mapping[str, Any]) -> None:
    """Refuse neither and both of ``--against`` and ``--torch``.

    Raises:
        click.UsageError: It is so.
    """
    if (given["against"] is None) == (given["torch"] is None):
        raise click.UsageError("give one of --against MODEL and --torch PACKAGE.MODULE:FACTORY")


def comparison_options(*, several: bool = False) -> Callable[[FC], FC]:
    """Where to run and on what, and how exactly: options that reach the callback as the library's keywords.

    ``--device``, ``--tf32``, ``--bind``, ``--feed``, ``--map``, ``--seed``, ``--rtol``, ``--atol``.

    Args:
        several: ``--bind`` and ``--feed`` take several values for one name.
    """
    sizes, text = "DIM=SIZE", "Size of a symbolic dim; repeats."
    if several:
        sizes, text = "DIM=SIZES", "Sizes of a symbolic dim, such as batch=1,2,8; repeats."
    return together(
        device_option,
        tf32_option,
        click.option(
            "--bind", metavar=sizes, multiple=True, callback=_reading(bound_sizes if several else one_size), help=text
        ),
        feed_option(feed_lists if several else one_feed),
        click.option(
            "--map",
            metavar="NAME=TARGET",
            multiple=True,
            callback=_reading(lambda texts: pairs(texts, "--map")),
            help="What an input or output of CANDIDATE is in the reference: a value of the model, such as the scales or "
            "sizes that a new factor stands for; for torch an argument of forward, self.ATTRIBUTE, or a submodule's path; "
            "repeats.",
        ),
        click.option("--seed", type=int, default=0, show_default=True, help="Where the random feeds start."),
        click.option("--rtol", type=click.FloatRange(min=0), help="Relative tolerance [default: by dtype]."),
        click.option("--atol", type=click.FloatRange(min=0), help="Absolute tolerance [default: by dtype]."),
    )


sample_option = click.option(
    "--sample",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Which of the samples that validate draws from this seed.",
)


def show(render: Render, result: gk.Report | gk.Bisection | gk.Layers, html: str | None = None) -> None:
    """Print the result of a comparison and its notes, and write its page where one is wanted."""
    import graphkit as gk

    if html is not None:
        assert not isinstance(result, gk.Layers)
        gk.save_html(result, html)
        render.note(f"wrote {html}")
    render.result(result, lambda: gk.text(result))
    for note in result.notes:
        render.note(note)


def one_feed(texts: Sequence[str]) -> dict[str, str]:
    """``--feed`` texts by input.

    Raises:
        click.UsageError: A text without "=", or an input that is given twice.
    """
    return pairs(texts, "--feed")


def feed_lists(texts: Sequence[str]) -> dict[str, list[str]]:
    """``--feed`` texts by input, in order; an input may be given several times.

    Raises:
        click.UsageError: A text without "=".
    """
    found: dict[str, list[str]] = {}
    for text in texts:
        name, value = pair(text, "--feed")
        found.setdefault(name, []).append(value)
    return found


def bound_sizes(texts: Sequence[str]) -> dict[str, list[int]]:
    """``--bind DIM=1,2,8`` texts as sizes.

    Raises:
        click.UsageError: A text of another form, or a dim that is given twice.
    """
    found: dict[str, list[int]] = {}
    for name, value in pairs(texts, "--bind").items():
        sizes = value.split(",")
        if not all(size.strip().isdigit() for size in sizes):
            raise click.UsageError(f"--bind wants DIM=SIZE,SIZE,..., not {name}={value!r}")
        found[name] = [int(size) for size in sizes]
    return found


def one_size(texts: Sequence[str]) -> dict[str, int]:
    """``--bind DIM=SIZE`` texts as sizes.

    Raises:
        click.UsageError: A text of another form, several sizes, or a dim that is given twice.
    """
    sizes = bound_sizes(texts)
    several = [name for name, values in sizes.items() if len(values) > 1]
    if several:
        raise click.UsageError(f"--bind wants one size for {several[0]!r} here")
    return {name: values[0] for name, values in sizes.items()}
