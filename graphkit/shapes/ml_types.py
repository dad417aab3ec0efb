"""Types that the schemas of ai.onnx.ml give, where onnx's inference gives none: it has no rule for most of that domain."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from graphkit.graph.index import GraphIndex
from graphkit.graph.values import attribute_value, dims, tensor_type, value_type
from graphkit.semantics.schemas import Schema, schema_in

DOMAIN = "ai.onnx.ml"
_T = onnx.TensorProto

_ALIKE = frozenset(("Scaler", "Normalizer", "Imputer", "Binarizer", "LabelEncoder", "CategoryMapper"))
"""Operators whose result has the shape of their input."""

_ROWS = frozenset(("TreeEnsembleRegressor", "LinearRegressor", "SVMRegressor", "TreeEnsemble", "FeatureVectorizer"))
"""Operators that give a row of numbers for each row; classifiers give a label too."""

_CAST = {"TO_FLOAT": _T.FLOAT, "TO_STRING": _T.STRING, "TO_INT64": _T.INT64}


def ml_types(
    model: onnx.ModelProto, index: GraphIndex, given: Mapping[str, onnx.TypeProto]
) -> dict[str, onnx.TypeProto]:
    """The types of values that nodes of ai.onnx.ml make and that neither the file nor ``given`` has.

    The element type is the schema's: written there, that of an input, or by an attribute (labels are texts or numbers).
    Shapes are those of the input where the operator keeps it.

    Cost: O(nodes) where the model imports ai.onnx.ml, else nothing.
    """
    version = next((int(o.version) for o in model.opset_import if o.domain == DOMAIN), 0)
    found: dict[str, onnx.TypeProto] = {}
    if not version:
        return found

    def known(name: str) -> onnx.TypeProto | None:
        return given.get(name) or value_type(index, name) or found.get(name)

    for node in index.nodes:
        schema = schema_in(DOMAIN, node.op_type, version) if node.domain == DOMAIN else None
        if schema is None:
            continue
        for place, name in enumerate(node.output):
            if name and place < len(schema.outputs) and known(name) is None:
                first = known(node.input[0]) if node.input else None
                made = _type(node, schema, place, first)
                if made is not None:
                    found[name] = made
    return found


def _type(node: onnx.NodeProto, schema: Schema, place: int, first: onnx.TypeProto | None) -> onnx.TypeProto | None:
    if node.op_type == "ZipMap":
        key = _T.STRING if attribute_value(node, "classlabels_strings") else _T.INT64
        held = onnx.helper.make_map_type_proto(key, tensor_type(_T.FLOAT, []))
        return onnx.helper.make_sequence_type_proto(held)
    element = _element(node, schema, place, first)
    return None if element is None else tensor_type(element, _shape(node.op_type, place, first))


def _element(node: onnx.NodeProto, schema: Schema, place: int, first: onnx.TypeProto | None) -> int | None:
    """The element type of an output."""
    spelt = schema.outputs[place].type_str
    if spelt.startswith("tensor("):
        return int(_T.DataType.Value(spelt.removeprefix("tensor(").removesuffix(")").upper()))
    element = first.tensor_type.elem_type if first is not None and first.HasField("tensor_type") else 0
    if node.op_type.endswith("Classifier"):
        return _T.STRING if attribute_value(node, "classlabels_strings") else _T.INT64
    if node.op_type == "LabelEncoder":
        return _encoded(node)
    if node.op_type == "CategoryMapper":
        return {_T.STRING: _T.INT64, _T.INT64: _T.STRING}.get(element)  # type: ignore[call-overload,no-any-return]  # enums are ints
    if node.op_type == "CastMap":
        return _CAST.get(attribute_value(node, "cast_to", "TO_FLOAT"))
    shared = schema.inputs and schema.inputs[0].type_str == spelt
    return element or None if shared else None


def _encoded(node: onnx.NodeProto) -> int | None:
    """The type of a LabelEncoder's values, by the attribute that holds them."""
    tensor = attribute_value(node, "values_tensor")
    if isinstance(tensor, onnx.TensorProto):
        return tensor.data_type
    kinds = {"values_strings": _T.STRING, "values_int64s": _T.INT64, "values_floats": _T.FLOAT}
    return next((kind for name, kind in kinds.items() if attribute_value(node, name) is not None), None)


def _shape(op_type: str, place: int, first: onnx.TypeProto | None) -> list[int | str | None] | None:
    known = dims(first) if first is not None else None
    if known is None:
        return None
    if op_type in _ALIKE:
        return known
    if len(known) == 2 and (op_type in _ROWS or op_type.endswith("Classifier")):
        return [known[0]] if op_type.endswith("Classifier") and place == 0 else [known[0], None]
    return None
