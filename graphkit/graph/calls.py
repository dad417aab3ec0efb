"""Calls of model-local functions: how many nodes a model has once each call is its function's body.

n functions of which each calls the last one twice are a kilobyte of file and 2^n nodes. Inference, runtimes and inlining
expand them, so they are counted first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

import onnx

from graphkit.graph import walk

MANY = 1 << 62
"""A count that is not counted further."""

MOST_CALLS = 1 << 13
"""Calls that functions may come to by calling each other; a runtime takes half a millisecond for each."""


def expanded_nodes(model: onnx.ModelProto, only: Collection[walk.FunctionKey] | None = None) -> int:
    """The number of nodes in the main graph and its bodies once calls of functions are their bodies.

    Args:
        model: A model whose functions do not call themselves.
        only: The functions that are expanded; None for all.

    Raises:
        graphlib.CycleError: A function calls itself.

    Cost: O(nodes in the file), whatever the calls come to.
    """
    if not model.functions:
        return sum(1 for _ in walk.nodes(model.graph))
    return _count(walk.nodes(model.graph), body_sizes(model.functions, only))


def expands_beyond(model: onnx.ModelProto, most: int, only: Collection[walk.FunctionKey] | None = None) -> bool:
    """Whether calls come to more nodes than ``most`` and than 200 times those in the file, or never end.

    Args:
        model: The model.
        most: Nodes that are never too many.
        only: The functions that are expanded; None for all.

    A hundred layers that are one function are a model; functions that double are not. Plain nodes beside them change
    nothing: more than ``MOST_CALLS`` calls are too many where the file spells out fewer than one in 20.
    """
    if not model.functions:
        return False
    try:
        count, calls = expanded_nodes(model, only), _expanded_calls(model, only)
    except CycleError:
        return True
    if count > most and count > 200 * sum(1 for _ in walk.model_nodes(model)):
        return True
    known = {walk.function_key(function) for function in model.functions}
    return calls > MOST_CALLS and calls > 20 * sum(walk.call_key(node) in known for node in walk.model_nodes(model))


def _expanded_calls(model: onnx.ModelProto, only: Collection[walk.FunctionKey] | None) -> int:
    """The number of calls that the main graph comes to, those inside of functions that are expanded included."""
    within: dict[walk.FunctionKey, int] = {}
    known = {walk.function_key(f): f for f in model.functions}
    for key in body_sizes(model.functions, only):  # those that are called come first
        within[key] = _calls(walk.function_nodes(known[key]), within)
    return _calls(walk.nodes(model.graph), within)


def _calls(nodes: Iterable[onnx.NodeProto], within: Mapping[walk.FunctionKey, int]) -> int:
    return min(sum(1 + within[key] for node in nodes if (key := walk.call_key(node)) in within), MANY)


def body_sizes(
    functions: Iterable[onnx.FunctionProto], only: Collection[walk.FunctionKey] | None = None
) -> dict[walk.FunctionKey, int]:
    """Function -> the number of nodes that one call of it comes to. Arguments, errors and cost as ``expanded_nodes``."""
    known = {walk.function_key(f): f for f in functions}
    wanted = known.keys() if only is None else known.keys() & set(only)
    calls = {key: {walk.call_key(node) for node in walk.function_nodes(known[key])} & wanted for key in wanted}
    sizes: dict[walk.FunctionKey, int] = {}
    for key in TopologicalSorter(calls).static_order():
        sizes[key] = _count(walk.function_nodes(known[key]), sizes)
    return sizes


def _count(nodes: Iterable[onnx.NodeProto], sizes: Mapping[walk.FunctionKey, int]) -> int:
    return min(sum(sizes.get(walk.call_key(node), 1) for node in nodes), MANY)
