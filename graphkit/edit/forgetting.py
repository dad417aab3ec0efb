"""What a graph says beside its nodes about values that are gone."""

from __future__ import annotations

from collections.abc import Collection

import onnx


def forget_values(holder: onnx.GraphProto | onnx.FunctionProto, names: Collection[str]) -> None:
    """Drop the declared types and quantization annotations of some values. Changes the graph or function.

    Cost: O(entries).
    """
    for place in range(len(holder.value_info) - 1, -1, -1):
        if holder.value_info[place].name in names:
            del holder.value_info[place]
    if isinstance(holder, onnx.FunctionProto):
        return
    for place in range(len(holder.quantization_annotation) - 1, -1, -1):
        if holder.quantization_annotation[place].tensor_name in names:
            del holder.quantization_annotation[place]
