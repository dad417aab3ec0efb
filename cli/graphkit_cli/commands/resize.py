"""graphkit resize: the factor of every Resize becomes a graph input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from graphkit_cli.edit import edit_command
from graphkit_cli.running import read_names

if TYPE_CHECKING:
    import graphkit as gk


@edit_command
@click.option("--input-name", default="factor", show_default=True, help="Name of the new graph input.")
@click.option(
    "--as",
    "form",
    type=click.Choice(["scales", "factor", "sizes"]),
    default="factor",
    show_default=True,
    help="What the input holds: factor: float32, one for all spatial axes or one each; scales: float32, one an axis, as "
    "Resize has them; sizes: int64, height and width of the result.",
)
@click.option(
    "--node",
    "nodes",
    metavar="NAME",
    multiple=True,
    help="Change this node only; may be repeated. [default: every node that resizes]",
)
@click.option("--separate", is_flag=True, help="One input for each node: factor_1, factor_2, ...")
@click.option("--relative", is_flag=True, help="The input multiplies each node's own scale instead of replacing it.")
@click.option(
    "--semantics",
    type=click.Choice(["keep", "scales", "sizes"]),
    default="keep",
    show_default=True,
    help="Make every node decide by scales (samples 1 / factor apart) or by sizes (in / size apart).",
)
@click.option(
    "--keep-default", is_flag=True, help="The input may be left out and then has the value that was baked in."
)
@click.option(
    "--repair-shapes",
    is_flag=True,
    help="Compute baked Reshape targets downstream, where it is certain what they follow.",
)
def command(model: str, **options: Any) -> gk.Model:
    r"""Turn the scale baked into every Resize into a graph input.

    \b
    graphkit resize model.onnx out.onnx
    graphkit resize model.onnx out.onnx --as sizes --input-name size --keep-default
    """
    import graphkit as gk

    if options["form"] == "sizes" and (options["relative"] or options["semantics"] == "scales"):
        raise click.UsageError(
            "--as sizes gives the size itself: it goes neither with --relative nor --semantics scales"
        )
    options["nodes"] = read_names(options["nodes"], model, of="node")
    return gk.resize(model, **options)
