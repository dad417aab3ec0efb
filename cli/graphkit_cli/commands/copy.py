"""graphkit copy: the same model in another file or another form."""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import TYPE_CHECKING

import click

from graphkit_cli.edit import Saving, check_target, save_proved, with_saving
from graphkit_cli.options import model_argument, out_argument, output_options

if TYPE_CHECKING:
    import graphkit as gk
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
    return save_proved(render, loaded, lambda: _proof(loaded, out, saving), out, saving)


def _proof(model: gk.Model, out: str, saving: Saving) -> gk.Proof:
    """The proof of a copy that is written beside OUT, read again, and gone afterwards."""
    import graphkit as gk

    nowhere = out == "-" or "://" in out
    name = "model.onnx" if out == "-" else os.path.basename(out)
    folder = None if nowhere else os.path.dirname(os.path.realpath(out))
    with contextlib.ExitStack() as stack:
        if saving.weights == "keep":  # its weights must lie in its folder or below
            suffix = os.path.splitext(name)[1]
            path = stack.enter_context(tempfile.NamedTemporaryFile(prefix=".graphkit-", suffix=suffix, dir=folder)).name
        else:
            place = stack.enter_context(tempfile.TemporaryDirectory(prefix=".graphkit-", dir=folder))
            path = os.path.join(place, name)
            os.makedirs(os.path.join(place, os.path.dirname(saving.external or "")), exist_ok=True)
        gk.save(model, path, external=saving.external, weights=saving.weights, history=not saving.no_history)
        return gk.prove_copy(path, model)
