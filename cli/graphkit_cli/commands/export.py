"""``graphkit export``: a torch module becomes a model file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from graphkit_cli.edit import check_target, save_edited
from graphkit_cli.options import out_argument, output_options

if TYPE_CHECKING:
    from graphkit_cli.render import Render


@click.command()
@click.argument("factory", metavar="PACKAGE.MODULE:FACTORY")
@out_argument
@click.option(
    "--exporter",
    type=click.Choice(["dynamo", "torchscript"]),
    default="dynamo",
    show_default=True,
    help="torch.export (torch's default since 2.9), or tracing with TorchScript.",
)
@click.option("--opset", type=click.IntRange(min=7), metavar="N", help="The opset to ask for; torch's default without.")
@click.option(
    "--input",
    "inputs",
    metavar="NAME=SHAPE[:DTYPE]",
    multiple=True,
    help="An example input, where the factory gives none or others are wanted: x=1,3,64,64 or n=2:int64. "
    "NAME is a parameter of forward; names that are not go by position and name the inputs.",
)
@click.option("--output", "outputs", metavar="NAME", multiple=True, help="What to call the outputs, in order.")
@click.option(
    "--dynamic", metavar="INPUT:AXIS=NAME", multiple=True, help="An axis that may vary, and its name: x:2=height."
)
@click.option(
    "--parameters",
    type=click.Choice(["stored", "defaults", "inputs"]),
    default="stored",
    show_default=True,
    help="The weights: in the model; in the model and as inputs that may be overridden; required inputs only.",
)
@click.option("--no-optimize", is_flag=True, help="Fold and fuse nothing: every operator as torch has it.")
@click.option(
    "--check-baked",
    is_flag=True,
    help="Export and run with other arguments too, and name each constant that comes from the example arguments. "
    "Exit code 1 where there is one.",
)
@click.option("--external", metavar="NAME", help="Write the weights to this file beside OUT, as external data.")
@click.option("--dry-run", is_flag=True, help="Do the work and say what would be written; write nothing.")
@output_options
def command(
    render: Render,
    factory: str,
    out: str,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    no_optimize: bool,
    check_baked: bool,
    external: str | None,
    dry_run: bool,
    **options: Any,
) -> int:
    """Export a torch module with either of torch's exporters, and say what the exporter did not.

    The factory is a callable without arguments that gives an nn.Module, (module, args) or (module, args, kwargs);
    the current directory is on the import path. --json gives each finding as data: kind, message, source, remedy.
    """
    import graphkit as gk

    check_target(out, external)
    with render.progress(f"export {factory}"):
        subject = gk.load_factory(factory)
        args, kwargs, names = subject.args, subject.kwargs, None
        if inputs:
            args, kwargs, names = gk.example_inputs(subject.module, inputs)
        if args is None:
            raise gk.FactoryError(
                f"{factory!r} gives no example arguments",
                reference=factory,
                hint="let it return (module, args), or describe them: --input x=1,3,64,64",
            )
        report = gk.export_report(
            subject.module,
            args,
            kwargs=kwargs,
            input_names=names,
            output_names=outputs or None,
            optimize=not no_optimize,
            **options,
        )
        model, baked, findings = report.model, None, report.findings
        if check_baked:
            shared = {key: options[key] for key in ("exporter", "opset", "dynamic")}
            baked = gk.find_baked(subject.module, [args], kwargs_list=[kwargs], input_names=names, **shared)
            step = model.history[-1]
            left_out = [f"not compared, {text}" for text in baked.refused]
            found = [str(finding) for finding in baked.findings]
            findings += baked.findings
            if baked.agrees:
                found = [f"nothing is baked in: {len(baked.trials)} sets of arguments give what the module gives"]
            step = step._replace(notes=(*step.notes, *found, *left_out))
            model = gk.Model(model.proto, model.sources, history=(step,))
    if render.verbose and report.log:
        render.note(report.log)
    more = {
        "exporter": report.exporter,
        "opset_asked": report.opset_asked,
        "opset": report.opset,
        "findings": findings,
    }
    save_edited(render, model, out, external=external, dry_run=dry_run, more=more)
    return 0 if baked is None or baked.agrees else 1
