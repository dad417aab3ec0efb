"""``graphkit lint``: where a model is beyond what another runtime documents."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from graphkit_cli.fleet import many
from graphkit_cli.options import model_argument, output_options
from graphkit_cli.spelling import told

if TYPE_CHECKING:
    from graphkit_cli.render import Render


@click.command()
@many("lint", "a model", lambda given: {"target": given["target"], "version": given["target_version"]})
@model_argument
@click.option("--target", type=click.Choice(["tensorrt"]), default="tensorrt", show_default=True, help="Whose limits.")
@click.option(
    "--target-version", metavar="VERSION", help="The target's version, such as 8.6; the newest known without."
)
@click.option("--trtexec", is_flag=True, help="Also print the trtexec line that builds an engine for this model.")
@click.option(
    "--dim", "dims", metavar="NAME=MIN:OPT:MAX", multiple=True, help="For --trtexec: the sizes of a symbolic dim."
)
@click.option("--fp16", is_flag=True, help="For --trtexec: allow half precision.")
@click.option("--int8", is_flag=True, help="For --trtexec: allow 8 bits.")
@output_options
def command(
    render: Render,
    model: str,
    target: str,
    target_version: str | None,
    trtexec: bool,
    dims: tuple[str, ...],
    fp16: bool,
    int8: bool,
) -> int:
    r"""Find what another runtime does not document as supported.

    Exit code 1 where the target refuses something.

    \b
    graphkit lint model.onnx
    graphkit lint model.onnx --target-version 8.6 --trtexec --dim batch=1:4:16
    """
    import graphkit as gk

    ranges = dict(_range(text) for text in dims)
    if target_version is not None and not re.fullmatch(r"\d+(\.\d+)*", target_version):
        raise click.UsageError(f"--target-version {target_version!r}: write it like 10.15")
    result = told(gk.lint(model, target, target_version))
    line = gk.trtexec(model, ranges=ranges, fp16=fp16, int8=int8) if trtexec else None
    shown = result if line is None else {"lint": result, "trtexec": line}
    render.result(shown, lambda: gk.text(result) + (f"\n{line}" if line else ""))
    return 0 if result.ok else 1


def _range(text: str) -> tuple[str, tuple[int, int, int]]:
    match = re.fullmatch(r"(.+)=(\d+):(\d+):(\d+)", text)
    if match is None:
        raise click.UsageError(f"--dim {text!r}: write NAME=MIN:OPT:MAX, such as height=64:224:1024")
    return match[1], (int(match[2]), int(match[3]), int(match[4]))
