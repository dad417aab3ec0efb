"""``graphkit export``: a torch module becomes a model file."""

from __future__ import annotations

import dataclasses
import os
import shlex
from typing import TYPE_CHECKING, Any

import click

from graphkit_cli.edit import Saving, check_target, save_edited, with_saving
from graphkit_cli.options import out_argument, output_options
from graphkit_cli.spelling import told

if TYPE_CHECKING:
    import graphkit as gk
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
    "--dynamic",
    metavar="INPUT:AXIS=NAME",
    multiple=True,
    help="An axis that may vary, and its name: x:2=height. Axes of outputs follow; one of an --output can be named too.",
)
@click.option(
    "--parameters",
    type=click.Choice(["stored", "defaults", "inputs"]),
    default="stored",
    show_default=True,
    help="The weights: in the model; in the model and as inputs that may be overridden; required inputs only.",
)
@click.option(
    "--training",
    type=click.Choice(["eval", "train", "preserve"]),
    default="eval",
    show_default=True,
    help="The mode to export in: eval; train, where Dropout drops and BatchNorm uses the batch (torchscript); or as it is.",
)
@click.option(
    "--translations",
    metavar="PACKAGE.MODULE:NAME",
    help="Translations of operators of your own, for dynamo: a dict from torch operators to onnxscript functions, or a "
    "callable that gives one. torchscript takes what the factory's module registers.",
)
@click.option(
    "--custom-opset",
    "custom_opsets",
    metavar="DOMAIN=N",
    multiple=True,
    help="The version of a domain of your own; 1 without; repeats.",
)
@click.option("--no-optimize", is_flag=True, help="Fold and fuse nothing: every operator as torch has it.")
@click.option(
    "--check-baked",
    is_flag=True,
    help="Export and run with other arguments too, and name each constant that comes from the example arguments. "
    "Exit code 1 where there is one, or where something could not be compared.",
)
@click.option(
    "--check-input",
    "check_inputs",
    metavar="NAME=VALUE",
    multiple=True,
    help="--check-baked with arguments of yours: a shape x=1,3,96,64, values scale=[1,1,3,3], a file x=@x.npy, or for a "
    "Python number k=5; repeats. What it does not vary is generated.",
)
@with_saving
@output_options
def command(
    render: Render,
    factory: str,
    out: str,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    translations: str | None,
    custom_opsets: tuple[str, ...],
    no_optimize: bool,
    check_baked: bool,
    check_inputs: tuple[str, ...],
    saving: Saving,
    **options: Any,
) -> int:
    r"""Export a torch module, and say what the exporter did not.

    The factory is a callable without arguments that gives an nn.Module, (module, args) or (module, args, kwargs);
    the current directory is on the import path. --json gives each finding as data: kind, message, source, remedy.

    \b
    graphkit export net:make model.onnx --dynamic image:0=batch
    graphkit export net:make model.onnx --exporter torchscript --opset 17 --check-baked
    """
    import graphkit as gk

    check_target(out, saving)
    with render.progress(f"export {factory}"):
        subject = gk.load_factory(factory)
        table = gk.load_translations(translations) if translations is not None else None
        args, kwargs, names = subject.args, subject.kwargs, None
        if inputs:
            args, kwargs, names = gk.example_inputs(subject.module, inputs)
        if args is None:
            raise gk.FactoryError(
                f"{factory!r} gives no example arguments",
                reference=factory,
                hint="let it return (module, args), or describe them: --input x=1,3,64,64",
            )
        try:
            report = gk.export_report(
                subject.module,
                args,
                kwargs=kwargs,
                input_names=names,
                output_names=gk.read_names(outputs, of="text") or None,
                optimize=not no_optimize,
                translations=table,
                custom_opsets=_versions(custom_opsets),
                **options,
            )
        except ValueError as error:
            if isinstance(error, gk.GraphkitError):
                raise
            raise click.UsageError(str(error)) from error
        baked, findings = None, told(report.findings)
        notes = [str(finding) for finding in findings]
        if check_baked or check_inputs:
            shared = {key: options[key] for key in ("exporter", "opset")}
            shared["dynamic"] = [
                text for text in options["dynamic"] if not text.startswith(tuple(f"{o}:" for o in outputs))
            ]
            shared |= {"input_names": names, "check_inputs": check_inputs, "translations": table}
            baked = gk.find_baked(subject.module, [args], kwargs_list=[kwargs], **shared)
            findings = _for_file((*_without_advice(findings), *told(baked.findings)), out)
            notes = [*map(str, findings), *(f"not compared, {text}" for text in baked.not_compared)]
            if baked.agrees:
                notes.append(f"nothing is baked in: {len(baked.trials)} sets of arguments give what the module gives")
        step = report.model.history[-1]._replace(notes=tuple(notes))
        model = gk.Model(report.model.proto, report.model.sources, steps=(step,))
    if render.verbose and report.log:
        render.note(report.log)
    more = {
        "exporter": report.exporter,
        "opset_asked": report.opset_asked,
        "opset": report.opset,
        "findings": findings,
    }
    if code := save_edited(render, model, out, saving, more=more):
        return code
    return 0 if baked is None or baked.agrees else 1


def _versions(texts: tuple[str, ...]) -> dict[str, int]:
    found = {}
    for text in texts:
        domain, _, number = text.rpartition("=")
        if not domain or not number.isdecimal():
            raise click.BadParameter(f"{text!r} is no DOMAIN=N", param_hint="--custom-opset")
        found[domain] = int(number)
    return found


def _without_advice(findings: tuple[gk.Finding, ...]) -> list[gk.Finding]:
    """The findings without the advice to do what is being done."""
    return [
        dataclasses.replace(finding, remedy=None) if "--check-baked" in (finding.remedy or "") else finding
        for finding in findings
    ]


def _for_file(findings: tuple[gk.Finding, ...], out: str) -> tuple[gk.Finding, ...]:
    """The findings with commands that name the file that is written, and one for what they make of it."""
    stem, extension = os.path.splitext(out)
    names = f"{shlex.quote(out)} {shlex.quote(f'{stem}_mended{extension}')}"
    return tuple(
        dataclasses.replace(finding, remedy=finding.remedy and finding.remedy.replace("MODEL OUT", names))
        for finding in findings
    )
