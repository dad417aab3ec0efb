"""resize: the factor of every Resize becomes a graph input."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import onnx

from graphkit.arguments import ArgumentValueError
from graphkit.edit.converting import convert_opset
from graphkit.edit.prune import prune
from graphkit.edit.repair import repair_reshapes
from graphkit.edit.resize_input import declare_input, numbers
from graphkit.edit.stale import refresh
from graphkit.edit.wiring import Form, Place, Wiring, fix_scales, places
from graphkit.errors import EditError, GraphkitWarning, NameNotFoundError, NameTakenError, NoResizeError
from graphkit.graph import walk
from graphkit.graph.names import Names, label
from graphkit.graph.opset import opset_of
from graphkit.graph.values import attribute_value, tensor_type
from graphkit.hint import Argument, Blank, Hint
from graphkit.model import Model
from graphkit.operation import Edit, operation
from graphkit.runtime.written import check_written
from graphkit.shapes import resize_patterns
from graphkit.shapes.inference import inferred
from graphkit.shapes.resize_patterns import Resampler, Semantics
from graphkit.shapes.size_dependence import Comparison, breaking, breaking_in_bodies, sizes_with_free_dims_set

if TYPE_CHECKING:
    from graphkit.tensor import Array


@operation(law="bound")
def resize(
    model: Model,
    *,
    input_name: str = "factor",
    form: Form = "factor",
    nodes: Sequence[str] | None = None,
    separate: bool = False,
    relative: bool = False,
    semantics: Literal["keep", "scales", "sizes"] = "keep",
    keep_default: bool = False,
    repair_shapes: bool = False,
) -> Edit:
    """Turn the scale that an export baked into every Resize (or Upsample) into a graph input.

    ``form`` (``--as`` on the command line) says what the caller feeds:

    - ``"factor"`` (default): float32, one dimension: the factor of the spatial axes, in their order (height, width; or
      depth, height, width). One number counts for all axes: ``[2.5]`` or ``[2, 3]``. The graph expands it itself.
    - ``"scales"``: float32 [rank], or [number of ``axes``]: the ``scales`` of Resize as ONNX has them, ``[1, 1, h, w]``.
    - ``"sizes"``: int64 [spatial axes]: the size of the result, ``[height, width]``.

    A node that was given scales goes on with scales (size = trunc(in * factor), samples 1 / factor apart: torch's
    ``interpolate(scale_factor=)``), one that was given sizes goes on with sizes (samples in / size apart: torch's
    ``size=`` and ``recompute_scale_factor=True``). The two differ where in * factor is no whole number. ``form`` "scales"
    and "sizes", and ``semantics``, convert; notes say where that happened. A node with ``antialias`` goes on with scales
    unless told otherwise, because torch's exporter loses the scale of these.

    Args:
        model: A path, a ModelProto or a Model.
        input_name: Name of the new graph input; with ``separate``, its stem (``factor_1``, ``factor_2``, ...).
        form: What the input holds, see above.
        nodes: Names of the nodes to change (or their outputs, where they have no name). None: every node that resizes,
            but not those that follow another tensor's size at run time as long as there are others.
        separate: One input for each node instead of one for all.
        relative: The input multiplies each node's own scale instead of replacing it: 1.0 changes nothing, and nodes
            with scales 2, 4 and 8 keep these proportions.
        semantics: "scales" or "sizes" makes every changed node decide by that; "keep" leaves it as it is.
        keep_default: The input may be left out when the model runs; it then has the value that was baked in.
        repair_shapes: Compute the targets of Reshape nodes downstream that hold a size, where it is certain what they
            have to follow (GroupNorm, pixel_unshuffle, channel shuffle, flattening).

    Where in * factor is cut down to the old size (5 * 1.1) torch copies along that axis, whatever the factor says, and ONNX
    Runtime samples as the factor says, unless every axis keeps its size.

    A node that works at the old factor only (a Reshape or Expand with a fixed target, an Add or Concat with a tensor that
    does not grow along) is named in a GraphkitWarning.

    Raises:
        NoResizeError: Nothing resizes, or nothing that can be changed; the message says what and why.
        NameNotFoundError: A name in ``nodes`` is none of a node that resizes.
        NameTakenError: ``input_name`` is in use.
        EditError: The nodes cannot share one input of this form, or no default value is known.

    Changes: nothing; returns a new model. Shapes that depend on the factor are cleared or inferred anew.
    Scope: main graph and bodies (a body reads the input from outside). Functions: refused, inline them first.
    Cost: O(graph), five to nine runs of onnx.shape_inference; weights are not read.
    Law: bound: the same numbers once the input is fed the factor that was baked in, or another that the model before has.
    Source: onnx Changelog Upsample-7/9, Resize-10/11/13/18/19; torch.onnx's lowerings of ``interpolate``.

    Example:
        >>> gk.resize("model.onnx", nodes=["Resize_5"]).save("out.onnx")  # doctest: +SKIP
    """
    if form == "sizes" and (relative or semantics == "scales"):
        raise ArgumentValueError(
            "form 'sizes' gives the size itself: it goes neither with relative nor with semantics 'scales'"
        )
    proto = model.copy_proto()
    notes = _take_scales_as_input(proto)
    sites = dict(zip(places(proto), resize_patterns.resamplers(inferred(proto)), strict=True))
    chosen = _choose(proto, sites, nodes)
    notes += _left_alone(proto, sites, chosen)
    notes += _beware(proto, chosen, separate=separate, relative=relative, repair=repair_shapes)
    if not relative:
        notes += _disconnect(proto, chosen)
    names = Names(proto.graph)
    wiring = Wiring(proto, names, form=form, relative=relative)
    here = places(proto)
    groups = [[place] for place in chosen] if separate else [list(chosen)]
    for number, group in enumerate(groups, 1):
        name = _claim(names, f"{input_name}_{number}" if separate else input_name)
        members = [chosen[place] for place in group]
        notes += declare_input(proto, name, members, form, relative=relative, keep_default=keep_default)
        notes += [] if relative else _proportions(members)
        for place in (place for place in group if place in here):
            decided = _decide(chosen[place], form, semantics)
            notes += _report(name, chosen[place], decided)
            notes += _repaired(here[place], chosen[place], decided, torch_2=_from_torch_2(proto))
            wiring.connect(name, chosen[place], place, here[place], decided)
    wiring.finish()
    refresh(proto, [output for _, output in chosen], _result_types(chosen.values()))
    if opset_of(proto) != opset_of(model.proto):
        notes += check_written(model.proto, proto)
    return Edit(proto, notes)


Sites = dict[Place, Resampler]


def _choose(model: onnx.ModelProto, sites: Sites, nodes: Sequence[str] | None) -> Sites:
    """The nodes to change, in graph order."""
    if nodes:
        chosen = {}
        for wanted in nodes:
            found = {place: s for place, s in sites.items() if wanted in (s.node.name, s.node.output[0])}
            if not found:
                raise NameNotFoundError("Resize node", wanted, (site.name for site in sites.values()))
            chosen.update(found)
        return {place: site for place, site in sites.items() if place in chosen}
    if not sites:
        raise NoResizeError(_why_none(model))
    leading = {place: site for place, site in sites.items() if not site.follows}
    return leading or sites


def _take_scales_as_input(proto: onnx.ModelProto) -> list[str]:
    """Raise a model of opset 7 or 8 to 9, the first whose Upsample has its scales as an input."""
    opset = opset_of(proto)
    if opset >= 9 or not any(resize_patterns.is_resampler(node) for node in walk.nodes(proto.graph)):
        return []
    return convert_opset(proto, 9)


def _why_none(model: onnx.ModelProto) -> str:
    """Why a model without a Resize has none, as far as that can be told."""
    inside = [f"{function.name!r}" for function, _ in resize_patterns.in_functions(model)]
    if inside:
        return (
            f"every Resize is inside of a function ({', '.join(dict.fromkeys(inside))}), which cannot read the inputs "
            "of the model: inline the functions first"
        )
    indexed = _indexed(model)
    if indexed:
        return (
            f"the model has no Resize: torch's dynamo exporter writes the modes nearest-exact, area and 1-D linear as a "
            f"computation of indices, with the sizes all over it ({', '.join(map(repr, indexed[:3]))}). Use another mode, "
            "or export 1-D linear with the TorchScript exporter"
        )
    return "the model has no Resize and no Upsample node, so there is no factor to make an input of"


def _indexed(model: onnx.ModelProto) -> list[str]:
    """Nodes that gather the pixels of an interpolation which the exporter had no Resize for (it names the torch op)."""
    marks = ("aten._unsafe_index.", "aten.index.Tensor")
    return [
        label(node)
        for node in walk.nodes(model.graph)
        if node.op_type == "GatherND"
        and any(
            entry.key == "pkg.torch.onnx.fx_node" and any(mark in entry.value for mark in marks)
            for entry in node.metadata_props
        )
    ]


def _from_torch_2(model: onnx.ModelProto) -> bool:
    return model.producer_name == "pytorch" and not model.producer_version.startswith(("0.", "1."))


def _proportions(sites: Sequence[Resampler]) -> list[str]:
    """Says so where one factor levels nodes that had different ones."""
    own: dict[object, str] = {}
    for site in sites:
        if site.scales is not None:
            mine = site.scales[list(site.spatial)]
            own.setdefault(mine[0] if len({*mine}) == 1 else tuple(mine), numbers(mine))
    if len(own) < 2:
        return []
    had = f"the nodes had different factors ({', '.join(sorted(own.values()))}) and all have the same now"
    return [Hint(f"{had}; ", Argument("relative"), " keeps the proportions, ", Argument("separate"), " sets each")]


def _repaired(node: onnx.NodeProto, site: Resampler, decided: Semantics, *, torch_2: bool) -> list[str]:
    """Mend attributes that would be wrong from now on. Changes the node."""
    notes = []
    for attribute in list(node.attribute):
        value = attribute_value(node, attribute.name)
        if attribute.name == "coordinate_transformation_mode" and value == "pytorch_half_pixel" and torch_2:
            attribute.s = b"half_pixel"
            notes.append(
                f"{site.where} samples half_pixel instead of pytorch_half_pixel: torch 2 does, also where a size becomes 1"
            )
        elif attribute.name == "keep_aspect_ratio_policy" and value != "stretch":
            if decided == "scales":
                attribute.s = b"stretch"
            notes.append(
                f"keep_aspect_ratio_policy {value!r} of {site.where} is about sizes and "
                + (
                    "is dropped, for the node is given scales now"
                    if decided == "scales"
                    else "still changes the size it is given"
                )
            )
    return notes


def _own_scales(proto: onnx.ModelProto, chosen: Sites) -> dict[Place, Array | None]:
    """The scales of the nodes; where they hang on free dims, those with every free dim set to some number."""
    own = {place: site.scales for place, site in chosen.items()}
    if all(scales is not None for scales in own.values()):
        return own
    sizes = sizes_with_free_dims_set(proto)
    for place, site in chosen.items():
        before, after = sizes.get(site.data), sizes.get(place[1])
        if own[place] is None and before is not None and after is not None and len(before) == len(after):
            axes = site.axes if site.axes is not None else range(len(before))
            own[place] = np.array([after[axis] / before[axis] for axis in axes], np.float32)
    return own


def _beware(proto: onnx.ModelProto, chosen: Sites, *, separate: bool, relative: bool, repair: bool) -> list[str]:
    """Warn of what works at the old scales only, as far as these are known, and mend what can be where that is asked."""
    own = _own_scales(proto, chosen)
    spatial = {place: list(site.spatial) for place, site in chosen.items()}
    together = max((float(s[i]) for p, s in own.items() if s is not None for i in spatial[p]), default=1.0)

    def change(model: onnx.ModelProto, times: int) -> None:
        fixed = {}
        for place, scales in own.items():
            if scales is not None:
                fixed[place] = scales.copy()
                grown = scales[spatial[place]] if relative or separate or times == 1 else together
                fixed[place][spatial[place]] = grown * times
        fix_scales(model, fixed)

    comparison: Comparison = Comparison(proto, change)
    notes: list[str] = []
    while repair and (repaired := repair_reshapes(proto, comparison)):
        notes += repaired
        comparison = Comparison(proto, change)  # what comes behind a repaired node is known only now
    cause = "another factor"
    inside = breaking_in_bodies(proto, [output for _, output in chosen], cause=cause)
    for finding in breaking(comparison, cause=cause) + inside:
        warnings.warn(finding, GraphkitWarning, stacklevel=4)
    return notes


def _left_alone(model: onnx.ModelProto, sites: Sites, chosen: Sites) -> list[str]:
    """The nodes that nobody would expect to stay as they are."""
    hidden = [
        f"{label(node)!r} is inside of the function {function.name!r} and is left as it is"
        for function, node in resize_patterns.in_functions(model)
    ]
    return hidden + [
        f"{site.where} follows the size of {', '.join(map(repr, site.measured))} at run time and is left as it is"
        for place, site in sites.items()
        if place not in chosen and site.follows
    ]


def _claim(names: Names, name: str) -> str:
    if not name:
        raise EditError(
            "the new input must have a name", hint=Hint("leave ", Argument("input_name", ""), " out to call it factor")
        )
    if name in names:
        raise NameTakenError(
            f"the model already has a value or node named {name!r}",
            name=name,
            hint=Hint("choose another name for the new input: ", Argument("input_name", Blank("NAME"))),
        )
    return names.fresh(name)


def _disconnect(proto: onnx.ModelProto, chosen: Sites) -> list[str]:
    """Take the old scales and sizes from the nodes, with everything that only they needed; says which inputs went."""
    old: list[str] = []
    for place, node in places(proto).items():
        if place in chosen:
            kept = 2 if node.op_type == "Resize" and chosen[place].opset >= 11 else 1
            old.extend(node.input[kept:])
            del node.input[kept:]
    gone = set(prune(proto, old))
    graph = proto.graph
    for position in range(len(graph.input) - 1, -1, -1):
        if graph.input[position].name in gone:
            del graph.input[position]
    for position in range(len(graph.initializer) - 1, -1, -1):
        if graph.initializer[position].name in gone:
            del graph.initializer[position]
    return [f"the input {name!r} gave nothing but the old size and is gone" for name in sorted(gone)]


def _decide(site: Resampler, form: Form, semantics: Literal["keep", "scales", "sizes"]) -> Semantics:
    """Whether a node decides by scales or by sizes from now on."""
    if form == "sizes":
        return "sizes"
    if semantics != "keep":
        return semantics
    if form == "scales" or attribute_value(site.node, "antialias", 0):
        return "scales"
    return site.semantics


def _report(name: str, site: Resampler, decided: Semantics) -> list[str]:
    """What happened to one node, for the user."""
    was = "" if site.scales is None else f", which was {numbers(site.scales[list(site.spatial)])}"
    notes = [f"{name!r} sets {site.where}{was}"]
    if site.node.op_type == "Upsample":
        notes.append(f"{site.where} is an Upsample, which only enlarges: factors below 1 need opset 10 or later")
    if decided != site.semantics:
        notes.append(
            f"{site.where} was given {site.semantics} and is now given {decided}: the same for factors that make whole "
            "sizes, elsewhere the samples lie 1 / factor apart with scales and in / size apart with sizes"
        )
    return notes


def _result_types(sites: Iterable[Resampler]) -> dict[str, onnx.TypeProto]:
    """The types of the resized tensors: the axes that no factor touches stay what they are."""
    types = {}
    for site in sites:
        data = site.scope.type_of(site.data)
        dims = site.scope.dims_of(site.data)
        if data is None or dims is None:
            continue
        axes = site.axes or range(len(dims))
        touched = {axes[i] % len(dims) for i in site.spatial}
        known = [None if axis in touched else dim for axis, dim in enumerate(dims)]
        types[site.node.output[0]] = tensor_type(data.tensor_type.elem_type, known)
    return types
