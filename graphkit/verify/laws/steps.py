"""The steps between two models, done again, and their laws: those in a row that bind together are asked as one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from graphkit.errors import GraphkitError
from graphkit.graph import walk
from graphkit.graph.index import GraphIndex
from graphkit.graph.ports import input_ports
from graphkit.model import Model
from graphkit.operation import operation_of, replayed, restores
from graphkit.progress import Progress
from graphkit.step import HISTORY_KEY
from graphkit.storage.save import versions_written
from graphkit.tensor import is_stripped
from graphkit.verify.laws.binding import Binding, Broken, Change, Unproved
from graphkit.verify.laws.compose import composed
from graphkit.verify.laws.joined import Merged
from graphkit.verify.laws.judge import Asked, ask
from graphkit.verify.laws.proof import Held, Replayed, Verdict
from graphkit.verify.laws.refilled import all_refilled
from graphkit.verify.laws.same_bytes import first_byte_difference, other_weights, same_skeletons
from graphkit.verify.laws.table import binding_of

REFILLED = "run with the original's weights in the places of those that were taken out"


@dataclass(frozen=True)
class _Link:
    """One step of the chain: its change, its binding or why there is none, and whether the model after got weights back."""

    change: Change
    law: str
    binding: Binding | None
    why: tuple[Verdict, str] | None = None
    refilled: bool = False


class Steps:
    """The steps between two models, replayed."""

    def __init__(self, last: Model, first: Model | Merged, progress: Progress | None) -> None:
        self._last = last
        self._progress = progress
        self._merged = first if isinstance(first, Merged) else None
        self.start = first.change.after if isinstance(first, Merged) else first
        self.notes: list[str] = []
        self.restored: set[str] = set()
        self._changes: list[Change] = []
        self._end: Model | None = None
        self._stopped = ""
        steps = last.history if self._merged is not None else last.history[len(self.start.history) :]
        self.steps = tuple(step.operation for step in steps)
        if not steps:
            raise GraphkitError("the original has had every step that the edited model's history holds")
        before = self.start.without_record()
        if self._merged is not None:
            self._changes.append(self._merged.change)
        try:
            for step, arguments, after in replayed(last, self.start, donor=self.start):
                if restores(step):
                    self.restored.update(t.name for t in walk.tensors(before.proto) if is_stripped(t))
                self._changes.append(Change(step.operation, arguments, before, after))
                before = after
                if progress is not None:
                    progress(len(self._changes), len(steps), "replaying")
            self._end = before
        except GraphkitError as error:
            self._stopped = str(error)
        self._stop_after = len(self._changes)
        if len(self._changes) == len(steps):
            self._changes[-1] = replace(self._changes[-1], after=last)

    def replay_question(self) -> Replayed:
        """Does the replay give the edited model?"""
        if self._end is None:
            return Replayed("unproved", self._stopped)
        why = first_byte_difference(self._last.without_record(), self._end)
        if why is None:
            return Replayed("proved")
        other = _other_versions(self._last)
        if other:
            return Replayed("unproved", f"{why}; the file was made with {other}, and versions may differ in bytes")
        return Replayed("broken", why)

    def other_donor(self) -> str:
        """Why weights that were restored are not those of the original; "" where they are, or more than they differ."""
        if self._end is None or not same_skeletons(self._last.without_record(), self._end):
            return ""
        names = set(other_weights(self._last.without_record(), self._end))
        if not names or not names <= self.restored:
            return ""
        return f"the weights were restored from another model than {self.start.path or 'the original'}: {min(names)!r} is another"

    def laws(self, asked: Asked) -> list[Held]:
        """The second question, for runs of steps that are proved as one."""
        first = 0 if self._merged is None else 1  # what stands for merged models has no weights
        changes, filled = all_refilled(self._changes[first:])
        links = [self._link(change) for change in [*self._changes[:first], *changes]]
        links = [replace(link, refilled=has) for link, has in zip(links, [*[False] * first, *filled], strict=True)]
        held: list[Held] = []
        done = 0
        for group in _groups(links):
            named = list(dict.fromkeys(link.change.operation for link in group.links))
            if self._progress is not None:
                self._progress(done, len(links), f"proving {', '.join(named[:3])}{', ...' if len(named) > 3 else ''}")
            held += self._ask(group, asked)
            done += len(group.links)
        if self._stopped:
            held.append(Held("unproved", self.steps[len(self._changes) :], "", self._stopped))
        return held

    def _link(self, change: Change) -> _Link:
        if self._merged is not None and change.operation == "merge":
            return _Link(change, "joined", self._merged.binding, self._merged.why)
        law = operation_of(change.operation).law
        try:
            return _Link(change, law, binding_of(change))
        except Broken as error:
            return _Link(change, law, None, ("broken", str(error)))
        except Unproved as error:
            return _Link(change, law, None, ("unproved", str(error)))

    def _ask(self, group: _Group, asked: Asked) -> list[Held]:
        links = group.links
        if group.binding is None:
            verdict, why = links[0].why or ("unproved", "")
            return [Held(verdict, (links[0].change.operation,), links[0].law, why)]
        names = [link.change.operation for link in links]
        law = " + ".join(dict.fromkeys(link.law for link in links))
        whole = ask(group.binding, links[0].change.before, links[-1].change.after, names, law, asked)
        whole = _told(whole, links[-1])
        if len(links) == 1:
            return [whole]
        if whole.verdict != "proved":  # the step that is to blame, or a chain that is more than its steps
            return [self._alone(link, asked) for link in links]
        extra = [
            self._alone(link, asked) for link in links if link.binding and (link.binding.others or link.binding.sizes)
        ]
        return [whole, *extra]

    def _alone(self, link: _Link, asked: Asked) -> Held:
        assert link.binding is not None
        feeds = {n: v for n, v in asked.feeds.items() if n in input_ports(link.change.after.proto)}
        change = link.change
        mine = replace(asked, feeds=feeds)
        return _told(ask(link.binding, change.before, change.after, [change.operation], link.law, mine), link)


def _told(held: Held, last: _Link) -> Held:
    """A law of steps of which the last leaves a model without its weights."""
    return replace(held, also=(REFILLED, *held.also)) if last.refilled else held


@dataclass(frozen=True)
class _Group:
    """Steps in a row that are proved as one, and what they bind together."""

    links: tuple[_Link, ...]
    binding: Binding | None


def _groups(links: Sequence[_Link]) -> list[_Group]:
    found: list[_Group] = []
    for link in links:
        last = found[-1] if found else None
        together = None
        if last is not None and last.binding is not None and link.binding is not None:
            stands = last.binding.before or last.links[0].change.before
            index = GraphIndex(stands.proto.graph)
            together = composed(last.binding, link.binding, index)
        if last is not None and together is not None:
            found[-1] = _Group((*last.links, link), together)
        else:
            found.append(_Group((link,), link.binding))
    return found


def _other_versions(model: Model) -> str:
    """The versions that a file was made with, where they are not those that are here; "" where they are."""
    text = next((entry.value for entry in model.proto.metadata_props if entry.key == HISTORY_KEY), None)
    said = json.loads(text).get("made_with") if text else None
    if not isinstance(said, dict) or said == versions_written():
        return ""
    return ", ".join(f"{name} {version}" for name, version in sorted(said.items()))
