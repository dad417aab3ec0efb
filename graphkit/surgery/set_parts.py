"""set: attributes, operands, weights and what a model says about itself (``graphkit set``)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeGuard

import numpy as np
import onnx

from graphkit.arguments import ArgumentValueError
from graphkit.edit.attributes import attribute_for, clear_attribute, replace_attribute
from graphkit.edit.model_fields import (
    clear_everywhere,
    clear_shapes,
    import_domain,
    infer_shapes,
    set_ir,
    set_metadata,
)
from graphkit.edit.new_types import follow_types, require_fit
from graphkit.edit.new_values import array_of, dtype_of, fitted, loaded, weight_at
from graphkit.edit.nodes import sort_nodes
from graphkit.edit.prune import prune
from graphkit.edit.weights_out import fill, restore, strip
from graphkit.errors import EditError, InvalidGraphError
from graphkit.graph.addresses import Addresses, Found, Site
from graphkit.graph.names import Names, title
from graphkit.graph.opset import opset_of
from graphkit.graph.order import is_ordered, topological_order
from graphkit.graph.written import attribute_text
from graphkit.model import Model, ModelLike, Source
from graphkit.operation import Edit, operation
from graphkit.plural import counted
from graphkit.shapes.one_node import OneNode
from graphkit.step import OTHER_WEIGHTS, is_file
from graphkit.storage.load import as_model
from graphkit.storage.source import Buffer, LocalFile
from graphkit.tensor import DataRange, refer, type_name

MOST_NOTES = 20
"""Attributes that are named in the notes; of more, the number is said."""

LONGEST_VALUE = 60
"""Characters of an attribute's value that a note shows."""

EXTERNAL_FROM = 1 << 16
"""Bytes from which on a weight that is set stays where its array lies, and is written from there."""


@operation(law="meant", valid=False)
def set_parts(
    model: Model,
    *,
    attributes: Mapping[str, Any] | None = None,
    operands: Mapping[str, Any] | None = None,
    tensors: Mapping[str, Any] | None = None,
    metadata: Mapping[str, str] | None = None,
    doc: str | None = None,
    opset_import: Mapping[str, int] | None = None,
    ir: int | None = None,
    shapes: Literal["infer", "clear"] | None = None,
    strip_weights: bool = False,
    fill_weights: Literal["zeros", "random"] | None = None,
    restore_weights: ModelLike | None = None,
    clear: str | Iterable[str] = (),
) -> Edit:
    """Set attributes, operands and weights, and what a model says about itself.

    Args:
        model: A path, a ModelProto or a Model.
        attributes: ``NODE:NAME`` -> value: a number, a text, a list, an array; or a text that says it. It has to be of
            the type that the operator's definition gives the attribute; an element type can be written ``float16``.
        operands: ``NODE:INDEX`` -> the name of a value; "" to leave an optional one out; or a number, list or array,
            which becomes a weight of the old operand's dtype.
        tensors: Weight -> its new values: an array of its dtype and shape, a number that fills it, or ``@w.npy``.
            Initializers and Constant nodes, in bodies too.
        metadata: Key -> text, in the model's metadata_props.
        doc: The model's doc_string.
        opset_import: Domain ("ai.onnx" is the default one) -> version. The bare number: no node is rewritten.
        ir: The IR version, the bare number.
        shapes: "infer" writes the types of inner values that inference finds; "clear" takes all of them out.
        strip_weights: Take the values of all weights of 1 KiB or more out; types and dims stay.
        fill_weights: Give stripped weights stand-ins: "zeros", or "random" numbers, the same each time.
        restore_weights: A model whose weights the stripped ones get again, by name.
        clear: ``NODE:NAME`` for an attribute, "metadata" (the model's and its nodes' metadata_props), "docs" (all
            doc_strings).

    Raises:
        NameNotFoundError: There is no such node, value or weight.
        EditError: The operator has no such attribute or one of another type; a value does not fit; an operator does not
            exist in an opset that is set.
        TensorError: An array is of another dtype or shape than the weight.
        NothingFoundError: Weights are to be filled, and none is stripped.
        ModelFileError: A file cannot be read.
        ValueError: Nothing is to be set.

    Changes: nothing; returns a new model. The notes say what was set.
    Scope: main graph, bodies, functions; ``shapes`` leaves functions alone.
    Cost: O(graph). Weights are read where they are set; a large array is written from where it lies.
    Law: meant.

    Example:
        >>> gk.set_parts("model.onnx", attributes={"Softmax_7:axis": 1}).save("out.onnx")  # doctest: +SKIP
    """
    cleared = [clear] if isinstance(clear, str) else list(clear)
    tables = (attributes, operands, tensors, metadata, opset_import, cleared, strip_weights)
    if not any(tables) and all(each is None for each in (doc, ir, shapes, fill_weights, restore_weights)):
        raise ArgumentValueError("set_parts needs something to set")
    work = _Work(model)
    work.set(attributes or {}, cleared, operands or {}, tensors or {})
    proto, notes = work.proto, work.notes
    set_metadata(proto, metadata or {}, notes)
    if doc is not None:
        proto.doc_string = doc
        notes.append("the doc string is set")
    notes += [import_domain(proto, domain, version) for domain, version in (opset_import or {}).items()]
    notes += [set_ir(proto, ir)] if ir is not None else []
    if strip_weights:
        notes.append(counted(strip(proto), "weight lost its values", "weights lost their values"))
    if restore_weights is not None:
        count, work.sources = restore(model, proto, as_model(restore_weights))
        notes.append(counted(count, "weight has its values again", "weights have their values again"))
    if fill_weights is not None:
        notes.append(counted(fill(proto, fill_weights), f"weight is {fill_weights}", f"weights are {fill_weights}"))
    if shapes is not None:
        notes.append(infer_shapes(proto) if shapes == "infer" else clear_shapes(proto))
    obstacle = OTHER_WEIGHTS if restore_weights is not None else ""
    return Edit(proto, notes, sources=work.sources, obstacle=obstacle, arguments=_written(restore_weights, tensors))


def _written(restore_weights: object, tensors: Mapping[str, Any] | None) -> dict[str, Any]:
    """Arguments as a history keeps them: no other model, and arrays in the place of their files."""
    written: dict[str, Any] = {"restore_weights": None} if restore_weights is not None else {}
    if tensors:
        written["tensors"] = {name: loaded(name, value) for name, value in tensors.items()}
    return written


class _Work:
    """Sets things one by one. Changes its proto."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.proto = model.copy_proto()
        self.notes: list[str] = []
        self.sources: Mapping[str, Source] | None = None
        self._addresses = Addresses(self.proto)
        self._opset = opset_of(self.proto)
        self._edited: list[tuple[Found, onnx.NodeProto]] = []
        self._unread: list[str] = []
        self._touched: dict[int, Site] = {}
        self._names: Names | None = None
        self._made: dict[str, onnx.TensorProto] = {}

    def set(
        self,
        attributes: Mapping[str, Any],
        cleared: Iterable[str],
        operands: Mapping[str, Any],
        tensors: Mapping[str, Any],
    ) -> None:
        """Set what is in the graph."""
        for address, value in attributes.items():
            self.attribute(address, value)
        for address in cleared:
            self.clear(address)
        for address, value in operands.items():
            self.operand(address, value)
        for name, value in tensors.items():
            self.tensor(name, value)
        self.settle()

    def _node(self, address: str, what: str) -> tuple[Found, str]:
        """A node and what stands behind the last colon that leaves the name of one."""
        node, colon, rest = address.rpartition(":")
        if not colon:
            raise EditError(f"{address!r} names no {what}", hint=f"write NODE:{what.upper()}")
        return self._addresses.node(node), rest

    def attribute(self, address: str, value: Any) -> None:
        """Set an attribute."""
        found, name = self._node(address, "name")
        made = attribute_for(found.node, name, value, self._opset, self.proto.functions)
        self._change(found, lambda node: replace_attribute(node, made))
        if len(self._edited) <= MOST_NOTES:
            self.notes.append(f"{name} of {title(found.node)} is {_shown(made)}")

    def clear(self, address: str) -> None:
        """Clear an attribute, all metadata or all doc strings."""
        if address in ("metadata", "docs"):
            field = "metadata_props" if address == "metadata" else "doc_string"
            self.notes.append(f"{clear_everywhere(self.proto, field)} {address} entries are gone")
            return
        found, name = self._node(address, "name")
        self._change(found, lambda node: clear_attribute(node, name, self._opset))
        self.notes.append(f"{name} of {title(found.node)} is gone")

    def _change(self, found: Found, change: Callable[[onnx.NodeProto], None]) -> None:
        """Change a node; ``settle`` looks whether the types of what it makes change with it."""
        before = onnx.NodeProto()
        before.CopyFrom(found.node)
        change(found.node)
        self._edited.append((found, before))

    def operand(self, address: str, value: Any) -> None:
        """Let a node read another value."""
        found, text = self._node(address, "index")
        node = found.node
        if not text.isdigit():
            raise EditError(f"{address!r}: the operands of {title(node)} are numbered from 0, not {text!r}")
        place = int(text)
        if place > len(node.input):
            raise EditError(f"{title(node)} has {len(node.input)} operands, so there is no place {place}")
        old = node.input[place] if place < len(node.input) else ""
        name = self._value(found.site, old, value)

        def change(changed: onnx.NodeProto) -> None:
            changed.input.extend([""] * (place + 1 - len(changed.input)))
            changed.input[place] = name
            while changed.input and not changed.input[-1]:
                del changed.input[-1]

        self._change(found, change)
        self._unread.append(old)
        self._touched[id(found.site)] = found.site
        self.notes.append(f"operand {place} of {title(node)} is {name!r}")

    def _value(self, site: Site, old: str, value: Any) -> str:
        """The name of what an operand shall read; a constant is made for a number, list or array."""
        if isinstance(value, str):
            if value == "":
                return ""
            around: Site | None = site
            while around is not None:
                if around.has(value):
                    return value
                around = around.outer
            if not value.lstrip("+-").startswith(tuple("0123456789.[@")):
                self._addresses.value(value)
                raise EditError(f"{value!r} cannot be read where the node stands")
        array = array_of(value, dtype_of(self._model.proto, site, old))
        if self._names is None:
            self._names = Names(self.proto.graph)
        name = self._names.fresh(f"{old or 'operand'}_set")
        tensor = self._made[name] = onnx.numpy_helper.from_array(array, name)
        if site.graph is not None and self.proto.ir_version >= 4:
            site.graph.initializer.append(tensor)
        else:
            site.holder.node.insert(0, onnx.helper.make_node("Constant", [], [name], value=tensor))
        return name

    def tensor(self, name: str, value: Any) -> None:
        """Give a weight other values."""
        found = self._addresses.value(name, "weight")
        tensor = weight_at(found)
        array = fitted(name, tensor, loaded(name, value))
        if _lies_as_it_is(array) and array.nbytes >= EXTERNAL_FROM:
            self._take(tensor, LocalFile(str(array.filename)), DataRange(f"set:{name}", array.offset, array.nbytes))
            self.notes.append(f"{name!r} has other values: {type_name(tensor.data_type)}{list(tensor.dims)}")
            return
        data = onnx.numpy_helper.from_array(array)
        if array.nbytes < EXTERNAL_FROM or not data.raw_data:
            for field in ("raw_data", *_FIELDS, "external_data", "data_location"):
                tensor.ClearField(field)
            data.name, data.doc_string = tensor.name, tensor.doc_string
            tensor.MergeFrom(onnx.TensorProto(raw_data=data.raw_data, string_data=data.string_data))
        else:
            location = f"set:{name}"
            self._take(tensor, Buffer(data.raw_data, location), DataRange(location, 0, len(data.raw_data)))
        self.notes.append(f"{name!r} has other values: {type_name(tensor.data_type)}{list(tensor.dims)}")

    def _take(self, tensor: onnx.TensorProto, source: Source, where: DataRange) -> None:
        """Let a weight lie in another source."""
        sources = dict(self._model.sources if self.sources is None else self.sources)
        sources[where.location] = source
        refer(tensor, where)
        self.sources = sources

    def settle(self) -> None:
        """Order nodes, drop what nothing reads any more, declare types again, and see that they fit."""
        for site in self._touched.values():
            if not is_ordered(site.holder.node):
                try:
                    order = topological_order(site.holder.node)
                except InvalidGraphError as error:
                    raise EditError(f"the operands make a cycle: {error.message}", hint=None) from error
                sort_nodes(site.holder, sorted(range(len(order)), key=order.__getitem__))
        prune(self.proto, [name for name in self._unread if name])
        if len(self._edited) > MOST_NOTES:
            self.notes.append(f"{len(self._edited)} attributes and operands are set in all")
        changed, unsure = self._other_types()
        if changed:
            follow_types(self.proto, changed)
        if unsure:
            shown = ", ".join(map(repr, unsure[:3])) + (" and others" if len(unsure) > 3 else "")
            require_fit([self._model.proto], self.proto, f"what was set at {shown}")

    def _other_types(self) -> tuple[list[str], list[str]]:
        """The values whose types may be others now, and the nodes at which types may not fit any more."""
        changed, unsure = [], []
        nodes = [node for found, node in self._edited if _is_main(found.site)]
        known = OneNode(self._model.proto, self._opset, nodes, self._made)
        for found, before in self._edited:
            old, new = (known.results(node, found.site) for node in (before, found.node))
            if old != new or not all(old):
                changed += [name for name in found.node.output if name and found.site.function is None]
                unsure.append(found.address)
            elif before.input[:] != found.node.input[:] and not known.takes(found.node, found.site):
                unsure.append(found.address)
        return changed, unsure


def _lies_as_it_is(array: np.ndarray[Any, Any]) -> TypeGuard[np.memmap[Any, Any]]:
    """Whether an array is mapped from a file that holds the bytes which a tensor has: in order, of the same type."""
    return is_file(array) and array.dtype.isbuiltin == 1 and array.dtype.kind in "fiubc" and sys.byteorder == "little"


def _is_main(site: Site) -> bool:
    return site.outer is None and site.function is None


_FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")


def _shown(attribute: onnx.AttributeProto) -> str:
    if attribute.type in (onnx.AttributeProto.TENSOR, onnx.AttributeProto.GRAPH):
        return f"a {onnx.AttributeProto.AttributeType.Name(attribute.type).lower()}"
    text = attribute_text(attribute)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."
