"""The trtexec command that builds a TensorRT engine for a model's dynamic shapes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

import onnx

from graphkit.errors import FeedError
from graphkit.graph.values import dims
from graphkit.model import ModelLike
from graphkit.storage.load import as_model

Range = tuple[int, int, int]
"""The smallest, the usual and the largest size of a dim."""

DEFAULT_RANGE: Range = (1, 4, 16)
"""What a dim gets for which no range is given: enough to try the command."""


def trtexec(
    model: ModelLike,
    path: str | None = None,
    *,
    ranges: Mapping[str, Range] | None = None,
    fp16: bool = False,
    int8: bool = False,
) -> str:
    """The ``trtexec`` line for a model: with an optimization profile where inputs have dims that vary.

    Args:
        model: A path, a ModelProto or a Model.
        path: The file's name in the line; the path of the model where it was loaded from one.
        ranges: Symbolic dim -> (smallest, usual, largest) size. Others get 1, 4, 16, and so do dims without a symbol.
        fp16: Let TensorRT compute in half precision.
        int8: Let it compute in 8 bits (trtexec makes up the ranges unless the model has QuantizeLinear nodes).

    Raises:
        FeedError: A range for a symbol that no input has, a range out of order, an input of unknown rank.

    Changes: nothing.
    Cost: O(inputs). Written after trtexec's own help; nothing is run.
    """
    source = as_model(model)
    name = path or source.path or "model.onnx"
    given = dict(ranges or {})
    for symbol, sizes in given.items():
        if not 0 <= sizes[0] <= sizes[1] <= sizes[2]:
            raise FeedError(f"the range of {symbol!r} is not in order: {':'.join(map(str, sizes))}")
    shapes = _profile(source.proto.graph, given)
    unknown = sorted(set(given) - shapes.pop("symbols"))
    if unknown:
        raise FeedError(f"no input has a dim {unknown[0]!r}", hint="graphkit inspect lists the inputs with their dims")
    parts = ["trtexec", f"--onnx={name}", f"--saveEngine={name.removesuffix('.onnx')}.engine"]
    for option, entries in shapes.items():
        if entries:
            parts.append(f"--{option}Shapes={','.join(sorted(entries))}")
    parts += [flag for flag, on in (("--fp16", fp16), ("--int8", int8)) if on]
    return shlex.join(parts)


def _profile(graph: onnx.GraphProto, given: Mapping[str, Range]) -> dict[str, set[str]]:
    weights = {tensor.name for tensor in graph.initializer}
    found: dict[str, set[str]] = {"min": set(), "opt": set(), "max": set(), "symbols": set()}
    for value in graph.input:
        known = dims(value.type)
        if value.name in weights:
            continue
        if known is None:
            raise FeedError(f"input {value.name!r} has no known rank: a profile needs one", name=value.name)
        found["symbols"] |= {d for d in known if isinstance(d, str)}
        if all(isinstance(d, int) for d in known):
            continue
        for at, option in enumerate(("min", "opt", "max")):
            sizes = (d if isinstance(d, int) else given.get(d or "", DEFAULT_RANGE)[at] for d in known)
            found[option].add(f"{value.name}:{'x'.join(map(str, sizes))}")
    return found
