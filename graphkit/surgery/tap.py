"""Inner values as graph outputs, to look at them."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from graphkit.graph import values
from graphkit.graph.index import GraphIndex
from graphkit.model import Model
from graphkit.operation import Edit, operation
from graphkit.shapes.inference import inferred


@operation(law="meant", valid=False)
def tap(model: Model, names: str | Iterable[str], *, replace: bool = False) -> Edit:
    """Add values of the main graph as graph outputs; nothing else changes.

    No value_info is needed: a type that the file does not give is inferred, and where inference finds none the output
    is declared without one, which ONNX Runtime accepts and the checker does not (a GraphkitWarning says so).

    Args:
        model: A path, a ModelProto or a Model.
        names: Values: node outputs, inputs, initializers. Those that are outputs already stay as they are.
        replace: Drop the outputs that are not named; the runtime then leaves out what leads only to them.

    Returns:
        The model with the outputs appended in the order given.

    Raises:
        NameNotFoundError: The main graph has no such value.
        ValueError: No name is given.

    Changes: nothing, it returns a new model.
    Scope: main graph; values inside of If, Loop and Scan bodies cannot be outputs of the graph around them.
    Cost: O(graph), and one shape inference where types are missing; weights are not read.
    """
    wanted = list(dict.fromkeys([names] if isinstance(names, str) else names))
    if not wanted:
        raise ValueError("tap needs at least one value")
    index = GraphIndex(model.proto.graph)
    types = {name: values.value_type(index, index.require(name)) for name in wanted}
    untyped = [name for name, found in types.items() if found is None]
    if untyped:
        again = GraphIndex(inferred(model.proto).graph)
        types.update({name: values.value_type(again, name) for name in untyped})
    unknown = [name for name, found in types.items() if found is None]
    proto = model.copy_proto()
    add_outputs(proto.graph, types, replace=replace)
    text = f"no type is known for {', '.join(map(repr, unknown))}: the output is declared without one"
    return Edit(proto, warnings=[text] if unknown else [])


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
