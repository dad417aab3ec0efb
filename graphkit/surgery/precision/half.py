"""float16 and bfloat16: each float32 value is made in one type, and a Cast stands where a reader wants the other.

A node computes in 16 bits where its schema allows it at every float place that matters; what the schema fixes (the
scales of Resize) stays float32, place by place. Weights, in initializers and in Constant nodes, are stored in the type
that their readers want, and twice where they want both. Which operators stay in float32 on the whole is ONNX Runtime's
list (onnxruntime.transformers.float16.DEFAULT_OP_BLOCK_LIST): it cannot run them in 16 bits, or they lose too much.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

import onnx

from graphkit.edit.nodes import set_inputs, set_nodes
from graphkit.errors import EditError
from graphkit.graph import walk
from graphkit.graph.index import GraphIndex
from graphkit.graph.names import Names
from graphkit.graph.opset import opset_of
from graphkit.hint import Argument, Blank, Hint
from graphkit.model import Model
from graphkit.runtime.failures import import_runtime
from graphkit.runtime.placement import reads_on_host, shape_nodes
from graphkit.runtime.written import Unfit, unfit
from graphkit.semantics.kinds import CONTROL_FLOW
from graphkit.shapes.inference import inferred, objection
from graphkit.surgery.precision.half_nodes import FLOAT, Wants, convert_attributes, half_node, makes_by_attribute, stays
from graphkit.surgery.precision.half_weights import LARGEST, half_tensor, is_weight_node, weight_tensor
from graphkit.surgery.precision.kept import Kept, call_again, kept_nodes, number_nodes

TEXT: dict[int, str] = {FLOAT: "float32", onnx.TensorProto.FLOAT16: "float16", onnx.TensorProto.BFLOAT16: "bfloat16"}

ROUNDS = 3
"""How many times nodes that do not load in 16 bits are left in float32, and the rest is tried."""


@dataclass(eq=False)
class _Value:
    """A float32 tensor.

    Attributes:
        name: Its name.
        kind: "input", "weight" (an initializer), "constant" (a Constant node), "fixed" (sparse) or "node".
        stored: The type in which it is made; weights are made in each type that is wanted.
        wanted: The types in which it is read.
        owner: The type that has its name.
        names: type -> what it is called in that type.
    """

    name: str
    kind: str
    stored: int
    wanted: set[int] = field(default_factory=set)
    owner: int = 0
    names: dict[int, str] = field(default_factory=dict)


@dataclass(eq=False)
class _Scope:
    """A graph or body: its float32 tensors, its nodes with what they read and make, the graph around it."""

    graph: onnx.GraphProto
    outer: _Scope | None
    io: int
    values: dict[str, _Value | None] = field(default_factory=dict)
    nodes: list[tuple[onnx.NodeProto, Wants]] = field(default_factory=list)
    bodies: list[_Scope] = field(default_factory=list)

    def find(self, name: str) -> _Value | None:
        """The float32 tensor that has a name here; None for what is none."""
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            scope = scope.outer
        return None

    def own(self) -> Iterator[_Value]:
        """The float32 tensors that are defined here."""
        return (value for value in self.values.values() if value is not None)

    def all(self) -> Iterator[_Scope]:
        """This graph and those in it, outer before inner."""
        yield self
        for body in self.bodies:
            yield from body.all()


def to_half(model: Model, kept: Kept, low: int) -> tuple[onnx.ModelProto, list[str]]:
    """A self-contained model that computes in float16 or bfloat16, and what the user should know.

    Args:
        model: The model.
        kept: What stays in float32.
        low: TensorProto.FLOAT16 or BFLOAT16.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        NameNotFoundError: A node or operator that is to be kept is not there.
        EditError: Nothing can be converted, or the result would not be valid.

    Scope: main graph and bodies.
    Cost: O(weights), all of which are read into memory, for each of at most three rounds: nodes that the runtime does not
        load in 16 bits go back to float32.
    """
    import_runtime("a change of precision")
    refused: list[str] = []
    for _ in range(ROUNDS):
        again = replace(kept, nodes=[*kept.nodes, *refused])
        whole, notes = _converted(model, again, low)
        unfitting, said = _objections(whole, model.proto, low)
        movable = {
            name for node in walk.nodes(model.proto.graph) if not any(walk.bodies(node)) for name in _names(node)
        }
        found = [one.name for one in unfitting if one.name in movable and one.name not in refused]
        if not found:
            break
        refused += found
    _refuse(whole, model.proto, unfitting, low)
    return whole, notes + said


def _names(node: onnx.NodeProto) -> tuple[str, ...]:
    return node.name, *node.output


def _converted(model: Model, kept: Kept, low: int) -> tuple[onnx.ModelProto, list[str]]:
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST

    whole = model.materialize()
    typed = inferred(model.proto)
    called = number_nodes(whole.graph)
    computing = {name for scope in walk.graphs(whole.graph) for name in shape_nodes(scope)}
    staying = kept_nodes(whole.graph, called, kept, operators=DEFAULT_OP_BLOCK_LIST, computing=computing)
    sizes = _inputs_for_shapes(whole.graph, computing)
    conversion = _Conversion(whole, low, staying, sizes)
    root = conversion.read(whole.graph, typed.graph, None, FLOAT if kept.interface else low)
    conversion.use(root)
    notes = _what_stays(root, called, [] if kept.interface else sizes)
    notes = conversion.write(root) + notes
    call_again(whole.graph, called)
    if not conversion.changed:
        raise EditError(
            f"nothing in the model becomes {TEXT[low]}: it holds no float32, or all of it is kept",
            hint="start from the float32 model, and keep less of it in float32",
        )
    return whole, notes


class _Conversion:
    """One model on its way to 16 bits: read all of it, see who wants what, write."""

    def __init__(self, whole: onnx.ModelProto, low: int, staying: set[str], sizes: list[str]) -> None:
        self.low, self.staying, self.sizes = low, staying, set(sizes)
        self.opset = opset_of(whole)
        self.names = Names(whole.graph)
        self.changed = False

    def read(self, graph: onnx.GraphProto, typed: onnx.GraphProto, outer: _Scope | None, io: int) -> _Scope:
        """Every graph with its float32 tensors, and what each node reads and makes."""
        scope = _Scope(graph, outer, io)
        known = {v.name: v.type.tensor_type.elem_type for v in (*typed.value_info, *typed.output, *typed.input)}
        for value in graph.input:
            fixed = outer is None and value.name in self.sizes
            scope.values[value.name] = (
                _Value(value.name, "input", FLOAT if fixed else io) if known.get(value.name) == FLOAT else None
            )
        for sparse in graph.sparse_initializer:
            is_float = sparse.values.data_type == FLOAT
            scope.values[sparse.values.name] = _Value(sparse.values.name, "fixed", FLOAT) if is_float else None
        for tensor in graph.initializer:
            if tensor.name not in scope.values:
                scope.values[tensor.name] = _Value(tensor.name, "weight", FLOAT) if tensor.data_type == FLOAT else None
        for node, model_node in zip(list(graph.node), typed.node, strict=True):
            wants = self._wants(scope, node, known)
            scope.nodes.append((node, wants))
            for position, name in enumerate(node.output):
                kind = "constant" if is_weight_node(node) else "node"
                scope.values[name] = _Value(name, kind, wants.makes[position]) if position in wants.makes else None
            inside = self.low if wants.low else FLOAT
            for body, body_typed in zip(walk.bodies(node), walk.bodies(model_node), strict=True):
                scope.bodies.append(self.read(body, body_typed, scope, inside))
        return scope

    def _wants(self, scope: _Scope, node: onnx.NodeProto, known: Mapping[str, int]) -> Wants:
        floats_in = [i for i, name in enumerate(node.input) if name and scope.find(name) is not None]
        floats_out = [i for i, name in enumerate(node.output) if name and known.get(name) == FLOAT]
        flow = next(iter(walk.bodies(node)), None) is not None
        foreign = flow and (node.op_type not in CONTROL_FLOW or node.domain not in ("", "ai.onnx"))
        if node.name in self.staying or foreign:
            return stays(node, floats_in, floats_out)
        return half_node(node, floats_in, floats_out, self.low, self.opset)

    def use(self, root: _Scope) -> None:
        """Note on every value in which types it is read."""
        for scope in root.all():
            for node, wants in scope.nodes:
                for position, type_ in wants.reads.items():
                    value = scope.find(node.input[position])
                    if value is not None and type_ is not None:
                        value.wanted.add(type_)
            for output in scope.graph.output:
                value = scope.values.get(output.name)
                if value is not None:
                    value.owner = value.stored if value.kind in ("input", "fixed") else scope.io
                    value.wanted.add(value.owner)
                elif (outside := scope.find(output.name)) is not None:
                    outside.wanted.add(scope.io)

        for scope in root.all():
            for node, wants in scope.nodes:
                if makes_by_attribute(node) and wants.makes and not any(wants.reads.values()):
                    value = scope.values[node.output[0]]
                    if value is not None and value.wanted == {FLOAT}:
                        value.stored = FLOAT

    def write(self, root: _Scope) -> list[str]:
        """Name every value in each type, and write nodes, weights, Casts and declared types. Changes the graphs."""
        scopes = list(root.all())
        for scope in scopes:
            for value in scope.own():
                self._name(value)
        notes: list[str] = []
        for scope in reversed(scopes):  # a graph's nodes are copied, with the bodies in them
            self._write_graph(scope, notes)
        return notes

    def _name(self, value: _Value) -> None:
        if value.kind in ("weight", "constant"):
            types = value.wanted or {FLOAT}
            value.stored = FLOAT if FLOAT in types else self.low
        else:
            types = value.wanted | {value.stored}
        value.owner = value.owner or value.stored
        for type_ in sorted(types):
            wish = value.name if type_ == value.owner else self.names.fresh(f"{value.name}_{TEXT[type_]}")
            value.names[type_] = wish
        self.changed = self.changed or self.low in value.names

    def _write_graph(self, scope: _Scope, notes: list[str]) -> None:
        graph = scope.graph
        before: list[onnx.NodeProto] = []
        for value in scope.own():
            if value.kind in ("input", "fixed"):
                before += self._casts(value)
        self._write_weights(scope, notes)
        nodes = before
        for node, wants in scope.nodes:
            nodes += self._written(scope, node, wants, notes)
        set_nodes(graph, nodes)
        for entry in (*graph.value_info, *graph.input):
            own = scope.values.get(entry.name)
            if own is not None and entry.type.tensor_type.elem_type == FLOAT:
                entry.type.tensor_type.elem_type = own.owner
        for entry in graph.output:
            own = scope.values.get(entry.name)
            outside = scope.find(entry.name) if entry.name not in scope.values else None
            if outside is not None:  # a body may hand out a value of the graph around it
                entry.name = outside.names[scope.io]
            if entry.type.tensor_type.elem_type == FLOAT and (own or outside):
                entry.type.tensor_type.elem_type = own.owner if own else scope.io

    def _written(self, scope: _Scope, node: onnx.NodeProto, wants: Wants, notes: list[str]) -> list[onnx.NodeProto]:
        """A node with the names and types that it reads and makes now, and the Casts behind it."""
        inputs = list(node.input)
        for position, type_ in wants.reads.items():
            value = scope.find(inputs[position])
            if value is not None:
                inputs[position] = value.names[value.stored if type_ is None else type_]
        set_inputs(node, inputs)
        made = [scope.values[name] for name in node.output if name]
        if is_weight_node(node) and made[0] is not None:
            return self._constants(node, made[0], notes)
        for position, name in enumerate(node.output):
            value = scope.values.get(name) if name else None
            if value is not None:
                node.output[position] = value.names[value.stored]
        if wants.low and any(value is not None and value.stored == self.low for value in made):
            convert_attributes(node, self.low)
        return [node, *(cast for value in made if value is not None for cast in self._casts(value))]

    def _casts(self, value: _Value) -> list[onnx.NodeProto]:
        return [
            onnx.helper.make_node(
                "Cast", [value.names[value.stored]], [name], name=self.names.fresh(f"{name}_cast"), to=type_
            )
            for type_, name in value.names.items()
            if type_ != value.stored
        ]

    def _constants(self, node: onnx.NodeProto, value: _Value, notes: list[str]) -> list[onnx.NodeProto]:
        made = []
        for type_, name in value.names.items():
            copy = onnx.NodeProto.FromString(node.SerializeToString())
            copy.output[0] = name
            if type_ != FLOAT:
                self._lower(weight_tensor(copy), value.name, notes)
            made.append(copy)
        return made

    def _write_weights(self, scope: _Scope, notes: list[str]) -> None:
        graph = scope.graph
        copies = []
        for tensor in graph.initializer:
            value = scope.values.get(tensor.name)
            if value is None:
                continue
            if value.kind == "input":  # the default of an input, in the input's type
                if value.stored != FLOAT:
                    self._lower(tensor, value.name, notes)
                continue
            if FLOAT in value.names and self.low in value.names:
                copy = onnx.TensorProto.FromString(tensor.SerializeToString())
                copy.name = value.names[self.low]
                self._lower(copy, value.name, notes)
                copies.append(copy)
            elif self.low in value.names:
                self._lower(tensor, value.name, notes)
            tensor.name = value.names[value.stored]
        graph.initializer.extend(copies)

    def _lower(self, tensor: onnx.TensorProto, name: str, notes: list[str]) -> None:
        count = half_tensor(tensor, self.low)
        if count:
            numbers = "1 number" if count == 1 else f"{count} numbers"
            notes.append(
                f"{numbers} of {name!r} {'is' if count == 1 else 'are'} beyond {LARGEST:g} and become"
                f"{'s' if count == 1 else ''} that"
            )


def _inputs_for_shapes(graph: onnx.GraphProto, computing: Collection[str]) -> list[str]:
    """Float inputs that decide sizes and nothing else: a factor would be another one in 16 bits."""
    index = GraphIndex(graph)
    found = []
    for name, value in index.inputs.items():
        readers = [index.nodes[position] for position in index.consumers.get(name, ())]
        decides = all(node.name in computing or reads_on_host(node, name) for node in readers)
        if readers and decides and value.type.tensor_type.elem_type == FLOAT:
            found.append(name)
    return found


def _what_stays(root: _Scope, called: Mapping[str, str], inputs: list[str]) -> list[str]:
    """Notes about what is still float32 afterwards."""
    nodes = [
        f"{node.op_type} {called[node.name] or next(filter(None, node.output), '')!r}"
        for scope in root.all()
        for node, wants in scope.nodes
        if not wants.low and wants.makes and node.op_type != "Constant"
    ]
    more = f" and {len(nodes) - 12} more" if len(nodes) > 12 else ""
    notes = [f"these nodes stay in float32: {', '.join(nodes[:12])}{more}"] if nodes else []
    return notes + [f"the input {name!r} stays float32: it decides sizes" for name in inputs]


def _objections(result: onnx.ModelProto, original: onnx.ModelProto, low: int) -> tuple[list[Unfit], list[str]]:
    """What the schemas and the runtime have against nodes of the result, and had not before.

    Returns:
        The nodes, and a note about operators that the runtime on the CPU cannot run in bfloat16: it has few kernels.
    """
    known = {(one.op_type, one.rule) for one in unfit(original)}
    found = [one for one in unfit(result) if (one.op_type, one.rule) not in known]
    if low != onnx.TensorProto.BFLOAT16:
        return found, []
    lacking = ", ".join(sorted({one.op_type for one in found if one.rule == "kernel"}))
    note = f"ONNX Runtime's CPU has no bfloat16 kernel for {lacking}: another device has, and onnx.reference"
    return [one for one in found if one.rule != "kernel"], [note] if lacking else []


def _refuse(result: onnx.ModelProto, original: onnx.ModelProto, found: list[Unfit], low: int) -> None:
    """Refuse a result with such nodes, or one that onnx's inference refuses and did not before.

    Raises:
        EditError: All nodes that are not as they should be.
    """
    why = "; ".join(f"{one.node}: {one.why}" for one in found[:12])
    if not why and not objection(original):
        why = objection(result)[:300]
    if why:
        names = [one.name for one in found] or [Blank("NAME")]
        raise EditError(
            f"the model in {TEXT[low]} would not be valid: {why}",
            hint=Hint("keep these nodes in float32: ", Argument("keep_nodes", names)),
        )
