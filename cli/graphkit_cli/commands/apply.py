"""``graphkit apply``: a recipe on one model or on many."""

from __future__ import annotations

import dataclasses
import os
import time
from typing import TYPE_CHECKING, Any

import click

from graphkit_cli.edit import Saving, check_target, refuse, said, save_edited, with_saving
from graphkit_cli.fleet import NO, Fleet, fleet_options, work_on, write_reports
from graphkit_cli.options import output_options
from graphkit_cli.running import check_pages, pairs

if TYPE_CHECKING:
    import graphkit as gk
    from graphkit_cli.render import Render


@click.command()
@click.argument("recipe", metavar="[RECIPE]", required=False)
@click.argument("models", metavar="[MODEL]...", nargs=-1)
@click.option(
    "--out",
    metavar="FILE|DIR",
    help="Where the result goes: a file; for many models or a split a folder, or a pattern such as 'out/{stem}.v2.onnx'.",
)
@click.option("--var", "variables", metavar="NAME=VALUE", multiple=True, help="Give a variable a value; repeat it.")
@click.option(
    "--view",
    metavar="FILE|DIR",
    help="Draw what was made as a page, its changes in colour; that of --html links to it. For many models a folder.",
)
@click.option("--schema", is_flag=True, help="Print the JSON schema of recipes, for editors, and do nothing else.")
@fleet_options
@with_saving
@output_options
def command(
    render: Render,
    recipe: str | None,
    models: tuple[str, ...],
    out: str | None,
    variables: tuple[str, ...],
    schema: bool,
    saving: Saving,
    **options: Any,
) -> int:
    r"""Do what a recipe says, on one model or on many.

    RECIPE is a TOML file of steps. MODEL is a file, a folder, a pattern in quotes, @FILE for a list, or an address;
    several are worked on one by one, or are joined where the recipe begins with merge. Where an expectation of the recipe
    does not hold, the exit code is 1 and nothing is written.

    \b
    graphkit apply patch.toml model.onnx --out patched.onnx --var size=320 --prove
    graphkit apply patch.toml exported/ --out patched/ --jobs 4 --resume
    """
    import graphkit as gk

    if schema:
        found = gk.recipe_schema()
        render.result(found, lambda: gk.to_json(found))
        return 0
    if recipe is None or not models:
        raise click.UsageError("apply wants a RECIPE and a MODEL.")
    if out is None and not saving.dry_run:
        raise click.UsageError("Say where the result goes: --out FILE|DIR.")
    read = gk.Recipe.load(recipe)
    given = read.given(pairs(variables, "--var"))
    steps = read.steps(given)
    named = gk.named_models(models)
    doings = [step.do for step in steps if step.do is not None]
    fleet = Fleet(**options)
    title = f"apply {os.path.basename(recipe)}"
    if doings[:1] == ["merge"]:
        subject: Any = [one.path for one in named]
    elif (
        len(named) > 1
        or fleet.asked
        or os.path.isdir(models[0])
        or (out is not None and "://" in out)
        or (out and _is_folder(out) and doings[-1:] != ["split"])
    ):
        if fleet.view is not None and doings[-1:] == ["split"]:
            raise click.UsageError("--view draws one model that is split, or many that are not.")
        return _many(render, title, read, given, named, out, saving, fleet, split=doings[-1:] == ["split"])
    else:
        subject = named[0].path
    check_pages([fleet.view, fleet.html], [*(one.path for one in named), out])
    began = time.perf_counter()
    name = os.path.basename(named[0].path)
    try:
        with render.progress(title):
            applied = read.run(subject, **given)
    except gk.GraphkitError as error:
        failed = gk.Failed(
            name, type(error).__name__, error.message, error.hint and str(error.hint), time.perf_counter() - began
        )
        write_reports(title, [failed], fleet)
        if isinstance(error, gk.ExpectationError):
            render.failure(error)
            return NO
        raise
    changes = _changes(applied) if fleet.view is not None else None
    code = _tell(render, applied, out, saving)
    drawings = {}
    if fleet.view is not None and changes is not None and code == 0:
        there = not saving.dry_run and out not in (None, "-") and applied.split is None
        gk.view(out if there and out is not None else applied.model, highlight=changes).save(fleet.view)
        render.note(f"wrote {fleet.view}")
        drawings = {name: fleet.view}
    result = {"steps": [vars(step) for step in applied.steps]}
    done = gk.Done(name, code == 0, None if saving.dry_run else out, f"{len(applied.steps)} steps", result)
    write_reports(title, [done], fleet, drawings)
    return code


def _changes(applied: gk.Applied) -> list[Any]:
    """What the recipe changed, or the stages that it made, for the drawing. Weights are not compared."""
    import graphkit as gk

    if applied.split is not None:
        return [applied.split]
    if applied.original is None:
        return []
    return [gk.diff(applied.original, applied.model, ignore=["weights"], steps=False)]


def _is_folder(out: str) -> bool:
    return os.path.isdir(out) or out.endswith(("/", os.sep)) or "{" in out


def _tell(render: Render, applied: gk.Applied, out: str | None, saving: Saving) -> int:
    """Write the result and say what was done; with --dry-run only say it."""
    told = [line for step in applied.steps for line in _lines(step)]
    more: dict[str, Any] = {"steps": applied.steps}
    if out is not None and applied.split is None and not saving.dry_run:
        check_target(out, saving)
    render.stdout_is_taken = out == "-"
    if saving.prove:
        with render.progress(f"proving {out or 'the result'}"):
            proof = applied.prove()
        if proof is not None and not proof:
            return refuse(render, proof, out)
        render.note(said(proof) if proof is not None else "no step changed the model: there is nothing to prove")
        more |= {"proof": proof} if proof is not None else {}
    if saving.dry_run:
        graph = applied.model.proto.graph
        ends = ", ".join(v.name for v in graph.input), ", ".join(v.name for v in graph.output)
        would = f"would write {out or 'the result'}: {len(graph.node)} nodes, {ends[0]} -> {ends[1]}"
        render.result({"dry_run": True, **more, "path": out}, lambda: "\n".join([*told, would]))
        return 0
    assert out is not None
    for line in told:
        render.note(line)
    if applied.split is None:
        return save_edited(render, applied.model, out, dataclasses.replace(saving, prove=False), more=more, told=True)
    applied.split.save(out, external=saving.external is not None, history=not saving.no_history)
    plan = applied.split.plan()
    render.result({"folder": out, **more, **plan}, lambda: f"wrote {len(plan['stages'])} stages into {out}")
    return 0


def _lines(step: gk.Did) -> list[str]:
    """A step in a line or a few: what it touched, and what was found."""
    head = f"{step.place}: {step.what}"
    if step.state != "done":
        return [f"{head}: {step.state}{': ' + '; '.join(step.notes) if step.notes else ''}"]
    return [f"{head}: {'; '.join(step.touched)}", *(f"{head}: {note}" for note in step.notes)]


def _many(
    render: Render,
    title: str,
    recipe: gk.Recipe,
    given: dict[str, Any],
    named: list[gk.Named],
    out: str | None,
    saving: Saving,
    fleet: Fleet,
    *,
    split: bool,
) -> int:
    import graphkit as gk

    single = (
        len(named) == 1
        and out is not None
        and not _is_folder(out)
        and named[0].below == os.path.basename(named[0].path)
    )
    if out is not None and len(named) > 1 and out.endswith(".onnx") and "{" not in out and not os.path.isdir(out):
        raise click.UsageError(
            f"{len(named)} models go into a folder: --out DIR, or a pattern such as 'DIR/{{stem}}.onnx'."
        )
    if out is None:
        places: list[str | None] = [None] * len(named)
    elif single:
        if "://" not in out and not split:
            check_target(out, saving)
        places = [out]
    else:
        places = list(gk.output_paths(named, out, folder=split))
    options: dict[str, Any] = {"history": not saving.no_history}
    if split:
        options["external"] = saving.external is not None
    else:
        options |= {"external": saving.external, "weights": saving.weights}
    folder = None if out is None or single or "://" in out else _home(out)
    if folder is not None and not saving.dry_run:
        kept = {"journal": os.path.join(folder, "outcomes.jsonl"), "html": os.path.join(folder, "outcomes.html")}
        fleet = Fleet(**{**vars(fleet), **{name: getattr(fleet, name) or path for name, path in kept.items()}})
    work = gk.Applying(recipe, given, prove=saving.prove, dry_run=saving.dry_run, saving=options)
    jobs = [gk.Job(one.path, place) for one, place in zip(named, places, strict=True)]
    return work_on(render, title, work, jobs, fleet)


def _home(out: str) -> str:
    """The folder of an output folder or pattern."""
    return os.path.dirname(out.partition("{")[0]) or "." if "{" in out else out
