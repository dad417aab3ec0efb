"""graphkit extract: cut a submodel out of a model, or say where to cut."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from graphkit_cli.edit import Saving, check_target, save_edited, with_saving
from graphkit_cli.options import model_argument, output_options
from graphkit_cli.running import pairs, read_names

if TYPE_CHECKING:
    import graphkit as gk
    from graphkit_cli.render import Render

CLI_ONLY = {"suggest": "calls gk.suggest instead of gk.extract"}


@click.command()
@model_argument
@click.argument("out", required=False)
@click.option("--input", "inputs", metavar="NAME", multiple=True, help="A value that becomes an input; repeat it.")
@click.option("--output", "outputs", metavar="NAME", multiple=True, help="A value that becomes an output; repeat it.")
@click.option(
    "--module",
    metavar="PATH",
    help="Cut out a torch module by its path, such as layers.0.attn; act#2 is its second call.",
)
@click.option("--node", "nodes", metavar="NAME", multiple=True, help="Cut out a node by its name; repeat it.")
@click.option(
    "--hops", metavar="K", type=click.IntRange(0), default=0, help="With --node: and the nodes K steps around."
)
@click.option(
    "--input-type",
    "input_types",
    metavar="NAME=TYPE",
    multiple=True,
    help="Type of an input, an output or a value between that the file does not give, such as x=float32[1,3,n] or "
    "s=seq(int64[?]); repeat it.",
)
@click.option(
    "--suggest", is_flag=True, help="Write no file: print a smallest closed cut, and the command that makes it."
)
@with_saving
@output_options
def command(
    render: Render,
    model: str,
    out: str | None,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    module: str | None,
    nodes: tuple[str, ...],
    hops: int,
    input_types: tuple[str, ...],
    suggest: bool,
    saving: Saving,
) -> int:
    r"""Cut a submodel out: by values, by a torch module, or by nodes.

    Without --input the cut begins at the graph inputs that the outputs need; without --output it ends at the graph
    outputs. What the bodies of If, Loop and Scan read, and the functions that are called, come along. Names such as
    Loop_3.body/hidden cut a part of that body.

    \b
    graphkit extract model.onnx block.onnx --input relu_3 --output add_7
    graphkit extract model.onnx attn.onnx --module layers.0.attn
    graphkit extract model.onnx step.onnx --input Loop_3.body/h --output Loop_3.body/y
    graphkit extract model.onnx --suggest --node Conv_12 --hops 2
    """
    _check_usage(out, inputs, outputs, module, nodes, hops, suggest)
    import graphkit as gk

    where: dict[str, Any] = {
        "inputs": read_names(inputs, model) or None,
        "outputs": read_names(outputs, model) or None,
        "module": module,
        "nodes": read_names(nodes, model, of="node") or None,
        "hops": hops,
        "input_types": pairs(input_types, "--input-type", model, of="value", form="NAME=TYPE"),
    }
    try:
        if suggest:
            found = gk.suggest(model, **where)
            render.result(found, lambda: _suggestion(model, found, input_types))
            return 0
        assert out is not None
        check_target(out, saving)
        with render.progress(f"extract {model}"):
            edited = gk.extract(model, **where)
    except ValueError as error:
        if isinstance(error, gk.GraphkitError):
            raise
        raise click.UsageError(str(error)) from error  # a type that is none
    return save_edited(render, edited, out, saving)


def _check_usage(
    out: str | None,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    module: str | None,
    nodes: tuple[str, ...],
    hops: int,
    suggest: bool,
) -> None:
    ways = [bool(inputs or outputs), module is not None, bool(nodes)]
    if sum(ways) > 1:
        raise click.UsageError("Name the cut in one way: --input and --output, or --module, or --node.")
    if not any(ways) and not suggest:
        raise click.UsageError("Say what to cut out: --input and --output, or --module, or --node.")
    if hops and not nodes:
        raise click.UsageError("--hops goes with --node.")
    if suggest and out is not None:
        raise click.UsageError("--suggest writes no file: leave OUT away.")
    if not suggest and out is None:
        raise click.UsageError("Missing argument 'OUT'.")


def _suggestion(model: str, found: gk.Cut, input_types: tuple[str, ...]) -> str:
    import graphkit as gk

    wanted = [f"{name}=TYPE" for name in found.untyped]
    words = ["graphkit", "extract", model, "OUT.onnx"]
    for option, values in (
        ("--input", found.inputs),
        ("--output", found.outputs),
        ("--input-type", (*input_types, *wanted)),
    ):
        for value in values:
            words += [option, value]
    lines = [
        f"{found.nodes} of {found.of_nodes} nodes, {found.weight_bytes:,} bytes of weights",
        *(f"input  {name}: {type_}" for name, type_ in zip(found.inputs, found.input_types, strict=True)),
        *(f"output {name}" for name in found.outputs),
        *(f"the type of {name} is not known: add --input-type {shlex.quote(name)}=TYPE" for name in found.untyped),
        shlex.join(words),
    ]
    return "\n".join(gk.printable(line, lines=False) for line in lines)
