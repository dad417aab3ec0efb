"""Constants in every spelling: where one stands, what it is, how it is taken out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import onnx

from graphkit.edit.prune import prune
from graphkit.errors import EditError, NameNotFoundError
from graphkit.graph import walk
from graphkit.graph.addresses import Addresses
from graphkit.graph.names import label, title
from graphkit.graph.scopes import Scope, scopes
from graphkit.graph.values import attribute_value, constant_tensor, tensor_type
from graphkit.hint import Hint, call
from graphkit.model import Model
from graphkit.tensor import dense, numpy_type, type_name

if TYPE_CHECKING:
    from graphkit.tensor import Array


@dataclass(frozen=True)
class Constant:
    """A value that is constant.

    Attributes:
        name: The value.
        scope: The graph or body that defines it.
        node: The Constant, Identity or Cast that makes it, or None for an initializer.
        origin: The tensor behind it; for sparse ones that of the values.
        sparse: The sparse tensor behind it, or None.
        casts: The data types that Cast nodes take it to on the way, in order.
    """

    name: str
    scope: Scope = field(repr=False)
    node: onnx.NodeProto | None
    origin: onnx.TensorProto
    sparse: onnx.SparseTensorProto | None = None
    casts: tuple[int, ...] = ()

    @property
    def data_type(self) -> int:
        """The data type of the value."""
        return self.casts[-1] if self.casts else self.origin.data_type

    @property
    def dims(self) -> tuple[int, ...]:
        """The dims of the value."""
        return tuple(self.sparse.dims) if self.sparse is not None else tuple(self.origin.dims)

    def declaration(self) -> onnx.ValueInfoProto:
        """A graph input of its type."""
        info = onnx.ValueInfoProto(name=self.name)
        info.type.CopyFrom(tensor_type(self.data_type, self.dims))
        return info

    def tensor(self, model: Model, name: str) -> onnx.TensorProto:
        """A dense tensor of its value.

        Cost: weights are read for a sparse or cast constant only; else the bytes stay where they are.
        """
        if self.sparse is None and not self.casts:
            tensor = onnx.TensorProto()
            tensor.CopyFrom(self.origin)
            tensor.name = name
            return tensor
        array = model.array_of(self.origin)
        if self.sparse is not None:
            array = dense(self.name, array, model.array_of(self.sparse.indices), self.sparse.dims)
        for data_type in self.casts:
            array = self._cast(array, data_type)
        return onnx.numpy_helper.from_array(array, name)

    def _cast(self, array: Array, data_type: int) -> Array:
        import numpy as np

        try:
            with np.errstate(invalid="ignore", over="ignore"):  # as runtimes do, what does not fit becomes something
                return array.astype(numpy_type(data_type))
        except (ValueError, OverflowError) as error:
            raise EditError(f"{self.name!r} cannot be cast to {type_name(data_type)}: {error}") from error

    def remove(self, proto: onnx.ModelProto) -> None:
        """Take it out of its graph, with what only it needed. Changes the model.

        A graph input of the same name, whose default value the constant is, stays.
        """
        graph = self.scope.graph
        if self.node is not None:
            position = next(i for i, node in enumerate(graph.node) if self.name in node.output)
            behind = list(graph.node[position].input)
            del graph.node[position]
            prune(proto, behind)
            return
        for position in range(len(graph.initializer) - 1, -1, -1):
            if graph.initializer[position].name == self.name:
                del graph.initializer[position]
        for position in range(len(graph.sparse_initializer) - 1, -1, -1):
            if graph.sparse_initializer[position].values.name == self.name:
                del graph.sparse_initializer[position]


def initializer_of(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """What a Constant node holds as an initializer of the same name, with the node's doc string and metadata; None for a
    sparse one. Bytes stay where they are.
    """
    tensor = constant_tensor(node)
    if tensor is None:
        return None
    kept = onnx.TensorProto()
    kept.CopyFrom(tensor)
    kept.name = node.output[0]
    if node.doc_string and not kept.doc_string:
        kept.doc_string = node.doc_string
    known = {entry.key for entry in kept.metadata_props}
    kept.metadata_props.extend(entry for entry in node.metadata_props if entry.key not in known)
    return kept


def find_constant(proto: onnx.ModelProto, name: str) -> Constant:
    """The constant of a name, in the main graph or in one of its bodies, or of an address in a body.

    Raises:
        NameNotFoundError: No value has the name; constants that look alike are suggested.
        EditError: Several bodies define it, it is inside of a function, or it is no constant.
    """
    known = list(scopes(proto.graph))
    homes = [scope for scope in known if scope.index.has(name)]
    if not homes and (found := _addressed(proto, known, name)) is not None:
        return found
    if not homes:
        _explain_missing(proto, known, name)
    if len(homes) > 1:
        owners = ", ".join(repr(label(s.owner)) for s in homes if s.owner is not None)
        raise EditError(
            f"{len(homes)} bodies (of {owners}) each have a value {name!r}, so the name says not which is meant",
            hint="rename one of them first",
        )
    return _constant(homes[0], name)


def _addressed(proto: onnx.ModelProto, known: list[Scope], address: str) -> Constant | None:
    """The constant that an address in a body names, ``If_0.then_branch/w``."""
    if "/" not in address:
        return None
    try:
        found = Addresses(proto).value(address)
    except NameNotFoundError:
        return None
    scope = next((scope for scope in known if scope.graph is found.site.graph), None)
    return None if scope is None else _constant(scope, found.name)


def _explain_missing(proto: onnx.ModelProto, known: list[Scope], name: str) -> None:
    for function in proto.functions:
        inner = [node for body in walk.nested(function.node) for node in body.node]
        if any(name in node.output for node in (*function.node, *inner)):
            raise EditError(
                f"{name!r} is inside of the function {function.name!r}, which cannot read the inputs of the model",
                hint=Hint("inline the functions first: ", call("inline")),
            )
    constants = [
        value for scope in known for value in (*scope.index.initializers, *scope.index.sparse_initializers)
    ] + [name for scope in known for node in scope.index.nodes if node.op_type == "Constant" for name in node.output]
    raise NameNotFoundError("constant", name, constants)


def _constant(scope: Scope, name: str) -> Constant:
    casts: list[int] = []
    top = scope.index.producer.get(name)
    maker = scope.index.nodes[top] if top is not None else None
    place, current = scope, name
    while True:
        position = place.index.producer.get(current)
        node = place.index.nodes[position] if position is not None else None
        if node is None:
            tensor = place.index.initializers.get(current)
            sparse = place.index.sparse_initializers.get(current)
            if tensor is None and sparse is None:
                raise _no_constant(scope, name)
            origin = tensor if sparse is None else sparse.values
            break
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            sparse = next((a.sparse_tensor for a in node.attribute if a.HasField("sparse_tensor")), None)
            origin = constant_tensor(node) if sparse is None else sparse.values
            break
        if node.op_type not in ("Identity", "Cast") or node.domain not in ("", "ai.onnx"):
            raise _no_constant(scope, name)
        if node.op_type == "Cast":
            casts.append(attribute_value(node, "to"))
            if numpy_type(casts[-1]) is None:
                raise EditError(f"{title(node)} casts to a type that ONNX does not have ({casts[-1]})")
        home = place.home(node.input[0])
        if home is None:
            raise _no_constant(scope, name)
        place, current = home, node.input[0]
    if origin is None:
        raise _no_constant(scope, name)
    return Constant(name, scope, maker, origin, sparse, tuple(reversed(casts)))


def _no_constant(scope: Scope, name: str) -> EditError:
    position = scope.index.producer.get(name)
    if position is not None:
        node = scope.index.nodes[position]
        return EditError(
            f"{name!r} is no constant: {title(node)} computes it",
            hint=Hint(
                "constants are initializers, Constant nodes, and an Identity or Cast of one; "
                "to feed a computed value, cut the model there: ",
                call("extract", inputs=[name]),
            ),
        )
    kind = "an input of a body already" if scope.outer is not None else "an input of the model already"
    return EditError(f"{name!r} is no constant: it is {kind}")
