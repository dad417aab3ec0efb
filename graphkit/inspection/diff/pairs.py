"""Which input, output and weight of one scope is which of the other."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from graphkit.inspection.diff.match import Matching
from graphkit.inspection.diff.scope import Print, Scope


def by_name_and_kind(
    left: Sequence[str], right: Sequence[str], kinds: tuple[Callable[[str], Hashable], ...]
) -> dict[str, str]:
    """Names that are on both sides, and of the rest those of one kind, in order, where each side has as many."""
    there = set(right)
    pairs = {name: name for name in left if name in there}
    mine, others = kinds
    groups: dict[Hashable, list[str]] = {}
    for name in right:
        if name not in pairs:
            groups.setdefault(others(name), []).append(name)
    waiting: dict[Hashable, list[str]] = {}
    for name in left:
        if name not in pairs:
            waiting.setdefault(mine(name), []).append(name)
    for kind, names in waiting.items():
        if len(names) == len(groups.get(kind, ())):
            pairs.update(zip(names, groups[kind], strict=True))
    return pairs


def pair_weights(matching: Matching, prints: tuple[Print, Print], known: Mapping[str, str]) -> dict[str, str]:
    """Weight before -> weight after: of one name, type and beginning; read at the same place of one node; of one name; of
    one type and beginning, where no other is.

    Args:
        matching: The nodes.
        prints: What tells tensors apart, before's and after's.
        known: Names that are paired already: weights that are inputs too.
    """
    left, right = matching.left.weights, matching.right.weights
    pairs = {one: two for one, two in known.items() if one in left and two in right}
    taken = set(pairs.values())
    told = _told(left, prints[0]), _told(right, prints[1])

    def pair(one: str, two: str) -> None:
        if one in left and two in right and one not in pairs and two not in taken:
            pairs[one] = two
            taken.add(two)

    for name in left:
        if name in right and told[0][name] == told[1][name]:
            pair(name, name)
    for one, two in matching.pairs.items():
        for mine, other in zip(matching.left.reads[one], matching.right.reads[two], strict=False):
            pair(mine, other)
    for name in left:
        pair(name, name)
    groups: dict[Any, list[str]] = {}
    for name in right:
        if name not in taken:
            groups.setdefault(told[1][name], []).append(name)
    for name in left:
        if name not in pairs and len(groups.get(told[0][name], ())) == 1:
            pair(name, groups[told[0][name]][0])
    return pairs


def _told(weights: Mapping[str, Any], printed: Print) -> dict[str, Any]:
    found = {}
    for name, tensor in weights.items():
        sparse = hasattr(tensor, "indices")
        found[name] = (
            ("sparse", tuple(tensor.dims), printed(tensor.values), printed(tensor.indices))
            if sparse
            else printed(tensor)
        )
    return found


def confirmed(pairs: Mapping[str, str], matching: Matching) -> dict[str, str]:
    """Inputs of one name, and of the others those that one node reads at the same place, or that nobody reads."""
    left, right = matching.left, matching.right

    def is_one(mine: str, other: str) -> bool:
        ones, twos = left.readers.get(mine, []), right.readers.get(other, [])
        if not ones and not twos:
            return True
        there = set(twos)
        return any((matching.pairs.get(at), port) in there for at, port in ones)

    return {mine: other for mine, other in pairs.items() if mine == other or is_one(mine, other)}


def pair_outputs(left: Scope, right: Scope, values: Mapping[str, str]) -> dict[str, str]:
    """Output before -> output after: of one name, or the same value under another name."""
    there = set(right.outputs)
    pairs = {name: name for name in left.outputs if name in there}
    taken = set(pairs.values())
    for name in left.outputs:
        two = values.get(name, "")
        if name not in pairs and two in there and two not in taken:
            pairs[name] = two
            taken.add(two)
    return pairs
