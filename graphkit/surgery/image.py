"""image: a model takes pictures as they come."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from graphkit.arguments import ArgumentTypeError, ArgumentValueError
from graphkit.edit.body import Body
from graphkit.edit.inserting import Insertion
from graphkit.edit.picture_body import FLOATS, Filter, Library, Pictures, picture_body
from graphkit.errors import EditError, NameNotFoundError
from graphkit.graph.addresses import Addresses
from graphkit.graph.opset import opset_of
from graphkit.graph.values import data_type_named, dims, format_type
from graphkit.hint import Hint, call
from graphkit.model import Model
from graphkit.operation import Edit, operation
from graphkit.tensor import type_name

OLDEST = 11
"""The opset from which on the nodes can be written."""

CHANNELS = (1, 3, 4)
"""Numbers of channels that pictures have; they tell where a model's input has its channels."""

PIXELS = FLOATS | {data_type_named(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)}
"""Element types that pictures may have."""


@operation(law="bound", valid=False)
def image(
    model: Model,
    input: str,  # noqa: A002 (the word of the command line and of recipes)
    *,
    dtype: str = "uint8",
    layout: Literal["NHWC", "NCHW"] = "NHWC",
    order: Literal["rgb", "bgr"] = "rgb",
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    resize: Library | None = None,
    filter: Filter = "bilinear",  # noqa: A002 (the field's word)
) -> Edit:
    """Let an input take pictures as they come; the model makes of them what it was trained on.

    The input keeps its name. What the model gets is ``(x / 255 - mean) / std``, in the layout that it had: channels where
    the declared shape has 1, 3 or 4, first where that does not tell.

    With ``resize`` pictures may have any size, and are brought to the model's. The result agrees with that library's
    within 1 of 255, bicubic within 2, nearest exactly: PIL's ``Image.resize``, torchvision's ``resize`` (antialias),
    OpenCV's ``resize``. Four channels are red, green, blue and alpha: PIL weighs colours by alpha, and where alpha is small
    a step of 1 there is more in the colour. Pictures of floats are neither rounded nor cut off.

    Args:
        model: A path, a ModelProto or a Model.
        input: The input: four axes, floats.
        dtype: The element type of the pictures, integers or floats, whose values go from 0 to 255.
        layout: NHWC or NCHW, that of the pictures.
        order: "bgr" for pictures whose red and blue are in the opposite order to the model's, as OpenCV reads them; alpha
            stays last. ``mean`` and ``std`` are in the model's order.
        mean: One number, or one a channel, of values from 0 to 1.
        std: The same.
        resize: "pil", "opencv" or "torchvision"; None for pictures that have the model's size.
        filter: "bilinear", "bicubic" or "nearest".

    Raises:
        NameNotFoundError: The model has no such input.
        EditError: The input has not four axes of floats; the model's size is not fixed and pictures are to be resized; the
            number of channels is not known or does not fit; the opset is below 11; a std
            is 0; a mean or std is not finite; an element type is none, or no number that a picture can hold.
        ValueError: A choice that is none of these.
        TypeError: ``mean`` or ``std`` is neither a number nor numbers.

    Changes: nothing; returns a new model. The notes say the new type.
    Scope: one input of the main graph.
    Cost: O(graph); weights are not read. Below opset 18, where Resize has no antialias, resizing as PIL does multiplies by
        a matrix a side.
    Law: bound: the same numbers once the input is fed what the pictures stand for.
    Source: Pillow 13 (Resample.c, Geometry.c), OpenCV's resize.cpp, torchvision's resize; ONNX Resize-18. Pillow before 13
        resizes the rows first whatever the size; bicubic pictures whose height shrinks most differ from that where they overshoot.

    Example:
        >>> gk.image("model.onnx", "x", resize="pil").save("out.onnx")  # doctest: +SKIP
    """
    choices = ((layout, ("NHWC", "NCHW")), (order, ("rgb", "bgr")), (filter, ("bilinear", "bicubic", "nearest")))
    for value, known in (*choices, (resize, (None, "pil", "opencv", "torchvision"))):
        if value not in known:
            raise ArgumentValueError(f"{value!r} is none of {', '.join(map(str, known))}")
    if resize is None and filter != "bilinear":
        raise ArgumentValueError("filter says how pictures are resized: it goes with resize")
    proto = model.copy_proto()
    addresses = Addresses(proto)
    if input not in addresses.main.inputs:
        raise NameNotFoundError("input", input, addresses.main.inputs)
    opset = opset_of(proto)
    if opset < OLDEST:
        raise EditError(f"the model is at opset {opset}", hint=Hint("raise it first: ", call("opset", to=18)))
    pictures = pictures_of(model, input, dtype, layout, order, mean, std, resize, filter)
    body = Body("the preparation of pictures", picture_body(pictures, opset, free_sizes(input)), {})
    work = Insertion(model.proto, proto, body, None)
    work.at([[addresses.value(input)]])
    declared = next(value for value in proto.graph.input if value.name == input)
    how = f", resized as {resize} does ({filter})" if resize else ""
    return Edit(proto, [f"{input!r} takes {format_type(declared.type)}, {layout} {order}{how}"], warnings=work.warnings)


def free_sizes(name: str) -> list[str]:
    """What the height and width of pictures of any size are called."""
    return [f"{name}_height", f"{name}_width"]


def pictures_of(
    model: Model,
    name: str,
    dtype: str = "uint8",
    layout: str = "NHWC",
    order: str = "rgb",
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    resize: Library | None = None,
    filter: Filter = "bilinear",  # noqa: A002 (the field's word)
) -> Pictures:
    """What pictures are for an input, of what ``image`` was asked.

    Raises:
        EditError, ValueError, TypeError: As ``image`` says.
    """
    declared = next(value.type for value in model.proto.graph.input if value.name == name)
    shape, given = dims(declared), declared.tensor_type.elem_type
    if shape is None or len(shape) != 4 or type_name(given) not in ("float32", "float16", "float64", "bfloat16"):
        raise EditError(f"{name!r} is {format_type(declared)}; pictures go to an input of four axes of floats")
    last = shape[1] not in CHANNELS and shape[3] in CHANNELS
    first = [shape[0], shape[3], *shape[1:3]] if last else list(shape)
    channels = first[1]
    if order == "bgr" and channels not in (3, 4):
        raise EditError(f"{name!r} has {channels if channels is not None else 'an unknown number of'} channels, not 3")
    if resize is not None and not all(isinstance(size, int) for size in first[2:]):
        raise EditError(
            f"{name!r} is {format_type(declared)}, so there is no size to bring pictures to",
            hint=Hint("fix it first: ", call("dims", values={f"{name}:2": 224, f"{name}:3": 224})),
        )
    means, stds = _numbers("mean", mean), _numbers("std", std)
    for what, each in (("mean", means), ("std", stds)):
        if len(each) != 1 and isinstance(channels, int) and len(each) != channels:
            raise EditError(f"{what} has {len(each)} numbers, and {name!r} has {channels} channels")
    if 0 in stds:
        raise EditError("no std may be 0")
    if not all(map(math.isfinite, (*means, *stds))):
        raise EditError("mean and std are finite numbers")
    try:
        taken = data_type_named(dtype)
    except ValueError as error:
        raise EditError(str(error)) from error
    if taken not in PIXELS:
        raise EditError(f"pictures are integers or floats of 8 to 64 bits, not {dtype}", hint=Hint("take uint8"))
    swapped = order == "bgr"
    return Pictures(taken, given, first, layout == "NHWC", last, swapped, means, stds, resize, filter)


def _numbers(name: str, given: float | Sequence[float]) -> list[float]:
    """One number, or one a channel.

    Raises:
        ArgumentTypeError: It is neither.
    """
    refusal = ArgumentTypeError(f"{name} is a number, or one for each channel, not {given!r:.60}")
    if isinstance(given, str | bytes | bool):
        raise refusal
    try:
        return [float(number) for number in ([given] if isinstance(given, int | float) else given)]
    except (TypeError, ValueError) as error:
        raise refusal from error
