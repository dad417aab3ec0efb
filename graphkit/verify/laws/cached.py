"""cached: N steps that hand a cache on, each the next piece of a sequence, equal one run of length N."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphkit.errors import FeedError, GraphkitError, NameNotFoundError
from graphkit.feeds.random import EMPTYING, RandomFeeds
from graphkit.graph.misnamed import node_hint
from graphkit.graph.ports import Port, input_ports, output_ports
from graphkit.model import Model
from graphkit.reading.values import value_for
from graphkit.verify.compare.metrics import Metrics, badness, measure
from graphkit.verify.laws.agreement import Near, why_not
from graphkit.verify.laws.binding import Broken, Closeness, Unproved
from graphkit.verify.laws.judge import Asked
from graphkit.verify.laws.proof import Held, Verdict
from graphkit.verify.laws.side import Side, load

STEPS = 4
"""How many steps the cache is handed on."""

RUNS = 3
"""Sequences that are tried where nobody says how many."""


def held_cached(edited: Model, original: Model, state: Mapping[str, str], asked: Asked) -> Held:
    """Run a model step by step and once on the whole sequence; the original likewise, where the edited one does not agree.

    Args:
        edited: The edited model.
        original: The model before, whose inputs and outputs may have other names.
        state: Output that is handed on -> the input that takes it.
        asked: How many sequences, and what to feed them.

    Raises:
        NameNotFoundError: ``state`` names no output or input.
    """
    ports, outputs = input_ports(edited.proto), output_ports(edited.proto)
    for out, into in state.items():
        if out not in outputs:
            raise NameNotFoundError("output", out, outputs, hint=node_hint(edited.proto.graph, out))
        if into not in ports:
            raise NameNotFoundError("input", into, ports, hint=node_hint(edited.proto.graph, into))
    worst: dict[str, Metrics] = {}
    verdict: Verdict = "proved"
    why, sizes = "", list[str]()
    try:
        sequence = _Sequence.of(ports, outputs, state)
        sizes = _compare(edited, sequence, state, asked, worst)
    except Unproved as error:
        verdict, why = "unproved", str(error)
    except Broken as error:
        verdict, why = _blamed(original, state, asked, str(error))
    first = next((name for name, metrics in worst.items() if not metrics.match), None)
    said = (f"{STEPS} steps that hand on {', '.join(map(repr, state))} equal one run",) if verdict == "proved" else ()
    tried = tuple(dict.fromkeys(sizes))
    return Held(verdict, ("all steps",), "cached", why, first, len(sizes), tried, said, worst, "onnxruntime")


def _blamed(original: Model, state: Mapping[str, str], asked: Asked, why: str) -> tuple[Verdict, str]:
    """What it means that the steps are no run: nothing of the edit where those of the original are none either."""
    ports, outputs = input_ports(original.proto), output_ports(original.proto)
    if not all(out in outputs and into in ports for out, into in state.items()):
        return "broken", why
    feeds = {name: value for name, value in asked.feeds.items() if name in ports}
    try:
        sequence = _Sequence.of(ports, outputs, state)
        _compare(original, sequence, state, Asked(asked.samples, asked.seed, feeds), {})
    except Broken as error:
        return "unproved", f"steps of the original are no run either, on these feeds: {error}"
    except Unproved:
        pass
    return "broken", why


@dataclass(frozen=True)
class _Sequence:
    """Which axes are the sequence, and which grow with it.

    Attributes:
        symbol: The sequence's symbol.
        axes: Input -> the axis that is the sequence.
        growing: Input -> the axis that is as long as cache and sequence together, such as a mask's.
        made: Output -> the axis that is the sequence.
        past: The symbol of the cache's length; None where it has one size.
    """

    symbol: str
    axes: Mapping[str, int]
    growing: Mapping[str, int]
    made: Mapping[str, int]
    past: str | None

    @classmethod
    def of(cls, ports: Mapping[str, Port], outputs: Mapping[str, Port], state: Mapping[str, str]) -> _Sequence:
        """Find them by the symbols of the inputs and outputs.

        Raises:
            Unproved: No input has a free axis that an output has too and no cache, or several have.
        """
        taken = {dim for into in state.values() for dim in ports[into].dims or ()}
        own = {name: port.dims or () for name, port in ports.items() if name not in state.values() and port.required}
        results = {name: port.dims or () for name, port in outputs.items() if name not in state}
        inner = {dim for dims in own.values() for dim in dims if isinstance(dim, str) and dim not in taken}
        found = sorted(dim for dim in inner if any(dim in dims for dims in results.values())) or sorted(
            dim for dim in inner if dim.isidentifier()
        )
        if len(found) != 1:
            said = f"{', '.join(found)} may be the sequence" if found else "no input has a free axis for a sequence"
            raise Unproved(f"{said}, so that one run of {STEPS} steps cannot be made")
        symbol = found[0]
        grown = {dim for out in state for dim in outputs[out].dims or () if isinstance(dim, str) and dim not in taken}
        past = [
            a
            for out, into in state.items()
            for a, b in zip(ports[into].dims or (), outputs[out].dims or (), strict=False)
            if a != b and isinstance(a, str)
        ]
        grown |= {dim for dim in inner if dim != symbol and symbol in re.findall(r"\w+", dim)}
        return cls(
            symbol,
            {name: dims.index(symbol) for name, dims in own.items() if symbol in dims},
            {name: at for name, dims in own.items() for at, dim in enumerate(dims) if dim in grown and dim != symbol},
            {name: dims.index(symbol) for name, dims in results.items() if symbol in dims},
            past[0] if past else None,
        )


def _compare(
    model: Model, sequence: _Sequence, state: Mapping[str, str], asked: Asked, worst: dict[str, Metrics]
) -> list[str]:
    """Compare steps with one run, on several sequences; the sizes of what was fed. Fills ``worst``.

    Raises:
        Broken: They differ.
        Unproved: The model does not run so.
    """
    names = list(output_ports(model.proto))
    try:
        side = load(model, names, ())
    except GraphkitError as error:
        raise Unproved(f"the model cannot be run: {error}") from error
    sizes = []
    for number in range(asked.samples or RUNS):
        feeds = _feeds(model, sequence, asked, number)
        try:
            whole = side.run(feeds).values
            stepwise = _steps(side, sequence, state, feeds)
        except GraphkitError as error:
            raise Unproved(f"it does not run step by step: {error}") from error
        sizes.append(", ".join(f"{name}={'x'.join(map(str, np.shape(value)))}" for name, value in feeds.items()))
        for name in names:
            metrics = measure(stepwise[name], whole[name], Near(Closeness("float32")), equal_nan=True)
            if name not in worst or badness(metrics) > badness(worst[name]):
                worst[name] = metrics
            if not metrics.match:
                raise Broken(f"output {name!r} of {STEPS} steps is not that of one run: {why_not(metrics)}")
    return sizes


def _feeds(model: Model, sequence: _Sequence, asked: Asked, number: int) -> dict[str, Any]:
    ports = input_ports(model.proto)
    given = {name: value_for(ports[name], value) for name, value in asked.feeds.items() if name in ports}
    try:
        random = RandomFeeds(model, seed=asked.seed).bound({sequence.symbol: STEPS})
        known = random.sizes.get(sequence.past or "", 0)
        for name in ports:
            if sequence.past in (ports[name].dims or ()):
                known = random.shape(name)[(ports[name].dims or ()).index(sequence.past)]
        totals = {str((ports[name].dims or ())[at]): known + STEPS for name, at in sequence.growing.items()}
        random = random.bound({sequence.symbol: STEPS, **{s: n for s, n in totals.items() if s.isidentifier()}})
        return {
            **random.draw_all(EMPTYING * number, given),
            **given,
        }  # a row of which nothing is kept is as wide as its run
    except FeedError as error:
        raise Unproved(f"no feed can be made: {error}") from error


def _steps(side: Side, sequence: _Sequence, state: Mapping[str, str], feeds: Mapping[str, Any]) -> dict[str, Any]:
    """What steps make: pieces of the sequence put together, else what the last one makes."""
    handed = {into: feeds[into] for into in state.values() if into in feeds}
    pieces: dict[str, list[Any]] = {}
    made: Mapping[str, Any] = {}
    for step in range(STEPS):
        now = dict(feeds) | handed
        for name, axis in sequence.axes.items():
            now[name] = np.take(feeds[name], [step], axis)
        for name, axis in sequence.growing.items():
            short = np.shape(feeds[name])[axis] - STEPS + step + 1
            now[name] = np.take(feeds[name], range(short), axis)
        made = side.run(now).values
        for name in sequence.made:
            pieces.setdefault(name, []).append(made[name])
        handed = {into: made[out] for out, into in state.items()}
    return {**made, **{name: np.concatenate(parts, sequence.made[name]) for name, parts in pieces.items()}}
