"""``graphkit ops``: what ONNX says about an operator, and what torch's exporters make of theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from graphkit_cli.options import output_options

if TYPE_CHECKING:
    from graphkit_cli.render import Render


@click.command()
@click.argument("name", metavar="[OP]", required=False)
@click.option(
    "--opset",
    type=click.IntRange(min=1),
    metavar="N",
    help="Show the rule in force at this opset; alone: all rules in force; with --check: what the operators become at it.",
)
@click.option("--domain", default="", metavar="DOMAIN", help="The operator's domain; ai.onnx without.")
@click.option("--torch", "torch_name", metavar="ATEN::OP", help="What each exporter makes of this torch operator.")
@click.option(
    "--check",
    "factory",
    metavar="PACKAGE.MODULE:FACTORY",
    help="Sort the torch operators of a module: one-to-one, one-to-many, decomposed or unsupported, each with the smallest "
    "opset. Exit code 1 where neither exporter can export the module.",
)
@click.option(
    "--input", "inputs", metavar="NAME=SHAPE[:DTYPE]", multiple=True, help="An example input for --check: x=1,3,64,64."
)
@output_options
def command(
    render: Render,
    name: str | None,
    opset: int | None,
    domain: str,
    torch_name: str | None,
    factory: str | None,
    inputs: tuple[str, ...],
) -> int:
    r"""Look operators up: in ONNX, and in torch's two exporters.

    Without OP, --torch and --check: the table of all ONNX operators and the opsets that changed them. OP shows inputs,
    outputs and attributes with what they mean; --torch shows which torch argument becomes which of them.

    \b
    graphkit ops Resize --opset 11
    graphkit ops --torch bicubic2d
    graphkit ops --opset 11
    """
    import graphkit as gk

    if sum(value is not None for value in (name, torch_name, factory)) > 1:
        raise click.UsageError("OP, --torch and --check exclude each other")
    if opset is not None and torch_name is not None:
        raise click.UsageError("--opset goes with OP, with --check, or alone")
    result: Any
    if torch_name is not None:
        with render.progress(f"reading torch's tables for {torch_name}"):
            result = gk.torch_lowering(torch_name)
    elif factory is not None:
        with render.progress(f"checking {factory}"):
            result = _check(factory, inputs, opset)
    elif name is not None:
        result = gk.operator(name, opset, domain)
    else:
        result = gk.operators(domain) if opset is None else gk.rules_in_force(opset, domain)
    render.result(result, lambda: gk.text(result))
    return 1 if factory is not None and not result.exporters else 0


def _check(factory: str, inputs: tuple[str, ...], opset: int | None) -> Any:
    import graphkit as gk

    subject = gk.load_factory(factory)
    args, kwargs = subject.args, subject.kwargs
    if inputs:
        args, kwargs, _ = gk.example_inputs(subject.module, inputs)
    if args is None:
        raise gk.FactoryError(
            f"{factory!r} gives no example arguments",
            reference=factory,
            hint="let it return (module, args), or describe them: --input x=1,3,64,64",
        )
    return gk.check_operators(subject.module, args, kwargs, opset=opset)
