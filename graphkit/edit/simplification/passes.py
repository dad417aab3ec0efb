"""One round: every node once, in topological order; then what nobody reads goes."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING

import onnx

from graphkit.edit.constants import initializer_of
from graphkit.edit.function_graph import refers
from graphkit.edit.nodes import set_inputs, set_nodes
from graphkit.edit.prune import keep
from graphkit.edit.readers import read_instead
from graphkit.edit.simplification.known import learn, target
from graphkit.edit.simplification.neighbours import merged
from graphkit.edit.simplification.no_ops import passes_through
from graphkit.edit.simplification.view import View
from graphkit.graph import walk
from graphkit.graph.names import Names
from graphkit.model import Model
from graphkit.semantics.kinds import MAY_DRAW
from graphkit.tensor import is_stripped, stored_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable


LIFTED = "Constant nodes became initializers"


def simplify_once(
    model: Model, proto: onnx.ModelProto, limit: int, names: Names | None = None, *, called: bool = False
) -> Counter[str]:
    """Leave out what one look at each node finds. Changes the model.

    Args:
        model: Whose bytes the constants are.
        proto: The model to change.
        limit: Bytes by which computed constants may make the model larger.
        names: The names in use; None for those of ``proto``.
        called: It is a function's graph, and nodes take attributes from the call: they stay, and types are not inferred.

    Returns:
        What was done -> how often; empty where there was nothing to do.

    Scope: the main graph; bodies follow where a value that they read is another one now.
    Cost: O(graph), and one shape inference. Constants are read where something is computed from them.
    """
    view = View(model, proto, names, infer=not called)
    done: Counter[str] = Counter()
    folded: list[onnx.NodeProto] = []
    twins: dict[bytes, onnx.NodeProto] = {}
    for node in view.waiting:
        view.connect(node)
        if called and refers(node):
            view.nodes.append(node)
            continue
        if _is_a_cast(view, node):
            done["CastLikes have a constant type"] += 1
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx") and _lifted(view, node):
            done[LIFTED] += 1
            continue
        if _is_left_out(view, node, twins, done):
            continue
        if learn(view, node, limit):
            folded.append(node)
            continue
        if (sizes := target(view, node)) is not None and proto.ir_version >= 4:
            set_inputs(node, [node.input[0], view.constant(f"{node.output[0]}_shape", sizes)])
            done["Reshapes have a constant target"] += 1
        before = sum(done.values())
        while merged(view, node):
            done["nodes do the work of the node before them"] += 1
        if before == sum(done.values()) or not _is_left_out(view, node, twins, done):
            view.keep(node)
    computed = _settle(view, folded, limit)
    if computed:
        done["nodes were computed beforehand"] = computed
    _write(view)
    dead = remove_dead(proto, view.inner)
    if dead:
        done["nodes that nothing reads are gone"] = dead
    return done


def _is_a_cast(view: View, node: onnx.NodeProto) -> bool:
    """Let a CastLike to a type that is known be a Cast. Changes the node."""
    if node.op_type != "CastLike" or node.domain not in ("", "ai.onnx"):
        return False
    elem = view.elem(node.input[1])
    if elem:
        node.op_type = "Cast"
        node.attribute.append(onnx.helper.make_attribute("to", elem))
        set_inputs(node, [node.input[0]])
    return bool(elem)


def _lifted(view: View, node: onnx.NodeProto) -> bool:
    """A Constant node as an initializer, where that is not one of the graph's outputs."""
    tensor = initializer_of(node)
    if tensor is None or node.output[0] in view.outputs or view.proto.ir_version < 4:
        return False
    kept = view.proto.graph.initializer
    kept.append(tensor)
    view.lifted(kept[-1])
    return True


def _is_left_out(view: View, node: onnx.NodeProto, twins: dict[bytes, onnx.NodeProto], done: Counter[str]) -> bool:
    """Let a node's readers read something else, where it changes nothing or stands there already."""
    through = passes_through(view, node)
    if through is not None and view.may_replace(node.output[0], through):
        view.replace(node.output[0], through)
        done["nodes that change nothing are gone"] += 1
        return True
    if _is_there_already(view, node, twins):
        done["nodes that were there twice are there once"] += 1
        return True
    if _copies_its_twin(view, node, twins):
        done["outputs that were computed twice are copied"] += 1
    return False


def _twin(node: onnx.NodeProto, twins: dict[bytes, onnx.NodeProto]) -> onnx.NodeProto:
    """The first node that computes the same, which may be this one."""
    if node.op_type in MAY_DRAW or not node.output or node.domain not in ("", "ai.onnx"):
        return node
    if any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in node.attribute):
        return node
    attributes = sorted(attribute.SerializeToString(deterministic=True) for attribute in node.attribute)
    key = b"\0".join([node.op_type.encode(), *(name.encode() for name in node.input), b"|", *attributes])
    return twins.setdefault(key, node)


def _copies_its_twin(view: View, node: onnx.NodeProto, twins: dict[bytes, onnx.NodeProto]) -> bool:
    """Let a node whose only result is a graph output be an Identity of an equal one before it. Changes the node."""
    if node.op_type == "Identity" or [*node.output] != [name for name in node.output if name in view.outputs]:
        return False
    twin = _twin(node, twins)
    if twin is node or len(node.output) != 1 or twin.output[0] not in view.maker or twin.output[0] in view.inner:
        return False
    del node.attribute[:]
    node.op_type = "Identity"
    set_inputs(node, [twin.output[0]])
    return True


def _is_there_already(view: View, node: onnx.NodeProto, twins: dict[bytes, onnx.NodeProto]) -> bool:
    """Let a node's readers read an equal node that stands before it."""
    twin = _twin(node, twins)
    if twin is node or len(twin.output) < len(node.output):
        return False
    pairs = [(mine, his) for mine, his in zip(node.output, twin.output, strict=False) if mine]
    if len(pairs) > 1 and any(mine in view.outputs for mine, _ in pairs):
        return False
    if not all(his and view.may_replace(mine, his) for mine, his in pairs):
        return False
    for mine, his in pairs:
        view.replace(mine, his)
    return True


def _settle(view: View, folded: list[onnx.NodeProto], limit: int) -> int:
    """Put computed values in the place of their nodes, as far as the model grows by no more than ``limit`` bytes.

    The largest ones are left to the runtime until that is so.
    """
    position = {name: place for place, node in enumerate(folded) for name in node.output if name}
    needed = view.outputs | set(view.renamed)
    for node in view.nodes:
        needed.update(walk.reads(node) if node.attribute else node.input[:])
    held = {t.name: stored_bytes(t) for t in view.proto.graph.initializer if t.name not in view.given}
    wanted = {name: view.known[name].nbytes for name in position if name in needed}
    grown = sum(wanted.values()) - sum(size for name, size in held.items() if name not in needed)
    kept: set[int] = set()
    while grown > limit and wanted:
        name = max(wanted, key=lambda name: wanted[name])
        kept.add(position[name])
        for made in folded[position[name]].output:
            grown -= wanted.pop(made, 0)
        for read in folded[position[name]].input:
            if read and read not in needed:
                needed.add(read)
                grown += held.get(read, 0)
                if read in position and position[read] not in kept:
                    wanted[read] = view.known[read].nbytes
                    grown += wanted[read]
    for name in wanted:
        view.proto.graph.initializer.append(onnx.numpy_helper.from_array(view.known[name], name))
    if kept:
        order = {id(node): place for place, node in enumerate(view.waiting)}
        view.nodes = sorted([*view.nodes, *(folded[place] for place in kept)], key=lambda node: order[id(node)])
    return len(folded) - len(kept)


def _write(view: View) -> None:
    """Put the nodes that stay into the graph, and give graph outputs their names back."""
    graph = view.proto.graph
    set_nodes(graph, view.nodes)
    if view.renamed:
        for node in graph.node:
            if any(name in view.renamed for name in node.output):
                names = [view.renamed.get(name, name) for name in node.output]
                del node.output[:]
                node.output.extend(names)
        read_instead(graph.node, view.renamed)


def remove_dead(proto: onnx.ModelProto, inner: set[str]) -> int:
    """Take out nodes whose results nothing reads, and constants and declarations that are left without a use.

    Graph inputs stay, and so do the defaults of those that have one. Changes the model.

    Args:
        proto: The model.
        inner: Names that bodies define.

    Returns:
        How many nodes went.
    """
    graph = proto.graph
    needed = {value.name for value in graph.output}
    for training in proto.training_info:
        needed.update(walk.free_names(training.algorithm), walk.free_names(training.initialization))
        needed.update(e.key for e in (*training.initialization_binding, *training.update_binding))
    nodes = list(graph.node)
    alive: list[onnx.NodeProto] = []
    for node in reversed(nodes):
        if needed.isdisjoint(node.output):
            continue
        alive.append(node)
        needed.update(walk.reads(node))
    if len(alive) < len(nodes):
        set_nodes(graph, alive[::-1])
    given = {value.name for value in graph.input}
    stays = needed | given
    keep(graph.initializer, lambda tensor: tensor.name in stays)
    keep(graph.sparse_initializer, lambda sparse: sparse.values.name in stays)
    _forget(proto, inner)
    return len(nodes) - len(alive)


def _forget(proto: onnx.ModelProto, inner: set[str]) -> None:
    """Drop declarations of values that nothing makes any more; those of values of functions stay. Changes the model."""
    graph = proto.graph
    made = {value.name for value in graph.input} | {name for node in graph.node for name in node.output}
    made.update(tensor.name for tensor in graph.initializer)
    made.update(sparse.values.name for sparse in graph.sparse_initializer)
    functions = [walk.function_key(function) for function in proto.functions]
    known = made | inner
    keep(graph.value_info, lambda value: value.name in known or walk.is_function_value(value.name, functions))
    keep(graph.quantization_annotation, lambda entry: entry.tensor_name in made)


def share_weights(model: Model, proto: onnx.ModelProto) -> int:
    """Let equal initializers be one: those of the main graph, and in a body those that it or the main graph has. Changes
    the model.

    Returns:
        How many went.

    Cost: O(initializers); the bytes of those are read, one at a time, that have the type, dims and size of another one.
    """
    inner = {name for body in walk.nested(proto.graph.node) for name in walk.defined_names(body)}
    outer = _Equals(model)
    count = _shared(proto.graph, outer, inner)
    for body in walk.nested(proto.graph.node):
        if body.initializer:
            count += _shared(body, outer.copy(), set())
    return count


def _shared(graph: onnx.GraphProto, equals: _Equals, apart: set[str]) -> int:
    """Let initializers of one graph be equal ones that are known. Changes the graph, and what is known."""
    fixed = apart | {value.name for value in (*graph.input, *graph.output)}
    fixed |= {entry.tensor_name for entry in graph.quantization_annotation}
    same = equals.find([tensor for tensor in graph.initializer if tensor.name not in fixed])
    if same:
        read_instead(graph.node, same)
        keep(graph.initializer, lambda tensor: tensor.name not in same)
        keep(graph.value_info, lambda value: value.name not in same)
    return len(same)


class _Equals:
    """Weights that stand in for equal ones. Bytes are read only of two that could be equal."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._alone: dict[tuple[object, ...], onnx.TensorProto] = {}
        self._known: dict[tuple[object, ...], dict[bytes, str]] = {}

    def copy(self) -> _Equals:
        """The same, to learn more without changing this one."""
        other = _Equals(self._model)
        other._alone = {**self._alone}
        other._known = {kind: {**known} for kind, known in self._known.items()}
        return other

    def find(self, tensors: Iterable[onnx.TensorProto]) -> dict[str, str]:
        """Those of some weights that another one equals, and its name."""
        same: dict[str, str] = {}
        for tensor in tensors:
            if is_stripped(tensor):  # nobody knows what it was
                continue
            kind = (tensor.data_type, tuple(tensor.dims), stored_bytes(tensor))
            first = self._alone.setdefault(kind, tensor)
            if first is tensor:
                continue
            known = self._known.get(kind) or self._known.setdefault(kind, {digest_of(self._model, first): first.name})
            name = known.setdefault(digest_of(self._model, tensor), tensor.name)
            if name != tensor.name:
                same[tensor.name] = name
        return same


def digest_of(model: Model, tensor: onnx.TensorProto) -> bytes:
    """A digest of a weight's bytes. Cost: reads them."""
    data = model.payload(tensor)
    if data is None:
        nameless = onnx.TensorProto()
        nameless.CopyFrom(tensor)
        for field in ("name", "doc_string"):
            nameless.ClearField(field)
        data = memoryview(nameless.SerializeToString(deterministic=True))
    return hashlib.sha256(data).digest()
