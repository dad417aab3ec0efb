"""layout: inputs and outputs with their axes in another order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial

import onnx

from graphkit.arguments import ArgumentValueError
from graphkit.edit.interface import Attributes, Conversion, Interface, chosen_ports, ports
from graphkit.edit.layout_evidence import channels_first_at
from graphkit.errors import EditError
from graphkit.graph.names import title
from graphkit.graph.opset import opset_of
from graphkit.graph.values import attribute_value, dims, format_type, tensor_type
from graphkit.model import Model
from graphkit.operation import Edit, operation

PAIRS = (("NCHW", "NHWC"), ("CHW", "HWC"), ("NCW", "NWC"), ("NCDHW", "NDHWC"))
"""Layouts with the channels first, and the same with the channels last."""


RANKS = re.compile(r"\+\d+(,\+\d+)*|-\d+(,-\d+)*")
"""Axes of size 1 that come, or that go."""


@operation(law="bound", valid=False)
def layout(model: Model, io: Mapping[str, str]) -> Edit:
    """Give inputs and outputs their channels first or last.

    A layout says how the input or output is to be; before, it is taken to be the other one of the pair. A Transpose stands
    between it and what the model computes. One that stands there already takes the new one in, and goes where the two undo
    each other.

    ``+0`` gives it an axis of size 1 more, at 0 of what it is then; ``-0`` takes axis 0 away. Several at once: ``+0,+3``.
    Squeeze or Unsqueeze stands in the graph then.

    Args:
        model: A path, a ModelProto or a Model.
        io: Input or output -> layout: NHWC or NCHW, for other ranks HWC, CHW, NWC, NCW, NDHWC, NCDHW, or axes of size 1 as
            ``+0`` and ``-0``. ``*`` in a name stands for any text.

    Raises:
        NameNotFoundError: The model has no such input or output.
        EditError: It is no tensor of that rank, or has a default value; a layout is none of these, or one that an operator
            such as Conv shows it has already; an axis that is to go is not of size 1.
        ValueError: Nothing is to be done.

    Changes: nothing; returns a new model. The notes say the new types.
    Scope: inputs and outputs of the main graph.
    Cost: O(graph); weights are not read.
    Law: bound: the same numbers once each input is fed the array transposed or reshaped, and each output is, too.

    Example:
        >>> gk.layout("model.onnx", {"image": "NHWC"}).save("out.onnx")  # doctest: +SKIP
    """
    if not io:
        raise ArgumentValueError("layout needs at least one input or output")
    other = {name: pair[1 - place] for pair in PAIRS for place, name in enumerate(pair)}
    for name, text in io.items():
        if text not in other and not RANKS.fullmatch(text):
            raise EditError(
                f"{text!r}, for {name!r}, is no layout; there are {', '.join(sorted(other))}, +AXIS and -AXIS"
            )
    proto = model.copy_proto()
    known = ports(proto.graph)
    interface = Interface(proto)
    notes = []
    for name, wanted in chosen_ports(proto.graph, io).items():
        info, is_input = known[name]
        shape = dims(info.type)
        if wanted not in other:
            notes.append(_give_rank(interface, info, wanted, opset_of(proto), is_input=is_input))
            continue
        if shape is None or len(shape) != len(wanted):
            raise EditError(f"{name!r} is {format_type(info.type)}, and {wanted} has {len(wanted)} axes")
        _check_is_other(proto.graph, name, wanted, is_input=is_input)
        now = other[wanted]
        there, back = [[source.index(axis) for axis in to] for source, to in ((now, wanted), (wanted, now))]
        new = tensor_type(info.type.tensor_type.elem_type, [shape[axis] for axis in there])
        notes.append(f"{name!r} is {wanted}: {format_type(new)}")
        if is_input:
            interface.input(name, new, Conversion("Transpose", {"perm": back}, partial(_behind, back)))
        else:
            interface.output(name, new, Conversion("Transpose", {"perm": there}, partial(_before, there)))
    return Edit(proto, [*notes, *interface.finish()])


def _check_is_other(graph: onnx.GraphProto, name: str, wanted: str, *, is_input: bool) -> None:
    """Refuse a layout that an input or output has already.

    Raises:
        EditError: A node shows that it is as wanted.
    """
    found = channels_first_at(graph, name, len(wanted), is_input=is_input)
    if found is not None and wanted[found[0]] == "C":
        how = "reads" if is_input else "makes"
        raise EditError(
            f"{name!r} is {wanted} already: {title(found[1])} {how} it with its channels at axis {found[0]}"
        )


def ranked(shape: Sequence[int | str | None], steps: str) -> tuple[bool, list[int], list[int | str | None]]:
    """What ``+0,+3`` or ``-1`` says of a shape: whether axes come, which ones, and the shape then.

    Raises:
        EditError: There is no such axis, it is named twice, or one that is to go is not of size 1.
    """
    more = steps.startswith("+")
    axes = sorted(int(step[1:]) for step in steps.split(","))
    rank = len(shape) + len(axes) * more
    if len(set(axes)) < len(axes) or axes[-1] >= rank:
        raise EditError(f"{steps!r} does not name axes of rank {rank}, each once")
    if more:
        rest = iter(shape)
        return True, axes, [1 if axis in axes else next(rest) for axis in range(rank)]
    other = next((axis for axis in axes if shape[axis] != 1), None)
    if other is not None:
        raise EditError(
            f"axis {other} is of size {shape[other] if shape[other] is not None else '?'}, and only one of size 1 can go",
            hint=None if isinstance(shape[other], int) else "fix the size first, with dims",
        )
    return False, axes, [size for axis, size in enumerate(shape) if axis not in axes]


def _give_rank(interface: Interface, info: onnx.ValueInfoProto, steps: str, opset: int, *, is_input: bool) -> str:
    """Give an input or output axes of size 1, or take them away."""
    shape = dims(info.type)
    if shape is None or not info.type.HasField("tensor_type"):
        raise EditError(f"{info.name!r} is {format_type(info.type)}: its rank is not known")
    more, axes, now = ranked(shape, steps)
    new = tensor_type(info.type.tensor_type.elem_type, now)
    op = "Squeeze" if more == is_input else "Unsqueeze"
    attributes, operand = ({}, axes) if opset >= 13 else ({"axes": axes}, [])
    port = interface.input if is_input else interface.output
    port(info.name, new, Conversion(op, attributes, lambda _: None, operand))
    return f"{info.name!r} has rank {len(now)}: {format_type(new)}"


def _behind(first: Sequence[int], node: onnx.NodeProto) -> Attributes:
    """A Transpose that reads an input, with the new one before it."""
    return _joined(first, _perm(node, len(first)))


def _before(second: Sequence[int], node: onnx.NodeProto) -> Attributes:
    """A Transpose that makes an output, with the new one behind it."""
    return _joined(_perm(node, len(second)), second)


def _perm(node: onnx.NodeProto, rank: int) -> list[int]:
    perm: list[int] = list(attribute_value(node, "perm") or range(rank)[::-1])
    if sorted(perm) != list(range(rank)):
        raise EditError(f"{title(node)} has perm = {perm}, which is no order of {rank} axes")
    return perm


def _joined(first: Sequence[int], second: Sequence[int]) -> Attributes:
    perm = [first[axis] for axis in second]
    return {} if perm == list(range(len(perm))) else {"perm": perm}
