"""graphkit copy: the same model in another file or another form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from graphkit_cli.edit import Saving, check_target, save_edited, with_saving
from graphkit_cli.options import model_argument, out_argument, output_options

if TYPE_CHECKING:
    from graphkit_cli.render import Render


@click.command()
@model_argument
@out_argument
@with_saving
@output_options
def command(render: Render, model: str, out: str, saving: Saving) -> int:
    r"""Write a model as it is: one file, external data, text, a pipe.

    The suffix of OUT says the form: .onnx, .onnxtxt (ONNX's own syntax), .json or .textproto. A - is standard input or
    output. Nothing is edited; a text form that cannot say all that the model holds is refused.

    \b
    graphkit copy model.onnx one/model.onnx --external weights.bin
    graphkit copy model.onnx - | graphkit copy - model.json
    """
    import graphkit as gk

    check_target(out, saving)
    with render.progress(f"copy {model}"):
        loaded = gk.load(model)
    return save_edited(render, loaded, out, saving)
