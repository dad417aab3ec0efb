"""resize: the factor of every Resize becomes a graph input."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import onnx

from graphkit.errors import EditError, NameNotFoundError, NameTakenError, NoResizeError
from graphkit.graph import resampling, walk
from graphkit.graph.names import Names
from graphkit.graph.resampling import Resampler, Semantics
from graphkit.graph.shapes import inferred
from graphkit.graph.values import tensor_type
from graphkit.model import Model, ModelLike
from graphkit.storage.load import as_model
from graphkit.surgery.prune import prune
from graphkit.surgery.raising import raise_opset
from graphkit.surgery.stale import refresh
from graphkit.surgery.wiring import Form, Place, Wiring, places

if TYPE_CHECKING:
    from graphkit.tensor import Array


def resize(
    model: ModelLike,
    *,
    input_name: str = "factor",
    form: Form = "factor",
    nodes: Sequence[str] | None = None,
    separate: bool = False,
    relative: bool = False,
    semantics: Literal["keep", "scales", "sizes"] = "keep",
    keep_default: bool = False,
) -> Model:
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

    Raises:
        NoResizeError: Nothing resizes, or nothing that can be changed; the message says what and why.
        NameNotFoundError: A name in ``nodes`` is none of a node that resizes.
        NameTakenError: ``input_name`` is in use.
        EditError: The nodes cannot share one input of this form, or no default value is known.

    Changes: nothing; returns a new model. Shapes that depend on the factor are cleared or inferred anew.
    Scope: main graph and bodies (a body reads the input from outside). Functions: refused, inline them first.
    Cost: O(graph), two runs of onnx.shape_inference; weights are not read.
    Source: onnx Changelog Upsample-7/9, Resize-10/11/13/18/19; torch.onnx's lowerings of ``interpolate``.
    """
    if form == "sizes" and (relative or semantics == "scales"):
        raise ValueError(
            "form 'sizes' gives the size itself: it goes neither with relative nor with semantics 'scales'"
        )
    source = as_model(model)
    proto = source.copy_proto()
    notes = _take_scales_as_input(proto)
    sites = dict(zip(places(proto), resampling.resamplers(inferred(proto)), strict=True))
    chosen = _choose(proto, sites, nodes)
    notes += _left_alone(sites, chosen)
    if not relative:
        notes += _disconnect(proto, chosen)
    names = Names(proto.graph)
    wiring = Wiring(proto, names, form=form, relative=relative)
    here = places(proto)
    groups = [[place] for place in chosen] if separate else [list(chosen)]
    for number, group in enumerate(groups, 1):
        name = _claim(names, f"{input_name}_{number}" if separate else input_name)
        members = [chosen[place] for place in group]
        notes += _add_input(proto, name, members, form, relative=relative, keep_default=keep_default)
        for place in group:
            decided = _decide(chosen[place], form, semantics)
            notes += _report(name, chosen[place], decided)
            wiring.connect(name, chosen[place], place, here[place], decided)
    wiring.finish()
    refresh(proto, [output for _, output in chosen], _result_types(chosen.values()))
    given = {
        "input_name": input_name,
        "form": form,
        "nodes": list(nodes or ()),
        "separate": separate,
        "relative": relative,
        "semantics": semantics,
        "keep_default": keep_default,
    }
    return source.edited(proto, "resize", given, notes)


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
    opset = resampling.opset_of(proto)
    if opset >= 9 or not any(resampling.is_resampler(node) for node in walk.nodes(proto.graph)):
        return []
    return raise_opset(proto, 9)


def _why_none(model: onnx.ModelProto) -> str:
    """Why a model without a Resize has none, as far as that can be told."""
    inside = [f"{function.name!r}" for function, _ in resampling.in_functions(model)]
    if inside:
        return (
            f"every Resize is inside of a function ({', '.join(dict.fromkeys(inside))}), which cannot read the inputs "
            "of the model: inline the functions first (onnx.inliner)"
        )
    return "the model has no Resize and no Upsample node, so there is no factor to make an input of"


def _left_alone(sites: Sites, chosen: Sites) -> list[str]:
    return [
        f"{site.where} follows the size of {', '.join(map(repr, site.measured))} at run time and is left as it is"
        for place, site in sites.items()
        if place not in chosen and site.follows
    ]


def _claim(names: Names, name: str) -> str:
    if name in names:
        raise NameTakenError(
            f"the model already has a value or node named {name!r}",
            name=name,
            hint="choose another name for the new input (--input-name)",
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
    antialias = site.attribute("antialias")
    if form == "scales" or (antialias is not None and antialias.i):
        return "scales"
    return site.semantics


def _report(name: str, site: Resampler, decided: Semantics) -> list[str]:
    """What happened to one node, for the user."""
    was = "" if site.scales is None else f", which was {_numbers(site.scales[list(site.spatial)])}"
    notes = [f"{name!r} sets {site.where}{was}"]
    if decided != site.semantics:
        notes.append(
            f"{site.where} was given {site.semantics} and is now given {decided}: the same for factors that make whole "
            "sizes, elsewhere the samples lie 1 / factor apart with scales and in / size apart with sizes"
        )
    return notes


def _numbers(array: Array) -> str:
    return " x ".join(f"{value:g}" for value in array)


def _add_input(
    proto: onnx.ModelProto, name: str, sites: list[Resampler], form: Form, *, relative: bool, keep_default: bool
) -> list[str]:
    """Declare the new graph input, with the baked value as its default where asked."""
    graph = proto.graph
    if form == "factor":
        type_proto = tensor_type(onnx.TensorProto.FLOAT, [_fresh_dim(proto, f"{name}_axes")])
    else:
        counts = {site.length if form == "scales" else len(site.spatial) for site in sites}
        if len(counts) != 1 or None in counts:
            raise EditError(
                f"{', '.join(site.where for site in sites)} want different numbers of {form}, so one input cannot serve them",
                hint="give each its own input (--separate), or feed a factor (--as factor)",
            )
        elem = onnx.TensorProto.FLOAT if form == "scales" else onnx.TensorProto.INT64
        type_proto = tensor_type(elem, [counts.pop()])
    graph.input.add(name=name).type.CopyFrom(type_proto)
    if not keep_default:
        return []
    if proto.ir_version < 4:
        raise EditError(
            f"IR version {proto.ir_version} knows no inputs with a default value", hint="leave out keep_default"
        )
    default = _default(sites, form, relative=relative)
    graph.initializer.append(onnx.numpy_helper.from_array(default, name))
    return [f"{name!r} may be left out and is then {_numbers(default)}"]


def _fresh_dim(proto: onnx.ModelProto, wish: str) -> str:
    """A symbol for a dim that no value of the model uses."""
    taken = {
        dim.dim_param
        for graph in walk.graphs(proto.graph)
        for value in (*graph.input, *graph.value_info, *graph.output)
        for dim in value.type.tensor_type.shape.dim
    }
    while wish in taken:
        wish += "_"
    return wish


def _default(sites: list[Resampler], form: Form, *, relative: bool) -> Array:
    """The value of the new input that changes nothing."""
    values = []
    for site in sites:
        length, spatial = site.length or 0, list(site.spatial)
        if relative:
            values.append(np.ones(1 if form == "factor" else length, np.float32))
        elif form == "sizes" and site.sizes is not None:
            values.append(site.sizes[spatial])
        elif form != "sizes" and site.scales is not None:
            values.append(site.scales[spatial] if form == "factor" else site.scales)
        else:
            raise EditError(
                f"the {form} of {site.where} are not known before the model runs, so the input has no default value",
                hint="leave out keep_default",
            )
    if any(not np.array_equal(values[0], other) for other in values[1:]):
        raise EditError(
            f"the nodes have different {form}, so one input for all has no default value that changes nothing: "
            + ", ".join(f"{site.where} {_numbers(value)}" for site, value in zip(sites, values, strict=True)),
            hint="use separate (--separate) or relative (--relative)",
        )
    return values[0]


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


def exact_scale(size_in: int, factor: float) -> np.float32:
    """The float32 scale nearest to a factor with which ONNX Runtime makes torch's output size.

    torch computes floor(in * factor) in double precision, ONNX Runtime trunc(in * scale) in single precision; for some
    pairs (15 and 4.2) these differ by one. One unit in the last place more or less mends that.

    Args:
        size_in: The size of the axis before, 1 or more.
        factor: The factor as torch is given it, above 0.

    Returns:
        A float32 that is at most two units in the last place away from the factor.

    Raises:
        ValueError: The size or the factor is not positive, or no such scale exists (above 2**24 elements an axis).
    """
    if size_in < 1 or not factor > 0 or math.isinf(factor):
        raise ValueError(f"a size of at least 1 and a positive factor are needed, not {size_in} and {factor}")
    wanted = math.floor(size_in * factor)
    nearest = np.float32(factor)
    up, down = np.nextafter(nearest, np.float32(np.inf)), np.nextafter(nearest, np.float32(0))
    further = (np.nextafter(up, np.float32(np.inf)), np.nextafter(down, np.float32(0)))
    for scale in (nearest, up, down, *further):
        if int(np.float32(size_in) * scale) == wanted:
            return np.float32(scale)
    raise ValueError(f"no float32 near {factor} takes {size_in} to {wanted}")
