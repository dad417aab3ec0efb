"""A model as ONNX Runtime's quantizers take it: names of ours, weights in initializers; and the way back.

The quantizers call what they add by suffixes ("h_scale", "b0") and do not look whether the model has such a name. So they
get a copy in which every value is "v7x" and every node "n7x", which no suffix makes equal to another, and what they wrote
gets the model's names again: what is new is called by the old name and the suffix, where that is free. Weights in Constant
nodes and weights that are inputs too are plain initializers in the copy; what was not quantized goes back where it was.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

import onnx

from graphkit.edit.nodes import set_inputs, set_nodes
from graphkit.graph import walk
from graphkit.graph.names import Names, label, title
from graphkit.graph.opset import canonical
from graphkit.graph.order import topological_order
from graphkit.shapes.inference import inferred
from graphkit.surgery.precision.half_weights import is_weight_node, weight_tensor

_OURS = re.compile(r"([vn]\d+x)(.*)", re.DOTALL)

_PREPARED = (("onnx.infer", "onnxruntime.quant"), ("onnx.quant.pre_process", "onnxruntime.quant"))
"""Metadata by which the quantizers know that types are inferred already, and keep from advice on stderr."""


class Plain:
    """The copy, and what it takes to go back.

    Attributes:
        model: The copy, with the types that inference finds.
        values: A value's name in the copy -> its own.
        nodes: The name in the copy of a node of the main graph -> that node.
    """

    def __init__(self, whole: onnx.ModelProto, skeleton: onnx.ModelProto, fed: Collection[str] = ()) -> None:
        """Make the copy.

        Args:
            whole: A self-contained model; it is not changed.
            skeleton: The same model for inference, with or without its weights.
            fed: Inputs with defaults that are fed all the same, and so are no weights.
        """
        self._whole = whole
        self._names = Names(whole.graph)
        self._new: dict[str, str] = {}
        table = {name: f"v{count}x" for count, name in enumerate(sorted(self._names.values))}
        self.values = {new: old for old, new in table.items()}
        self.nodes = {f"n{count}x": node for count, node in enumerate(whole.graph.node)}
        self.model = onnx.ModelProto.FromString(whole.SerializeToString())
        graph = self.model.graph
        for node, name in zip(graph.node, self.nodes, strict=True):
            node.name = name
        typed = inferred(skeleton).graph
        del graph.value_info[:]
        graph.value_info.extend(typed.value_info)
        for output, known in zip(graph.output, typed.output, strict=True):
            output.type.CopyFrom(known.type)
        for scope in walk.graphs(graph):
            _rename(scope, table)
        self._lift()
        weights = {tensor.name for tensor in graph.initializer} - {table[name] for name in fed if name in table}
        made = {name for node in graph.node for name in node.output}
        _set(graph.input, [value for value in graph.input if value.name not in weights])
        _set(graph.initializer, [tensor for tensor in graph.initializer if tensor.name in weights])
        _set(graph.output, [value for value in graph.output if value.name in made])  # others need no node
        for entry in self.model.opset_import:
            entry.domain = canonical(entry.domain)
        del self.model.metadata_props[:], graph.quantization_annotation[:]
        for key, value in _PREPARED:
            self.model.metadata_props.add(key=key, value=value)
        self.model.ir_version = max(self.model.ir_version, 7)  # that of opset 13; before 4 weights had to be inputs

    def _lift(self) -> None:
        """Make the float32 Constants of the main graph initializers."""
        graph = self.model.graph
        nodes = []
        for node in graph.node:
            if is_weight_node(node):
                tensor = onnx.TensorProto()
                tensor.CopyFrom(weight_tensor(node))
                tensor.name = node.output[0]
                graph.initializer.append(tensor)
            else:
                nodes.append(node)
        set_nodes(graph, nodes)

    def notes_on_bodies(self, products: Collection[str]) -> list[str]:
        """A note about products in bodies, which stay in float32."""
        inner = {
            name: {one.op_type for body in walk.nested([node]) for one in body.node}
            for name, node in self.nodes.items()
        }
        holders = [title(self.nodes[name]) for name, operators in inner.items() if not operators.isdisjoint(products)]
        return [f"what is in the bodies of {', '.join(holders[:12])} stays float32"] if holders else []

    def own(self, name: str) -> str:
        """What a name of the copy, or one that a quantizer made of it, is called in the model."""
        if name in self.values:
            return self.values[name]
        if name not in self._new:
            found = _OURS.fullmatch(name)
            stem = found and (
                self.values.get(found[1]) or (label(self.nodes[found[1]]) if found[1] in self.nodes else "")
            )
            self._new[name] = self._names.fresh(f"{stem}{found[2]}" if found and stem else name)
        return self._new[name]

    def back(self, result: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
        """A quantizer's result as an edit of the model: everything that did not have to change is as it was.

        Args:
            result: What the quantizer made of the copy; it is used up.

        Returns:
            The model, and the inputs that are gone because their defaults were quantized.
        """
        before, graph = self._whole.graph, result.graph
        changed = self._nodes_back(graph)
        needed = {value.name for value in before.output} | {name for node in changed for name in walk.reads(node)}
        read = {value.name for value in before.output} | {name for node in before.node for name in walk.reads(node)}
        needed |= (walk.defined_names(before)) - read  # what nothing read is left as it is
        needed -= {name for node in changed for name in node.output}  # a bias is dequantized under its own name
        place = {id(node): number for number, node in enumerate(before.node)}
        constants = [node for node in before.node if is_weight_node(node) and node.output[0] in needed]
        order = {id(copy): place[id(own)] for copy, own in self._pairs if id(own) in place}
        nodes = [*changed, *constants]
        order.update({id(node): place[id(node)] for node in constants})
        nodes.sort(key=lambda node: order.get(id(node), len(place)))
        kept = onnx.ModelProto()
        kept.CopyFrom(self._whole)
        target = kept.graph
        set_nodes(target, [nodes[position] for position in topological_order(nodes)])
        for tensor in graph.initializer:
            tensor.name = self.own(tensor.name)
        known = self._names.values
        added = [tensor for tensor in graph.initializer if tensor.name not in known]
        _set(target.initializer, [*(t for t in before.initializer if t.name in needed), *added])
        defaults = {tensor.name for tensor in before.initializer} - {tensor.name for tensor in target.initializer}
        _set(target.input, [value for value in before.input if value.name not in defaults])
        defined = walk.defined_names(target)
        _set(target.value_info, [value for value in before.value_info if value.name in defined])
        domains = {canonical(entry.domain) for entry in kept.opset_import}
        kept.opset_import.extend(entry for entry in result.opset_import if entry.domain not in domains)
        if kept.ir_version < 4:
            kept.ir_version = 7
        return kept, [value.name for value in before.input if value.name in defaults]

    def _nodes_back(self, graph: onnx.GraphProto) -> list[onnx.NodeProto]:
        """The nodes with the model's names, attributes, bodies and texts."""
        self._pairs: list[tuple[onnx.NodeProto, onnx.NodeProto]] = []
        nodes = []
        for node in graph.node:
            own = self.nodes.get(node.name)
            copy = onnx.NodeProto()
            if own is not None and (own.op_type, own.domain) == (node.op_type, node.domain):
                copy.CopyFrom(own)
                self._pairs.append((copy, own))
            else:
                copy.CopyFrom(node)
                if node.name:
                    copy.name = self.own(node.name)
                if own is not None:
                    self._pairs.append((copy, own))
            set_inputs(copy, [self.own(name) if name else "" for name in node.input])
            outputs = [self.own(name) if name else "" for name in node.output]
            del copy.output[:]
            copy.output.extend(outputs)
            nodes.append(copy)
        return nodes


def _rename(graph: onnx.GraphProto, table: dict[str, str]) -> None:
    """Give the values that a graph itself mentions other names. Changes the graph."""
    for field in (graph.input, graph.output, graph.value_info, graph.initializer):
        for entry in field:
            entry.name = table.get(entry.name, entry.name)
    for sparse in graph.sparse_initializer:
        sparse.values.name = table.get(sparse.values.name, sparse.values.name)
    for node in graph.node:
        set_inputs(node, [table.get(name, name) for name in node.input])
        outputs = [table.get(name, name) for name in node.output]
        del node.output[:]
        node.output.extend(outputs)


def _set(field: Any, entries: Sequence[onnx.ValueInfoProto] | Sequence[onnx.TensorProto]) -> None:
    """Make these, which may be its own, the entries of a repeated field."""
    copies = [type(entry).FromString(entry.SerializeToString()) for entry in entries]
    del field[:]
    field.extend(copies)
