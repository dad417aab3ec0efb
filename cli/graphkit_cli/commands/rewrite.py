"""``graphkit rewrite``: patterns are replaced, by rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from graphkit_cli.edit import Saving, check_target, save_edited, with_saving
from graphkit_cli.options import output_options

if TYPE_CHECKING:
    from graphkit_cli.render import Render

CLI_ONLY = {"list_rules": "shows what gk.rewrite_rules() gives, and needs no model"}


@click.command()
@click.argument("model", metavar="MODEL", required=False)
@click.argument("out", metavar="OUT", required=False)
@click.option(
    "--rule",
    "rules",
    metavar="NAME|FILE",
    multiple=True,
    help="A built-in rule (NAME, or NAME:KEY=VALUE,... with parameters), a rule file, or a folder of them; repeat it.",
)
@click.option(
    "--for",
    "target",
    type=click.Choice(["tensorrt", "tensorrt-8.5"]),
    help="Take out what a runtime does not document as supported; the newest TensorRT, or 8.5, whose last opset is 17.",
)
@click.option("--list", "list_rules", is_flag=True, help="Show the built-in rules; MODEL and OUT may be left out.")
@with_saving
@output_options
def command(
    render: Render,
    model: str | None,
    out: str | None,
    rules: tuple[str, ...],
    target: str | None,
    list_rules: bool,
    saving: Saving,
) -> int:
    r"""Fold, fuse and expand operators by rules: built in, or yours.

    Each rule is applied until it matches no more. A rule file holds a pattern and its replacement in ONNX's text; what a
    rule did, or where it came nearest to a match and why it is none, is said.

    \b
    graphkit rewrite --list
    graphkit rewrite model.onnx out.onnx --rule batchnorm --rule gelu --rule my_rules/
    """
    import graphkit as gk

    if list_rules:
        found = gk.rewrite_rules()
        render.result([rule._asdict() for rule in found], lambda: gk.text(found))
        return 0
    if model is None or out is None:
        raise click.UsageError(f"Missing argument '{'MODEL' if model is None else 'OUT'}'.")
    if not rules and target is None:
        raise click.UsageError("Missing option '--rule'; --list shows the built-in rules.")
    check_target(out, saving)
    with render.progress(f"rewrite {model}"):
        edited = gk.rewrite(model, rules, target=target)
    return save_edited(render, edited, out, saving)
