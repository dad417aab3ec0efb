"""A Loop that runs a known number of turns is its body, as often: at any depth, as long as that stays small."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx

from graphkit.edit.prune import keep, prune
from graphkit.edit.splicing import Condition, constant_number, copied, replace_known, splice
from graphkit.graph import values, walk
from graphkit.graph.names import Names, label, title
from graphkit.graph.opset import opset_of
from graphkit.graph.scopes import Scope
from graphkit.graph.symbols import tensor_types
from graphkit.plural import counted
from graphkit.semantics.kinds import MAY_DRAW

if TYPE_CHECKING:
    from graphkit.tensor import Array

MOST_TURNS = 16
"""Turns that are written one after the other. A Loop of one turn, or of none, is resolved whatever its size."""

MOST_NODES = 128
"""Nodes that the turns of one Loop may come to, where there are several."""

AXES_ARE_AN_INPUT = 13
"""The opset since which Unsqueeze takes its axes as an input."""

ANY_IDENTITY = 16
"""The opset since which Identity takes sequences and optionals."""


class _Known(NamedTuple):
    """A Loop and how often its body runs."""

    node: onnx.NodeProto
    body: onnx.GraphProto
    turns: int


def resolve_loops(model: onnx.ModelProto) -> list[str]:
    """Replace every Loop whose number of turns is constant, and small, by its turns. Changes the model.

    The number is constant where the count and the condition are, and where what the body says about going on is constant,
    or follows from the number of the turn. Values of the first turn keep their names where nothing else has them, the last
    turn's results get those of the Loop, and weights of the body are there once.

    Returns:
        What to call each Loop that is gone and how often it ran, ``Loop 'y' (2 turns)``.

    Scope: main graph and bodies at any depth; not functions. A Loop stays that would run more than ``MOST_TURNS`` times or
        come to more than ``MOST_NODES`` nodes, one that draws random numbers more than once, and one that never runs and
        whose stacked results have no known sizes.
    Cost: O(graph), and the nodes that are written; weights are not read.
    """
    if not any(node.op_type == "Loop" for node in walk.nodes(model.graph)):
        return []
    opset, done = opset_of(model), list[str]()
    work = _Work(model, opset)
    unread: set[str] = set()

    def written(graph: onnx.GraphProto, one: _Known) -> list[onnx.NodeProto]:
        done.append(f"{title(one.node)} ({counted(one.turns, 'turn')})")
        unread.update((*one.node.input, *walk.free_names(one.body)))
        made = work.written(graph, one)
        unread.update(work.unread)
        return made

    replace_known(model, work.names, lambda node, scope: _known(node, scope, opset), written)
    if done:
        prune(model, sorted(unread))
    return done


def _known(node: onnx.NodeProto, scope: Scope, opset: int) -> _Known | None:
    """A Loop that is to be resolved, or None."""
    if node.op_type != "Loop" or node.domain not in ("", "ai.onnx") or len(node.input) < 2:
        return None
    body = next((attribute.g for attribute in node.attribute if attribute.name == "body"), None)
    if body is None or not all(node.input[2:]) or len(body.input) != len(node.input) or not body.output:
        return None
    turns = _turns(node, body, scope, opset)
    if turns is None or not _worth(body, turns):
        return None
    carried = len(body.input) - 2
    if opset < ANY_IDENTITY and any(not value.type.HasField("tensor_type") for value in body.input[2:]):
        return None
    stacked = zip(body.output[1 + carried :], node.output[carried:], strict=False)
    if not turns and any(output and _empty(value) is None for value, output in stacked):
        return None
    return _Known(node, body, turns)


def _turns(node: onnx.NodeProto, body: onnx.GraphProto, scope: Scope, opset: int) -> int | None:
    """How often a body runs, at most ``MOST_TURNS`` times; None where it is not known or more."""
    count = constant_number(scope, node.input[0], opset) if node.input[0] else None
    begins = constant_number(scope, node.input[1], opset) if node.input[1] else 1
    if begins == 0 or (count is not None and count <= 0):
        return 0
    if begins is None or (count is None and node.input[0]):
        return None
    most = MOST_TURNS if count is None else min(count, MOST_TURNS)
    if count == 1:
        return 1
    turn, goes_on, told = body.input[0].name, body.input[1].name, body.output[0].name
    chain = Condition(Scope(body, scope, node), told)
    if chain.shapes or not chain.sources.keys() <= {turn, goes_on}:
        return None
    for place in range(most):
        given = {turn: _number(body.input[0], place), goes_on: _number(body.input[1], 1)}
        says = chain.evaluate(opset, {name: given[name] for name in chain.sources})
        if says is None or says.size != 1:
            return None
        if not says.ravel()[0]:
            return place + 1
        if turn not in chain.sources:
            break
    return count if count is not None and count <= MOST_TURNS else None


def _number(declared: onnx.ValueInfoProto, number: int) -> Array:
    """The number of a turn, or a condition, of the type and rank that a body declares: a scalar, or one element."""
    numpy_type = np.bool_ if declared.type.tensor_type.elem_type == onnx.TensorProto.BOOL else np.int64
    rank = len(values.dims(declared.type) or ())
    return np.full((1,) * rank, number, numpy_type)


def _worth(body: onnx.GraphProto, turns: int) -> bool:
    """Whether a body may be written so often: it stays small, and draws nothing that another copy would draw too."""
    if turns < 2:
        return True
    nodes = list(walk.nodes(body))
    plain = all(node.domain in ("", "ai.onnx") and node.op_type not in MAY_DRAW for node in nodes)
    return plain and turns * len(nodes) <= MOST_NODES


def _empty(declared: onnx.ValueInfoProto) -> onnx.TensorProto | None:
    """What a Loop stacks that never runs; None where the sizes are not known."""
    dims = values.dims(declared.type)
    sizes = [dim for dim in dims or () if isinstance(dim, int)]
    elem = declared.type.tensor_type.elem_type
    if dims is None or len(sizes) != len(dims) or not elem:
        return None
    return onnx.helper.make_tensor("", elem, [0, *sizes], b"", raw=True) if elem != onnx.TensorProto.STRING else None


class _Work:
    """Turns written one after the other.

    Attributes:
        names: The names in use.
        unread: What the last Loop's turns make and nothing may read: their conditions.
    """

    def __init__(self, model: onnx.ModelProto, opset: int) -> None:
        self._model = model
        self._opset = opset
        training = [graph for part in model.training_info for graph in (part.initialization, part.algorithm)]
        self.names = Names(model.graph, *training)
        graphs = walk.graphs(model.graph)
        self._defined = Counter(name for graph in graphs for name in walk.defined_names(graph))
        self.unread: set[str] = set()

    def written(self, graph: onnx.GraphProto, known: _Known) -> list[onnx.NodeProto]:
        """The nodes of a Loop's turns for the graph around it. Changes what the graph declares."""
        self.unread = set()
        body, count = known.body, len(known.node.input) - 2
        finals, stacks = known.node.output[:count], known.node.output[count:]
        now = list(known.node.input[2:])
        rows: list[list[str]] = []
        once: dict[str, str] = {}
        given: set[str] = set()
        nodes: list[onnx.NodeProto] = []
        for turn in range(known.turns):
            table = dict(zip([value.name for value in body.input[2:]], now, strict=True))
            nodes += self._told(body, turn, table)
            self._name(body, turn, table, once)
            if turn == known.turns - 1:
                given = _finals(body, finals, table, once)
            nodes += splice(self._model, graph, known.node, _copy(body, turn, once), table, self.names)
            results = [table.get(value.name, value.name) for value in body.output]
            self.unread.add(results[0])
            now = results[1 : 1 + count]
            rows.append(results[1 + count :])
        for source, output in zip(now, finals, strict=False):
            if output and output not in given:
                nodes.append(copied(source, output, self.names))
        for place, output in enumerate(stacks):
            if output:
                nodes += self._stacked(known, [row[place] for row in rows], output, body.output[1 + count + place])
        return nodes

    def _told(self, body: onnx.GraphProto, turn: int, table: dict[str, str]) -> Iterable[onnx.NodeProto]:
        """Constants for the number of the turn and the condition, where the body reads them. Changes the table."""
        read = {name for node in body.node for name in walk.reads(node)} | {value.name for value in body.output}
        for declared, number in zip(body.input[:2], (turn, 1), strict=True):
            if declared.name in read:
                tensor = onnx.numpy_helper.from_array(_number(declared, number))
                table[declared.name] = self.names.fresh(f"{declared.name}_{turn}")
                yield self._constant(table[declared.name], tensor)

    def _constant(self, name: str, tensor: onnx.TensorProto) -> onnx.NodeProto:
        return onnx.helper.make_node("Constant", [], [name], name=self.names.fresh(f"{name}_node"), value=tensor)

    def _name(self, body: onnx.GraphProto, turn: int, table: dict[str, str], once: dict[str, str]) -> None:
        """Give what a turn makes its names; constants are made by the first turn alone. Changes the tables."""
        fixed = _fixed(body)
        deep = (walk.defined_names(inner) for inner in walk.nested(body.node))
        names = walk.defined_names(body).union(*deep) - {value.name for value in body.input}
        for name in sorted(names):
            if name in once:
                continue
            own = turn == 0 and self._defined[name] < 2
            table[name] = name if own else self.names.fresh(name)
            if name in fixed:
                once[name] = table[name]
        table.update(once)

    def _stacked(
        self, known: _Known, row: list[str], output: str, declared: onnx.ValueInfoProto
    ) -> Iterable[onnx.NodeProto]:
        """The nodes that stack the results of the turns."""
        if not row:
            tensor = _empty(declared)
            assert tensor is not None
            yield self._constant(output, tensor)
            return
        parts = [self.names.fresh(f"{output}_{turn}") for turn in range(len(row))] if len(row) > 1 else [output]
        more = [] if self._opset < AXES_ARE_AN_INPUT else [self.names.fresh(f"{output}_axis")]
        if more:
            yield self._constant(more[0], onnx.helper.make_tensor("", onnx.TensorProto.INT64, [1], [0]))
        for source, part in zip(row, parts, strict=True):
            node = onnx.helper.make_node("Unsqueeze", [source, *more], [part], name=self.names.fresh(f"{part}_row"))
            if not more:
                node.attribute.append(onnx.helper.make_attribute("axes", [0]))
            yield node
        if len(row) > 1:
            name = self.names.fresh(f"{label(known.node)}_{declared.name}")
            yield onnx.helper.make_node("Concat", parts, [output], name=name, axis=0)


def _fixed(body: onnx.GraphProto) -> set[str]:
    """The weights and constants of a body."""
    held = {tensor.name for tensor in body.initializer} | {sparse.values.name for sparse in body.sparse_initializer}
    return held.union(*(node.output for node in body.node if values.is_constant_node(node)))


def _finals(body: onnx.GraphProto, finals: Iterable[str], table: dict[str, str], once: dict[str, str]) -> set[str]:
    """Let what the last turn makes have the names of the Loop's results. Changes the table; returns the names given."""
    made = {name for node in body.node for name in node.output}
    given: dict[str, str] = {}
    for value, output in zip(body.output[1:], finals, strict=False):
        if output and value.name in made and value.name not in once and value.name not in given:
            given[value.name] = output
    table.update(given)
    return set(given.values())


def _copy(body: onnx.GraphProto, turn: int, once: dict[str, str]) -> onnx.GraphProto:
    """A body for one turn: later ones without the constants, and with no symbols, which may be other sizes by then."""
    copy = onnx.GraphProto()
    copy.CopyFrom(body)
    inputs = {value.name for value in body.input}
    keep(copy.value_info, lambda value: value.name not in inputs)
    if turn:
        for field in ("initializer", "sparse_initializer"):
            copy.ClearField(field)
        keep(copy.node, lambda node: not values.is_constant_node(node))
        keep(copy.quantization_annotation, lambda entry: entry.tensor_name not in once)
        keep(copy.value_info, lambda value: value.name not in once)
        for value in copy.value_info:
            for tensor in tensor_types(value.type):
                for dim in tensor.shape.dim:
                    dim.ClearField("dim_param")
    return copy
