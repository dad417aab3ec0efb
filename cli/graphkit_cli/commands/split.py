"""graphkit split: a model becomes stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from graphkit_cli.edit import refuse, said
from graphkit_cli.options import model_argument, output_options
from graphkit_cli.running import read_names

if TYPE_CHECKING:
    import graphkit as gk
    from graphkit_cli.render import Render


@click.command()
@model_argument
@click.argument("folder", metavar="DIR")
@click.option("--stages", type=int, metavar="N", help="Make so many stages of about the same weight.")
@click.option("--at", metavar="VALUE", multiple=True, help="End a stage with this value; repeats, in order.")
@click.option(
    "--module", "modules", metavar="PATH", multiple=True, help="Begin a stage with this torch module; repeats."
)
@click.option(
    "--by",
    type=click.Choice(["bytes", "flops"]),
    default="bytes",
    show_default=True,
    help="What --stages balances: bytes of weights, or multiply-accumulates.",
)
@click.option("--external", is_flag=True, help="Write each stage's weights into a data file beside it.")
@click.option("--no-history", is_flag=True, help="Do not write what was done into the stages' metadata.")
@click.option(
    "--prove", is_flag=True, help="Run the stages and MODEL first; write nothing and exit 1 where they differ."
)
@click.option("--dry-run", is_flag=True, help="Do the work, say what would be written, write nothing.")
@output_options
def command(
    render: Render,
    model: str,
    folder: str,
    stages: int | None,
    at: tuple[str, ...],
    modules: tuple[str, ...],
    by: Literal["bytes", "flops"],
    external: bool,
    no_history: bool,
    prove: bool,
    dry_run: bool,
) -> int:
    r"""Cut a model into stages that run one after the other.

    DIR gets stage0.onnx, stage1.onnx, ... and stages.json, which says how they are chained; graphkit run DIR runs them.

    \b
    graphkit split model.onnx parts --stages 4
    graphkit split model.onnx parts --module encoder.layers.6 --module head
    """
    if sum([stages is not None, bool(at), bool(modules)]) != 1:
        raise click.UsageError("Say how to split in one way: --stages, --at or --module.")
    if stages is not None and stages < 2:
        raise click.UsageError("--stages is 2 or more.")
    import graphkit as gk

    with render.progress(f"split {model}"):
        parts = gk.split(model, stages=stages, at=read_names(at, model) or None, modules=list(modules) or None, by=by)
        proof = gk.prove(parts, model) if prove else None
        if proof is not None and not proof:
            return refuse(render, proof, folder)
        if not dry_run:
            parts.save(folder, external=external, history=not no_history)
    more = {"proof": proof} if proof is not None else {}
    told = {"folder": folder, "dry_run": dry_run, **parts.plan(), **more}
    render.result(told, lambda: _text(parts, folder, dry_run=dry_run))
    if proof is not None:
        render.note(said(proof))
    return 0


def _text(parts: gk.Split, folder: str, *, dry_run: bool) -> str:
    lines = [f"{'would write' if dry_run else 'wrote'} {len(parts.stages)} stages into {folder}"]
    for stage in parts.stages:
        reads = ", ".join(name if source == "input" else f"{name} of {source}" for name, source in stage.inputs.items())
        lines.append(f"{stage.file}: {stage.nodes} nodes, {stage.weight_bytes:,} bytes of weights")
        lines.append(f"  {reads or 'nothing'} -> {', '.join(stage.outputs)}")
    return "\n".join(lines)
