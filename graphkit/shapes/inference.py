"""Shapes that follow from values: what onnx infers, and what a chain of Shape, Mul, Concat, ... comes to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import EncodeError

from graphkit.graph import values
from graphkit.graph.calls import expands_beyond
from graphkit.graph.scopes import Scope
from graphkit.graph.walk import graphs, model_nodes
from graphkit.semantics.kinds import CONTROL_FLOW
from graphkit.semantics.on_constants import on_constants

if TYPE_CHECKING:
    from graphkit.tensor import Array

UNNAMED = "unk__"
"""What onnx.shape_inference calls dims that it knows nothing about: no names of the model's author."""

LONG = 4096
"""Elements of a vector from which on it is no shape. onnx propagates every vector as if it were one, 2.7 KB an element."""

MOST_CALLED = 1 << 17
"""Nodes that calls of functions may come to; inference looks at each of them, at 3 microseconds a node and run."""


def inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model with the types that onnx.shape_inference finds; the model as it is where inference fails.

    Made-up symbols for unknown dims (``unk__0``) are left out: they name nothing and would be taken for promises.

    Scope: main graph and bodies.
    Cost: O(graph), 40 microseconds a node; weights are not read.
    """
    result = run_inference(model, propagate=False)
    if result is None:
        return model
    if not has_long_vector(result.graph):
        result = run_inference(model, propagate=True) or result
    _drop_all_unnamed(result)
    return result


def at_shapes(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> onnx.ModelProto:
    """A copy of a model with its inputs at given shapes, and the types that follow.

    Args:
        model: The model.
        shapes: Input -> shape; one of another rank than declared is left alone, as are inputs that are not named.

    Cost: as ``inferred``.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value in copy.graph.input:
        shape = shapes.get(value.name)
        declared = values.dims(value.type)
        if shape is not None and declared is not None and len(shape) == len(declared):
            for dim, size in zip(value.type.tensor_type.shape.dim, shape, strict=True):
                dim.dim_value = size
    del copy.graph.value_info[:]
    for output in copy.graph.output:
        output.type.tensor_type.ClearField("shape")
    return inferred(copy)


def may_propagate(model: onnx.ModelProto) -> bool:
    """Whether inference may follow the values of computed shapes: no vector is so long that it would take gigabytes.

    Cost: one run of inference.
    """
    plain = run_inference(model, propagate=False)
    return plain is not None and not has_long_vector(plain.graph)


def strictly_inferred(model: onnx.ModelProto, *, propagate: bool) -> tuple[onnx.ModelProto, str]:
    """``inferred``, and what onnx says about each node at which types do not fit together, "" where all do.

    Args:
        model: The model; it is not changed.
        propagate: Follow the values of computed shapes; see ``may_propagate``.

    Cost: one run of inference, or two where something does not fit.
    """
    result, why = _attempt(model, data_prop=propagate, strict_mode=True)
    result = result or run_inference(model, propagate=propagate)
    if result is None:
        return model, why
    _drop_all_unnamed(result)
    return result, why


def objection(model: onnx.ModelProto) -> str:
    """What onnx has against the types of a model; "" where it has nothing, or the model is too large to be asked about."""
    return _attempt(model, check_type=True, strict_mode=True)[1]


_AT_NODE = re.compile(r"\(op_type:(?P<op>[^,)]*)(?:, node name: (?P<node>.*?))?\): (?P<why>[^\n]*)")


CONSEQUENCE = "expected to have type but instead is null"
"""What onnx says of a node whose input has no known type: behind a node that failed, or that has no rule of inference."""


def typed_with_faults(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[tuple[str, str, str]]]:
    """A copy with types (the model as it is where inference fails), and each node whose shapes do not fit together.

    A fault is (node's name or "", its operator or "", what is wrong); that nothing is known of an input is nothing wrong.
    Element types are what counts here: sizes that are computed are not followed, and made-up symbols stay.

    Cost: one run of inference, or two where something does not fit.
    """
    result, text = _attempt(model, strict_mode=True)
    return result or run_inference(model, propagate=False) or model, _faults(text)


def _faults(text: str) -> list[tuple[str, str, str]]:
    found = [(m["node"] or "", m["op"], _plain_reason(m["why"])) for m in _AT_NODE.finditer(text)]
    told = [each for each in found if CONSEQUENCE not in each[2]]
    return told if found else ([("", "", _plain_reason(text))] if text else [])


def _plain_reason(text: str) -> str:
    return " ".join(re.sub(r"\[\w+Error\] ?", "", text).split())[:500]


def run_inference(model: onnx.ModelProto, *, propagate: bool) -> onnx.ModelProto | None:
    """onnx.shape_inference once, or None where it fails: the model contradicts itself, a dim is an impossible one.

    A default value that a feed may replace counts for nothing: onnx would take it for a constant. A sparse initializer is
    what a node reads of it, a dense tensor: onnx 1.23 gives it a sparse type, at which its rules for nodes fail.

    Args:
        model: The model; it is not changed.
        propagate: Follow the values of computed shapes. Only for models without a ``has_long_vector``.
    """
    inputs = {value.name for value in model.graph.input} if model.ir_version >= 4 else set()
    defaults = [tensor for tensor in model.graph.initializer if tensor.name in inputs]
    sparse = model.graph.sparse_initializer
    if not defaults and not sparse:
        return _attempt(model, data_prop=propagate)[0]
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.graph.initializer[:], bare.graph.sparse_initializer[:]
    bare.graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name not in inputs)
    known = {info.name for info in (*model.graph.value_info, *model.graph.input)}
    dense = [each for each in sparse if each.values.name not in known]
    for each in dense:
        values, dims = each.values, list(each.dims)
        bare.graph.value_info.append(onnx.helper.make_tensor_value_info(values.name, values.data_type, dims))
    found = _attempt(bare, data_prop=propagate)[0]
    if found is not None:
        del found.graph.initializer[:]
        found.graph.initializer.extend(model.graph.initializer)
        found.graph.sparse_initializer.extend(sparse)
        added = {each.values.name for each in dense}
        kept = [info for info in found.graph.value_info if info.name not in added]
        del found.graph.value_info[:]
        found.graph.value_info.extend(kept)
    return found


def _attempt(model: onnx.ModelProto, **options: bool) -> tuple[onnx.ModelProto | None, str]:
    """(the model with types, or None where inference fails; what it says then)."""
    if _has_false_split(model):
        return None, "a Split has another number of outputs than it says"
    if expands_beyond(model, MOST_CALLED):
        return None, "its functions come to more nodes than inference is asked about"
    try:
        return onnx.shape_inference.infer_shapes(model, **options), ""
    except EncodeError:
        return None, ""  # more than 2 GB
    except (
        onnx.shape_inference.InferenceError,
        onnx.checker.ValidationError,
        ValueError,
        RuntimeError,
        MemoryError,
    ) as error:
        return None, str(error) or "its inference fails"


def _drop_all_unnamed(model: onnx.ModelProto) -> None:
    for graph in graphs(model.graph):
        for info in (*graph.value_info, *graph.output):
            drop_unnamed(info.type)


def has_long_vector(graph: onnx.GraphProto) -> bool:
    """Whether a vector that a graph or a body in it declares is too long to be a shape."""
    for scope in graphs(graph):
        for info in (*scope.input, *scope.value_info):
            dims = info.type.tensor_type.shape.dim
            if len(dims) == 1 and dims[0].dim_value >= LONG:
                return True
    return False


def _has_false_split(model: onnx.ModelProto) -> bool:
    """Whether a Split says another number of outputs than it has: onnx 1.23 reads beyond its memory there and ends the
    whole process.
    """
    kinds = {node.op_type for node in model.graph.node}
    if kinds.isdisjoint(("Split", *CONTROL_FLOW, "SequenceMap")) and not model.functions:
        return False
    return any(
        attribute.name == "num_outputs" and attribute.i != len(node.output)
        for node in model_nodes(model)
        if node.op_type == "Split"
        for attribute in node.attribute
    )


def drop_unnamed(type_proto: onnx.TypeProto) -> None:
    """Make dims that inference named itself unknown dims again. Changes the type."""
    kind = type_proto.WhichOneof("value")
    if kind in ("sequence_type", "optional_type"):
        drop_unnamed(getattr(type_proto, kind).elem_type)
    if kind not in ("tensor_type", "sparse_tensor_type"):
        return
    for dim in getattr(type_proto, kind).shape.dim:
        if dim.dim_param.startswith(UNNAMED):
            dim.Clear()


class Chain:
    """The nodes that compute one small value, backwards to constants, graph inputs and shapes of other values.

    Attributes:
        nodes: The nodes in order, Shape nodes left out.
        constants: name -> tensor, for the constants that the chain reads.
        shapes: name of a Shape node's output -> (scope, node).
        sources: Names of graph or body inputs, and of values that no node of the chain's kinds makes.
    """

    OPS = frozenset(
        (
            *("Abs", "Add", "Cast", "Ceil", "Concat", "ConstantOfShape", "Div", "Expand", "Flatten", "Floor", "Gather"),
            *(
                "Identity",
                "Max",
                "Min",
                "Mod",
                "Mul",
                "Neg",
                "ReduceProd",
                "Reshape",
                "Round",
                "Size",
                "Slice",
                "Split",
            ),
            *("Sqrt", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where"),
        )
    )

    def __init__(self, scope: Scope, name: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.shapes: dict[str, tuple[Scope, onnx.NodeProto]] = {}
        self.sources: dict[str, None] = {}
        self.name = name
        self._seen: set[str] = set()
        self._collect(scope, name)

    def _collect(self, scope: Scope, name: str) -> None:
        waiting: list[tuple[Scope, str | onnx.NodeProto]] = [(scope, name)]
        while waiting:
            scope, item = waiting.pop()
            if isinstance(item, onnx.NodeProto):
                self.nodes.append(item)
                continue
            if item in self._seen or not item:
                continue
            self._seen.add(item)
            if (tensor := scope.constant(item)) is not None:
                self.constants[item] = tensor
                continue
            made = scope.maker(item)
            if made is None or made[1].domain not in ("", "ai.onnx"):
                self.sources[item] = None
            elif made[1].op_type == "Shape":
                self.shapes[item] = made
            elif made[1].op_type in self.OPS and not any(a.ref_attr_name for a in made[1].attribute):
                home, node = made
                waiting.append((home, node))
                waiting.extend((home, read) for read in reversed(node.input))
            else:
                self.sources[item] = None

    def measured(self) -> tuple[str, ...]:
        """The values whose shapes the chain reads, each once."""
        return tuple(dict.fromkeys(node.input[0] for _, node in self.shapes.values()))

    @property
    def computes(self) -> bool:
        """Whether arithmetic is done on the way: a plain copy of other values' dims is none."""
        return any(node.op_type in ("Mul", "Div", "Add", "Sub") for node in self.nodes)

    def evaluate(self, opset: int, given: Mapping[str, Array] | None = None) -> Array | None:
        """What the chain comes to with static shapes, or None where it depends on more.

        Args:
            opset: The version of ai.onnx that the nodes are written in.
            given: Values of some of the ``sources``.

        Cost: loads onnx.reference; runs the chain's nodes once.
        """
        given = given or {}
        if self.sources.keys() - given.keys():
            return None
        if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in self.constants.values()):
            return None
        initializers = [_named(tensor, name) for name, tensor in self.constants.items()]
        initializers += [onnx.numpy_helper.from_array(given[name], name) for name in self.sources]
        for name, (scope, node) in self.shapes.items():
            dims = scope.dims_of(node.input[0])
            window = _shape_window(node, dims) if dims is not None else []
            wanted = [dim for dim in window if isinstance(dim, int)]
            if dims is None or len(wanted) != len(window):
                return None
            initializers.append(onnx.helper.make_tensor(name, onnx.TensorProto.INT64, [len(wanted)], wanted))
        return _run(self._in_order(), initializers, self.name, opset)

    def _in_order(self) -> list[onnx.NodeProto]:
        """The chain's nodes, producers first."""
        makers = {name: node for node in self.nodes for name in node.output if name}
        ordered: dict[int, onnx.NodeProto] = {}
        waiting = [makers[self.name]] if self.name in makers else []
        while waiting:
            node = waiting[-1]
            missing = [makers[n] for n in node.input if n in makers and id(makers[n]) not in ordered]
            if missing:
                waiting.extend(missing)
            else:
                ordered.setdefault(id(waiting.pop()), node)
        return list(ordered.values())


def _named(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    copy = onnx.TensorProto()
    copy.CopyFrom(tensor)
    copy.name = name
    return copy


def _shape_window(node: onnx.NodeProto, dims: list[int | str | None]) -> list[int | str | None]:
    """The dims that a Shape node gives (``start`` and ``end`` since Shape-15)."""
    given = {a.name: a.i for a in node.attribute}
    return dims[given.get("start", 0) : given.get("end", len(dims))]


def _run(nodes: list[onnx.NodeProto], initializers: list[onnx.TensorProto], output: str, opset: int) -> Array | None:
    names = {tensor.name for tensor in initializers}
    if not nodes and output not in names:
        return None
    made = on_constants(nodes, initializers, [output], opset)
    return None if made is None else made[0]  # a chain that cannot be computed beforehand is simply not known
