"""What is asked of two models, and what was seen of them so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from graphkit.errors import GraphkitError, SessionError
from graphkit.model import Model
from graphkit.shapes.declared import declared
from graphkit.verify.compare.metrics import Metrics
from graphkit.verify.laws.binding import Binding, Broken, Unproved
from graphkit.verify.laws.side import NoKernelError, Side, load


@dataclass
class Seen:
    """What was seen so far."""

    runs: int = 0
    sizes: list[str] = field(default_factory=list)
    also: list[str] = field(default_factory=list)
    outputs: dict[str, Metrics] = field(default_factory=dict)
    compared: int = 0
    nan: int = 0
    first: str | None = None
    evaluator: str = ""


@dataclass
class Case:
    """What is asked of two models, and what was seen so far.

    Attributes:
        binding: What must hold.
        before: The model before, as it is.
        after: The model after.
        reference: Whether both sides run in onnx.reference.
        hurried: Whether runs that others are like may be left out.
        refused: Whether the runtime refused the model before, so that onnx.reference may still say something.
        failed: Whether the runtime loaded the model before and ran it on no feed, so that the same goes.
        seen: What was seen so far.
    """

    binding: Binding
    before: Model
    after: Model
    reference: bool
    hurried: bool
    refused: bool = False
    failed: bool = False
    seen: Seen = field(default_factory=Seen)

    @property
    def models(self) -> tuple[Model, ...]:
        """What runs before: the model, or those of a chain."""
        return tuple(self.binding.chain.parts.values()) if self.binding.chain is not None else (self.before,)

    def refuses_the_original(self) -> bool:
        """Whether the runtime refuses the model before as it is, where another stood for it; onnx.reference is next then."""
        if self.reference or self.binding.before is None:
            return False
        try:
            load(self.before, (), ())
        except GraphkitError:
            self.refused = True
        return self.refused

    def load_after(self) -> Side:
        """The side after, for every round.

        Raises:
            Broken, Unproved: It does not load.
        """
        try:
            return load(self.after, self.binding.compared, declared(self.after), reference=self.reference)
        except NoKernelError as error:
            raise Unproved(f"the model after cannot be run: {error}") from error
        except SessionError as error:
            if self.refuses_the_original():
                raise Unproved(f"the runtime loads neither model: {error}") from error
            raise Broken(f"the model after does not load: {error}") from error
        except GraphkitError as error:
            raise Unproved(f"the model after cannot be run: {error}") from error
