"""Values of attributes that only some versions of an operator have: what schemas say in their texts alone.

Source: onnx/docs/Changelog.md. Where a version of an operator brings a value, its description of the attribute names it and
the one before does not; a test compares the table with the descriptions of the installed onnx.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from graphkit.graph.values import attribute_value

ALWAYS = 1 << 30

VALUES: dict[tuple[str, str], dict[str, tuple[int, int]]] = {
    ("GridSample", "mode"): {
        "bilinear": (16, 20),
        "bicubic": (16, 20),
        "linear": (20, ALWAYS),
        "cubic": (20, ALWAYS),
        "nearest": (16, ALWAYS),
    },
    ("Pad", "mode"): {
        "constant": (1, ALWAYS),
        "reflect": (1, ALWAYS),
        "edge": (1, ALWAYS),
        "wrap": (19, ALWAYS),
    },
    ("Resize", "coordinate_transformation_mode"): {
        "half_pixel": (11, ALWAYS),
        "pytorch_half_pixel": (11, ALWAYS),
        "align_corners": (11, ALWAYS),
        "asymmetric": (11, ALWAYS),
        "tf_half_pixel_for_nn": (11, 13),
        "tf_crop_and_resize": (11, ALWAYS),
        "half_pixel_symmetric": (19, ALWAYS),
    },
    ("Resize", "mode"): {"nearest": (10, ALWAYS), "linear": (10, ALWAYS), "cubic": (11, ALWAYS)},
    **{
        (op, "reduction"): {
            "none": (16, ALWAYS),
            "add": (16, ALWAYS),
            "mul": (16, ALWAYS),
            "max": (18, ALWAYS),
            "min": (18, ALWAYS),
        }
        for op in ("ScatterElements", "ScatterND")
    },
    ("Upsample", "mode"): {"nearest": (1, ALWAYS), "bilinear": (1, 7), "linear": (7, ALWAYS)},
}
"""(operator, attribute) -> value -> the first opset that has it, and the first that has it no more."""

MOD_OF_FLOATS = 28
"""The opset since which Mod takes floats with fmod=0."""

FLOATS = ("tensor(float16)", "tensor(bfloat16)", "tensor(float)", "tensor(double)")


def wrong_value(node: onnx.NodeProto, opset: int, types: Sequence[str | None]) -> str | None:
    """The value of an attribute that a node of ai.onnx may not have in an opset, as half a sentence; None where all may.

    Args:
        node: The node.
        opset: The version of ai.onnx.
        types: The types of its inputs, as schemas write them; None where one is unknown.
    """
    for attribute in node.attribute:
        known = VALUES.get((node.op_type, attribute.name))
        if known is None or attribute.ref_attr_name:
            continue
        value = attribute.s.decode("utf-8", "replace")
        first, end = known.get(value, (0, 0))
        if not first <= opset < end:
            when = (
                "is none that ONNX has" if not end else f"came with opset {first}" if opset < first else "is gone since"
            )
            more = f" opset {end}" if end and opset >= end else ""
            return f"{attribute.name}={value!r} {when}{more}"
    floats = any(kind in FLOATS for kind in types)
    if node.op_type == "Mod" and opset < MOD_OF_FLOATS and floats and not attribute_value(node, "fmod", 0):
        return f"fmod=0 on floats came with opset {MOD_OF_FLOATS}"
    return None
