"""prove: is an edited model what its history says, and do the laws of its steps hold?"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from graphkit.errors import GraphkitError, NameNotFoundError
from graphkit.graph import walk
from graphkit.graph.index import GraphIndex
from graphkit.graph.misnamed import first_node_hint
from graphkit.graph.ports import input_ports
from graphkit.hint import Call, Hint
from graphkit.model import Model, ModelLike
from graphkit.operation import operation_of, replayed, restores
from graphkit.progress import Progress
from graphkit.runtime.custom_ops import Libraries, custom_operators
from graphkit.step import HISTORY_KEY, Original
from graphkit.storage.load import as_model, load
from graphkit.storage.save import versions_written
from graphkit.surgery.split import Split
from graphkit.tensor import is_stripped
from graphkit.verify.laws.binding import Binding, Broken, Change, Unproved
from graphkit.verify.laws.cached import held_cached
from graphkit.verify.laws.compose import composed
from graphkit.verify.laws.joined import Merged, begins_with_merge, held_chained, merged_again
from graphkit.verify.laws.judge import Asked, ask
from graphkit.verify.laws.proof import Held, Proof, Replayed, Verdict, loosest, worst
from graphkit.verify.laws.refilled import all_refilled, lacks_weights
from graphkit.verify.laws.same_bytes import first_byte_difference, other_weights, same_skeletons
from graphkit.verify.laws.table import binding_of
from graphkit.verify.validate import versions

REFILLED = "run with the original's weights in the places of those that were taken out"

NAMED = Hint("name it: ", Call("prove", (), ("edited, original", "EDITED ORIGINAL")))


def prove(
    edited: ModelLike | Split,
    original: ModelLike | Mapping[str, ModelLike] | Sequence[ModelLike] | None = None,
    *,
    feeds: Mapping[str, Any] | None = None,
    samples: int | None = None,
    seed: int = 0,
    replay: bool = True,
    state: Mapping[str, str] | None = None,
    custom_ops: Libraries = (),
    progress: Progress | None = None,
) -> Proof:
    """Prove an edited model against the one that its history begins with.

    Two questions are asked. Does the history, replayed on the original, give this model, its skeleton and its weights? And
    do the laws of its steps hold: what a model computes after a step is bound to what it computed before, both are run on
    the same feeds, and every output and every declared shape is compared. Nothing is taken on trust but names.

    Steps that follow one another are proved as one, the last model against the first, where their bindings compose; else, and
    to find the step that breaks a law, one by one, against models that are replayed.

    Args:
        edited: A path, a ModelProto or a Model, with a history; or what ``split`` gave, with the whole as ``original``.
        original: The model that the history begins with, or one on the way. None: the file beside ``edited`` that the
            history names. Where the history begins with ``merge``: also the models that were merged, by name or in any
            order; None: the merged file, or the files of the models' names, beside ``edited``.
        feeds: Input of ``edited`` (or of the original, where only that has it) -> what to feed, as ``graphkit.run`` takes
            it. Everything else is random.
        samples: Runs at the usual sizes; those at other sizes come on top. None: 5, up to 20 where they
            cost nothing, or fewer where a run is slow.
        seed: Where the random numbers start.
        replay: Ask the first question too.
        state: Output -> input of ``edited`` that a caller feeds it to in the next step, as with a decoder's cache: N steps
            that hand these on have to equal one run of length N. Inputs grow with the cache where their dims say so.
        custom_ops: Shared libraries of custom operators for both models, as ``session`` takes them.
        progress: Called after every step.

    Returns:
        The proof; ``bool(proof)`` is whether everything was proved. What could not be asked is "unproved", never "proved".

    Raises:
        SessionError: A library cannot be loaded.
        GraphkitError: The model has no history, the original is not found, or what was given is another model.
        FormatError: The history is damaged.
        FeedError: A feed fits no input.
        NameNotFoundError: ``feeds`` names no input, or ``state`` no output or input.
        ValueError: ``samples`` below 1.
        TypeError: ``state`` for what ``split`` made, or no whole for it.

    Changes: nothing.
    Scope: the main graph's inputs, outputs and declared shapes; bodies and functions run in it.
    Cost: the steps; one runtime session a model and proof, one after the other, and their runs. Weights are compared in
        pieces of 16 MiB.

    Example:
        >>> import graphkit as gk
        >>> saved = gk.rename("model.onnx", values={"image": "picture"}).save("renamed.onnx")
        >>> gk.prove("renamed.onnx", "model.onnx").verdict
        'proved'
    """
    if samples is not None and samples < 1:
        raise ValueError("samples must be at least 1")
    asked = Asked(samples, seed, dict(feeds or {}))
    with custom_operators(custom_ops):
        if isinstance(edited, Split):
            if state:
                raise TypeError("state goes with one model that was edited")
            return _split(edited, original, asked)
        return _proved(as_model(edited), original, asked, progress, replay=replay, state=state or {})


def _proved(
    last: Model,
    original: ModelLike | Mapping[str, ModelLike] | Sequence[ModelLike] | None,
    asked: Asked,
    progress: Progress | None,
    *,
    replay: bool,
    state: Mapping[str, str],
) -> Proof:
    """The proof of one model with a history."""
    if not last.history:
        raise GraphkitError(
            "the model has no history, so nobody knows what was done to it",
            hint=Hint(
                "compare it with its original by hand: ",
                Call("validate", (), ("edited, original", "EDITED --against ORIGINAL")),
            ),
        )
    first = _first(last, original)
    _check_feeds(asked.feeds, last, *(first.parts.values() if isinstance(first, Merged) else [first]))
    chain = _Chain(last, first, progress)
    answer = chain.replay_question() if replay else None
    if answer is not None and not answer and isinstance(first, Model):
        _tell_apart(last, first)
    laws = chain.laws(asked)
    if chain.restored and (why := chain.other_donor()):
        answer = Replayed("unproved", why) if answer is not None and not answer else answer
        laws = [
            replace(law, verdict="unproved", why=f"{why}; {law.why}") if law.verdict == "broken" else law
            for law in laws
        ]
    if state:
        laws.append(held_cached(last, chain.start, state, asked))
    verdicts: list[Verdict] = [*([answer.verdict] if answer is not None else []), *(law.verdict for law in laws)]
    return Proof(
        worst(verdicts),
        last.path or last.proto.graph.name,
        ", ".join(first.parts) if isinstance(first, Merged) else first.path or first.proto.graph.name,
        chain.steps,
        answer,
        tuple(laws),
        loosest(laws),
        asked.seed,
        tuple(chain.notes),
        versions(),
    )


def _split(
    parts: Split,
    original: ModelLike | Mapping[str, ModelLike] | Sequence[ModelLike] | None,
    asked: Asked,
) -> Proof:
    """The proof of a split: the stages in a chain against the whole."""
    if original is None or (isinstance(original, Mapping | Sequence) and not isinstance(original, str)):
        raise TypeError("what split gave is proved against the model that was split")
    whole = as_model(original)
    _check_feeds(asked.feeds, whole)
    held = held_chained(parts, whole, asked)
    said = f"{len(parts.stages)} stages"
    name = whole.path or whole.proto.graph.name
    return Proof(held.verdict, said, name, ("split",), None, (held,), loosest([held]), asked.seed, (), versions())


def _first(last: Model, original: ModelLike | Mapping[str, ModelLike] | Sequence[ModelLike] | None) -> Model | Merged:
    """The model that a proof begins with, or the merge of several that it does again."""
    merges = begins_with_merge(last)
    if original is None:
        return merged_again(last, None) if merges and _place(last) is None else _found(last)
    if isinstance(original, Mapping) or (isinstance(original, Sequence) and not isinstance(original, str)):
        if merges:
            return merged_again(last, original)
        raise GraphkitError("several models were given, and the history does not begin with a merge", hint=NAMED)
    given = _opened(original, last)
    if lacks_weights(given) and (whole := _with_weights(given)) is not None:
        return whole
    if merges and not (given.history and _begins(last, given)):
        return merged_again(last, [given])
    return given


def _with_weights(given: Model) -> Model | None:
    """The model that the history of one without weights begins with, where it lies beside that."""
    path = _place(given) if given.history else None
    whole = load(path, strict=False) if path is not None else None
    if whole is None or whole.identity is None or given.original is None:
        return None
    return whole if whole.identity.digest == given.original.digest and not lacks_weights(whole) else None


def _begins(last: Model, given: Model) -> bool:
    """Whether a model's history is where another's begins."""
    return [step[:2] for step in given.history] == [step[:2] for step in last.history[: len(given.history)]]


def _place(edited: Model) -> str | None:
    """The file beside the edited one that its history names, where there is one."""
    said = edited.original
    if said is None or said.file is None or edited.path is None:
        return None
    path = os.path.join(os.path.dirname(edited.path), said.file)
    return path if os.path.exists(path) and os.path.realpath(path) != os.path.realpath(edited.path) else None


def _found(edited: Model) -> Model:
    """That file, opened."""
    if (path := _place(edited)) is not None:
        return _opened(path, edited)
    file = edited.original.file if edited.original is not None else None
    if file is None or edited.path is None:
        raise GraphkitError("the history does not say in which file the model was that it begins with", hint=NAMED)
    raise GraphkitError(f"the original {file!r} is not beside {edited.path}", hint=NAMED)


def _opened(original: ModelLike, edited: Model) -> Model:
    """The original; with what is wrong in its file where it is the one that was edited, which may have repaired it."""
    try:
        return as_model(original)
    except GraphkitError:
        if not isinstance(original, str | os.PathLike) or edited.original is None:
            raise
        opened = load(original, strict=False)
        if opened.identity is None or opened.identity.digest != edited.original.digest:
            raise
        return opened


def _check_feeds(feeds: Mapping[str, Any], *models: Model) -> None:
    known = [name for model in models for name in input_ports(model.proto)]
    for name in feeds:
        if name not in known:
            raise NameNotFoundError(
                "input", name, known, hint=first_node_hint((model.proto.graph for model in models), name)
            )


def _tell_apart(edited: Model, given: Model) -> None:
    """Refuse an original that is another model than the one that the history begins with."""
    said = edited.original
    if said is None or given.history:
        return
    if said.digest in {one.digest for one in (given.identity, Original.of(given.proto)) if one is not None}:
        return
    named = f" ({said.file!r})" if said.file else ""
    raise GraphkitError(
        f"{given.path or given.proto.graph.name} is not the model that the history begins with{named}: its digest is another",
        hint="name the file that was edited",
    )


@dataclass(frozen=True)
class _Link:
    """One step of the chain: its change, its binding or why there is none, and whether the model after got weights back."""

    change: Change
    law: str
    binding: Binding | None
    why: tuple[Verdict, str] | None = None
    refilled: bool = False


class _Chain:
    """The steps between two models, replayed."""

    def __init__(self, last: Model, first: Model | Merged, progress: Progress | None) -> None:
        self._last = last
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
        held = []
        for group in _groups(links):
            held += self._ask(group, asked)
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
        extra = [self._alone(link, asked) for link in links if link.binding is not None and link.binding.others]
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
