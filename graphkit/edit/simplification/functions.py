"""Functions, simplified as main graphs are, as far as that holds for every call of them."""

from __future__ import annotations

from collections import Counter

import onnx

from graphkit.edit.branches import resolve_branches
from graphkit.edit.function_graph import as_model, refers_anywhere, take_back
from graphkit.edit.loops import resolve_loops
from graphkit.edit.simplification.bodies import simplify_bodies
from graphkit.edit.simplification.passes import LIFTED, simplify_once
from graphkit.model import Model

BRANCHES = "Ifs with a constant condition became the branch that runs"
LOOPS = "Loops with a constant count became their turns"


def resolve_control_flow(proto: onnx.ModelProto) -> Counter[str]:
    """Ifs and Loops of which it is known what runs, in the main graph and its bodies. Changes the model.

    Returns:
        What was done -> how often.
    """
    done: Counter[str] = Counter()
    if branches := resolve_branches(proto):
        done[BRANCHES] = len(branches)
    if loops := resolve_loops(proto):
        done[LOOPS] = len(loops)
    return done


def simplify_functions(model: Model, proto: onnx.ModelProto, limit: int) -> Counter[str]:
    """Leave out what one look at each node of each function finds. Changes the model.

    Args:
        model: Whose bytes the constants are.
        proto: The model to change.
        limit: Bytes by which computed constants may make the model larger.

    Returns:
        What was done -> how often.

    Scope: functions and the bodies in them. Nothing is known of the types of a function's inputs, and nodes that take
        attributes from the call stay as they are.
    Cost: O(nodes of the functions), with one shape inference of each.
    """
    done: Counter[str] = Counter()
    for function in proto.functions:
        whole = as_model(proto, function)
        called = refers_anywhere(whole.graph)
        now = simplify_once(model, whole, limit, called=called)
        now += simplify_bodies(model, whole, limit, called=called)
        now += resolve_control_flow(whole)
        del now[LIFTED]  # they are Constant nodes again
        if now:
            take_back(proto, function, whole)
            done += now
    return done
