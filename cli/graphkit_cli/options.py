"""Arguments and options that several commands share, so that they are spelt and explained once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from graphkit_cli.render import Render

if TYPE_CHECKING:
    from click.decorators import FC

F = TypeVar("F", bound="Callable[..., object]")


def _remember(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: FBT001 (click's signature)
    """Set the flag on the Render; the same option may stand before and after the command's name."""
    if value:
        assert param.name is not None
        setattr(ctx.ensure_object(Render), param.name, True)


def _flag(*names: str, help_text: str) -> Callable[[FC], FC]:
    return click.option(*names, is_flag=True, expose_value=False, callback=_remember, help=help_text)


def verbosity_options(function: FC) -> FC:
    """``-q``, ``-v`` and ``--no-color``: before or after the command's name."""
    function = _flag("--no-color", help_text="No colour, no progress bars; NO_COLOR=1 does the same.")(function)
    function = _flag("-v", "--verbose", help_text="Say more: causes of errors, other packages' warnings.")(function)
    return _flag("-q", "--quiet", help_text="Only the result and errors.")(function)


def output_options(function: F) -> F:
    """``--json`` and the verbosity options, and the ``Render`` as the callback's first argument."""
    function = click.pass_obj(function)  # type: ignore[assignment]  # the wrapper keeps what click reads of a function
    function = verbosity_options(function)
    return _flag("--json", "as_json", help_text="Write the result as one JSON object.")(function)


def save_options(function: FC) -> FC:
    """How an edited model is written; ``edit.with_saving`` makes a ``Saving`` of them."""
    function = click.option(
        "--prove",
        is_flag=True,
        help="Run MODEL and the result, and write nothing and exit 1 unless the law of the edit holds.",
    )(function)
    function = click.option(
        "--no-history", is_flag=True, help="Do not write what was done into OUT's metadata, and drop what is there."
    )(function)
    function = click.option("--dry-run", is_flag=True, help="Do the work, say what would be written, write nothing.")(
        function
    )
    function = click.option(
        "--weights",
        type=click.Choice(["auto", "keep", "link"]),
        default="auto",
        show_default=True,
        help="auto: into OUT, or from 2 GiB on into OUT.data. keep: nowhere, OUT refers to the bytes where they lie, in "
        "its folder or below it, in a file that must stay as it is. link: hard links beside OUT.",
    )(function)
    return click.option(
        "--external",
        metavar="NAME",
        help="Write the weights to this file beside OUT.",
    )(function)


# The type completes file names in the shell; it checks nothing, as MODEL may be an address or ``-``.
model_argument = click.argument("model", metavar="MODEL", type=click.Path())
out_argument = click.argument("out", metavar="OUT", type=click.Path())
