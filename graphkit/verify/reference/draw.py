"""The feeds of one run: given ones, those that the reference proposes, random ones for the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.errors import FeedError
from graphkit.feeds.random import RandomFeeds
from graphkit.reading.values import value_for
from graphkit.shapes.exact_scales import Factors, agreeing_factors, drives_resize
from graphkit.verify.reference.binding import Attribute

if TYPE_CHECKING:
    from graphkit.graph.ports import Port
    from graphkit.verify.reference.binding import Binding, Ported
    from graphkit.verify.reference.runner import Runner


def draw_feeds(
    own: Ported,
    reference: Runner,
    random: RandomFeeds,
    given: Mapping[str, Any],
    sample: int,
    *,
    bound: Iterable[str],
) -> dict[str, Any]:
    """The feeds of one run: given ones, those that the reference proposes, random ones for the rest.

    Args:
        own: The candidate.
        reference: The reference; its inputs that the candidate has not may be given too.
        random: Where random feeds come from; it learns the sizes of what is given.
        given: Input -> what to feed, "random" included.
        sample: The number of the sample.
        bound: Symbols whose sizes are fixed.

    Raises:
        FeedError: What is given does not fit.
        NameNotFoundError: Neither side has an input that is given.
    """
    drawn: dict[str, Any] = {}
    for name, value in given.items():
        if is_random(value):
            continue
        port = own.inputs.get(name) or reference.own_port(name)
        drawn[name] = value_for(port, value)
        random.learn(port, drawn[name].shape, bound)
    proposed = reference.example(sample)
    for name in reference.binding.drawn:
        port = own.inputs[name]
        if name in drawn or not port.required:
            continue
        array = _as_proposed(port, proposed[name]) if name in proposed else None
        if array is not None and random.agrees(name, array.shape):
            drawn[name] = array
        else:
            drawn[name] = random.draw(name, sample)
    return drawn


def _as_proposed(port: Port, value: Any) -> Any:
    """The reference's own example as a feed, or None where it does not fit the input."""
    try:
        return value_for(port, value)
    except FeedError:
        return None


def is_random(value: Any) -> bool:
    """Whether a feed asks for random numbers."""
    return isinstance(value, str) and value == "random"


def factors_for_attributes(own: Ported, binding: Binding, feeds: Mapping[str, Any]) -> dict[str, Factors]:
    """Factors that stand for a number that the module holds: what each side is fed so that both resize alike."""
    given = {name: feeds[name].ravel() for name in binding.of(Attribute) if isinstance(feeds.get(name), np.ndarray)}
    shapes = {name: np.shape(value) for name, value in feeds.items()}
    found = {}
    for name, array in given.items():
        if array.dtype == np.float32 and array.size and drives_resize(own.model.proto, name):
            meant = [float(str(number)) for number in array]
            found[name] = agreeing_factors(own.model.proto, name, meant, shapes)
    return found


def factor_notes(factors: Mapping[str, Factors], feeds: Mapping[str, Any]) -> list[str]:
    """Says which factors are not the ones that were given, because no float32 makes of them what torch makes."""
    whole = [
        f"{name!r}: the model gets {' and '.join(f'{number:g}' for number in found.fed)} for {' and '.join(str(number) for number in feeds[name].ravel())}: "
        "torch copies or doubles whole rows where the size stays or doubles"
        for name, found in factors.items()
        if found.copies
    ]
    return whole + [
        f"{name!r}: both sides get {' and '.join(str(number) for number in found.fed.tolist())}, for no float32 makes "
        f"torch's sizes and pixels of {' and '.join(str(number) for number in feeds[name].ravel())}"
        for name, found in factors.items()
        if any(float(str(number)) not in found.meant for number in feeds[name].ravel())
    ]
