"""A torch module as the reference: its arguments, attributes and inner values bound to the candidate's inputs."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.errors import ComparisonError, ExportError, NameNotFoundError
from graphkit.runtime.feeds import tensor_array
from graphkit.torch_export.arguments import Arguments, bind
from graphkit.torch_export.factory import TorchSubject, load_factory
from graphkit.torch_export.job import evaluating
from graphkit.torch_export.source_line import user_line
from graphkit.verify.device import to_tensor
from graphkit.verify.reference import Exchange

if TYPE_CHECKING:
    import torch

    from graphkit.runtime.ports import Port
    from graphkit.tensor import Array
    from graphkit.verify.reference import Ported


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
        self.bindings: dict[str, str] = {}
        self._device = "cpu" if device == "cpu" else "cuda"
        self._tf32 = tf32
        self._call = _Call(subject)
        self._arguments: dict[str, int] = {}
        self._attributes: dict[str, str] = {}
        self._inner: dict[str, str] = {}
        self._own: list[int] = []
        self._bind_inputs(candidate, mapping)
        self._bind_outputs(candidate, mapping, outputs)
        self._kinds = {name: port.data_type for name, port in candidate.inputs.items()}
        self.drawn = tuple(n for n in candidate.inputs if n not in self._inner)
        self.like: dict[str, tuple[int | str | None, ...] | None] = {}
        self.like = {name: self._call.shape(at) for name, at in self._arguments.items()}
        for name, path in self._attributes.items():
            current = np.asarray(_plain(_attribute(self.module, path)))
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
        free = [at for at in self._call.expected if at not in self._arguments.values()]
        for name, at in zip(rest, free, strict=False):
            self._arguments[name] = at
        if len(rest) > len(free):
            raise self._no_counterpart(candidate, rest[len(free) :])
        self._check_arguments(free[len(rest) :])
        self.bindings.update({name: self._call.names[at] for name, at in self._arguments.items()})
        self.bindings.update({name: f"self.{path}" for name, path in self._attributes.items()})
        self.bindings.update({name: f"output of {path}" for name, path in self._inner.items()})

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
        elif _attribute(self.module, own) is not None:
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
                    hint="let the factory give example arguments: (module, args); or say what it is with "
                    f"--map INPUT={self._call.names[at]}",
                )
            if self._inner:
                self._own.append(at)
                continue
            self.notes.append(
                f"the argument {self._call.names[at]!r} is no input of the candidate; the reference takes the factory's value"
            )

    def _no_counterpart(self, candidate: Ported, extra: list[str]) -> ComparisonError:
        names = ", ".join(f"{n!r} ({candidate.inputs[n].text})" for n in extra)
        found = [f"self.{path} (now {value})" for path, value in numbers_of(self.module)]
        alike = [text for text in found if extra[0].lower() in text.lower() or "scale" in text or "factor" in text]
        listed = "; numbers that the module holds: " + ", ".join((alike or found)[:5]) if found else ""
        return ComparisonError(
            f"the candidate has inputs that {self.name} has no argument for: {names}; "
            f"forward takes ({', '.join(self._call.names)})",
            hint=f"say what it is with --map {extra[0]}=ARGUMENT or --map {extra[0]}=self.ATTRIBUTE{listed}",
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
        found.update({name: _plain(_attribute(self.module, path)) for name, path in self._attributes.items()})
        return {name: value for name, value in found.items() if value is not None}

    def run(self, feeds: Mapping[str, Any], sample: int) -> Exchange:
        """Run the module.

        Raises:
            ComparisonError: ``forward`` raised, or gave other outputs than the candidate has.
        """
        modules = {path for path in (*self._inner.values(), *self._outputs.values()) if isinstance(path, str)}
        with self.attributes_set(feeds), _captured(self.module, modules) as inner:
            flat = self._forward(feeds, sample)
        missing = [path for path in modules if path not in inner]
        if missing:
            raise ComparisonError(f"{self.name} did not call its submodule {missing[0]!r} on these feeds")
        hand_over = tensor_array if self._device == "cpu" else _detached
        exchange = Exchange({name: hand_over(inner[path]) for name, path in self._inner.items()})
        places = [at for at in self._outputs.values() if isinstance(at, int)]
        if places and (max(places) >= len(flat) or (self._all and not modules and len(places) != len(flat))):
            raise ComparisonError(
                f"{self.name} gives {len(flat)} outputs and the candidate {len(self._outputs)}",
                hint="choose the ones to compare with --output NAME, and say which they are with --map NAME=POSITION",
            )
        exchange.outputs = {
            name: hand_over(inner[at] if isinstance(at, str) else flat[at]) for name, at in self._outputs.items()
        }
        return exchange

    def _forward(self, feeds: Mapping[str, Any], sample: int) -> list[torch.Tensor]:
        import torch

        args, kwargs = self.arguments(feeds, sample)
        try:
            with torch.no_grad():
                return flattened(self.module(*args, **kwargs))
        except Exception as error:
            raise _forward_failed(self.name, error) from error

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Eval mode, the device and TF32 as asked; afterwards the module and torch are as they were."""
        with prepared(self.module, self._device, tf32=self._tf32):
            yield

    def determined(self, feeds: Mapping[str, Any], sample: int) -> dict[str, Any]:
        """What the module determines of the candidate's feeds; it runs only if inner values are among it."""
        return self.run(feeds, sample).feeds if self._inner else {}

    def arguments(self, feeds: Mapping[str, Any], sample: int = 0) -> tuple[list[Any], dict[str, Any]]:
        """Feeds of the candidate as positional and keyword arguments of ``forward``, tensors on the device."""
        values = {at: feeds[name] for name, at in self._arguments.items() if name in feeds}
        values.update({at: varied(self._call.example(at), sample) for at in self._own})
        return self._call.arguments(values, self._device)

    @contextlib.contextmanager
    def attributes_set(self, feeds: Mapping[str, Any]) -> Iterator[None]:
        """The module with the attributes that inputs of the candidate stand for set to what these are fed."""
        with contextlib.ExitStack() as stack:
            for name, path in self._attributes.items():
                if name in feeds:
                    stack.enter_context(_set(self.module, path, feeds[name]))
            yield


def varied(example: Array, sample: int) -> Array:
    """An example argument for sample 0, later random numbers of its shape and range; integers stay as they are."""
    if not sample or example.dtype.kind != "f" or not example.size:
        return example
    numbers = np.random.default_rng(sample).uniform(float(example.min()), float(example.max()), example.shape)
    return numbers.astype(example.dtype)


def _detached(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach()


class _Call:
    """The arguments of ``forward``: what they are called, examples of them, and a call with some of them replaced.

    Attributes:
        names: The arguments, nested tensors one by one.
        expected: Positions of those that an input of the candidate has to stand for.
        has_example: Whether the factory gave arguments.
    """

    def __init__(self, subject: TorchSubject) -> None:
        self.has_example = subject.args is not None or bool(subject.kwargs)
        parameters = inspect.signature(subject.module.forward).parameters.values()
        self._parameters = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        self._bound: Arguments | None = None
        if self.has_example:
            try:
                self._bound = bind(subject.module, subject.args or (), subject.kwargs, None)
            except ExportError as error:
                raise ComparisonError(error.message, hint=error.hint) from error
            self.names = [leaf.name for leaf in self._bound.leaves]
            self.expected = [i for i, leaf in enumerate(self._bound.leaves) if leaf.is_tensor]
        else:
            self.names = [p.name for p in self._parameters]
            self.expected = [i for i, p in enumerate(self._parameters) if p.default is p.empty]

    def place(self, name: str) -> int | None:
        """The position of an argument by its name."""
        return self.names.index(name) if name in self.names else None

    def shape(self, at: int) -> tuple[int, ...] | None:
        """The shape of the example for an argument, or None."""
        value = self.example(at)
        return None if value is None else tuple(np.shape(value))

    def example(self, at: int) -> Any:
        """The example for an argument as an array or number, or None."""
        if self._bound is None:
            return None
        return _plain(self._bound.leaves[at].value)

    def arguments(self, values: Mapping[int, Any], device: str) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments with arrays in the places of some of them, as tensors on a device."""
        if self._bound is None:
            return self._from_signature(values, device)
        counter = iter(range(len(self.names)))
        leaves = self._bound.leaves

        def placed(value: Any) -> Any:
            if value is None:
                return None
            if isinstance(value, Mapping):
                return {key: placed(item) for key, item in value.items()}
            if isinstance(value, (tuple, list)):
                items = [placed(item) for item in value]
                return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
            at = next(counter)
            if at not in values:
                return value.to(device) if leaves[at].is_tensor else value
            return to_tensor(values[at], device) if leaves[at].is_tensor else like_python(values[at], value)

        args, kwargs = placed((tuple(self._bound.args), dict(self._bound.kwargs)))
        return list(args), kwargs

    def _from_signature(self, values: Mapping[int, Any], device: str) -> tuple[list[Any], dict[str, Any]]:
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for at, parameter in enumerate(self._parameters):
            if at not in values:
                continue
            default = parameter.default
            number = isinstance(default, (bool, int, float)) or parameter.annotation in (
                int,
                float,
                bool,
                "int",
                "float",
                "bool",
            )
            value = like_python(values[at], default) if number else to_tensor(values[at], device)
            if parameter.kind is parameter.POSITIONAL_ONLY:
                args.append(value)
            else:
                kwargs[parameter.name] = value
        return args, kwargs


def like_python(value: Any, before: Any) -> Any:
    """An array in the form of the Python value whose place it takes: a number, a tuple, a list, a tensor.

    One element becomes a number (an int where the old one was an int and the new one is whole), several a tuple.
    """
    import torch

    if isinstance(before, torch.Tensor):
        return to_tensor(value, str(before.device)).to(before.dtype).reshape(before.shape)
    array = np.asarray(value)
    if isinstance(before, (tuple, list)):
        items = np.broadcast_to(array.ravel(), (len(before),)) if array.size in (1, len(before)) else array.ravel()
        return type(before)(like_python(item, old) for item, old in zip(items, before, strict=False))
    numbers = [_whole(item) if isinstance(before, int) else item for item in array.ravel().tolist()]
    if array.size == 1 or len(set(numbers)) == 1:
        return numbers[0]
    return tuple(numbers)


def _whole(number: Any) -> Any:
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _plain(value: Any) -> Any:
    """A tensor as an array, a number or tuple of numbers as it is, anything else as None."""
    if hasattr(value, "detach"):
        return tensor_array(value)
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (tuple, list)) and value and all(isinstance(item, (int, float)) for item in value):
        return list(value)
    return None


def _attribute(module: Any, path: str) -> Any:
    found = module
    for part in path.split("."):
        found = getattr(found, part, None)
        if found is None:
            return None
    return found


@contextlib.contextmanager
def _set(module: Any, path: str, value: Any) -> Iterator[None]:
    parent, _, name = path.rpartition(".")
    owner = _attribute(module, parent) if parent else module
    before = getattr(owner, name)
    new = like_python(value, before)
    import torch

    if isinstance(before, torch.Tensor):
        kept = before.detach().clone()
        with torch.no_grad():
            before.copy_(new)
        try:
            yield
        finally:
            with torch.no_grad():
                before.copy_(kept)
        return
    setattr(owner, name, new)
    try:
        yield
    finally:
        setattr(owner, name, before)


def numbers_of(module: torch.nn.Module) -> list[tuple[str, Any]]:
    """(path, value) of the numbers and tuples of numbers that a module and its submodules hold as attributes."""
    found = []
    for path, one in module.named_modules():
        for name, value in vars(one).items():
            if name.startswith("_") or name == "training" or isinstance(value, bool) or hasattr(value, "detach"):
                continue
            if _plain(value) is not None:
                found.append((f"{path}.{name}" if path else name, value))
    return found


@contextlib.contextmanager
def _captured(module: torch.nn.Module, paths: set[str]) -> Iterator[dict[str, torch.Tensor]]:
    """What submodules return, in their first call, by path."""
    found: dict[str, torch.Tensor] = {}
    modules = dict(module.named_modules())
    handles = []
    for path in paths:

        def keep(_: Any, __: Any, output: Any, path: str = path) -> None:
            found.setdefault(path, flattened(output)[0].detach())

        handles.append(modules[path].register_forward_hook(keep))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def flattened(output: Any) -> list[torch.Tensor]:
    """The tensors of a module's output in the order in which the exporters make them graph outputs."""
    import torch

    if isinstance(output, torch.Tensor):
        return [output]
    if isinstance(output, Mapping):
        return [tensor for item in output.values() for tensor in flattened(item)]
    if isinstance(output, (tuple, list)):
        return [tensor for item in output for tensor in flattened(item)]
    return []


def _forward_failed(name: str, error: Exception) -> ComparisonError:
    line = user_line(error)
    text = str(error).strip().partition("\n")[0]
    where = f", at {line}" if line else ""
    memory = type(error).__name__ == "OutOfMemoryError" or "not enough memory" in text or isinstance(error, MemoryError)
    if memory:
        return ComparisonError(f"{name} ran out of memory{where}: {text}", hint="bind smaller dims")
    return ComparisonError(
        f"forward of {name} raised {type(error).__name__}: {text}{where}",
        hint="give feeds that the module takes (--feed, --bind), or let the factory give example arguments",
    )


@contextlib.contextmanager
def prepared(module: torch.nn.Module, device: str, *, tf32: bool) -> Iterator[None]:
    """A module in eval mode and on a device, TF32 as asked; afterwards the module and torch are as they were."""
    with evaluating(module), _on(module, "cpu" if device == "cpu" else "cuda"), _precision(tf32=tf32):
        yield


def placed(value: Any, device: str) -> Any:
    """Arguments with their tensors on a device."""
    if hasattr(value, "to") and hasattr(value, "device"):
        return value.to("cpu" if device == "cpu" else "cuda")
    if isinstance(value, Mapping):
        return {key: placed(item, device) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        items = [placed(item, device) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


@contextlib.contextmanager
def _on(module: torch.nn.Module, device: str) -> Iterator[None]:
    """The module on a device inside of the block. Its own device is taken from its first parameter or buffer."""
    tensors = [*module.parameters(), *module.buffers()]
    before = tensors[0].device if tensors else None
    if before is None or before.type == device:
        yield
        return
    module.to(device)
    try:
        yield
    finally:
        module.to(before)


@contextlib.contextmanager
def _precision(*, tf32: bool) -> Iterator[None]:
    """float32 products in torch with or without TF32 inside of the block.

    torch has two sets of switches for this and refuses to read the older one once the newer one was used; its own
    exporter reads the older one. So the older is used, unless the caller's program has used the newer.
    """
    import torch

    olds = [torch.backends.cuda.matmul, torch.backends.cudnn]
    try:
        before = [backend.allow_tf32 for backend in olds]
    except RuntimeError:
        with _new_precision(tf32=tf32):
            yield
        return
    try:
        for backend in olds:
            backend.allow_tf32 = tf32
        yield
    finally:
        for backend, value in zip(olds, before, strict=True):
            backend.allow_tf32 = value


@contextlib.contextmanager
def _new_precision(*, tf32: bool) -> Iterator[None]:
    import torch

    backends = [torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn]
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "tf32" if tf32 else "ieee"
        yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.fp32_precision = value
