"""Which node of one model is which node of the other: by text, structure, name, neighbours and module."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from graphkit.graph.module_paths import module_call
from graphkit.graph.names import label
from graphkit.inspection.diff.scope import Print, Scope

KeyOf = Callable[[int], Hashable]


class Matching:
    """Pairs of nodes of two scopes, found step by step: what is surer comes first.

    Attributes:
        left: The scope before.
        right: The scope after.
        pairs: Position before -> position after.
        taken: Position after -> position before.
        alike: Positions before of the nodes whose text is that of their partner.
    """

    def __init__(self, left: Scope, right: Scope) -> None:
        self.left = left
        self.right = right
        self.pairs: dict[int, int] = {}
        self.taken: dict[int, int] = {}
        self.alike: frozenset[int] = frozenset()

    def pair(self, one: int, two: int) -> None:
        """Say that two nodes are one."""
        self.pairs[one] = two
        self.taken[two] = one

    @property
    def removed(self) -> list[int]:
        """Nodes before that have no partner yet."""
        return [at for at in range(len(self.left.nodes)) if at not in self.pairs]

    @property
    def added(self) -> list[int]:
        """Nodes after that have no partner yet."""
        return [at for at in range(len(self.right.nodes)) if at not in self.taken]

    @property
    def done(self) -> bool:
        """Whether one side has no node left."""
        return len(self.pairs) in (len(self.left.nodes), len(self.right.nodes))

    def by_key(self, left: KeyOf, right: KeyOf) -> None:
        """Pair nodes of one key: those of one name, then the rest in order where both sides have as many; None is no key."""
        mine, others = _grouped(self.removed, left), _grouped(self.added, right)
        for key, ones in mine.items():
            twos = others.get(key, [])
            named = {label(self.right.nodes[two]): two for two in reversed(twos)}
            rest = []
            for one in ones:
                two = named.pop(label(self.left.nodes[one]), None)
                if two is None:
                    rest.append(one)
                else:
                    self.pair(one, two)
            left_over = [two for two in twos if two not in self.taken]
            if len(rest) == len(left_over):
                for one, two in zip(rest, left_over, strict=True):
                    self.pair(one, two)

    def by_neighbours(self) -> None:
        """Pair nodes of one operator that stand at the same place of nodes that are paired, until none is left."""
        waiting = list(self.pairs.items())
        while waiting:
            one, two = waiting.pop()
            for pair in [*self._before(one, two), *self._behind(one, two)]:
                if pair[0] not in self.pairs and pair[1] not in self.taken:
                    self.pair(*pair)
                    waiting.append(pair)

    def _before(self, one: int, two: int) -> Iterable[tuple[int, int]]:
        for mine, other in zip(self.left.reads[one], self.right.reads[two], strict=False):
            a, b = self.left.producer.get(mine), self.right.producer.get(other)
            if a and b and a[1] == b[1] and self._alike(a[0], b[0]):
                yield a[0], b[0]

    def _behind(self, one: int, two: int) -> Iterable[tuple[int, int]]:
        for mine, other in zip(self.left.nodes[one].output, self.right.nodes[two].output, strict=False):
            ones = _places(self.left, mine, self.pairs)
            twos = _places(self.right, other, self.taken)
            for key, places in ones.items():
                if len(places) == 1 and len(twos.get(key, ())) == 1:
                    yield places[0], twos[key][0]

    def _alike(self, one: int, two: int) -> bool:
        return one not in self.pairs and two not in self.taken and self.left.operator(one) == self.right.operator(two)


def _places(scope: Scope, value: str, paired: Mapping[int, int]) -> dict[Hashable, list[int]]:
    """(operator, place) -> the nodes without a partner that read a value so."""
    found: dict[Hashable, list[int]] = {}
    for at, port in scope.readers.get(value, ()) if value else ():
        if at not in paired:
            found.setdefault((scope.operator(at), port), []).append(at)
    return found


def _grouped(places: Sequence[int], key_of: KeyOf) -> dict[Hashable, list[int]]:
    found: dict[Hashable, list[int]] = {}
    for at in places:
        key = key_of(at)
        if key is not None:
            found.setdefault(key, []).append(at)
    return found


def match_nodes(
    left: Scope,
    right: Scope,
    prints: Sequence[tuple[Print, Print]],
    leaves: tuple[Mapping[str, Any], Mapping[str, Any]],
) -> Matching:
    """Pair the nodes of two scopes.

    The same text is the same node. Of the others, in this order: what computes the same from the same inputs and is used
    in the same way; either of the two; the same name and operator; the same place beside nodes that are paired; the same
    module; the same operator and attributes; and at last the same name, whatever the operator.

    Args:
        left: Before.
        right: After.
        prints: What tells tensors apart, the finest first: before's and after's.
        leaves: What stands for inputs, outer values and outputs in both.

    Cost: O(nodes and edges); where nothing changed, one comparison a node.
    """
    found = Matching(left, right)
    found.by_key(_text(left), _text(right))
    found.alike = frozenset(found.pairs)
    local: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for mine, other in prints:
        if found.done:
            return found
        ids = {two: two for two in found.taken}
        one, two = left.hashes(mine, leaves[0], found.pairs), right.hashes(other, leaves[1], ids)
        local = one[0], two[0]
        for keys in ((1, 2), (1,), (2,)):
            found.by_key(_hashed(one, keys), _hashed(two, keys))
    steps: list[tuple[KeyOf, KeyOf]] = [(_named(left), _named(right))]
    _by(found, steps)
    found.by_neighbours()
    _by(found, [(_in_module(left, local[0]), _in_module(right, local[1])), (_in_module(left), _in_module(right))])
    _by(found, [(local[0].__getitem__, local[1].__getitem__)])
    _by(found, [(_labelled(left), _labelled(right))])
    return found


def _by(found: Matching, steps: Iterable[tuple[KeyOf, KeyOf]]) -> None:
    for mine, other in steps:
        if not found.done:
            found.by_key(mine, other)


def _text(scope: Scope) -> KeyOf:
    return lambda at: scope.nodes[at].SerializeToString(deterministic=True)


def _hashed(hashes: Sequence[Mapping[int, int]], which: tuple[int, ...]) -> KeyOf:
    return lambda at: tuple(hashes[one][at] for one in which)


def _named(scope: Scope) -> KeyOf:
    return lambda at: (label(scope.nodes[at]), scope.operator(at))


def _labelled(scope: Scope) -> KeyOf:
    return lambda at: label(scope.nodes[at])


def _in_module(scope: Scope, local: Mapping[int, int] | None = None) -> KeyOf:
    def key(at: int) -> Hashable:
        module = module_call(scope.nodes[at])
        return None if module is None else (module, scope.operator(at) if local is None else local[at])

    return key


def moved(order: Sequence[int]) -> set[int]:
    """The places of a sequence that are not in its longest increasing part: what has to move for it to be sorted.

    Cost: O(n log n).
    """
    from bisect import bisect_left

    ends: list[int] = []
    tails: list[int] = []
    back: list[int] = []
    for at, value in enumerate(order):
        length = bisect_left(ends, value)
        back.append(tails[length - 1] if length else -1)
        if length == len(ends):
            ends.append(value)
            tails.append(at)
        else:
            ends[length], tails[length] = value, at
    kept = set()
    at = tails[-1] if tails else -1
    while at >= 0:
        kept.add(at)
        at = back[at]
    return set(range(len(order))) - kept
