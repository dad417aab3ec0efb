"""Which laws are tried after axes became free, on small feeds and within bounds, and what is said of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import onnx

from graphkit.edit.following.walk import Followed
from graphkit.errors import GraphkitError
from graphkit.graph import walk
from graphkit.graph.names import title
from graphkit.graph.ports import Port
from graphkit.graph.values import attribute_value
from graphkit.model import Model
from graphkit.optional import is_there
from graphkit.runtime import size_laws
from graphkit.runtime.session import Session, session
from graphkit.semantics.kinds import MIXES, PRODUCTS, draws
from graphkit.shapes.points import Dim
from graphkit.tensor import stored_bytes

if TYPE_CHECKING:
    from graphkit.tensor import Array

WEIGHTS = 64 << 20
"""Bytes of weights up to which a model is run to see whether its sizes are right."""

ELEMENTS = 20_000_000
"""Elements of all values together, at the largest sizes that are tried."""

WORK = 2_000_000_000
"""Multiplications of one run, at the largest sizes that are tried."""

Place = tuple[str, int]


@dataclass
class Tried:
    """What came of the laws.

    Attributes:
        broken: Sentences for the laws that do not hold.
        proved: Symbols along which stacked samples gave what each gives alone.
        notes: Sentences for what was tried, and what was not.
    """

    broken: list[str] = field(default_factory=list)
    proved: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def try_laws(before: Model, after: Model, freed: Mapping[Place, str], followed: Followed) -> Tried:
    """Run a model whose axes became free, where that is cheap, and the model that it was.

    Batches: three samples in one run give what each gives alone. Every axis: the old size gives the same as before, and
    other sizes run and have the shapes that are declared.

    Args:
        before: The model with its sizes.
        after: The model with free axes.
        freed: (input, axis) -> the symbol that it is now.
        followed: What is known of the values of ``after``.

    Changes: nothing.
    Cost: loading both models and up to seven runs of at most ``WORK`` multiplications; nothing where they are larger.
    """
    tried = Tried()
    if why := _too_much(before, followed):
        tried.notes.append(f"not run at other sizes: {why}")
        return tried
    try:
        old = session(before, device="cpu", optimize=False, threads=1)
        shared = {name: followed.symbols[name][0] for name in set(freed.values()) if _is_symbol(name, old.inputs)}
        samples = size_laws.drawn(before, size_laws.SAMPLES, shared)
        old.run_arrays(samples[0])
    except GraphkitError as error:
        tried.notes.append(f"not run at other sizes: the model does not run as it is ({_short(error)})")
        return tried
    try:
        new = session(after, device="cpu", optimize=False, threads=1)
    except GraphkitError as error:
        tried.broken.append(f"the result does not load: {_short(error)}")
        return tried
    if broken := size_laws.same_at_old_size(old, new, samples[0]):
        tried.broken.append(str(broken))
        return tried
    _batches(tried, before, after, (old, new), samples, freed, followed)
    _other_sizes(tried, after, new, freed, followed)
    return tried


def _too_much(model: Model, followed: Followed) -> str:
    if not is_there("onnxruntime"):
        return "onnxruntime is not installed"
    weights = sum(stored_bytes(tensor) for tensor in walk.tensors(model.proto))
    if weights > WEIGHTS:
        return f"the model has {weights >> 20} MiB of weights"
    if any(draws(node) for node in walk.model_nodes(model.proto)):
        return "it draws random numbers"
    known = followed.inference.known
    points = range(followed.inference.points)
    elements = max(sum(math.prod(k.shape_at(p) or ()) for k in known.values() if not k.constant) for p in points)
    work = max(sum(_work(node, followed, p) for node in model.proto.graph.node) for p in points)
    if elements > ELEMENTS or work > WORK:
        return f"one run takes {elements / 1e6:.0f} million values and {work / 1e9:.1f} billion multiplications"
    return ""


def _work(node: onnx.NodeProto, followed: Followed, point: int) -> int:
    """Multiplications of a node."""
    if node.op_type not in PRODUCTS or len(node.input) < 2:
        return 0
    made = followed.inference.get(node.output[0]).shape_at(point) or ()
    left, right = (followed.inference.get(name).shape_at(point) or (1,) for name in node.input[:2])
    if node.op_type == "Conv":
        return math.prod(made) * math.prod(right[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(left) * math.prod(right[1:])
    return math.prod(made) * left[-2 if attribute_value(node, "transA", 0) else -1]


def _batches(
    tried: Tried,
    before: Model,
    after: Model,
    sessions: tuple[Session, Session],
    samples: list[dict[str, Array]],
    freed: Mapping[Place, str],
    followed: Followed,
) -> None:
    for symbol in dict.fromkeys(freed.values()):
        inputs = {name: axis for (name, axis), own in freed.items() if own == symbol}
        for name, port in sessions[0].inputs.items():
            if port.dims is not None and symbol in port.dims:
                inputs[name] = port.dims.index(symbol)
        sizes = followed.symbols.get(symbol)
        if any((port.dims or ()).count(symbol) > 1 for port in sessions[1].inputs.values()):
            continue  # it is the size of two axes of one input: what is stacked along one would not fit the other
        if sizes is None or not (set(inputs.values()) == {0} or sizes[0] == 1):
            continue
        values = _along(followed, symbol, [n for node in after.proto.graph.node for n in node.output if n])
        outputs = {v.name: values[v.name] for v in after.proto.graph.output if v.name in values}
        if not outputs or any(axis >= samples[0][name].ndim for name, axis in inputs.items() if name in samples[0]):
            continue
        places = ", ".join(f"{name}:{axis}" for name, axis in inputs.items())
        broken = size_laws.stacked(*sessions, samples, inputs, outputs)
        if broken is None:
            tried.proved.add(symbol)
            tried.notes.append(f"{len(samples)} samples stacked along {places} give in one run what each gives alone")
            continue
        node = size_laws.first_difference(before, after, samples, inputs, values) if broken.output else None
        if node is not None and _mixes(node, followed, sizes):
            if sizes[0] > 1:
                tried.notes.append(f"{places} is no batch: {title(node)} mixes what lies along it")
                continue
            tried.broken.append(f"{places} is no batch, as it seems: {title(node)} mixes what lies along it")
            continue
        where = f", first at {title(node)}" if node is not None else ""
        tried.broken.append(f"{broken.why}{where}: {places} is not followed rightly")


def _along(followed: Followed, symbol: str, names: list[str]) -> dict[str, int]:
    """Value -> the axis that counts samples, where one does, alone or outermost of what was merged with it."""
    sizes = followed.symbols[symbol]
    found = {}
    for name in names:
        for axis, dim in enumerate(followed.inference.get(name).dims or ()):
            if dim.factors and dim.factors[0] == sizes:
                found[name] = axis
                break
    return found


def _mixes(node: onnx.NodeProto, followed: Followed, sizes: tuple[int, ...]) -> bool:
    """Whether a node computes across an axis that is the freed one itself, not one that was merged with it."""
    dims = [dim for name in walk.reads(node) for dim in followed.inference.get(name).dims or ()]
    own = [dim for dim in dims if sizes in dim.factors]
    return node.op_type in MIXES and bool(own) and all(_pure(dim, sizes) for dim in own)


def _pure(dim: Dim, sizes: tuple[int, ...]) -> bool:
    return dim.factors == (sizes,)


def _other_sizes(tried: Tried, after: Model, new: Session, freed: Mapping[Place, str], followed: Followed) -> None:
    shapes = {name: port.dims for name, port in (*new.inputs.items(), *new.outputs.items())}
    sizes_tried = []
    limit = any(finding.kind == "limit" for finding in followed.findings)
    for times in (2, 3):
        own = {symbol: followed.symbols[symbol][0] * times for symbol in freed.values() if symbol in followed.symbols}
        bind = {symbol: size for symbol, size in own.items() if _is_symbol(symbol, new.inputs)}
        try:
            feeds = size_laws.drawn(after, 1, bind)[0]
        except GraphkitError as error:
            tried.notes.append(f"not run at other sizes: {_short(error)}")
            return
        broken = size_laws.runs_at(new, feeds, shapes)
        if broken and limit and not broken.output:
            break  # beyond the table that was told of
        if broken:
            tried.broken.append(str(broken))
            return
        sizes_tried.append(
            ", ".join(f"{symbol} = {bind[symbol]}" for symbol in dict.fromkeys(freed.values()) if symbol in bind)
        )
    if sizes_tried:
        ran = "; ".join(filter(None, sizes_tried))
        tried.notes.append(f"it runs with {ran}; numbers were compared at the old size and in stacked samples only")
    if len(sizes_tried) == 2:
        _odd_sizes(tried, after, new, freed, followed, shapes)


def _odd_sizes(
    tried: Tried,
    after: Model,
    new: Session,
    freed: Mapping[Place, str],
    followed: Followed,
    shapes: Mapping[str, Sequence[int | str | None] | None],
) -> None:
    """Sizes that are no multiples of those in the file: a net that halves a picture may not take them, which is said."""
    bases = {symbol: followed.symbols[symbol][0] for symbol in freed.values() if symbol in followed.symbols}
    bind = {symbol: 2 * base + 1 for symbol, base in bases.items() if base > 2 and _is_symbol(symbol, new.inputs)}
    if not bind:
        return
    try:
        feeds = size_laws.drawn(after, 1, bind)[0]
    except GraphkitError:
        return  # these sizes cannot be fed together
    broken = size_laws.runs_at(new, feeds, shapes)
    if broken is None:
        return
    sizes = ", ".join(f"{symbol} = {size}" for symbol, size in bind.items())
    if broken.output:
        tried.broken.append(str(broken))
    else:
        multiples = ", ".join(f"{bases[symbol]} for {symbol}" for symbol in bind)
        tried.notes.append(
            f"it does not run with {sizes}: give multiples of the sizes in the file ({multiples}), or try others"
        )


def _is_symbol(symbol: str, ports: Mapping[str, Port]) -> bool:
    return any(symbol in (port.dims or ()) for port in ports.values())


def _short(error: GraphkitError) -> str:
    text = " ".join(str(error).split())
    return text if len(text) < 240 else f"{text[:100]} ... {text[-120:]}"
