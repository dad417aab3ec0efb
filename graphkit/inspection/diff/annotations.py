"""Quantization annotations of two graphs side by side."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from graphkit.inspection.diff.difference import Change, Found


def compare_annotations(
    one: onnx.GraphProto, two: onnx.GraphProto, values: Mapping[str, str], found: Found, prefix: str
) -> None:
    """Quantization annotations, by the value that they are for."""
    mine = {values.get(a.tensor_name, a.tensor_name): _parameters(a, values) for a in one.quantization_annotation}
    others = {a.tensor_name: _parameters(a, {}) for a in two.quantization_annotation}
    for name in dict.fromkeys((*mine, *others)):
        if mine.get(name) != others.get(name):
            to = "added" if name not in mine else "removed" if name not in others else "changed"
            was, now = _told(mine.get(name)), _told(others.get(name))
            found.add(to, Change("quantization", prefix + name, "structure", before=was, after=now))


def _parameters(annotation: onnx.TensorAnnotation, values: Mapping[str, str]) -> frozenset[str]:
    return frozenset(f"{e.key}={values.get(e.value, e.value)}" for e in annotation.quant_parameter_tensor_names)


def _told(parameters: frozenset[str] | None) -> str | None:
    return None if parameters is None else ", ".join(sorted(parameters))
