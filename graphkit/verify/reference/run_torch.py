"""Running a torch module as the reference, on the feeds of a candidate that is bound to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from graphkit.errors import ComparisonError, NameNotFoundError
from graphkit.hint import Argument, Blank, Hint
from graphkit.torch_export.export_branch import Asked, compared_outside, export_branches
from graphkit.torch_export.unchanged import unchanged
from graphkit.torch_tensors import tensor_array
from graphkit.verify.reference.bind_model import retyped
from graphkit.verify.reference.binding import Attribute, Binding, ForwardArgument, Returned, Weight
from graphkit.verify.reference.repeatable import unrepeatable_model, unrepeatable_module
from graphkit.verify.reference.runner import Exchange
from graphkit.verify.reference.torch_arguments import ForwardCall, flattened, plain_value, varied
from graphkit.verify.reference.torch_run import forward_failed
from graphkit.verify.reference.torch_state import attribute_at, attribute_set, captured, prepared

if TYPE_CHECKING:
    import torch

    from graphkit.graph.ports import Port
    from graphkit.model import Model
    from graphkit.torch_export.factory import TorchSubject


class TorchRunner:
    """A torch module that a candidate is bound to; it runs in eval mode without gradients."""

    providers: tuple[str, ...] = ("torch",)

    def __init__(
        self, binding: Binding, subject: TorchSubject, ports: Mapping[str, Port], *, device: str, tf32: bool
    ) -> None:
        self.binding = binding
        self.module = subject.module
        self._subject = subject
        self._call = ForwardCall(subject)
        self.branches = Asked()
        self._ports = ports
        self._device = "cpu" if device == "cpu" else "cuda"
        self._tf32 = tf32
        self._arguments = {name: source.at for name, source in binding.of(ForwardArgument).items()}
        self._attributes = {name: source.path for name, source in binding.of(Attribute).items()}
        self._inner = {name: source.path for name, source in binding.of(Returned).items()}
        self._weights = {name: source.tensor for name, source in binding.of(Weight).items()}

    def own_port(self, name: str) -> Port:
        """A torch module has no inputs besides those of the candidate.

        Raises:
            NameNotFoundError: Always.
        """
        raise NameNotFoundError("input", name, self.binding.drawn)

    def example(self, sample: int) -> dict[str, Any]:
        """For sample 0 the factory's own arguments and the values that attributes have now; later nothing."""
        if sample:
            return {}
        found = {name: self._call.example(at) for name, at in self._arguments.items()}
        found.update({name: plain_value(attribute_at(self.module, path)) for name, path in self._attributes.items()})
        return {name: value for name, value in found.items() if value is not None}

    def run(self, feeds: Mapping[str, Any], sample: int) -> Exchange:
        """Run the module.

        Raises:
            ComparisonError: ``forward`` raised, or gave other outputs than the candidate has.
        """
        outputs = self.binding.outputs
        modules = {path for path in (*self._inner.values(), *outputs.values()) if isinstance(path, str)}
        with self.attributes_set(feeds), captured(self.module, modules) as inner:
            flat = self._forward(feeds, sample)
        missing = [path for path in modules if path not in inner]
        if missing:
            raise ComparisonError(f"{self.binding.reference} did not call its submodule {missing[0]!r} on these feeds")
        hand_over = tensor_array if self._device == "cpu" else _detached
        exchange = Exchange({name: hand_over(inner[path]) for name, path in self._inner.items()})
        exchange.feeds.update(self._own_weights(feeds))
        check_outputs(
            self.binding,
            len(flat),
            Hint(
                "choose the ones to compare with ",
                Argument("outputs", [Blank("NAME")]),
                ", and say which they are with ",
                Argument("map", {Blank("NAME"): Blank("POSITION")}),
            ),
        )
        exchange.outputs = {
            name: hand_over(inner[at] if isinstance(at, str) else flat[at]) for name, at in outputs.items()
        }
        return exchange

    def _forward(self, feeds: Mapping[str, Any], sample: int) -> list[torch.Tensor]:
        import torch

        args, kwargs = self.arguments(feeds, sample)
        try:
            with torch.no_grad(), unchanged(self.module):
                return flattened(self.module(*args, **kwargs))
        except Exception as error:
            raise forward_failed(self.binding.reference, error, self.binding.doubts) from error

    def unrepeatable(self, feeds: Mapping[str, Any], sample: int, candidate: Model) -> list[str]:
        """Noise, state and other weights in the module; what draws random numbers in the candidate."""
        import torch

        def call() -> list[torch.Tensor]:
            args, kwargs = self.arguments(feeds, sample)
            with torch.no_grad():
                return [tensor.clone() for tensor in flattened(self.module(*args, **kwargs))]

        with self.attributes_set(feeds), unchanged(self.module):
            found = unrepeatable_module(self._subject, call, candidate)
        return found or unrepeatable_model(candidate)

    def remarks(self) -> list[str]:
        """The branches on ``is_in_onnx_export`` that the module passed while this was open."""
        return compared_outside(self.branches.lines)

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Eval mode, the device and TF32 as asked; afterwards the module and torch are as they were."""
        with prepared(self.module, self._device, tf32=self._tf32), export_branches() as self.branches:
            yield

    def determined(self, feeds: Mapping[str, Any], sample: int) -> dict[str, Any]:
        """What the module determines of the candidate's feeds; it runs only if inner values are among it."""
        return self.run(feeds, sample).feeds if self._inner else self._own_weights(feeds)

    def _own_weights(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """What the candidate is fed with of the module's parameters and buffers: those that the user does not feed."""
        left = {name: tensor for name, tensor in self._weights.items() if name not in feeds}
        return {name: retyped(tensor_array(tensor), self._ports[name]) for name, tensor in left.items()}

    def arguments(self, feeds: Mapping[str, Any], sample: int = 0) -> tuple[list[Any], dict[str, Any]]:
        """Feeds of the candidate as positional and keyword arguments of ``forward``, tensors on the device."""
        values = {at: feeds[name] for name, at in self._arguments.items() if name in feeds}
        values.update({at: varied(self._call.example(at), sample) for at in map(int, self.binding.own)})
        return self._call.arguments(values, self._device)

    @contextlib.contextmanager
    def attributes_set(self, feeds: Mapping[str, Any]) -> Iterator[None]:
        """The module with the attributes that inputs of the candidate stand for set to what these are fed."""
        with contextlib.ExitStack() as stack:
            for name, path in {**self._attributes, **{name: name for name in self._weights}}.items():
                if name in feeds:
                    stack.enter_context(attribute_set(self.module, path, feeds[name]))
            yield


def check_outputs(binding: Binding, count: int, hint: str) -> None:
    """Refuse a module that gives another number of tensors than the candidate has outputs.

    Raises:
        ComparisonError: It does, or gives fewer than an output is said to be.
    """
    places = binding.positions.values()
    inner = len(places) < len(binding.outputs) or bool(binding.of(Returned))
    if places and (max(places) >= count or (binding.whole and not inner and len(places) != count)):
        raise ComparisonError(
            f"{binding.reference} gives {count} outputs and the candidate {len(binding.outputs)}", hint=hint
        )


def _detached(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach()
