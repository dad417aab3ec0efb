"""Values and nodes of functions, as their calls have them: the functions are inlined, with all that call them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import onnx

from graphkit.edit.inlining import called, inline_calls, told
from graphkit.errors import EditError
from graphkit.graph import walk
from graphkit.graph.addresses import Addresses, Found, Site
from graphkit.hint import Hint, call


class Called(NamedTuple):
    """A model whose calls of some functions were inlined.

    Attributes:
        values: Address in a function -> the addresses that its value has now, one a call.
        notes: What was inlined.
    """

    values: dict[str, list[str]]
    notes: list[str]


def inline_around(proto: onnx.ModelProto, found: Iterable[Found]) -> Called:
    """Inline the functions that some values are in, and those that call them. Changes the model.

    Args:
        proto: The model; the values are of it.
        found: Values, of which those outside of functions are left alone.

    Raises:
        EditError: Nothing calls the function, or it imports another version of ai.onnx than its caller.
    """
    inside: list[tuple[str, str]] = []
    keys: dict[str, walk.FunctionKey] = {}
    for each in found:
        if each.site.function is not None:
            inside.append((each.address, each.name))
            keys[each.address] = walk.function_key(each.site.function)
    done = inline_calls(proto, callers(proto, set(keys.values())), watched=set(keys.values()))
    if done.versions:
        raise EditError(
            f"{called(next(iter(keys.values())))} imports another version of ai.onnx than what calls it",
            hint=Hint("inline the functions first: ", call("inline")),
        )
    sites = Addresses(proto).sites
    values: dict[str, list[str]] = {}
    for address, name in inside:
        names = [table[name] for table in done.copies.get(keys[address], ()) if table.get(name)]
        if not names:
            raise EditError(
                f"{address!r} is inside of a function that nothing calls", hint=Hint("call it, or leave it out")
            )
        values[address] = [_address(sites, each) for each in dict.fromkeys(names)]
    return Called(values, told(done))


def node_in_function(found: Found) -> Found | None:
    """The first value that a node of a function makes; None for a node elsewhere."""
    if found.site.function is None or not any(found.node.output):
        return None
    return Found(found.site, next(filter(None, found.node.output)))


def callers(proto: onnx.ModelProto, keys: set[walk.FunctionKey]) -> set[walk.FunctionKey]:
    """Functions, and those that call them, however far up."""
    calls = {walk.function_key(f): {walk.call_key(node) for node in walk.function_nodes(f)} for f in proto.functions}
    while True:
        more = {key for key, called_here in calls.items() if not keys.isdisjoint(called_here)} - keys
        if not more:
            return keys
        keys = keys | more


def _address(sites: Sequence[Site], name: str) -> str:
    site = next((site for site in sites if site.has(name)), None)
    return name if site is None else f"{site.prefix}{name}"
