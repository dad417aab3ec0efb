"""How the model after one step or several is bound to the model before: what feeds what, and which outputs are the same.

A binding says what *should* be there, from the step's arguments and the model before. Whatever the model after has beyond it,
or lacks, breaks the law.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from graphkit.model import Model

if TYPE_CHECKING:
    from graphkit.tensor import Array
    from graphkit.verify.laws.chain import Chain

Convert: TypeAlias = "Callable[[Array], Array]"


@dataclass(frozen=True)
class Change:
    """One step as a law sees it.

    Attributes:
        operation: Its name.
        arguments: What it was given, decoded; an argument that was not given is not there.
        before: The model before the step.
        after: The model after it. Only a binding's guesses of fresh names may depend on it.
    """

    operation: str
    arguments: Mapping[str, Any]
    before: Model
    after: Model


@dataclass(frozen=True)
class Fed:
    """An input of after is an input of before: both are fed the same.

    Attributes:
        name: The input of before.
        convert: What before is fed, of what after is fed (a cast, a transposition). None: the same.
        dims: With ``convert``: the sizes that after's input has where before's has its own; None for any.
        types: The element types of which after may declare one. None: that of before.
    """

    name: str
    convert: Convert | None = None
    dims: tuple[int | str | None, ...] | None = None
    types: frozenset[int] | None = None


@dataclass(frozen=True)
class Constant:
    """An input of after stands for a number that before holds: after is fed it."""

    array: Array


@dataclass(frozen=True)
class Inner:
    """An input of after stands for a value that before computes: after is fed what it is in before's run."""

    name: str


@dataclass(frozen=True)
class Computed:
    """An input of after stands for something that is made of values of before, such as the factor between two sizes.

    Attributes:
        needs: Values of before.
        value: What after is fed, of those values by name.
    """

    needs: tuple[str, ...]
    value: Callable[[Mapping[str, Any]], Array]


@dataclass(frozen=True)
class Alone:
    """An input that only after has, and that may be anything: it is drawn."""


Link: TypeAlias = "Fed | Constant | Inner | Computed | Alone"


@dataclass(frozen=True)
class Outcome:
    """An output of after.

    Attributes:
        value: The value of before that it is.
        convert: What is expected, of what before computes. None: the same.
    """

    value: str
    convert: Convert | None = None


@dataclass(frozen=True)
class Closeness:
    """How near the numbers must be, where the same is too much to ask.

    Attributes:
        dtype: The tolerance of this dtype counts, where it is the coarser one.
        relative: The relative L2 error that is allowed in place of a tolerance for each element; None for none.
        why: What makes the difference, for people.
    """

    dtype: str | None = None
    relative: float | None = None
    why: str = ""

    def looser(self, other: Closeness | None) -> Closeness:
        """The looser of two: the larger relative error, else the coarser dtype."""
        from graphkit.verify.compare.tolerance import coarser

        if other is None:
            return self
        if self.relative is not None or other.relative is not None:
            return max(self, other, key=lambda one: one.relative or 0.0)
        if self.dtype is None or other.dtype is None:
            return self if other.dtype is None else other
        return self if coarser(self.dtype, other.dtype) == self.dtype else other


@dataclass(frozen=True)
class Freed:
    """An axis of an input of after that had one size before.

    Attributes:
        name: The input of after.
        axis: Counted from 0.
        size: What it was.
        before: The input of before.
    """

    name: str
    axis: int
    size: int
    before: str


@dataclass(frozen=True)
class Other:
    """Another pair that must agree too: before with other constants, and what after is fed to be the same.

    Attributes:
        what: What is different, for people: "other values of 'bias'".
        before: The model in the place of before.
        inputs: Input of after -> its link, in place of the binding's.
    """

    what: str
    before: Callable[[], Model]
    inputs: Mapping[str, Link]


@dataclass(frozen=True)
class Binding:
    """What must hold between two models.

    Attributes:
        inputs: Every input that after must have -> what it is in before. The inputs that are ``Fed`` come in this order.
        outputs: Every output that after must have, in order -> what it is in before.
        given: Input of before -> the value that after holds in its place.
        inner: Further values of after that must be what they are in before, such as those that a change must not reach.
        names: Inner value of after -> its name in before, where the two differ.
        close: How near the numbers must be; None: the same, but for rounding.
        freed: Axes of inputs that had one size.
        moved: Outputs of after that hang on a node which held the size of a freed axis and follows now: at other sizes
            they are not what before makes of them.
        before: What stands for the model before where it cannot serve itself: its nodes had different factors, or it is
            what the step should have made of it.
        chain: The models that run one after the other in the place of before, which only says what they take and give.
        prepare: What is done to the model before, or to one before that, so that it runs (a body for an operator).
        others: Further pairs that must agree.
        held: (before, after, ``names``) -> what is wrong with what after holds, as can be seen without a run; or None.
        ordered: Whether after's inputs must come in the order of ``inputs``.
        fixed: (input of before, axis) of those axes that were free, and may have one size now.
        sizes: Sizes at which after runs too, beside the usual ones: (input of after, axis) -> size, where the axis is free.
        seen: Input of before -> arrays that calibration saw: what is drawn for it lies between two of them.
    """

    inputs: Mapping[str, Link]
    outputs: Mapping[str, Outcome]
    given: Mapping[str, Array] = field(default_factory=dict)
    inner: Mapping[str, Outcome] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    close: Closeness | None = None
    freed: tuple[Freed, ...] = ()
    moved: frozenset[str] = frozenset()
    before: Model | None = None
    chain: Chain | None = None
    prepare: Callable[[Model], Model] | None = None
    others: tuple[Other, ...] = ()
    held: Callable[[Model, Model, Mapping[str, str]], str | None] | None = None
    ordered: bool = True
    fixed: frozenset[tuple[str, int]] = frozenset()
    sizes: Sequence[Mapping[tuple[str, int], int]] = ()
    seen: Mapping[str, Sequence[Array]] = field(default_factory=dict)

    @property
    def compared(self) -> dict[str, Outcome]:
        """Every value of after that is compared, inner ones first."""
        return {**self.inner, **self.outputs}


class Unproved(Exception):  # noqa: N818 (an answer, not an error: it never leaves this room)
    """Why a law cannot be asked."""


class Broken(Exception):  # noqa: N818 (the same)
    """Why a law does not hold."""
