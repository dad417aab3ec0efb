"""Feeds: from files, numbers and "random" to arrays of the declared dtype and shape, checked before the runtime sees them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from graphkit.errors import FeedError, NameNotFoundError
from graphkit.graph.misnamed import node_hint
from graphkit.graph.ports import Port
from graphkit.hint import Argument, Blank, Hint
from graphkit.model import Model
from graphkit.reading.literal import literal
from graphkit.reading.values import value_for
from graphkit.shapes.exact_scales import drives_resize, exact_factor

if TYPE_CHECKING:
    from graphkit.tensor import Array

RANDOM = "random"
"""The text that asks for a random feed."""


def complete(
    model: Model,
    ports: Mapping[str, Port],
    feeds: Mapping[str, Any],
    *,
    seed: int = 0,
    bind: Mapping[str, int] | None = None,
) -> dict[str, Array]:
    """Arrays for a run, out of what the caller gave.

    A value is an array (its dtype must be the declared one), a torch tensor, a number or nested list (takes the
    declared dtype; a single number fills the declared shape), or a text: ``@photo.png``, ``@x.npy``, ``@x.npz`` (the
    member named like the input, or the only one), ``random``, or a number or list as text such as ``2,3``.

    Args:
        model: Where "random" looks for sensible ranges.
        ports: The inputs.
        feeds: Input name -> value.
        seed: For "random".
        bind: Symbolic dim or ``INPUT:AXIS`` -> size, for "random".

    Raises:
        FeedError: A required input has no feed; a file cannot be read; a dtype or shape does not fit; ``bind`` names no
            open dim, or another size than a feed has.
        NameNotFoundError: A feed for an input that the model does not have.

    Cost: O(bytes of the feeds); the graph is walked only where something is random.
    """
    for name in feeds:
        if name not in ports:
            raise NameNotFoundError("input", name, ports, hint=node_hint(model.proto.graph, name))
    missing = [port for port in ports.values() if port.required and port.name not in feeds]
    if missing:
        wanted = ", ".join(f"{port.name!r} ({port.text})" for port in missing)
        raise FeedError(
            f"no feed for {wanted}",
            name=missing[0].name,
            hint=Hint(
                "give it a number, a list, @FILE or random: ", Argument("feeds", {missing[0].name: Blank("VALUE")})
            ),
        )
    arrays: dict[str, Array] = {}
    symbols: dict[str, int] = {}
    waiting: list[str] = []
    for name, value in feeds.items():
        if isinstance(value, str) and value == RANDOM:
            waiting.append(name)
            continue
        arrays[name] = value_for(ports[name], value)
        _learn(symbols, ports[name], arrays[name])
    if waiting or bind:
        from graphkit.feeds.random import RandomFeeds

        source = RandomFeeds(model, seed=seed, bind=symbols)
        if bind:
            _require_agreement(symbols, bind)
            source = source.bound({**symbols, **bind})
        arrays.update({name: source.draw(name, 0) for name in waiting})
    arrays.update(exact_factors(model, ports, feeds, arrays))
    return {name: arrays[name] for name in ports if name in arrays}


def _require_agreement(symbols: Mapping[str, int], bind: Mapping[str, int]) -> None:
    for dim, size in bind.items():
        if symbols.get(dim, size) != size:
            raise FeedError(f"the dim {dim!r} is {symbols[dim]} in what is fed, and cannot be {size}", name=dim)


def exact_factors(
    model: Model, ports: Mapping[str, Port], feeds: Mapping[str, Any], arrays: Mapping[str, Array]
) -> dict[str, Array]:
    """Factors of Resize nodes that were given as numbers, as the float32 with which the runtime makes torch's sizes.

    Arrays are fed as they are: who gives one has chosen its bits.
    """
    names = [
        name
        for name, value in feeds.items()
        if isinstance(value, (str, int, float, list, tuple))
        and ports[name].data_type == onnx.TensorProto.FLOAT
        and arrays[name].ndim == 1
        and drives_resize(model.proto, name)
    ]
    shapes = {name: array.shape for name, array in arrays.items()}
    found = {}
    for name in names:
        value = feeds[name]
        numbers = literal(value) if isinstance(value, str) and not value.startswith(("@", RANDOM)) else value
        if not isinstance(numbers, str):
            exact = np.asarray(exact_factor(model.proto, name, numbers, shapes))
            wide = exact.size > arrays[name].size
            found[name] = exact if wide else np.broadcast_to(exact, arrays[name].shape).copy()
    return found


def _learn(symbols: dict[str, int], port: Port, array: Array) -> None:
    for dim, size in zip(port.dims or (), np.shape(array), strict=False):
        if isinstance(dim, str):
            symbols.setdefault(dim, size)
