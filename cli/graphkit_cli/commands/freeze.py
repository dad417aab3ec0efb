"""graphkit freeze: a graph input becomes a constant."""

from __future__ import annotations

import ast
import os
from typing import TYPE_CHECKING

import click

from graphkit_cli.edit import edit_command
from graphkit_cli.running import pairs

if TYPE_CHECKING:
    import graphkit as gk


@edit_command
@click.option(
    "--set",
    "values",
    metavar="NAME=VALUE",
    multiple=True,
    required=True,
    help="An input and its value: a number, a list such as 2,3, or @file.npy; repeat it.",
)
@click.option("--fold", is_flag=True, help="Compute now what depends on nothing but constants any more.")
@click.option(
    "--fold-limit",
    metavar="BYTES",
    type=click.IntRange(0),
    default=1 << 20,
    show_default=True,
    help="With --fold: leave nodes alone whose result takes more than this.",
)
def command(model: str, values: tuple[str, ...], fold: bool, fold_limit: int) -> gk.Model:
    """Turn graph inputs into constants, the inverse of promote."""
    import graphkit as gk

    given = {name: _value(name, text) for name, text in pairs(values, "--set").items()}
    return gk.freeze(model, given, fold=fold, fold_limit=fold_limit)


def _value(name: str, text: str) -> object:
    """What a value on the command line stands for; text that is no Python literal is a string."""
    if text.startswith("@"):
        import numpy as np

        import graphkit as gk

        path = text[1:]
        try:
            array = np.load(os.path.expanduser(path), allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise gk.FeedError(f"the value of {name!r} cannot be read from {path!r}: {error}", name=name) from error
        if not isinstance(array, np.ndarray):
            raise gk.FeedError(
                f"{path!r} holds {len(array.files)} arrays; the value of {name!r} is one, in a .npy file"
            )
        return array
    try:
        literal: object = ast.literal_eval(text.strip().replace("true", "True").replace("false", "False"))
    except (ValueError, SyntaxError):
        return text
    return list(literal) if isinstance(literal, tuple) else literal
