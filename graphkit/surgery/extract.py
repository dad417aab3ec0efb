"""extract: cut a submodel out of a model, whole and runnable."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence

import onnx

from graphkit.errors import CutError, GraphkitWarning, NameNotFoundError, TypeUnknownError
from graphkit.graph import cut, modules, walk
from graphkit.graph.index import GraphIndex
from graphkit.graph.infer import types_of
from graphkit.graph.names import Names
from graphkit.graph.values import parse_type
from graphkit.model import Model, ModelLike
from graphkit.storage.load import as_model


def extract(
    model: ModelLike,
    *,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    module: str | None = None,
    nodes: Sequence[str] | None = None,
    hops: int = 0,
    input_types: Mapping[str, str | onnx.TypeProto] | None = None,
) -> Model:
    """Cut out what computes some outputs from some inputs, and nothing else.

    The cut is named by values (``inputs``, ``outputs``), or by a torch module, or by nodes; the last two give the
    boundary themselves. Values that bodies of If, Loop and Scan capture are followed at any depth, and the functions
    that are called come along. Everything that the cut does not concern stays as it is: metadata and doc strings on
    every level, quantization annotations, sparse initializers, opset imports, symbolic dims, the order of the nodes.

    Args:
        model: A path, a ModelProto or a Model; it is not changed.
        inputs: Values that become graph inputs, in this order. By default the graph inputs that the outputs need. An
            initializer named here becomes a required input. An input that no output needs is kept, with a warning.
        outputs: Values that become graph outputs, in this order; by default the graph outputs. An input or an
            initializer may be an output too.
        module: Path of a torch module as exporters write it into the file, such as ``layers.0.attn``; "" is the root.
        nodes: Names of nodes (or, for nodes without one, of a value they make).
        hops: With ``nodes``: take the nodes within this many steps of them too.
        input_types: Types of boundary values that neither the file nor inference knows, or that shall be others, such
            as ``{"x": "float32[1,3,n]"}``. Sequence, optional and map types: ``seq(...)``, ``optional(...)``.

    Returns:
        The submodel. Graph inputs that have a default value (IR version 4 or later) stay overridable; below IR version 4
        every initializer stays listed as an input.

    Raises:
        NameNotFoundError: No such value, module or node; names that look alike are suggested.
        CutError: The inputs do not determine the outputs; ``missing`` has the graph inputs that are open, and
            ``suggestion`` the values to add.
        TypeUnknownError: The type of a boundary value cannot be found.
        InvalidGraphError: A node reads a name that nothing defines.
        ValueError: A name is given twice, or options exclude each other.
        ModelFileError, FormatError, WeightsError, TensorError: As ``load``.

    Changes: Nothing; returns a new model over the same bytes.
    Scope: Cuts the main graph; bodies and functions come along whole. A value inside of a body cannot be a boundary.
    Cost: O(graph), inference only over nodes upstream of boundary values without a type; weights are not read.
    """
    source = as_model(model)
    index = GraphIndex(source.proto.graph)
    wanted_inputs, wanted_outputs = _boundary(index, inputs, outputs, module, nodes, hops)
    region = cut.trace(index, wanted_outputs, wanted_inputs)
    chosen = wanted_inputs
    if inputs is None:
        chosen = [*chosen, *region.open_inputs]
    elif region.open_inputs:
        raise _open_cut(index, wanted_outputs, wanted_inputs, region.open_inputs)
    idle = [name for name in wanted_inputs if name not in region.reached]
    if idle:
        warnings.warn(_idle_message(idle), GraphkitWarning, stacklevel=2)
    given = {name: _as_type(index, name, type_) for name, type_ in (input_types or {}).items()}
    types = types_of(source.proto, index, dict.fromkeys([*chosen, *wanted_outputs]), given)
    unknown = [name for name in dict.fromkeys([*chosen, *wanted_outputs]) if name not in types]
    if unknown:
        raise TypeUnknownError(
            f"the type of {_listed(unknown)} is neither in the file nor can it be inferred",
            names=unknown,
            hint=f'say it: --input-type "{unknown[0]}=float32[1,3,n]" (input_types={{...}})',
        )
    assembly = _Assembly(source.proto, index, region, chosen, wanted_outputs, types)
    return source.edited(
        assembly.build(), "extract", {"inputs": list(chosen), "outputs": list(wanted_outputs)}, assembly.notes
    )


def _boundary(
    index: GraphIndex,
    inputs: Sequence[str] | None,
    outputs: Sequence[str] | None,
    module: str | None,
    nodes: Sequence[str] | None,
    hops: int,
) -> tuple[list[str], list[str]]:
    ways = [inputs is not None or outputs is not None, module is not None, bool(nodes)]
    if sum(ways) != 1:
        raise ValueError("name the cut in one way: by inputs and outputs, by a module, or by nodes")
    if module is not None or nodes:
        positions = module_nodes(index, module) if module is not None else named_nodes(index, nodes or (), hops)
        found_inputs, found_outputs = cut.boundary(index, positions)
        return list(found_inputs), list(found_outputs)
    chosen = list(outputs) if outputs is not None else list(index.outputs)
    for kind, names in (("input", inputs or ()), ("output", chosen)):
        _no_duplicates(kind, names)
        for name in names:
            require_value(index, name)
    if not chosen:
        raise ValueError("a cut needs at least one output")
    return list(inputs or ()), chosen


def _no_duplicates(kind: str, names: Sequence[str]) -> None:
    twice = (
        [name for name in dict.fromkeys(names) if list(names).count(name) > 1] if len(set(names)) < len(names) else []
    )
    if twice:
        raise CutError(f"the {kind} {twice[0]!r} is given twice", hint="name each value once")


def require_value(index: GraphIndex, name: str) -> None:
    """Check that the main graph has a value.

    Raises:
        NameNotFoundError: It has none of this name; a value inside of a body is said to be one.
    """
    if index.has(name):
        return
    for body in walk.nested(index.nodes):
        if name in walk.defined_names(body):
            raise NameNotFoundError(
                "value",
                name,
                hint=f"it is inside of the body {body.name!r} of a node; a cut goes through the main graph only",
            )
    raise NameNotFoundError("value", name, index.values())


def module_nodes(index: GraphIndex, path: str) -> list[int]:
    """Positions of the nodes of a torch module.

    Raises:
        NameNotFoundError: The file names no such module.
    """
    known = modules.modules(index.graph)
    if path in known:
        return known[path]
    hint = (
        None if known else "the file does not say which torch module its nodes come from (a tool may have dropped it)"
    )
    raise NameNotFoundError("module", path, known, hint=hint)


def named_nodes(index: GraphIndex, names: Iterable[str], hops: int) -> list[int]:
    """Positions of nodes by name, and of the nodes within some steps of them.

    Raises:
        NameNotFoundError: No node has a name, or several have it.
    """
    return cut.around(index, (index.node_named(name) for name in names), hops)


def _open_cut(index: GraphIndex, outputs: Sequence[str], inputs: Sequence[str], missing: Sequence[str]) -> CutError:
    suggestion = cut.frontier(index, outputs, inputs)
    open_outputs = [name for name in outputs if cut.trace(index, [name], set(inputs)).open_inputs]
    adding = " ".join(f"--input {name}" for name in suggestion)
    return CutError(
        f"the inputs {_listed(inputs)} do not determine {_listed(open_outputs)}: "
        f"missing is {_listed(suggestion)}"
        + ("" if set(suggestion) == set(missing) else f", which depends on the graph input {_listed(missing)}"),
        missing=missing,
        suggestion=suggestion,
        hint=f"close the cut with {adding}",
    )


def _idle_message(idle: Sequence[str]) -> str:
    return f"no output needs the input {_listed(idle)}; it is kept as an input that nothing reads"


def _listed(names: Iterable[str], most: int = 8) -> str:
    names = list(names)
    shown = ", ".join(repr(name[:200]) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "") or "(none)"


def _as_type(index: GraphIndex, name: str, given: str | onnx.TypeProto) -> onnx.TypeProto:
    require_value(index, name)
    return parse_type(given) if isinstance(given, str) else given


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
        self.types = types
        self.notes: list[str] = []
        self.kept: set[str] = {*inputs, *outputs, *region.constants}

    def build(self) -> onnx.ModelProto:
        part = onnx.ModelProto()
        part.CopyFrom(self.model)
        for field in ("graph", "functions", "training_info"):
            part.ClearField(field)
        graph = part.graph
        self._add_nodes(graph)
        self._add_annotations(graph)
        self._add_constants(graph)
        self._add_boundary(graph)
        graph.value_info.extend(i for i in self.index.graph.value_info if self._is_inner(i.name))
        for field in ("name", "doc_string"):
            if self.index.graph.HasField(field):
                setattr(graph, field, getattr(self.index.graph, field))
        graph.metadata_props.extend(self.index.graph.metadata_props)
        called = walk.called_functions(graph.node, self.model.functions)
        part.functions.extend(f for f in self.model.functions if walk.function_key(f) in called)
        self._add_training(part)
        return part

    def _add_nodes(self, graph: onnx.GraphProto) -> None:
        graph.node.extend(self.index.nodes[position] for position in self.region.nodes)
        given = set(self.inputs)
        names: Names | None = None
        for node in graph.node:
            for place, name in enumerate(node.output):
                if name in given:
                    # Another output of the node is needed, and this one is now an input: a value has one definition.
                    names = names or Names(self.index.graph)
                    node.output[place] = names.fresh(f"{name}_unused")
            self.kept.update(node.output)

    def _is_inner(self, name: str) -> bool:
        return name in self.kept and name not in self.inputs and name not in self.outputs

    def _add_annotations(self, graph: onnx.GraphProto) -> None:
        """Quantization annotations of what is kept, and the scales and zero points that they name."""
        for annotation in self.index.graph.quantization_annotation:
            if annotation.tensor_name in self.kept:
                graph.quantization_annotation.append(annotation)
                self.kept.update(e.value for e in annotation.quant_parameter_tensor_names)

    def _add_constants(self, graph: onnx.GraphProto) -> None:
        given = set(self.inputs)
        graph.initializer.extend(t for t in self.index.graph.initializer if t.name in self.kept and t.name not in given)
        graph.sparse_initializer.extend(
            s for s in self.index.graph.sparse_initializer if s.values.name in self.kept and s.values.name not in given
        )

    def _add_boundary(self, graph: onnx.GraphProto) -> None:
        for name in self.inputs:
            graph.input.append(self._value(name))
        graph.input.extend(
            value
            for value in self.index.graph.input
            if value.name in self.kept and value.name not in self.inputs and self.index.is_constant(value.name)
        )
        for name in self.outputs:
            graph.output.append(self._value(name))

    def _value(self, name: str) -> onnx.ValueInfoProto:
        """A boundary value as the file declares it, with the type that was found."""
        index = self.index
        declared = index.inputs.get(name) or index.outputs.get(name) or index.value_info.get(name)
        info = onnx.ValueInfoProto()
        if declared is not None:
            info.CopyFrom(declared)
        info.name = name
        info.type.CopyFrom(self.types[name])
        return info

    def _add_training(self, part: onnx.ModelProto) -> None:
        """Training information, where everything that it binds is still there."""
        held = {tensor.name for tensor in part.graph.initializer}
        for training in self.model.training_info:
            bound = {e.key for e in (*training.initialization_binding, *training.update_binding)}
            if bound <= held:
                part.training_info.append(training)
            else:
                self.notes.append(f"training_info that binds {_listed(sorted(bound - held))} was left out")
