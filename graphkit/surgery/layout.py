"""layout: inputs and outputs with their axes in another order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import onnx

from graphkit.edit.interface import Attributes, Interface, chosen_ports, ports
from graphkit.errors import EditError
from graphkit.graph.values import attribute_value, dims, format_type, tensor_type
from graphkit.model import Model
from graphkit.operation import Edit, operation

PAIRS = (("NCHW", "NHWC"), ("CHW", "HWC"), ("NCW", "NWC"), ("NCDHW", "NDHWC"))
"""Layouts with the channels first, and the same with the channels last."""


@operation(law="bound", valid=False)
def layout(model: Model, io: Mapping[str, str]) -> Edit:
    """Give inputs and outputs their channels first or last; a Transpose stands between them and what the model computes.

    A layout says how the input or output is to be; before, it is taken to be the other one of the pair. A Transpose that
    stands there already takes the new one in, and goes where the two undo each other.

    Args:
        model: A path, a ModelProto or a Model.
        io: Input or output -> layout: NHWC or NCHW, and for other ranks HWC, CHW, NWC, NCW, NDHWC, NCDHW. ``*`` in a name
            stands for any text.

    Raises:
        NameNotFoundError: The model has no such input or output.
        EditError: It is no tensor of that rank, or has a default value; a layout is none of these.
        ValueError: Nothing is to be done.

    Changes: nothing; returns a new model. The notes say the new types.
    Scope: inputs and outputs of the main graph.
    Cost: O(graph); weights are not read.
    Law: bound: the same numbers once each input is fed the array transposed, and each output is transposed.

    Example:
        >>> gk.layout("model.onnx", {"image": "NHWC"}).save("out.onnx")  # doctest: +SKIP
    """
    if not io:
        raise ValueError("layout needs at least one input or output")
    other = {name: pair[1 - place] for pair in PAIRS for place, name in enumerate(pair)}
    for name, text in io.items():
        if text not in other:
            raise EditError(f"{text!r}, for {name!r}, is no layout; there are {', '.join(sorted(other))}")
    proto = model.copy_proto()
    known = ports(proto.graph)
    interface = Interface(proto)
    notes = []
    for name, wanted in chosen_ports(proto.graph, io).items():
        info, is_input = known[name]
        shape = dims(info.type)
        if shape is None or len(shape) != len(wanted):
            raise EditError(f"{name!r} is {format_type(info.type)}, and {wanted} has {len(wanted)} axes")
        now = other[wanted]
        there, back = [[source.index(axis) for axis in to] for source, to in ((now, wanted), (wanted, now))]
        new = tensor_type(info.type.tensor_type.elem_type, [shape[axis] for axis in there])
        notes.append(f"{name!r} is {wanted}: {format_type(new)}")
        if is_input:
            interface.input(name, new, "Transpose", {"perm": back}, partial(_behind, back))
        else:
            interface.output(name, new, "Transpose", {"perm": there}, partial(_before, there))
    return Edit(proto, [*notes, *interface.finish()])


def _behind(first: Sequence[int], node: onnx.NodeProto) -> Attributes:
    """A Transpose that reads an input, with the new one before it."""
    return _joined(first, _perm(node, len(first)))


def _before(second: Sequence[int], node: onnx.NodeProto) -> Attributes:
    """A Transpose that makes an output, with the new one behind it."""
    return _joined(_perm(node, len(second)), second)


def _perm(node: onnx.NodeProto, rank: int) -> Sequence[int]:
    perm: Sequence[int] = attribute_value(node, "perm") or list(range(rank))[::-1]
    return perm


def _joined(first: Sequence[int], second: Sequence[int]) -> Attributes:
    perm = [first[axis] for axis in second]
    return {} if perm == list(range(len(perm))) else {"perm": perm}
