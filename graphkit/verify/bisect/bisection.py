"""What bisect answers, as data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from graphkit.errors import MismatchError
from graphkit.result import Result
from graphkit.verify.compare.metrics import Metrics

if TYPE_CHECKING:
    from graphkit.model import Model
    from graphkit.tensor import Array


@dataclass(frozen=True, repr=False)
class Row(Result):
    """One value that both sides have.

    Attributes:
        value: Its name in the candidate.
        twin: Its name in the reference.
        node: The node that makes it, by its name or by its first output.
        op_type: The operator of the node, or the class of a module.
        module: The path of the torch module it belongs to, or None.
        line: The line of the user's source that made it, or None.
        match: Whether the two sides agree within the tolerance.
        metrics: How much they differ.
        alone: How much they differ when the candidate's node is fed with the reference's values; None where that was
            not tried.
        introduces: Whether the node is wrong by itself; None where that was not tried.
        between: Nodes between the values that both sides have and this one, where it takes more than one.
        doubt: By how much a value is off that matches because it is smaller than any tolerance, where it is not known
            whether that is rounding; "" otherwise.
    """

    value: str
    twin: str
    node: str
    op_type: str
    module: str | None
    line: str | None
    match: bool
    metrics: Metrics
    alone: Metrics | None = None
    introduces: bool | None = None
    between: tuple[str, ...] = ()
    doubt: str = ""

    def __bool__(self) -> bool:
        return self.match

    @property
    def error(self) -> float:
        """The largest absolute error, infinite where shapes or dtypes differ."""
        return float("inf") if self.metrics.max_abs is None else self.metrics.max_abs


@dataclass(frozen=True, repr=False)
class Failing(Result):
    """The node behind the first value that diverges, as a model, with the reference's values.

    Attributes:
        model: The node, with the nodes before it that have no counterpart in the reference.
        feeds: Input -> the reference's array.
        expected: What the reference has for the value.
        made: What the model makes of the feeds, or None where it cannot run on them.
        wrong: Whether that differs from what is expected.
    """

    model: Model
    feeds: dict[str, Array]
    expected: Any
    made: Any
    wrong: bool


@dataclass(frozen=True, repr=False)
class First(Result):
    """The first value that diverges, in the candidate's graph order.

    Attributes:
        value: Its name in the candidate; in a body, the value of the body.
        node: The node that makes it.
        op_type: Its operator.
        module: The path of the torch module, or None.
        line: The line of the user's source, or None.
        twin: The value's name in the reference.
        inside: The nodes around it, outermost first, where it lies in a body or function: "loop, iteration 2".
        metrics: How much it differs.
        introduces: Whether the node is wrong by itself, or only passes rounding on that has added up.
        between: As in Row.
    """

    value: str
    node: str
    op_type: str
    module: str | None
    line: str | None
    twin: str
    inside: tuple[str, ...]
    metrics: Metrics
    introduces: bool | None
    between: tuple[str, ...] = ()

    def within(self, node: str) -> First:
        """The same, seen from outside of a node that it lies in."""
        return replace(self, inside=(node, *self.inside))


@dataclass(frozen=True, repr=False)
class Bisection(Result):
    """Where a candidate first differs from its reference. Made by ``graphkit.bisect``.

    Attributes:
        diverges: Whether a value differs by more than the tolerance for another reason than rounding that has added up:
            its node is wrong by itself, or cannot be tried alone; or whether an output differs, for whatever reason.
        first: The first such value, or None; where only outputs differ, the first value that differs at all.
        introduced_by: The values whose node is wrong by itself. Every node was tried with ``isolate``, else only that of
            the first value that diverges.
        rows: Every value that was compared, in the candidate's graph order.
        candidate: Path or name.
        reference: Path or name.
        device: Where the candidate ran.
        providers: The providers that loaded for the candidate.
        reference_providers: The same for the reference; ``torch`` for a torch module.
        values: How many values the candidate has.
        matched: How many of them the reference has too.
        complete: Whether every matched value was compared; without ``isolate`` the search ends with the stretch that
            holds the first value that diverges.
        runs: How many pieces of a model were run, or how often a torch module was, for each side; and how many pieces of
            the candidate "alone", on the reference's values.
        stretches: Into how many stretches the memory limit cut the graph.
        memory: The limit, in bytes.
        feeds: Input -> its type, and its value where that is short.
        notes: What the user should know.
        failing: The smallest model that shows the first difference, for ``save_repro``.
        custom_ops: The libraries of custom operators that were loaded.
    """

    diverges: bool
    first: First | None
    introduced_by: tuple[Row, ...]
    rows: tuple[Row, ...]
    candidate: str
    reference: str
    device: str
    providers: tuple[str, ...]
    reference_providers: tuple[str, ...]
    values: int
    matched: int
    complete: bool
    runs: dict[str, int]
    stretches: int
    memory: int
    feeds: dict[str, str]
    notes: tuple[str, ...] = ()
    failing: Failing | None = field(default=None, repr=False, compare=False, metadata={"json": False})
    custom_ops: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not self.diverges

    def raise_for_divergence(self) -> None:
        """Nothing where no value diverges.

        Raises:
            MismatchError: One does; the message names the first.
        """
        if self.first is not None:
            found = self.first
            raise MismatchError(
                f"{self.candidate} diverges from {self.reference} first at {found.value!r}, {found.op_type} {found.node!r}"
            )


def first_of(row: Row) -> First:
    """A row as the first value that diverges."""
    return First(
        row.value, row.node, row.op_type, row.module, row.line, row.twin, (), row.metrics, row.introduces, row.between
    )
