"""Which value of an exported model is which value of the torch module it came from."""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from graphkit.graph.module_paths import fx_call, fx_node, lineage, module_path
from graphkit.graph.values import is_constant_node
from graphkit.semantics.kinds import REGROUPS, SHAPE_ONLY
from graphkit.torch_export.mark import MARKS_KEY
from graphkit.verify.bisect.match_outputs import told_apart

if TYPE_CHECKING:
    import onnx

    from graphkit.graph.index import GraphIndex
    from graphkit.model import Model
    from graphkit.verify.bisect.fx_side import FxSide
    from graphkit.verify.bisect.module_side import Call, ModuleSide
    from graphkit.verify.bisect.onnx_side import OnnxSide


def match_fx(index: GraphIndex, side: FxSide) -> dict[str, str]:
    """Value -> fx node, from the fx nodes that the dynamo exporter wrote into the file.

    The names agree where the module is exported with the same shapes. A dynamic export numbers its nodes otherwise, so a
    name counts only where operator and module agree too; else the n-th node of an operator in a module is the n-th there.

    An operator with several results (min along a dim, unbind, LSTM, cond) has a ``getitem`` node for each of them that is
    used; the operator itself is no tensor, and never a twin.
    """
    from graphkit.verify.bisect.fx_side import path_of

    theirs = {n.name: n for n in side.graph.nodes if n.op == "call_function"}
    mine: dict[str, tuple[str, str | None]] = {}
    for node in index.nodes:
        if (found := fx_node(node)) is not None:
            mine.setdefault(found[0], (found[1], module_path(node)))
    calls = {name: fx_call(n.format_node()) for name, n in theirs.items()}
    kinds = {name: (call[1], path_of(theirs[name])) for name, call in calls.items() if call is not None}
    twins = {name: name for name, kind in mine.items() if kinds.get(name, (None,))[0] == kind[0]}
    same = len(twins) == len(mine) and all(_alike(kinds[name], mine[name]) for name in twins)
    if not same:
        twins = _by_ordinal(mine, kinds)
    parts = _results(theirs)
    # A mark, or graphkit.rename, gave the result another name: the last node of an fx node makes it.
    renamed = {f[0]: n.output[0] for n in index.nodes if (f := fx_node(n)) is not None and f[0] not in index.producer}
    matched: dict[str, str] = {}
    for node in index.nodes:
        if (found := fx_node(node)) is None:
            if same:
                matched.update(_split(node, parts))
        elif (twin := twins.get(found[0])) in parts:
            matched.update(_parts(node, found[0], parts[twin], index.outputs, named=same))
        elif twin is not None:
            own = {found[0], renamed.get(found[0])} if len(node.output) == 1 else {found[0]}
            free = index.outputs if len(node.output) == 1 else ()  # a graph output may be called anything
            matched.update((name, twin) for name in node.output if name and (name in own or name in free))
    once = {twin: value for value, twin in matched.items() if hasattr(theirs[twin].meta.get("val"), "numel")}
    return {value: twin for value, twin in matched.items() if once.get(twin) == value}


def _results(nodes: Mapping[str, Any]) -> dict[str, dict[int, str]]:
    """fx node with several results -> number of a result -> the getitem node that is this result."""
    found: dict[str, dict[int, str]] = {
        name: {} for name, node in nodes.items() if isinstance(node.meta.get("val"), (tuple, list))
    }
    for name, node in nodes.items():
        if node.target is operator.getitem and str(node.args[0]) in found and isinstance(node.args[1], int):
            found[str(node.args[0])].setdefault(node.args[1], name)
    return found


def _parts(
    node: onnx.NodeProto, call: str, parts: dict[int, str], outputs: Collection[str], *, named: bool
) -> dict[str, str]:
    """Outputs of a node -> the results that they are, where the fx node behind it has several.

    torch calls result 2 of ``lstm`` ``lstm__2``, the node that makes it ``node_lstm__2``, and then the value after its
    getitem node. A node that makes several results has the name of its last one, and makes them in their order; what
    it makes before and nobody called after a getitem node is on the way to a result, as the states of a GRU at every step
    are before they are transposed.

    Args:
        node: The node.
        call: The fx node it came from, and
        parts: the results of its twin.
        outputs: Outputs of the graph, which may be called anything.
        named: Whether the names of getitem nodes are those of the twin too.
    """
    last = _numbered(node.name, f"node_{call}__")
    found = {}
    for at, name in enumerate(node.output):
        number = _numbered(name, f"{call}__")
        if number is None and last is not None:
            result = at == last or (at < last and (name.startswith("getitem") or name in outputs))
            number = last if len(node.output) == 1 else at if result else None
        elif number is None and named:
            number = next((number for number, part in parts.items() if part == name), None)
        if name and number in parts:
            found[name] = parts[number]
    return found


def _numbered(name: str, prefix: str) -> int | None:
    number = name.removeprefix(prefix)
    return int(number) if number != name and number.isdecimal() else None


_SPLIT = re.compile(r"(?P<call>\w+)_split_(?P<number>\d+)")


def _split(node: onnx.NodeProto, parts: Mapping[str, dict[int, str]]) -> dict[str, str]:
    """Outputs of a Split that torch's optimizer made of SplitToSequence: it has no metadata but the name of the fx node."""
    found = {}
    for name in node.output if node.op_type == "Split" else ():
        match = _SPLIT.fullmatch(name)
        if match and (part := parts.get(match["call"], {}).get(int(match["number"]))) is not None:
            found[name] = part
    return found


def _alike(kind: tuple[str, str | None], other: tuple[str, str | None]) -> bool:
    return kind[0] == other[0] and (kind[1] or "") == (other[1] or "")


def _by_ordinal(mine: dict[str, tuple[str, str | None]], theirs: dict[str, tuple[str, str | None]]) -> dict[str, str]:
    """The n-th of a kind is the n-th of the same kind there, where both sides have equally many."""
    groups: dict[tuple[str, str], tuple[list[str], list[str]]] = {}
    for at, table in enumerate((mine, theirs)):
        for name, (target, path) in table.items():
            groups.setdefault((target, path or ""), ([], []))[at].append(name)
    return {a: b for own, other in groups.values() if len(own) == len(other) for a, b in zip(own, other, strict=True)}


def match_modules(
    side: ModuleSide, paths: set[str], candidate: OnnxSide, positions: Mapping[str, int]
) -> dict[str, str]:
    """Output of a submodule -> value, by the module paths of nodes: what leaves a module's nodes is what it returns.

    - A module that gives back what it was given (Dropout, Identity in eval mode) has the value of what it was given.
    - The second call of a module has its own nodes; they are taken in the order of the calls.
    - Where BatchNormalization was folded into the convolution before it and left no node, the convolution's value is
      what the normalisation returns, and the convolution's own output is gone.
    - Several outputs of one call are told apart by their numbers (``told_apart``), or not at all.
    - What a Transpose behind the module takes and is laid out otherwise is not what the module returns: a Transpose at
      its end was merged with that one.
    - The outputs of the whole are those of the graph.
    - Marks are values of that name.

    A value may be the output of several modules: of the last one in a container, and of the container.

    Args:
        side: The module.
        paths: The paths of its submodules.
        candidate: The model.
        positions: Output of the model -> which output of the whole it is.
    """
    index = candidate.index
    exits = _exits(index, paths)
    calls: dict[str, list[Call]] = {}
    for call in side.calls:
        if call.kind != "mark":
            calls.setdefault(call.path, []).append(call)
    folded = _folded(side.calls, exits)
    for conv, norm in folded.items():
        exits[norm] = exits.pop(conv)
    homeless = _homeless(index, paths)
    matched: dict[str, str] = {}
    several: list[tuple[list[str], list[str]]] = []
    for path, made in calls.items():
        keys = [key for call in made if not call.same for key in call.keys]
        found = sorted(positions, key=positions.__getitem__) if not path else exits.get(path, [])
        if path and any(len(call.keys) > 1 for call in made):
            several.append((keys, _with_homeless(index, found, homeless.get(path, set()))))
        elif len(found) == len(keys):
            pairs = {key: name for key, name in zip(keys, found, strict=True) if name in index.producer}
            matched.update({k: n for k, n in pairs.items() if not path or not _rearranged(candidate, side, k, n)})
    several = sorted((one for one in several if one[1]), key=lambda one: max(index.producer[name] for name in one[1]))
    if several:
        matched.update(told_apart(several, candidate, side))
    matched.update(_marked(index, side, candidate.model))
    for call in side.calls:
        if call.same and call.follows in matched and len(call.keys) == 1:
            matched.setdefault(call.keys[0], matched[call.follows])
    return matched


_LAYOUT = frozenset(["Transpose", *REGROUPS])


def _rearranged(candidate: OnnxSide, side: ModuleSide, key: str, value: str) -> bool:
    """Whether a value has as many elements as an output, in another shape, because a Transpose at the module's end is gone.

    It is, where no such node makes the value, or where it goes to such nodes only; else the module's own does it wrong.
    """
    mine, its = candidate.shapes().get(value), side.shapes()[key]
    if mine is None or mine == its or math.prod(mine) != math.prod(its):
        return False
    index = candidate.index
    readers = {index.nodes[position].op_type for position in index.consumers.get(value, ())}
    return index.nodes[index.producer[value]].op_type not in _LAYOUT or (bool(readers) and readers <= _LAYOUT)


def values_first(matched: dict[str, str]) -> dict[str, str]:
    """Value -> the innermost of the outputs that it is, which torch gives first."""
    twins: dict[str, str] = {}
    for key, value in matched.items():
        twins.setdefault(value, key)
    return twins


def _marked(index: GraphIndex, side: ModuleSide, model: Model) -> dict[str, str]:
    text = next((entry.value for entry in model.proto.metadata_props if entry.key == MARKS_KEY), "{}")
    try:
        held = json.loads(text)
    except (ValueError, RecursionError):  # also an integer of more digits than Python reads
        held = {}
    renamed: dict[str, Any] = held if isinstance(held, dict) else {}
    marks = {call.path: call.keys[0] for call in side.calls if call.kind == "mark" and not call.number}
    return {key: renamed.get(m, m) for m, key in marks.items() if renamed.get(m, m) in index.producer}


def _folded(calls: Iterable[Call], exits: dict[str, list[str]]) -> dict[str, str]:
    """Convolution or linear layer -> the BatchNorm behind it that has no node of its own."""
    made_by = {key: call for call in calls for key in call.keys}
    found = {}
    for call in made_by.values():
        before = made_by.get(call.follows or "")
        if before is not None and "BatchNorm" in call.kind and not exits.get(call.path) and exits.get(before.path):
            found[before.path] = call.path
    return found


_COUNTED = re.compile(r"(?P<name>.+)_(?P<number>\d+)")


def _exits(index: GraphIndex, paths: set[str]) -> dict[str, list[str]]:
    """Module path -> the values that its nodes make and that others read, or that are outputs of the graph, in order.

    The nodes of a second call, whose path the TorchScript exporter writes as ``relu_1``, count as a group of their own.
    """
    groups: list[set[str]] = []
    first: dict[str, int] = {}
    members: dict[str, list[int]] = {}
    for position, node in enumerate(index.nodes):
        path = module_path(node)
        inside = set(lineage(path)) if path is not None and not is_constant_node(node) else set()
        groups.append(inside)
        for group in inside:
            first.setdefault(group, position)
            members.setdefault(group, []).append(position)
    found: dict[str, list[str]] = {}
    for group in sorted(members, key=first.__getitem__):
        clean = called_path(group, paths)
        if clean is None:
            continue
        for position in members[group]:
            for name in index.nodes[position].output:
                outside = any(group not in groups[reader] for reader in index.consumers.get(name, ()))
                if name and (outside or name in index.outputs) and not _is_shape(index, name):
                    found.setdefault(clean, []).append(name)
    return found


def _homeless(index: GraphIndex, paths: set[str]) -> dict[str, set[int]]:
    """Module path -> nodes without a path that read values of the module.

    torch's optimizer writes none for the Split that it makes of a chunk.
    """
    found: dict[str, set[int]] = {}
    for position, node in enumerate(index.nodes):
        if module_path(node) is not None or is_constant_node(node):
            continue
        makers = [index.nodes[index.producer[name]] for name in node.input if name in index.producer]
        groups = {group for maker in makers if (path := module_path(maker)) is not None for group in lineage(path)}
        for clean in {clean for group in groups if (clean := called_path(group, paths)) is not None}:
            found.setdefault(clean, set()).add(position)
    return found


def _with_homeless(index: GraphIndex, found: list[str], nodes: set[int]) -> list[str]:
    """The exits of a module that nodes without a path belong to as well."""
    own = [name for name in found if not nodes.issuperset(index.consumers.get(name, ())) or name in index.outputs]
    return own + [name for position in sorted(nodes) for name in index.nodes[position].output if name]


def _is_shape(index: GraphIndex, name: str) -> bool:
    """Whether a value is a shape that is computed along the way, which no module returns."""
    return index.nodes[index.producer[name]].op_type in SHAPE_ONLY


def called_path(path: str, paths: set[str]) -> str | None:
    """The module behind a path in a file, in which a second call has a suffix: ``block.relu_1`` -> ``block.relu``."""
    if path in paths:
        return path
    parent = ""
    for component in path.split("."):
        joined = f"{parent}.{component}" if parent else component
        counted = _COUNTED.fullmatch(joined)
        if joined in paths or any(known.startswith(joined + ".") for known in paths):
            parent = joined
        elif counted is not None and counted["name"] in paths:
            parent = counted["name"]
        else:
            return None
    return parent
