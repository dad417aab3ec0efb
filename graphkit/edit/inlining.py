"""Calls of model-local functions become the functions' bodies (onnx/docs/IR.md, "Functions").

Each call gets a copy of the body in which every value has a name of its own. What a call leaves out becomes "", attributes
that the body takes by reference become the call's, or the function's default, or go where there is neither.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import onnx

from graphkit.edit.nodes import set_nodes
from graphkit.edit.renaming import rename_everywhere
from graphkit.errors import EditError
from graphkit.graph import walk
from graphkit.graph.calls import body_sizes, expanded_nodes, expands_beyond
from graphkit.graph.names import Names, label, title
from graphkit.graph.opset import canonical, imported
from graphkit.graph.symbols import tensor_types

MOST = 1 << 18
"""Nodes that calls may come to beyond those that the file has: more than any model, and within seconds and 500 MB."""

MOST_DOUBLED = 1 << 14
"""The same where functions call each other again and again: what the runtime would refuse."""


@dataclass
class Inlined:
    """What was inlined.

    Attributes:
        calls: Function -> how many calls of it became its body.
        uncalled: Functions that nothing called; they are gone too.
        versions: First output of a node -> the version of ai.onnx that its function imports, where that is not the one
            that the graph or function around it imports.
        copies: Function -> name in the body -> name around, one table a call; of functions that are watched.
    """

    calls: dict[walk.FunctionKey, int] = field(default_factory=dict)
    uncalled: list[walk.FunctionKey] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)
    copies: dict[walk.FunctionKey, list[dict[str, str]]] = field(default_factory=dict)


def called(key: walk.FunctionKey) -> str:
    """A function as texts name it: ``domain::name``, with ``:overload`` behind it where there is one."""
    domain, name, overload = key
    return f"{domain or 'ai.onnx'}::{name}" + (f":{overload}" if overload else "")


def told(done: Inlined, most: int = 12) -> list[str]:
    """What was inlined, in at most two sentences."""
    notes = []
    for what, keys in (("inlined", sorted(done.calls)), ("removed, as nothing called it", done.uncalled)):
        if keys:
            counts = [f"{called(key)}" + (f" ({done.calls[key]}x)" if key in done.calls else "") for key in keys[:most]]
            more = f" and {len(keys) - most} more" if len(keys) > most else ""
            notes.append(f"{what}: {', '.join(counts)}{more}")
    return notes


def inline_calls(
    model: onnx.ModelProto, keys: Iterable[walk.FunctionKey], watched: Collection[walk.FunctionKey] = ()
) -> Inlined:
    """Replace the calls of some functions by their bodies, and take the functions out. Changes the model.

    Args:
        model: A valid model (``semantics.valid``), so that no function calls itself.
        keys: The functions.
        watched: Those of which ``copies`` is kept.

    Raises:
        EditError: The calls come to too many nodes; a call has more inputs or outputs than its function; a body hands out
            an input that the call leaves out; the function imports another version of a custom domain than its caller.

    Scope: main graph, bodies, training graphs, and the functions that stay.
    Cost: O(nodes of the result); weights are not read.
    """
    keys = set(keys)
    wanted = {key: f for f in model.functions if (key := walk.function_key(f)) in keys}
    _check_size(model, wanted)
    table = {key: _Body(key, function, _types(model, function)) for key, function in wanted.items()}
    done = Inlined(copies={key: [] for key in watched})
    training = [graph for part in model.training_info for graph in (part.initialization, part.algorithm)]
    names, symbols = Names(model.graph, *training), Names()
    symbols.taken.update(symbol for body in table.values() for symbol in body.symbols)
    symbols.taken.update(_symbols(info for scope in walk.graphs(model.graph) for info in _infos(scope)))
    for graph in (model.graph, *training):
        expander = _Expander(table, names, model.opset_import, done, symbols)
        for scope in walk.graphs(graph):
            if nodes := expander.expanded(scope.node):
                set_nodes(scope, nodes)
                scope.value_info.extend(expander.declared)
    for function in model.functions:
        if walk.function_key(function) not in wanted:
            _inline_in_function(model, function, table, done, symbols)
    done.uncalled = [key for key in wanted if key not in done.calls]
    kept = [f for f in model.functions if walk.function_key(f) not in wanted]
    _forget_types(model, wanted.values())
    copies = [onnx.FunctionProto.FromString(f.SerializeToString()) for f in kept]
    del model.functions[:]
    model.functions.extend(copies)
    return done


def call_body(call: onnx.NodeProto, function: onnx.FunctionProto, names: Names) -> list[onnx.NodeProto]:
    """The nodes that one call of a function is, with names that nothing else has.

    Raises:
        EditError: The call does not fit the function.
    """
    key = walk.function_key(function)
    return _Expander({}, names, list(function.opset_import), Inlined(), Names()).copies(call, _Body(key, function, {}))


def _check_size(model: onnx.ModelProto, wanted: Mapping[walk.FunctionKey, onnx.FunctionProto]) -> None:
    have = sum(1 for _ in walk.model_nodes(model))
    total = expanded_nodes(model, wanted)
    most = MOST_DOUBLED if expands_beyond(model, MOST_DOUBLED, wanted) else MOST
    if total - have <= most:
        return
    sizes = body_sizes(model.functions, wanted)
    worst = max(sizes, key=lambda key: sizes[key])
    raise EditError(
        f"inlined, the model's {have} nodes would be {_number(total)}: one call of {called(worst)} comes to "
        f"{_number(sizes[worst])}, and graphkit stops at {most} more than there are",
        hint="inline some of the functions only, by their names",
    )


def _number(count: int) -> str:
    return str(count) if count < 10**9 else f"more than {10**9}"


def _inline_in_function(
    model: onnx.ModelProto,
    function: onnx.FunctionProto,
    table: Mapping[walk.FunctionKey, _Body],
    done: Inlined,
    symbols: Names,
) -> None:
    graph = onnx.GraphProto(node=function.node, input=[onnx.ValueInfoProto(name=name) for name in function.input])
    inside = Inlined(done.calls)
    expander = _Expander(table, Names(graph), function.opset_import, inside, symbols)
    changed = False
    for scope in walk.graphs(graph):
        if nodes := expander.expanded(scope.node):
            changed = True
            set_nodes(scope, nodes)
            if scope is not graph:
                scope.value_info.extend(expander.declared)
            elif model.ir_version >= FUNCTION_TYPES_SINCE_IR:
                function.value_info.extend(expander.declared)
            else:
                for info in expander.declared:
                    info.name = _prefix(function) + info.name
                model.graph.value_info.extend(expander.declared)
    if inside.versions:
        raise EditError(
            f"{called(walk.function_key(function))} calls a function that imports another version of ai.onnx than it",
            hint="inline all functions",
        )
    if changed:
        del function.node[:]
        function.node.extend(graph.node)


FUNCTION_TYPES_SINCE_IR = 10
"""The IR version since which functions have a value_info of their own (onnx.in.proto)."""


def _prefix(function: onnx.FunctionProto) -> str:
    """Before IR 10 the main graph declares the type of a function's value under this and the value's name."""
    return f"{function.domain}::{function.name}/"


def _types(model: onnx.ModelProto, function: onnx.FunctionProto) -> dict[str, onnx.ValueInfoProto]:
    found = {info.name: info for info in function.value_info}
    prefix = _prefix(function)
    for info in model.graph.value_info:
        if info.name.startswith(prefix):
            found.setdefault(info.name[len(prefix) :], info)
    return found


def _forget_types(model: onnx.ModelProto, functions: Iterable[onnx.FunctionProto]) -> None:
    prefixes = tuple(_prefix(function) for function in functions)
    for place in range(len(model.graph.value_info) - 1, -1, -1):
        if model.graph.value_info[place].name.startswith(prefixes):
            del model.graph.value_info[place]


class _Body:
    """A function, and what every call of it needs."""

    def __init__(
        self, key: walk.FunctionKey, function: onnx.FunctionProto, types: Mapping[str, onnx.ValueInfoProto]
    ) -> None:
        self.key = key
        self.function = function
        self.types = types
        self.title = called(key)
        self.inputs = list(function.input)
        self.outputs = list(function.output)
        self.defaults = {attribute.name: attribute for attribute in function.attribute_proto}
        defined = dict.fromkeys(name for node in function.node for name in node.output if name)
        for body in walk.nested(function.node):
            defined.update(dict.fromkeys(sorted(walk.defined_names(body))))
        self.defined = list(defined)
        self.nests = any(True for _ in walk.nested(function.node))
        self.refers = any(a.ref_attr_name for node in walk.function_nodes(function) for a in node.attribute)
        self.imports = imported(function.opset_import)
        self.uses = {canonical(node.domain) for node in walk.function_nodes(function)}
        self.symbols = _symbols(types.values())


def _infos(graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto]:
    for infos in (graph.input, graph.output, graph.value_info):
        yield from infos


def _symbols(infos: Iterable[onnx.ValueInfoProto]) -> set[str]:
    dims = (dim for info in infos for tensor in tensor_types(info.type) for dim in tensor.shape.dim)
    return {dim.dim_param for dim in dims if dim.dim_param}


class _Expander:
    """Expands the calls in one graph, with the bodies in it, or in one function."""

    def __init__(
        self,
        table: Mapping[walk.FunctionKey, _Body],
        names: Names,
        imports: Sequence[onnx.OperatorSetIdProto],
        done: Inlined,
        symbols: Names,
    ) -> None:
        self._table = table
        self._names = names
        self._imports = imports
        self._done = done
        self._symbols = symbols
        self._agreed: dict[walk.FunctionKey, int | None] = {}
        self.declared: list[onnx.ValueInfoProto] = []

    def expanded(self, nodes: Iterable[onnx.NodeProto]) -> list[onnx.NodeProto] | None:
        """The nodes with the calls among them expanded, at any depth of calls; None where there are none.

        The bodies in the nodes are not looked into. ``declared`` is what is known of the values that were made.
        """
        waiting = list(nodes)
        if not any(walk.call_key(node) in self._table for node in waiting):
            return None
        self.declared = []
        waiting.reverse()
        made: list[onnx.NodeProto] = []
        while waiting:
            node = waiting.pop()
            body = self._table.get(walk.call_key(node))
            if body is None:
                made.append(node)
            else:
                copies = self.copies(node, body)
                copies.reverse()
                waiting.extend(copies)
        return made

    def copies(self, call: onnx.NodeProto, body: _Body) -> list[onnx.NodeProto]:
        """The body in the terms of a call."""
        names = self._table_of(call, body)
        if body.key in self._done.copies:
            self._done.copies[body.key].append(names)
        nodes = list(onnx.GraphProto(node=body.function.node).node)
        rename_everywhere(nodes, names)
        for node in nodes:
            if node.name:
                node.name = self._names.fresh(node.name)
        deep = [*nodes, *(node for inner in walk.nested(nodes) for node in inner.node)] if body.nests else nodes
        for inner in walk.nested(nodes) if body.nests and "" in names.values() else ():
            if any(not output.name for output in inner.output):
                raise EditError(f"{title(call)} leaves out an input that a body in {body.title} hands out")
        if body.refers:
            attributes = {**body.defaults, **{attribute.name: attribute for attribute in call.attribute}}
            for node in deep:
                resolve_attributes(node, attributes)
        hand_down(call, nodes)
        nodes.extend(self._handed_through(call, body, names))
        if body.types:
            self._declare(body, names)
        if (version := self._import(call, body)) is not None:
            self._done.versions.update((node.output[0], version) for node in deep if node.output)
        self._done.calls[body.key] = self._done.calls.get(body.key, 0) + 1
        return nodes

    def _table_of(self, call: onnx.NodeProto, body: _Body) -> dict[str, str]:
        """Name in the body -> name around the call."""
        for kind, given, formal in (("inputs", call.input, body.inputs), ("outputs", call.output, body.outputs)):
            if len(given) > len(formal):
                raise EditError(f"{title(call)} has {len(given)} {kind}, and {body.title} has {len(formal)}")
        wanted = {formal: actual for formal, actual in zip(body.outputs, call.output, strict=False) if actual}
        names = {name: wanted.get(name) or self._names.fresh(name) for name in body.defined}
        names.update(dict.fromkeys(body.inputs, ""))
        names.update(zip(body.inputs, call.input, strict=False))
        return names

    def _handed_through(self, call: onnx.NodeProto, body: _Body, names: Mapping[str, str]) -> Iterator[onnx.NodeProto]:
        """Copies for outputs that are inputs of the function, or another output too."""
        for formal, actual in zip(body.outputs, call.output, strict=False):
            source = names.get(formal, "")
            if not actual or source == actual:
                continue
            if not source:
                raise EditError(f"{title(call)} leaves out {formal!r}, which {body.title} hands out")
            name = self._names.fresh(f"{label(call)}_{formal}")
            yield onnx.helper.make_node("Identity", [source], [actual], name=name)

    def _declare(self, body: _Body, names: Mapping[str, str]) -> None:
        """Types of the body's values. A symbol of a function that is called again is another one each time."""
        first = body.key not in self._done.calls
        symbols = {} if first else {symbol: self._symbol(symbol) for symbol in body.symbols}
        outputs = set(body.outputs)
        for name, known in body.types.items():
            if name in body.inputs or name in outputs or name not in names:
                continue
            info = onnx.ValueInfoProto()
            info.CopyFrom(known)
            info.name = names[name]
            for tensor in tensor_types(info.type) if symbols else ():
                for dim in tensor.shape.dim:
                    if dim.dim_param and symbols[dim.dim_param]:
                        dim.dim_param = symbols[dim.dim_param]
                    elif dim.dim_param:
                        dim.ClearField("dim_param")
            self.declared.append(info)

    def _symbol(self, symbol: str) -> str:
        """A symbol that nothing has yet; "" for an expression, which is not taken apart here."""
        return self._symbols.fresh(symbol) if symbol.isidentifier() else ""

    def _import(self, call: onnx.NodeProto, body: _Body) -> int | None:
        """Import what the body imports; the body's version of ai.onnx where that is another one than here.

        Raises:
            EditError: A custom domain is imported in two versions.
        """
        if body.key in self._agreed:
            return self._agreed[body.key]
        here = imported(self._imports)
        other = None
        for domain, version in body.imports.items():
            if domain not in here:
                self._imports.add(domain=domain, version=version)  # type: ignore[attr-defined]  # a protobuf list
            elif here[domain] != version and domain in body.uses:
                if domain:
                    raise EditError(
                        f"{title(call)}: {body.title} imports version {version} of {domain}, and what calls it {here[domain]}"
                    )
                other = version
        self._agreed[body.key] = other
        return other


def resolve_attributes(node: onnx.NodeProto, given: Mapping[str, onnx.AttributeProto]) -> None:
    """Attributes by reference become what the call gives, or the default, or go. Changes the node."""
    if not any(attribute.ref_attr_name for attribute in node.attribute):
        return
    kept = []
    for attribute in node.attribute:
        value = given.get(attribute.ref_attr_name) if attribute.ref_attr_name else attribute
        if value is not None:
            copy = onnx.AttributeProto()
            copy.CopyFrom(value)
            copy.name = attribute.name
            kept.append(copy)
    del node.attribute[:]
    node.attribute.extend(kept)


def hand_down(call: onnx.NodeProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """What the call says about itself goes to the nodes it becomes, as far as they do not say it themselves."""
    made = set(call.output)
    for node in nodes:
        if call.metadata_props:
            own = {entry.key for entry in node.metadata_props}
            node.metadata_props.extend(entry for entry in call.metadata_props if entry.key not in own)
        if call.doc_string and not node.doc_string and not made.isdisjoint(node.output):
            node.doc_string = call.doc_string
        if call.device_configurations and not node.device_configurations:
            names = {*node.input, *node.output}
            for known in call.device_configurations:
                copy = node.device_configurations.add()
                copy.CopyFrom(known)
                specs = [spec for spec in known.sharding_spec if spec.tensor_name in names]
                del copy.sharding_spec[:]
                copy.sharding_spec.extend(specs)
