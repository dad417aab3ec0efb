"""The nodes that make of pictures what a model was trained on: layout, channel order, resizing, scaling to mean and std.

Resizing follows what each library does. PIL and torchvision widen the filter where a picture shrinks (antialias) and go
over the rows, round to whole numbers, then over the columns; bicubic is the one with a = -0.5. OpenCV takes the samples
as they are, in one go; bicubic is the one with a = -0.75.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx

from graphkit.graph.names import Names
from graphkit.graph.values import tensor_type

Library = Literal["pil", "opencv", "torchvision"]
Filter = Literal["bilinear", "bicubic", "nearest"]

ANTIALIAS = 18
"""The opset since which Resize has ``antialias`` and ``axes``."""


@dataclass(frozen=True)
class Pictures:
    """What pictures are, and what the model takes.

    Attributes:
        taken: The element type of the pictures.
        given: The element type that the model takes.
        dims: The dims of the model's input, channels first: batch, channels, height, width.
        channels_last: Whether the pictures have their channels last.
        model_last: Whether the model takes them last.
        swapped: Whether the order of the channels is reversed.
        mean: One number a channel, or one for all; of values from 0 to 1.
        std: The same.
        resize: The library whose resizing is followed; None for pictures that have the model's size.
        filter: How it interpolates.
    """

    taken: int
    given: int
    dims: Sequence[int | str | None]
    channels_last: bool
    model_last: bool
    swapped: bool
    mean: Sequence[float]
    std: Sequence[float]
    resize: Library | None
    filter: Filter


def picture_body(pictures: Pictures, opset: int, symbols: Sequence[str]) -> onnx.ModelProto:
    """A model from pictures to the model's input.

    Args:
        pictures: What is wanted.
        opset: The version of ai.onnx to write it in; 11 or later.
        symbols: What to call the height and width of pictures of any size.
    """
    return _Writer(pictures, opset).body(symbols)


class _Writer:
    def __init__(self, pictures: Pictures, opset: int) -> None:
        self._p = pictures
        self._opset = opset
        self._names = Names()
        self._model = onnx.ModelProto(ir_version=8)
        self._model.opset_import.add(domain="", version=opset)
        self._model.graph.name = "image"

    def body(self, symbols: Sequence[str]) -> onnx.ModelProto:
        """Write it."""
        p, graph = self._p, self._model.graph
        batch, channels, height, width = p.dims
        sizes = [height, width] if p.resize is None else list(symbols)
        taken = [batch, *sizes, channels] if p.channels_last else [batch, channels, *sizes]
        given = [batch, height, width, channels] if p.model_last else [batch, channels, height, width]
        graph.input.add(name="pictures").type.CopyFrom(tensor_type(p.taken, taken))
        value = "pictures"
        if p.channels_last:
            value = self._add("Transpose", [value], "channels_first", perm=[0, 3, 1, 2])
        if p.swapped:
            assert isinstance(channels, int)
            value = self._add("Gather", [value, self._ints(list(range(channels))[::-1])], "swapped", axis=1)
        if p.taken != onnx.TensorProto.FLOAT:
            value = self._add("Cast", [value], "wide", to=onnx.TensorProto.FLOAT)
        if p.resize is not None:
            value = self._resized(value)
        value = self._scaled(value)
        if p.given != onnx.TensorProto.FLOAT:
            value = self._add("Cast", [value], "narrow", to=p.given)
        if p.model_last:
            value = self._add("Transpose", [value], "channels_last", perm=[0, 2, 3, 1])
        graph.node[-1].output[0] = "image"
        graph.output.add(name="image").type.CopyFrom(tensor_type(p.given, given))
        return self._model

    def _scaled(self, value: str) -> str:
        """(x / 255 - mean) / std."""
        value = self._add("Div", [value, self._floats([255.0], ())], "scaled")
        mean, std = self._p.mean, self._p.std
        if any(mean):
            value = self._add("Sub", [value, self._floats(mean, (len(mean), 1, 1))], "centred")
        if any(number != 1 for number in std):
            value = self._add("Div", [value, self._floats(std, (len(std), 1, 1))], "normal")
        return value

    def _resized(self, value: str) -> str:
        height, width = self._p.dims[2:]
        assert isinstance(height, int)
        assert isinstance(width, int)
        if self._p.filter == "nearest":
            for axis, size in ((2, height), (3, width)):
                value = self._nearest(value, axis, size)
            return value
        mode = "linear" if self._p.filter == "bilinear" else "cubic"
        if self._p.resize == "opencv":
            extra = {"cubic_coeff_a": -0.75} if mode == "cubic" else {}
            return self._whole(self._resize(value, (height, width), mode=mode, **extra))
        for axis, size in ((3, width), (2, height)):
            value = self._whole(self._antialiased(value, axis, size, mode))
        return value

    def _nearest(self, value: str, axis: int, size: int) -> str:
        """One axis by indices in whole numbers: Resize reckons in float32, which misses where a place is just between two.

        PIL takes floor((i + 0.5) * old / new), the others floor(i * old / new).
        """
        twice = 2 * np.arange(size, dtype=np.int64) + (self._p.resize == "pil")
        shape = self._add("Shape", [value], "shape")
        old = self._add("Gather", [shape, self._constant(np.array(axis))], "old", axis=0)
        product = self._add("Mul", [self._constant(twice), old], "twice")
        places = self._add("Div", [product, self._ints([2 * size])], "places")
        return self._add("Gather", [value, places], "nearest", axis=axis)

    def _resize(self, value: str, sizes: tuple[int, int], **attributes: str | float) -> str:
        """Both axes at once."""
        shape = self._add("Shape", [value], "shape")
        start, end = self._ints([0]), self._ints([2])
        kept = self._add("Slice", [shape, start, end], "kept")
        wanted = self._add("Concat", [kept, self._ints(sizes)], "sizes", axis=0)
        none = "" if self._opset >= 13 else self._floats([], (0,))
        return self._add("Resize", [value, none, none, wanted], "resized", **attributes)

    def _antialiased(self, value: str, axis: int, size: int, mode: str) -> str:
        """One axis, with a filter that widens where the picture shrinks."""
        if self._opset >= ANTIALIAS:
            extra = {"cubic_coeff_a": -0.5} if mode == "cubic" else {}
            inputs = [value, "", "", self._ints([size])]
            return self._add(
                "Resize", inputs, "resized", mode=mode, antialias=1, axes=[axis], exclude_outside=1, **extra
            )
        weights = self._weights(value, axis, size, mode)
        if axis == 2:
            return self._add("MatMul", [weights, value], "columns")
        return self._add("MatMul", [value, self._add("Transpose", [weights], "turned", perm=[1, 0])], "rows")

    def _weights(self, value: str, axis: int, size: int, mode: str) -> str:
        """What each old place gives each new one: [new size, old size]. For opsets whose Resize has no antialias."""
        shape = self._add("Shape", [value], "shape")
        old = self._add("Gather", [shape, self._constant(np.array(axis))], "old", axis=0)
        places = self._add("Range", [self._constant(np.array(0)), old, self._constant(np.array(1))], "places")
        middles = self._add("Add", [self._float(places), self._floats([0.5], ())], "middles")
        ratio = self._add("Div", [self._float(old), self._floats([float(size)], ())], "ratio")
        centres = self._add(
            "Mul", [self._constant((np.arange(size, dtype=np.float32) + 0.5)[:, None]), ratio], "centres"
        )
        far = self._add("Abs", [self._add("Sub", [middles, centres], "difference")], "far")
        one = self._floats([1.0], ())
        far = self._add("Div", [far, self._add("Max", [ratio, one], "width")], "far")
        if mode == "linear":
            weights = self._add("Relu", [self._add("Sub", [one, far], "near")], "weights")
        else:
            weights = self._cubic(far)
        if self._opset >= 13:
            total = self._add("ReduceSum", [weights, self._ints([1])], "total")
        else:
            total = self._add("ReduceSum", [weights], "total", axes=[1])
        return self._add("Div", [weights, total], "shares")

    def _cubic(self, far: str) -> str:
        """Keys' cubic with a = -0.5, as PIL has it."""
        near = self._polynomial(far, (1.5, -2.5, 0.0, 1.0))
        outer = self._polynomial(far, (-0.5, 2.5, -4.0, 2.0))
        inside = self._add("Less", [far, self._floats([1.0], ())], "inside")
        reached = self._add("Less", [far, self._floats([2.0], ())], "reached")
        rest = self._add("Where", [reached, outer, self._floats([0.0], ())], "rest")
        return self._add("Where", [inside, near, rest], "weights")

    def _polynomial(self, value: str, factors: Sequence[float]) -> str:
        result = self._floats([factors[0]], ())
        for factor in factors[1:]:
            product = self._add("Mul", [result, value], "product")
            result = self._add("Add", [product, self._floats([factor], ())], "sum")
        return result

    def _whole(self, value: str) -> str:
        """Whole numbers from 0 to 255, as pictures have them."""
        rounded = self._add("Round", [value], "rounded")
        return self._add("Clip", [rounded, self._floats([0.0], ()), self._floats([255.0], ())], "held")

    def _float(self, value: str) -> str:
        return self._add("Cast", [value], "float", to=onnx.TensorProto.FLOAT)

    def _ints(self, numbers: Sequence[int]) -> str:
        return self._constant(np.array(numbers, np.int64))

    def _floats(self, numbers: Sequence[float], shape: tuple[int, ...]) -> str:
        return self._constant(np.array(numbers, np.float32).reshape(shape))

    def _constant(self, array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> str:
        return self._add("Constant", [], "constant", value=onnx.numpy_helper.from_array(array))

    def _add(self, op: str, inputs: Sequence[str], wish: str, **attributes: Any) -> str:
        output = self._names.fresh(wish)
        self._model.graph.node.add().CopyFrom(onnx.helper.make_node(op, inputs, [output], **attributes))
        return output
