"""A torch module as the reference: its arguments, attributes and inner values bound to the candidate's inputs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.errors import ComparisonError, NameNotFoundError
from graphkit.hint import Argument, Blank, Hint, joined
from graphkit.runtime.failures import is_out_of_memory
from graphkit.torch_export.factory import TorchSubject, load_factory
from graphkit.torch_export.source_line import user_line
from graphkit.torch_tensors import tensor_array
from graphkit.verify.compare.described import described
from graphkit.verify.reference.onnx import retyped
from graphkit.verify.reference.protocol import Exchange
from graphkit.verify.reference.torch_arguments import ForwardCall, flattened, plain_value, varied
from graphkit.verify.reference.torch_state import (
    attribute_at,
    attribute_set,
    captured,
    numbers_of,
    prepared,
    weights_called,
)

if TYPE_CHECKING:
    import torch

    from graphkit.graph.ports import Port
    from graphkit.verify.reference.protocol import Ported


def as_subject(torch_module: Any) -> TorchSubject:
    """What a caller named as a torch reference, as a module with its example arguments.

    Raises:
        FactoryError: The text names no factory, or what is given holds no torch module.
        TypeError: It is no module, text or tuple.
    """
    if isinstance(torch_module, TorchSubject):
        return torch_module
    if isinstance(torch_module, str):
        return load_factory(torch_module)
    module, args, kwargs = (
        (*torch_module, None, None)[:3] if isinstance(torch_module, tuple) else (torch_module, None, None)
    )
    if not hasattr(module, "forward") or not hasattr(module, "named_modules"):
        raise TypeError(
            f"torch= wants an nn.Module, (module, args), or package.module:factory, not {type(module).__name__}"
        )
    if args is not None and not isinstance(args, (tuple, list)):
        args = (args,)
    return TorchSubject(module, None if args is None else tuple(args), dict(kwargs or {}))


class TorchReference:
    """A torch module, run in eval mode without gradients.

    An input of the candidate is bound to an argument of ``forward`` (by its own name, by the one that ``mapping`` gives,
    else by position), to an attribute of the module (``mapping`` gives ``self.PATH``, or a path that is no argument), or
    to what a submodule returns (``mapping`` gives the submodule's path: the candidate is fed the module's inner value).
    One that has the name of a parameter or buffer is fed with it.
    """

    def __init__(
        self,
        candidate: Ported,
        subject: TorchSubject,
        mapping: Mapping[str, str],
        outputs: tuple[str, ...],
        *,
        device: str,
        tf32: bool,
    ) -> None:
        self.module = subject.module
        self.name = subject.reference or type(subject.module).__name__
        self.providers: tuple[str, ...] = ("torch",)
        self.notes: list[str] = []
        self.doubts: list[str] = []
        self.bindings: dict[str, str] = {}
        self._device = "cpu" if device == "cpu" else "cuda"
        self._tf32 = tf32
        self._call = ForwardCall(subject)
        self._arguments: dict[str, int] = {}
        self._attributes: dict[str, str] = {}
        self._inner: dict[str, str] = {}
        self._weights: dict[str, torch.Tensor] = {}
        self._own: list[int] = []
        self._bind_inputs(candidate, mapping)
        self._bind_outputs(candidate, mapping, outputs)
        self._ports = candidate.inputs
        self.drawn = tuple(n for n in candidate.inputs if n not in self._inner and n not in self._weights)
        self.like: dict[str, tuple[int | str | None, ...] | None] = {}
        self.like = {name: self._call.shape(at) for name, at in self._arguments.items()}
        for name, path in self._attributes.items():
            current = np.asarray(plain_value(attribute_at(self.module, path)))
            self.like[name] = current.shape if current.ndim else None
        if self.module.training:
            self.notes.append("the module was in training mode; it was compared in eval mode")

    def _bind_inputs(self, candidate: Ported, mapping: Mapping[str, str]) -> None:
        for name, target in mapping.items():
            if name in candidate.inputs:
                self._bind_mapped(name, target)
        for name in candidate.inputs:
            if (
                name not in mapping
                and (at := self._call.place(name)) is not None
                and at not in self._arguments.values()
            ):
                self._arguments[name] = at
        rest = [n for n, p in candidate.inputs.items() if p.required and n not in self._bound]
        self._weights = weights_called(self.module, {name: candidate.inputs[name] for name in rest})
        if self._weights:
            self.notes.append(f"inputs fed with the module's own parameters and buffers: {', '.join(self._weights)}")
        rest = [name for name in rest if name not in self._weights]
        free = [at for at in self._call.expected if at not in self._arguments.values()]
        self._bind_by_position(candidate, rest, free)
        if len(rest) > len(free):
            raise self._no_counterpart(candidate, rest[len(free) :])
        self._check_arguments(free[len(rest) :])
        self.bindings.update({name: self._call.names[at] for name, at in self._arguments.items()})
        self.bindings.update({name: f"self.{path}" for name, path in self._attributes.items()})
        self.bindings.update({name: f"self.{name}" for name in self._weights})
        self.bindings.update({name: f"output of {path}" for name, path in self._inner.items()})

    def _bind_by_position(self, candidate: Ported, rest: list[str], free: list[int]) -> None:
        """Bind inputs whose names say nothing to the arguments that are left, in order.

        Raises:
            ComparisonError: One has another number of dims than the argument that it would stand for.
        """
        for name, at in zip(rest, free, strict=False):
            self._arguments[name] = at
            dims, shape, argument = candidate.inputs[name].dims, self._call.shape(at), self._call.names[at]
            if dims and shape and len(dims) > 1 and len(shape) > 1 and len(dims) != len(shape):
                raise ComparisonError(
                    f"input {name!r} ({candidate.inputs[name].text}) of the candidate has another number of dims than "
                    f"{list(shape)}, the argument {argument!r} of {self.name}, and nothing else that it could stand for is left",
                    hint=by_hand(name),
                )
            self.doubts.append(
                Hint(f"input {name!r} stands for the argument {argument!r} by its place only: ", by_hand(name))
            )

    @property
    def _bound(self) -> set[str]:
        return {*self._arguments, *self._attributes, *self._inner}

    def _bind_mapped(self, name: str, target: str) -> None:
        own = target.removeprefix("self.")
        at = self._call.place(target)
        if at is not None and own == target:
            self._arguments[name] = at
        elif own in dict(self.module.named_modules()) and own:
            self._inner[name] = own
        elif attribute_at(self.module, own) is not None:
            self._attributes[name] = own
        else:
            known = [*self._call.names, *(f"self.{path}" for path, _ in numbers_of(self.module))]
            known += [path for path, _ in self.module.named_modules() if path]
            raise NameNotFoundError("argument, attribute or submodule", target, known)

    def _check_arguments(self, unfed: list[int]) -> None:
        for at in unfed:
            if not self._call.has_example:
                raise ComparisonError(
                    f"forward of {self.name} needs {self._call.names[at]!r}, which no input of the candidate stands for",
                    hint=Hint(
                        "let the factory give example arguments: (module, args); or say what it is with ",
                        Argument("map", {Blank("INPUT"): self._call.names[at]}),
                    ),
                )
            if self._inner:
                self._own.append(at)
                continue
            value = described(np.asarray(self._call.example(at)))
            self.notes.append(
                f"the argument {self._call.names[at]!r} is no input of the candidate; the reference takes the example's in "
                f"every run: {value}"
            )
            self.doubts.append(
                f"the argument {self._call.names[at]!r}, which is no input of the candidate, was {value} in the reference: the "
                "candidate may have been made with another value, or not use it"
            )

    def _no_counterpart(self, candidate: Ported, extra: list[str]) -> ComparisonError:
        names = ", ".join(f"{n!r} ({candidate.inputs[n].text})" for n in extra)
        found = [f"self.{path} (now {value})" for path, value in numbers_of(self.module)]
        alike = [text for text in found if extra[0].lower() in text.lower() or "scale" in text or "factor" in text]
        listed = "; numbers that the module holds: " + ", ".join((alike or found)[:5]) if found else ""
        return ComparisonError(
            f"the candidate has inputs that {self.name} has no argument for: {names}; "
            f"forward takes ({', '.join(self._call.names)})",
            hint=Hint(
                "say what it is with ",
                Argument("map", {extra[0]: Blank("ARGUMENT")}),
                " or ",
                Argument("map", {extra[0]: Blank("self.ATTRIBUTE")}),
                ", or which submodule returns it with ",
                Argument("map", {extra[0]: Blank("SUBMODULE")}),
                listed,
            ),
        )

    def _bind_outputs(self, candidate: Ported, mapping: Mapping[str, str], outputs: tuple[str, ...]) -> None:
        self._outputs: dict[str, int | str] = {}
        self._all = not outputs
        for position, name in enumerate(candidate.outputs):
            target = mapping.get(name, str(position))
            if outputs and name not in outputs:
                continue
            if target.isdigit():
                self._outputs[name] = int(target)
            elif (path := target.removeprefix("self.")) in dict(self.module.named_modules()) and path:
                self._outputs[name] = path
            else:
                raise NameNotFoundError("submodule", target, (p for p, _ in self.module.named_modules()))
            self.bindings[name] = f"output {target}" if target.isdigit() else f"output of {self._outputs[name]}"
        self.by_position = tuple(name for name in self.positions if name not in mapping)
        for name in outputs:
            if name not in candidate.outputs:
                raise NameNotFoundError("output", name, candidate.outputs)

    def own_port(self, name: str) -> Port:
        """A torch module has no inputs besides those of the candidate.

        Raises:
            NameNotFoundError: Always.
        """
        raise NameNotFoundError("input", name, self.drawn)

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
        modules = {path for path in (*self._inner.values(), *self._outputs.values()) if isinstance(path, str)}
        with self.attributes_set(feeds), captured(self.module, modules) as inner:
            flat = self._forward(feeds, sample)
        missing = [path for path in modules if path not in inner]
        if missing:
            raise ComparisonError(f"{self.name} did not call its submodule {missing[0]!r} on these feeds")
        hand_over = tensor_array if self._device == "cpu" else _detached
        exchange = Exchange({name: hand_over(inner[path]) for name, path in self._inner.items()})
        exchange.feeds.update(self._own_weights(feeds))
        self.check_outputs(
            len(flat),
            Hint(
                "choose the ones to compare with ",
                Argument("outputs", [Blank("NAME")]),
                ", and say which they are with ",
                Argument("map", {Blank("NAME"): Blank("POSITION")}),
            ),
        )
        exchange.outputs = {
            name: hand_over(inner[at] if isinstance(at, str) else flat[at]) for name, at in self._outputs.items()
        }
        return exchange

    def check_outputs(self, count: int, hint: str) -> None:
        """Refuse a module that gives another number of tensors than the candidate has outputs.

        Raises:
            ComparisonError: It does, or gives fewer than an output is said to be.
        """
        places = self.positions.values()
        inner = len(places) < len(self._outputs) or bool(self._inner)
        if places and (max(places) >= count or (self._all and not inner and len(places) != count)):
            raise ComparisonError(
                f"{self.name} gives {count} outputs and the candidate {len(self._outputs)}", hint=hint
            )

    @property
    def positions(self) -> dict[str, int]:
        """Output of the candidate -> which output of the module it is; those that a submodule returns are left out."""
        return {name: at for name, at in self._outputs.items() if isinstance(at, int)}

    def _forward(self, feeds: Mapping[str, Any], sample: int) -> list[torch.Tensor]:
        import torch

        args, kwargs = self.arguments(feeds, sample)
        try:
            with torch.no_grad():
                return flattened(self.module(*args, **kwargs))
        except Exception as error:
            raise _forward_failed(self.name, error, self.doubts) from error

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Eval mode, the device and TF32 as asked; afterwards the module and torch are as they were."""
        with prepared(self.module, self._device, tf32=self._tf32):
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
        values.update({at: varied(self._call.example(at), sample) for at in self._own})
        return self._call.arguments(values, self._device)

    @contextlib.contextmanager
    def attributes_set(self, feeds: Mapping[str, Any]) -> Iterator[None]:
        """The module with the attributes that inputs of the candidate stand for set to what these are fed."""
        with contextlib.ExitStack() as stack:
            for name, path in {**self._attributes, **{name: name for name in self._weights}}.items():
                if name in feeds:
                    stack.enter_context(attribute_set(self.module, path, feeds[name]))
            yield


def _detached(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach()


def by_hand(name: str) -> Hint:
    """How to say what an input is that was bound by its place."""
    submodule = Argument("map", {name: Blank("SUBMODULE")})
    return Hint("if it is an inner value, say which submodule returns it with ", submodule)


def _forward_failed(name: str, error: Exception, doubts: Sequence[str]) -> ComparisonError:
    line = user_line(error)
    text = str(error).strip().partition("\n")[0]
    where = f", at {line}" if line else ""
    if is_out_of_memory(error):
        return ComparisonError(
            f"{name} ran out of memory{where}: {text}", hint="bind smaller dims, or feed smaller inputs"
        )
    return ComparisonError(
        f"forward of {name} raised {type(error).__name__}: {text}{where}",
        hint=joined(
            "; ",
            ["give feeds and sizes that the module takes, or let the factory give example arguments", *doubts],
        ),
    )
