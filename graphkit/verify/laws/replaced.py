"""replaced: what was taken out and what was put in agree on the values at their boundary."""

from __future__ import annotations

import dataclasses

import onnx
import onnx.inliner

from graphkit.graph.addresses import Addresses
from graphkit.graph.opset import opset_of
from graphkit.model import Model
from graphkit.verify.laws.binding import Binding, Change, Outcome, Unproved
from graphkit.verify.laws.same import identity, listed


def define(change: Change) -> Binding:
    """Before, with the function's body in the place of each call, put there by onnx's own inliner."""
    function = change.arguments["function"]
    if not isinstance(function, onnx.FunctionProto):
        raise Unproved("the history does not hold the function")

    def with_body(model: Model) -> Model:
        proto = model.copy_proto()
        body = proto.functions.add()
        body.CopyFrom(function)
        for entry in body.opset_import:  # another version is taken only where its operators are the same
            if entry.domain in ("", "ai.onnx"):
                entry.version = opset_of(proto)
        proto.ir_version = max(proto.ir_version, 8)
        if function.domain not in {entry.domain for entry in proto.opset_import}:
            proto.opset_import.add(domain=function.domain, version=1)
        flat = onnx.inliner.inline_selected_functions(proto, [(function.domain, function.name)])
        return Model(flat, model.sources, path=model.path)

    return dataclasses.replace(identity(change), prepare=with_body)


def replace(change: Change) -> Binding:
    """All outputs, and the values at the boundary: those that the old nodes made and the body makes now."""
    given, plain = change.arguments, identity(change)
    addresses = Addresses(change.before.proto)
    found = addresses.nodes(listed(given.get("nodes")), regex=bool(given.get("regex")))
    made = [name for each in found for name in each.node.output if each.site is addresses.main]
    made += [name for name in listed(given.get("outputs")) if addresses.main.has(name)]
    inner = {name for node in change.after.proto.graph.node for name in node.output if name}
    boundary = {name: Outcome(name) for name in made if name in inner and name not in plain.outputs}
    return dataclasses.replace(plain, inner=boundary)
