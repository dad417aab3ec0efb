"""``graphkit check``: is a model valid, and does it load?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from graphkit_cli.fleet import many
from graphkit_cli.options import model_argument, output_options
from graphkit_cli.running import custom_ops_option
from graphkit_cli.spelling import told

if TYPE_CHECKING:
    from graphkit_cli.render import Render


@click.command()
@many("check", "a model", lambda given: {"runtime": not given["no_runtime"], "custom_ops": given["custom_ops"]})
@model_argument
@click.option("--no-runtime", is_flag=True, help="Do not load MODEL into ONNX Runtime: rules and onnx.checker only.")
@custom_ops_option
@output_options
def command(render: Render, model: str, no_runtime: bool, custom_ops: tuple[str, ...]) -> int:
    r"""Say whether a model is valid and loads, and what is wrong.

    Each finding names the rule and, where it is about one, the node or value. Exit code 1 where there is one, 3 where
    MODEL cannot be read at all. --json writes {"valid": bool, "findings": [...]}.

    \b
    Examples:
      graphkit check model.onnx
      graphkit check model.onnx --json --no-runtime
    """
    import graphkit as gk

    result = told(gk.check(model, runtime=not no_runtime, custom_ops=custom_ops))
    render.result(result, lambda: gk.text(result))
    return 0 if result else 1
