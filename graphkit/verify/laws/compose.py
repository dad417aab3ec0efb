"""Bindings of several steps as one: the last model bound to the first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from graphkit.graph.index import GraphIndex
from graphkit.model import Model
from graphkit.verify.laws.binding import Binding, Computed, Constant, Convert, Fed, Freed, Inner, Link, Outcome


def composed(first: Binding, second: Binding, index: GraphIndex) -> Binding | None:
    """What two steps in a row bind.

    Args:
        first: From the first model to the one between.
        second: From the one between to the last.
        index: The first model's.

    Returns:
        None where they are no one binding: a value between is none of the first model, or a step is about inner values.
    """
    if first.inner or second.inner or second.before is not None:
        return None
    if first.chain is not None and (second.freed or second.prepare or second.held):
        return None  # what stands for a chain has neither nodes nor weights
    join = _Join(first, index)
    try:
        inputs = {name: join.link(link) for name, link in second.inputs.items()}
        outputs = {name: join.outcome(outcome) for name, outcome in second.outputs.items()}
        given = join.given(second)
        freed = (*_carried(first.freed, second), *(join.freed(one) for one in second.freed))
    except _Apart:
        return None
    names = {n: b for n, b in first.names.items() if n not in second.names.values()}
    names.update({after: first.names.get(between, between) for after, between in second.names.items()})
    close = first.close.looser(second.close) if first.close is not None else second.close
    return replace(
        second,
        inputs=inputs,
        outputs=outputs,
        given=given,
        names=names,
        close=close,
        freed=freed,
        moved=second.moved | _moved(first, second),
        before=first.before,
        chain=first.chain,
        prepare=_prepared(first.prepare, second.prepare),
        others=(),
        held=first.held or second.held,
        ordered=first.ordered and second.ordered,
        fixed=first.fixed | join.fixed(second),
        seen=join.seen(second),
    )


class _Apart(Exception):  # noqa: N818 (an answer of this module's)
    """Two bindings are no one binding."""


class _Join:
    """Takes what a second binding says of the model between to the first model."""

    def __init__(self, first: Binding, index: GraphIndex) -> None:
        self._first = first
        self._index = index

    def link(self, link: Link) -> Link:
        if isinstance(link, Fed):
            found = self._first.inputs.get(link.name)
            if isinstance(found, Fed):
                dims = link.dims if link.convert is not None else found.dims
                types = link.types if link.types is not None else found.types
                return Fed(found.name, chained(link.convert, found.convert), dims, types)
            if found is None or link.convert is not None:
                raise _Apart
            return found
        if isinstance(link, Inner):
            return self.value(link.name)
        if isinstance(link, Computed):
            return self._computed(link)
        return link

    def value(self, name: str) -> Link:
        """A value between, as what it is in the first model."""
        if name in self._first.inputs:
            return self._first.inputs[name]
        if name in self._first.outputs:
            if self._first.outputs[name].convert is not None:
                raise _Apart
            return Inner(self._first.outputs[name].value)
        return Inner(self._own(name))

    def _computed(self, link: Computed) -> Computed:
        own = {name: self.value(name) for name in link.needs}
        places: dict[str, str] = {}
        for name, found in own.items():
            if (isinstance(found, Fed) and found.convert is None) or isinstance(found, Inner):
                places[name] = found.name
            else:
                raise _Apart

        def value(found: Mapping[str, Any]) -> Any:
            return link.value({name: found[place] for name, place in places.items()})

        return Computed(tuple(dict.fromkeys(places.values())), value)

    def _own(self, name: str) -> str:
        own = self._first.names.get(name, name)
        if not self._index.has(own):
            raise _Apart
        return own

    def outcome(self, outcome: Outcome) -> Outcome:
        found = self._first.outputs.get(outcome.value)
        if found is not None:
            return Outcome(found.value, chained(found.convert, outcome.convert))
        link = self.value(outcome.value)
        if isinstance(link, Inner) or (isinstance(link, Fed) and link.convert is None):
            return Outcome(link.name, outcome.convert)
        raise _Apart

    def given(self, second: Binding) -> dict[str, Any]:
        held = dict(self._first.given)
        for name, array in second.given.items():
            link = self._first.inputs.get(name)
            if isinstance(link, Fed):
                held[link.name] = array if link.convert is None else link.convert(array)
            elif not (isinstance(link, Constant) and np.array_equal(link.array, array)):
                raise _Apart
        return held

    def fixed(self, second: Binding) -> set[tuple[str, int]]:
        """Axes of inputs of the first model that the second step may have fixed."""
        links = [(self._first.inputs.get(name), axis) for name, axis in second.fixed]
        return {(link.name, axis) for link, axis in links if isinstance(link, Fed)}

    def seen(self, second: Binding) -> dict[str, Any]:
        """What calibration saw of inputs of the first model, also by the names that they have between."""
        links = {name: self._first.inputs.get(name) for name in second.seen}
        between = {
            link.name: second.seen[name]
            for name, link in links.items()
            if isinstance(link, Fed) and link.convert is None
        }
        return {**self._first.seen, **between}

    def freed(self, one: Freed) -> Freed:
        link = self._first.inputs.get(one.before)
        if not isinstance(link, Fed) or link.convert is not None:
            raise _Apart
        return replace(one, before=link.name)


def _moved(first: Binding, second: Binding) -> frozenset[str]:
    """Outputs of the last model that are one which the first step moved, or an inner value that may hang on what it moved."""
    if not first.moved:
        return frozenset()
    still = first.outputs.keys() - first.moved
    return frozenset(name for name, outcome in second.outputs.items() if outcome.value not in still)


def _carried(freed: tuple[Freed, ...], second: Binding) -> list[Freed]:
    """Axes that the first step freed, as inputs of the last model; those of inputs that are gone are fixed again."""
    kept = []
    for one in freed:
        for name, link in second.inputs.items():
            if isinstance(link, Fed) and link.name == one.name:
                if link.convert is not None:
                    raise _Apart
                kept.append(replace(one, name=name))
    return kept


def chained(first: Convert | None, second: Convert | None) -> Convert | None:
    """One conversion after another."""
    if first is None or second is None:
        return first or second
    return _both(first, second)


def _prepared(
    first: Callable[[Model], Model] | None, second: Callable[[Model], Model] | None
) -> Callable[[Model], Model] | None:
    if first is None or second is None:
        return first or second
    return lambda model: second(first(model))


def _both(first: Convert, second: Convert) -> Callable[[Any], Any]:
    return lambda array: second(first(array))
