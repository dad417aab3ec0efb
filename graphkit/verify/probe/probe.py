"""Which input shapes a model accepts: tried in the runtime, and its refusal decoded to an axis and a remedy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from graphkit.errors import FeedError, NameNotFoundError, SessionError
from graphkit.feeds.feeds import RANDOM, exact_factors
from graphkit.feeds.random import RandomFeeds
from graphkit.graph.index import GraphIndex
from graphkit.graph.misnamed import node_hint
from graphkit.model import Model, ModelLike
from graphkit.reading.values import value_for
from graphkit.runtime.custom_ops import Libraries, custom_operators
from graphkit.runtime.refusals import failed_node, refused_axes
from graphkit.runtime.session import Session, session
from graphkit.storage.load import as_model
from graphkit.verify.probe.remedy import Remedy

if TYPE_CHECKING:
    from graphkit.tensor import Array
from graphkit.verify.probe.attempt import Attempt, Blame, Shapes


class Given(NamedTuple):
    """What the inputs are fed whose shapes are not tried.

    Attributes:
        feeds: Input -> array.
        seed: Of the random values of the others.
    """

    feeds: dict[str, Array]
    seed: int


def probe(
    model: ModelLike,
    shapes: Iterable[Shapes],
    *,
    feeds: Mapping[str, Any] | None = None,
    seed: int = 0,
    custom_ops: Libraries = (),
) -> tuple[Attempt, ...]:
    """Try input shapes on a model.

    Inputs that are not named are fed with random values of their declared shape.

    Args:
        model: A path, a ModelProto or a Model.
        shapes: One mapping for each attempt.
        feeds: Input -> value, as ``run`` takes it, for inputs whose numbers matter: a scale, a count, an index. None has a
            shape to be tried too.
        seed: For the random values.
        custom_ops: Shared libraries of custom operators, as ``session`` takes them.

    Returns:
        One attempt for each mapping. Where a node inside of the model failed and another attempt was accepted, each
        axis in which the two differ is tried alone, and ``blame`` holds those that fail.

    Raises:
        NameNotFoundError: A shape or a feed for an input that the model does not have.
        ValueError: An input is given a shape and a feed.
        SessionError: The runtime refuses the model itself, or a library.
        FeedError: A feed does not fit its input, or one that is not named has no shape that could be drawn.
        MissingExtraError: onnxruntime is not installed.

    Changes: nothing.
    Cost: one session, one run for each attempt and for each axis that is tried alone; for each attempt that is refused up
        to twenty sessions more, until a remedy is found.

    Example:
        >>> import graphkit as gk
        >>> [attempt.accepted for attempt in gk.probe("model.onnx", [{"ids": [2]}, {"ids": [3]}])]
        [True, False]
    """
    with custom_operators(custom_ops):
        return _tried(as_model(model), shapes, feeds or {}, seed)


def _tried(source: Model, shapes: Iterable[Shapes], feeds: Mapping[str, Any], seed: int) -> tuple[Attempt, ...]:
    loaded = session(source, device="cpu")
    wanted = [{name: tuple(shape) for name, shape in one.items()} for one in shapes]
    for name in (name for one in (*wanted, feeds) for name in one):
        if name not in loaded.inputs:
            raise NameNotFoundError("input", name, loaded.inputs, hint=node_hint(source.proto.graph, name))
    both = sorted(feeds.keys() & {name for one in wanted for name in one})
    if both:
        raise ValueError(f"input {both[0]!r} is given a shape to be tried and a feed; give one of them")
    named = {name: value for name, value in feeds.items() if not (isinstance(value, str) and value == RANDOM)}
    read = {name: value_for(loaded.inputs[name], value) for name, value in named.items()}
    given = Given({**read, **exact_factors(source, loaded.inputs, named, read)}, seed)
    attempts = [_attempt(source, loaded, one, given) for one in wanted]
    base = next((attempt.shapes for attempt in attempts if attempt.accepted), None)
    return tuple(
        attempt if attempt.accepted else _explained(source, loaded, attempt, base, given) for attempt in attempts
    )


def _explained(
    model: Model, loaded: Session, attempt: Attempt, base: Mapping[str, tuple[int, ...]] | None, given: Given
) -> Attempt:
    """The same attempt, with the node as the file names it, the axes to blame, and what mends it."""

    def tried(other: Model, shapes: Mapping[str, tuple[int, ...]]) -> Attempt:
        try:
            plain = session(other, device="cpu", optimize=False)
        except SessionError as error:
            return Attempt(dict(shapes), accepted=False, outputs={}, problem=error.message)
        return _attempt(other, plain, dict(shapes), given)

    if attempt.node is not None and attempt.node not in GraphIndex(model.proto.graph).nodes_by_name:
        again = tried(model, attempt.shapes)  # fusing gives nodes other names
        attempt = again if again.node is not None else attempt
    if attempt.node is not None and base is not None:
        attempt = _narrowed(model, loaded, attempt, base, given)
    return replace(attempt, remedy=Remedy(model, attempt.shapes, base, tried).find(attempt))


def _attempt(model: Model, loaded: Session, shapes: dict[str, tuple[int, ...]], given: Given) -> Attempt:
    try:
        answer = loaded.run_arrays(_feeds(model, loaded, shapes, given))
    except FeedError as error:
        return Attempt(shapes, accepted=False, outputs={}, blame=_refused(error.message), problem=error.message)
    except SessionError as error:
        return Attempt(shapes, accepted=False, outputs={}, node=_failed_node(error.message), problem=error.message)
    outputs = {name: tuple(np.shape(value)) for name, value in answer.items()}
    return Attempt(shapes, accepted=True, outputs=outputs)


def _feeds(model: Model, loaded: Session, shapes: Mapping[str, tuple[int, ...]], given: Given) -> dict[str, Array]:
    """What was given; else random arrays, and those of a wanted shape repeat the numbers of one of the declared shape."""
    bind: dict[str, int] = {}
    for name, shape in (*shapes.items(), *((name, array.shape) for name, array in given.feeds.items())):
        for dim, size in zip(loaded.inputs[name].dims or (), shape, strict=False):
            if isinstance(dim, str):
                bind.setdefault(dim, size)
    drawn = RandomFeeds(model, seed=given.seed, bind=bind).draw_all(0)
    sized = {name: np.resize(array, shapes[name]) if name in shapes else array for name, array in drawn.items()}
    return {**sized, **given.feeds}


def _refused(text: str) -> tuple[Blame, ...]:
    """The axes that ONNX Runtime names in its refusal of a feed."""
    return tuple(Blame(*one) for one in refused_axes(text))


def _failed_node(text: str) -> str | None:
    found = failed_node(text)
    return (found[1] or found[0]) if found else None


def _narrowed(
    model: Model, loaded: Session, attempt: Attempt, base: Mapping[str, tuple[int, ...]], given: Given
) -> Attempt:
    """The same attempt, with the axes that fail when they alone differ from an accepted attempt."""
    blame = []
    for name, shape in attempt.shapes.items():
        accepted = base.get(name, ())
        if len(accepted) != len(shape):
            continue
        for axis, size in enumerate(shape):
            alone = (*accepted[:axis], size, *accepted[axis + 1 :])
            if alone != accepted and not _attempt(model, loaded, {**base, name: alone}, given).accepted:
                blame.append(Blame(name, axis, size, None))
    return replace(attempt, blame=tuple(blame))
