"""The patterns that resize recognises: Upsample 7 and 9, Resize 10, 11, 13, 18, 19, and what torch's exporters put around
them.

The spellings differ in where the size comes from (an attribute, scales, sizes), in how it is written down (a Constant,
an initializer that several nodes share, a chain that starts at Shape, a graph input) and in what the numbers are about
(every axis, or those of ``axes``). A ``Resampler`` says all of it in one form.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import onnx

from graphkit.errors import InvalidGraphError
from graphkit.graph.names import label, title
from graphkit.graph.opset import opset_of
from graphkit.graph.scopes import Scope, scopes
from graphkit.graph.values import attribute_value
from graphkit.graph.walk import nested, nodes
from graphkit.semantics.kinds import RESIZERS
from graphkit.shapes.inference import Chain, inferred

if TYPE_CHECKING:
    from graphkit.tensor import Array

Semantics = Literal["scales", "sizes"]
"""What decides the output: ``scales``: size = trunc(in * scale), sampled at 1 / scale; ``sizes``: the size is given and
the samples lie size / in apart. They differ where in * scale is no whole number."""


@dataclass(frozen=True)
class Resampler:
    """One Resize or Upsample node.

    Attributes:
        scope: The graph or body that the node stands in.
        node: The node.
        opset: The version of ai.onnx that the model imports.
        semantics: Whether the node is given scales or sizes.
        source: Name of the value that gives them; "" for the attribute of Upsample-7.
        own: The scales or sizes where they are constant, or follow from static shapes, else None.
        axes: The axes that the numbers are about, in their order; None where they are about all of them.
        rank: Number of axes of the tensor to resize, or None where nothing gives it.
        measured: Values other than the tensor itself whose shapes go into the size.
        copies: Whether the size is a plain copy of the dims of ``measured`` (and not a multiple of them).
        inputs: Graph inputs (or values nobody can compute beforehand) that go into the size.
    """

    scope: Scope = field(repr=False)
    node: onnx.NodeProto
    opset: int
    semantics: Semantics
    source: str
    own: Array | None
    axes: tuple[int, ...] | None
    rank: int | None
    measured: tuple[str, ...]
    copies: bool
    inputs: tuple[str, ...]

    @property
    def name(self) -> str:
        """What to call the node: its name, or its output where it has none."""
        return label(self.node)

    @property
    def where(self) -> str:
        """The name, and the node whose body it stands in."""
        owner = self.scope.owner
        return repr(self.name) if owner is None else f"{self.name!r} (in a body of {label(owner)!r})"

    @property
    def data(self) -> str:
        """The tensor that is resized."""
        return self.node.input[0]

    @property
    def policy(self) -> str:
        """Which one scale a node that is given sizes takes for all its axes (Resize-18): the least, the largest, or none."""
        found = str(attribute_value(self.node, "keep_aspect_ratio_policy", "stretch"))
        return found if self.semantics == "sizes" and found in ("not_larger", "not_smaller") else ""

    @property
    def follows(self) -> bool:
        """Whether the node resizes to the very size that another tensor has at run time."""
        return self.copies and bool(self.measured)

    @cached_property
    def length(self) -> int | None:
        """How many numbers the node wants: one an axis, or one for each of ``axes``."""
        if self.axes is not None:
            return len(self.axes)
        if self.rank is not None:
            return self.rank
        return len(self.own) if self.own is not None else None

    @cached_property
    def spatial(self) -> tuple[int, ...]:
        """Positions, among the numbers, of the axes that are resized.

        All but batch and channels (the first two), as torch and ONNX have them. Where the node itself resizes one of
        these, its own scales decide (a channels-last model has [1, 2, 2, 1], a plain matrix [2, 2]).
        """
        length = self.length or 0
        axes = self.axes or tuple(range(length))
        rank = self.rank or length
        counted = [axis % rank if rank else axis for axis in axes]
        usual = tuple(i for i, axis in enumerate(counted) if axis >= 2)
        scales = self.scales
        if scales is None:
            return usual
        moved = tuple(i for i in range(length) if scales[i] != 1)
        return moved if any(i not in usual for i in moved) else usual

    @cached_property
    def scales(self) -> Array | None:
        """The node's own scales, float32, one for each of its numbers; None where they are not known beforehand."""
        import numpy as np

        if self.own is None:
            return None
        if self.semantics == "scales":
            return self.own.astype(np.float32)
        dims = self._static_dims()
        if dims is None:
            return None
        ratio = (self.own / dims).astype(np.float32)
        return (
            np.full_like(ratio, ratio.min() if self.policy == "not_larger" else ratio.max()) if self.policy else ratio
        )

    @cached_property
    def sizes(self) -> Array | None:
        """The sizes the node makes, int64, one for each of its numbers; None where they are not known beforehand.

        With a ``keep_aspect_ratio_policy``: those that it is given, and that the policy then changes.
        """
        import numpy as np

        if self.own is None:
            return None
        if self.semantics == "sizes":
            return self.own.astype(np.int64)
        dims = self._static_dims()
        return (dims.astype(np.float32) * self.own.astype(np.float32)).astype(np.int64) if dims is not None else None

    def _static_dims(self) -> Array | None:
        """The dims that the node's numbers are about, where all of them are static."""
        import numpy as np

        dims = self.scope.dims_of(self.data)
        if dims is None or self.own is None:
            return None
        mine = [
            dim for dim in (dims[axis] for axis in self.axes or range(len(dims))) if isinstance(dim, int) and dim > 0
        ]
        return np.array(mine) if len(mine) == len(self.own) else None


def is_resampler(node: onnx.NodeProto) -> bool:
    """Whether a node is ONNX's own Resize or Upsample."""
    return node.op_type in RESIZERS and node.domain in ("", "ai.onnx")


def resamplers(model: onnx.ModelProto) -> Iterator[Resampler]:
    """Every node that resizes, in the main graph and in bodies, in graph order.

    Types are taken from the model as it is: give it one with inferred types for ranks and own scales to be found.
    Cost: O(nodes); weights are not read.
    """
    opset = opset_of(model)
    for scope in scopes(model.graph):
        for node in scope.index.nodes:
            if is_resampler(node):
                yield _recognise(scope, node, opset)


def check_resamplers(model: onnx.ModelProto) -> None:
    """Check every node that resizes against the shapes that onnx infers.

    ONNX Runtime does so when it loads a model, and its kernels end the process where it could not, as in a piece of a
    model that is fed with values of unknown shape.

    Raises:
        InvalidGraphError: A node has another number of scales than axes, none at all, or axes that its input lacks.

    Cost: O(nodes); where a node resizes, two runs of onnx.shape_inference.
    """
    if any(is_resampler(node) for node in nodes(model.graph)):
        for _ in resamplers(inferred(model)):
            pass  # each is looked at when it is its turn


def in_functions(model: onnx.ModelProto) -> Iterator[tuple[onnx.FunctionProto, onnx.NodeProto]]:
    """Every node that resizes inside of a model-local function."""
    for function in model.functions:
        inner = (node for body in nested(function.node) for node in body.node)
        for node in (*function.node, *inner):
            if is_resampler(node):
                yield function, node


def _recognise(scope: Scope, node: onnx.NodeProto, opset: int) -> Resampler:
    semantics, source = _source(scope, node, opset)
    axes = next((tuple(a.ints) for a in node.attribute if a.name == "axes"), None)
    dims = scope.dims_of(node.input[0])
    if axes is not None and dims is not None and not all(-len(dims) <= axis < len(dims) for axis in axes):
        raise InvalidGraphError(f"{title(node)} resizes the axes {list(axes)} of a tensor that has {len(dims)}")
    own: Array | None
    measured: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    copies = False
    if not source:
        own = _attribute_scales(node)
        if own is None:
            raise InvalidGraphError(f"{title(node)} is given neither scales nor sizes", names=[label(node)])
    else:
        chain = Chain(scope, source)
        own = _flat(chain.evaluate(opset))
        measured = tuple(name for name in chain.measured() if name != node.input[0])
        copies = semantics == "sizes" and not chain.computes
        inputs = tuple(chain.sources)
    _check_length(node, own, len(axes) if axes is not None else len(dims) if dims is not None else None)
    rank = len(dims) if dims is not None else len(own) if own is not None and axes is None else None
    return Resampler(scope, node, opset, semantics, source, own, axes, rank, measured, copies, inputs)


def _flat(array: Array | None) -> Array | None:
    """Scales or sizes as a list; runtimes take them in any shape."""
    return None if array is None else array.reshape(-1)


def _check_length(node: onnx.NodeProto, own: Array | None, length: int | None) -> None:
    """Raise where a node has another number of scales or sizes than axes to resize."""
    if own is None:
        return
    if own.dtype.kind not in "fiu":
        raise InvalidGraphError(f"{title(node)}: its scales or sizes are no numbers", names=[label(node)])
    if length is not None and len(own) != length:
        raise InvalidGraphError(f"{title(node)} has {len(own)} scales or sizes for {length} axes", names=[label(node)])


def _source(scope: Scope, node: onnx.NodeProto, opset: int) -> tuple[Semantics, str]:
    """Which input counts: an empty tensor stands for an omitted one in Resize-11 (onnx issue 2451)."""
    if node.op_type == "Upsample" or opset < 11:
        return "scales", node.input[1] if len(node.input) > 1 else ""
    sizes = node.input[3] if len(node.input) > 3 else ""
    scales = node.input[2] if len(node.input) > 2 else ""
    if sizes and not _is_empty(scope, sizes):
        return "sizes", sizes
    return "scales", scales


def _is_empty(scope: Scope, name: str) -> bool:
    tensor = scope.constant(name)
    return tensor is not None and 0 in tensor.dims


def _attribute_scales(node: onnx.NodeProto) -> Array | None:
    import numpy as np

    found = next((a for a in node.attribute if a.name == "scales"), None)
    return np.array(found.floats, np.float32) if found is not None else None
