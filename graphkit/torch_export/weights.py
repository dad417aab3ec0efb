"""Weights that the model does not hold, or that its caller may replace; and checkpoints put into a module."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import onnx

from graphkit.errors import ExportError, ModelFileError, similar
from graphkit.graph.values import tensor_type
from graphkit.torch_export.factory import import_torch
from graphkit.torch_export.failure import plain

if TYPE_CHECKING:
    import torch


def weights_as_inputs(proto: onnx.ModelProto, named: Collection[str], *, required: bool) -> None:
    """Make inputs of the parameters and buffers of a module. Changes the proto.

    torch's dynamo exporter writes an invalid model for ``export_params=False``: the weights are neither initializers
    nor inputs. Here they become inputs of their type and shape, required ones (``required``) or with the weight as the
    default value (docs/IR.md, "Graphs": an initializer of the input's name).

    Scope: the main graph.
    Cost: O(initializers).
    """
    graph = proto.graph
    inputs = {value.name for value in graph.input}
    kept = []
    for tensor in graph.initializer:
        weight = tensor.name in named
        if weight and tensor.name not in inputs:
            graph.input.add(name=tensor.name, type=tensor_type(tensor.data_type, list(tensor.dims)))
        if not weight and tensor.name in inputs:
            _remove_input(graph, tensor.name)
        if not weight or not required:
            kept.append(tensor)
    copies = (
        [onnx.TensorProto.FromString(t.SerializeToString()) for t in kept] if len(kept) < len(graph.initializer) else []
    )
    if len(kept) < len(graph.initializer):
        del graph.initializer[:]
        graph.initializer.extend(copies)


def _remove_input(graph: onnx.GraphProto, name: str) -> None:
    position = next(at for at, value in enumerate(graph.input) if value.name == name)
    del graph.input[position]


def load_checkpoint(
    module: torch.nn.Module,
    checkpoint: str | os.PathLike[str] | Mapping[str, Any],
    *,
    strip: int | str | None = None,
    key: str | None = None,
) -> torch.nn.Module:
    """Put a checkpoint's weights into a module, on the CPU, without the network.

    Args:
        module: The module. It is changed, and returned for chaining.
        checkpoint: A file written by ``torch.save``, or a state dict. A file is read with ``weights_only=True``: no
            code in it is run. Beside tensors it may hold numpy's scalars (an epoch, a loss), and nothing else of numpy.
        strip: What to take off the front of each key: a number of components (1 makes ``conv1.weight`` of
            ``generator.conv1.weight``), or a prefix. None finds a prefix that makes every key fit.
        key: The entry of the checkpoint that holds the state dict; None takes ``state_dict`` or ``model`` if there.

    Raises:
        ModelFileError: The file cannot be read, holds more than tensors, or no state dict.
        ExportError: Keys or shapes that do not fit; all of them are listed. Or the checkpoint has no entry ``key``, or none
            that is a state dict by itself.
        MissingExtraError: torch is not installed.

    Changes: the module's parameters and buffers.
    Cost: time and memory O(weights of the checkpoint).

    Example:
        >>> import graphkit as gk, torch
        >>> torch.save(torch.nn.Linear(2, 2).state_dict(), "weights.pth")
        >>> module = gk.load_checkpoint(torch.nn.Linear(2, 2), "weights.pth")
    """
    import_torch("loading a checkpoint")
    state = _state(checkpoint, key)
    wanted = module.state_dict()
    state = _stripped(state, strip, set(wanted))
    missing, unknown = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
    shapes = [
        f"{name}: {tuple(state[name].shape)} in the checkpoint, {tuple(wanted[name].shape)} in the module"
        for name in wanted
        if name in state and state[name].shape != wanted[name].shape
    ]
    if missing or unknown or shapes:
        faults = [
            *(f"{n}: not in the checkpoint" for n in missing),
            *(f"{n}: not in the module" for n in unknown),
            *shapes,
        ]
        close = similar(unknown[0], missing) if missing and unknown else []
        raise ExportError(
            f"the checkpoint does not fit {type(module).__name__}: "
            + "; ".join(faults[:8])
            + (" ..." if faults[8:] else ""),
            hint=f"{unknown[0]!r} may be {close[0]!r}: give strip=" if close else None,
        )
    module.load_state_dict(state, strict=True)
    return module


def _state(checkpoint: Any, key: str | None) -> dict[str, Any]:
    import torch

    held = checkpoint if isinstance(checkpoint, Mapping) else _loaded(os.fspath(checkpoint))
    state = held
    for name in (key,) if key is not None else ("state_dict", "model"):
        if isinstance(held.get(name), Mapping):
            state = held[name]
            break
    found = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    if not found or (key is not None and state is held):
        raise _no_state(held, key)
    return found


def _loaded(path: str) -> Mapping[str, Any]:
    import torch

    try:
        with torch.serialization.safe_globals(_numpy_scalars()):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelFileError(f"cannot read the checkpoint {path}: {error.strerror or error}", path=path) from error
    except Exception as error:  # other bytes are taken for a pickle, which may raise anything
        raise ModelFileError(
            f"{path} is no checkpoint of tensors: {_reason(error)}",
            path=path,
            hint="save the weights with torch.save(module.state_dict(), path)",
        ) from error
    if not isinstance(loaded, Mapping):
        raise ModelFileError(f"{path} holds an object of type {type(loaded).__name__}, no state dict", path=path)
    return loaded


def _numpy_scalars() -> list[Any]:
    """What a file may name beside tensors: numpy's scalars, under the names of numpy 1 and 2, and their types."""
    import numpy as np

    scalar = np.float64().__reduce__()[0]
    kinds = [np.dtype(letter) for letter in "?bBhHiIlLqQefdgFDGSUMm"]
    made = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    return [*made, np.dtype, *dict.fromkeys(type(kind) for kind in kinds)]


_OBJECT = re.compile(r"GLOBAL (?P<name>[\w.]+)")


def _reason(error: Exception) -> str:
    """Why torch does not read a file, without its page of advice."""
    match = _OBJECT.search(plain(str(error)))
    return f"it holds an object of {match['name']}" if match else "it is damaged, or something else"


def _no_state(held: Mapping[str, Any], key: str | None) -> ExportError:
    entries = {name: _entry(value) for name, value in held.items()}
    told = [f"{name!r} ({what})" for name, what in entries.items()]
    listed = ", ".join(told[:8]) + (" ..." if told[8:] else "") if told else "no entry"
    nested = [name for name, what in entries.items() if what.endswith("tensors")]
    message = "the checkpoint's entries are no tensors" if key is None else f"the checkpoint has no state dict {key!r}"
    return ExportError(
        f"{message}: it has {listed}", hint=f"name the state dict: key={nested[0]!r}" if nested else None
    )


def _entry(value: Any) -> str:
    import torch

    if isinstance(value, Mapping) and value and all(isinstance(one, torch.Tensor) for one in value.values()):
        return f"{len(value)} tensors"
    return type(value).__name__


def _stripped(state: dict[str, Any], strip: int | str | None, wanted: set[str]) -> dict[str, Any]:
    if strip is None:
        depth = next((n for n in range(4) if wanted and wanted <= {_without(name, n) for name in state}), 0)
        return {_without(name, depth): value for name, value in state.items()}
    if isinstance(strip, int):
        return {_without(name, strip): value for name, value in state.items()}
    prefix = strip if strip.endswith(".") else strip + "."
    return {name.removeprefix(prefix): value for name, value in state.items()}


def _without(name: str, components: int) -> str:
    parts = name.split(".")
    return ".".join(parts[components:]) if components < len(parts) else name
