"""The dims of a freshly exported model's outputs: no name of the exporter's own, and the names that were asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import onnx

from graphkit.finding import Finding
from graphkit.graph.values import dims
from graphkit.shapes.inference import at_shapes, inferred

if TYPE_CHECKING:
    from graphkit.torch_export.arguments import Arguments

PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
"""How many times the example's size an axis has: sizes that follow from different axes differ."""


def follow_inputs(proto: onnx.ModelProto, bound: Arguments, dynamic: Mapping[str, Mapping[int, str]]) -> list[Finding]:
    """Give each dim of an output that the torchscript exporter called by a name of its own what it is. Changes the model.

    It is a number, or the name of an input's axis, where it is that at three sets of sizes; else it is called after the
    output, each axis by itself: the exporter gives two axes of an output one name.

    Args:
        proto: The model.
        bound: The arguments of the export.
        dynamic: The dynamic axes asked for.

    Returns:
        The outputs of which several axes had one name.

    Cost: three runs of onnx.shape_inference, where there is such a name.
    """
    asked = {symbol for axes in dynamic.values() for symbol in axes.values()}
    own = [v for v in proto.graph.output if any(d.dim_param and d.dim_param not in asked for d in _dims(v))]
    if not own:
        return []
    found = []
    plain = _inferred_outputs(proto)
    symbols, sizes = _measured(proto, bound, dynamic)
    for value in own:
        names = [dim.dim_param for dim in _dims(value) if dim.dim_param and dim.dim_param not in asked]
        twice = sorted({name for name in names if names.count(name) > 1})
        for axis, dim in enumerate(_dims(value)):
            if dim.dim_param and dim.dim_param not in asked:
                _name(
                    dim,
                    f"{value.name}_dim_{axis}",
                    _at(plain.get(value.name), axis),
                    symbols,
                    _sizes(sizes, value.name, axis),
                )
        if twice:
            message = f"the exporter called several axes of output {value.name!r} {twice[0]!r}; each has a name of its own now"
            found.append(Finding("dim-shared", message, value=value.name))
    return found


def name_outputs(proto: onnx.ModelProto, wanted: Mapping[str, Mapping[int, str]]) -> list[Finding]:
    """Call axes of outputs as asked, where they vary. Changes the model.

    Args:
        proto: The model.
        wanted: Output -> axis -> name.

    Returns:
        The axes that are called otherwise, or do not vary.
    """
    found = []
    inputs = {d.dim_param for value in proto.graph.input for d in _dims(value)}
    for value in proto.graph.output:
        shape = _dims(value)
        for axis, symbol in wanted.get(value.name, {}).items():
            place = f"axis {axis} of output {value.name!r}"
            if not -len(shape) <= axis < len(shape):
                found.append(Finding("dim", f"there is no {place}: it has {len(shape)}", value=value.name))
                continue
            dim = shape[axis]
            if dim.HasField("dim_value"):
                message = f"{place} was asked to be dynamic, and is {dim.dim_value} whatever the dynamic axes of the inputs are"
                found.append(Finding("dim", message, value=value.name))
            elif dim.dim_param in inputs and dim.dim_param != symbol:
                message = (
                    f"{place} is called {dim.dim_param!r}, not {symbol!r}: it is the size of that axis of the input"
                )
                found.append(Finding("dim", message, value=value.name))
            elif symbol in inputs and dim.dim_param != symbol:
                message = f"{place} is not called {symbol!r}: that is an axis of an input, and its size is another one"
                found.append(Finding("dim", message, value=value.name))
            else:
                dim.dim_param = symbol
    return found


def _dims(value: onnx.ValueInfoProto) -> list[onnx.TensorShapeProto.Dimension]:
    return list(value.type.tensor_type.shape.dim)


def _name(
    dim: onnx.TensorShapeProto.Dimension,
    own: str,
    plain: int | str | None,
    symbols: Mapping[tuple[int, ...], str],
    sizes: tuple[int, ...] | None,
) -> None:
    if isinstance(plain, int):
        dim.dim_value = plain
    elif isinstance(plain, str):
        dim.dim_param = plain
    elif sizes is not None and sizes in symbols:
        dim.dim_param = symbols[sizes]
    elif sizes and len(set(sizes)) == 1:
        dim.dim_value = sizes[0]
    else:
        dim.dim_param = own


def _measured(
    proto: onnx.ModelProto, bound: Arguments, dynamic: Mapping[str, Mapping[int, str]]
) -> tuple[dict[tuple[int, ...], str], list[dict[str, onnx.ValueInfoProto]]]:
    """(sizes of a symbol at the three points -> the symbol, the outputs at each point)."""
    names = list(dict.fromkeys(symbol for axes in dynamic.values() for symbol in axes.values()))
    if not names or len(names) + 1 > len(PRIMES):
        return {}, []
    points = [
        dict.fromkeys(names, 1),
        dict(zip(names, PRIMES, strict=False)),
        dict(zip(names, PRIMES[1:], strict=False)),
    ]
    bases: dict[str, int] = {}
    outputs = []
    for times in points:
        shapes = {leaf.name: [int(size) for size in leaf.value.shape] for leaf in bound.tensors}
        for name, axes in dynamic.items():
            for axis, symbol in axes.items():
                base = bases.setdefault(symbol, shapes[name][axis])
                shapes[name][axis] = base * times[symbol]
        outputs.append({value.name: value for value in at_shapes(proto, shapes).graph.output})
    return {tuple(bases[name] * times[name] for times in points): name for name in names}, outputs


def _sizes(points: list[dict[str, onnx.ValueInfoProto]], name: str, axis: int) -> tuple[int, ...] | None:
    """The size of an output's axis at each point; None where one is not known."""
    found = [_at(outputs.get(name), axis) for outputs in points]
    known = [size for size in found if isinstance(size, int)]
    return tuple(known) if known and len(known) == len(found) else None


def _inferred_outputs(proto: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    bare = onnx.ModelProto()
    bare.CopyFrom(proto)
    for value in bare.graph.output:
        value.type.tensor_type.ClearField("shape")
    return {value.name: value for value in inferred(bare).graph.output}


def _at(value: onnx.ValueInfoProto | None, axis: int) -> int | str | None:
    shape = dims(value.type) if value is not None else None
    return shape[axis] if shape is not None and axis < len(shape) else None
