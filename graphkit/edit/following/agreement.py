"""Values that must agree in size: where one varies and the other is made of constants, the other is given its size."""

from __future__ import annotations

from collections.abc import Callable

import onnx

from graphkit.edit.following.context import EXPORT, Following, Kind, Want
from graphkit.edit.following.growing import grow
from graphkit.graph.values import attribute_value
from graphkit.semantics.elementwise import BROADCASTING
from graphkit.semantics.kinds import NORMS, PRODUCTS, RECURRENT
from graphkit.shapes.points import Dim

HAVE_WEIGHTS = frozenset((*PRODUCTS, *NORMS, "BatchNormalization"))
"""Operators whose constants are weights: that they are all alike or rise evenly says nothing."""

RECURRENT_WEIGHTS = (1, 2, 3, 7)
"""Their inputs W, R, B and P are weights; initial states are not, and are often zeros of the batch's size."""

Columns = list[tuple[int, int]]
"""(position of an input, axis of it) of axes that must agree."""


def agree(state: Following, node: onnx.NodeProto) -> None:
    """Give inputs of a node that are made of constants the sizes that its other inputs have. Changes the node."""
    columns, broadcasts = _columns(state, node)
    wants: dict[int, dict[int, Want]] = {}
    for column in columns:
        _compare(state, node, column, wants, broadcasts=broadcasts)
    for position, own in wants.items():
        name = node.input[position]
        made = None if _is_weight(state, node, position) else grow(state, name, own)
        if made is None:
            _refuse(state, node, position, own)
        elif made != name:
            node.input[position] = made
            axes = ", ".join(map(str, own))
            text = f"joins values whose sizes match now only: {name!r} is made of constants"
            done = f"its axes {axes} follow {next(iter(own.values())).value!r} now"
            state.find("follows", node, text, value=name, axis=min(own), done=done)


def _is_weight(state: Following, node: onnx.NodeProto, position: int) -> bool:
    """Whether an input is a weight of the file, which has its size whatever its numbers are."""
    may_be = node.op_type in HAVE_WEIGHTS or (node.op_type in RECURRENT and position in RECURRENT_WEIGHTS)
    return may_be and state.tensor(node.input[position]) is not None


def _compare(
    state: Following, node: onnx.NodeProto, column: Columns, wants: dict[int, dict[int, Want]], *, broadcasts: bool
) -> None:
    dims: list[tuple[int, int, Dim]] = []
    for position, axis in column:
        known = state.get(node.input[position]).dims
        if known is not None:
            dims.append((position, axis, known[axis]))
    moving = [entry for entry in dims if entry[2].varies]
    if not moving:
        return
    position, axis, lead = max(moving, key=lambda entry: entry[2].base)
    for other, place, dim in dims:
        if dim.sizes == lead.sizes or not dim.sizes or (broadcasts and dim.base == 1 and not dim.varies):
            continue
        if dim.base == lead.base and not dim.varies:
            wants.setdefault(other, {})[place] = Want(lead.sizes, node.input[position], axis, factors=lead.factors)
            continue
        first, second = node.input[position], node.input[other]
        tie = f"joins axis {axis} of {first!r} with axis {place} of {second!r}"
        if dim.varies and dim.base == lead.base:
            tie += ", which must agree and vary by two sizes"
            remedy = "give axes that must agree one name"
        else:
            tie += f": their sizes match now only ({lead.base} beside {dim.base})"
            remedy = EXPORT
        state.find("held", node, tie, value=second, axis=place, remedy=remedy)


def _refuse(state: Following, node: onnx.NodeProto, position: int, own: dict[int, Want]) -> None:
    name = node.input[position]
    axis, want = next(iter(own.items()))
    kind, what, remedy = _reason(state, name)
    if _is_weight(state, node, position):
        what, remedy = "a weight", "the net is made for that size"
    size = want.sizes[0]
    text = (
        f"joins {want.value!r} with {name!r}, {what} whose axis {axis} has the size {size}: their sizes match now only"
    )
    state.find(kind, node, text, value=name, axis=axis, remedy=remedy)


def _reason(state: Following, name: str) -> tuple[Kind, str, str]:
    """(kind, what it is, what to do) for a value that does not follow."""
    if state.tensor(name) is not None:
        return "property", "a table", f"{EXPORT}, or interpolate the table"
    for value, maker in state.behind(name):
        if maker is None and state.tensor(value) is None and not state.get(value).constant:
            return "held", f"which follows from the input {value!r}", f"free the axis of {value!r} under the same name"
    return "held", "made of constants", EXPORT


def _columns(state: Following, node: onnx.NodeProto) -> tuple[list[Columns], bool]:
    """(axes that must agree, whether one of size 1 agrees with all)."""
    ranks = [len(state.get(name).dims or ()) if name else 0 for name in node.input]
    if not ranks:
        return [], False
    if node.op_type in BROADCASTING:
        return (_aligned(ranks, max(ranks)), True) if len(ranks) > 1 else ([], False)
    rule = _RULES.get(node.op_type)
    return (rule(state, node, ranks), node.op_type in _BROADCAST_TOO) if rule is not None else ([], False)


def _concat(_: Following, node: onnx.NodeProto, ranks: list[int]) -> list[Columns]:
    axis = attribute_value(node, "axis", 0) % max(ranks[0], 1)
    return [[(p, a) for p in range(len(ranks)) if a < ranks[p]] for a in range(ranks[0]) if a != axis]


def _gemm(_: Following, node: onnx.NodeProto, ranks: list[int]) -> list[Columns]:
    if ranks[:2] != [2, 2]:
        return []
    a = 0 if attribute_value(node, "transA", 0) else 1
    b = 1 if attribute_value(node, "transB", 0) else 0
    return [[(0, a), (1, b)]]


def _conv(_: Following, node: onnx.NodeProto, ranks: list[int]) -> list[Columns]:
    if min(ranks[:2]) < 2 or attribute_value(node, "group", 1) != 1:
        return []
    return [[(0, 1), (1, 1 if node.op_type == "Conv" else 0)]]


def _layer_norm(_: Following, node: onnx.NodeProto, ranks: list[int]) -> list[Columns]:
    axis = attribute_value(node, "axis", -1) % max(ranks[0], 1)
    return [column for column in _aligned(ranks[:2], ranks[0]) if column[0][1] >= axis and len(column) > 1]


def _channels(_: Following, node: onnx.NodeProto, ranks: list[int]) -> list[Columns]:
    del node
    return [[(0, 1), (1, 0)]] if ranks[0] > 1 else []


def _elements(state: Following, node: onnx.NodeProto, ranks: list[int]) -> list[Columns]:
    """GatherElements and ScatterElements: indices as long as the data but for the axis, and updates as indices."""
    axis = attribute_value(node, "axis", 0) % max(ranks[0], 1)
    between = [[(0, a), (1, a)] for a in range(ranks[0]) if a != axis and _same(state, node, a)]
    if node.op_type == "ScatterElements":
        between += [[(1, a), (2, a)] for a in range(ranks[1])]
    return between


def _scatter_nd(_: Following, node: onnx.NodeProto, ranks: list[int]) -> list[Columns]:
    del node
    return [[(1, a), (2, a)] for a in range(min(ranks[1] - 1, ranks[2]))]


def _same(state: Following, node: onnx.NodeProto, axis: int) -> bool:
    """Whether data and indices are as long along an axis: the indices may be shorter."""
    data, indices = (state.get(name).dims or () for name in node.input[:2])
    return axis < len(indices) and data[axis].base == indices[axis].base


def _aligned(ranks: list[int], rank: int) -> list[Columns]:
    return [[(p, a - rank + r) for p, r in enumerate(ranks) if a - rank + r >= 0] for a in range(rank)]


def _matmul(_: Following, node: onnx.NodeProto, ranks: list[int]) -> list[Columns]:
    del node
    if not min(ranks[:2]):
        return []
    left, right = ranks[:2]
    inner = [(0, left - 1), (1, max(right - 2, 0))]
    outer = _aligned([max(left - 2, 0), max(right - 2, 0)], max(left, right, 2) - 2)
    return [inner, *outer]


def _recurrent(_: Following, node: onnx.NodeProto, ranks: list[int]) -> list[Columns]:
    if ranks[0] != 3:
        return []
    by_batch = attribute_value(node, "layout", 0)
    batch = 0 if by_batch else 1
    given = [p for p in (5, 6) if p < len(ranks) and node.input[p] and ranks[p] == 3]
    states = [(p, 0 if by_batch else 1) for p in given]
    lengths = [(4, 0)] if len(ranks) > 4 and node.input[4] and ranks[4] == 1 else []
    if ranks[1:3] != [3, 3]:
        return [[(0, batch), *lengths, *states]]
    directions = [(1, 0), (2, 0), *((p, 1 if by_batch else 0) for p in given)]
    hidden = [(2, 2), *((p, 2) for p in given)]
    return [[(0, batch), *lengths, *states], [(0, 2), (1, 2)], directions, hidden]


def _einsum(_: Following, node: onnx.NodeProto, ranks: list[int]) -> list[Columns]:
    terms = attribute_value(node, "equation", "").replace(" ", "").split("->")[0].split(",")
    columns: dict[str, Columns] = {}
    for position, (term, rank) in enumerate(zip(terms, ranks, strict=False)):
        head, dots, tail = term.partition("...")
        if not dots and len(term) != rank:
            continue
        for axis, letter in enumerate(head):
            columns.setdefault(letter, []).append((position, axis))
        for axis, letter in enumerate(tail):
            columns.setdefault(letter, []).append((position, rank - len(tail) + axis))
        for axis in range(len(head), rank - len(tail) if dots else len(head)):
            columns.setdefault(f"...{rank - len(tail) - axis}", []).append((position, axis))
    return list(columns.values())


def _grid_sample(state: Following, node: onnx.NodeProto, ranks: list[int]) -> list[Columns]:
    """The batch; and a grid that is as large as the picture has its size."""
    if not min(ranks[:2]):
        return []
    picture, places = state.get(node.input[0]).dims or (), state.get(node.input[1]).dims or ()
    inner = range(1, ranks[1] - 1)
    if ranks[0] == ranks[1] and not any(places[axis].varies for axis in inner):
        same = all(picture[axis + 1].base == places[axis].base for axis in inner)
        return [[(0, 0), (1, 0)], *([(0, axis + 1), (1, axis)] for axis in inner if same)]
    return [[(0, 0), (1, 0)]]


def _attention(_: Following, node: onnx.NodeProto, ranks: list[int]) -> list[Columns]:
    """Queries, keys and values of one batch, and a mask of as many rows as queries and columns as keys."""
    if len(ranks) < 3 or ranks[0] not in (3, 4) or len(set(ranks[:3])) > 1:
        return []
    steps = 2 if ranks[0] == 4 else 1
    columns = [[(0, 0), (1, 0), (2, 0)], [(1, steps), (2, steps)]]
    if len(ranks) > 3 and ranks[3] > 1:
        columns.append([(0, steps), (3, ranks[3] - 2)])
        if not (len(node.input) > 4 and node.input[4]):
            columns.append([(1, steps), (3, ranks[3] - 1)])
        if ranks[3] == 4:
            columns[0].append((3, 0))
    return columns


def _rotary_embedding(_: Following, node: onnx.NodeProto, ranks: list[int]) -> list[Columns]:
    """Cosines and sines for each sample and step, or positions that look them up."""
    steps = 2 if ranks[0] == 4 else 1
    if len(ranks) > 3 and node.input[3]:
        return [[(0, 0), (3, 0)], [(0, steps), (3, 1)]] if ranks[3] == 2 else []
    return [[(0, 0), (1, 0), (2, 0)], [(0, steps), (1, 1), (2, 1)]] if ranks[1:3] == [3, 3] else []


def _reverse_sequence(_: Following, node: onnx.NodeProto, ranks: list[int]) -> list[Columns]:
    del ranks
    return [[(0, attribute_value(node, "batch_axis", 1)), (1, 0)]]


def _roi_align(_: Following, node: onnx.NodeProto, ranks: list[int]) -> list[Columns]:
    del node, ranks
    return [[(1, 0), (2, 0)]]


_RULES: dict[str, Callable[[Following, onnx.NodeProto, list[int]], list[Columns]]] = {
    **dict.fromkeys(("Conv", "ConvTranspose"), _conv),
    **dict.fromkeys(("BatchNormalization", "InstanceNormalization"), _channels),
    **dict.fromkeys(("GatherElements", "ScatterElements"), _elements),
    **dict.fromkeys(RECURRENT, _recurrent),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), _layer_norm),
    "Attention": _attention,
    "Concat": _concat,
    "Einsum": _einsum,
    "Gemm": _gemm,
    "GridSample": _grid_sample,
    "MatMul": _matmul,
    "ReverseSequence": _reverse_sequence,
    "RoiAlign": _roi_align,
    "RotaryEmbedding": _rotary_embedding,
    "ScatterND": _scatter_nd,
}

_BROADCAST_TOO = ("Attention", "Einsum", "LayerNormalization", "MatMul", "RMSNormalization")
"""Operators of these whose axes of size 1 agree with every size."""
