"""Which step of a model's history made which difference: the history replayed, one comparison a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from graphkit.errors import GraphkitError
from graphkit.inspection.diff.difference import LISTS, Change, Difference, StepChanges
from graphkit.model import Model
from graphkit.operation import replayed
from graphkit.step import Original

Compare = Callable[[Model, Model], Difference]


def with_steps(result: Difference, before: Model, after: Model, compare: Compare) -> Difference:
    """The result with the steps that made its differences; with a note where that cannot be said.

    Args:
        result: The differences.
        before: The first model.
        after: The second.
        compare: Compares the models before and after one step.
    """
    why = _unrelated(before, after)
    if why is None:
        return result
    if why:
        return replace(result, notes=(*result.notes, why))
    made: dict[tuple[str, str, str], list[str]] = {}
    steps = []
    last, number = before, len(before.history)
    try:
        for step, _, now in replayed(after, before):
            number += 1
            called = f"{number} {step.operation}"
            found = compare(last, now)
            last = now
            steps.append(StepChanges(called, said(found)))
            for name, changes in found.lists.items():
                for change in changes:
                    _follow(made, name, change, called)
    except GraphkitError as error:
        note = f"which of the later steps made which difference is not said: step {number + 1}: {error}"
        result = replace(result, notes=(*result.notes, note))
    lists = {
        name: tuple(replace(change, steps=_of(made, name, change)) for change in getattr(result, name))
        for name in LISTS
    }
    return replace(result, steps=tuple(steps), **lists)  # type: ignore[arg-type]  # the five lists


def _unrelated(before: Model, after: Model) -> str | None:
    """What to say where the steps cannot be told apart: nothing ("") where the second model goes on from the first; None where it has no steps of its own."""
    try:
        had, steps = before.history, after.history
        began, known = after.original, before.original
    except GraphkitError as error:
        return f"which step made which difference is not said: {error}"
    if not steps or [step[:2] for step in had] == [step[:2] for step in steps]:
        return None
    if [step[:2] for step in had] == [step[:2] for step in steps[: len(had)]]:
        origins = {one.digest for one in (known or before.identity,) if one is not None}
        if not had:
            origins.add(Original.of(before.proto).digest)
        if began is None or began.digest in origins:
            return ""
    named = f" ({began.file})" if began is not None and began.file else ""
    counted = "1 step" if len(steps) == 1 else f"{len(steps)} steps"
    return (
        f"the history of the second model has {counted}; which made which difference is said when it is compared with "
        f"the model it began with{named}"
    )


def _follow(made: dict[tuple[str, str, str], list[str]], to: str, change: Change, called: str) -> None:
    """Remember who made a change; what it renames takes its past along."""
    if to == "renamed" and change.former is not None:
        for (name, kind, address), steps in list(made.items()):
            if kind == change.kind and address == change.former:
                made.setdefault((name, kind, change.name), []).extend(steps)
    steps = made.setdefault((to, change.kind, change.name), [])
    if called not in steps:
        steps.append(called)


def _of(made: dict[tuple[str, str, str], list[str]], to: str, change: Change) -> tuple[str, ...]:
    lists = dict.fromkeys((to, *(name for name in LISTS if name != to)))
    for name in lists:
        steps = made.get((name, change.kind, change.name))
        if steps:
            return tuple(dict.fromkeys(steps))
    return ()


def said(result: Difference) -> str:
    """The number of differences of each kind, in words: ``1 node added, 3 values renamed, metadata of 2 nodes changed``."""
    counts: dict[tuple[str, str, bool], int] = {}
    for name, changes in result.lists.items():
        for change in changes:
            key = (name, change.kind, name == "changed" and is_beside(change))
            counts[key] = counts.get(key, 0) + 1
    words = [
        f"{'metadata of ' if beside else ''}{count} {_plural(kind, count)} {name}"
        for (name, kind, beside), count in sorted(counts.items(), key=lambda item: item[0][2])
    ]
    return ", ".join(words) or "nothing"


def is_beside(change: Change) -> bool:
    """Whether a difference is in what is written beside a thing: its doc_string or metadata_props."""
    return change.aspect == "metadata" and change.kind not in {"metadata", "model"}


def _plural(kind: str, count: int) -> str:
    if kind == "shape":
        kind = "declared shape"
    many = {"metadata": "metadata entries", "model": "model fields", "quantization": "quantization annotations"}
    one = {"metadata": "metadata entry", "model": "model field", "quantization": "quantization annotation"}
    return one.get(kind, kind) if count == 1 else many.get(kind, f"{kind}s")
