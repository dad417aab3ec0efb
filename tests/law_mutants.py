"""How good are the laws? Damaged results must be refused, honest edits must be proved: one command.

    python tests/law_mutants.py --mutants 400 --honest 1000

The first question (does the replay give these bytes?) is switched off for mutants, so that only the law is asked. A mutant
counts where it moves an output beyond the tolerance that the proof prints, on one of 20 feeds that the proof has not seen,
or makes a declared shape untrue, or no longer runs.
"""

import argparse
import random
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import onnx

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))

import graphkit as gk
from graphkit.feeds.random import RandomFeeds
from graphkit.graph import walk
from graphkit.model import Model
from graphkit.storage.load import as_model
from graphkit.surgery.split import Split
from law_nets import DRAWS, all_nets, an_edit, applied
from nets import SWAPS, every_node
from oracle import run_ort

FEEDS = 20


def edited(net, rng, most=1, name=""):
    """A model and what a chain of operations made of it; None where the first does not go."""
    source = as_model(net)
    model = source
    if any(node.op_type == "Twice" for node in source.proto.graph.node):  # nothing runs it before it has a body
        if name not in ("", "define"):
            return None
        model = gk.define(source, an_edit(source.proto, rng, name="define")[1]["function"])
        if name == "define":
            return model
    for turn in range(rng.randint(1, most)):
        drawn = an_edit(model.proto, rng, name=name)
        if drawn is None:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = applied(model, drawn)
        except (gk.GraphkitError, ValueError):
            if turn == 0 and most == 1:
                return None
    return model if model is not source else None


def merged(nets, rng):
    """Two models, where it goes the second fed by an output of the first, and what merge made of them; None where it does not."""
    one, two = ({"one": nets[rng.choice(sorted(nets))]} for _ in range(2))
    models = one | {"two": two["one"]}
    pairs = [
        {f"one:{made.name}": f"two:{read.name}"}
        for made in models["one"].graph.output
        for read in models["two"].graph.input
        if made.type.tensor_type.elem_type == read.type.tensor_type.elem_type != 0
    ]
    rng.shuffle(pairs)
    for connect in [*pairs, None]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return models, gk.merge(models, connect=connect, prefix=rng.random() < 0.3)
        except gk.GraphkitError:
            continue
    return None


def stages(net, rng):
    """A model in two or three stages; None where it has too few nodes."""
    values = [name for node in net.graph.node for name in node.output if name]
    ways = [{"stages": rng.choice([2, 3])}, {"at": [rng.choice(values)]}]
    try:
        return gk.split(net, **rng.choice(ways))
    except gk.GraphkitError:
        return None


# What a fault in an operation would do: each changes a proto and says what it did, or None where it found nothing.


def drop_node(proto, rng):
    nodes = [n for n in proto.graph.node if n.input and n.input[0] and len(n.output) == 1]
    outputs = {v.name for v in proto.graph.output}
    nodes = [n for n in nodes if n.output[0] not in outputs]
    if not nodes:
        return None
    node = rng.choice(nodes)
    for other in every_node(proto.graph):
        for at, name in enumerate(other.input):
            if name == node.output[0]:
                other.input[at] = node.input[0]
    proto.graph.node.remove(node)
    return f"dropped {node.op_type}"


def swap_inputs(proto, rng):
    nodes = [n for n in every_node(proto.graph) if len(n.input) > 1 and n.input[0] != n.input[1] and all(n.input[:2])]
    if not nodes:
        return None
    node = rng.choice(nodes)
    node.input[0], node.input[1] = node.input[1], node.input[0]
    return f"swapped the inputs of {node.op_type}"


def move_edge(proto, rng):
    nodes = list(proto.graph.node)
    places = [(at, i) for at, n in enumerate(nodes) for i, name in enumerate(n.input) if name]
    if not places:
        return None
    at, i = rng.choice(places)
    known = [v.name for v in proto.graph.input] + [o for n in nodes[:at] for o in n.output if o]
    known = [name for name in known if name != nodes[at].input[i]]
    if not known:
        return None
    nodes[at].input[i] = rng.choice(known)
    return f"moved an edge of {nodes[at].op_type}"


def weights(proto):
    return [t for t in walk.tensors(proto) if t.data_type in (1, 10, 11, 16) and np.prod(t.dims) > 0]


def scale_weight(proto, rng):
    found = weights(proto)
    if not found:
        return None
    tensor = rng.choice(found)
    array = onnx.numpy_helper.to_array(tensor)
    tensor.CopyFrom(onnx.numpy_helper.from_array((array * 1.01).astype(array.dtype), tensor.name))
    return f"scaled {tensor.name}"


def stale_constant(proto, rng):
    found = [t for t in walk.tensors(proto) if np.prod(t.dims) > 0 and t.data_type != 8]
    if not found:
        return None
    tensor = rng.choice(found)
    array = np.array(onnx.numpy_helper.to_array(tensor))
    if array.dtype.kind not in "fiu":
        return None
    array.reshape(-1)[rng.randrange(array.size)] += 1
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return f"one number of {tensor.name}"


def lose_weight(proto, rng):
    found = weights(proto)
    if not found:
        return None
    tensor = rng.choice(found)
    array = onnx.numpy_helper.to_array(tensor)
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.zeros_like(array), tensor.name))
    return f"zeros for {tensor.name}"


def zero_channel(proto, rng):
    found = [t for t in walk.tensors(proto) if len(t.dims) > 1 and (t.data_type == 3 or t.name.endswith("_int4"))]
    if not found:
        return None
    tensor = rng.choice(found)
    array = np.array(onnx.numpy_helper.to_array(tensor))
    axis = rng.randrange(2)
    array[(slice(None),) * axis + (rng.randrange(array.shape[axis]),)] = 0
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return f"a channel of {tensor.name} zeroed"


def wrong_axis(proto, rng):
    found = [(n, a) for n in every_node(proto.graph) for a in n.attribute if a.name == "axis"]
    if not found:
        return None
    node, attribute = rng.choice(found)
    attribute.i = attribute.i - 1 if attribute.i > 0 else attribute.i + 1
    return f"axis of {node.op_type}"


def exchange_branches(proto, rng):
    found = [n for n in every_node(proto.graph) if n.op_type == "If"]
    if not found:
        return None
    node = rng.choice(found)
    for attribute in node.attribute:
        attribute.name = {"then_branch": "else_branch", "else_branch": "then_branch"}[attribute.name]
    return "branches exchanged"


def other_operator(proto, rng):
    found = [n for n in every_node(proto.graph) if n.op_type in SWAPS and not n.op_type.endswith("Pool")]
    if not found:
        return None
    node = rng.choice(found)
    was, node.op_type = node.op_type, rng.choice(SWAPS[node.op_type])
    del node.attribute[:]
    return f"{node.op_type} for {was}"


def stale_shape(proto, rng):
    found = [
        dim
        for graph in walk.graphs(proto.graph)
        for value in (*graph.value_info, *graph.output)
        for dim in value.type.tensor_type.shape.dim
        if dim.dim_value
    ]
    if not found:
        return None
    rng.choice(found).dim_value += 1
    return "a stale declared shape"


def other_default(proto, rng):
    listed = {v.name for v in proto.graph.input}
    found = [t for t in proto.graph.initializer if t.name in listed and t.data_type == 1]
    if not found:
        return None
    tensor = rng.choice(found)
    array = onnx.numpy_helper.to_array(tensor)
    tensor.CopyFrom(onnx.numpy_helper.from_array((array * 1.1 + 0.1).astype(array.dtype), tensor.name))
    return f"another default of {tensor.name}"


def stale_reader(proto, rng):
    """One reader of an input goes on with a constant, as a promotion that missed it would leave it."""
    inputs = [v for v in proto.graph.input if v.type.tensor_type.elem_type == 1]
    readers = [(n, i, v) for v in inputs for n in every_node(proto.graph) for i, x in enumerate(n.input) if x == v.name]
    if not readers:
        return None
    node, at, value = rng.choice(readers)
    shape = [d.dim_value or 1 for d in value.type.tensor_type.shape.dim]
    array = np.random.default_rng(rng.randint(0, 99)).standard_normal(shape).astype(np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(array, "stale_constant"))
    node.input[at] = "stale_constant"
    return f"{node.op_type} reads a stale constant instead of {value.name}"


def reorder_nodes(proto, rng):
    """Two nodes in a row of one input each change places."""
    makers = {n.output[0]: n for n in proto.graph.node if len(n.input) == len(n.output) == 1 and n.input[0]}
    pairs = [(makers[n.input[0]], n) for n in makers.values() if n.input[0] in makers]
    pairs = [(a, b) for a, b in pairs if a.op_type != b.op_type]
    if not pairs:
        return None
    first, second = rng.choice(pairs)
    first.op_type, second.op_type = second.op_type, first.op_type
    mine, theirs = list(first.attribute), list(second.attribute)
    for node, attributes in ((first, theirs), (second, mine)):
        copies = [onnx.AttributeProto.FromString(a.SerializeToString()) for a in attributes]
        del node.attribute[:]
        node.attribute.extend(copies)
    return f"{second.op_type} and {first.op_type} in the other order"


def drop_edge(proto, rng):
    """An operand that an operator can do without goes."""
    nodes = [
        n
        for n in every_node(proto.graph)
        if n.op_type in ("Conv", "Gemm", "Clip", "LSTM", "LayerNormalization") and len(n.input) > 2
    ]
    if not nodes:
        return None
    node = rng.choice(nodes)
    gone = node.input.pop()
    return f"{node.op_type} without {gone}"


def swap_outputs(proto, rng):
    if len(proto.graph.output) < 2:
        return None
    first, second = proto.graph.output[0], proto.graph.output[1]
    first.name, second.name = second.name, first.name
    return "two outputs exchanged"


DAMAGES = [
    drop_node, swap_inputs, move_edge, scale_weight, stale_constant, lose_weight, zero_channel, wrong_axis,
    exchange_branches, other_operator, stale_shape, other_default, stale_reader,
    reorder_nodes, drop_edge, swap_outputs,
]  # fmt: skip


def damaged(model, rng):
    """A copy of an edited model, its history as it was, with one fault; and what it is."""
    order = rng.sample(DAMAGES, len(DAMAGES))
    for damage in order:
        proto = model.materialize()
        before = proto.SerializeToString(deterministic=True)
        said = damage(proto, rng)
        if said is not None and proto.SerializeToString(deterministic=True) != before:
            return Model(proto, {}, path=model.path, original=model.original, steps=model.history), said
    return None, ""


def moves(honest, wrong, proof, seed, whole=None):
    """Why a mutant counts, or "" where it is none that anybody could tell. Of stages, ``whole`` is what was split."""
    if whole is not None:
        return moves_stages(honest, wrong, proof, seed, whole)
    totals = {}
    for turn in range(FEEDS):
        source = RandomFeeds(honest, seed=seed + turn)
        feeds = source.draw_all(turn)
        if turn % 2:
            feeds |= {n: source.draw(n, turn) for n, p in source.ports.items() if not p.required and p.data_type}
        expected, actual = ran(honest.materialize(), feeds), ran(wrong.proto, feeds)
        if expected is None:  # these feeds are none for the honest model either
            continue
        if actual is None:
            return "it does not run"
        if list(actual) != list(expected):
            return "other outputs"
        for name, value in expected.items():
            if reason := differs(actual[name], value, proof, name, totals):
                return reason
        if reason := false_shape(wrong.proto, feeds, honest.proto):
            return reason
    too_far = [name for name, (error, number) in totals.items() if error > relative_bound(proof, name) ** 2 * number]
    return "other numbers" if too_far else ""


def relative_bound(proof, name):
    """The relative L2 error that a proof says an output may have."""
    tolerance = next(law.outputs[name].tolerance for law in proof.laws if name in law.outputs)
    return float(tolerance.rsplit(" ", 1)[1])


def moves_stages(honest, wrong, proof, seed, whole):
    """The same of stages in a chain."""
    totals = {}
    for turn in range(FEEDS):
        feeds = RandomFeeds(whole, seed=seed + turn).draw_all(turn)
        known, expected = dict(feeds), dict(feeds)
        for good, bad in zip(honest, wrong, strict=True):
            before = dict(known)
            if not chained(good, expected):
                break
            if not chained(bad, known):
                return "it does not run"
            own = {value.name: before[value.name] for value in bad.proto.graph.input if value.name in before}
            if reason := false_shape(bad.proto, own, good.materialize()):
                return reason
        else:
            for name in (value.name for value in whole.proto.graph.output):
                if (
                    reason := differs(known[name], expected[name], proof, name, totals)
                    if name in known
                    else "no output"
                ):
                    return reason
    return ""


def chained(model, known):
    """Run a stage on what is known, which gets its outputs; whether it ran."""
    proto = model.materialize()
    wanted = {value.name for value in proto.graph.input}
    made = ran(proto, {name: value for name, value in known.items() if name in wanted})
    known.update(made or {})
    return made is not None


def ran(proto, feeds):
    """Output -> array; None where the runtime does not run it, for whatever reason."""
    try:
        return run_ort(proto, feeds)
    except Exception:  # noqa: BLE001 (whatever the runtime raises)
        return None


def differs(actual, expected, proof, name, totals):
    if isinstance(expected, list):
        if len(actual) != len(expected):
            return "another length"
        return next((r for a, e in zip(actual, expected, strict=True) if (r := differs(a, e, proof, name, totals))), "")
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        return "another shape or dtype"
    metrics = next((law.outputs[name] for law in proof.laws if name in law.outputs), None)
    if expected.dtype.kind not in "fc":
        if metrics is not None and metrics.tolerance.endswith("rounding decides them"):
            return ""
        return "" if (actual == expected).all() else "other numbers"
    a, e = actual.astype(np.float64), expected.astype(np.float64)
    if (np.isnan(a) != np.isnan(e)).any():
        return "NaN"
    fine = np.isfinite(e)
    if (a[~fine & ~np.isnan(e)] != e[~fine & ~np.isnan(e)]).any():
        return "infinity"
    if metrics is not None and metrics.tolerance.startswith("relative L2"):
        known = totals.get(name, (0.0, 0.0))  # the law is about the error over all feeds
        totals[name] = known[0] + np.square(a[fine] - e[fine]).sum(), known[1] + np.square(e[fine]).sum()
        return ""
    rtol, atol = (metrics.rtol, metrics.atol) if metrics is not None and metrics.rtol else (1e-5, 1e-5)
    return "other numbers" if (abs(a[fine] - e[fine]) > atol + rtol * abs(e[fine])).any() else ""


def false_shape(proto, feeds, honest):
    """Whether a fixed size that the model declares is not what comes out, and was declared otherwise before."""
    said = {v.name: v.type.tensor_type for v in (*proto.graph.value_info, *proto.graph.output)}
    before = {v.name: v.type.tensor_type for v in (*honest.graph.value_info, *honest.graph.output)}
    changed = [n for n, t in said.items() if n in before and t != before[n] and t.HasField("shape")]
    if not changed:
        return ""
    wide = onnx.ModelProto()
    wide.CopyFrom(proto)
    known = {v.name for v in wide.graph.output}
    for name in changed:
        if name not in known:
            wide.graph.output.add(name=name)
    made = ran(wide, feeds)
    if made is None:
        return "it does not run"
    for name in changed:
        if not hasattr(made[name], "shape"):
            continue
        dims = said[name].shape.dim
        if any(d.dim_value and d.dim_value != size for d, size in zip(dims, made[name].shape, strict=False)):
            return "a declared shape is not true"
    return ""


class Campaign:
    """Counts what happened."""

    def __init__(self, seed=0):
        self.rng = random.Random(seed)
        self.nets = all_nets()
        self.missed, self.alarms, self.unproved, self.idle = [], [], [], []
        self.count = Counter()

    def mutants(self, wanted, seconds=1e9):
        """Damage results until ``wanted`` mutants counted."""
        end, turn = time.monotonic() + seconds, 0
        names = [*sorted(DRAWS), "merge", "split"]
        while self.count["mutants"] < wanted and time.monotonic() < end:
            turn += 1
            net = self.rng.choice(sorted(self.nets))
            name = names[turn % len(names)]
            if name in ("merge", "split"):
                getattr(self, name)(net)
                continue
            honest = edited(self.nets[net], self.rng, name=name)
            if honest is None:
                continue
            good = gk.prove(honest, self.nets[net], replay=False)
            if not good:
                self.alarm(net, honest, good)
                continue
            for _ in range(4):
                wrong, said = damaged(honest, self.rng)
                if wrong is not None:
                    self.one(net, name, honest, wrong, said, good)

    def merge(self, _):
        """Mutants of what merge made."""
        found = merged({n: m for n, m in self.nets.items() if n != "custom"}, self.rng)
        if found is None:
            return
        models, honest = found
        good = gk.prove(honest, models)
        if not good:
            self.alarm("merge", honest, good)
            return
        for _ in range(4):
            wrong, said = damaged(honest, self.rng)
            if wrong is not None:
                self.count_one(
                    "merge", "merge", said, gk.prove(wrong, models), lambda w=wrong: moves(honest, w, good, 10_000)
                )

    def split(self, net):
        """Mutants of a stage of what split made."""
        parts = None if net == "custom" else stages(self.nets[net], self.rng)
        if parts is None:
            return
        whole = as_model(self.nets[net])
        good = gk.prove(parts, whole)
        if not good:
            self.alarms.append((net, "split", gk.text(good)))
            return
        for _ in range(4):
            at = self.rng.randrange(len(parts.models))
            wrong, said = damaged(parts.models[at], self.rng)
            if wrong is None:
                continue
            models = (*parts.models[:at], wrong, *parts.models[at + 1 :])
            proof = gk.prove(Split(models, parts.stages, parts.inputs, parts.outputs), whole)
            self.count_one(net, "split", said, proof, lambda m=models: moves(parts.models, m, good, 10_000, whole))

    def one(self, net, name, honest, wrong, said, good):
        proof = gk.prove(wrong, self.nets[net], replay=False)
        self.count_one(net, name, said, proof, lambda: moves(honest, wrong, good, 10_000), honest.history[-1].arguments)

    def count_one(self, net, name, said, proof, told, arguments=""):
        """Count a mutant that is refused, or that somebody could tell: ``told`` says how."""
        reason = "" if not proof else told()
        if proof and not reason:
            self.idle.append((net, name, said))
            return
        self.count["mutants"] += 1
        self.count[f"mutants of {name}"] += 1
        if proof:
            self.missed.append((net, name, said, reason, arguments))
        else:
            self.count[proof.verdict] += 1

    def honest(self, wanted, seconds=1e9):
        """Chains of one to five honest edits."""
        end = time.monotonic() + seconds
        while self.count["honest"] < wanted and time.monotonic() < end:
            net = self.rng.choice(sorted(self.nets))
            if self.rng.random() < 0.05:
                self.honest_parts(net)
                continue
            model = edited(self.nets[net], self.rng, most=5)
            if model is None:
                continue
            self.count["honest"] += 1
            self.count[f"chains of {len(model.history)}"] += 1
            proof = gk.prove(model, self.nets[net])
            if not proof:
                self.alarm(net, model, proof)

    def honest_parts(self, net):
        """Models that are merged, and one that is split."""
        nets = {name: model for name, model in self.nets.items() if name != "custom"}
        parts = stages(nets.get(net, nets["free"]), self.rng)
        found = merged(nets, self.rng)
        if found is not None:
            self.count["honest"] += 1
            self.count["merged"] += 1
            proof = gk.prove(found[1], found[0])
            if not proof:
                self.alarm("merge", found[1], proof)
        if parts is not None:
            self.count["honest"] += 1
            self.count["split"] += 1
            proof = gk.prove(parts, nets.get(net, nets["free"]))
            if not proof:
                (self.alarms if proof.verdict == "broken" else self.unproved).append((net, "split", gk.text(proof)))

    def alarm(self, net, model, proof):
        steps = [(step.operation, str(step.arguments)[:150]) for step in model.history]
        entry = (net, steps, gk.text(proof))
        (self.alarms if proof.verdict == "broken" else self.unproved).append(entry)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mutants", type=int, default=400)
    parser.add_argument("--honest", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=600)
    given = parser.parse_args()
    campaign = Campaign(given.seed)
    campaign.mutants(given.mutants, given.seconds)
    campaign.honest(given.honest, given.seconds)
    lines = []
    for title in ("missed", "alarms", "unproved"):
        found = getattr(campaign, title)
        lines.append(f"{title}: {len(found)}")
        lines += ["\n     ".join(("", *map(str, entry))) for entry in found]
    lines.append(f"mutants that no output and no shape shows: {len(campaign.idle)}")
    lines += ["   " + " ".join(entry) for entry in campaign.idle]
    lines.append(str(dict(campaign.count)))
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if campaign.missed or campaign.alarms else 0


if __name__ == "__main__":
    sys.exit(main())
