"""The options that say what nodes to put in: ``--function`` and ``--model``."""

from __future__ import annotations

import click

from graphkit_cli.running import together

body_options = together(
    click.option(
        "--function",
        metavar="TEXT|FILE|NAME",
        help="What to put in: ONNX text such as '(a) => (b) { b = Relu(a) }', a file that holds it, or one of: argmax, "
        "cast, clip, clip_uint8, identity, nms, normalize, relu, sigmoid, softmax, topk, transpose, with arguments as "
        "cast:to=float16.",
    ),
    click.option("--model", "body_model", metavar="FILE", help="What to put in: a model."),
)


def one_body(function: str | None, body_model: str | None) -> None:
    """Refuse neither and both of ``--function`` and ``--model``.

    Raises:
        click.UsageError: It is so.
    """
    if (function is None) == (body_model is None):
        raise click.UsageError("give one of --function TEXT|FILE|NAME and --model FILE")
