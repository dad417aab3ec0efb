"""Nodes on their own: fed with the reference's values, so that only what they do wrong themselves shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graphkit.edit.subgraph import piece
from graphkit.errors import GraphkitError
from graphkit.graph.names import label
from graphkit.graph.upstream import upstream
from graphkit.graph.values import is_constant_node
from graphkit.runtime.ort_values import declared_type, shared
from graphkit.runtime.session import PieceSession
from graphkit.verify.bisect.onnx_side import OnnxSide, as_fed, constants_of, release
from graphkit.verify.bisect.perturbation import DRAWS, largest_difference, near_one, shaken

if TYPE_CHECKING:
    from graphkit.model import Model
    from graphkit.tensor import Array
    from graphkit.verify.compare.tolerance import Policy


class Isolation:
    """Runs the nodes behind some values of a model, fed with other values for what they read.

    A value that has a twin is a border: the nodes behind it are not run, it is fed. So a node whose inputs all have
    twins is run alone, and several nodes are run together where values between them have none, or are sequences.
    """

    def __init__(self, side: OnnxSide, twins: Iterable[str]) -> None:
        """Prepare.

        Args:
            side: The model whose nodes are tried.
            twins: Its values that the reference has too.
        """
        self.side = side
        self.runs = 0
        self._constant = constants_of(side.index)
        self._border = {*twins, *side.feeds} - self._constant - side.not_tensors()

    def behind(self, value: str) -> tuple[list[int], set[str]]:
        """(the nodes to run for a value, in order; the values to feed them)."""
        index = self.side.index
        found = upstream(index, [value], stop=lambda name: name in self._border or name in self._constant)
        read = {name for name, reader in found.values.items() if reader is not None and name in self._border}
        return sorted(found.nodes), read

    def piece(self, values: Sequence[str], fed: Mapping[str, Any]) -> tuple[Model, dict[str, str]]:
        """(the nodes behind some values as a model, value -> the name it is given there).

        What is fed keeps its name, so that bodies need no change; what is made gets a new one.
        """
        index = self.side.index
        positions: set[int] = set()
        read: set[str] = set()
        for value in values:
            nodes, needed = self.behind(value)
            positions.update(nodes)
            read |= needed
        made = {name for p in positions for name in index.nodes[p].output if name}
        new = {name: f"made of {name}" for name in made if name in self._border}
        inputs = {name: declared_type(fed[name]) for name in sorted(read) if name in fed}  # no sequence is fed
        return piece(self.side.model, index, sorted(positions), inputs, [new.get(v, v) for v in values], new), new

    def run(self, values: Sequence[str], twins: Mapping[str, Array]) -> dict[str, Array]:
        """What the candidate's nodes make of the reference's values.

        Args:
            values: Values that have twins.
            twins: Value of the candidate -> the reference's array for it, in the candidate's dtype.

        Returns:
            Value -> array; values whose nodes cannot run on these arrays are left out.
        """
        fed = {name: as_fed(name, array) for name, array in twins.items()}
        return self._halved([value for value in values if value in self._border], fed)

    def rounding(
        self, value: str, twins: Mapping[str, Array], made: Array, policy: Policy
    ) -> Iterator[tuple[Array | None, bool]]:
        """How much of what the nodes behind a value make may be rounding, element by element.

        Args:
            value: The value.
            twins: As in ``run``.
            made: What the nodes make of them.
            policy: The tolerances.

        Yields:
            (the largest differences seen, or None where that is not known; whether it may well be less). The most first;
            then, where that may be less, the least.
        """
        fed = {name: as_fed(name, twins[name]) for name in self.behind(value)[1]}
        part, new = self.piece([value], fed)
        vague = near_one(part)
        yield self._rounding(part, fed, new[value], made, policy, absolutely=True), vague
        if vague:
            yield self._rounding(part, fed, new[value], made, policy, absolutely=False), False

    def _rounding(
        self, part: Model, fed: Mapping[str, Any], value: str, made: Array, policy: Policy, *, absolutely: bool
    ) -> Array | None:
        if (found := shaken(part, policy, absolutely=absolutely)) is None:
            return None
        shaky, renamed = found
        try:
            session = PieceSession(shaky, self.side.name, device=self.side.device, tf32=self.side.tf32)
            self.runs += DRAWS
            values = {renamed.get(name, name): array for name, array in fed.items()}
            return largest_difference(made, lambda: shared(session.run(values, [value])[value]))
        except GraphkitError:
            return None  # a size, an index or a condition that is computed from floats
        finally:
            release(self.side.model)

    def _halved(self, values: list[str], fed: Mapping[str, Any]) -> dict[str, Array]:
        """All at once; where that fails, for instance on twins of another shape, half of them at a time."""
        if not values:
            return {}
        try:
            return self._run(values, fed)
        except GraphkitError:
            if len(values) == 1:
                return {}
        middle = len(values) // 2
        return {**self._halved(values[:middle], fed), **self._halved(values[middle:], fed)}

    def _run(self, values: Sequence[str], fed: Mapping[str, Any]) -> dict[str, Array]:
        part, new = self.piece(values, fed)
        session = PieceSession(part, self.side.name, device=self.side.device, tf32=self.side.tf32)
        self.runs += 1
        made = session.run(fed, [new[value] for value in values])
        release(self.side.model)
        return {value: shared(made[new[value]]) for value in values}

    def named(self, positions: Iterable[int]) -> tuple[str, ...]:
        """Nodes by name, Constant nodes left out."""
        nodes = [self.side.index.nodes[p] for p in positions]
        return tuple(label(n) for n in nodes if not is_constant_node(n))
