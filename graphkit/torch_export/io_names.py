"""The names of a model's inputs and outputs, given after the export: the exporters do not look for names that are taken.

Asked to call an input as an inner value or a weight is called, torch 2.13's dynamo exporter writes a model in which one name
stands for both.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from graphkit.edit.renaming import rename_in_tree
from graphkit.finding import Finding
from graphkit.graph.names import Names


def stand_ins(kind: str, count: int) -> list[str]:
    """Names for the time of the export, which no torch operator or parameter has."""
    return [f"graphkit_{kind}_{number}" for number in range(count)]


def give_names(proto: onnx.ModelProto, inputs: Sequence[str], outputs: Sequence[str]) -> list[Finding]:
    """Give inputs and outputs their names in the place of the stand-ins. Changes the proto.

    Whatever else has one of the names gets another one: an inner value, a weight, an output that the user did not name.
    Outputs that share one name get their own.

    Args:
        proto: The model as exported with stand-ins.
        inputs: The wanted names, in the order of the stand-ins; some may have vanished.
        outputs: The wanted names of the first outputs.

    Returns:
        Weights that had to be renamed, and outputs that were there twice.

    Scope: main graph and bodies.
    Cost: O(nodes) for each name.
    """
    graph = proto.graph
    names = Names(graph)
    found: list[Finding] = []
    wanted = [*zip(stand_ins("input", len(inputs)), inputs, strict=True)]
    wanted += zip(stand_ins("output", len(outputs)), outputs, strict=True)
    weights = {tensor.name for tensor in graph.initializer}
    for stand_in, name in wanted:
        if stand_in not in names:
            continue
        if name in names:
            own = names.fresh(f"{name}_1")
            if name in weights:
                message = f"{name!r} is the name of an input or output; the weight of that name is called {own!r}"
                found.append(Finding("renamed", message, value=own))
            rename_value(graph, name, own)
        names.taken.add(name)
        rename_value(graph, stand_in, name)
    found += _tell_outputs_apart(graph, names)
    return found


def _tell_outputs_apart(graph: onnx.GraphProto, names: Names) -> list[Finding]:
    """Give an output that is there twice a name of its own; runtimes hand a name out once."""
    seen: set[str] = set()
    found = []
    for value in graph.output:
        if value.name in seen:
            own = names.fresh(f"{value.name}_again")
            graph.node.append(onnx.helper.make_node("Identity", [value.name], [own], name=own))
            found.append(Finding("renamed", f"output {value.name!r} is there twice; the second is {own!r}", value=own))
            value.name = own
        seen.add(value.name)
    return found


def rename_value(main: onnx.GraphProto, old: str, new: str) -> None:
    """Rename a value wherever it is written: in a freshly exported model no name means two things. Changes the graph."""
    rename_in_tree(main, {old: new})
