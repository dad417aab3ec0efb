"""An If whose condition is constant is the branch that runs: at any depth, until none is left."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import onnx

from graphkit.edit.prune import prune
from graphkit.edit.splicing import constant_number, copied, replace_known, splice
from graphkit.graph import walk
from graphkit.graph.names import Names, title
from graphkit.graph.opset import opset_of
from graphkit.graph.scopes import Scope


class _Taken(NamedTuple):
    """An If and the branch that runs."""

    node: onnx.NodeProto
    branch: onnx.GraphProto
    other: onnx.GraphProto


def resolve_branches(model: onnx.ModelProto) -> list[str]:
    """Replace every If whose condition is constant by the branch that runs. Changes the model.

    Constants are initializers that are no inputs, Constant nodes, and what small arithmetic makes of them. The values of
    the branch keep their names where no other branch has them; its outputs get those of the If. What only the condition or
    the other branch needed goes.

    Returns:
        What to call each If that is gone and the branch that it was, ``If 'y' (then_branch)``.

    Scope: main graph and bodies at any depth; not functions.
    Cost: O(graph), and again for each round in which a condition became constant; weights are not read.
    """
    resolved: list[str] = []
    while found := _round(model):
        resolved += found
    return resolved


def _round(model: onnx.ModelProto) -> list[str]:
    kinds = {node.op_type for node in walk.nodes(model.graph)}
    if "If" not in kinds:
        return []
    opset, done = opset_of(model), list[str]()
    defined = Counter(name for graph in walk.graphs(model.graph) for name in walk.defined_names(graph))
    names = Names(model.graph)
    unread: set[str] = set()

    def written(graph: onnx.GraphProto, known: _Taken) -> list[onnx.NodeProto]:
        node = known.node
        which = next(a.name for a in node.attribute if a.g is known.branch or a.g == known.branch)
        done.append(f"{title(node)} ({which})")
        unread.update((*node.input, *walk.free_names(known.other)))
        return _spliced(model, graph, known, defined, names)

    replace_known(model, names, lambda node, scope: _taken(node, scope, opset), written)
    prune(model, sorted(unread))
    return done


def _taken(node: onnx.NodeProto, scope: Scope, opset: int) -> _Taken | None:
    if node.op_type != "If" or node.domain not in ("", "ai.onnx") or len(node.input) != 1:
        return None
    value = constant_number(scope, node.input[0], opset)
    if value is None:
        return None
    branches = {attribute.name: attribute.g for attribute in node.attribute if attribute.HasField("g")}
    then, other = branches.get("then_branch"), branches.get("else_branch")
    if then is None or other is None:
        return None
    return _Taken(node, then, other) if value else _Taken(node, other, then)


def _spliced(
    model: onnx.ModelProto, graph: onnx.GraphProto, taken: _Taken, defined: Counter[str], names: Names
) -> list[onnx.NodeProto]:
    """The nodes of a branch in the graph around it, which gets the branch's weights, types and annotations."""
    body = onnx.GraphProto()
    body.CopyFrom(taken.branch)
    own = walk.defined_names(body)
    inner = own.union(*(walk.defined_names(deep) for deep in walk.nested(body.node)))
    table = {name: names.fresh(name) for name in sorted(inner) if defined[name] > 1}
    copies: list[tuple[str, str]] = []
    given: set[str] = set()
    for value, output in zip(taken.branch.output, taken.node.output, strict=False):
        if not output:
            continue
        if value.name in own and value.name not in given:
            table[value.name] = output
            given.add(value.name)
        else:
            copies.append((value.name, output))
    nodes = splice(model, graph, taken.node, body, table, names)
    return [*nodes, *(copied(table.get(source, source), output, names) for source, output in copies)]
