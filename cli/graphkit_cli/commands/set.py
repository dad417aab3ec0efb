"""``graphkit set``: attributes, operands, weights and what a model says about itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from graphkit_cli.edit import edit_command
from graphkit_cli.running import Of, every_pair, pairs, read_names

if TYPE_CHECKING:
    import graphkit as gk


@edit_command
@click.option(
    "--attribute", "attributes", metavar="NODE:NAME=VALUE", multiple=True, help="An attribute of a node; repeat it."
)
@click.option(
    "--operand",
    "operands",
    metavar="NODE:INDEX=VALUE",
    multiple=True,
    help="What a node reads at a place, from 0: a value, or a number, list or @w.npy; repeat it.",
)
@click.option(
    "--tensor",
    "tensors",
    metavar="NAME=@w.npy",
    multiple=True,
    help="The values of a weight, or one number; repeat it.",
)
@click.option("--metadata", metavar="KEY=VALUE", multiple=True, help="An entry of the model's metadata; repeat it.")
@click.option("--doc", metavar="TEXT", help="The model's doc string.")
@click.option(
    "--opset-import", metavar="DOMAIN=N", multiple=True, help="The version of a domain, the bare number; repeat it."
)
@click.option("--ir", metavar="N", type=int, help="The IR version, the bare number.")
@click.option(
    "--shapes", type=click.Choice(["infer", "clear"]), help="Write the types of inner values, or take them all out."
)
@click.option("--strip-weights", is_flag=True, help="Take the values of all weights out; types and sizes stay.")
@click.option("--fill-weights", type=click.Choice(["zeros", "random"]), help="Give stripped weights stand-ins.")
@click.option("--restore-weights", metavar="MODEL", help="Give stripped weights the values that they have in a model.")
@click.option(
    "--clear",
    metavar="NODE:NAME|metadata|docs",
    multiple=True,
    help="Take an attribute, all metadata or all doc strings away; repeat it.",
)
def command(
    model: str,
    attributes: tuple[str, ...],
    operands: tuple[str, ...],
    tensors: tuple[str, ...],
    metadata: tuple[str, ...],
    doc: str | None,
    opset_import: tuple[str, ...],
    ir: int | None,
    shapes: Literal["infer", "clear"] | None,
    strip_weights: bool,
    fill_weights: Literal["zeros", "random"] | None,
    restore_weights: str | None,
    clear: tuple[str, ...],
) -> gk.Model:
    r"""Set attributes, operands, weights, metadata, versions, shapes.

    \b
    graphkit set model.onnx out.onnx --attribute Softmax_7:axis=1 --metadata author=me
    graphkit set model.onnx out.onnx --tensor conv1.weight=@w.npy --shapes infer
    """
    import graphkit as gk

    given = (attributes, operands, tensors, metadata, opset_import, clear, strip_weights)
    if not any(given) and (doc, ir, shapes, fill_weights, restore_weights) == (None,) * 5:
        raise click.UsageError("say what to set, such as --attribute NODE:NAME=VALUE")
    return gk.set_parts(
        model,
        attributes=_table(attributes, "--attribute", model, of="part", form="NODE:NAME=VALUE"),
        operands=_table(operands, "--operand", model, of="part", form="NODE:INDEX=VALUE"),
        tensors=pairs(tensors, "--tensor", model, of="value", form="NAME=@FILE"),
        metadata=_table(metadata, "--metadata", of="text", form="KEY=VALUE"),
        doc=doc,
        opset_import=_versions(opset_import),
        ir=ir,
        shapes=shapes,
        strip_weights=strip_weights,
        fill_weights=fill_weights,
        restore_weights=restore_weights,
        clear=read_names(clear, model, of="part"),
    )


def _table(texts: tuple[str, ...], option: str, *models: str, of: Of, form: str) -> dict[str, str]:
    """KEY=VALUE texts; the value may be empty."""
    table: dict[str, str] = {}
    for key, value in every_pair(texts, option, *models, of=of, form=form, empty=True):
        if key in table:
            raise click.UsageError(f"{option} names {key!r} twice")
        table[key] = value
    return table


def _versions(texts: tuple[str, ...]) -> dict[str, int]:
    table = pairs(texts, "--opset-import")
    for domain, version in table.items():
        if not version.isdigit():
            raise click.UsageError(f"--opset-import wants DOMAIN=N, not {domain}={version}")
    return {domain: int(version) for domain, version in table.items()}
