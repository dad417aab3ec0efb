"""dims: set, rename and fix the dims of graph inputs, everywhere they occur."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import onnx

from graphkit.arguments import ArgumentValueError
from graphkit.edit.converting import inline_all, level_versions
from graphkit.edit.dim_places import Asked, Place, dim_at, set_place, shared_names, sorted_out, spelt, substitute
from graphkit.edit.folding import fold_sizes
from graphkit.edit.following.context import SizeFinding
from graphkit.edit.following.walk import Followed, follow
from graphkit.edit.stale import refresh, sharpen
from graphkit.errors import EditError
from graphkit.graph.calls import expanded_nodes
from graphkit.graph.values import dims as dims_of
from graphkit.hint import Argument, Hint, call
from graphkit.model import Model
from graphkit.operation import Edit, operation
from graphkit.runtime.freed_axes import try_laws
from graphkit.shapes.inference import inferred


class _Said(NamedTuple):
    notes: list[str]
    warnings: list[str]
    doubts: list[str]


@operation(law="bound")
def dims(
    model: Model,
    values: Mapping[str, int | str],
    *,
    repair_shapes: bool = False,
    strict: bool = False,
    fold: bool = False,
) -> Edit:
    """Set dims of graph inputs: give a free dim a name or a size, make a fixed dim free.

    What happens depends on what the dim was:

    - a symbol gets another name: it is renamed everywhere, in expressions such as ``2*h`` too;
    - a symbol gets a size: it has that size everywhere, expressions are computed, and what follows is inferred;
    - a size becomes a symbol or another size: every shape that depends on the input is cleared or inferred anew, and nodes
      that hold the old size (a Reshape or Expand with a fixed target, an Add with a fixed tensor) are named in warnings;
    - an unknown dim gets a name or a size.

    Args:
        model: A path, a ModelProto or a Model.
        values: ``"INPUT:AXIS"`` -> name or size (axes may count from behind), ``"SYMBOL"`` -> name or size, or
            ``"OUTPUT:AXIS"`` -> name.
        repair_shapes: Make what holds the size of an axis that becomes free follow it, where it is certain what it has to
            follow: targets of Reshape and Expand, sizes of Resize, ends of Slice, numbers of TopK and Split, turns of a
            Loop, windows of a pool, initial states, masks and ranges.
        strict: Refuse where a size does not follow, instead of warning.
        fold: Compute, once and now, what depends on nothing but sizes of inputs: Shape nodes and what is made of them.

    Raises:
        NameNotFoundError: No input and no symbol has the name.
        EditError: The axis does not exist, the shape of the input is not declared, or the value is no name and no size;
            an axis of an output is given a size that the nodes do not give it; with ``strict`` also: something holds a size and does not follow.

    Changes: nothing; returns a new model. Declarations change, with ``repair_shapes`` what holds a size, and nodes that
        ``fold`` computes: the numbers that a model computes at its old sizes stay what they are.
    Scope: inputs, outputs and value_info of the main graph and of bodies; functions that hold a size are inlined with
        ``repair_shapes``.
    Cost: O(graph): each node is inferred three times, and once more for each further axis. Weights are not read, but for
        constants below 1 MiB that may be tables. With ``repair_shapes`` a model of at most 64 MiB of weights and two
        billion multiplications is loaded into the runtime, where that is installed, and run seven times.
    Law: the old size gives the same numbers; several samples stacked along a batch give what each gives alone; other sizes
        run and have the shapes that are declared. What was tried is in the notes; what does not hold is a warning.

    Example:
        >>> gk.dims("model.onnx", {"image:0": "batch"}).save("out.onnx")  # doctest: +SKIP
    """
    if not values:
        raise ArgumentValueError("dims needs at least one dim to set")
    proto = model.copy_proto()
    asked = sorted_out(proto, values)
    shared = shared_names(proto, asked.places)
    notes = substitute(proto, asked.symbols)
    names = _freed(proto, asked)
    followed = _follow(proto, model, asked, names, repair=repair_shapes) if names else None
    for place, value in asked.places.items():
        notes.append(f"{place[0]}:{place[1]} was {spelt(dim_at(proto, place))} and is {value}")
        set_place(proto, place, value)
    if names:
        refresh(proto, {name for name, _ in names})
    if fold:
        notes += fold_sizes(model, proto, [value.name for value in proto.graph.input])
    if fold or asked.places or any(isinstance(value, int) for value in asked.symbols.values()):
        sharpen(proto)
    if followed is not None:
        free = [place for place in names if isinstance(asked.places[place], str) and dim_at(model.proto, place) == 1]
        _name_batches(proto, followed, {names[place] for place in free})
    notes += _name_outputs(proto, asked, followed)
    _check_outputs(proto, asked)
    said = _Said([], [], [])
    if followed is not None:
        said = _said(proto, followed, names, repair=repair_shapes)
        if repair_shapes and not said.warnings and all(isinstance(asked.places[place], str) for place in names):
            said = _tried(model, proto, followed, names, said)
        if strict and (said.warnings or said.doubts):
            _refuse(said.warnings + said.doubts)
    return Edit(proto, notes + said.notes, shared + said.warnings + said.doubts)


def _freed(proto: onnx.ModelProto, asked: Asked) -> dict[Place, str]:
    """The dims that have a size and get a name or another size -> the name, or one that stands for the size."""
    found = {}
    for place, value in asked.places.items():
        if isinstance(dim_at(proto, place), int) and value != dim_at(proto, place):
            found[place] = value if isinstance(value, str) else f"{place[0]}_{place[1]}"
    return found


def _name_batches(proto: onnx.ModelProto, followed: Followed, names: Collection[str]) -> None:
    """Name the dims of outputs that inference lost and that are a freed axis of size 1. Changes the model.

    Only those: the sizes tried are multiples of the old one, and only multiples of 1 tell ``x`` from ``x // 2 * 2``.
    """
    batches = {followed.symbols[name]: name for name in names if name in followed.symbols}
    for info in proto.graph.output:
        known = followed.inference.get(info.name).dims
        if known is None or len(known) != len(info.type.tensor_type.shape.dim):
            continue
        for dim, found in zip(info.type.tensor_type.shape.dim, known, strict=True):
            if not dim.WhichOneof("value") and found.sizes in batches:
                dim.dim_param = batches[found.sizes]


def _name_outputs(proto: onnx.ModelProto, asked: Asked, followed: Followed | None) -> list[str]:
    """Name dims of outputs. Changes the model.

    Raises:
        EditError: The dim has one size, whatever the inputs' are, or another name.
    """
    notes = []
    for place, value in asked.outputs.items():
        dim, where = dim_at(proto, place), f"{place[0]}:{place[1]}"
        if isinstance(dim, str) and dim.isidentifier() and isinstance(value, str):
            asked_for = next((place for place, name in asked.places.items() if name == dim), None)
            if asked_for is not None and value != dim:
                raise EditError(
                    f"{where} follows {asked_for[0]}:{asked_for[1]}, which is to be {dim!r}: it cannot be {value!r}",
                    hint="give both one name",
                )
            notes += substitute(proto, {dim: value}) if value != dim else []
            continue
        if isinstance(dim, int) and dim != value:
            raise EditError(
                f"{where} is an output's axis of the size {dim}, and no input's axis that is free makes it vary",
                hint="free the axis of the input that it follows: "
                + ", ".join(f"{i.name}:AXIS" for i in proto.graph.input),
            )
        if isinstance(value, str) and followed is not None and value in followed.symbols:
            known = followed.inference.get(place[0]).dims
            if known is not None and known[place[1]].sizes not in ((), followed.symbols[value]):
                raise EditError(f"{where} is not {value!r}: its size is another one", hint="give it a name of its own")
        notes.append(f"{where} was {spelt(dim)} and is {value}")
        set_place(proto, place, value)
    return notes


def _check_outputs(proto: onnx.ModelProto, asked: Asked) -> None:
    """Refuse a size for an axis of an output that the nodes give another one.

    Raises:
        EditError: The axis has another size, or that of an input's axis that is free.
    """
    given = {place: value for place, value in asked.named.items() if isinstance(value, int)}
    if not given:
        return
    bare = onnx.ModelProto()
    bare.CopyFrom(proto)
    for output in bare.graph.output:
        if any(output.name == name for name, _ in given):
            output.type.tensor_type.ClearField("shape")
    made = {value.name: dims_of(value.type) for value in inferred(bare).graph.output}
    free = {
        dim: f"{value.name}:{axis}"
        for value in proto.graph.input
        for axis, dim in enumerate(dims_of(value.type) or ())
        if isinstance(dim, str)
    }
    for (name, axis), value in given.items():
        dim = (made[name] or {axis: None})[axis]
        if isinstance(dim, int) and dim != value:
            raise EditError(f"{name}:{axis} cannot be {value}: the nodes before it give it the size {dim}")
        if isinstance(dim, str) and dim in free:
            raise EditError(
                f"{name}:{axis} cannot be {value} alone: it is {dim!r}, as {free[dim]} is",
                hint=Hint("give the input that size: ", call("dims", values={free[dim]: value})),
            )


def _follow(
    proto: onnx.ModelProto, model: Model, asked: Asked, names: Mapping[Place, str], *, repair: bool
) -> Followed:
    """What happens to what holds a size that is about to become free; with ``repair`` it is changed.

    Raises:
        EditError: A size that an axis is given contradicts a weight.
    """
    sizes = {names[place]: value for place, value in asked.places.items() if place in names and isinstance(value, int)}
    subject = onnx.ModelProto()
    subject.CopyFrom(proto)
    followed = follow(subject, names, model.array_of, sizes)
    if (inlined := _inlined(proto)) is not None:
        inside = follow(inlined, names, model.array_of, sizes)
        if len(inside.findings) > len(followed.findings):  # functions hold sizes too
            subject, followed = inlined, inside
    if repair:
        proto.CopyFrom(subject)
    against = next((f for f in followed.findings if f.kind == "property" and f.is_weight), None)
    if sizes and len(sizes) == len(names) and against is not None:
        given = ", ".join(f"{name}:{axis} = {asked.places[name, axis]}" for name, axis in names)
        raise EditError(f"the size contradicts a weight: {given}, and {against.text}")
    return followed


MOST_INLINED = 20_000
"""Nodes that a model may have once its functions are inlined to see what they hold."""


def _inlined(proto: onnx.ModelProto) -> onnx.ModelProto | None:
    """The model without functions; None where it has none, or where they cannot be inlined."""
    if not proto.functions or expanded_nodes(proto) > MOST_INLINED:
        return None
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    try:
        level_versions(copy, inline_all(copy)[1])
    except EditError:
        return None  # sizes are followed through the calls all the same
    return copy


def _said(proto: onnx.ModelProto, followed: Followed, names: Mapping[Place, str], *, repair: bool) -> _Said:
    """What is to be told of the sizes that were followed."""
    cause = "another size of " + ", ".join(f"{name}:{axis}" for name, axis in names)
    notes: list[str] = []
    said: list[str] = []
    doubts: list[str] = []
    changed: list[SizeFinding] = []
    for finding in followed.findings:
        if finding.kind == "limit":
            notes.append(str(finding))
            continue
        if finding.done and repair:
            changed.append(finding)
        elif finding.done:
            notes.append(Hint("with ", Argument("repair_shapes"), f" {finding}"))
        if not finding.done or not repair or finding.kind == "choice":
            remedy = f"; {finding.remedy}" if finding.remedy else ""
            doubt = "may be wrong" if finding.kind == "choice" and repair else "fails, or is wrong,"
            sentence = f"{finding.text}: it {doubt} at {cause}{remedy}"
            (doubts if repair and finding.kind == "choice" else said).append(sentence)
    notes += _changed(changed)
    return _Said(notes, said + _outputs_left_behind(proto, followed, names), doubts)


MOST_TOLD = 4
"""Nodes of one operator of which each has a note of its own: a transformer has hundreds of Reshapes that follow."""


def _changed(findings: Sequence[SizeFinding]) -> list[str]:
    """A note for each node that follows now, or one for all nodes of an operator where they are many."""
    kinds = defaultdict(list)
    for finding in findings:
        kinds[finding.op_type].append(finding)
    notes: list[str] = []
    for op_type, alike in kinds.items():
        if len(alike) <= MOST_TOLD:
            notes += map(str, alike)
            continue
        named = ", ".join(repr(finding.node) for finding in alike[:3])
        notes.append(
            f"{len(alike)} {op_type} nodes held a fixed size and follow now: {named} and {len(alike) - 3} more; "
            "the report of dims lists each"
        )
    return notes


def _tried(model: Model, proto: onnx.ModelProto, followed: Followed, names: Mapping[Place, str], said: _Said) -> _Said:
    """Run the result where nothing is known to be wrong, and add what comes of it."""
    tried = try_laws(model, Model(proto, model.sources, path=model.path), names, followed)
    warnings = tried.broken if set(names.values()) <= tried.proved else said.doubts + tried.broken
    return _Said(said.notes + tried.notes, warnings, [])


def _refuse(said: list[str]) -> None:
    listed = "; ".join(said[:5]) + (f"; and {len(said) - 5} more" if len(said) > 5 else "")
    raise EditError(
        f"not every size follows: {listed}",
        hint=Hint(
            "leave out ", Argument("strict"), " to have warnings instead, or export the model with these axes dynamic"
        ),
    )


def _outputs_left_behind(proto: onnx.ModelProto, followed: Followed, names: Mapping[Place, str]) -> list[str]:
    """A sentence for each output that has the size of a freed axis, where none varies with that axis."""
    said = []
    known = {value.name: followed.inference.get(value.name) for value in proto.graph.output}
    if any(value.dims is None for value in known.values()):
        return []
    for (name, axis), symbol in names.items():
        sizes = followed.symbols.get(symbol)
        alone = followed.alone.get(symbol)
        if sizes is None or alone is None:
            continue
        every = [dim for value in known.values() for dim in value.dims or ()]
        if any(not dim.sizes or dim.sizes[alone] != dim.sizes[0] for dim in every):
            continue  # one varies, or is not known
        for output, value in known.items():
            bases = [dim.base for dim in value.dims or ()]
            if sizes[0] == 1 or sizes[0] in bases:
                said.append(
                    f"the output {output!r} does not vary with {name}:{axis}: it has the same size at every one"
                )
    return said
