"""promote: a constant becomes a graph input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import onnx

from graphkit.arguments import ArgumentTypeError, ArgumentValueError
from graphkit.edit.attribute_inputs import attribute_as_input
from graphkit.edit.called_values import inline_around
from graphkit.edit.constants import Constant, find_constant
from graphkit.edit.frozen import FormerInput, former_input
from graphkit.edit.nodes import set_inputs
from graphkit.edit.stale import refresh
from graphkit.errors import EditError, NameNotFoundError, NameTakenError
from graphkit.graph import walk
from graphkit.graph.addresses import Addresses, wildcard
from graphkit.graph.names import Names, label
from graphkit.graph.opset import opset_of
from graphkit.graph.values import format_type, is_typed, tensor_type
from graphkit.hint import Argument, Hint, call
from graphkit.model import Model
from graphkit.operation import Edit, operation
from graphkit.plural import counted
from graphkit.runtime.written import check_written
from graphkit.shapes.dependents import shaped_by


@operation(law="bound")
def promote(
    model: Model,
    tensors: str | Iterable[str] | Mapping[str, str | None] = (),
    *,
    every: bool = False,
    only: Sequence[str] | None = None,
    keep_default: bool = False,
) -> Edit:
    """Turn constants into graph inputs: weights, Constant nodes, attributes.

    A constant is an initializer, dense or sparse, a Constant node in any spelling, an Identity or Cast of one of these,
    of the main graph or of a body (whose input then stands in the main graph, and the body reads it from there). An
    attribute, written ``NODE:ATTRIBUTE`` (``clip_3:max``), is promoted where a version of the operator has it as an
    input; the model is raised to that opset if it is older.

    The constant itself goes, so that runtimes ask for the input; with ``keep_default`` its value stays as the default.
    After ``freeze`` the input comes back as it was, with its symbolic dims and at its place.

    Args:
        model: A path, a ModelProto or a Model.
        tensors: The constants: names, or name -> name of the input (None, the default: the name of the constant, and for
            an attribute ``<output of the node>_<attribute>``).
        every: All initializers of the main graph, so that each can be fed; with ``keep_default`` none has to be.
        only: Nodes; only they read the input, and all others go on with the constant. None: everybody reads the input.
        keep_default: The input may be left out when the model runs.

    Raises:
        NameNotFoundError: No value, node or attribute has the name.
        NameTakenError: A name for an input is in use.
        EditError: The value is no constant, several bodies have one of this name, it is in a function that is called several times or never, a training
            graph binds it, the operator never has the attribute as an input, or ``keep_default`` with IR version 3.

    Changes: nothing; returns a new model. Shapes that depend on the value are cleared or inferred anew.
    Scope: main graph and bodies; for a constant of a function, by its address, the function is inlined.
    Cost: O(graph); weights are not read, but for the default of a sparse or cast constant.
    Law: bound: the same numbers once each input is fed the constant, or another value that the model before has in its place.
    Source: docs/IR.md (initializers as default values), onnx Changelog (Constant-13).

    Example:
        >>> gk.promote("model.onnx", {"bias": "offset"}).save("out.onnx")  # doctest: +SKIP
    """
    if every:
        if tensors or only:
            raise ArgumentValueError(
                "every takes all weights for all readers: it goes neither with tensors nor with only"
            )
        return _promote_all(model, keep_default=keep_default)
    proto = model.copy_proto()
    wanted, notes = in_main_graph(proto, wanted_constants(model.proto, tensors))
    known = Names(proto.graph)
    for name, chosen in wanted.items():
        value, more = _as_value(proto, name, known)
        notes += more
        notes += _promote(model, proto, value, chosen, only=only, keep_default=keep_default)
    if opset_of(proto) != opset_of(model.proto):
        notes += check_written(model.proto, proto)
    return Edit(proto, notes)


def _promote_all(model: Model, *, keep_default: bool) -> Edit:
    proto = model.copy_proto()
    graph = proto.graph
    if keep_default and proto.ir_version < 4:
        raise _no_defaults(proto)
    given = {value.name for value in (*graph.input, *graph.output)}
    chosen = [tensor for tensor in graph.initializer if tensor.name not in given]
    names = [tensor.name for tensor in chosen]
    for tensor in chosen:
        _refuse_bound(proto, tensor.name)
        graph.input.add(name=tensor.name).type.CopyFrom(tensor_type(tensor.data_type, list(tensor.dims)))
    if not keep_default:
        kept = [tensor for tensor in graph.initializer if tensor.name in given]
        del graph.initializer[:]
        graph.initializer.extend(kept)
    declared = [value for value in graph.value_info if value.name not in set(names)]
    del graph.value_info[:]
    graph.value_info.extend(declared)
    refresh(proto, shaped_by(graph, names, proto.functions))
    more = " that may be left out" if keep_default else ""
    left = [sparse.values.name for sparse in graph.sparse_initializer]
    notes = [counted(len(names), f"weight is an input{more} now", f"weights are inputs{more} now")]
    return Edit(proto, notes + ([f"sparse weights stay constants: {', '.join(left)}"] if left else []))


def wanted_constants(
    proto: onnx.ModelProto, tensors: str | Iterable[str] | Mapping[str, str | None]
) -> dict[str, str | None]:
    """Constant -> the name of its input, or None; a pattern names the weights of the main graph that it matches.

    Raises:
        NameNotFoundError: No weight matches a pattern.
        ValueError: There is no name.
        TypeError: The name of an input is no text.
    """
    if isinstance(tensors, Mapping):
        wanted = dict(tensors)
    else:
        wanted = dict.fromkeys([tensors] if isinstance(tensors, str) else tensors)
    if not wanted:
        raise ArgumentValueError("promote needs at least one name")
    for name, chosen in wanted.items():
        if not isinstance(chosen, str | None):
            raise ArgumentTypeError(f"the input for {name!r} is a name, not {chosen!r:.60}")
    if not any("*" in name for name in wanted):
        return wanted
    weights = [tensor.name for tensor in proto.graph.initializer]
    found: dict[str, str | None] = {}
    for name, chosen in wanted.items():
        if (
            "*" not in name
            or chosen is not None
            or any(name in walk.defined_names(g) for g in walk.graphs(proto.graph))
        ):
            found[name] = chosen
            continue
        matching = [weight for weight in weights if wildcard(name).fullmatch(weight)]
        if not matching:
            raise NameNotFoundError("weight", name, weights, message=f"the model has no weight that matches {name!r}")
        found.update(dict.fromkeys(matching))
    return found


def in_main_graph(proto: onnx.ModelProto, wanted: Mapping[str, str | None]) -> tuple[dict[str, str | None], list[str]]:
    """Constants of functions by what they are called once the functions are inlined. Changes the model.

    Returns:
        The constants with the names of their inputs, and what was inlined.

    Raises:
        EditError: A function is called several times, or never.
        NameNotFoundError: There is no such function, or it has no such value.
    """
    addresses = Addresses(proto)
    inside = {
        name: addresses.value(name) for name in wanted if name.startswith("function:") and not addresses.main.has(name)
    }
    if not inside:
        return dict(wanted), []
    calls = inline_around(proto, inside.values())
    found: dict[str, str | None] = {}
    for name, chosen in wanted.items():
        there = calls.values[inside[name].address] if name in inside else [name]
        if len(there) > 1:
            raise EditError(
                f"{name!r} is inside of a function that is called {len(there)} times",
                hint=Hint("inline the functions first, and name the constant of one call: ", call("inline")),
            )
        found[there[0]] = chosen
    return found, calls.notes


def _as_value(proto: onnx.ModelProto, name: str, known: Names) -> tuple[str, list[str]]:
    """The name itself; for ``NODE:ATTRIBUTE`` that of the constant which the attribute becomes. Changes the model."""
    node, colon, attribute = name.rpartition(":")
    if not colon or any(name in walk.defined_names(graph) for graph in walk.graphs(proto.graph)):
        return name, []
    if node.endswith(":"):  # domain::name is a function, whatever is asked of it
        Addresses(proto).value(name, "constant")
    return attribute_as_input(proto, node, attribute, known)


def _promote(
    source: Model,
    proto: onnx.ModelProto,
    name: str,
    chosen: str | None,
    *,
    only: Sequence[str] | None,
    keep_default: bool,
) -> list[str]:
    """One constant. Changes the model; says what was done."""
    constant = find_constant(proto, name)
    name = constant.name
    _refuse_bound(proto, name)
    if keep_default and proto.ir_version < 4:
        raise _no_defaults(proto)
    graph = constant.scope.graph
    readers = [node for node in walk.nodes(graph) if name in node.input]
    readers_now = _only(readers, only, name) if only else readers
    whole = len(readers_now) == len(readers)
    new = _input_name(proto, constant, chosen, whole=whole)
    default = constant.tensor(source, new) if keep_default else None
    former = FormerInput(constant.declaration())
    if whole:
        former = former_input(graph, name, constant.data_type, constant.dims, proto.functions)
    former.info.name = new
    if new != name:
        for node in readers_now:
            set_inputs(node, [new if read == name else read for read in node.input])
    if whole:
        _keep_outputs(proto, constant, new)
        constant.remove(proto)
        _rename_annotations(graph, name, new)
        _rename_input(graph, name, new)
    _declare(proto.graph, former.info, former.position, default)
    if not former.unchanged:
        refresh(proto, shaped_by(proto.graph, [new], proto.functions))
    return _report(constant, former.info, readers_now, readers, optional=keep_default)


def _refuse_bound(proto: onnx.ModelProto, name: str) -> None:
    for training in proto.training_info:
        for entry in (*training.initialization_binding, *training.update_binding):
            if entry.key == name:
                raise EditError(
                    f"{name!r} is updated by the model's training graph (training_info), which needs it to be an initializer"
                )


def _no_defaults(proto: onnx.ModelProto) -> EditError:
    return EditError(
        f"IR version {proto.ir_version} knows no inputs with a default value",
        hint=Hint("leave out ", Argument("keep_default")),
    )


def _only(readers: list[onnx.NodeProto], only: Sequence[str], name: str) -> list[onnx.NodeProto]:
    """The readers that were asked for."""
    found = [node for node in readers if {node.name, *node.output[:1]}.intersection(only)]
    for wanted in only:
        if not any(wanted in (node.name, *node.output[:1]) for node in found):
            raise NameNotFoundError(f"reader of {name!r}", wanted, [label(node) for node in readers])
    return found


def _input_name(proto: onnx.ModelProto, constant: Constant, chosen: str | None, *, whole: bool) -> str:
    """What the input is called: as asked for, or like the constant where that name becomes free."""
    names = Names(proto.graph)
    name = constant.name
    defined = [graph for graph in walk.graphs(proto.graph) if name in walk.defined_names(graph)]
    if whole and chosen in (None, name) and len(defined) == 1:
        return name
    if chosen is None:
        return names.fresh(name if whole else f"{name}_input")
    if chosen in names:
        raise NameTakenError(
            f"{name!r} cannot become the input {chosen!r}: the model has that name already",
            name=chosen,
            hint="choose another name for the input: NAME=INPUT",
        )
    if not chosen:
        raise EditError(f"an input must have a name, so {name!r} cannot become the input ''")
    return chosen


def _keep_outputs(proto: onnx.ModelProto, constant: Constant, new: str) -> None:
    """Where the constant is itself the output of a graph, that output goes on to have its name and value."""
    graph = constant.scope.graph
    inner = constant.scope.outer is not None
    for place in (graph, *walk.nested(graph.node)):
        for output in place.output:
            if output.name != constant.name or (new == constant.name and not inner):
                continue
            if place is not graph or inner:
                output.name = Names(proto.graph).fresh(f"{constant.name}_copy")
            place.node.append(onnx.helper.make_node("Identity", [new], [output.name], name=f"{output.name}_identity"))


def _rename_annotations(graph: onnx.GraphProto, old: str, new: str) -> None:
    for annotation in graph.quantization_annotation:
        if annotation.tensor_name == old:
            annotation.tensor_name = new
        for entry in annotation.quant_parameter_tensor_names:
            entry.value = new if entry.value == old else entry.value


def _rename_input(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Where the constant was the default value of an input, that input is the one it becomes."""
    for value in graph.input:
        if value.name == old:
            value.name = new


def _declare(
    graph: onnx.GraphProto, info: onnx.ValueInfoProto, position: int | None, default: onnx.TensorProto | None
) -> None:
    present = next((value for value in graph.input if value.name == info.name), None)
    if present is not None and not is_typed(present.type):
        present.type.CopyFrom(info.type)
    if present is None:
        at = len(graph.input) if position is None else min(position, len(graph.input))
        graph.input.insert(at, info)
    if default is not None:
        graph.initializer.append(default)


def _report(
    constant: Constant,
    info: onnx.ValueInfoProto,
    now: list[onnx.NodeProto],
    readers: list[onnx.NodeProto],
    *,
    optional: bool,
) -> list[str]:
    kind = "an input that may be left out" if optional else "a required input"
    named = "" if info.name == constant.name else f" {info.name!r}"
    read = ", ".join(repr(label(node)) for node in now[:8]) + (", ..." if len(now) > 8 else "")
    notes = [f"{constant.name!r} is now {kind}{named}: {format_type(info.type)}, read by {read or 'nobody'}"]
    taken = {id(node) for node in now}
    rest = [repr(label(node)) for node in readers if id(node) not in taken]
    return notes + ([f"{constant.name!r} stays a constant for {', '.join(rest[:8])}"] if rest else [])
