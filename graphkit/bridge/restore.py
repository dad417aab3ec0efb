"""Telling what a script touched from what it did not, and putting the model's own messages back for the latter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import onnx

from graphkit.errors import EditError
from graphkit.graph import walk
from graphkit.model import Model

Key = TypeVar("Key", bound=Hashable)
"""What functions are told apart by."""

_FUNCTION_FIELDS = ("input", "output", "attribute", "attribute_proto", "opset_import", "metadata_props")


def _take(result: Any, now: Any, before: Any, fields: Iterable[str], repeated: Iterable[str]) -> None:
    """Take what a script changed. Changes the result."""
    for field in fields:
        if getattr(now, field) != getattr(before, field):
            setattr(result, field, getattr(now, field))
    for field in repeated:
        if getattr(now, field) != getattr(before, field):
            result.ClearField(field)
            getattr(result, field).extend(getattr(now, field))


class Restore:
    """Puts the model's own messages back where a graph did not touch them."""

    def __init__(self, source: Model) -> None:
        self.source = source

    def graph(
        self, now: onnx.GraphProto, before: onnx.GraphProto, own: onnx.GraphProto, outer: frozenset[str]
    ) -> onnx.GraphProto:
        """A graph (the main one, or a body).

        Args:
            now: The export of the gs.Graph.
            before: The export of the untouched import of the same graph.
            own: The model's own graph.
            outer: Names that the graphs around it define.
        """
        result = onnx.GraphProto()
        result.CopyFrom(own)
        for field in ("node", "input", "output", "value_info", "initializer", "sparse_initializer"):
            result.ClearField(field)
        _take(result, now, before, ("name", "doc_string"), ("metadata_props",))
        visible = outer | walk.defined_names(own) | walk.defined_names(now)
        result.node.extend(self._nodes(now.node, before.node, own.node, visible))
        self._initializers(result, now, before, own, outer)
        self._values(result, now, before, own)
        present = walk.defined_names(result) | {name for body in walk.graphs(result) for name in walk.free_names(body)}
        kept = [a for a in result.quantization_annotation if a.tensor_name in present]
        del result.quantization_annotation[:]
        result.quantization_annotation.extend(kept)
        return result

    def functions(
        self,
        now: Iterable[tuple[Key, onnx.FunctionProto]],
        known: Mapping[Key, tuple[onnx.FunctionProto, onnx.FunctionProto]],
    ) -> Iterator[onnx.FunctionProto]:
        """The functions.

        Args:
            now: Key -> the exported function.
            known: Key -> the export of the untouched import, and the model's own.
        """
        for key, function in now:
            if key not in known:
                yield function
                continue
            before, own = known[key]
            result = onnx.FunctionProto()
            result.CopyFrom(own)
            if function != before:
                _take(result, function, before, ("doc_string",), _FUNCTION_FIELDS)
                result.ClearField("node")
                result.node.extend(self._nodes(function.node, before.node, own.node, frozenset()))
                made = {*result.input, *(name for node in result.node for name in node.output)}
                kept = [value for value in result.value_info if value.name in made]
                del result.value_info[:]
                result.value_info.extend(kept)
            yield result

    def _nodes(
        self,
        now: Iterable[onnx.NodeProto],
        before: Iterable[onnx.NodeProto],
        own: Iterable[onnx.NodeProto],
        visible: frozenset[str],
    ) -> Iterator[onnx.NodeProto]:
        pairs = list(zip(before, own, strict=True))
        by_output = {name: pair for pair in pairs for name in pair[0].output if name}
        named = Counter(pair[0].name for pair in pairs)
        by_name = {pair[0].name: pair for pair in pairs if named[pair[0].name] == 1}
        for node in now:
            pair = next((by_output[name] for name in node.output if name in by_output), None) or by_name.get(node.name)
            if pair is None or (pair[0].op_type, pair[0].domain) != (node.op_type, node.domain):
                yield node
            elif pair[0] == node:
                yield pair[1]
            else:
                yield self._node(node, *pair, visible)

    def _node(
        self, now: onnx.NodeProto, before: onnx.NodeProto, own: onnx.NodeProto, visible: frozenset[str]
    ) -> onnx.NodeProto:
        """A node that was changed: its new inputs, outputs, name and attributes, and all else as it was."""
        result = onnx.NodeProto()
        result.CopyFrom(own)
        _take(result, now, before, ("name", "doc_string", "overload"), ("metadata_props",))
        for field in ("input", "output", "attribute"):
            result.ClearField(field)
        result.input.extend(now.input)
        result.output.extend(now.output)
        exported = {a.name: a for a in before.attribute}
        held = {a.name: a for a in own.attribute}
        for attribute in now.attribute:
            was = exported.get(attribute.name)
            if was is None:
                result.attribute.append(attribute)
            elif was == attribute:
                result.attribute.append(held[attribute.name])
            elif attribute.HasField("g") and was.HasField("g"):
                body = self.graph(attribute.g, was.g, held[attribute.name].g, visible)
                result.attribute.add(name=attribute.name, type=attribute.type).g.CopyFrom(body)
            elif attribute.HasField("t") and was.HasField("t"):
                tensor = self._tensor(attribute.t, held[attribute.name].t, was.t)
                result.attribute.add(name=attribute.name, type=attribute.type).t.CopyFrom(tensor)
            else:
                result.attribute.append(attribute)
        result.attribute.extend(a for a in own.attribute if a.name not in exported)
        return result

    def _initializers(
        self,
        result: onnx.GraphProto,
        now: onnx.GraphProto,
        before: onnx.GraphProto,
        own: onnx.GraphProto,
        outer: frozenset[str],
    ) -> None:
        """The model's order first, then what is new. A weight that a body captures stays outside."""
        held = {t.name for t in own.initializer} | {s.values.name for s in own.sparse_initializer}
        exported = {t.name for t in before.initializer} | {s.values.name for s in before.sparse_initializer}
        dense = {t.name: t for t in now.initializer}
        was_dense = {t.name: t for t in before.initializer}
        sparse = {s.values.name: s for s in now.sparse_initializer}
        read = {name for node in result.node for name in walk.reads(node)}
        was_read = {name for node in own.node for name in walk.reads(node)}
        for tensor in own.initializer:
            if tensor.name in dense:
                result.initializer.append(self._tensor(dense[tensor.name], tensor, was_dense.get(tensor.name)))
            elif tensor.name in read or (tensor.name not in exported and tensor.name not in was_read):
                result.initializer.append(tensor)
        for held_sparse in own.sparse_initializer:
            name = held_sparse.values.name
            if name in sparse or name in read or name not in was_read:
                result.sparse_initializer.append(held_sparse)
        captured = outer - held
        result.initializer.extend(t for name, t in dense.items() if name not in held and name not in captured)
        result.sparse_initializer.extend(s for name, s in sparse.items() if name not in held and name not in captured)

    def _tensor(
        self, now: onnx.TensorProto, own: onnx.TensorProto, before: onnx.TensorProto | None
    ) -> onnx.TensorProto:
        """A tensor whose values were read, or changed: its own message where they are still the same."""
        if now in (own, before):
            return own
        if (now.data_type, list(now.dims)) == (own.data_type, list(own.dims)) and now.HasField("raw_data"):
            mine = self.source.payload(own)
            if mine is None:
                mine = memoryview(own.raw_data or onnx.numpy_helper.to_array(own).tobytes())
            if mine == memoryview(now.raw_data):
                return own
        result = onnx.TensorProto()
        result.CopyFrom(now)
        result.doc_string = own.doc_string
        del result.metadata_props[:]
        result.metadata_props.extend(own.metadata_props)
        return result

    def _values(
        self, result: onnx.GraphProto, now: onnx.GraphProto, before: onnx.GraphProto, own: onnx.GraphProto
    ) -> None:
        weights = {t.name for t in result.initializer} | {s.values.name for s in result.sparse_initializer}
        for field in ("input", "output"):
            was, mine = _by_name(getattr(before, field)), _by_name(getattr(own, field))
            getattr(result, field).extend(_value(v, was, mine) for v in getattr(now, field))
        # gs lists no input that has a default value (or, below IR version 4, that is an initializer).
        listed = {v.name for v in result.input}
        defaults = [v for v in own.input if v.name in weights and v.name not in listed]
        if [v.name for v in now.input] == [v.name for v in before.input]:
            ordered = _by_name((*result.input, *defaults))
            del result.input[:]
            result.input.extend(ordered[v.name] for v in own.input if v.name in ordered)
        else:
            result.input.extend(defaults)
        self._value_info(result, now, before, own, weights)
        untyped = [v.name for v in result.output if not v.HasField("type")]
        if untyped and all(v.HasField("type") for v in own.output):
            raise EditError(f"the output {untyped[0]!r} has no type", hint="set the dtype of the gs.Variable")

    def _value_info(
        self,
        result: onnx.GraphProto,
        now: onnx.GraphProto,
        before: onnx.GraphProto,
        own: onnx.GraphProto,
        weights: set[str],
    ) -> None:
        boundary = {v.name for v in (*result.input, *result.output)}
        made = {name for node in result.node for name in node.output} | weights
        told = {v.name: v for v in now.value_info if v.name not in boundary}
        was, mine = _by_name(before.value_info), _by_name(own.value_info)
        functions = {walk.function_key(function) for function in self.source.proto.functions}
        made |= {v.name for v in (*own.value_info, *told.values()) if walk.is_function_value(v.name, functions)}
        for info in own.value_info:
            if info.name in told and info.name in made:
                result.value_info.append(_value(told.pop(info.name), was, mine))
            elif info.name not in was and info.name in made:
                result.value_info.append(info)
        result.value_info.extend(v for name, v in told.items() if name in made and was.get(name) != v)


def _by_name(values: Iterable[onnx.ValueInfoProto]) -> dict[str, onnx.ValueInfoProto]:
    return {value.name: value for value in values}


def _value(
    now: onnx.ValueInfoProto,
    before: Mapping[str, onnx.ValueInfoProto],
    own: Mapping[str, onnx.ValueInfoProto],
) -> onnx.ValueInfoProto:
    """A value: the model's own message where it was not touched, else that with the new type."""
    mine = own.get(now.name)
    if mine is None:
        return now
    if before.get(now.name) == now:
        return mine
    result = onnx.ValueInfoProto()
    result.CopyFrom(mine)
    result.type.CopyFrom(now.type)
    return result


def numbered(functions: Iterable[Any]) -> Iterator[tuple[tuple[str, str, int], Any]]:
    """Functions with (domain, name, how many of that name came before)."""
    seen: Counter[tuple[str, str]] = Counter()
    for function in functions:
        key = (function.domain or "", function.name)
        yield (*key, seen[key]), function
        seen[key] += 1
