"""prove: is an edited model what its history says, and do the laws of its steps hold?"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from graphkit.errors import GraphkitError, NameNotFoundError
from graphkit.graph.misnamed import first_node_hint
from graphkit.graph.ports import input_ports
from graphkit.hint import Call, Hint
from graphkit.model import Model, ModelLike
from graphkit.progress import Progress
from graphkit.reading.values import value_for
from graphkit.runtime.custom_ops import Libraries, custom_operators
from graphkit.storage.load import as_model
from graphkit.surgery.split import Split
from graphkit.verify.laws.cached import held_cached
from graphkit.verify.laws.copied import copied, difference
from graphkit.verify.laws.joined import Merged, held_chained
from graphkit.verify.laws.judge import Asked
from graphkit.verify.laws.originals import has_its_history, is_one, opened, original_of, tell_apart
from graphkit.verify.laws.proof import Proof, Replayed, Verdict, loosest, worst
from graphkit.verify.laws.steps import Steps
from graphkit.verify.validate import versions


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

    A model that has no history, or the same as the original, is proved where it is a copy: the same graph and weights,
    in whatever form or place.

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
        progress: Called after every step that was replayed, and before each that is asked whether its law holds.

    Returns:
        The proof; ``bool(proof)`` is whether everything was proved. What could not be asked is "unproved", never "proved".

    Raises:
        SessionError: A library cannot be loaded.
        GraphkitError: The model has no history and is no copy, the original is not found, or what was given is another model.
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
    """The proof of one model: of the steps of its history, or that it is a copy."""
    given = opened(original, last) if original is not None and is_one(original) else None
    if not last.history or (given is not None and has_its_history(last, given)):
        return _copied(last, given, asked, replay=replay, state=state)
    first = original_of(last, original if given is None else given)
    _check_feeds(asked.feeds, last, *(first.parts.values() if isinstance(first, Merged) else [first]))
    chain = Steps(last, first, progress)
    answer = chain.replay_question() if replay else None
    if answer is not None and not answer and isinstance(first, Model):
        tell_apart(last, first)
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


def _copied(
    last: Model,
    first: Model | None,
    asked: Asked,
    *,
    replay: bool,
    state: Mapping[str, str],
) -> Proof:
    """The proof of a model whose history says nothing: it is a copy of the other."""
    unknown = "the model has no history, so nobody knows what was done to it"
    by_hand = Hint(
        "compare it with its original by hand: ",
        Call("validate", (), ("edited, original", "EDITED --against ORIGINAL")),
    )
    if first is None:
        raise GraphkitError(unknown, hint=by_hand)
    if not last.history and (why := difference(last, first)) is not None:
        raise GraphkitError(f"{unknown}; and it is no copy: {why}", hint=by_hand)
    _check_feeds(asked.feeds, last, first)
    proof = copied(last, first, asked, replay=replay)
    if not state:
        return proof
    held = held_cached(last, first, state, asked)
    return replace(proof, verdict=worst([proof.verdict, held.verdict]), laws=(*proof.laws, held))


def _split(
    parts: Split,
    original: ModelLike | Mapping[str, ModelLike] | Sequence[ModelLike] | None,
    asked: Asked,
) -> Proof:
    """The proof of a split: the stages in a chain against the whole."""
    if original is None or not is_one(original):
        raise TypeError("what split gave is proved against the model that was split")
    whole = as_model(original)
    _check_feeds(asked.feeds, whole)
    held = held_chained(parts, whole, asked)
    said = f"{len(parts.stages)} stages"
    name = whole.path or whole.proto.graph.name
    return Proof(held.verdict, said, name, ("split",), None, (held,), loosest([held]), asked.seed, (), versions())


def _check_feeds(feeds: Mapping[str, Any], *models: Model) -> None:
    """Refuse a feed that fits no input, before anything runs."""
    ports = ChainMap(*(input_ports(model.proto) for model in models))
    for name, value in feeds.items():
        if name not in ports:
            hint = first_node_hint((model.proto.graph for model in models), name)
            raise NameNotFoundError("input", name, [n for model in models for n in input_ports(model.proto)], hint=hint)
        value_for(ports[name], value)
