"""Graphs put into one graph: names that collide get the model's name in front, and bytes keep their places."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import onnx

from graphkit.edit.nodes import set_nodes
from graphkit.edit.renaming import rename_declarations, rename_everywhere, rename_function
from graphkit.errors import EditError, InvalidGraphError, NameTakenError
from graphkit.graph import walk
from graphkit.graph.names import Names
from graphkit.graph.opset import canonical
from graphkit.graph.order import is_ordered, topological_order
from graphkit.graph.symbols import tensor_types
from graphkit.graph.values import dims
from graphkit.model import Model, Source


class Part:
    """One of the models that are joined, as a copy whose names may change.

    Attributes:
        name: What it is called.
        proto: The copy.
        sources: Its sources, under the locations that the copy uses.
        table: Value or node -> what it is called in the joined graph, where that is another name.
        symbols: Symbolic dim -> what it is called there.
        merged: Inputs that another value feeds.
    """

    def __init__(self, name: str, model: Model, number: int) -> None:
        self.name = name
        self.proto = model.copy_proto()
        self.sources = {f"{number}/{location}": source for location, source in model.sources.items()}
        for tensor in walk.tensors(self.proto):
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = f"{number}/{entry.value}"
        self.table: dict[str, str] = {}
        self.symbols: dict[str, str] = {}
        self.merged: set[str] = set()

    @property
    def graph(self) -> onnx.GraphProto:
        """The main graph of the copy."""
        return self.proto.graph

    def names(self) -> dict[str, None]:
        """Every name of a value in the main graph and in bodies, in order."""
        found = dict.fromkeys(value.name for value in (*self.graph.input, *self.graph.output))
        for graph in walk.graphs(self.graph):
            found.update(dict.fromkeys(sorted(walk.defined_names(graph))))
        return found

    def type_of(self, name: str) -> onnx.TypeProto:
        """The declared type of an input or output."""
        return next(value.type for value in (*self.graph.output, *self.graph.input) if value.name == name)


def as_parts(models: Mapping[str, Model]) -> dict[str, Part]:
    """Each model as a part, under its name."""
    return {name: Part(name, model, number) for number, (name, model) in enumerate(models.items())}


class Joined:
    """Several parts becoming one model."""

    def __init__(self, parts: Mapping[str, Part], *, prefix: bool) -> None:
        self.parts = parts
        self.prefix = prefix
        self.wires: list[tuple[str, str, str, str]] = []
        self.used: set[tuple[str, str]] = set()
        self.notes: list[str] = []

    def connect(self, model: str, value: str, other: str, entry: str, output: bool) -> None:  # noqa: FBT001 (a row of a table)
        """Let an input of one model be a value of another one."""
        self.notes.append(f"{other}:{entry} is {model}:{value}")
        part = self.parts[other]
        if any(entry == out.name for out in part.graph.output):
            entry = _set_apart(part, entry)
        self.wires.append((model, value, other, entry))
        part.merged.add(entry)
        if output:
            self.used.add((model, value))

    def finish(self) -> tuple[onnx.ModelProto, dict[str, Source], list[str]]:
        """The joined model, the bytes behind it, and what was done."""
        self._name_values()
        self._name_symbols()
        self._name_functions()
        for part in self.parts.values():
            _apply(part)
        proto, sources = onnx.ModelProto(), dict[str, Source]()
        for part in self.parts.values():
            _add(proto, part, self._kept_outputs(part))
            sources.update(part.sources)
        nodes = list(proto.graph.node)
        if not is_ordered(nodes):
            try:
                order = topological_order(nodes)
            except InvalidGraphError as error:
                raise EditError(f"the models feed each other in a cycle: {error.message}") from error
            set_nodes(proto.graph, [nodes[position] for position in order])
        proto.graph.name = "_".join(part.graph.name for part in self.parts.values() if part.graph.name) or "merged"
        return proto, sources, self.notes

    def interface(self) -> dict[str, dict[str, str]]:
        """Inputs and outputs of the joined model -> the ``MODEL:NAME`` that each of them is."""
        found: dict[str, dict[str, str]] = {"inputs": {}, "outputs": {}}
        for part in self.parts.values():
            back = {new: old for old, new in part.table.items() if old not in part.merged}
            for value in part.graph.input:
                found["inputs"][value.name] = f"{part.name}:{back.get(value.name, value.name)}"
            kept = self._kept_outputs(part)
            for value in part.graph.output:
                if value.name in kept:
                    found["outputs"][value.name] = f"{part.name}:{back.get(value.name, value.name)}"
        return found

    def _kept_outputs(self, part: Part) -> set[str]:
        """Outputs that stay in the interface, by their new names, which the part has already."""
        gone = {part.table.get(value, value) for model, value in self.used if model == part.name}
        return {value.name for value in part.graph.output} - gone

    def _name_values(self) -> None:
        """Give every name that an earlier part has the part's name in front; connected inputs the name that feeds them."""
        taken: set[str] = set()
        for part in self.parts.values():
            interface = {value.name for value in (*part.graph.input, *part.graph.output)}
            for name in part.names():
                if name in part.merged or not name:
                    continue
                if name in taken or (self.prefix and name not in interface):
                    part.table[name] = _fresh(f"{part.name}/{name}", taken, part.names())
                    if name in taken and name in interface:
                        self.notes.append(f"{name!r} of {part.name} is called {part.table[name]!r}")
            taken.update(part.table.get(name, name) for name in part.names() if name not in part.merged)
        for model, value, other, entry in self.wires:
            self.parts[other].table[entry] = self._root(model, value)
        self._name_nodes()

    def _name_nodes(self) -> None:
        """Nodes of two models that have one name: the later one's gets the part's name in front."""
        taken: set[str] = set()
        for part in self.parts.values():
            own = dict.fromkeys(node.name for node in walk.nodes(part.graph) if node.name)
            table: dict[str, str] = {}
            for name in own:
                if name in taken or self.prefix:
                    table[name] = f"{part.name}/{name}"
                    while table[name] in taken or table[name] in own:
                        table[name] += "_"
                    taken.add(table[name])
            for node in walk.nodes(part.graph):
                node.name = table.get(node.name, node.name)
            taken.update(name for name in own if name not in table)

    def _root(self, model: str, value: str) -> str:
        """What a value that feeds an input is called: an input that is itself fed has the name of what feeds it."""
        seen = set()
        while value in self.parts[model].merged and (model, value) not in seen:
            seen.add((model, value))
            model, value = next((m, v) for m, v, other, entry in self.wires if (other, entry) == (model, value))
        return self.parts[model].table.get(value, value)

    def _name_symbols(self) -> None:
        """One name for the dims of connected values; the part's name in front of a symbol that an earlier part has."""
        taken: set[str] = set()
        for part in self.parts.values():
            for model, value, other, entry in self.wires:
                if other == part.name:
                    one, two = dims(self.parts[model].type_of(value)) or (), dims(part.type_of(entry)) or ()
                    for a, b in zip(one, two, strict=False):
                        if isinstance(b, str) and isinstance(a, str):
                            part.symbols.setdefault(b, self.parts[model].symbols.get(a, a))
            own = dict.fromkeys(dim.dim_param for info in _infos(part) for dim in info if dim.dim_param)
            for symbol in own:
                if symbol in taken and symbol not in part.symbols:
                    part.symbols[symbol] = f"{part.name}_{symbol}"
                    self.notes.append(f"the dim {symbol!r} of {part.name} is called {part.symbols[symbol]!r}")
            taken |= {part.symbols.get(symbol, symbol) for symbol in own}

    def _name_functions(self) -> None:
        """A function that means something else in another part gets a name of its own."""
        calls = {
            part.name: {walk.call_key(node) for node in walk.model_nodes(part.proto)}
            - {walk.function_key(function) for function in part.proto.functions}
            for part in self.parts.values()
        }
        known: dict[walk.FunctionKey, bytes] = {}
        for part in self.parts.values():
            operators = set().union(*(keys for name, keys in calls.items() if name != part.name))
            renamed: dict[walk.FunctionKey, str] = {}
            for key in _functions_apart(part.proto.functions, known, operators):
                renamed[key] = f"{part.name}_{key[1]}"
                while any((key[0], renamed[key], key[2]) in names for names in (known, operators)):
                    renamed[key] += "_"
            for node in walk.model_nodes(part.proto):
                node.op_type = renamed.get(walk.call_key(node), node.op_type)
            for function in part.proto.functions:
                key = walk.function_key(function)
                if key in renamed:
                    self.notes.append(f"the function {function.name!r} of {part.name} is called {renamed[key]!r}")
                    rename_function(part.proto, function, renamed[key])
                known[walk.function_key(function)] = function.SerializeToString(deterministic=True)


def _set_apart(part: Part, entry: str) -> str:
    """Let an input that is an output too be two values, so that the output keeps its name; what the input is called now."""
    fresh = Names(part.graph).fresh(f"{entry}_in")
    rename_declarations(part.graph, {entry: fresh})
    rename_everywhere(part.graph.node, {entry: fresh})
    for output in part.graph.output:
        output.name = entry if output.name == fresh else output.name
    node = onnx.helper.make_node("Identity", [fresh], [entry])
    set_nodes(part.graph, [node, *part.graph.node])
    return fresh


def _functions_apart(
    functions: Sequence[onnx.FunctionProto], known: Mapping[walk.FunctionKey, bytes], operators: set[walk.FunctionKey]
) -> list[walk.FunctionKey]:
    """Functions that earlier parts define in another way, directly or in what they call, or that are operators to others."""
    own = {walk.function_key(function): function for function in functions}
    apart = {
        key
        for key, function in own.items()
        if key in operators or (key in known and known[key] != function.SerializeToString(deterministic=True))
    }
    if apart:
        apart |= {
            key
            for key, function in own.items()
            if key in known and not apart.isdisjoint(walk.called_functions(function.node, functions))
        }
    return [key for key in own if key in apart]


def _fresh(wish: str, taken: Iterable[str], own: Iterable[str]) -> str:
    if wish in taken or wish in own:
        raise NameTakenError(f"a name that collides would be called {wish!r}, and that is taken", name=wish)
    return wish


def _infos(part: Part) -> Iterable[Iterable[onnx.TensorShapeProto.Dimension]]:
    for graph in walk.graphs(part.graph):
        for info in (*graph.input, *graph.output, *graph.value_info):
            for tensor in tensor_types(info.type):
                yield tensor.shape.dim


def _drop_declared(graph: onnx.GraphProto, names: set[str]) -> None:
    """Take out the default values and the types of inputs that are fed now. Changes the graph."""
    for held in (graph.initializer, graph.value_info):
        for place in range(len(held) - 1, -1, -1):
            if held[place].name in names:
                del held[place]
    for place in range(len(graph.sparse_initializer) - 1, -1, -1):
        if graph.sparse_initializer[place].values.name in names:
            del graph.sparse_initializer[place]


def _apply(part: Part) -> None:
    """Write the new names into the copy."""
    if part.symbols:
        for shape in _infos(part):
            for dim in shape:
                if dim.dim_param in part.symbols:
                    dim.dim_param = part.symbols[dim.dim_param]
    kept = [value for value in part.graph.input if value.name not in part.merged]
    if len(kept) < len(part.graph.input):
        del part.graph.input[:]
        part.graph.input.extend(kept)
    _drop_declared(part.graph, part.merged)
    if part.table:
        rename_declarations(part.graph, part.table)
        rename_everywhere(part.graph.node, part.table)


def _add(proto: onnx.ModelProto, part: Part, outputs: set[str]) -> None:
    """Put a part into the joined model."""
    own, graph = part.proto, proto.graph
    _import(proto, part)
    proto.ir_version = max(proto.ir_version, own.ir_version)
    for field in ("node", "initializer", "sparse_initializer", "input", "quantization_annotation"):
        getattr(graph, field).extend(getattr(own.graph, field))
    declared = {value.name for value in graph.value_info}  # those of a function that two models share stand once
    graph.value_info.extend(value for value in own.graph.value_info if value.name not in declared)
    inner = [value for value in own.graph.output if value.name not in outputs]
    graph.output.extend(value for value in own.graph.output if value.name in outputs)
    known = {value.name for value in graph.value_info}
    made = {name for node in own.graph.node for name in node.output}
    graph.value_info.extend(value for value in inner if value.name not in known and value.name in made)
    functions = {walk.function_key(function) for function in proto.functions}
    proto.functions.extend(f for f in own.functions if walk.function_key(f) not in functions)
    if own.training_info and proto.training_info:
        raise EditError("two of the models have a training graph, and a model can have one training state only")
    if own.training_info and part.table:
        raise EditError(f"{part.name} has a training graph, whose names collide with those of another model")
    proto.training_info.extend(own.training_info)
    _describe(proto, part)


def _import(proto: onnx.ModelProto, part: Part) -> None:
    known = {canonical(entry.domain): entry for entry in proto.opset_import}
    for entry in part.proto.opset_import:
        domain = canonical(entry.domain)
        if domain not in known:
            proto.opset_import.add(domain=entry.domain, version=entry.version)
        elif known[domain].version != entry.version:
            raise EditError(
                f"{part.name} imports {domain or 'ai.onnx'} in version {entry.version}, another model in version "
                f"{known[domain].version}, and graphkit does not know what changed between them"
            )


def _describe(proto: onnx.ModelProto, part: Part) -> None:
    """What the models say of themselves: entries that differ get the part's name in front."""
    own = part.proto
    proto.producer_name = proto.producer_name or own.producer_name
    proto.producer_version = proto.producer_version or own.producer_version
    proto.domain = proto.domain or own.domain
    proto.model_version = max(proto.model_version, own.model_version)
    for target, mine in ((proto, own), (proto.graph, own.graph)):
        texts = [text for text in (target.doc_string, mine.doc_string) if text]
        target.doc_string = "\n".join(dict.fromkeys(texts))
        held = {entry.key: entry.value for entry in target.metadata_props}
        for entry in mine.metadata_props:
            key = entry.key if held.get(entry.key, entry.value) == entry.value else f"{part.name}/{entry.key}"
            if key not in held:
                held[key] = entry.value
                target.metadata_props.add(key=key, value=entry.value)
    names = {configuration.name for configuration in proto.configuration}
    proto.configuration.extend(c for c in own.configuration if c.name not in names)
