"""float16 through ONNX Runtime's converter, and what has to be put right around it.

The converter (onnxruntime.transformers.float16) knows which operators stay in float32 and keeps the scales of Resize
there. What it leaves behind is mended here: its Casts stand at the end of the main graph, two of one name where two nodes
in float32 read one value, there also when the value is a body's; symbolic dims are replaced by those of its inference.
And it would compute sizes in float16: nodes that compute shapes and scales stay in float32.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import onnx

from graphkit.edit.nodes import set_inputs, set_nodes
from graphkit.errors import EditError, NameNotFoundError
from graphkit.graph import walk
from graphkit.graph.index import GraphIndex
from graphkit.graph.names import Names
from graphkit.hint import Argument, Blank, Hint
from graphkit.model import Model
from graphkit.runtime.failures import import_runtime
from graphkit.runtime.host_nodes import reads_on_host, shape_nodes
from graphkit.shapes.inference import inferred, objection
from graphkit.tensor import decode

FLOAT, HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
LARGEST = 65504.0
"""The largest number of float16."""


@dataclass(frozen=True)
class Kept:
    """What stays in float32.

    Attributes:
        operators: Operators, beside those that the converter leaves itself.
        nodes: Nodes, by name or output.
        interface: Inputs and outputs.
    """

    operators: Collection[str]
    nodes: Collection[str]
    interface: bool


def to_float16(model: Model, kept: Kept) -> tuple[onnx.ModelProto, list[str]]:
    """A self-contained model that computes in float16, and what the user should know.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        EditError: The result would not be valid: a type that inference does not know.

    Scope: main graph and bodies.
    Cost: O(weights), all of which are read into memory.
    """
    import_runtime("a change of precision")
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    if any(_made_by_converter(name) for name in Names(model.proto.graph).values):
        raise EditError("the model has been converted to float16 before", hint="start from the float32 model")
    whole = model.materialize()
    notes = _beyond_range(whole)
    _lend_types(whole.graph, inferred(model.proto).graph)
    called = number_nodes(whole.graph)
    computing = {name for scope in walk.graphs(whole.graph) for name in shape_nodes(scope)}
    staying = kept_nodes(whole.graph, called, computing, (*DEFAULT_OP_BLOCK_LIST, *kept.operators), kept.nodes)
    for_shapes = _inputs_for_shapes(whole.graph, computing)
    floats = [v.name for v in (*whole.graph.input, *whole.graph.output) if v.type.tensor_type.elem_type == FLOAT]
    notes += _what_stays(whole.graph, called, staying, [] if kept.interface else for_shapes)
    try:
        result = convert_float_to_float16(
            whole,
            keep_io_types=floats if kept.interface else for_shapes,
            disable_shape_infer=True,
            op_block_list=[],
            node_block_list=sorted(staying),
        )
    except AssertionError as error:  # it asserts that no value of a body is called like one outside, for one
        raise EditError(
            f"ONNX Runtime's converter gives up: {str(error) or 'it does not say why'}",
            hint="it wants that no value of a body is called like one of the graph around it",
        ) from error
    back = _place_casts(result.graph, called)
    call_again(result.graph, called)
    _restore_types(result.graph, model.proto.graph, back)
    _check(result, model.proto)
    return result, notes


def _made_by_converter(name: str) -> bool:
    return name.startswith(("graph_input_cast_", "graph_output_cast_")) or name.endswith(
        ("_cast_to_fp32", "_cast_to_fp16")
    )


def _beyond_range(whole: onnx.ModelProto) -> list[str]:
    """Notes about weights that float16 cannot hold; the converter takes its largest number instead."""
    import numpy as np

    found = []
    for tensor in walk.tensors(whole):
        if tensor.data_type == FLOAT:
            array = np.abs(decode(tensor, None))
            count = int(np.count_nonzero(np.isfinite(array) & (array > LARGEST)))
            found += [f"{count} numbers of {tensor.name!r} are beyond {LARGEST:g} and become that"] if count else []
    return found


def _lend_types(graph: onnx.GraphProto, typed: onnx.GraphProto) -> None:
    """Give every value its inferred type: the converter goes by these. Changes the graph."""
    for mine, known in zip(walk.graphs(graph), walk.graphs(typed), strict=True):
        weights = {tensor.name for tensor in mine.initializer}  # some become float16 and some do not: no types for them
        values = [value for value in known.value_info if value.name not in weights]
        outputs = list(known.output)
        del mine.value_info[:], mine.output[:]
        mine.value_info.extend(values)
        mine.output.extend(outputs)


def number_nodes(graph: onnx.GraphProto) -> dict[str, str]:
    """Give every node a name that no other has; returns what they were called. Changes the graph."""
    called = {}
    for count, node in enumerate(walk.nodes(graph)):
        called[f"node #{count}"] = node.name
        node.name = f"node #{count}"
    return called


def call_again(graph: onnx.GraphProto, called: dict[str, str]) -> None:
    """Give the nodes their own names again. Changes the graph."""
    for node in walk.nodes(graph):
        node.name = called.get(node.name, node.name)
        if not node.name:
            node.ClearField("name")


def kept_nodes(
    graph: onnx.GraphProto,
    called: dict[str, str],
    computing: Collection[str],
    operators: Collection[str],
    nodes: Collection[str],
) -> set[str]:
    """The nodes that go on computing in float32, by number: those asked for, those of other domains, those for sizes.

    Raises:
        NameNotFoundError: A node that is to be kept is not there.
        EditError: It is control flow, whose bodies are converted node by node.
    """
    found: set[str] = set()
    missing = set(nodes)
    for node in walk.nodes(graph):
        names = {called[node.name], *node.output} & set(nodes)
        missing -= names
        flow = next(iter(walk.bodies(node)), None) is not None
        if flow and names:
            raise EditError(f"{node.op_type} {min(names)!r} has bodies: name the nodes in them")
        own = node.domain not in ("", "ai.onnx", "com.microsoft")
        if not flow and (names or own or node.op_type in operators or node.name in computing):
            found.add(node.name)
    if missing:
        known = [name for node in walk.nodes(graph) for name in (called[node.name], *node.output) if name]
        raise NameNotFoundError("node", min(missing), known)
    return found


def _inputs_for_shapes(graph: onnx.GraphProto, computing: set[str]) -> list[str]:
    """Float inputs that decide sizes and nothing else: a factor would be another one in float16."""
    index = GraphIndex(graph)
    found = []
    for name, value in index.inputs.items():
        readers = [index.nodes[position] for position in index.consumers.get(name, ())]
        decides = all(node.name in computing or reads_on_host(node, name) for node in readers)
        if readers and decides and value.type.tensor_type.elem_type == FLOAT:
            found.append(name)
    return found


def _what_stays(graph: onnx.GraphProto, called: dict[str, str], staying: set[str], inputs: list[str]) -> list[str]:
    """Notes about what is still float32 afterwards."""
    floats = {
        value.name
        for scope in walk.graphs(graph)
        for value in (*scope.value_info, *scope.output)
        if value.type.tensor_type.elem_type == FLOAT
    }
    nodes = [
        f"{node.op_type} {called[node.name] or node.output[0]!r}"
        for node in walk.nodes(graph)
        if node.name in staying and node.op_type != "Constant" and floats & set(node.output)
    ]
    more = f" and {len(nodes) - 12} more" if len(nodes) > 12 else ""
    notes = [f"these nodes stay in float32: {', '.join(nodes[:12])}{more}"] if nodes else []
    return notes + [f"the input {name!r} stays float32: it decides sizes" for name in inputs]


def _place_casts(graph: onnx.GraphProto, called: dict[str, str]) -> set[str]:
    """Put the converter's Casts where what they read is made, each once, and none where float32 was there before.

    Returns:
        The values that are float32 again, under their own name.
    """
    made = {node.output[0]: node for node in graph.node if node.name not in called}
    casts = {}
    for name, node in made.items():
        casts[name] = onnx.NodeProto.FromString(node.SerializeToString())
    set_nodes(graph, [node for node in graph.node if node.name in called])
    direct = {
        name: casts[node.input[0]].input[0]
        for name, node in casts.items()
        if _to(node) == FLOAT and node.input[0] in casts and _to(casts[node.input[0]]) == HALF
    }
    for node in (*walk.nodes(graph), *casts.values()):
        set_inputs(node, [direct.get(name, name) for name in node.input])
    read = {name for node in (*walk.nodes(graph), *casts.values()) for name in node.input}
    read |= {value.name for scope in walk.graphs(graph) for value in scope.output}
    outputs = {name for node in walk.nodes(graph) for name in node.output}
    unread = {name: node for name, node in casts.items() if name not in read}
    back = {node.input[0]: name for name, node in unread.items() if node.input[0] in outputs and _to(node) == HALF}
    waiting: dict[str, list[onnx.NodeProto]] = {}
    for name, node in casts.items():
        if name not in unread:
            set_inputs(node, [back.get(node.input[0], node.input[0])])
            waiting.setdefault(node.input[0], []).append(node)
    for node in walk.nodes(graph):
        set_inputs(node, [back.get(name, name) for name in node.input])
        renamed = [back.get(name, name) for name in node.output]
        del node.output[:]
        node.output.extend(renamed)
    for scope in walk.graphs(graph):
        _insert(scope, waiting)
    return set(back.values())


def _to(node: onnx.NodeProto) -> int:
    return int(node.attribute[0].i)


def _insert(graph: onnx.GraphProto, casts: dict[str, list[onnx.NodeProto]]) -> None:
    """Put the Casts of what a graph defines right behind what they read. Changes the graph."""
    nodes: list[onnx.NodeProto] = []

    def follow(names: Iterable[str]) -> None:
        for name in names:
            for cast in casts.get(name, ()):
                nodes.append(cast)
                follow(cast.output)

    follow(dict.fromkeys((*(v.name for v in graph.input), *(t.name for t in graph.initializer))))
    for node in list(graph.node):
        nodes.append(node)
        follow(node.output)
    set_nodes(graph, nodes)


def _restore_types(graph: onnx.GraphProto, original: onnx.GraphProto, back: set[str]) -> None:
    """The types that the model had, symbolic dims included, in the new precision. Changes the graph."""
    for mine, before in zip(walk.graphs(graph), walk.graphs(original), strict=True):
        weights = {tensor.name: tensor.data_type for tensor in mine.initializer}
        now = {v.name: v.type for v in (*mine.value_info, *mine.output, *mine.input)}
        for field in ("value_info", "output", "input"):
            entries = getattr(mine, field)
            del entries[:]
            entries.extend(getattr(before, field))
            for value in entries:
                _set_type(value.type, now.get(value.name))
                if value.name in back:
                    value.type.tensor_type.elem_type = FLOAT
                elif value.name in weights:
                    value.type.tensor_type.elem_type = weights[value.name]


def _set_type(mine: onnx.TypeProto, now: onnx.TypeProto | None) -> None:
    if now is None:
        return
    if mine.HasField("tensor_type"):
        mine.tensor_type.elem_type = now.tensor_type.elem_type
    elif mine.HasField("sequence_type"):
        _set_type(mine.sequence_type.elem_type, now.sequence_type.elem_type)


def _check(result: onnx.ModelProto, original: onnx.ModelProto) -> None:
    """Refuse what onnx refuses, unless it refused the original too."""
    why = objection(result)
    if why and not objection(original):
        raise EditError(
            f"ONNX Runtime's converter made no valid model of it: {why[:300]}",
            hint=Hint("keep the nodes that it names in float32: ", Argument("keep_nodes", [Blank("NAME")])),
        )
