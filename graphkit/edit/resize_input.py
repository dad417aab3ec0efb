"""The graph input that resize adds: its type, and the value that changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx

from graphkit.errors import EditError
from graphkit.graph import walk
from graphkit.graph.values import tensor_type
from graphkit.hint import Argument, Hint

if TYPE_CHECKING:
    from graphkit.edit.wiring import Form
    from graphkit.shapes.resize_patterns import Resampler
    from graphkit.tensor import Array


def declare_input(
    proto: onnx.ModelProto, name: str, sites: list[Resampler], form: Form, *, relative: bool, keep_default: bool
) -> list[str]:
    """Declare the new graph input, with the baked value as its default where asked. Changes the model.

    Raises:
        EditError: The nodes cannot share one input of this form, or no default value is known.
    """
    graph = proto.graph
    if form == "factor":
        type_proto = tensor_type(onnx.TensorProto.FLOAT, [_fresh_dim(proto, f"{name}_axes")])
    else:
        counts = {site.length if form == "scales" else len(site.spatial) for site in sites}
        if len(counts) != 1 or None in counts:
            raise EditError(
                f"{', '.join(site.where for site in sites)} want different numbers of {form}, so one input cannot serve them",
                hint=Hint(
                    "give each its own input: ",
                    Argument("separate"),
                    ", or feed a factor: ",
                    Argument("form", "factor"),
                ),
            )
        elem = onnx.TensorProto.FLOAT if form == "scales" else onnx.TensorProto.INT64
        type_proto = tensor_type(elem, [counts.pop()])
    graph.input.add(name=name).type.CopyFrom(type_proto)
    if not keep_default:
        return []
    if proto.ir_version < 4:
        raise EditError(
            f"IR version {proto.ir_version} knows no inputs with a default value",
            hint=Hint("leave out ", Argument("keep_default")),
        )
    default = _default(sites, form, relative=relative)
    graph.initializer.append(onnx.numpy_helper.from_array(default, name))
    return [f"{name!r} may be left out and is then {numbers(default)}"]


def _fresh_dim(proto: onnx.ModelProto, wish: str) -> str:
    """A symbol for a dim that no value of the model uses."""
    taken = {
        dim.dim_param
        for graph in walk.graphs(proto.graph)
        for value in (*graph.input, *graph.value_info, *graph.output)
        for dim in value.type.tensor_type.shape.dim
    }
    while wish in taken:
        wish += "_"
    return wish


def _default(sites: list[Resampler], form: Form, *, relative: bool) -> Array:
    """The value of the new input that changes nothing."""
    values = []
    for site in sites:
        length, spatial = site.length or 0, list(site.spatial)
        if relative:
            values.append(np.ones(1 if form == "factor" else length, np.float32))
        elif form == "sizes" and site.sizes is not None:
            values.append(site.sizes[spatial])
        elif form != "sizes" and site.scales is not None:
            values.append(site.scales[spatial] if form == "factor" else site.scales)
        else:
            raise EditError(
                f"the {form} of {site.where} are not known before the model runs, so the input has no default value",
                hint=Hint("leave out ", Argument("keep_default")),
            )
    if any(not np.array_equal(values[0], other) for other in values[1:]):
        raise EditError(
            f"the nodes have different {form}, so one input for all has no default value that changes nothing: "
            + ", ".join(f"{site.where} {numbers(value)}" for site, value in zip(sites, values, strict=True)),
            hint=Hint("use ", Argument("separate"), " or ", Argument("relative")),
        )
    return values[0]


def numbers(array: Array) -> str:
    """Factors or sizes as a person writes them: 2 x 3."""
    return " x ".join(f"{value:g}" for value in array)
