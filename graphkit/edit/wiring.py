"""How a run-time factor reaches a Resize: the nodes between the new graph input and the node's scales or sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import onnx

from graphkit.edit.nodes import NodeWriter, insert_before, set_inputs, set_nodes
from graphkit.errors import EditError
from graphkit.graph import walk
from graphkit.graph.names import Names
from graphkit.graph.opset import opset_of
from graphkit.hint import Argument, Hint
from graphkit.shapes.resize_patterns import Resampler, Semantics, is_resampler

if TYPE_CHECKING:
    from graphkit.tensor import Array

Form = Literal["factor", "scales", "sizes"]
"""What the new graph input holds: the spatial factors, all scales, or the spatial size of the result."""

FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64

ULPS_UP = 1.0 + 2.0**-22
"""Two units in the last place of a float32: a scale that was divided out of sizes is raised by it where multiplying it
back and truncating does not give the size again (before opset 11 no node can be given a size)."""


Place = tuple[int, str]
"""A node of a model: the position of its graph among ``walk.graphs``, and its first output."""


def places(model: onnx.ModelProto) -> dict[Place, onnx.NodeProto]:
    """Every node that resizes, in the order of ``graphkit.shapes.resize_patterns.resamplers``."""
    return {
        (number, node.output[0]): node
        for number, graph in enumerate(walk.graphs(model.graph))
        for node in graph.node
        if is_resampler(node)
    }


def fix_scales(model: onnx.ModelProto, scales: Mapping[Place, Array]) -> None:
    """Give nodes constant scales, or sizes where they are integers, in any opset that has these as an input. Changes the model."""
    opset = opset_of(model)
    first: list[onnx.NodeProto] = []
    names = Names(model.graph)
    for place, node in places(model).items():
        if place not in scales:
            continue
        name = names.fresh("fixed_scales")
        sizes = scales[place].dtype.kind == "i"
        tensor = onnx.numpy_helper.from_array(scales[place].astype(np.int64 if sizes else np.float32))
        first.append(onnx.helper.make_node("Constant", [], [name], value=tensor))
        older = node.op_type == "Upsample" or opset < 11
        last = ["", name] if sizes else [name]
        set_inputs(node, [node.input[0], name] if older else [node.input[0], (*node.input, "")[1], *last])
    set_nodes(model.graph, [*first, *model.graph.node])


class Wiring:
    """Adds the nodes that turn one graph input into what each Resize wants, and connects them. Changes the model.

    Nodes that depend on the input alone stand first in the main graph, once for all users (bodies read them from
    outside); nodes that need the tensor to resize stand right before the Resize. ``finish`` puts them there.
    """

    def __init__(self, model: onnx.ModelProto, names: Names, *, form: Form, relative: bool) -> None:
        self._model = model
        self._writer = NodeWriter(names)
        self._form = form
        self._relative = relative
        self._opset = opset_of(model)
        self._first: list[onnx.NodeProto] = []
        self._before: dict[Place, list[onnx.NodeProto]] = {}
        self._cache: dict[tuple[object, ...], str] = {}

    def connect(self, source: str, site: Resampler, place: Place, node: onnx.NodeProto, semantics: Semantics) -> None:
        """Let a graph input decide what a node does.

        Args:
            source: The graph input.
            site: What is known about the node, from the model before the edit.
            place: Where the node is.
            node: The node, in the model that is edited.
            semantics: Whether it shall decide by scales or by sizes.
        """
        here = self._before.setdefault(place, [])
        if self._form == "sizes":
            wanted = self._sizes_from_sizes(source, site, here)
        elif semantics == "scales":
            wanted = self._scales(source, site, here)
        else:
            wanted = self._sizes_from_scales(source, site, here)
        self._attach(node, site, semantics, wanted, here)

    def finish(self) -> None:
        """Put the new nodes into the graphs."""
        for number, graph in enumerate(walk.graphs(self._model.graph)):
            here = {output: nodes for (at, output), nodes in self._before.items() if at == number}
            if here:
                insert_before(graph, here)
        if self._first:
            set_nodes(self._model.graph, [*self._first, *self._model.graph.node])

    def _scales(self, source: str, site: Resampler, here: list[onnx.NodeProto]) -> str:
        """The scales of a node: float32, one for each of its numbers."""
        full = source if self._form == "scales" else self._full_factor(source, site)
        return self._add(here, "Mul", [self._own_scales(site, here), full], "scales") if self._relative else full

    def _sizes_from_scales(self, source: str, site: Resampler, here: list[onnx.NodeProto]) -> str:
        """floor(in * scale), as torch's recompute_scale_factor has it; int64."""
        if self._relative and site.semantics == "sizes":
            base = self._given(site, here)
            full = source if self._form == "scales" else self._full_factor(source, site)
        else:
            base = self._dims(site, here)
            full = self._scales(source, site, here)
        exact = self._add(here, "Mul", [self._cast(here, base, FLOAT), full], "product")
        return self._cast(here, self._add(here, "Floor", [exact], "whole"), INT64)

    def _sizes_from_sizes(self, source: str, site: Resampler, here: list[onnx.NodeProto]) -> str:
        """The dims of the tensor, the spatial ones replaced by the input; int64."""
        length, spatial = _layout(site)
        lead = length - len(spatial)
        if not lead:
            return source
        dims = self._dims(site, here)
        if spatial == tuple(range(lead, length)):
            kept = self._add(here, "Gather", [dims, self._constant(here, np.arange(lead))], "kept")
            return self._add(here, "Concat", [kept, source], "sizes", axis=0)
        choice = [length + spatial.index(i) if i in spatial else i for i in range(length)]
        both = self._add(here, "Concat", [dims, source], "both", axis=0)
        return self._add(here, "Gather", [both, self._constant(here, np.array(choice))], "sizes")

    def _full_factor(self, source: str, site: Resampler) -> str:
        """The factors of all axes, 1 for those that are not spatial; float32."""
        length, spatial = _layout(site)
        count = len(spatial)
        key = (source, length, spatial)
        if key in self._cache:
            return self._cache[key]
        if (source, count) not in self._cache:
            shape = self._constant(self._first, np.array([count]))
            self._cache[source, count] = self._add(self._first, "Expand", [source, shape], f"{source}_spatial")
        full = each = self._cache[source, count]
        lead = length - count
        if lead and spatial == tuple(range(lead, length)):
            ones = self._constant(self._first, np.ones(lead, np.float32))
            full = self._add(self._first, "Concat", [ones, each], f"{source}_scales", axis=0)
        elif lead:
            one = self._constant(self._first, np.ones(1, np.float32))
            both = self._add(self._first, "Concat", [one, each], f"{source}_both", axis=0)
            choice = [1 + spatial.index(i) if i in spatial else 0 for i in range(length)]
            index = self._constant(self._first, np.array(choice))
            full = self._add(self._first, "Gather", [both, index], f"{source}_scales")
        self._cache[key] = full
        return full

    def _own_scales(self, site: Resampler, here: list[onnx.NodeProto]) -> str:
        """What the node's scales were before the edit; float32."""
        if site.semantics == "sizes":
            sizes = self._cast(here, self._given(site, here), FLOAT)
            own = self._add(here, "Div", [sizes, self._cast(here, self._dims(site, here), FLOAT)], "own_scales")
            if not site.policy:
                return own
            one = self._add(here, "ReduceMin" if site.policy == "not_larger" else "ReduceMax", [own], "own_scale")
            return self._add(here, "Expand", [one, self._add(here, "Shape", [own], "count")], "own_scales")
        if site.source:
            return self._given(site, here)
        assert site.own is not None
        return self._constant(here, site.own.astype(np.float32))

    def _given(self, site: Resampler, here: list[onnx.NodeProto]) -> str:
        """The value that gives a node its scales or sizes, as a list: runtimes take it in any shape."""
        dims = site.scope.dims_of(site.source)
        if dims is None or len(dims) == 1:
            return site.source
        return self._add(here, "Reshape", [site.source, self._constant(here, np.array([-1]))], "list")

    def _dims(self, site: Resampler, here: list[onnx.NodeProto]) -> str:
        """The dims of the tensor to resize, those of ``axes`` where the node has them; int64."""
        dims = self._add(here, "Shape", [site.data], "dims")
        if site.axes is None:
            return dims
        return self._add(here, "Gather", [dims, self._constant(here, np.array(site.axes))], "dims")

    def _attach(
        self, node: onnx.NodeProto, site: Resampler, semantics: Semantics, wanted: str, here: list[onnx.NodeProto]
    ) -> None:
        """Write the value into the place where this version of the operator takes it (onnx Changelog)."""
        if node.op_type == "Upsample" or self._opset < 11:
            if semantics == "sizes":
                wanted = self._scales_of_sizes(wanted, site, here)
            set_inputs(node, [node.input[0], wanted])
            return
        roi = node.input[1] if len(node.input) > 1 else ""
        optional = self._opset >= 13
        if not roi and not optional:
            roi = self._constant(here, np.zeros(0, np.float32))
        if semantics == "scales":
            set_inputs(node, [node.input[0], roi, wanted])
        else:
            unused = "" if optional else self._constant(here, np.zeros(0, np.float32))
            set_inputs(node, [node.input[0], roi, unused, wanted])

    def _scales_of_sizes(self, sizes: str, site: Resampler, here: list[onnx.NodeProto]) -> str:
        """The scales that give some sizes, for versions that can be given nothing else."""
        dims, wanted = self._cast(here, self._dims(site, here), FLOAT), self._cast(here, sizes, FLOAT)
        ratio = self._add(here, "Div", [wanted, dims], "ratio")
        given = self._add(here, "Floor", [self._add(here, "Mul", [dims, ratio], "product")], "whole")
        short = self._add(here, "Less", [given, wanted], "short")
        raised = self._add(here, "Mul", [ratio, self._constant(here, np.array(ULPS_UP, np.float32))], "raised")
        return self._add(here, "Where", [short, raised, ratio], "scales")

    def _cast(self, place: list[onnx.NodeProto], name: str, to: int) -> str:
        return self._add(place, "Cast", [name], "float" if to == FLOAT else "int", to=to)

    def _constant(self, place: list[onnx.NodeProto], array: Array) -> str:
        return self._writer.constant(place, array, "constant" if place is self._first else "resize_constant")

    def _add(self, place: list[onnx.NodeProto], op: str, inputs: Sequence[str], wish: str, **attributes: Any) -> str:
        return self._writer.add(place, op, inputs, wish if place is self._first else f"resize_{wish}", **attributes)


def _layout(site: Resampler) -> tuple[int, tuple[int, ...]]:
    """How many numbers the node wants, and which of them are spatial.

    Raises:
        EditError: The rank of the tensor is nowhere to be found.
    """
    if site.length is None:
        raise EditError(
            f"how many axes {site.data!r} has is not known, so no factor can be spread over the axes of {site.where}",
            hint=Hint("declare the shape of the model's inputs, or feed all scales: ", Argument("form", "scales")),
        )
    return site.length, site.spatial
