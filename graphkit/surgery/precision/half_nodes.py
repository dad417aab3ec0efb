"""What a node reads and makes when it computes in 16 bits, place by place, as its operator's schema allows.

Source: the type constraints of the ONNX operator schemas; for com.microsoft, which has no schema here, every float place
but those of onnxruntime.transformers.float16.ALWAYS_FLOAT_INPUTS.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache

import onnx

from graphkit.semantics.kinds import SHAPE_ONLY
from graphkit.semantics.schemas import schema_of
from graphkit.surgery.precision.half_weights import half_tensor

FLOAT = onnx.TensorProto.FLOAT
_TEXT: dict[int, str] = {onnx.TensorProto.FLOAT16: "tensor(float16)", onnx.TensorProto.BFLOAT16: "tensor(bfloat16)"}

INDIFFERENT = ("Cast", *SHAPE_ONLY)
"""Operators that say the same of a value in any precision: they read it as it is stored."""

EXACT = ("BitCast", "SequenceEmpty", "Optional", "SequenceConstruct", "SequenceInsert", "SequenceAt", "SplitToSequence")
"""Operators that stay: the bits of their numbers count, or they handle sequences and optionals, which no Cast converts."""

FROM_SEQUENCES = ("ConcatFromSequence", "OptionalGetElement", "SequenceMap")
"""Operators that make tensors of what such operators hold."""

DTYPE_ATTRIBUTES = {
    "Cast": "to",
    "EyeLike": "dtype",
    "RandomNormal": "dtype",
    "RandomUniform": "dtype",
    "RandomNormalLike": "dtype",
    "Bernoulli": "dtype",
    "HannWindow": "output_datatype",
    "HammingWindow": "output_datatype",
    "BlackmanWindow": "output_datatype",
    "MelWeightMatrix": "output_datatype",
}
"""The attribute that says which type an operator makes."""


@dataclass(frozen=True)
class Wants:
    """The types at a node's float places.

    Attributes:
        reads: Position of an input -> type; positions of other types are left out, None is any type.
        makes: Position of an output -> type.
        low: Whether the node computes in 16 bits.
    """

    reads: Mapping[int, int | None]
    makes: Mapping[int, int]
    low: bool = False


def makes_by_attribute(node: onnx.NodeProto) -> bool:
    """Whether an attribute says which type a node makes."""
    return node.domain in ("", "ai.onnx") and (node.op_type in DTYPE_ATTRIBUTES or node.op_type == "ConstantOfShape")


def stays(node: onnx.NodeProto, floats_in: Collection[int], floats_out: Collection[int]) -> Wants:
    """The places of a node that goes on computing in float32."""
    anything = node.op_type in INDIFFERENT and node.domain in ("", "ai.onnx")
    return Wants(dict.fromkeys(floats_in, None if anything else FLOAT), dict.fromkeys(floats_out, FLOAT))


def half_node(
    node: onnx.NodeProto, floats_in: Collection[int], floats_out: Collection[int], low: int, opset: int
) -> Wants:
    """The places of a node that may compute in 16 bits; those of ``stays`` where its schema does not let it.

    Args:
        node: The node.
        floats_in: The positions of its float32 inputs.
        floats_out: The positions of its float32 outputs.
        low: The TensorProto type to compute in.
        opset: The version of its domain that the model imports.
    """
    if next((a for a in node.attribute if a.HasField("g") or a.graphs), None) is not None:
        return Wants(dict.fromkeys(floats_in, low), dict.fromkeys(floats_out, low), low=True)
    if node.domain == "com.microsoft":
        from onnxruntime.transformers.float16 import ALWAYS_FLOAT_INPUTS

        fixed = ALWAYS_FLOAT_INPUTS.get(node.op_type, ())
        reads = {i: FLOAT if i in fixed else low for i in floats_in}
        return Wants(reads, dict.fromkeys(floats_out, low), low=True)
    kept = stays(node, floats_in, floats_out)
    reduces = node.op_type.startswith("Scatter") and any(
        a.name == "reduction" and a.s != b"none" for a in node.attribute
    )
    if node.op_type in (*EXACT, *FROM_SEQUENCES) or reduces:  # ONNX Runtime's CPU reduces no float16
        return kept
    places = _places(node.op_type, opset, low)
    if places is None:
        return kept
    inputs, outputs = places
    if (floats_in and not inputs) or (floats_out and not outputs):
        return kept
    reads = {i: low if inputs[min(i, len(inputs) - 1)][1] else FLOAT for i in floats_in}
    chosen = {inputs[min(i, len(inputs) - 1)][0]: type_ for i, type_ in reads.items()}
    makes = {}
    for position in floats_out:
        variable, allowed = outputs[min(position, len(outputs) - 1)]
        if makes_by_attribute(node):
            makes[position] = low if allowed else FLOAT
        elif variable in chosen:
            makes[position] = chosen[variable]
        elif variable.startswith("tensor("):
            makes[position] = FLOAT
        else:
            return kept
    if node.op_type in INDIFFERENT:
        return Wants(kept.reads, makes, low=bool(makes))
    return Wants(reads, makes, low=low in (*reads.values(), *makes.values()))


@cache
def _places(op: str, opset: int, low: int) -> tuple[list[tuple[str, bool]], list[tuple[str, bool]]] | None:
    """(type variable, whether it may be ``low``) of each formal input and output; None for an unknown operator."""
    schema = schema_of(op, opset)
    if schema is None:
        return None
    allowed = {c.type_param_str: _TEXT[low] in c.allowed_type_strs for c in schema.type_constraints}
    return (
        [(formal.type_str, allowed.get(formal.type_str, False)) for formal in schema.inputs],
        [(formal.type_str, allowed.get(formal.type_str, False)) for formal in schema.outputs],
    )


def convert_attributes(node: onnx.NodeProto, low: int) -> None:
    """Let a node whose attribute says what it makes make 16 bits. Changes the node."""
    name = DTYPE_ATTRIBUTES.get(node.op_type)
    if name is not None:
        own = next((attribute for attribute in node.attribute if attribute.name == name), None)
        if own is None:
            node.attribute.append(onnx.helper.make_attribute(name, low))
        else:
            own.i = low
    elif node.op_type == "ConstantOfShape":
        if not node.attribute:
            zero = onnx.TensorProto(dims=[1], data_type=FLOAT, float_data=[0])
            node.attribute.append(onnx.helper.make_attribute("value", zero))
        for attribute in node.attribute:
            half_tensor(attribute.t, low)
