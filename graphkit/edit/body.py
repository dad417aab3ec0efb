"""Bodies: nodes to put into a model, read from a text, a function, a model or the library, and written into graphs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import onnx

from graphkit.arguments import ArgumentTypeError, ArgumentValueError
from graphkit.edit.body_library import BODIES, named_body
from graphkit.edit.converting import convert_opset
from graphkit.edit.inlining import resolve_attributes
from graphkit.edit.lowering import differing
from graphkit.edit.renaming import rename_everywhere
from graphkit.errors import EditError, FormatError, InvalidGraphError, ModelFileError, TensorError
from graphkit.graph import walk
from graphkit.graph.addresses import Holder
from graphkit.graph.names import Names
from graphkit.graph.opset import opset_of
from graphkit.graph.values import is_typed
from graphkit.model import Model
from graphkit.semantics.known_operators import require_known
from graphkit.semantics.schemas import operators, schema_of
from graphkit.semantics.valid import require_valid
from graphkit.shapes.inference import inferred
from graphkit.storage.load import as_model
from graphkit.storage.system import regular_only
from graphkit.storage.text import parser_said

if TYPE_CHECKING:
    from graphkit.model import ModelLike

P = TypeVar("P")

FUNCTIONS_SINCE_IR = 8
"""The IR version from which on a model may hold functions (docs/IR.md, "Functions")."""


class Body:
    """Nodes to put in: a graph with its inputs, outputs and weights, which may be declared without types.

    Attributes:
        title: What to call it in messages.
        model: The graph, the functions that it calls, and the opsets that it is written in.
        written: What a history keeps of it: the argument, and the name in the library, the function or the model itself.
    """

    def __init__(self, title: str, model: onnx.ModelProto, written: Mapping[str, Any]) -> None:
        self.title = title
        self.model = model
        self.written = written
        self._types: dict[tuple[bytes, ...], list[onnx.TypeProto | None]] = {}
        self._asked: dict[tuple[int, ...], tuple[Sequence[onnx.TypeProto | None], list[onnx.TypeProto | None]]] = {}

    @cached_property
    def inputs(self) -> list[str]:
        """Its inputs, without weights that are listed as inputs too."""
        held = {tensor.name for tensor in self.model.graph.initializer}
        return [value.name for value in self.model.graph.input if value.name not in held]

    @cached_property
    def outputs(self) -> list[str]:
        """Its outputs."""
        return [value.name for value in self.model.graph.output]

    @cached_property
    def _declared(self) -> dict[str, onnx.TypeProto]:
        values = (*self.model.graph.output, *self.model.graph.input)
        return {value.name: value.type for value in values if is_typed(value.type)}

    def declared(self, name: str) -> onnx.TypeProto | None:
        """The type that it declares for an input or output, or None."""
        return self._declared.get(name)

    def results(self, given: Sequence[onnx.TypeProto | None]) -> list[onnx.TypeProto | None]:
        """The types of its outputs where its inputs have some types; None for one that is not known.

        Cost: one run of inference over the body for each list of types.
        """
        same = tuple(map(id, given))
        if same not in self._asked:  # what was given is kept, so that its id stays its own
            self._asked[same] = (given, self._results(given))
        return self._asked[same][1]

    def _results(self, given: Sequence[onnx.TypeProto | None]) -> list[onnx.TypeProto | None]:
        key = tuple(b"" if each is None else each.SerializeToString(deterministic=True) for each in given)
        if key not in self._types:
            trial = onnx.ModelProto()
            trial.CopyFrom(self.model)
            trial.ir_version = max(trial.ir_version, 10)
            wanted = dict(zip(self.inputs, given, strict=True))
            for value in trial.graph.input:
                if (known := wanted.get(value.name)) is not None:
                    value.type.CopyFrom(known)
            passed = {value.name: value.type for value in trial.graph.input}
            for value in trial.graph.output:
                value.ClearField("type")
            found = {value.name: value.type for value in inferred(trial).graph.output} | {
                name: type_proto for name, type_proto in passed.items() if name in self.outputs
            }
            self._types[key] = [
                found[n] if n in found and is_typed(found[n]) else self.declared(n) for n in self.outputs
            ]
        return self._types[key]


def read_body(source: Any, body_model: ModelLike | None, opset: int) -> Body:
    """A body from whatever says one.

    Args:
        source: None, or a name of the library with its arguments (``clip:low=0,high=1``), ONNX text (a function, a graph or a
            model), a file that holds such text or a model, a FunctionProto, an onnxscript function, a ModelProto, a Model.
        body_model: The body as a model, where ``source`` is None.
        opset: The version of ai.onnx that a text without an opset import is written in.

    Raises:
        FormatError: The text is no body.
        ModelFileError: The file cannot be read.
        EditError: The library's body takes other arguments, or a function's attribute has no value, or the body
            is not valid.
        ValueError: There are two bodies, or none.
    """
    if (source is None) == (body_model is None):
        raise ArgumentValueError("a body is given once: function or body_model")
    body = _of_model("the model", body_model) if body_model is not None else _read(source, opset)
    if free := walk.free_names(body.model.graph):
        raise EditError(f"{body.title} reads {free[0]!r}, which nothing in it defines")
    try:
        require_valid(body.model)
    except (InvalidGraphError, TensorError) as error:
        raise EditError(f"{body.title} is not valid: {error.message}") from error
    return body


def _read(source: Any, opset: int) -> Body:
    if isinstance(source, Model | onnx.ModelProto):
        return _of_model("the model", source)
    if hasattr(source, "to_function_proto"):
        source = source.to_function_proto()
    if isinstance(source, onnx.FunctionProto):
        return _of_function(source, opset)
    if not isinstance(source, str | os.PathLike):
        raise ArgumentTypeError(
            f"a body is a text, a path, a FunctionProto, a ModelProto or a Model, not {type(source).__name__}"
        )
    text = os.fspath(source)
    if "=>" not in text:
        if text.partition(":")[0] in BODIES:
            return Body(text, named_body(text, opset), {"function": text})
        held = _file_text(text)
        if held is None:
            return _of_model(repr(text), text)
        text = held
    parsed = _parsed(text, opset)
    return _of_function(parsed, opset) if isinstance(parsed, onnx.FunctionProto) else _of_model("the model", parsed)


def _file_text(path: str) -> str | None:
    """The text of a file that holds ONNX text; None for a model."""
    try:
        with open(path, "rb", opener=regular_only) as file:
            data = file.read(1 << 20)
    except (OSError, ValueError) as error:  # ValueError: a NUL character, which no path holds
        near = [] if os.sep in path or "." in path else list(BODIES)
        raise ModelFileError(
            f"cannot read the body {path!r}: {getattr(error, 'strerror', None) or error}",
            path=path,
            hint=f"a body is ONNX text, a file, or one of {', '.join(near)}" if near else None,
        ) from error
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return text if "=>" in text else None


def _parsed(text: str, opset: int) -> onnx.FunctionProto | onnx.ModelProto:
    """A function, or a model out of a graph or a model."""
    plain = text.strip()
    if re.match(r"<[^>]*\bir_version\b", plain):
        return _try(onnx.parser.parse_model, plain)
    if plain.startswith("<"):
        return _try(onnx.parser.parse_function, plain)
    named = plain if re.match(r"[A-Za-z_]", plain) else f"body {plain}"
    try:
        return onnx.parser.parse_function(f'<domain: "body", opset_import: ["": {opset}]> {named}')
    except onnx.parser.ParseError as error:
        try:
            return onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}]> {named}')
        except onnx.parser.ParseError:
            raise _no_body(error) from error


def _try(parse: Callable[[str], P], text: str) -> P:
    try:
        return parse(text)
    except onnx.parser.ParseError as error:
        raise _no_body(error) from error


def _no_body(error: Exception) -> FormatError:
    return FormatError(
        f"the text is no ONNX function: {parser_said(error)}",
        hint="write (a) => (b) { b = Relu(a) }, with the model's opset, or a whole function: "
        '<domain: "my", opset_import: ["" : 18]> name (a) => (b) { b = Relu(a) }',
    )


def _of_model(title: str, source: ModelLike) -> Body:
    loaded = as_model(source).without_record()
    model = loaded.materialize()
    return Body(title, model, {"function": None, "body_model": model})


def _of_function(function: onnx.FunctionProto, opset: int) -> Body:
    model = onnx.ModelProto(ir_version=10, opset_import=function.opset_import)
    if not function.opset_import:
        model.opset_import.add(domain="", version=opset)
    graph = model.graph
    graph.name = function.name
    graph.node.extend(function.node)
    types = {info.name: info for info in function.value_info}
    graph.input.extend(types.pop(name, onnx.ValueInfoProto(name=name)) for name in function.input)
    graph.output.extend(types.pop(name, onnx.ValueInfoProto(name=name)) for name in function.output)
    graph.value_info.extend(types.values())
    known = {attribute.name: attribute for attribute in function.attribute_proto}
    for node in walk.nodes(graph):
        for attribute in node.attribute:
            if attribute.ref_attr_name in function.attribute and attribute.ref_attr_name not in known:
                raise EditError(
                    f"the function {function.name!r} takes the attribute {attribute.ref_attr_name!r}, which has no value",
                    hint=f"give it a default: {function.name} <{attribute.ref_attr_name}: float = 1.0> (...)",
                )
        resolve_attributes(node, known)
    return Body(repr(function.name), model, {"function": function})


def fit(body: Body, model: onnx.ModelProto) -> list[str]:
    """Write a body in the model's opset, and let the model import and hold what the body needs. Changes both.

    Returns:
        What was done to the model.

    Raises:
        EditError: An operator of the body is unknown at the model's opset, or means something else there; a custom domain
            is imported in two versions; a function of the body and one of the model have one name.
    """
    ours, theirs = opset_of(model), opset_of(body.model)
    own = {walk.function_key(function) for function in (*body.model.functions, *model.functions)}
    for node in walk.nodes(body.model.graph):
        if node.domain in ("", "ai.onnx") and walk.call_key(node) not in own:
            _require_operator(node, ours, body)
    if theirs != ours and differing(onnx.FunctionProto(node=body.model.graph.node), theirs, ours) is not None:
        try:
            convert_opset(body.model, ours)
        except EditError as error:
            raise EditError(
                f"{body.title} is written for opset {theirs} and the model for {ours}: {error.message}"
            ) from error
    notes = _import(body, model)
    for function in body.model.functions:
        held = [known for known in model.functions if walk.function_key(known) == walk.function_key(function)]
        if held and held[0] != function:
            raise EditError(f"{body.title} and the model each have a function {function.domain}::{function.name}")
        if not held:
            model.functions.add().CopyFrom(function)
    if body.model.functions and model.ir_version < FUNCTIONS_SINCE_IR:
        notes.append(f"IR version {model.ir_version} raised to {FUNCTIONS_SINCE_IR}: older ones have no functions")
        model.ir_version = FUNCTIONS_SINCE_IR
    return notes


def _require_operator(node: onnx.NodeProto, opset: int, body: Body) -> None:
    schema = schema_of(node.op_type, opset)
    if schema is not None and not schema.deprecated:
        return
    require_known(node, f"{body.title} uses")
    since = operators()[node.op_type]
    if schema is not None:
        raise EditError(f"{node.op_type} is deprecated in opset {opset}, that of the model, and {body.title} uses it")
    raise EditError(
        f"there is no operator {node.op_type!r} in opset {opset}, that of the model, and {body.title} uses it",
        hint=f"it exists since opset {since[0]}: raise the model first with opset to {since[0]}, or write the body "
        "with older operators",
    )


def _import(body: Body, model: onnx.ModelProto) -> list[str]:
    used = {node.domain for node in walk.nodes(body.model.graph)}
    here = {entry.domain: entry.version for entry in model.opset_import}
    notes = []
    for entry in body.model.opset_import:
        if entry.domain in ("", "ai.onnx") or entry.domain not in used:
            continue
        if here.get(entry.domain, entry.version) != entry.version:
            raise EditError(
                f"{body.title} imports version {entry.version} of {entry.domain}, and the model {here[entry.domain]}"
            )
        if entry.domain not in here:
            model.opset_import.add().CopyFrom(entry)
            notes.append(f"the model imports {entry.domain} {entry.version} now")
    return notes


class Placing:
    """Writes a body into the graphs of a model, with fresh names, as often as wanted. Changes the model.

    Attributes:
        names: The names in use.
    """

    def __init__(self, model: onnx.ModelProto, body: Body, names: Names) -> None:
        self._model = model
        self._body = body
        self.names = names
        self._weights: dict[str, str] = {}
        graph = body.model.graph
        self._inputs, self._outputs = body.inputs, body.outputs
        self._made = list(dict.fromkeys(name for node in graph.node for name in node.output if name))
        for inner in walk.nested(graph.node):
            self._made += sorted(walk.defined_names(inner).difference(self._made))
        self._plain = not any(node.attribute and any(walk.bodies(node)) for node in graph.node)
        self._templates = [self._template(node) for node in graph.node]

    def _template(self, node: onnx.NodeProto) -> tuple[onnx.NodeProto, list[str], list[str], str]:
        """A node without its names, and these."""
        bare = onnx.NodeProto()
        bare.CopyFrom(node)
        if self._plain:
            del bare.input[:]
            del bare.output[:]
        wish = node.name or f"{self._body.model.graph.name or 'body'}_{node.op_type}"
        return bare, node.input[:], node.output[:], wish

    @property
    def is_one_node(self) -> bool:
        """Whether the body is one node of one input and one output, without weights."""
        graph = self._body.model.graph
        return (
            self._plain
            and [(reads, gives) for _, reads, gives, _ in self._templates] == [(self._inputs, self._outputs)]
            and len(self._inputs) == len(self._outputs) == 1
            and not (graph.initializer or graph.sparse_initializer)
        )

    def place_one(self, read: str, give: str) -> None:
        """Append a body of one node to the main graph."""
        template, _, _, wish = self._templates[0]
        node = self._model.graph.node.add()
        node.CopyFrom(template)
        node.input.append(read)
        node.output.append(give)
        node.name = self.names.fresh(wish)

    def place(
        self, holder: Holder, inputs: Sequence[str], outputs: Sequence[str], *, whole: bool = True
    ) -> list[onnx.NodeProto]:
        """Append the body's nodes to a graph or function, where the caller orders them.

        Args:
            holder: The main graph, a body in it, or a function.
            inputs: What the body reads, in the order of its inputs.
            outputs: What its outputs are called here; "" for one that nobody wants.
            whole: The holder sees the weights of the main graph; a function does not, and gets Constant nodes.
        """
        table = dict(zip(self._inputs, inputs, strict=True))
        wanted: dict[str, str] = {}
        for formal, actual in zip(self._outputs, outputs, strict=True):
            if actual and formal in self._made:
                wanted.setdefault(formal, actual)
        made = []
        constants = self._constants(holder, table, whole=whole)
        made += constants
        for name in self._made:
            table[name] = wanted.get(name) or self.names.fresh(name)
        add, new_name, find = holder.node.add, self.names.fresh, table.get
        for template, reads, gives, wish in self._templates:
            node = add()
            node.CopyFrom(template)
            if self._plain:
                node.input.extend([find(name, name) for name in reads])
                node.output.extend([find(name, name) for name in gives])
            else:
                rename_everywhere([node], table)
            node.name = new_name(wish)
            made.append(node)
        for formal, actual in zip(self._outputs, outputs, strict=True):
            if actual and table[formal] != actual:
                name = self.names.fresh(f"{actual}_Identity")
                made.append(holder.node.add(op_type="Identity", input=[table[formal]], output=[actual], name=name))
        return made

    def _constants(self, holder: Holder, table: dict[str, str], *, whole: bool) -> list[onnx.NodeProto]:
        """Put the body's weights where the holder sees them; into the main graph once."""
        graph = self._body.model.graph
        if whole and self._model.ir_version >= 4:
            if not self._weights:
                for tensor in graph.initializer:
                    self._weights[tensor.name] = self.names.fresh(tensor.name)
                    self._model.graph.initializer.add().CopyFrom(tensor)
                    self._model.graph.initializer[-1].name = self._weights[tensor.name]
                for sparse in graph.sparse_initializer:
                    self._weights[sparse.values.name] = self.names.fresh(sparse.values.name)
                    self._model.graph.sparse_initializer.add().CopyFrom(sparse)
                    self._model.graph.sparse_initializer[-1].values.name = self._weights[sparse.values.name]
            table.update(self._weights)
            return []
        made = []
        for tensor in graph.initializer:
            table[tensor.name] = self.names.fresh(tensor.name)
            node = onnx.helper.make_node("Constant", [], [table[tensor.name]], value=tensor)
            made.append(holder.node.add())
            made[-1].CopyFrom(node)
        return made
