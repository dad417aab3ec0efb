"""Options of the commands that run models: feeds, devices, what to compare with."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import click

from graphkit_cli.edit import check_target

if TYPE_CHECKING:
    from click.decorators import FC

    import graphkit as gk
    from graphkit_cli.render import Render

Of: TypeAlias = Literal["input", "value", "node", "constant", "dim", "part", "text"]
"""What the names of some texts are names of."""


def together(*options: Callable[[FC], FC]) -> Callable[[FC], FC]:
    """Options as one decorator, in the order of the help."""

    def decorated(function: FC) -> FC:
        for option in reversed(options):
            function = option(function)
        return function

    return decorated


feed_option = click.option(
    "--feed",
    "feeds",
    metavar="NAME=VALUE",
    multiple=True,
    help="Feed an input: @photo.png, @x.npy, @x.npz, @x.npz:MEMBER, random, a number, or a list such as 2,3; repeats. "
    "A picture is 0..1 and RGB where the input is float; @photo.png:bgr, :0-255, :mean=0.485/0.456/0.406, "
    ':std=... say otherwise. A name may be quoted as in "a=b"=2.',
)
"""``--feed``; its texts are read by ``pairs`` or ``feed_lists``."""


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

custom_ops_option = click.option(
    "--custom-ops",
    "custom_ops",
    metavar="LIBRARY",
    multiple=True,
    type=click.Path(),
    help="Load this shared library of custom operators into ONNX Runtime; repeats. GRAPHKIT_CUSTOM_OPS does it everywhere.",
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
    click.option("--trt-calibration", metavar="FILE", help="With --trt-int8: the table that graphkit calibrate wrote."),
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


def every_pair(
    texts: Sequence[str],
    option: str,
    *models: str | None,
    of: Of = "input",
    form: str = "NAME=VALUE",
    alone: bool = False,
    empty: bool = False,
) -> list[tuple[str, str]]:
    """``NAME=VALUE`` texts in order, read such that they fit the names of the models.

    Raises:
        click.UsageError: A text of another form, or one that can be read in several ways.
    """
    import graphkit as gk

    try:
        return gk.read_pairs(texts, *_files(models), of=of, form=form, alone=alone, empty=empty)
    except gk.TextError as error:
        raise click.UsageError(f"{option}: {error.message}" + (f"; {error.hint}" if error.hint else "")) from error


def _files(models: Sequence[str | None]) -> list[str]:
    return [model for model in models if model is not None and ("://" in model or os.path.isfile(model))]


def read_names(texts: Sequence[str], *models: str | None, of: Of = "value") -> list[str]:
    """Names as they were given; one may be a JSON string, as in ``NAME=VALUE``."""
    import graphkit as gk

    return gk.read_names(texts, *_files(models), of=of)


def read_name(text: str, *models: str | None, of: Of = "value") -> str:
    """One name; it may be a JSON string."""
    return read_names([text], *models, of=of)[0]


def pairs(
    texts: Sequence[str], option: str, *models: str | None, of: Of = "input", form: str = "NAME=VALUE"
) -> dict[str, str]:
    """``NAME=VALUE`` texts as a dict.

    Raises:
        click.UsageError: As ``every_pair``, or a name is given twice.
    """
    found: dict[str, str] = {}
    for name, value in every_pair(texts, option, *models, of=of, form=form):
        if name in found:
            raise click.UsageError(f"{option} names {name!r} twice")
        found[name] = value
    return found


def name_pairs(texts: Sequence[str], option: str, *models: str | None, of: Of = "value") -> dict[str, str]:
    """``NAME=NAME`` texts as a dict; either name may be a JSON string.

    Raises:
        click.UsageError: As ``pairs``.
    """
    import graphkit as gk

    return {old: gk.unquoted(new) for old, new in pairs(texts, option, *models, of=of, form="NAME=NAME").items()}


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
    """Where to run and on what, and how exactly: options that ``read_comparison`` makes the library's keywords.

    ``--device``, ``--tf32``, ``--custom-ops``, ``--bind``, ``--feed``, ``--map``, ``--seed``, ``--rtol``, ``--atol``.

    Args:
        several: ``--bind`` and ``--feed`` take several values for one name.
    """
    text = "Size of a symbolic dim or of an axis, such as batch=2 or x:1=576; repeats."
    if several:
        text = "Sizes of a symbolic dim or of an axis, such as batch=1,2,8 or x:1=576; repeats."
    return together(
        device_option,
        tf32_option,
        custom_ops_option,
        click.option("--bind", metavar="DIM=SIZES", multiple=True, help=text),
        feed_option,
        click.option(
            "--map",
            metavar="NAME=TARGET",
            multiple=True,
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
    metavar="N",
    help="Which of the samples that validate draws from this seed [default: the first, or the first that differs].",
)


@dataclass(frozen=True)
class Pages:
    """The pages that a comparison writes.

    Attributes:
        html: The result's, or None.
        view: The drawing of the model, to which the result's links; or None.
    """

    html: str | None
    view: str | None


_MODELS = ("model", "candidate", "against", "edited", "original")
"""Arguments and options of comparisons that name a model file."""


def check_pages(pages: Sequence[str | None], models: Sequence[str | None]) -> None:
    """Refuse pages that cannot be written, before any work starts.

    Raises:
        click.UsageError: A page would take the place of a model that is read, or of another page.
        gk.SaveError: As ``check_target``.
    """
    wanted = [page for page in pages if page is not None]
    for at, page in enumerate(wanted):
        check_target(page)
        if any(
            model and os.path.exists(model) and os.path.realpath(model) == os.path.realpath(page) for model in models
        ):
            raise click.UsageError(f"the page {page!r} would take the place of the model.")
        if os.path.realpath(page) in map(os.path.realpath, wanted[:at]):
            raise click.UsageError(f"two pages would be written to {page!r}.")


def with_pages(function: Callable[..., object]) -> Callable[..., object]:
    """Add ``--html`` and ``--view`` to a callback, which gets them as one keyword, ``pages``. Targets are checked first."""

    @functools.wraps(function)
    def callback(*args: object, html: str | None, view: str | None, **options: Any) -> object:
        check_pages([html, view], [options.get(name) for name in _MODELS])
        return function(*args, pages=Pages(html, view), **options)

    return together(
        click.option("--html", metavar="FILE", help="Write one self-contained page."),
        click.option(
            "--view",
            metavar="FILE",
            help="Draw the model as a page too, what was found in colour; that of --html links to it.",
        ),
    )(callback)


def show(
    render: Render,
    result: gk.Report | gk.Bisection | gk.Reduction | gk.Layers | gk.Proof,
    pages: Pages,
    model: str,
    *more: Any,
) -> None:
    """Print the result of a comparison and its notes, and write the pages that are wanted, as ``write_pages`` has it."""
    import graphkit as gk

    write_pages(render, result, pages, model, *more)
    render.result(result, lambda: gk.text(result))
    for note in result.notes:
        render.note(note)


def write_pages(render: Render, result: Any, pages: Pages, model: str, *more: Any) -> None:
    """Write the drawing of a model, with what was found in colour, and the page of the result, which links to it.

    Args:
        render: Tells what was written.
        result: The result.
        pages: Where they go.
        model: What is drawn.
        more: What is highlighted besides the result.
    """
    import graphkit as gk

    beside = None
    if pages.view is not None:
        gk.view(model, highlight=[*more, result]).save(pages.view)
        beside = os.path.relpath(pages.view, os.path.dirname(pages.html or "") or ".").replace(os.sep, "/")
        render.note(f"wrote {pages.view}")
    if pages.html is not None:
        gk.save_html(result, pages.html, view=beside)
        render.note(f"wrote {pages.html}")


def feed_lists(texts: Sequence[str], *models: str | None) -> dict[str, list[str]]:
    """``--feed`` texts by input, in order; an input may be given several times.

    Raises:
        click.UsageError: As ``every_pair``.
    """
    found: dict[str, list[str]] = {}
    for name, value in every_pair(texts, "--feed", *models):
        found.setdefault(name, []).append(value)
    return found


def single_or_many(texts: Sequence[str], *models: str | None) -> dict[str, Any]:
    """``--feed`` texts of calibration runs: one for all runs, or one a run.

    Raises:
        click.UsageError: As ``feed_lists``, or inputs are given another number of times.
    """
    given = feed_lists(texts, *models)
    if len({len(values) for values in given.values()} - {1}) > 1:
        raise click.UsageError("--feed: every input is given once, or as often as the others.")
    return {name: values if len(values) > 1 else values[0] for name, values in given.items()}


def bound_size(texts: Sequence[str], *models: str | None) -> dict[str, int]:
    """``bound_sizes`` where each dim has one size.

    Raises:
        click.UsageError: As ``bound_sizes``, or a dim has several.
    """
    return _single("--bind", bound_sizes(texts, *models))


def _single(option: str, given: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """The one value of each name."""
    if more := next((name for name, found in given.items() if len(found) > 1), None):
        raise click.UsageError(f"{option} wants one value for {more!r} here")
    return {name: found[0] for name, found in given.items()}


def bound_sizes(texts: Sequence[str], *models: str | None) -> dict[str, list[int]]:
    """``--bind DIM=1,2,8`` and ``--bind INPUT:AXIS=8`` texts as sizes.

    Raises:
        click.UsageError: A text of another form, or a dim that is given twice.
    """
    import graphkit as gk

    try:
        given = pairs(texts, "--bind", *models, of="dim", form="DIM=SIZES")
        return {name: gk.read_sizes(value) for name, value in given.items()}
    except gk.TextError as error:
        raise click.UsageError(f"--bind wants DIM=SIZE,SIZE,...: {error.message}") from error


def read_comparison(given: Mapping[str, Any], *models: str | None, several: bool = False) -> dict[str, Any]:
    """What ``comparison_options`` were given, as the library takes it.

    Args:
        given: The options.
        models: Where names are looked up.
        several: ``--bind`` and ``--feed`` take several values for one name.

    Raises:
        click.UsageError: A text that cannot be read, or several values where one is wanted.
    """
    bind: dict[str, Any] = dict((bound_sizes if several else bound_size)(given["bind"], *models))
    feeds: dict[str, Any] = feed_lists(given["feeds"], *models)
    if not several:
        feeds = _single("--feed", feeds)
    return {**given, "bind": bind, "feeds": feeds, "map": name_pairs(given["map"], "--map", *models)}
