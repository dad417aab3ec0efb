"""Einsum said with Transpose, ReduceSum, Reshape and MatMul."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import onnx

from graphkit.edit.nodes import NodeWriter
from graphkit.graph.names import Names
from graphkit.graph.scopes import Scope
from graphkit.graph.values import attribute_value, dims

_T = onnx.TensorProto
_MULTIPLIED = frozenset((_T.FLOAT, _T.DOUBLE, _T.FLOAT16, _T.INT32, _T.INT64, _T.UINT32, _T.UINT64))
"""Element types that MatMul takes in ONNX Runtime."""

FIRST_OPSET = 13
"""The opset in which ReduceSum takes its axes as an input."""

MOST = 2
"""Operands that are taken."""


def einsum_parts(node: onnx.NodeProto, scope: Scope, opset: int, names: Names) -> list[onnx.NodeProto] | None:
    """The nodes that compute what an Einsum does; None where they cannot be said.

    One or two operands; no ellipsis, and no label twice in an operand. Where a side of the product has not exactly one
    label of its own, or the sum not exactly one, the sizes of those labels have to be known.
    """
    read = _terms(node)
    if read is None or opset < FIRST_OPSET:
        return None
    terms, result = read
    sizes: dict[str, int | str | None] = {}
    for name, labels in zip(node.input, terms, strict=True):
        known = scope.type_of(name)
        shape = dims(known) if known is not None else None
        if (
            known is None
            or shape is None
            or known.tensor_type.elem_type not in _MULTIPLIED
            or len(shape) != len(labels)
        ):
            return None
        if any(
            isinstance(sizes.get(label), int) and isinstance(size, int) and sizes[label] != size
            for label, size in zip(labels, shape, strict=True)
        ):
            return None  # a size of 1 that is broadcast
        sizes.update({k: v for k, v in zip(labels, shape, strict=True) if isinstance(v, int) or k not in sizes})
    work = _Writer(NodeWriter(names), sizes, node.output[0])
    values = [
        work.summed(name, labels, terms[:at] + terms[at + 1 :], result)
        for at, (name, labels) in enumerate(zip(node.input, terms, strict=True))
    ]
    made = values[0] if len(values) == 1 else work.product(values[0], values[1], result)
    if made is None:
        return None
    work.finish(made, result, node)
    return work.nodes


def _terms(node: onnx.NodeProto) -> tuple[list[str], str] | None:
    """(the labels of each operand, those of the result)."""
    said = str(attribute_value(node, "equation") or "").replace(" ", "")
    left, arrow, result = said.partition("->")
    terms = left.split(",")
    if not arrow:
        count = Counter(left.replace(",", ""))
        result = "".join(sorted(label for label, times in count.items() if times == 1))
    plain = all(term.isalpha() and len(set(term)) == len(term) for term in terms)
    if not plain or len(terms) > MOST or len(terms) != len(node.input) or len(set(result)) != len(result):
        return None
    return (terms, result) if set(result) <= set(left) and "." not in said else None


class _Writer:
    """Writes the nodes.

    Attributes:
        nodes: What is written.
    """

    def __init__(self, writer: NodeWriter, sizes: dict[str, int | str | None], wish: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._writer = writer
        self._sizes = sizes
        self._wish = wish

    def summed(self, name: str, labels: str, others: Sequence[str], result: str) -> tuple[str, str]:
        """A value without the labels that nothing else has."""
        axes = [at for at, label in enumerate(labels) if label not in result and not any(label in o for o in others)]
        if not axes:
            return name, labels
        listed = self._writer.constant(self.nodes, np.array(axes), f"{self._wish}_axes")
        made = self._writer.add(self.nodes, "ReduceSum", [name, listed], f"{self._wish}_sum", keepdims=0)
        return made, "".join(label for at, label in enumerate(labels) if at not in axes)

    def product(self, one: tuple[str, str], other: tuple[str, str], result: str) -> tuple[str, str] | None:
        """The product of two values, summed over what only they share."""
        batch = [label for label in one[1] if label in other[1] and label in result]
        inner = [label for label in one[1] if label in other[1] and label not in result]
        rows = [label for label in one[1] if label not in other[1]]
        columns = [label for label in other[1] if label not in one[1]]
        plain = len(inner) == len(rows) == len(columns) == 1
        if not plain and not all(isinstance(self._sizes[label], int) for label in (*inner, *rows, *columns)):
            return None
        left = self._turned(one, [*batch, *rows, *inner])
        right = self._turned(other, [*batch, *inner, *columns])
        if plain:
            made = self._writer.add(self.nodes, "MatMul", [left, right], f"{self._wish}_product")
            return made, "".join([*batch, *rows, *columns])
        left = self._shaped(left, [0] * len(batch), [self._count(rows)], [self._count(inner)])
        right = self._shaped(right, [0] * len(batch), [self._count(inner)], [self._count(columns)])
        made = self._writer.add(self.nodes, "MatMul", [left, right], f"{self._wish}_product")
        made = self._shaped(made, [0] * len(batch), self._listed(rows), self._listed(columns))
        return made, "".join([*batch, *rows, *columns])

    def finish(self, made: tuple[str, str], result: str, node: onnx.NodeProto) -> None:
        """Give the labels their order, and the value its name."""
        perm = [made[1].index(label) for label in result]
        last = (
            onnx.helper.make_node("Identity", [made[0]], [node.output[0]])
            if perm == sorted(perm)
            else onnx.helper.make_node("Transpose", [made[0]], [node.output[0]], perm=perm)
        )
        if last.op_type == "Identity" and self.nodes and self.nodes[-1].output[0] == made[0]:
            self.nodes[-1].output[0] = node.output[0]
            last = self.nodes.pop()
        last.name = node.name
        last.doc_string = node.doc_string
        last.metadata_props.extend(node.metadata_props)
        self.nodes.append(last)

    def _turned(self, value: tuple[str, str], wanted: Sequence[str]) -> str:
        perm = [value[1].index(label) for label in wanted]
        if perm == sorted(perm):
            return value[0]
        return self._writer.add(self.nodes, "Transpose", [value[0]], f"{self._wish}_turned", perm=perm)

    def _shaped(self, name: str, *sizes: list[int]) -> str:
        target = np.array([size for part in sizes for size in part], np.int64)
        listed = self._writer.constant(self.nodes, target, f"{self._wish}_sizes")
        return self._writer.add(self.nodes, "Reshape", [name, listed], f"{self._wish}_shaped")

    def _listed(self, labels: Sequence[str]) -> list[int]:
        return [size for label in labels if isinstance(size := self._sizes[label], int)]

    def _count(self, labels: Sequence[str]) -> int:
        return math.prod(self._listed(labels))
