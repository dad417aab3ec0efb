"""Bodies of If, Loop and Scan, simplified as main graphs are: what they capture is fed to them, or is a constant."""

from __future__ import annotations

from collections import Counter

import onnx

from graphkit.edit.body_model import alone
from graphkit.edit.nodes import set_nodes
from graphkit.edit.simplification.passes import simplify_once
from graphkit.graph import walk
from graphkit.graph.addresses import Addresses, Site
from graphkit.graph.names import Names
from graphkit.model import Model
from graphkit.shapes.inference import inferred

FIRST_IR = 4
"""The IR version since which an initializer need not be an input."""


def simplify_bodies(model: Model, proto: onnx.ModelProto, limit: int, *, called: bool = False) -> Counter[str]:
    """Leave out what one look at each node of each body finds, inner bodies first. Changes the model.

    Args:
        model: Whose bytes the constants are.
        proto: The model to change.
        limit: Bytes by which computed constants may make a body larger.
        called: As for ``simplify_once``.

    Returns:
        What was done -> how often.

    Scope: bodies of the main graph at any depth; not those of functions.
    Cost: O(graph), with one shape inference of the whole and one of each body.
    """
    done: Counter[str] = Counter()
    if proto.ir_version < FIRST_IR or next(walk.nested(proto.graph.node), None) is None:
        return done
    sites = [site for site in Addresses(proto).sites if site.outer is not None and site.function is None]
    typed = {site.prefix: site for site in Addresses(proto if called else inferred(proto)).sites}
    training = [graph for part in proto.training_info for graph in (part.initialization, part.algorithm)]
    names = Names(proto.graph, *training)
    for site in reversed(sites):
        done += _simplified(model, proto, site, typed[site.prefix], limit, names, called=called)
    return done


def _simplified(
    model: Model, proto: onnx.ModelProto, site: Site, typed: Site, limit: int, names: Names, *, called: bool
) -> Counter[str]:
    body = site.graph
    assert body is not None
    captured = set(walk.free_names(body))
    whole = alone(proto, site, typed)
    done = simplify_once(model, whole, limit, names, called=called)
    if not done:
        return done
    graph = whole.graph
    nodes = [node for node in graph.node if captured.isdisjoint(node.output)]
    held = {tensor.name: tensor for tensor in graph.initializer}
    made = {name for node in nodes for name in node.output}
    # What a body gives comes from a node: ONNX Runtime takes no initializer for it.
    fixed = [value.name for value in body.output if value.name in held and value.name not in made]
    fixed = [name for name in dict.fromkeys(fixed) if name not in captured]
    nodes += [onnx.helper.make_node("Constant", [], [name], value=held[name]) for name in fixed]
    set_nodes(body, nodes)
    for field in ("initializer", "sparse_initializer", "value_info", "quantization_annotation"):
        body.ClearField(field)
        getattr(body, field).extend(getattr(graph, field))
    gone = captured.union(fixed)
    for place in range(len(body.initializer) - 1, -1, -1):
        if body.initializer[place].name in gone:
            del body.initializer[place]
    for place in range(len(body.sparse_initializer) - 1, -1, -1):
        if body.sparse_initializer[place].values.name in gone:
            del body.sparse_initializer[place]
    return done
