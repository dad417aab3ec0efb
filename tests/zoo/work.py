"""Every operation on one model, each result run beside the model: right, or refused with a reason; what is wrong raises."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Callable
from itertools import product

import ml_dtypes
import numpy as np
import onnx

import graphkit as gk
from graphkit.feeds.random import RandomFeeds
from graphkit.graph import walk
from graphkit.graph.names import label
from oracle import assert_same, run_ort

CUTS = 20
EXACT = {"rtol": 0.0, "atol": 0.0}
FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
CLOSE = {"rtol": 1e-3, "atol": 1e-4}
"""Where operators are fused, folded or written otherwise: sums of float32 in another order, through up to 100 layers."""


class Refused(Exception):  # noqa: N818 (an answer)
    """There is nothing to do on this model, or graphkit says that it cannot; the text is why."""


class Subject:
    """A model of the zoo, its feeds and what it says on them."""

    def __init__(self, proto: onnx.ModelProto, folder: str, sizes=None, fixed=None, seed: int = 0) -> None:
        self.proto = proto
        self.random = random.Random(seed)
        self.path = os.path.join(folder, "model.onnx")
        onnx.save(proto, self.path)
        self.model = gk.load(self.path)
        self.feeds = dict(RandomFeeds(self.model, seed=seed, bind=sizes).draw_all(0))
        self.sizes = sizes
        self.feeds.update({name: np.asarray(value, self.feeds[name].dtype) for name, value in (fixed or {}).items()})
        self.answer = run_ort(self.path, self.feeds)
        size = max((float(np.abs(a[np.isfinite(a)]).max(initial=0)) for a in self.floats()), default=1.0)
        self.close = {"rtol": 1e-3, "atol": 1e-4 * max(1.0, size)}
        self.inputs = [value.name for value in self.model.inputs]
        self.made = [name for node in proto.graph.node for name in node.output if name]
        self.values = {**self.answer, **self.feeds}

    @property
    def told(self):
        """The feeds, for graphkit, where it cannot draw ones that the model runs on; else None."""
        return self.feeds if self.sizes else None

    def floats(self):
        return (a for a in self.answer.values() if isinstance(a, np.ndarray) and a.dtype.kind == "f")

    def inner(self, names):
        """Values of the main graph on the feeds, by one run of the model with more outputs."""
        missing = [name for name in dict.fromkeys(names) if name not in self.values]
        if missing:
            tapped = onnx.ModelProto()
            tapped.CopyFrom(self.proto)
            tapped.graph.output.extend(onnx.ValueInfoProto(name=name) for name in missing)
            self.values.update(run_ort(tapped, self.feeds))
        return {name: self.values[name] for name in names}

    def same(self, edited, feeds=None, names=None, **limits):
        """The edited model says the same; ``names`` are its outputs where they have other names."""
        said = run_ort(edited, self.feeds if feeds is None else feeds)
        if names is not None:
            said = dict(zip(self.answer, (said[name] for name in names), strict=True))
        assert_same(said, self.answer, **(limits or EXACT))


def floats(subject):
    """Values of the main graph of float32 that something reads, in order."""
    readers = {name for node in subject.proto.graph.node for name in node.input}
    types = {
        v.name: v.type.tensor_type.elem_type for v in onnx.shape_inference.infer_shapes(subject.proto).graph.value_info
    }
    return [name for name in subject.made if name in readers and types.get(name) == onnx.TensorProto.FLOAT]


def proved(edited, subject, feeds=None, *, replay=True):
    """The law holds; ``feeds`` are the edited model's, where they are not the original's."""
    given = None if subject.told is None else subject.told if feeds is None else feeds
    names = {value.name for value in edited.inputs}
    proof = gk.prove(
        edited, subject.model, feeds=given and {n: a for n, a in given.items() if n in names}, replay=replay
    )
    assert proof.verdict != "broken", gk.text(proof)
    if proof.verdict == "unproved":
        raise Refused("unproved: " + "; ".join(filter(None, (law.why for law in proof.laws)))[:200])


def save(subject):
    """A copy as one file, with external data, and as text, is the model."""
    for name, options in {"copy.onnx": {}, "pair.onnx": {"external": "pair.data"}}.items():
        path = os.path.join(os.path.dirname(subject.path), name)
        gk.save(subject.model, path, **options)
        subject.same(path)
    assert onnx.load(os.path.join(os.path.dirname(subject.path), "copy.onnx")) == subject.proto


def rename(subject):
    edited = gk.rename(subject.model, prefix="zoo/", values={subject.inputs[0]: "first"} if subject.inputs else {})
    feeds = {("first" if name == subject.inputs[0] else name): array for name, array in subject.feeds.items()}
    subject.same(edited, feeds)
    proved(edited, subject, feeds)


def reorder(subject):
    edited = gk.reorder(subject.model, inputs=subject.inputs[::-1], sort=True, name_all=True)
    subject.same(edited)
    proved(edited, subject)


def tap(subject):
    names = subject.random.sample(subject.made, min(5, len(subject.made)))
    names = [name for name in names if name not in subject.answer]
    if not names:
        raise Refused("no inner value")
    said = run_ort(gk.tap(subject.model, names), subject.feeds)
    assert_same({name: said[name] for name in names}, subject.inner(names))


def simplify(subject):
    edited = gk.simplify(subject.model)
    subject.same(edited, **subject.close)
    proved(edited, subject)
    again = gk.simplify(edited)
    assert len(again.nodes) == len(edited.nodes)


def deduplicate(subject):
    edited = gk.deduplicate(subject.model)
    subject.same(edited)
    proved(edited, subject)


def inline(subject):
    edited = gk.inline(subject.model)
    subject.same(edited, **subject.close)
    proved(edited, subject)


def outline(subject):
    modules = [m.path for m in gk.inspect(subject.model).modules if m.path and m.nodes > 1]
    if not modules:
        raise Refused("no torch module is known")
    edited = gk.outline(subject.model, subject.random.choice(modules))
    subject.same(edited, **subject.close)
    proved(edited, subject)


def opset_up(subject):
    edited = gk.opset(subject.model, to=gk.runtime_limits().opset)
    subject.same(edited, **subject.close)
    proved(edited, subject)


def opset_down(subject):
    now = max((o.version for o in subject.proto.opset_import if o.domain in ("", "ai.onnx")), default=0)
    edited = gk.opset(subject.model, to=max(now - 3, 9))
    subject.same(edited, **subject.close)
    proved(edited, subject)


def honest(edited, subject, to, feeds=None, *, replay=True):
    """Proved, or refused because prove says that the numbers are too far off."""
    try:
        proved(edited, subject, feeds, replay=replay)
    except AssertionError as said:
        text = " ".join(str(said).split())  # its lines are wrapped
        for why in ("relative L2 error",) if "int" in to else ("max abs error", "% of the root mean square"):
            if why in text:
                raise Refused(f"too inexact, says prove: {why}{text.partition(why)[2][:40]}") from said
        raise


def precision(to):
    def work(subject):
        calibrated = subject.told if to in ("int8", "int4-weights") else None
        edited = gk.precision(subject.model, to=to, keep_io=to == "float16", feeds=calibrated)
        if to == "bfloat16":  # the runtime has no kernels on the CPU; prove asks onnx.reference
            feeds = {n: a.astype(ml_dtypes.bfloat16) if a.dtype == np.float32 else a for n, a in subject.feeds.items()}
            return honest(edited, subject, to, feeds)
        for name, array in run_ort(edited, subject.feeds).items():
            assert isinstance(array, list) or array.shape == subject.answer[name].shape, name
        return honest(edited, subject, to, replay=calibrated is None)

    work.__name__ = to.replace("-", "_")
    return work


def promote_and_freeze(subject):
    names = [t.name for t in subject.proto.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    if not names:
        raise Refused("no weight of float32")
    name = subject.random.choice(names)
    edited = gk.promote(subject.model, {name: "promoted"})
    array = gk.load(subject.path).array(name)
    feeds = {**subject.feeds, "promoted": array}
    subject.same(edited, feeds, **subject.close)  # a kernel that packs its weight sums in another order
    proved(edited, subject, feeds)
    subject.same(gk.freeze(edited, {"promoted": array}))


def freeze(subject):
    if len(subject.inputs) < 2:
        raise Refused("one input")
    name = subject.inputs[-1]
    edited = gk.freeze(subject.model, {name: subject.feeds[name]}, fold=True)
    subject.same(edited, {n: a for n, a in subject.feeds.items() if n != name}, **subject.close)
    proved(edited, subject)


def retype(subject):
    name = next((n for n, a in subject.feeds.items() if a.dtype == np.float32), None)
    if name is None:
        raise Refused("no input of float32")
    edited = gk.retype(subject.model, {name: "float64"})
    feeds = {**subject.feeds, name: subject.feeds[name].astype(np.float64)}
    subject.same(edited, feeds)
    proved(edited, subject, feeds)


def pictures(subject):
    found = [n for n, a in subject.feeds.items() if a.dtype == np.float32 and a.ndim == 4 and a.shape[1] == 3]
    if not found:
        raise Refused("no input takes pictures")
    return found[0]


def layout(subject):
    name = pictures(subject)
    edited = gk.layout(subject.model, {name: "NHWC"})
    feeds = {**subject.feeds, name: np.ascontiguousarray(subject.feeds[name].transpose(0, 2, 3, 1))}
    subject.same(edited, feeds)
    proved(edited, subject, feeds)


def image(subject):
    name = pictures(subject)
    edited = gk.image(subject.model, name, mean=[0.5, 0.4, 0.3], std=[0.2, 0.3, 0.4], order="bgr")
    x = subject.feeds[name]
    bytes_ = np.random.default_rng(0).integers(0, 256, (x.shape[0], *x.shape[2:], 3), np.uint8)
    there = (bytes_[..., ::-1].astype(np.float64) / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.3, 0.4]
    before = run_ort(subject.path, {**subject.feeds, name: there.transpose(0, 3, 1, 2).astype(np.float32)})
    feeds = {**subject.feeds, name: bytes_}
    assert_same(run_ort(edited, feeds), before, **subject.close)
    proved(edited, subject, feeds)


def insert_and_remove(subject):
    names = [name for name in floats(subject) if name not in subject.answer]
    if not names:
        raise Refused("no inner value of float32")
    name = subject.random.choice(names)
    double = "double (v) => (w) { two = Constant <value = float {2}> () t = Mul(v, two) w = Div(t, two) }"
    edited = gk.insert(subject.model, name, double)
    subject.same(edited)
    proved(edited, subject)
    added = {node.name for node in edited.nodes} - {node.name for node in subject.model.nodes}
    relu = next((n for n in subject.proto.graph.node if n.op_type in ("Relu", "Identity", "Dropout") and n.name), None)
    assert added
    if relu is not None:
        without = gk.remove(subject.model, nodes=[relu.name])
        run_ort(without, subject.feeds)
        proved(without, subject)


def replace(subject):
    node = next((n for n in subject.proto.graph.node if n.op_type == "Relu" and n.name), None)
    if node is None:
        raise Refused("no Relu")
    body = "relu (v) => (w) { zero = Constant <value = float {0}> () w = Max(v, zero) }"
    edited = gk.replace(subject.model, nodes=[node.name], function=body)
    subject.same(edited)
    proved(edited, subject)


def rewrite(subject):
    rules = [rule.name for rule in gk.rewrite_rules() if rule.law == "replaced" and not any(rule.parameters)]
    done = 0
    for rule in rules:
        try:
            edited = gk.rewrite(subject.model, rule)
        except gk.NothingFoundError:
            continue
        except gk.GraphkitError:
            continue
        if edited.history == subject.model.history or len(edited.history) == len(subject.model.history):
            continue
        done += 1
        subject.same(edited, **subject.close)
    if not done:
        raise Refused("no rule finds anything")


def set_parts(subject):
    edited = gk.set_parts(subject.model, metadata={"zoo": "yes"}, doc="of the zoo", clear="docs")
    subject.same(edited)
    assert edited.proto.metadata_props[-1].key == "zoo" or "zoo" in {p.key for p in edited.proto.metadata_props}
    proved(edited, subject)


def cuts(subject):
    """Twenty cuts: each part, fed with the whole's values, gives the whole's values."""
    made, done = subject.made, 0
    for _ in range(CUTS):
        at = subject.random.randrange(len(made))
        outputs = [made[at]]
        inputs = None
        if subject.random.random() < 0.6:
            back = subject.random.randrange(1, 30)
            cut = gk.suggest(subject.model, outputs=outputs, nodes=None, hops=0) if back < 3 else None
            inputs = list(cut.inputs) if cut else None
            if inputs is None:
                nodes = [n.name for n in subject.proto.graph.node[max(0, at - back) : at + 1] if n.name]
                if nodes and len(set(nodes)) == len(nodes):
                    part = gk.extract(subject.model, nodes=nodes)
                    check_part(subject, part)
                    done += 1
                    continue
        part = gk.extract(subject.model, inputs=inputs, outputs=outputs)
        check_part(subject, part)
        done += 1
    assert done == CUTS


def check_part(subject, part):
    inputs = [value.name for value in part.inputs]
    outputs = [value.name for value in part.outputs]
    held = {t.name for t in part.proto.graph.initializer}
    fed = subject.inner([name for name in inputs if name not in held])
    if any(value is None or isinstance(value, list) for value in fed.values()):
        return
    said = run_ort(part, fed)
    assert_same(said, subject.inner(outputs))


def split(subject):
    count = min(3, len(subject.proto.graph.node))
    if count < 2:
        raise Refused("one node")
    parts = gk.split(subject.model, stages=count)
    values = dict(subject.feeds)
    for part in parts.models:
        needs = [v.name for v in part.inputs]
        values.update(run_ort(part, {name: values[name] for name in needs}))
    assert_same({name: values[name] for name in subject.answer}, subject.answer)
    named = {f"part{k}": part for k, part in enumerate(parts.models)}
    wires = {}
    for k, stage in enumerate(parts.stages):
        for name, source in stage.inputs.items():
            if source != "input":
                wires.setdefault(f"part{source.removeprefix('stage').removesuffix('.onnx')}:{name}", []).append(
                    f"part{k}:{name}"
                )
    if count > 1:
        merged = gk.merge(named, connect=wires)
        assert_same(
            {
                n: run_ort(
                    merged,
                    {
                        v.name: subject.feeds[v.name.rpartition("/")[2] if v.name not in subject.feeds else v.name]
                        for v in merged.inputs
                    },
                )[n]
                for n in subject.answer
                if n in {o.name for o in merged.outputs}
            },
            {n: a for n, a in subject.answer.items() if n in {o.name for o in merged.outputs}},
        )
    proof = gk.prove(parts, subject.model, feeds=subject.told)
    assert proof.verdict != "broken", gk.text(proof)


def dims(subject):
    """A batch of two: each sample gets what it gets alone."""
    values = {}
    for value in subject.model.inputs:
        shape = value.type.tensor_type.shape.dim
        if len(shape) and shape[0].dim_value == 1:
            values[f"{value.name}:0"] = "batch"
    if not values:
        raise Refused("no input has a batch of 1 baked in")
    with warnings.catch_warnings(record=True) as said_of_it:
        warnings.simplefilter("always", gk.GraphkitWarning)
        edited = gk.dims(subject.model, values, repair_shapes=True)
    named = [str(each.message) for each in said_of_it if "wrong" in str(each.message) or "fails" in str(each.message)]
    if named:
        raise Refused(f"named: {named[0][:160]}")
    names = {key.rsplit(":", 1)[0] for key in values}
    other = dict(RandomFeeds(subject.model, seed=1, bind=subject.sizes).draw_all(0))
    two = {n: np.concatenate([a, other[n]]) if n in names else a for n, a in subject.feeds.items()}
    other = {n: other[n] if n in names else a for n, a in subject.feeds.items()}
    said, second = run_ort(edited, two), run_ort(subject.path, other)
    for name, array in said.items():
        first = subject.answer[name]
        if array.shape == first.shape:
            assert_same({name: array}, {name: first}, **subject.close)
        else:
            assert_same(array, np.concatenate([first, second[name]]), **subject.close, where=name)
    proved(edited, subject)


def resize(subject):
    edited = gk.resize(subject.model)
    factor = next(v for v in edited.inputs if v.name not in subject.inputs)
    assert factor
    proved(edited, subject)


def validate(subject):
    report = gk.validate(subject.model, against=subject.model, samples=2, feeds=subject.told)
    assert report, gk.text(report)
    wrong, where = damaged(subject)
    assert not gk.validate(wrong, against=subject.model, samples=2, feeds=subject.told), (
        f"a change of {where} is not seen"
    )


def damaged(subject):
    """The model with one number wrong by a tenth, or by more where that reaches no output, and what the node that reads
    it makes.
    """
    for factor, (place, address, array, reader) in product((1.1, 3.0, -1.0), numbers(subject)[:12]):
        wrong = np.asarray(array, np.float64) * factor
        if array.dtype.kind in "iu":
            wrong = wrong.round().clip(np.iinfo(array.dtype).min, np.iinfo(array.dtype).max)
        wrong = wrong.astype(array.dtype)
        if np.array_equal(wrong, array):
            continue
        edited = gk.set_parts(subject.model, **{place: {address: wrong if place == "tensors" else wrong.tolist()}})
        if moved(run_ort(edited, subject.feeds), subject.answer):
            return edited, reader
    raise Refused("no number whose error reaches an output")


def moved(said, answer):
    """Whether an output is off by more than a hundredth of its largest element, or is another label."""
    for name, before in answer.items():
        if isinstance(before, np.ndarray) and before.dtype.kind != "f":
            if not np.array_equal(said[name], before):
                return True
        elif isinstance(before, np.ndarray):
            error = np.abs(said[name].astype(np.float64) - before).max(initial=0)
            if error > 0.01 * (np.abs(before).max(initial=0) + 1e-9):
                return True
    return False


def numbers(subject):
    """What may be damaged: weights, constants and, of operators of ai.onnx.ml, attributes that one node reads, of the
    main graph and of bodies. Matrices come first, each kind in an order of chance.

    Returns:
        Rows of a keyword of ``set_parts``, an address, the numbers, and what the node that reads them makes.
    """
    found = []
    for prefix, graph in graphs(subject.proto.graph):
        held = {t.name: t for t in graph.initializer}
        constants = [n for n in graph.node if n.op_type == "Constant" and n.attribute[0].name == "value"]
        held |= {node.output[0]: node.attribute[0].t for node in constants}
        readers = {}
        for node in walk.nodes(graph):
            for name in node.input:
                readers.setdefault(name, []).append(node)
        for name, tensor in held.items():
            known = readers.get(name, ())
            if len(known) == 1 and (tensor.data_type in FLOATS or known[0].op_type == "DequantizeLinear"):
                found.append(("tensors", f"{prefix}{name}", onnx.numpy_helper.to_array(tensor), list(known[0].output)))
        for node in graph.node:
            if node.domain == "ai.onnx.ml":
                lists = {a.name: np.array(a.floats, np.float32) for a in node.attribute if a.floats}
                found += [
                    ("attributes", f"{prefix}{label(node)}:{name}", array, list(node.output))
                    for name, array in lists.items()
                ]
    subject.random.shuffle(found)
    return sorted(found, key=lambda row: row[2].ndim < 2)


def graphs(graph, prefix=""):
    """The graph and its bodies, each with what stands before a name in its address."""
    yield prefix, graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from graphs(attribute.g, f"{prefix}{label(node)}.{attribute.name}/")


def bisect(subject):
    wrong, made = damaged(subject)
    found = gk.bisect(wrong, against=subject.model, feeds=subject.told)
    assert found.diverges, made
    assert found.first is not None
    assert found.first.value in made, f"{made}: {gk.text(found)}"


def look(subject):
    """inspect, check, diff, lint, view and their texts."""
    summary = gk.inspect(subject.model)
    assert summary.node_count == sum(1 for _ in subject.proto.graph.node) or summary.node_count > 0
    assert gk.text(summary)
    assert gk.check(subject.path).valid, gk.text(gk.check(subject.path))
    assert gk.diff(subject.model, subject.proto)
    gk.text(gk.lint(subject.model))
    assert "<html" in gk.report_html(gk.view(subject.model, weights=False))


OPERATIONS: dict[str, Callable[[Subject], None]] = {
    work.__name__: work
    for work in (
        save,
        look,
        rename,
        reorder,
        tap,
        simplify,
        deduplicate,
        inline,
        outline,
        opset_up,
        opset_down,
        promote_and_freeze,
        freeze,
        retype,
        layout,
        image,
        insert_and_remove,
        replace,
        rewrite,
        set_parts,
        cuts,
        split,
        dims,
        resize,
        *(precision(to) for to in ("float16", "bfloat16", "int8", "int8-dynamic", "int8-weights", "int4-weights")),
        validate,
        bisect,
    )
}


def run(proto: onnx.ModelProto, folder: str, sizes=None, fixed=None, only=()) -> dict[str, str]:
    """Operation -> "right", "refused: WHY" or "wrong: WHAT"."""
    subject = Subject(proto, folder, sizes, fixed)
    rows = {}
    for name, work in OPERATIONS.items():
        if only and name not in only:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", gk.GraphkitWarning)
            try:
                work(subject)
                rows[name] = "right"
            except Refused as why:
                rows[name] = f"refused: {why}"
            except gk.GraphkitError as error:
                rows[name] = f"refused: {type(error).__name__}: {error.message[:200]}"
            except Exception as error:  # noqa: BLE001 (a row of the table; the test fails on it)
                rows[name] = f"wrong: {type(error).__name__}: {str(error)[:600]}"
    return rows
