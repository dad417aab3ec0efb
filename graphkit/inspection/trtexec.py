"""The trtexec command that builds a TensorRT engine for a model's dynamic shapes."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Mapping

import onnx

from graphkit.errors import FeedError, GraphkitWarning
from graphkit.graph.index import GraphIndex
from graphkit.graph.values import constant, dims
from graphkit.hint import Hint, look
from graphkit.model import Model, ModelLike
from graphkit.shapes.dependents import shaped_by
from graphkit.storage.load import as_model

Range = tuple[int, int, int]
"""The smallest, the usual and the largest size of a dim."""

DEFAULT_RANGE: Range = (1, 4, 16)
"""What a dim gets for which no range is given: enough to try the command."""

INTEGERS = (onnx.TensorProto.INT32, onnx.TensorProto.INT64)


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
        ranges: Symbolic dim -> (smallest, usual, largest) size. Others get 1, 4, 16, which a warning says; but the dim of a
            factor as ``resize`` makes it has one size or as many as there are axes.
        fp16: Let TensorRT compute in half precision.
        int8: Let it compute in 8 bits (trtexec makes up the ranges unless the model has QuantizeLinear nodes).

    Raises:
        FeedError: A range for a symbol that no input has, a range out of order, an input of unknown rank.

    Warns (GraphkitWarning): Dims without a range; inputs whose values decide shapes, of which trtexec wants the smallest,
    usual and largest values (NVIDIA/TensorRT, samples/common/sampleEngines.cpp), which no file says.

    Changes: nothing.
    Cost: O(graph). Written after trtexec's own help and source; nothing is run.

    Example:
        >>> import graphkit as gk
        >>> gk.trtexec("model.onnx", fp16=True)
        'trtexec --onnx=model.onnx --saveEngine=model.engine --fp16'
    """
    source = as_model(model)
    name = path or source.path or "model.onnx"
    given = dict(ranges or {})
    for symbol, sizes in given.items():
        if not 0 <= sizes[0] <= sizes[1] <= sizes[2]:
            raise FeedError(f"the range of {symbol!r} is not in order: {':'.join(map(str, sizes))}")
    graph = source.proto.graph
    inputs = _inputs(graph)
    symbols = {dim for known in inputs.values() for dim in known if isinstance(dim, str)}
    if unknown := sorted(set(given) - symbols):
        raise FeedError(
            f"no input has a dim {unknown[0]!r}", hint=Hint(look("inspect"), " lists the inputs with their dims")
        )
    given = {**_factors(source, inputs), **given}
    _warn(source.proto, inputs, given)
    parts = ["trtexec", f"--onnx={name}", f"--saveEngine={name.removesuffix('.onnx')}.engine"]
    varying = {name: known for name, known in sorted(inputs.items()) if not all(isinstance(d, int) for d in known)}
    for at, option in enumerate(("min", "opt", "max") if varying else ()):
        entries = (f"{name}:{'x'.join(str(_size(d, given)[at]) for d in known)}" for name, known in varying.items())
        parts.append(f"--{option}Shapes={','.join(entries)}")
    parts += [flag for flag, on in (("--fp16", fp16), ("--int8", int8)) if on]
    return shlex.join(parts)


def _inputs(graph: onnx.GraphProto) -> dict[str, list[int | str | None]]:
    """The dims of the inputs that have to be fed."""
    weights = {tensor.name for tensor in graph.initializer}
    found = {}
    for value in graph.input:
        known = dims(value.type)
        if value.name in weights:
            continue
        if known is None:
            raise FeedError(f"input {value.name!r} has no known rank: a profile needs one", name=value.name)
        found[value.name] = known
    return found


def _size(dim: int | str | None, ranges: Mapping[str, Range]) -> Range:
    return (dim, dim, dim) if isinstance(dim, int) else ranges.get(dim or "", DEFAULT_RANGE)


def _factors(model: Model, inputs: Mapping[str, list[int | str | None]]) -> dict[str, Range]:
    """The dims of vectors that are only expanded to a fixed length: one number for all places, or one for each."""
    index = GraphIndex(model.proto.graph)
    found: dict[str, Range] = {}
    for name, known in inputs.items():
        readers = [index.nodes[position] for position in index.consumers.get(name, ())]
        targets = [constant(index, node.input[1]) for node in readers if node.op_type == "Expand"]
        lengths = {int(model.array_of(t)[0]) for t in targets if t is not None and list(t.dims) == [1]}
        if len(known) == 1 and isinstance(known[0], str) and len(targets) == len(readers) and len(lengths) == 1:
            found[known[0]] = (1, 1, lengths.pop())
    return found


def _warn(model: onnx.ModelProto, inputs: Mapping[str, list[int | str | None]], given: Mapping[str, Range]) -> None:
    def of(known: list[int | str | None]) -> list[str]:
        return [dim or "a dim without a name" for dim in known if not isinstance(dim, int) and dim not in given]

    guessed = {dim: None for known in inputs.values() for dim in of(known)}
    if guessed:
        sizes = ":".join(map(str, DEFAULT_RANGE))
        message = (
            f"no range is given for {', '.join(guessed)}: the line has {sizes}, which may not be what the model takes"
        )
        warnings.warn(message, GraphkitWarning, stacklevel=3)
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    for name in inputs:
        if types[name] in INTEGERS and shaped_by(model.graph, [name], model.functions):
            message = (
                f"the values of input {name!r} decide shapes: add its smallest, usual and largest values to the three "
                f"options, as {name}:1x2"
            )
            warnings.warn(message, GraphkitWarning, stacklevel=3)
