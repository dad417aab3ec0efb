"""extract: cut a submodel out of a model, whole and runnable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import onnx

from graphkit.arguments import ArgumentTypeError, ArgumentValueError
from graphkit.edit import node_set
from graphkit.edit.body_model import body_model
from graphkit.edit.called_values import inline_around, node_in_function
from graphkit.edit.stale import refresh
from graphkit.errors import CutError, NameNotFoundError, TypeUnknownError
from graphkit.graph import cut, module_paths, walk
from graphkit.graph.addresses import Addresses, Found
from graphkit.graph.index import GraphIndex
from graphkit.graph.names import Names
from graphkit.graph.order import sort_nodes
from graphkit.graph.values import constant, has_shape, parse_type, value_type
from graphkit.hint import Argument, Blank, Hint, call
from graphkit.model import Model
from graphkit.operation import Edit, operation
from graphkit.shapes.dependents import dependents, shaped_by
from graphkit.shapes.types_of import types_of


@operation(law="part", valid=False)
def extract(
    model: Model,
    *,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    module: str | None = None,
    nodes: Sequence[str] | None = None,
    hops: int = 0,
    input_types: Mapping[str, str | onnx.TypeProto] | None = None,
) -> Edit:
    """Cut out what computes some outputs from some inputs, and nothing else.

    The cut is named by values (``inputs``, ``outputs``), or by a torch module, or by nodes; the last two give the
    boundary themselves. Values that bodies of If, Loop and Scan capture are followed at any depth, and the functions
    that are called come along. Values and nodes inside of a body, ``If_0.then_branch/y``, cut a part of that body: what it
    captures becomes an input, and the part's values have the names that they have in the body. Everything that the cut does not concern stays as it is: metadata and doc strings on
    every level, quantization annotations, sparse initializers, opset imports, symbolic dims, the order of the nodes
    (but nodes that stand before what they read from are sorted: ONNX wants them so).

    Args:
        model: A path, a ModelProto or a Model; it is not changed.
        inputs: Values that become graph inputs, in this order. By default the graph inputs that the outputs need. A
            constant named here (an initializer, with or without a default value's role, or a Constant node's value)
            becomes a required input, and the shapes that it decided are no longer promised. An input that no output
            needs is kept, with a warning.
        outputs: Values that become graph outputs, in this order; by default the graph outputs. An input or an
            initializer may be an output too.
        module: Path of a torch module as exporters write it into the file, such as ``layers.0.attn``; "" is the root. Of
            a module that is called more than once, one call: ``act#2`` (in files that ``graphkit.export`` wrote).
        nodes: Names of nodes (or, for nodes without one, of a value they make).
        hops: With ``nodes``: take the nodes within this many steps of them too.
        input_types: Types of values that neither the file nor inference knows, or that shall be others, such as
            ``{"x": "float32[1,3,n]"}``: of inputs, of outputs, or of values that inference starts from. Other kinds:
            ``seq(float32[n])``, ``optional(int64)``, ``map(int64,float32)``, ``sparse(float32[3,4])``.

    Returns:
        The submodel. Graph inputs that have a default value (IR version 4 or later) stay overridable; below IR version 4
        every initializer stays listed as an input.

    Raises:
        NameNotFoundError: No such value, module or node; names that look alike are suggested.
        CutError: The values are in two bodies, or in a function that is called several times; the inputs do not determine the outputs (``missing`` has the graph inputs that are open, and
            ``suggestion`` the values to add), an input or an output is given twice, or a module is called more than once
            and the call is not said.
        TypeUnknownError: The type of a boundary value cannot be found.
        InvalidGraphError: A node of the cut reads a name that nothing defines, or nodes read from each other in a cycle.
        ValueError: Options exclude each other, there is no output, or a type is none.
        ModelFileError, FormatError, WeightsError, TensorError: As ``load``.

    Changes: Nothing; returns a new model over the same bytes.
    Scope: Cuts the main graph, or one body; bodies inside and functions come along whole; for a cut inside of a function it is inlined.
    Cost: O(graph), inference only over nodes upstream of boundary values without a type; weights are not read.
    Law: part: the part computes what the whole does, once it is fed the whole's values.

    Example:
        >>> gk.extract("model.onnx", inputs=["relu_3", "mask"], outputs=["logits"]).save("head.onnx")  # doctest: +SKIP
    """
    check_options(inputs, outputs, module, nodes, hops)
    if inputs is None and outputs is None and module is None and not nodes:
        raise ArgumentValueError("name the cut: by inputs and outputs, by a module, or by nodes")
    proto = model.proto
    notes: list[str] = []
    if module is None:
        place = place_of(proto, inputs, outputs, nodes)
        proto, notes = place.proto, place.notes
        inputs, outputs, nodes = place.names
        input_types = {place.local(name): text for name, text in (input_types or {}).items()}
    index = GraphIndex(proto.graph)
    if module is not None or nodes:
        wanted_inputs, wanted_outputs = boundary(index, module, nodes, hops)
    else:
        wanted_inputs, wanted_outputs = named_values(index, inputs or (), outputs)
    region = cut.trace(index, wanted_outputs, wanted_inputs)
    chosen = wanted_inputs
    if inputs is None:
        chosen = [*chosen, *region.open_inputs]
    elif region.open_inputs:
        raise _open_cut(index, wanted_outputs, wanted_inputs, region.open_inputs)
    idle = [name for name in wanted_inputs if name not in region.reached]
    given = given_types(index, input_types)
    types = types_of(proto, index, dict.fromkeys([*chosen, *wanted_outputs]), given)
    unknown = [name for name in dict.fromkeys([*chosen, *wanted_outputs]) if name not in types]
    if unknown:
        raise TypeUnknownError(
            f"the type of {_listed(unknown)} is neither in the file nor can it be inferred",
            names=unknown,
            hint=Hint("say it: ", Argument("input_types", {unknown[0]: "float32[1,3,n]"})),
        )
    assembly = _Assembly(proto, index, region, chosen, wanted_outputs, types)
    part = assembly.build()
    _renew_shapes(part, index, chosen, given)
    return Edit(
        part, [*notes, *assembly.notes, *_shapeless(part.graph)], warnings=[_idle_message(idle)] if idle else []
    )


class Place(NamedTuple):
    """Where a cut is.

    Attributes:
        proto: The model whose main graph is cut: the whole; a body as a model; the whole with functions inlined.
        names: The inputs, outputs and nodes as they are called there.
        prefix: What stands before the names of a body.
        notes: What was inlined.
    """

    proto: onnx.ModelProto
    names: tuple[list[str] | None, list[str] | None, list[str] | None]
    prefix: str = ""
    notes: list[str] = []  # noqa: RUF012 (a field of a named tuple, which nothing changes)

    def local(self, name: str) -> str:
        """A name as the graph that is cut has it."""
        return name.removeprefix(self.prefix)


def place_of(
    proto: onnx.ModelProto,
    inputs: Sequence[str] | None,
    outputs: Sequence[str] | None,
    nodes: Sequence[str] | None,
) -> Place:
    """Where a cut is that some addresses name: in the main graph, in a body, or in a function, which is inlined.

    Raises:
        CutError: They are in two bodies, or in a function that is called several times.
        EditError: They are in a function that nothing calls.
    """
    groups = [None if names is None else list(names) for names in (inputs, outputs, nodes)]
    notes: list[str] = []
    if any("function:" in name for names in groups for name in names or ()):
        proto, groups, notes = _called(proto, groups)
    prefix = _body_of(proto, [name for names in groups for name in names or ()])
    local = [None if names is None else [name.removeprefix(prefix) for name in names] for names in groups]
    return Place(body_model(proto, prefix) if prefix else proto, (local[0], local[1], local[2]), prefix, notes)


def _called(
    proto: onnx.ModelProto, groups: Sequence[list[str] | None]
) -> tuple[onnx.ModelProto, list[list[str] | None], list[str]]:
    """A model whose functions are inlined that some addresses are in, the addresses there, and what to say."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    addresses = Addresses(copy)
    values: dict[str, Found] = {}
    for place, names in enumerate(groups):
        for name in names or ():
            if not name.startswith("function:") or addresses.main.has(name):
                continue
            found = node_in_function(addresses.node(name)) if place == NODES else addresses.value(name)
            if found is not None and found.site.function is not None:
                values[name] = found
    if not values:
        return proto, list(groups), []
    calls = inline_around(copy, values.values())
    now = {name: calls.values[found.address] for name, found in values.items()}
    often = next((name for name, new in now.items() if len(new) > 1), None)
    if often is not None:
        raise CutError(
            f"{often!r} is inside of a function that is called {len(now[often])} times",
            hint=Hint(
                f"inline the functions first, and name the values of one call ({_listed(now[often])}): ", call("inline")
            ),
        )
    there = [None if names is None else [now[name][0] if name in now else name for name in names] for names in groups]
    return copy, there, calls.notes


NODES = 2
"""Which of ``inputs``, ``outputs`` and ``nodes`` the nodes are."""


def _body_of(proto: onnx.ModelProto, names: Sequence[str]) -> str:
    """What stands before the names of the body that values or nodes are in; "" for the main graph.

    Raises:
        CutError: They are in two bodies.
    """
    if not any("/" in name for name in names):
        return ""
    addresses = Addresses(proto)
    found: dict[str, str] = {}
    for name in names:
        if addresses.main.has(name) or name in addresses.main.positions:
            continue
        fitting = [site for site in addresses.sites if site.prefix and name.startswith(site.prefix)]
        if not fitting:
            return ""
        site = max(fitting, key=lambda site: len(site.prefix))
        found[site.prefix] = name
    if len(found) > 1:
        raise CutError(f"{_listed(found.values())} are in two bodies, and a cut is a part of one")
    return next(iter(found), "")


def check_options(
    inputs: Sequence[str] | None,
    outputs: Sequence[str] | None,
    module: str | None,
    nodes: Sequence[str] | None,
    hops: int,
) -> None:
    """Check how a cut is named, before anything is loaded.

    Raises:
        ValueError: Options exclude each other, or no outputs are asked for.
    """
    if sum([inputs is not None or outputs is not None, module is not None, bool(nodes)]) > 1:
        raise ArgumentValueError("name the cut in one way: by inputs and outputs, by a module, or by nodes")
    if hops < 0 or (hops and not nodes):
        raise ArgumentValueError(f"hops={hops} is a number of steps around nodes: 0 or more, with nodes given")
    if outputs is not None and not outputs:
        raise ArgumentValueError("a cut needs at least one output")


def named_values(
    index: GraphIndex, inputs: Sequence[str], outputs: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    """The inputs and outputs that were asked for, checked; the graph outputs where none were.

    Raises:
        NameNotFoundError: No such value.
        CutError: One is given twice, or there is no output.
    """
    chosen = list(outputs) if outputs is not None else list(index.outputs)
    if not chosen:
        raise CutError(
            "the graph has no outputs",
            hint=Hint("name the values that become outputs: ", Argument("outputs", [Blank("NAME")])),
        )
    for kind, names in (("input", inputs), ("output", chosen)):
        for name, count in Counter(names).items():
            if count > 1:
                raise CutError(f"the {kind} {name!r} is given {count} times", hint="name each value once")
            index.require(name)
    return list(inputs), chosen


def boundary(
    index: GraphIndex, module: str | None, nodes: Sequence[str] | None, hops: int
) -> tuple[list[str], list[str]]:
    """The inputs and outputs of a torch module, or of nodes and those within some steps of them.

    Raises:
        NameNotFoundError: The file names no such module, no node has a name, or several have it.
        CutError: The module is called more than once, and the call is not said.
    """
    if module is not None:
        positions = _module_nodes(index, module)
    else:
        positions = node_set.around(index, (index.node_named(name) for name in nodes or ()), hops)
    inputs, outputs = node_set.boundary(index, positions)
    return list(inputs), list(outputs)


def given_types(index: GraphIndex, types: Mapping[str, str | onnx.TypeProto] | None) -> dict[str, onnx.TypeProto]:
    """The types that the caller gives.

    Raises:
        NameNotFoundError: No such value.
        ValueError: A text is no type.
        TypeError: It is neither a text nor a TypeProto.
    """
    for name, kind in (types or {}).items():
        if not isinstance(kind, str | onnx.TypeProto):
            raise ArgumentTypeError(f"the type of {name!r} is a text or a TypeProto, not {type(kind).__name__}")
    return {index.require(name): parse_type(t) if isinstance(t, str) else t for name, t in (types or {}).items()}


def _module_nodes(index: GraphIndex, path: str) -> list[int]:
    known = module_paths.modules(index.graph)
    plain, mark, number = path.rpartition("#")
    if path not in known and mark and number.isdecimal():
        calls = module_paths.module_calls(index.graph, plain) or {1: known[plain]} if plain in known else {}
        known = {f"{plain}#{one}": places for one, places in calls.items()} or known
    elif len(calls := module_paths.module_calls(index.graph, path)) > 1:
        raise CutError(
            f"the module {path!r} is called {len(calls)} times: {_listed(f'{path}#{one}' for one in calls)}",
            hint=Hint("name one call: ", Argument("module", f"{path}#{next(iter(calls))}")),
        )
    if path in known:
        # The TorchScript exporter's own optimizations leave nodes without a path in the midst of a module (LSTM, GRU).
        pathless = [p for p, node in enumerate(index.nodes) if module_paths.module_path(node) is None]
        return node_set.enclosed(index, known[path], pathless)
    hint: str | None = module_paths.folded_hint(index.graph, path)
    if not known:
        hint = "the file does not say which torch module its nodes come from (a tool may have dropped it)"
    raise NameNotFoundError("module", path, known, hint=hint)


def _open_cut(index: GraphIndex, outputs: Sequence[str], inputs: Sequence[str], missing: Sequence[str]) -> CutError:
    suggestion = cut.frontier(index, outputs, inputs)
    open_outputs = cut.undetermined(index, outputs, inputs)
    return CutError(
        f"the inputs {_listed(inputs)} do not determine {_listed(open_outputs)}: "
        f"missing is {_listed(suggestion)}"
        + ("" if set(suggestion) == set(missing) else f", which depends on the graph input {_listed(missing)}"),
        missing=missing,
        suggestion=suggestion,
        hint=Hint("close the cut with ", Argument("inputs", list(suggestion))),
    )


def _idle_message(idle: Sequence[str]) -> str:
    return f"no output needs the input {_listed(idle)}; it is kept as an input that nothing reads"


def _shapeless(graph: onnx.GraphProto) -> list[str]:
    """A note about boundary tensors whose rank nobody knows: valid (docs/IR.md), but onnx.checker refuses them."""
    names = [v.name for v in (*graph.input, *graph.output) if v.type.HasField("tensor_type") and not has_shape(v.type)]
    if not names:
        return []
    given = Argument("input_types", {name: Blank("TYPE[SHAPE]") for name in names})
    return [Hint(f"the shape of {_listed(dict.fromkeys(names))} is not known; give it with ", given)]


def _listed(names: Iterable[str], most: int = 8) -> str:
    names = list(names)
    shown = ", ".join(repr(name[:200]) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "") or "(none)"


def _renew_shapes(
    part: onnx.ModelProto, index: GraphIndex, inputs: Iterable[str], given: Mapping[str, onnx.TypeProto]
) -> None:
    """Take back the shapes that inputs decided which were constants or had another type. Changes the model."""
    loose = [name for name in inputs if index.is_constant(name) or constant(index, name) is not None]
    retyped = [name for name in inputs if name in given and value_type(index, name) not in (None, given[name])]
    changed = {*shaped_by(part.graph, loose, part.functions), *dependents(part.graph, retyped)}.difference(inputs)
    if changed:
        refresh(part, changed, given)


class _Assembly:
    """Builds the submodel of a region.

    Attributes:
        notes: What could not come along, and why.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        index: GraphIndex,
        region: cut.Region,
        inputs: Sequence[str],
        outputs: Sequence[str],
        types: Mapping[str, onnx.TypeProto],
    ) -> None:
        self.model = model
        self.index = index
        self.region = region
        self.inputs = inputs
        self.outputs = outputs
        self.given = frozenset(inputs)
        self.boundary = self.given.union(outputs)
        self.types = types
        self.notes: list[str] = []
        self.kept: set[str] = {*inputs, *outputs, *region.constants}
        self.called: set[walk.FunctionKey] = set()

    def build(self) -> onnx.ModelProto:
        part = onnx.ModelProto()
        for level, value in self.model.ListFields():
            if level.name in ("graph", "functions", "training_info"):
                continue
            if level.is_repeated:
                getattr(part, level.name).extend(value)
            else:
                setattr(part, level.name, value)
        graph = part.graph
        self._add_nodes(graph)
        self._add_annotations(graph)
        self._add_constants(graph)
        self._add_boundary(graph)
        self.called = walk.called_functions(graph.node, self.model.functions)
        graph.value_info.extend(i for i in self.index.graph.value_info if self._is_inner(i.name))
        for field in ("name", "doc_string"):
            if self.index.graph.HasField(field):
                setattr(graph, field, getattr(self.index.graph, field))
        graph.metadata_props.extend(self.index.graph.metadata_props)
        self._add_training(part)
        training = [n for t in part.training_info for g in (t.initialization, t.algorithm) for n in g.node]
        called = walk.called_functions([*graph.node, *training], self.model.functions)
        part.functions.extend(f for f in self.model.functions if walk.function_key(f) in called)
        return part

    def _add_nodes(self, graph: onnx.GraphProto) -> None:
        graph.node.extend(self.index.nodes[position] for position in self.region.nodes)
        names: Names | None = None
        for node in graph.node:
            for place, name in enumerate(node.output):
                if name in self.given:
                    # Another output of the node is needed, and this one is now an input: a value has one definition.
                    names = names or Names(self.index.graph)
                    node.output[place] = names.fresh(f"{name}_unused")
                    for spec in (s for c in node.device_configurations for s in c.sharding_spec):
                        spec.tensor_name = node.output[place] if spec.tensor_name == name else spec.tensor_name
            self.kept.update(node.output)
        for scope in reversed((graph, *walk.nested(graph.node))):  # sorting copies what is inside
            sort_nodes(scope)

    def _is_inner(self, name: str) -> bool:
        if name in self.kept:
            return name not in self.boundary
        return "::" in name and walk.is_function_value(name, self.called)

    def _add_annotations(self, graph: onnx.GraphProto) -> None:
        """Quantization annotations of what is kept, and the scales and zero points that they name."""
        for annotation in self.index.graph.quantization_annotation:
            if annotation.tensor_name in self.kept:
                graph.quantization_annotation.append(annotation)
                self.kept.update(e.value for e in annotation.quant_parameter_tensor_names)

    def _add_constants(self, graph: onnx.GraphProto) -> None:
        taken = self.kept - self.given
        graph.initializer.extend(t for t in self.index.graph.initializer if t.name in taken)
        graph.sparse_initializer.extend(s for s in self.index.graph.sparse_initializer if s.values.name in taken)

    def _add_boundary(self, graph: onnx.GraphProto) -> None:
        listed = self.index.inputs
        taken = self.kept - self.given
        defaults = [name for name in listed if name in taken and self.index.is_constant(name)]
        names = [*self.inputs, *defaults]
        if list(self.inputs) == [name for name in listed if name in self.given]:
            wanted = self.given.union(defaults)
            names = [name for name in listed if name in wanted]
        graph.input.extend(self._value(name, "input") if name in self.types else listed[name] for name in names)
        graph.output.extend(self._value(name, "output") for name in self.outputs)

    def _value(self, name: str, role: Literal["input", "output"]) -> onnx.ValueInfoProto:
        """A boundary value as the file declares it, with the type that was found."""
        index = self.index
        first, second = (index.inputs, index.outputs) if role == "input" else (index.outputs, index.inputs)
        declared = first.get(name) or second.get(name) or index.value_info.get(name)
        info = onnx.ValueInfoProto()
        if declared is not None:
            info.CopyFrom(declared)
        info.name = name
        info.type.CopyFrom(self.types[name])
        return info

    def _add_training(self, part: onnx.ModelProto) -> None:
        """Training information, where everything that it reads and binds is still there.

        Its algorithm is one graph together with the main graph (onnx.in.proto, TrainingInfoProto).
        """
        held = walk.defined_names(part.graph) if self.model.training_info else set()
        for training in self.model.training_info:
            bound = {e.key for e in (*training.initialization_binding, *training.update_binding)}
            used = {*walk.free_names(training.algorithm), *bound} - walk.defined_names(training.algorithm)
            lost = sorted(used - held) or sorted(bound & self.given)
            if not lost:
                part.training_info.append(training)
            else:
                self.notes.append(f"training_info was left out: it needs {_listed(lost)}")
