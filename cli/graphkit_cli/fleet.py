"""Commands that work on many models: who does it, what is kept, what is told as it comes and at the end."""

from __future__ import annotations

import datetime as dt
import functools
import glob
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import click

from graphkit_cli.running import together
from graphkit_cli.spelling import told as spelt_for_shell

if TYPE_CHECKING:
    from click.decorators import FC

    import graphkit as gk
    from graphkit_cli.render import Render

DONE = 0
NO = 1
FAILED = 3


@dataclass(frozen=True)
class Fleet:
    """What the options of ``fleet_options`` say.

    Attributes:
        jobs: Processes of this machine, or None.
        scheduler: Address of a Dask scheduler, or None.
        memory: What a process may allocate, or None.
        journal: The file of outcomes, or None.
        resume: Leave out what was done before.
        html: The page, or None.
        junit: The XML file, or None.
        markdown: The Markdown file, or None.
        view: The folder of drawings, or None.
    """

    jobs: int | None = None
    scheduler: str | None = None
    memory: str | None = None
    journal: str | None = None
    resume: bool = False
    html: str | None = None
    junit: str | None = None
    markdown: str | None = None
    view: str | None = None

    @property
    def asked(self) -> bool:
        """Whether any option is about who does the work."""
        return self.jobs is not None or self.scheduler is not None or self.memory is not None or self.resume


def fleet_options(function: FC) -> FC:
    """``--jobs`` and its like; ``Fleet(**options)`` takes them."""
    return together(
        click.option("--jobs", type=click.IntRange(1), metavar="N", help="Processes that work on models [default: 1]."),
        click.option("--scheduler", metavar="ADDRESS", help="Work on the Dask cluster there, such as tcp://host:8786."),
        click.option("--memory", metavar="SIZE", help="What a process of --jobs may allocate for models, such as 2GB."),
        click.option("--journal", metavar="FILE", help="Write a JSON line for each model as it comes."),
        click.option("--resume", is_flag=True, help="Leave out what the journal says was done with the same bytes."),
        click.option("--html", metavar="FILE", help="Write a page with a row a model, and one for each model."),
        click.option("--junit", metavar="FILE", help="Write JUnit XML, for a CI server."),
        click.option("--markdown", metavar="FILE", help="Write Markdown, for a pull request."),
    )(function)


def many(
    what: str, line: str, options: Callable[[Mapping[str, Any]], dict[str, Any]]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let a command that looks at a model look at many: ``--list FILE`` and who does the work. Under ``click.command()``.

    A command that takes a model alone takes several, folders and patterns too.

    Args:
        what: The function: check, lint, inspect, validate or prove.
        line: What a line of the list is: "a model", or "a model and its reference".
        options: The command's parameters -> keyword arguments of the function.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        own = getattr(function, "__click_params__", [])
        arguments = [param for param in own if isinstance(param, click.Argument)]
        needed = next(param.name for param in reversed(arguments)) or ""
        alone = what in ("check", "lint", "inspect")
        for param in arguments:
            param.required = False
            if alone:
                param.nargs, param.metavar = -1, "MODEL..."

        @functools.wraps(function)
        def callback(*args: Any, listed: str | None, **given: Any) -> Any:
            # a command that writes a page of one model has --html of its own, and perhaps --view
            names = [field.name for field in fields(Fleet)]
            kept = {name: given[name] if name in pages else given.pop(name, None) for name in names}
            kept["resume"] = bool(kept["resume"])
            fleet = Fleet(**kept)
            several = given[needed] if alone and not _is_one(given[needed]) else ()
            if alone and not several:
                given[needed] = given[needed][0] if given[needed] else None
            if listed is None and not several:
                if given[needed] is None and given.get("saved") is None:
                    raise click.UsageError(f"Missing argument '{needed.upper()}', or --list FILE.")
                if fleet.asked or any(
                    kept[name] for name in ("journal", "junit", "markdown", "html") if name not in pages
                ):
                    raise click.UsageError(
                        "--jobs, --journal and their like are for many models: several, a folder, a pattern or --list FILE."
                    )
                return function(*args, **given)
            if listed is not None and any(given[param.name or ""] for param in arguments):
                raise click.UsageError("--list says what to work on: it excludes naming models too.")
            import graphkit as gk

            chosen = options(given)
            work = gk.Checking(what, chosen) if alone else gk.Comparing(what, chosen)
            if listed is None:
                jobs = [gk.Job(named.path) for named in gk.named_models(several)]
            else:
                jobs = listed_jobs(listed, 1 if alone else 2, 2 if what == "validate" else 1)
            render = click.get_current_context().obj
            return work_on(render, what, work, jobs, fleet)

        pages = {param.name for param in own} & {"html", "view"}
        added = fleet_options(
            click.option("--list", "listed", metavar="FILE", help=f"Many: each line of FILE is {line}.")(_bare)
        )
        extra = [param for param in added.__click_params__ if param.name not in pages]  # type: ignore[attr-defined]  # click's attribute
        del added.__click_params__  # type: ignore[attr-defined]  # click's attribute
        callback.__click_params__ = [*extra, *own]  # type: ignore[attr-defined]  # last one first: these stand at the end
        return callback

    return decorate


def _is_one(texts: Sequence[str]) -> bool:
    """Whether texts name one file, or nothing: no folder, no pattern, no list."""
    if len(texts) != 1 or os.path.isfile(texts[0]):
        return len(texts) < 2
    return not (
        os.path.isdir(texts[0]) or texts[0].startswith("@") or texts[0].endswith("/") or glob.has_magic(texts[0])
    )


def _bare() -> None:
    """A function that holds options for a moment."""


def check_drawings(view: str | None, count: int) -> None:
    """Refuse a folder of drawings that is the name of a page, or a file, before any work starts.

    Raises:
        click.UsageError: It is so.
    """
    if view is not None and (view.lower().endswith((".html", ".htm")) or os.path.isfile(view)):
        raise click.UsageError(
            f"{count} model{'' if count == 1 else 's'} of a list, a folder or a pattern: --view names the folder of their drawings, "
            f"not the page {view!r}."
        )


def work_on(render: Render, title: str, work: Any, jobs: Sequence[gk.Job], fleet: Fleet) -> int:
    """Do work on many models, tell the outcomes and write the reports.

    Returns:
        The exit code: 0; 1 where an answer is no; 3 where a model failed.
    """
    import graphkit as gk

    if fleet.scheduler is not None and (fleet.jobs is not None or fleet.memory is not None):
        raise click.UsageError(
            "--jobs and --memory are about processes of this machine: a cluster has workers of its own."
        )
    if fleet.resume and fleet.journal is None:
        raise click.UsageError("--resume goes on from a journal: --journal FILE")
    check_drawings(fleet.view, len(jobs))
    found: list[gk.Outcome] = []
    outcomes = gk.run_fleet(
        work,
        jobs,
        workers=fleet.jobs or 1,
        scheduler=fleet.scheduler,
        memory=fleet.memory,
        journal=fleet.journal,
        resume=fleet.resume,
    )
    with render.progress(title, len(jobs)) as progress:
        for outcome in outcomes:
            outcome = spelt_for_shell(outcome)  # noqa: PLW2901 (the same outcome, as this command spells it)
            found.append(outcome)
            progress(len(found), len(jobs), outcome.model)
            if not render.as_json:
                line = _line(outcome)
                render.result(outcome, lambda line=line: line)  # type: ignore[misc]  # bound now
    drawings: dict[str, str] = {}
    if fleet.view is not None:
        with render.progress("drawing"):
            drawings, notes = gk.save_drawings(fleet.view, found, changes=isinstance(work, gk.Applying))
        for note in [*notes, f"wrote {len(drawings)} drawing{'' if len(drawings) == 1 else 's'} into {fleet.view}"]:
            render.note(note)
    write_reports(title, found, fleet, drawings)
    summary = gk.counted(found)
    render.result({"summary": summary, "outcomes": [gk.as_row(one) for one in found]}, lambda: summary)
    return exit_code(found)


def exit_code(outcomes: Sequence[gk.Outcome]) -> int:
    """What many outcomes mean to the shell."""
    kinds = {getattr(one, "kind", "no") for one in outcomes if not one}
    return DONE if not kinds else NO if kinds <= {"no", "ExpectationError"} else FAILED


def write_reports(
    title: str, outcomes: Sequence[gk.Outcome], fleet: Fleet, drawings: Mapping[str, str] | None = None
) -> None:
    """Write the page, which links to drawings of the models, and the files for other programs, where they are wanted."""
    import graphkit as gk

    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    about = f"graphkit {gk.__version__}, {now}: graphkit {shlex.join(sys.argv[1:])}"
    if fleet.html is not None:
        before = spelt_for_shell(gk.read_outcomes(fleet.journal)) if fleet.resume and fleet.journal else {}
        gk.save_outcomes(fleet.html, title, outcomes, about, before=before, drawings=drawings)
    gk.save_reports(title, outcomes, junit_path=fleet.junit, markdown_path=fleet.markdown)


def _line(outcome: gk.Outcome) -> str:
    import graphkit as gk

    state, said = gk.told(outcome)
    out = getattr(outcome, "out", None)
    return f"{state}: {outcome.model}{f' -> {out}' if out else ''}{f' ({said})' if said else ''}"


def listed_jobs(path: str, count: int, least: int = 1) -> list[gk.Job]:
    """The jobs of a list file: a model a line, or a model and what it is compared with.

    Args:
        path: The file. A line is split as the shell splits it; a path is also looked for beside the file.
        count: 1, or 2 where a line may name two files.
        least: 2 where it has to.

    Raises:
        click.UsageError: A line names more, or fewer.
    """
    import graphkit as gk

    if count == 1:
        return [gk.Job(named.path) for named in gk.named_models([f"@{path}"])]
    found = []
    for line in gk.list_lines(path):
        words = shlex.split(line)
        if len(words) > count:
            raise click.UsageError(f"{path}: {line!r} names more than {count} files")
        if len(words) < least:
            raise click.UsageError(f"{path}: {line!r} names no reference: write MODEL REFERENCE")
        places = [w if os.path.exists(w) or "://" in w else os.path.join(os.path.dirname(path), w) for w in words]
        found.append(gk.Job(places[0], other=places[1] if len(places) > 1 else None))
    return found
