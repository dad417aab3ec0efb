"""A torch module value by value: by what its submodules return."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from graphkit.errors import ComparisonError
from graphkit.torch_export.mark import marks_heard
from graphkit.torch_tensors import tensor_array
from graphkit.verify.bisect.side import Place
from graphkit.verify.reference.torch_arguments import flattened
from graphkit.verify.reference.torch_run import KERNELS, LIBRARY, TorchRun
from graphkit.verify.reference.torch_state import is_script


@dataclass(frozen=True)
class Call:
    """One call of a submodule, or one mark that was passed.

    Attributes:
        path: The submodule, or the mark's name.
        number: Counted from 0 for each path.
        kind: The class, or "mark".
        keys: The names of the tensors that it gave.
        follows: The key of the tensor that it was given, where that came out of another call.
        same: Whether it gave back what it was given, as Dropout and Identity do in eval mode.
    """

    path: str
    number: int
    kind: str
    keys: tuple[str, ...]
    follows: str | None
    same: bool


class ModuleSide:
    """The outputs of submodules and the marks, in the order in which they are there.

    Attributes:
        calls: What was called.
        notes: What could not be watched.
    """

    def __init__(self, run: TorchRun) -> None:
        self.name = run.name
        self.providers: tuple[str, ...] = ("torch",)
        self._run = run
        self._sizes: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self.calls: list[Call] = []
        self.notes: list[str] = []
        self._origin: list[tuple[weakref.ref[Any], str]] = []
        self._unwatched = {path for path, module in run.module.named_modules() if is_script(module)}
        if self._unwatched:
            whole = "only its outputs are compared" if "" in self._unwatched else "what is inside of it is not compared"
            first = min(self._unwatched) or "the module"
            self.notes.append(f"{first} is a ScriptModule, whose submodules cannot be watched: {whole}")
        self._called(self._record)
        self._origin.clear()

    @property
    def runs(self) -> int:
        """How often the module was run."""
        return self._run.runs

    def places(self) -> list[Place]:
        """Every tensor that a submodule gave, or that was marked."""
        return [Place(key, None, call.kind, call.path) for call in self.calls for key in call.keys]

    def sizes(self) -> dict[str, int]:
        """Key -> bytes."""
        return self._sizes

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Key -> shape."""
        return self._shapes

    def held(self) -> dict[str, tuple[int, int]]:
        """Value -> bytes that are held when it is made: between submodules that is not known; two values, and KERNELS."""
        most = (2 + KERNELS) * max(self._sizes.values(), default=0) + LIBRARY
        return dict.fromkeys(self._sizes, (0, most))

    def expect(self, names: Iterable[str]) -> None:
        """Nothing is kept from one run to the next."""

    def fetch(self, names: Sequence[str]) -> dict[str, Any]:
        """Some outputs, from one more run."""
        wanted = set(names)
        found: dict[str, Any] = {}

        def keep(path: str, number: int, kind: str, inputs: Any, outputs: list[Any]) -> None:  # noqa: ARG001 (as _record)
            for key, tensor in zip(_keys(path, number, kind, len(outputs)), outputs, strict=True):
                if key in wanted:
                    found[key] = tensor_array(tensor.clone())

        self._called(keep)
        missing = wanted - found.keys()
        if missing:
            raise ComparisonError(f"{self.name} did not give {min(missing)!r} when it was run again")
        return found

    def _record(self, path: str, number: int, kind: str, inputs: list[Any], outputs: list[Any]) -> None:
        keys = _keys(path, number, kind, len(outputs))
        given = next((key for ref, key in reversed(self._origin) if any(ref() is t for t in inputs)), None)
        same = (
            bool(outputs)
            and len(outputs) == len(inputs[: len(outputs)])
            and all(
                any(o is i or (o.data_ptr() == i.data_ptr() and o.shape == i.shape) for i in inputs) for o in outputs
            )
        )
        self.calls.append(Call(path, number, kind, keys, given, same and kind != "mark"))
        for key, tensor in zip(keys, outputs, strict=True):
            self._shapes[key] = tuple(tensor.shape)
            self._sizes[key] = tensor.numel() * tensor.element_size()
            self._origin.append((weakref.ref(tensor), key))

    def _called(self, told: Callable[[str, int, str, list[Any], list[Any]], None]) -> None:
        """Run the module; ``told`` hears of every call and mark."""
        with self._watched(told):
            output = self._run.call()
        if "" in self._unwatched:
            given = flattened([*self._run.args, *self._run.kwargs.values()])
            told("", 0, type(self._run.module).__name__, given, flattened(output))

    @contextlib.contextmanager
    def _watched(self, told: Callable[[str, int, str, list[Any], list[Any]], None]) -> Iterator[None]:
        """Call ``told`` with (path, number of the call, class, input tensors, output tensors) for every call and mark."""
        import torch

        counts: dict[str, int] = {}
        handles = []

        def tell(path: str, kind: str, inputs: list[Any], outputs: list[Any]) -> None:
            number = counts.get(path, 0)
            counts[path] = number + 1
            told(path, number, kind, inputs, outputs)

        compiling = torch.compiler.is_dynamo_compiling  # torch compiles the bodies of while_loop: no values there

        for path, module in self._run.module.named_modules():
            if path in self._unwatched:
                continue

            def hook(module: Any, args: Any, kwargs: Any, output: Any, path: str = path) -> None:
                if compiling():
                    return
                tell(path, type(module).__name__, flattened([*args, *kwargs.values()]), flattened(output))

            handles.append(module.register_forward_hook(hook, with_kwargs=True))

        def marked(value: Any, name: str) -> Any:
            if not compiling():
                tell(name, "mark", [value], [value])
            return value

        try:
            with marks_heard(marked):
                yield
        finally:
            for handle in handles:
                handle.remove()


def _keys(path: str, number: int, kind: str, count: int) -> tuple[str, ...]:
    """Names for the tensors of one call: ``layers.0``, ``relu (call 2)``, ``lstm [1]``, ``mark features``."""
    name = f"mark {path}" if kind == "mark" else path or "(whole)"
    name += f" (call {number + 1})" if number else ""
    return (name,) if count == 1 else tuple(f"{name} [{at}]" for at in range(count))
