"""Inner values as graph outputs, to look at them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx

from graphkit.arguments import ArgumentValueError
from graphkit.edit.called_values import inline_around
from graphkit.edit.lifting import lifted
from graphkit.errors import NameNotFoundError
from graphkit.graph import values
from graphkit.graph.addresses import Addresses, Found, Site
from graphkit.graph.names import Names
from graphkit.model import Model
from graphkit.operation import Edit, operation
from graphkit.shapes.inference import inferred


@operation(law="meant", valid=False)
def tap(model: Model, names: str | Iterable[str], *, replace: bool = False, regex: bool = False) -> Edit:
    """Add values as graph outputs; nothing else changes.

    No value_info is needed: a type that the file does not give is inferred, and where inference finds none the output
    is declared without one, which ONNX Runtime accepts and the checker does not (a GraphkitWarning says so).

    A value inside of a body becomes an output under its address. One of an If's branch is empty where the other branch
    ran; one of a Loop or Scan has the values of all turns, stacked along a new first axis, which have to be of one shape.
    For a value inside of a function, ``function:DOMAIN::NAME/VALUE``, the function is inlined, and the value of each call
    is an output; the notes name them.

    Args:
        model: A path, a ModelProto or a Model.
        names: Values by address: node outputs, inputs, initializers; ``NODE.ATTRIBUTE/NAME`` in a body. ``*`` stands for
            any text, and names the values of the main graph that nodes make; with a ``/`` those of bodies too. Those
            that are outputs already stay as they are.
        replace: Drop the outputs that are not named; the runtime then leaves out what leads only to them.
        regex: ``names`` are regular expressions.

    Returns:
        The model with the outputs appended in the order given.

    Raises:
        NameNotFoundError: The model has no such value.
        EditError: The value is inside of a body that can hand out nothing more, or of a function that cannot be inlined.
        ValueError: No name is given.

    Changes: nothing, it returns a new model.
    Scope: main graph, bodies, functions; a function whose values are named is inlined where it is called.
    Cost: O(graph), and one shape inference where types are missing; weights are not read.
    Law: meant: the old outputs stay, the new ones are the inner values.

    Example:
        >>> gk.tap("model.onnx", ["relu_3", "If_0.then_branch/y"]).save("out.onnx")  # doctest: +SKIP
    """
    wanted = [names] if isinstance(names, str) else list(names)
    if not wanted:
        raise ArgumentValueError("tap needs at least one value")
    proto = model.copy_proto()
    addresses = Addresses(proto)
    found = [each for text in wanted for each in _named(addresses, text, regex=regex)]
    notes: list[str] = []
    if any(each.site.function is not None for each in found):
        calls = inline_around(proto, found)
        where = [new for each in found for new in calls.values.get(each.address, [each.address])]
        addresses = Addresses(proto)
        found, notes = [addresses.value(address) for address in dict.fromkeys(where)], calls.notes
        notes += [f"{old!r} is {', '.join(map(repr, new))}" for old, new in calls.values.items()]
    types = _types(proto, found)
    outputs: dict[str, onnx.TypeProto | None] = {}
    inner = [each for each in found if each.site is not addresses.main]
    for each in found:
        if each.site is addresses.main:
            outputs[each.name] = types.get(each.address)
    if inner:
        training = [graph for part in proto.training_info for graph in (part.initialization, part.algorithm)]
        taken = Names(proto.graph, *training)
        outputs.update(lifted(each, types.get(each.address), taken) for each in inner)
    add_outputs(proto.graph, outputs, replace=replace)
    unknown = [name for name, type_proto in outputs.items() if type_proto is None]
    text = f"no type is known for {', '.join(map(repr, unknown))}: the output is declared without one"
    return Edit(proto, notes, warnings=[text] if unknown else [])


def _named(addresses: Addresses, text: str, *, regex: bool) -> list[Found]:
    """The values of an address or a pattern; one without a "/" leaves bodies and functions alone.

    Raises:
        NameNotFoundError: There is none.
    """
    found = addresses.values(text, regex=regex, made=True)
    if regex or "*" not in text or "/" in text:
        return found
    main = [each for each in found if each.site is addresses.main]
    if not main:
        message = f"the main graph has no value that matches {text!r}"
        hint = f"values inside of bodies and functions match with a '/': {found[0].address!r} is one"
        raise NameNotFoundError("value", text, hint=hint, message=message)
    return main


def _types(proto: onnx.ModelProto, found: Sequence[Found]) -> dict[str, onnx.TypeProto]:
    """Address -> type, from the file or, where one is missing there, from inference."""
    types = {each.address: known for each in found if (known := _declared(each.site, each.name)) is not None}
    if any(each.address not in types for each in found):
        again = {site.prefix: site for site in Addresses(inferred(proto)).sites}
        for each in found:
            if each.address not in types and (known := _declared(again[each.site.prefix], each.name)) is not None:
                types[each.address] = known
    return types


def _declared(site: Site, name: str) -> onnx.TypeProto | None:
    return values.value_type(site.index, name) if site.index is not None else None


def add_outputs(graph: onnx.GraphProto, types: dict[str, onnx.TypeProto | None], *, replace: bool = False) -> None:
    """Declare values as outputs of a graph. Changes the graph.

    Args:
        graph: The graph.
        types: Value -> its type, or None to leave it to whoever reads the model.
        replace: Drop the outputs that are not named.
    """
    present = {value.name: value for value in graph.output}
    if replace:
        kept = [value for value in graph.output if value.name in types]
        del graph.output[:]
        graph.output.extend(kept)
    for name, type_proto in types.items():
        if name in present:
            continue
        output = graph.output.add(name=name)
        if type_proto is not None:
            output.type.CopyFrom(type_proto)
