"""Values inside of bodies, handed out to the graph around: what a branch computed, what each turn of a loop computed."""

from __future__ import annotations

import onnx

from graphkit.errors import EditError
from graphkit.graph import walk
from graphkit.graph.addresses import Found, Site
from graphkit.graph.names import Names, title
from graphkit.graph.values import dims, format_type, tensor_type
from graphkit.semantics.kinds import LOOPS


def lifted(found: Found, type_proto: onnx.TypeProto | None, names: Names) -> tuple[str, onnx.TypeProto | None]:
    """Hand a value of a body out, through as many bodies as lie around it. Changes the graphs.

    An If gives the value of the branch that ran; where the other one ran it is empty, with the same element type and rank.
    A Loop or Scan gives the values of all turns, stacked along a new first axis.

    Args:
        found: The value, not in a function.
        type_proto: Its type, or None where it is not known.
        names: The names in use.

    Returns:
        (the name in the main graph, its type there).

    Raises:
        EditError: The value is in a body of another operator, no tensor, or of an unknown type in a branch.
    """
    site, name = found.site, found.name
    if type_proto is not None and type_proto.WhichOneof("value") != "tensor_type":
        raise EditError(f"{found.address!r} is {format_type(type_proto)}, and bodies hand out tensors")
    while site.outer is not None:
        owner = site.owner
        assert owner is not None
        last = site.outer.outer is None
        outer_name = names.fresh(found.address if last else f"{name}_out")
        if owner.op_type == "If":
            type_proto = _out_of_branch(site, owner, name, outer_name, type_proto, names, found)
        elif owner.op_type in LOOPS:
            type_proto = _out_of_loop(site, owner, name, outer_name, type_proto, names)
        else:
            raise EditError(f"{found.address!r} is inside of {title(owner)}, whose body hands out nothing more")
        site, name = site.outer, outer_name
    return name, type_proto


def _give(graph: onnx.GraphProto, name: str, type_proto: onnx.TypeProto | None, names: Names) -> None:
    """Hand a value of a body out under a name of its own."""
    output = names.fresh(f"{name}_handed_out")
    graph.node.add(op_type="Identity", input=[name], output=[output], name=names.fresh(f"{output}_Identity"))
    info = graph.output.add(name=output)
    if type_proto is not None:
        info.type.CopyFrom(type_proto)


def _out_of_branch(
    site: Site,
    owner: onnx.NodeProto,
    name: str,
    outer_name: str,
    type_proto: onnx.TypeProto | None,
    names: Names,
    found: Found,
) -> onnx.TypeProto:
    if type_proto is None:
        raise EditError(
            f"the type of {found.address!r} is not known, so the other branch of {title(owner)} cannot hand out nothing "
            "of that type",
            hint="declare it first: set shapes to infer",
        )
    assert site.graph is not None
    element, shape = type_proto.tensor_type.elem_type, dims(type_proto)
    _give(site.graph, name, type_proto, names)
    empty = [0] * len(shape) if shape else [0]
    for branch in walk.bodies(owner):
        if branch is not site.graph:
            output = names.fresh(f"{name}_empty")
            tensor = onnx.TensorProto(data_type=element, dims=empty)
            branch.node.add().CopyFrom(
                onnx.helper.make_node("Constant", [], [output], name=names.fresh(f"{output}_Constant"), value=tensor)
            )
            branch.output.add(name=output).type.CopyFrom(tensor_type(element, empty))
    owner.output.append(outer_name)
    return tensor_type(element, [None] * len(shape) if shape else None)


def _out_of_loop(
    site: Site, owner: onnx.NodeProto, name: str, outer_name: str, type_proto: onnx.TypeProto | None, names: Names
) -> onnx.TypeProto | None:
    assert site.graph is not None
    given = len(site.graph.output) - (owner.op_type == "Loop")  # a Loop's body hands out its condition too
    owner.output.extend([""] * (given - len(owner.output)))
    _give(site.graph, name, type_proto, names)
    owner.output.append(outer_name)
    for attribute in owner.attribute:
        if attribute.name in ("scan_output_axes", "scan_output_directions"):
            attribute.ints.append(0)
    if type_proto is None:
        return None
    shape = dims(type_proto)
    return tensor_type(type_proto.tensor_type.elem_type, None if shape is None else [None, *shape])
