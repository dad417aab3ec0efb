"""The nodes that make of pictures what a model was trained on: layout, channel order, resizing, scaling to mean and std.

Resizing follows what each library does. PIL and torchvision widen the filter where a picture shrinks (antialias), go over
one side, round to whole numbers, then over the other; bicubic is the one with a = -0.5. torchvision goes along the rows
first. PIL does that too, unless the height shrinks by more than twice the pixels that the width does; bicubic pictures show
it, since what overshoots is cut off between the two. PIL multiplies colours by their alpha before, and divides after. OpenCV
takes the samples as they are, in one go; bicubic is the one with a = -0.75. Halves are rounded up by all of them; pictures of
floats are neither rounded nor cut off.
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

FLOATS = frozenset(
    {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16}
)
"""Element types of pictures that are not rounded."""

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
            order = [2, 1, 0, 3][:channels] if isinstance(channels, int) else [2, 1, 0]
            value = self._add("Gather", [value, self._ints(order)], "swapped", axis=1)
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
        if self._p.resize == "pil" and self._p.dims[1] == 4:
            same = self._same_size(value, height, width)
            product = self._two_sides(self._multiplied(value, same), height, width, mode)
            return self._divided(product, same)
        return self._two_sides(value, height, width, mode)

    def _two_sides(self, value: str, height: int, width: int, mode: str) -> str:
        """One side after the other, each in whole numbers."""
        sides = [(3, self._ints([width])), (2, self._ints([height]))]
        if self._p.resize == "pil" and mode == "cubic" and self._whole_numbers:
            sides.insert(0, (2, self._first_height(value, height, width)))
        for axis, size in sides:
            value = self._whole(self._antialiased(value, axis, size, mode))
        return value

    def _first_height(self, value: str, height: int, width: int) -> str:
        """The height where PIL begins with the columns, else the one that the picture has."""
        old = {axis: self._size(value, axis) for axis in (2, 3)}
        less = self._add("Sub", [old[2], self._ints([height])], "less_height")
        narrower = self._add(
            "Mul", [self._add("Sub", [old[3], self._ints([width])], "less_width"), self._ints([2])], "twice"
        )
        shrinks = self._add("Greater", [less, self._ints([0])], "shrinks")
        columns = self._add("And", [shrinks, self._add("Greater", [less, narrower], "more")], "columns_first")
        return self._add("Where", [columns, self._ints([height]), old[2]], "first_height")

    def _nearest(self, value: str, axis: int, size: int) -> str:
        """One axis by indices, reckoned as each library does: a place that is just between two pixels is rounding's to choose.

        PIL adds old / new up, from half of it on; OpenCV has i / (new / old); both in float64. torchvision has
        i * (old / new) in float32.
        """
        kind = np.float32 if self._p.resize == "torchvision" else np.float64
        old = self._add(
            "Cast", [self._size(value, axis)], "old", to=onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        )
        new = self._constant(np.array([size], kind))
        if self._p.resize == "pil":
            step = self._add("Div", [old, new], "step")
            steps = self._add("Mul", [step, self._constant(np.array([0.5] + [1.0] * (size - 1)))], "steps")
            places = self._add("CumSum", [steps, self._constant(np.array(0))], "places")
        else:
            if self._p.resize == "opencv":
                # ONNX Runtime makes y / x of (1 / x) * y, which rounds otherwise, but leaves Reciprocal
                ratio = self._add("Reciprocal", [self._add("Div", [new, old], "scale")], "ratio")
            else:
                ratio = self._add("Div", [old, new], "ratio")
            places = self._add("Mul", [self._constant(np.arange(size, dtype=kind)), ratio], "places")
        last = self._add("Sub", [old, self._constant(np.array([1], kind))], "last")
        held = self._add("Min", [self._add("Floor", [places], "floor"), last], "held")  # of integers from opset 12 on
        whole = self._add("Cast", [held], "whole", to=onnx.TensorProto.INT64)
        return self._add("Gather", [value, whole], "nearest", axis=axis)

    def _same_size(self, value: str, height: int, width: int) -> str:
        """Whether there is nothing to resize: PIL returns such a picture as it is."""
        size = self._add("Concat", [self._size(value, 2), self._size(value, 3)], "size", axis=0)
        apart = self._add("Abs", [self._add("Sub", [size, self._ints([height, width])], "apart")], "apart")
        most = self._add("ReduceMax", [apart], "most", keepdims=0)
        return self._add("Equal", [most, self._constant(np.array(0))], "same_size")

    def _multiplied(self, value: str, same: str) -> str:
        """Colours times alpha / 255, in whole numbers as PIL reckons them; as they are where the size stays."""
        colours, alpha = self._colours_and_alpha(value)
        product = self._add("Mul", [colours, self._where_not(same, alpha)], "product")
        raised = self._add("Add", [product, self._floats([128.0], ())], "raised")
        high = self._add("Floor", [self._add("Div", [raised, self._floats([256.0], ())], "parts")], "high")
        both = self._add("Div", [self._add("Add", [raised, high], "both"), self._floats([256.0], ())], "shares")
        return self._add("Concat", [self._add("Floor", [both], "multiplied"), alpha], "premultiplied", axis=1)

    def _where_not(self, condition: str, alpha: str) -> str:
        """Alpha, and 255 where the condition holds: colours stay as they are there."""
        return self._add("Where", [condition, self._floats([255.0], ()), alpha], "by")

    def _divided(self, value: str, same: str) -> str:
        """Colours divided by alpha / 255; where alpha is 0 they stay."""
        colours, alpha = self._colours_and_alpha(value)
        clear = self._add("Equal", [alpha, self._floats([0.0], ())], "clear")
        by = self._where_not(self._add("Or", [clear, same], "kept"), alpha)
        quotient = self._add("Div", [self._add("Mul", [colours, self._floats([255.0], ())], "wide"), by], "quotient")
        held = self._add("Min", [self._add("Floor", [quotient], "floor"), self._floats([255.0], ())], "held")
        return self._add("Concat", [held, alpha], "divided", axis=1)

    def _colours_and_alpha(self, value: str) -> tuple[str, str]:
        return (
            self._add("Gather", [value, self._ints([0, 1, 2])], "colours", axis=1),
            self._add("Gather", [value, self._ints([3])], "alpha", axis=1),
        )

    def _size(self, value: str, axis: int) -> str:
        """How long an axis is: [1], int64."""
        return self._add("Gather", [self._add("Shape", [value], "shape"), self._ints([axis])], "old", axis=0)

    def _resize(self, value: str, sizes: tuple[int, int], **attributes: str | float) -> str:
        """Both axes at once."""
        shape = self._add("Shape", [value], "shape")
        start, end = self._ints([0]), self._ints([2])
        kept = self._add("Slice", [shape, start, end], "kept")
        wanted = self._add("Concat", [kept, self._ints(sizes)], "sizes", axis=0)
        none = "" if self._opset >= 13 else self._floats([], (0,))
        return self._add("Resize", [value, none, none, wanted], "resized", **attributes)

    def _antialiased(self, value: str, axis: int, size: str, mode: str) -> str:
        """One axis, brought to ``size`` ([1], int64) with a filter that widens where the picture shrinks."""
        if self._opset >= ANTIALIAS:
            extra = {"cubic_coeff_a": -0.5} if mode == "cubic" else {}
            inputs = [value, "", "", size]
            return self._add(
                "Resize", inputs, "resized", mode=mode, antialias=1, axes=[axis], exclude_outside=1, **extra
            )
        weights = self._weights(value, axis, size, mode)
        if axis == 2:
            return self._add("MatMul", [weights, value], "columns")
        return self._add("MatMul", [value, self._add("Transpose", [weights], "turned", perm=[1, 0])], "rows")

    def _weights(self, value: str, axis: int, size: str, mode: str) -> str:
        """What each old place gives each new one: [new size, old size]. For opsets whose Resize has no antialias."""
        old = self._size(value, axis)
        middles = self._add("Add", [self._float(self._up_to(old)), self._floats([0.5], ())], "middles")
        ratio = self._add("Div", [self._float(old), self._float(size)], "ratio")
        halves = self._add("Add", [self._float(self._up_to(size)), self._floats([0.5], ())], "halves")
        column = self._add("Reshape", [halves, self._ints([-1, 1])], "column")
        centres = self._add("Mul", [column, ratio], "centres")
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

    def _up_to(self, count: str) -> str:
        """0, 1, ... below ``count`` ([1], int64)."""
        end = self._add("Squeeze", [count], "end")
        return self._add("Range", [self._constant(np.array(0)), end, self._constant(np.array(1))], "places")

    @property
    def _whole_numbers(self) -> bool:
        return self._p.taken not in FLOATS

    def _whole(self, value: str) -> str:
        """Whole numbers from 0 to 255 where pictures have them, halves rounded up."""
        if not self._whole_numbers:
            return value
        rounded = self._add("Floor", [self._add("Add", [value, self._floats([0.5], ())], "raised")], "rounded")
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
