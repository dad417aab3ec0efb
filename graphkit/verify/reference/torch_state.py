"""What of a torch module and of torch is changed while a reference runs, and changed back afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graphkit.errors import ComparisonError
from graphkit.torch_export.job import evaluating
from graphkit.verify.reference.torch_arguments import flattened, like_python, plain_value

if TYPE_CHECKING:
    import torch

    from graphkit.graph.ports import Port


def is_script(module: Any) -> bool:
    """Whether torch compiled or traced a module, which then takes no hooks."""
    import torch

    return isinstance(module, torch.jit.ScriptModule)


def attribute_at(module: Any, path: str) -> Any:
    """What a module has at a path such as ``up.scale_factor``; None where it has nothing."""
    found = module
    for part in path.split("."):
        found = getattr(found, part, None)
        if found is None:
            return None
    return found


@contextlib.contextmanager
def attribute_set(module: Any, path: str, value: Any) -> Iterator[None]:
    """A module with another value at a path, in the form of the one it has; afterwards that one is back."""
    parent, _, name = path.rpartition(".")
    owner = attribute_at(module, parent) if parent else module
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
            if plain_value(value) is not None:
                found.append((f"{path}.{name}" if path else name, value))
    return found


def weights_called(module: torch.nn.Module, ports: Mapping[str, Port]) -> dict[str, torch.Tensor]:
    """Parameters and buffers of a module by their names, those that inputs have the names of and that fit into them."""
    tensors = dict(module.named_parameters(remove_duplicate=False))
    tensors.update(module.named_buffers(remove_duplicate=False))

    def fits(shape: tuple[int, ...], dims: Sequence[int | str | None] | None) -> bool:
        return dims is None or (
            len(dims) == len(shape) and all(d == s for d, s in zip(dims, shape, strict=True) if isinstance(d, int))
        )

    return {n: tensors[n] for n, port in ports.items() if n in tensors and fits(tuple(tensors[n].shape), port.dims)}


@contextlib.contextmanager
def captured(module: torch.nn.Module, paths: set[str]) -> Iterator[dict[str, torch.Tensor]]:
    """What submodules return, in their first call, by path.

    Raises:
        ComparisonError: One is a ScriptModule, which torch compiled and nobody can watch.
    """
    found: dict[str, torch.Tensor] = {}
    modules = dict(module.named_modules())
    handles = []
    for path in paths:

        def keep(_: Any, __: Any, output: Any, path: str = path) -> None:
            found.setdefault(path, flattened(output)[0].detach())

        if is_script(modules[path]):
            raise ComparisonError(f"{path!r} is a ScriptModule: torch tells nobody what it returns")
        handles.append(modules[path].register_forward_hook(keep))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def prepared(module: torch.nn.Module, device: str, *, tf32: bool) -> Iterator[None]:
    """A module in eval mode and on a device, TF32 as asked; afterwards the module and torch are as they were."""
    with evaluating(module), _on(module, "cpu" if device == "cpu" else "cuda"), _precision(tf32=tf32):
        yield


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
