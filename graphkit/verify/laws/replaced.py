"""replaced: what was taken out and what was put in agree on the values at their boundary."""

from __future__ import annotations

from dataclasses import replace

import onnx
import onnx.inliner

from graphkit.model import Model
from graphkit.verify.laws.binding import Binding, Change, Unproved
from graphkit.verify.laws.same import identity


def define(change: Change) -> Binding:
    """Before, with the function's body in the place of each call, put there by onnx's own inliner."""
    function = change.arguments["function"]
    if not isinstance(function, onnx.FunctionProto):
        raise Unproved("the history does not hold the function")

    def with_body(model: Model) -> Model:
        proto = model.copy_proto()
        proto.functions.append(function)
        proto.ir_version = max(proto.ir_version, 8)
        if function.domain not in {entry.domain for entry in proto.opset_import}:
            proto.opset_import.add(domain=function.domain, version=1)
        flat = onnx.inliner.inline_selected_functions(proto, [(function.domain, function.name)])
        return Model(flat, model.sources, path=model.path)

    return replace(identity(change), prepare=with_body)
