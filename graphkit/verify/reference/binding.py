"""What each input and output of a candidate is in a reference, as data. ``bind_model`` and ``bind_torch`` make it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from graphkit.graph.ports import Port
    from graphkit.model import Model
    from graphkit.tensor import Array
    from graphkit.verify.reference.resize_inputs import Resized


class Ported(Protocol):
    """A model whose inputs and outputs are known: a Session, or less than one."""

    @property
    def model(self) -> Model:
        """The model."""

    @property
    def name(self) -> str:
        """What to call it."""

    @property
    def inputs(self) -> Mapping[str, Port]:
        """name -> Port."""

    @property
    def outputs(self) -> Mapping[str, Port]:
        """name -> Port."""


@dataclass(frozen=True)
class SameInput:
    """An input of the reference: both are fed the same."""

    name: str


@dataclass(frozen=True)
class FedAlone:
    """Nothing: the candidate alone is fed."""


@dataclass(frozen=True)
class Constant:
    """A constant of the reference, which the candidate is fed."""

    name: str
    array: Array


@dataclass(frozen=True)
class Inner:
    """A value that the reference computes, which the candidate is fed."""

    name: str


@dataclass(frozen=True)
class ResizedBy:
    """What the scales or sizes of the reference's Resize mean for an input that sets them."""

    name: str
    resized: Resized


@dataclass(frozen=True)
class ForwardArgument:
    """An argument of ``forward``, by its position."""

    name: str
    at: int


@dataclass(frozen=True)
class Attribute:
    """An attribute of the module, by its path: it is set to what the candidate is fed."""

    path: str


@dataclass(frozen=True)
class Weight:
    """A parameter or buffer of the module, which the candidate is fed."""

    name: str
    tensor: Any


@dataclass(frozen=True)
class Returned:
    """What a submodule returns, by its path, which the candidate is fed."""

    path: str


Source = SameInput | FedAlone | Constant | Inner | ResizedBy | ForwardArgument | Attribute | Weight | Returned
"""What an input of the candidate is in the reference."""

S = TypeVar("S", SameInput, FedAlone, Constant, Inner, ResizedBy, ForwardArgument, Attribute, Weight, Returned)


@dataclass(frozen=True)
class Binding:
    """How the inputs and outputs of a candidate relate to a reference.

    Attributes:
        reference: What to call the reference.
        inputs: Input of the candidate -> what it is in the reference; optional inputs that it has not are left out.
        outputs: Output of the candidate -> a value of the reference; of a torch module its number, or the path of the
            submodule that returns it.
        drawn: Inputs of the candidate that are drawn at random or fed by the user.
        like: Input of the candidate -> the dims that the reference wants for it.
        own: Inputs of the reference (names, or positions of arguments) that no input of the candidate stands for and that
            get values of their own in every run.
        by_position: Outputs of the candidate that were bound by nothing but their place.
        whole: Whether all outputs are compared, so that both sides must have the same number of them.
        notes: What the user should know.
        doubts: What may be the cause where the numbers differ.
    """

    reference: str
    inputs: Mapping[str, Source]
    outputs: Mapping[str, str | int]
    drawn: tuple[str, ...]
    like: Mapping[str, tuple[int | str | None, ...] | None]
    own: tuple[str | int, ...] = ()
    by_position: tuple[str, ...] = ()
    whole: bool = True
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    def of(self, kind: type[S]) -> dict[str, S]:
        """The inputs that are of one kind."""
        return {name: source for name, source in self.inputs.items() if isinstance(source, kind)}

    @property
    def positions(self) -> dict[str, int]:
        """Output of the candidate -> which output of the module it is; those that a submodule returns are left out."""
        return {name: at for name, at in self.outputs.items() if isinstance(at, int)}
