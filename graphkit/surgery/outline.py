"""outline: the nodes of a torch module, or of a cut, become a function of the model, the inverse of inline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx

from graphkit.arguments import ArgumentValueError
from graphkit.edit import node_set
from graphkit.edit.nodes import set_nodes
from graphkit.errors import CutError, EditError, InvalidGraphError, NameNotFoundError
from graphkit.graph import cut, module_paths, walk
from graphkit.graph.index import GraphIndex
from graphkit.graph.names import title
from graphkit.graph.opset import canonical
from graphkit.graph.order import is_ordered, topological_order
from graphkit.graph.upstream import downstream
from graphkit.hint import Argument, Hint
from graphkit.model import Model
from graphkit.operation import Edit, operation
from graphkit.plural import counted

FIRST_IR = 8
"""The IR version since which a model may hold functions (onnx/docs/IR.md)."""


@operation(law="same")
def outline(
    model: Model,
    modules: str | Iterable[str] = (),
    *,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    name: str = "piece",
    domain: str = "graphkit.modules",
) -> Edit:
    """Put the nodes of torch modules, or of a cut, into functions, and a call in the place of each.

    A function is called like the module's path, with dots as underscores. Its inputs are the values that come into the
    module, then the weights that it reads, which stay initializers of the model. A cut is named as for ``extract``: what
    computes some outputs from some inputs.

    Args:
        model: A path, a ModelProto or a Model.
        modules: Paths of torch modules as the file has them, such as ``layers.0.attn``; one call of a module that is called
            more than once: ``act#2``.
        inputs: Values that a cut begins with.
        outputs: Values that it ends with.
        name: What the function of the cut is called.
        domain: The functions' domain.

    Raises:
        NameNotFoundError: No such module or value.
        CutError: The inputs do not determine the outputs.
        EditError: A module's nodes are not closed: a value leaves it and comes back through other nodes. Or two of the
            modules share nodes or read from each other, the model has a function of the name already, or a training graph.
        ValueError: No module and no cut is named, or the domain is that of ONNX.

    Changes: nothing; returns a new model, of IR version 8 or later.
    Scope: nodes of the main graph, with their bodies.
    Cost: O(graph); weights are not read.
    Law: same. ``inline`` takes it back.
    Source: onnx/docs/IR.md, "Functions".

    Example:
        >>> gk.outline("model.onnx", "layers.0").save("readable.onnx")  # doctest: +SKIP
    """
    paths = [modules] if isinstance(modules, str) else list(dict.fromkeys(modules))
    if not paths and not outputs:
        raise ArgumentValueError("outline needs at least one module, or the outputs of a cut")
    if outputs and not name:
        raise ArgumentValueError("the function of a cut needs a name")
    if inputs and not outputs:
        raise ArgumentValueError("a cut that has inputs has outputs too")
    if domain in ("", "ai.onnx"):
        raise ArgumentValueError("functions need a domain of their own, not that of ONNX's operators")
    proto = model.copy_proto()
    index = GraphIndex(proto.graph)
    taken: dict[int, str] = {}
    regions: list[tuple[str, list[int]]] = []
    for path in [*paths, *([name] if outputs else [])]:
        positions = _nodes_of(index, path) if path in paths else _cut(index, inputs, outputs)
        shared = next((taken[position] for position in positions if position in taken), None)
        if shared is not None:
            raise EditError(f"the modules {shared!r} and {path!r} share nodes")
        taken.update(dict.fromkeys(positions, path))
        regions.append((path, positions))
    calls = {
        min(positions): _function(proto, index, path, positions, domain, named=path in paths)
        for path, positions in regions
    }
    nodes = [calls.get(p) or node for p, node in enumerate(index.nodes) if p in calls or p not in taken]
    if not is_ordered(nodes):
        try:
            nodes = [nodes[position] for position in topological_order(nodes)]
        except InvalidGraphError as error:
            said = " and ".join(map(repr, paths))
            raise EditError(f"the modules {said} read from each other: calls of them cannot be put in order") from error
    _take_types(proto, taken, index)
    set_nodes(proto.graph, nodes)
    proto.ir_version = max(proto.ir_version, FIRST_IR)
    if all(entry.domain != domain for entry in proto.opset_import):
        proto.opset_import.add(domain=domain, version=1)
    return Edit(
        proto,
        [f"{path}: {counted(len(positions), 'node')} became {domain}::{_name(path)}" for path, positions in regions],
    )


def _nodes_of(index: GraphIndex, path: str) -> list[int]:
    """The nodes of a module, with those between them that work for it alone.

    Raises:
        NameNotFoundError: No such module.
    """
    name, _, call = path.rpartition("#")
    known = module_paths.modules(index.graph)
    if name and call.isdigit():
        found = module_paths.module_calls(index.graph, name).get(int(call), [])
    else:
        found = known.get(path, [])
    if not found:
        raise NameNotFoundError("module", path, known, hint=module_paths.folded_hint(index.graph, path))
    others = (position for position in range(len(index.nodes)) if not module_paths.calls_around(index.nodes[position]))
    return node_set.enclosed(index, found, others)


def _cut(index: GraphIndex, inputs: Sequence[str], outputs: Sequence[str]) -> list[int]:
    """The nodes that compute some values from others.

    Raises:
        NameNotFoundError: No such value.
        CutError: The inputs do not determine the outputs.
        EditError: There is nothing to compute.
    """
    for value in (*inputs, *outputs):
        index.require(value)
    region = cut.trace(index, outputs, inputs)
    if inputs and region.open_inputs:
        missing = cut.frontier(index, outputs, inputs)
        raise CutError(
            f"the inputs do not determine the outputs: missing is {', '.join(map(repr, missing))}",
            missing=region.open_inputs,
            suggestion=missing,
            hint=Hint("close the cut with ", Argument("inputs", list(missing))),
        )
    if not region.nodes:
        raise EditError("no node lies between the inputs and the outputs")
    return list(region.nodes)


def _name(path: str) -> str:
    return "".join(letter if letter.isalnum() or letter == "_" else "_" for letter in path) or "root"


def _function(
    proto: onnx.ModelProto, index: GraphIndex, path: str, positions: Sequence[int], domain: str, *, named: bool
) -> onnx.NodeProto:
    """Add a module's function to the model; the node that calls it."""
    inside = set(positions)
    made = {name for position in positions for name in index.nodes[position].output if name}
    read = dict.fromkeys(name for position in positions for name in index.reads(position) if name not in made)
    inputs = sorted(read, key=lambda name: index.is_constant(name) and name not in index.inputs)
    outputs = [
        name
        for position in positions
        for name in index.nodes[position].output
        if name and (name in index.outputs or any(p not in inside for p in index.consumers.get(name, ())))
    ]
    _refuse_open(index, f"the module {path!r}" if named else "the cut", inside, outputs)
    function = onnx.FunctionProto(domain=domain, name=_name(path), input=inputs, output=outputs)
    if any(walk.function_key(f) == walk.function_key(function) for f in proto.functions):
        raise EditError(f"the model has a function {domain}::{function.name} already")
    if proto.training_info:
        raise EditError("the model has a training graph, whose gradients name nodes of the main graph")
    function.node.extend(index.nodes[position] for position in positions)
    used = {node.domain or "" for node in walk.function_nodes(function)}
    function.opset_import.extend(e for e in proto.opset_import if canonical(e.domain) in used)
    function.value_info.extend(value for value in proto.graph.value_info if value.name in made)
    if named:
        function.metadata_props.add(key="graphkit.module", value=path)
    proto.functions.append(function)
    call = onnx.NodeProto(op_type=function.name, domain=domain, name=path, input=inputs, output=outputs)
    if named:
        call.metadata_props.extend(index.nodes[positions[0]].metadata_props)
    return call


def _refuse_open(index: GraphIndex, what: str, inside: set[int], outputs: Sequence[str]) -> None:
    """A value that leaves the module may not come back through other nodes.

    Raises:
        EditError: One does.
    """
    if not outputs:
        raise EditError(f"nothing reads what {what} makes")
    for position in downstream(index, outputs, enter=lambda place: place not in inside).nodes:
        made = index.nodes[position].output
        if any(reader in inside for name in made for reader in index.consumers.get(name, ())):
            raise EditError(
                f"{what} is not closed: {title(index.nodes[position])} stands outside of it, between two of its nodes"
            )


def _take_types(proto: onnx.ModelProto, taken: Iterable[int], index: GraphIndex) -> None:
    """Drop the declarations of values that are inside of functions now. Changes the model."""
    made = {name for position in taken for name in index.nodes[position].output}
    outside = {name for function in proto.functions for name in function.output}
    for place in range(len(proto.graph.value_info) - 1, -1, -1):
        if proto.graph.value_info[place].name in made - outside:
            del proto.graph.value_info[place]
