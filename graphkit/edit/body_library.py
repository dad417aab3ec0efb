"""The library of bodies: small things that people put into models, by name and arguments, ``clip:low=0,high=1``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from graphkit.errors import EditError
from graphkit.graph.values import data_type_named
from graphkit.tensor import numpy_type

OLDEST = 11
"""The opset from which on the bodies can be written."""


@dataclass(frozen=True)
class Entry:
    """A body of the library.

    Attributes:
        about: What it does, one line.
        defaults: Argument -> the text that counts where it is not given; None where it has to be.
        text: Makes its ONNX text, a graph or a function without domain, out of the arguments.
    """

    about: str
    defaults: Mapping[str, str | None]
    text: Callable[[Mapping[str, str], int], str]


def named_body(text: str, opset: int) -> onnx.ModelProto:
    """A body of the library as a model.

    Args:
        text: ``NAME`` or ``NAME:KEY=VALUE,KEY=VALUE``; a list is written ``KEY=1,2,3``.
        opset: The version of ai.onnx to write it in.

    Raises:
        EditError: The body does not take an argument, lacks one, or cannot be written with its value or at this opset.
    """
    name, _, rest = text.partition(":")
    entry = BODIES[name]
    given = dict(entry.defaults)
    for pair in re.split(r"[,:](?=\w+=)", rest) if rest else ():
        key, equals, value = pair.partition("=")
        if not equals or key not in given:
            takes = ", ".join(f"{k}={v if v is not None else '...'}" for k, v in entry.defaults.items())
            raise EditError(f"the body {name!r} does not take {pair!r}", hint=f"it takes {takes or 'nothing'}")
        given[key] = value
    missing = [key for key, value in given.items() if value is None]
    if missing:
        raise EditError(f"the body {name!r} needs {missing[0]!r}", hint=f"write {name}:{missing[0]}=...")
    if opset < OLDEST:
        raise EditError(
            f"the library's bodies are written for opset {OLDEST} or later, and the model is at {opset}",
            hint=f"raise the model first with opset to {OLDEST}, or give the body as text",
        )
    try:
        written = entry.text({key: value for key, value in given.items() if value is not None}, opset)
    except ValueError as error:
        raise EditError(f"the body {text!r} cannot be written: {error}") from error
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}]> {name} {written}')
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type == onnx.TensorProto.UNDEFINED or value.name.endswith("_any"):
            value.ClearField("type")
        elif not value.type.tensor_type.shape.dim:
            value.type.tensor_type.ClearField("shape")  # what stands there is an element type, for any shape
    return model


def _graph(inputs: str, outputs: str, body: str) -> str:
    """A graph whose inputs and outputs have any type: ``name`` alone, or a type before it."""

    def typed(names: str) -> str:
        return ", ".join(part if " " in part.strip() else f"float {part.strip()}_any" for part in names.split(","))

    return f"({typed(inputs)}) => ({typed(outputs)}) {{ {body} }}"


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def _list(numbers: list[float]) -> str:
    return "{" + ", ".join(repr(float(np.float32(number))) for number in numbers) + "}"


def _elem(name: str) -> str:
    """An element type as ONNX text has it."""
    number = data_type_named(name)
    if numpy_type(number) is None:
        raise ValueError(f"{name!r} is no element type")
    return onnx.TensorProto.DataType.Name(number).lower()


def _cast(given: Mapping[str, str], opset: int) -> str:  # noqa: ARG001 (every entry has this signature)
    taken = f"{_elem(given['from'])} x" if given["from"] else "x"
    read = "x" if given["from"] else "x_any"
    return _graph(taken, "y", f"y_any = Cast<to = {data_type_named(given['to'])}>({read})")


def _unary(operator: str, *attributes: str) -> Callable[[Mapping[str, str], int], str]:
    def text(given: Mapping[str, str], opset: int) -> str:
        if operator == "Softmax" and opset < 13 and int(given["axis"]) != -1:
            raise ValueError("before opset 13 Softmax flattens the axes behind its own, so axis=-1 is all it can do")
        said = ", ".join(f"{name} = {int(given[name])}" for name in attributes)
        return _graph("x", "y", f"y_any = {operator}{f'<{said}>' if said else ''}(x_any)")

    return text


def _clip(given: Mapping[str, str], opset: int) -> str:  # noqa: ARG001 (every entry has this signature)
    elem = _elem(given["dtype"])
    low, high = float(given["low"]), float(given["high"])
    if elem == "float":
        bounds = f"low = Constant<value = float {{{low!r}}}>() high = Constant<value = float {{{high!r}}}>()"
    else:
        to = data_type_named(given["dtype"])
        bounds = (
            f"low_32 = Constant<value = float {{{low!r}}}>() high_32 = Constant<value = float {{{high!r}}}>() "
            f"low = Cast<to = {to}>(low_32) high = Cast<to = {to}>(high_32)"
        )
    return _graph(f"{elem} x", "y", f"{bounds} y_any = Clip(x, low, high)")


def _uint8(given: Mapping[str, str], opset: int) -> str:  # noqa: ARG001 (every entry has this signature)
    scale = float(given["scale"])
    body = (
        f"scale = Constant<value = float {{{scale!r}}}>() low = Constant<value = float {{0.0}}>() "
        "high = Constant<value = float {255.0}>() wide = Cast<to = 1>(x_any) scaled = Mul(wide, scale) "
        "whole = Round(scaled) clipped = Clip(whole, low, high) y_any = Cast<to = 2>(clipped)"
    )
    return _graph("x", "y", body)


def _normalize(given: Mapping[str, str], opset: int) -> str:  # noqa: ARG001 (every entry has this signature)
    mean, std = _numbers(given["mean"]), _numbers(given["std"])
    if len(mean) != len(std) or 0 in std:
        raise ValueError("mean and std have one number a channel, and no std is 0")
    count = len(mean)
    shape = f"{count},1,1" if given["layout"] == "NCHW" else str(count)
    if given["layout"] not in ("NCHW", "NHWC"):
        raise ValueError(f"a layout is NCHW or NHWC, not {given['layout']!r}")
    read = f"{_elem(given['from'])} x" if given["from"] else "x"
    name = "x" if given["from"] else "x_any"
    body = (
        f"wide = Cast<to = 1>({name}) scale = Constant<value = float {{{float(given['scale'])!r}}}>() "
        f"scaled = Div(wide, scale) mean = Constant<value = float[{shape}] {_list(mean)}>() "
        f"std = Constant<value = float[{shape}] {_list(std)}>() centred = Sub(scaled, mean) y_any = Div(centred, std)"
    )
    return _graph(read, "y", body)


def _transpose(given: Mapping[str, str], opset: int) -> str:  # noqa: ARG001 (every entry has this signature)
    perm = ", ".join(str(int(part)) for part in given["perm"].split(","))
    return _graph("x", "y", f"y_any = Transpose<perm = [{perm}]>(x_any)")


def _topk(given: Mapping[str, str], opset: int) -> str:  # noqa: ARG001 (every entry has this signature)
    body = (
        f"k = Constant<value = int64[1] {{{int(given['k'])}}}>() "
        f"values_any, indices_any = TopK<axis = {int(given['axis'])}>(x_any, k)"
    )
    return _graph("x", "values, indices", body)


def _nms(given: Mapping[str, str], opset: int) -> str:
    """Boxes [batch, n, 4] and scores [batch, classes, n]; gives the boxes that stay, best first within a class."""
    if given["format"] not in ("corners", "center"):
        raise ValueError(f"a format is corners (y1, x1, y2, x2 or x1, y1, x2, y2) or center, not {given['format']!r}")
    squeeze = (
        "batch = Squeeze(column_0, last) classes = Squeeze(column_1, last)"
        if opset >= 13
        else "batch = Squeeze<axes = [1]>(column_0) classes = Squeeze<axes = [1]>(column_1)"
    )
    body = (
        f"most = Constant<value = int64[1] {{{int(given['most'])}}}>() "
        f"iou = Constant<value = float[1] {{{float(given['iou'])!r}}}>() "
        f"score = Constant<value = float[1] {{{float(given['score'])!r}}}>() "
        f"chosen = NonMaxSuppression<center_point_box = {int(given['format'] == 'center')}>"
        "(boxes, scores, most, iou, score) "
        "last = Constant<value = int64[1] {1}>() "
        "first_0 = Constant<value = int64[1] {0}>() first_1 = Constant<value = int64[1] {1}>() "
        "column_0 = Gather<axis = 1>(chosen, first_0) column_1 = Gather<axis = 1>(chosen, first_1) "
        "box_columns = Constant<value = int64[2] {0, 2}>() box_index = Gather<axis = 1>(chosen, box_columns) "
        f"kept_boxes = GatherND(boxes, box_index) kept_scores = GatherND(scores, chosen) {squeeze}"
    )
    return (
        "(float[batch, n, 4] boxes, float[batch, classes, n] scores) => "
        f"(float[kept, 4] kept_boxes, float[kept] kept_scores, int64[kept] classes, int64[kept] batch) {{ {body} }}"
    )


BODIES: dict[str, Entry] = {
    "argmax": Entry(
        "the index of the greatest number", {"axis": "-1", "keepdims": "0"}, _unary("ArgMax", "axis", "keepdims")
    ),
    "cast": Entry("another element type", {"to": None, "from": ""}, _cast),
    "clip": Entry("numbers held between two bounds", {"low": "0", "high": "1", "dtype": "float32"}, _clip),
    "clip_uint8": Entry("times scale, rounded, held in 0 to 255, as uint8", {"scale": "1"}, _uint8),
    "identity": Entry("the same value", {}, _unary("Identity")),
    "nms": Entry(
        "boxes and scores that non-maximum suppression keeps, their classes and batch",
        {"most": "100", "iou": "0.5", "score": "0.25", "format": "corners"},
        _nms,
    ),
    "normalize": Entry(
        "(x / scale - mean) / std along the channels",
        {"mean": "0.485,0.456,0.406", "std": "0.229,0.224,0.225", "scale": "255", "layout": "NCHW", "from": ""},
        _normalize,
    ),
    "relu": Entry("Relu", {}, _unary("Relu")),
    "sigmoid": Entry("Sigmoid", {}, _unary("Sigmoid")),
    "softmax": Entry("Softmax", {"axis": "-1"}, _unary("Softmax", "axis")),
    "topk": Entry("the k greatest numbers and where they are", {"k": None, "axis": "-1"}, _topk),
    "transpose": Entry("axes in another order", {"perm": None}, _transpose),
}
"""Name -> body."""
