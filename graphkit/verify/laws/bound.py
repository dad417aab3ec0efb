"""bound: the same numbers once each input is fed what it stands for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from graphkit.edit.constants import find_constant
from graphkit.errors import EditError, NameNotFoundError
from graphkit.graph import walk
from graphkit.graph.index import GraphIndex
from graphkit.graph.opset import opset_of
from graphkit.graph.ports import input_ports, output_ports
from graphkit.graph.symbols import names_in
from graphkit.graph.upstream import downstream
from graphkit.graph.values import attribute_value, constant
from graphkit.inspection.dims_report import dims_report
from graphkit.model import Model
from graphkit.reading.names import Axis, axis_or_symbol, symbols_of
from graphkit.reading.values import value_for
from graphkit.semantics.schemas import schema_of
from graphkit.surgery.promote import in_main_graph, wanted_constants
from graphkit.tensor import numpy_type
from graphkit.verify.laws.binding import Binding, Broken, Change, Constant, Fed, Freed, Link, Other, Unproved
from graphkit.verify.laws.same import identity

if TYPE_CHECKING:
    from graphkit.graph.ports import Port
    from graphkit.tensor import Array


def freeze(change: Change) -> Binding:
    """Before is fed the value that after holds."""
    ports = input_ports(change.before.proto)
    given = {name: value_for(ports[name], value) for name, value in change.arguments.get("values", {}).items()}
    plain = identity(change)
    gone = _defaults(change.before) if change.arguments.get("defaults") else frozenset()
    listed = change.before.proto.ir_version < 4  # there every initializer is an input too
    inputs: dict[str, Link] = {
        name: Constant(given[name]) if name in given else link
        for name, link in plain.inputs.items()
        if name not in gone and (listed or name not in given)
    }
    held = {dim for name in given for dim in ports[name].dims or () if isinstance(dim, str)}
    return replace(plain, inputs=inputs, given=given, fixed=_hanging_on(ports, held))


def _hanging_on(ports: Mapping[str, Port], symbols: Iterable[str]) -> frozenset[tuple[str, int]]:
    """The axes of inputs whose sizes are symbols, or are computed from them."""
    wanted = set(symbols)
    return frozenset(
        (name, axis)
        for name, port in ports.items()
        for axis, dim in enumerate(port.dims or ())
        if isinstance(dim, str) and (dim in wanted or not wanted.isdisjoint(names_in(dim)))
    )


def _defaults(model: Model) -> frozenset[str]:
    """The inputs that have a default value: left alone, before takes that as after does."""
    index = GraphIndex(model.proto.graph)
    return frozenset(name for name in index.inputs if index.is_constant(name))


def promote(change: Change) -> Binding:
    """Each new input is fed the constant; and another value, where before can be given another constant too."""
    tensors = change.arguments.get("tensors", ())
    if change.arguments.get("every"):
        index = GraphIndex(change.before.proto.graph)
        tensors = [name for name in index.initializers if name not in index.inputs and name not in index.outputs]
    proto = change.before.copy_proto()
    wanted, inlined = in_main_graph(proto, wanted_constants(proto, tensors)) if tensors else ({}, [])
    standing = Model(proto, change.before.sources, path=change.before.path) if inlined else None
    before = standing or change.before
    plain = identity(change)
    ports = input_ports(change.after.proto)
    fresh = [name for name in ports if name not in plain.inputs]
    inputs: dict[str, Link] = dict(plain.inputs)
    stands: dict[str, str] = {}
    for name, chosen in wanted.items():
        new = _new_input(name, chosen, plain.inputs, ports, fresh)
        if name in plain.inputs:  # it had a default value, and any other could be fed
            if new != name and not change.arguments.get("only"):
                inputs.pop(name, None)
            inputs[new] = Fed(name)
            continue
        inputs[new] = Constant(_value(before, name, ports[new]))
        stands[new] = name
    others = () if change.arguments.get("only") else _other_values(before, stands, inputs)
    return replace(plain, inputs=inputs, others=others, ordered=False, before=standing)


def _new_input(
    name: str, chosen: str | None, old: Mapping[str, Link], ports: Mapping[str, Port], fresh: list[str]
) -> str:
    """The input that a constant became: as asked for, by its own name, or the next of those that are new."""
    for guess in (chosen, name):
        if guess is not None and guess in ports and (guess in fresh or guess in old):
            if guess in fresh:
                fresh.remove(guess)
            return guess
    if chosen is not None or not fresh:
        raise Broken(f"the constant {name!r} should be an input and is none")
    return fresh.pop(0)


def _value(before: Model, name: str, port: Port) -> Array:
    """The number that before holds under a name, or in an attribute ``NODE:ATTRIBUTE``."""
    try:
        tensor = find_constant(before.proto, name).tensor(before, name)
    except (NameNotFoundError, EditError):
        owner, _, attribute = name.rpartition(":")
        for node in walk.nodes(before.proto.graph):
            if owner and owner in (node.name, *node.output):
                found = attribute_value(node, attribute)
                if found is None:
                    found = _default(node, attribute, opset_of(before.proto))
                if found is not None:
                    array = np.asarray(found, numpy_type(port.data_type))
                    return array.reshape(1) if port.dims is not None and len(port.dims) == 1 > array.ndim else array
        raise Unproved(f"what {name!r} is in the model before cannot be found") from None
    return np.asarray(before.array_of(tensor))


def _default(node: onnx.NodeProto, attribute: str, opset: int) -> Any:
    """What an attribute that a node does not have is by the operator's definition; None where that says nothing."""
    schema = schema_of(node.op_type, opset)
    rule = schema.attributes.get(attribute) if schema is not None else None
    if rule is None or not rule.default_value.name:
        return None
    return onnx.helper.get_attribute_value(rule.default_value)


def _other_values(before: Model, stands: Mapping[str, str], inputs: Mapping[str, Link]) -> tuple[Other, ...]:
    """Before with other constants, where they stand in the main graph and are floats: others may not be free to choose."""
    index = GraphIndex(before.proto.graph)
    changed: dict[str, Array] = {}
    links: dict[str, Link] = dict(inputs)
    for new, name in stands.items():
        link = inputs[new]
        assert isinstance(link, Constant)
        if constant(index, name) is None or link.array.dtype.kind != "f" or not link.array.size:
            continue
        array = np.asarray(link.array * link.array.dtype.type(0.75) + link.array.dtype.type(0.0625))
        changed[name] = array
        links[new] = Constant(array)
    if not changed:
        return ()

    def other() -> Model:
        return with_constants(before, changed)

    return (Other(f"other values of {', '.join(map(repr, changed))}", other, links),)


def with_constants(model: Model, arrays: Mapping[str, Array]) -> Model:
    """A model with other numbers for initializers and Constant nodes of its main graph."""
    proto = model.copy_proto()
    graph = proto.graph
    for position in range(len(graph.node) - 1, -1, -1):
        if any(name in arrays for name in graph.node[position].output):
            del graph.node[position]
    for position in range(len(graph.initializer) - 1, -1, -1):
        if graph.initializer[position].name in arrays:
            del graph.initializer[position]
    graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    return Model(proto, model.sources, path=model.path)


def dims(change: Change) -> Binding:
    """The same numbers at the old sizes. Axes that had one size are free now, whatever before says of itself.

    At other sizes, too, where before runs and nothing that held a size was made to follow.
    """
    before, symbols = input_ports(change.before.proto), symbols_of(change.before)
    ports = output_ports(change.before.proto) | before
    freed = []
    fixed: set[str] = set()
    axes: set[tuple[str, int]] = set()
    for key, value in change.arguments["values"].items():
        place = axis_or_symbol(key, ports, symbols)
        if isinstance(value, int):
            named = (ports[place.input].dims or {place.axis: None})[place.axis] if isinstance(place, Axis) else place
            fixed.update([named] if isinstance(named, str) else [])
            axes.update([(place.input, place.axis)] if isinstance(place, Axis) else [])
        sizes = before[place.input].dims if isinstance(place, Axis) and place.input in before else None
        if isinstance(place, Axis) and sizes is not None:
            size = sizes[place.axis]
            if isinstance(size, int) and size != value:
                freed.append(Freed(place.input, place.axis, size, place.input))
    plain = identity(change)
    return replace(
        plain,
        freed=tuple(freed),
        fixed=_hanging_on(before, fixed) | axes,
        moved=_moved(change, plain.outputs) if freed else frozenset(),
    )


def _moved(change: Change, outputs: Iterable[str]) -> frozenset[str]:
    """The outputs that hang on what holds the size of an axis in the model before, and was to follow."""
    given = change.arguments
    if not given.get("repair_shapes"):
        return frozenset()
    if change.before.proto.functions:  # which may be inlined, and hold sizes in their bodies
        return frozenset(outputs)
    report = dims_report(change.before, given["values"])
    names = {finding.node for finding in (*report.follows, *report.properties) if finding.done}
    index = GraphIndex(change.before.proto.graph)
    holders = [node for node in index.nodes if names.intersection((node.name, *node.output))]
    if len(holders) < len(names):  # some are in bodies or functions
        return frozenset(outputs)
    touched = downstream(index, [name for node in holders for name in node.output if name]).values
    return frozenset(name for name in outputs if name in touched)
