"""graphkit opset: the model in another version of ai.onnx."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from graphkit_cli.edit import edit_command

if TYPE_CHECKING:
    import graphkit as gk


@edit_command
@click.option("--to", type=click.IntRange(1), metavar="N", required=True, help="The version of ai.onnx.")
def command(model: str, to: int) -> gk.Model:
    r"""Write a model in a later or earlier opset, losing nothing.

    Functions are inlined, and operators that the other version lacks become what ONNX defines them to be. A node that it
    cannot say is refused and named; the notes name the nodes that were rewritten.

    \b
    graphkit opset model.onnx model17.onnx --to 17
    graphkit opset old.onnx new.onnx --to 21
    """
    import graphkit as gk

    try:
        return gk.opset(model, to=to)
    except ValueError as error:
        if isinstance(error, gk.GraphkitError):
            raise
        raise click.UsageError(f"--to {to}: {error}") from error
