"""Groups of nodes that a drawing opens and closes: torch modules, prefixes of names, or runs of the graph's order."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import onnx

from graphkit.errors import InvalidGraphError
from graphkit.graph.module_paths import calls_around, module_classes
from graphkit.graph.names import label
from graphkit.graph.order import topological_order

MOST_BOXES = 48
"""Boxes that a group shows at most when it is opened."""

DEEPEST = 32
"""Levels of modules or prefixes that make groups; what lies deeper counts with the last of them."""

Path = tuple[str, ...]


@dataclass
class Group:
    """One group of the tree.

    Attributes:
        name: What to write on it.
        path: The module's path, or the prefix; "" for a run of nodes.
        kind: The module's class; "" where the file does not say.
        children: Groups, and positions of nodes.
    """

    name: str
    path: str = ""
    kind: str = ""
    children: list[Group | int] = field(default_factory=list)


def group_nodes(nodes: Sequence[onnx.NodeProto], hidden: Collection[int] = ()) -> tuple[Group, str]:
    """The tree of groups of a graph's nodes, and what it was made from: "modules", "names" or "order".

    Args:
        nodes: The nodes.
        hidden: Positions of nodes that are in no group.

    Cost: O(nodes).
    """
    order = [position for position in _order(nodes) if position not in hidden]
    paths, source = _paths(nodes)
    root = _tree(nodes, paths, order)
    _simplified(root)
    _bounded(root, nodes)
    return root, source


def _order(nodes: Sequence[onnx.NodeProto]) -> Sequence[int]:
    try:
        return topological_order(nodes)
    except InvalidGraphError:  # a cycle is drawn too: as it stands in the file
        return range(len(nodes))


def _paths(nodes: Sequence[onnx.NodeProto]) -> tuple[list[Path], str]:
    """The path of each node, and where it comes from. At least a quarter of the nodes have to say one."""
    paths = [_module(node) for node in nodes]
    if sum(map(bool, paths)) * 4 >= len(nodes) > 0:
        return paths, "modules"
    for mark in ("/", "."):
        paths = [tuple(filter(None, label(node).split(mark)))[:-1][:DEEPEST] for node in nodes]
        if sum(map(bool, paths)) * 2 >= len(nodes) > 0 and len(set(paths)) > 1:
            return paths, "names"
    return [()] * len(nodes), "order"


def _module(node: onnx.NodeProto) -> Path:
    """The names of the modules around a node, outermost first; "#2" tells a module's second call."""
    if not may_have_module(node):
        return ()
    return tuple(
        path.rpartition(".")[2] + (f"#{number}" if number is not None else "")
        for path, number in calls_around(node)
        if path
    )[:DEEPEST]


def may_have_module(node: onnx.NodeProto) -> bool:
    """Whether a look at the node's metadata or name can give a module at all; for graphs of 100,000 nodes."""
    return bool(node.metadata_props) or node.name.startswith("/")


def _tree(nodes: Sequence[onnx.NodeProto], paths: Sequence[Path], order: Sequence[int]) -> Group:
    root = Group("")
    groups: dict[Path, Group] = {(): root}
    for position in order:
        path = paths[position]
        if path not in groups:
            _add(groups, path, module_classes(nodes[position]))
        groups[path].children.append(position)
    return root


def _add(groups: dict[Path, Group], path: Path, classes: dict[str, str]) -> None:
    """Make the group of a path, and those around it that are not there yet."""
    for depth in range(1, len(path) + 1):
        known = path[:depth]
        if known not in groups:
            dotted = ".".join(part.partition("#")[0] for part in known)
            kind = classes.get(dotted, "").rpartition(".")[2]
            groups[known] = Group(path[depth - 1], ".".join(known), kind)
            groups[known[:-1]].children.append(groups[known])


def _simplified(root: Group) -> None:
    """A group of one node is the node; a group of one group is the inner one, by both names."""
    for group in _inner_first(root):
        group.children = [_alone(child) for child in group.children]
    for group in _inner_first(root):
        for child in group.children:
            if isinstance(child, Group) and child.name.partition("#")[0].isdecimal() and group.name:
                child.name = f"{group.name.rpartition('.')[2]}.{child.name}"


def _alone(child: Group | int) -> Group | int:
    while isinstance(child, Group) and len(child.children) == 1:
        only = child.children[0]
        if isinstance(only, Group):
            only.name = f"{child.name}.{only.name}"
        child = only
    return child


def _bounded(root: Group, nodes: Sequence[onnx.NodeProto]) -> None:
    """No group has more than ``MOST_BOXES`` children: runs of its own nodes become groups, then runs of everything."""
    for group in _inner_first(root):
        if len(group.children) > MOST_BOXES:
            runs = _runs(group.children, nodes)
            if 1 < len(runs) < len(group.children):
                group.children = runs
        while len(group.children) > MOST_BOXES:
            group.children = _cut(group.children, nodes)


def _runs(children: Sequence[Group | int], nodes: Sequence[onnx.NodeProto]) -> list[Group | int]:
    """Nodes that follow each other, with no group between them, as groups."""
    found: list[Group | int] = []
    run: list[Group | int] = []
    for child in [*children, None]:
        if isinstance(child, int):
            run.append(child)
            continue
        found += [_run(run, nodes)] if len(run) > 2 else run
        run = []
        if child is not None:
            found.append(child)
    for made in found:
        while isinstance(made, Group) and len(made.children) > MOST_BOXES:
            made.children = _cut(made.children, nodes)
    return found


def _cut(children: Sequence[Group | int], nodes: Sequence[onnx.NodeProto]) -> list[Group | int]:
    """The same in pieces of equal size, each a group."""
    pieces = math.ceil(len(children) / MOST_BOXES)
    size = math.ceil(len(children) / pieces)
    starts = range(0, len(children), size)
    return [
        _run(children[at : at + size], nodes, f", {part} of {len(starts)}") for part, at in enumerate(starts, start=1)
    ]


def _run(children: Sequence[Group | int], nodes: Sequence[onnx.NodeProto], which: str = "") -> Group:
    first, last = _name(children[0], nodes, 0), _name(children[-1], nodes, -1)
    return Group(f"{first} … {last}{which}", children=list(children))


def _name(child: Group | int, nodes: Sequence[onnx.NodeProto], end: int) -> str:
    while isinstance(child, Group):
        if child.path:
            return child.name
        child = child.children[end]
    return str(nodes[child].op_type)


def _inner_first(root: Group) -> list[Group]:
    """Every group, inner ones before those around them."""
    found, waiting = [], [root]
    while waiting:
        group = waiting.pop()
        found.append(group)
        waiting += [child for child in group.children if isinstance(child, Group)]
    return found[::-1]
