"""Binding a candidate to a torch module: its arguments, attributes, weights and what its submodules return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.errors import ComparisonError, NameNotFoundError
from graphkit.graph.misnamed import node_hint
from graphkit.hint import Argument, Blank, Hint
from graphkit.torch_export.factory import TorchSubject, load_factory
from graphkit.verify.compare.described import described
from graphkit.verify.reference.binding import Attribute, Binding, ForwardArgument, Returned, Source, Weight
from graphkit.verify.reference.torch_arguments import ForwardCall, plain_value
from graphkit.verify.reference.torch_state import attribute_at, numbers_of, weights_called

if TYPE_CHECKING:
    from graphkit.verify.reference.binding import Ported


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


def bind_torch(
    candidate: Ported, subject: TorchSubject, mapping: Mapping[str, str], outputs: tuple[str, ...] = ()
) -> Binding:
    """Bind a candidate to a torch module.

    An input of the candidate is bound to an argument of ``forward`` (by its own name, by the one that ``mapping`` gives,
    else by position), to an attribute of the module (``mapping`` gives ``self.PATH``, or a path that is no argument), or
    to what a submodule returns (``mapping`` gives the submodule's path: the candidate is fed the module's inner value).
    One that has the name of a parameter or buffer is fed with it.

    Args:
        candidate: The candidate's inputs and outputs.
        subject: The module and its example arguments.
        mapping: Input or output of the candidate -> what it is.
        outputs: The outputs to compare; none for all.

    Raises:
        ComparisonError: Inputs have no counterpart, or the example arguments do not fit the module.
        NameNotFoundError: ``mapping`` or ``outputs`` name what is not there.
    """
    binder = _Binder(candidate, subject, mapping)
    sources = binder.inputs()
    bound = binder.outputs(outputs)
    positions = [name for name, at in bound.items() if isinstance(at, int)]
    if subject.module.training:
        binder.notes.append("the module was in training mode; it was compared in eval mode")
    return Binding(
        reference=binder.name,
        inputs=sources,
        outputs=bound,
        drawn=tuple(n for n in candidate.inputs if not isinstance(sources.get(n), Returned | Weight)),
        like=binder.like(sources),
        own=tuple(binder.own),
        by_position=tuple(name for name in positions if name not in mapping),
        whole=not outputs,
        notes=tuple(binder.notes),
        doubts=tuple(binder.doubts),
    )


class _Binder:
    """The two sides, and what is noticed on the way."""

    def __init__(self, candidate: Ported, subject: TorchSubject, mapping: Mapping[str, str]) -> None:
        self.name = subject_name(subject)
        self.notes: list[str] = []
        self.doubts: list[str] = []
        self.own: list[int] = []
        self._candidate, self._mapping = candidate, mapping
        self._module = subject.module
        self._call = ForwardCall(subject)
        self._submodules = dict(subject.module.named_modules())

    def inputs(self) -> dict[str, Source]:
        """What each input of the candidate is.

        Raises:
            ComparisonError: One has no counterpart, or an argument has none.
            NameNotFoundError: The mapping names what is not there.
        """
        ports = self._candidate.inputs
        found: dict[str, Source] = {n: self._mapped(t) for n, t in self._mapping.items() if n in ports}
        for name in ports:
            at = self._call.place(name)
            if name not in found and at is not None and at not in _taken(found):
                found[name] = ForwardArgument(name, at)
        rest = [name for name, port in ports.items() if port.required and name not in found]
        weights = weights_called(self._module, {name: ports[name] for name in rest})
        if weights:
            self.notes.append(f"inputs fed with the module's own parameters and buffers: {', '.join(weights)}")
        found.update({name: Weight(name, tensor) for name, tensor in weights.items()})
        rest = [name for name in rest if name not in weights]
        free = [at for at in self._call.expected if at not in _taken(found)]
        found.update(self._by_position(rest, free))
        if len(rest) > len(free):
            raise self._no_counterpart(rest[len(free) :])
        self._check_arguments(free[len(rest) :], inner=any(isinstance(source, Returned) for source in found.values()))
        return found

    def _mapped(self, target: str) -> Source:
        """What ``mapping`` says that an input is."""
        own = target.removeprefix("self.")
        at = self._call.place(target)
        if at is not None and own == target:
            return ForwardArgument(target, at)
        if own and own in self._submodules:
            return Returned(own)
        if attribute_at(self._module, own) is not None:
            return Attribute(own)
        known = [*self._call.names, *(f"self.{path}" for path, _ in numbers_of(self._module))]
        raise NameNotFoundError("argument, attribute or submodule", target, [*known, *filter(None, self._submodules)])

    def _by_position(self, rest: list[str], free: list[int]) -> dict[str, Source]:
        """Inputs whose names say nothing stand for the arguments that are left, in order.

        Raises:
            ComparisonError: One has another number of dims than the argument that it would stand for.
        """
        found: dict[str, Source] = {}
        for name, at in zip(rest, free, strict=False):
            port, shape, argument = self._candidate.inputs[name], self._call.shape(at), self._call.names[at]
            if port.dims and shape and len(port.dims) > 1 and len(shape) > 1 and len(port.dims) != len(shape):
                raise ComparisonError(
                    f"input {name!r} ({port.text}) of the candidate has another number of dims than "
                    f"{list(shape)}, the argument {argument!r} of {self.name}, and nothing else that it could stand for is left",
                    hint=_by_hand(name),
                )
            found[name] = ForwardArgument(argument, at)
            self.doubts.append(
                Hint(f"input {name!r} stands for the argument {argument!r} by its place only: ", _by_hand(name))
            )
        return found

    def _check_arguments(self, unfed: list[int], *, inner: bool) -> None:
        """Arguments that no input stands for: they get the example's value, or, before an inner value, others too."""
        for at in unfed:
            argument = self._call.names[at]
            if not self._call.has_example:
                raise ComparisonError(
                    f"forward of {self.name} needs {argument!r}, which no input of the candidate stands for",
                    hint=Hint(
                        "let the factory give example arguments: (module, args); or say what it is with ",
                        Argument("map", {Blank("INPUT"): argument}),
                    ),
                )
            if inner:
                self.own.append(at)
                continue
            value = described(np.asarray(self._call.example(at)))
            self.notes.append(
                f"the argument {argument!r} is no input of the candidate; the reference takes the example's in "
                f"every run: {value}"
            )
            self.doubts.append(
                f"the argument {argument!r}, which is no input of the candidate, was {value} in the reference: the "
                "candidate may have been made with another value, or not use it"
            )

    def _no_counterpart(self, extra: list[str]) -> ComparisonError:
        names = ", ".join(f"{n!r} ({self._candidate.inputs[n].text})" for n in extra)
        found = [f"self.{path} (now {value})" for path, value in numbers_of(self._module)]
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

    def outputs(self, wanted: tuple[str, ...]) -> dict[str, str | int]:
        """What each output of the candidate is: a number, or the path of a submodule."""
        for name in wanted:
            if name not in self._candidate.outputs:
                raise NameNotFoundError(
                    "output", name, self._candidate.outputs, hint=node_hint(self._candidate.model.proto.graph, name)
                )
        found: dict[str, str | int] = {}
        for position, name in enumerate(self._candidate.outputs):
            target = self._mapping.get(name, str(position))
            if wanted and name not in wanted:
                continue
            path = target.removeprefix("self.")
            if target.isdigit():
                found[name] = int(target)
            elif path and path in self._submodules:
                found[name] = path
            else:
                raise NameNotFoundError("submodule", target, self._submodules)
        return found

    def like(self, sources: Mapping[str, Source]) -> dict[str, tuple[int | str | None, ...] | None]:
        """The dims that the module's example arguments and attributes have."""
        found: dict[str, tuple[int | str | None, ...] | None] = {}
        for name, source in sources.items():
            if isinstance(source, ForwardArgument):
                found[name] = self._call.shape(source.at)
            elif isinstance(source, Attribute):
                current = np.asarray(plain_value(attribute_at(self._module, source.path)))
                found[name] = current.shape if current.ndim else None
        return found


def subject_name(subject: TorchSubject) -> str:
    """What to call a module: as it was named, or by its class."""
    return subject.reference or type(subject.module).__name__


def _taken(found: Mapping[str, Source]) -> set[int]:
    return {source.at for source in found.values() if isinstance(source, ForwardArgument)}


def _by_hand(name: str) -> Hint:
    submodule = Argument("map", {name: Blank("SUBMODULE")})
    return Hint("if it is an inner value, say which submodule returns it with ", submodule)
