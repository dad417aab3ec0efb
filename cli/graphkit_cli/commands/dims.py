"""graphkit dims: set, rename and fix the dims of graph inputs, or say what an axis means to a model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from graphkit_cli.edit import Saving, check_target, save_edited, with_saving
from graphkit_cli.options import model_argument, output_options
from graphkit_cli.running import pairs

if TYPE_CHECKING:
    import graphkit as gk
    from graphkit_cli.render import Render

CLI_ONLY = {
    "report": "calls gk.dims_report instead of gk.dims",
    "torch": "calls gk.validate on the result before it is written",
    "reference": "calls gk.validate on the result before it is written",
}


@click.command()
@model_argument
@click.argument("out", required=False)
@click.option(
    "--set",
    "values",
    metavar="INPUT:AXIS=NAME|INT",
    multiple=True,
    required=True,
    help="An axis of an input (or of an output, or a symbolic dim) and what it shall be: a name, or a size; repeat it.",
)
@click.option(
    "--repair-shapes", is_flag=True, help="Make what holds a size follow, where it is certain what it has to follow."
)
@click.option("--strict", is_flag=True, help="Refuse where a size does not follow, instead of warning.")
@click.option("--fold", is_flag=True, help="Compute now what depends on nothing but sizes: Shape and what follows.")
@click.option("--report", is_flag=True, help="Write no file: list what follows the axes, what does not, and why.")
@click.option("--torch", metavar="FACTORY", help="Compare with this torch module at two other sizes before writing.")
@click.option("--reference", metavar="FILE", help="Compare with this export at another size before writing.")
@with_saving
@output_options
def command(
    render: Render,
    model: str,
    out: str | None,
    values: tuple[str, ...],
    repair_shapes: bool,
    strict: bool,
    fold: bool,
    report: bool,
    torch: str | None,
    reference: str | None,
    saving: Saving,
) -> int:
    r"""Set, rename, fix and free the dims of inputs and outputs.

    A fixed dim that becomes free: what holds its size is made to follow with --repair-shapes, what cannot follow is named.
    The result is run at other sizes where that is cheap. Exit code 1 where --torch or --reference differs; nothing is
    written then.

    \b
    graphkit dims model.onnx free.onnx --set image:0=batch --repair-shapes
    graphkit dims model.onnx --set image:2=height --set image:3=width --report
    """
    if report and out is not None:
        raise click.UsageError("--report writes no file: leave OUT away.")
    if not report and out is None:
        raise click.UsageError("Missing argument 'OUT'.")
    if torch is not None and reference is not None:
        raise click.UsageError("Compare with one: --torch or --reference.")
    import graphkit as gk

    texts = pairs(values, "--set", model, of="dim", form="INPUT:AXIS=NAME|INT")
    given = {key: int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else text for key, text in texts.items()}
    if report:
        found = gk.dims_report(model, given)
        render.result(found, lambda: gk.text(found))
        return 0
    assert out is not None
    check_target(out, saving)
    with render.progress(f"dims {model}"):
        edited = gk.dims(model, given, repair_shapes=repair_shapes, strict=strict, fold=fold)
    if torch is not None or reference is not None:
        try:
            with render.progress(f"compare {model}"):
                compared = _compared(edited, _twice(model, given), torch, reference)
        except gk.SessionError as error:
            failed = {"ok": False, "error": error.message}
            render.result(failed, lambda: f"DOES NOT RUN at another size: {failed['error']}")
            return 1
        if not compared:
            render.result(compared, lambda: gk.text(compared))
            return 1
        render.note(f"compared with {torch or reference}: every output agrees")
    return save_edited(render, edited, out, saving)


def _compared(edited: gk.Model, free: dict[str, list[int]], torch: str | None, reference: str | None) -> gk.Report:
    """The result beside a torch module at two other sizes, or beside an export at the sizes that it has."""
    import graphkit as gk

    if reference is not None:
        return gk.validate(edited, against=reference, samples=2)
    named = [dim.dim_param for value in edited.inputs for dim in value.type.tensor_type.shape.dim]
    return gk.validate(edited, torch=torch, bind={name: free[name] for name in named if name in free}, samples=1)


def _twice(model: str, given: dict[str, int | str]) -> dict[str, list[int]]:
    """Name -> twice and three times the size that its axis has in MODEL."""
    import graphkit as gk

    sizes = {}
    for value in gk.load(model).inputs:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            name = given.get(
                f"{value.name}:{axis}", given.get(f"{value.name}:{axis - len(value.type.tensor_type.shape.dim)}")
            )
            if isinstance(name, str) and dim.dim_value:
                sizes[name] = [dim.dim_value * 2, dim.dim_value * 3]
    return sizes
