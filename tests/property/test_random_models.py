"""Whatever an operation does to whatever model: what must hold of all of them, tried on random ones, from seeds."""

import random
from contextlib import suppress

import onnx
import pytest

import graphkit as gk
from law_nets import an_edit, applied
from oracle import assert_same, run_ort, run_reference
from random_models import feeds_of, random_model


def answers(models, feeds):
    """ONNX Runtime's answers; onnx.reference's where two nodes of one have one name, which ONNX Runtime refuses."""
    protos = [model if isinstance(model, onnx.ModelProto) else model.proto for model in models]
    named = [[node.name for node in proto.graph.node if node.name] for proto in protos]
    run = run_ort if all(len(set(names)) == len(names) for names in named) else run_reference
    given = [{v.name for v in proto.graph.input} for proto in protos]
    return [run(m, {n: f for n, f in feeds.items() if n in names}) for m, names in zip(models, given, strict=True)]


def same_bytes(one, other):
    return one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)


def same_edit(model, original):
    """Replaying gives the same bytes, the law holds, and the original is as it was."""
    again = gk.replay(model, original)
    assert same_bytes(again.proto, model.proto)
    proof = gk.prove(model, original, samples=2)
    assert proof.verdict != "broken", str(proof)


def runs_nowhere(model):
    names = [node.name for node in model.graph.node if node.name]
    return len(set(names)) < len(names)


def near(got, want):
    assert set(got) == set(want)
    assert_same(got, {name: want[name] for name in got}, rtol=1e-4, atol=1e-4)


def same_answer(edited, model, seed):
    for turn in range(2):
        feeds = feeds_of(model, seed + turn)
        near(*answers([edited, model], feeds))


# The properties. Each takes a seed and a folder, and gives False where it had nothing to try, else None.


def a_file_gives_back_what_was_saved(seed, folder):
    model = random_model(seed)
    for name, options in (("a.onnx", {}), ("b.onnx", {"external": "b.data"}), ("c.json", {})):
        gk.save(model, folder / name, **options)
        back = gk.load(folder / name).materialize()
        assert same_bytes(back, model), name
    onnx.checker.check_model(folder / "b.onnx")
    same_answer(onnx.load(folder / "b.onnx"), model, seed)


def simplify_keeps_the_numbers_and_is_done_at_once(seed, folder):
    model = random_model(seed)
    before = model.SerializeToString(deterministic=True)
    limit = random.Random(seed).choice([1 << 20, 1 << 20, 0])
    once = gk.simplify(model, fold_limit=limit)
    assert model.SerializeToString(deterministic=True) == before
    same_answer(once, model, seed)
    assert same_bytes(gk.simplify(once, fold_limit=limit).proto, once.proto), "simplify twice is more than once"
    same_edit(once, model)
    if not any(node.op_type == "Loop" for node in model.graph.node):  # one of a few constant turns is written out
        assert len(once.proto.graph.node) <= len(model.graph.node)
    assert list(once.proto.graph.input) == list(model.graph.input)


def inline_keeps_the_numbers_and_is_done_at_once(seed, folder):
    model = random_model(seed)
    if not model.functions:
        return False
    once = gk.inline(model)
    assert not once.proto.functions
    same_answer(once, model, seed)
    assert same_bytes(gk.inline(once).proto, once.proto)
    same_edit(once, model)
    return None


def split_and_run_or_merged_is_the_whole(seed, folder):
    model = random_model(seed)
    rng = random.Random(seed)
    if runs_nowhere(model):
        return False
    try:
        parts = gk.split(model, stages=rng.choice([2, 3]), by=rng.choice(["bytes", "flops"]))
    except gk.GraphkitError:
        return False
    proof = gk.prove(parts, model, samples=2)
    assert proof.verdict != "broken", str(proof)
    feeds = feeds_of(model, seed)
    want = gk.run(model, feeds)
    values = dict(feeds)
    for part, stage in zip(parts.models, parts.stages, strict=True):
        if not all(value.type.HasField("tensor_type") for value in part.inputs):  # run feeds tensors; prove feeds all
            return None
        values |= gk.run(part, {name: values[name] for name in stage.inputs if name in values})
    near({name: values[name] for name in want}, want)
    stems = {stage.file: f"s{k}" for k, stage in enumerate(parts.stages)}
    connect = {}
    for k, stage in enumerate(parts.stages):
        for name, source in stage.inputs.items():
            first = next(j for j, s in enumerate(parts.stages) if name in s.inputs)
            if source != "input":
                connect.setdefault(f"{stems[source]}:{name}", []).append(f"s{k}:{name}")
            elif first != k:
                connect.setdefault(f"s{first}:{name}", []).append(f"s{k}:{name}")
    merged = gk.merge({f"s{k}": part for k, part in enumerate(parts.models)}, connect=connect)
    fed = {name: value for name, value in feeds.items() if name in {v.name for v in merged.inputs}}
    got = gk.run(merged, fed)
    taken = {source.partition(":")[2] for source in connect}
    near(got, {name: value for name, value in want.items() if name not in taken})
    return None


def merge_of_two_equals_both(seed, folder):
    """Two models side by side, one input of each shared, and one's float output fed to the other where it has one."""
    one, two = random_model(seed), random_model(seed + 1_000_003)
    rng = random.Random(seed)
    outs = [v.name for v in one.graph.output if v.type.tensor_type.elem_type == 1 and v.name != "x0"]
    connect = {f"A:{rng.choice(outs)}": "B:x0"} if outs and rng.random() < 0.7 else {"A:x0": ["B:x0"]}
    merged = gk.merge({"A": one, "B": two}, connect=connect, prefix=rng.random() < 0.3)
    proof = gk.prove(merged, {"A": one, "B": two}, samples=2)
    assert proof.verdict != "broken", str(proof)


def outline_and_inline_again_is_the_model(seed, folder):
    model = random_model(seed)
    paths = sorted({n.name.split("/")[1] for n in model.graph.node if n.name.startswith("/m")})
    if not paths:
        return False
    chosen = random.Random(seed).sample(paths, min(len(paths), 2))
    try:
        made = gk.outline(model, chosen)
    except gk.EditError:
        return False
    same_answer(made, model, seed)
    same_edit(made, model)
    same_answer(gk.inline(made), model, seed)
    return None


def freeze_of_promote_is_the_model(seed, folder):
    model = random_model(seed)
    rng = random.Random(seed)
    listed = {v.name for v in model.graph.input}
    weights = [t.name for t in model.graph.initializer if t.name not in listed]
    chosen = rng.sample(weights, min(len(weights), rng.randint(1, 3)))
    keep = rng.random() < 0.3
    every = rng.random() < 0.3
    try:
        free = (
            gk.promote(model, every=True, keep_default=keep) if every else gk.promote(model, chosen, keep_default=keep)
        )
    except gk.EditError:
        return False
    same_edit(free, model)
    values = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    asked = {v.name for v in free.proto.graph.input} - listed
    bound = gk.freeze(free, defaults=True) if keep else gk.freeze(free, {name: values[name] for name in asked})
    same_edit(bound, model)
    near(*answers([bound, model], feeds_of(model, seed)))
    return None


def rename_there_and_back_is_the_model(seed, folder):
    model = random_model(seed)
    rng = random.Random(seed)
    names = [v.name for v in model.graph.input] + [n for node in model.graph.node for n in node.output if n]
    names += [t.name for t in model.graph.initializer] + [s.values.name for s in model.graph.sparse_initializer]
    chosen = rng.sample(list(dict.fromkeys(names)), min(len(names), rng.randint(2, 6)))
    table = (
        dict(zip(chosen, [*chosen[1:], chosen[0]], strict=True))
        if rng.random() < 0.5
        else {n: f"{n}:new" for n in chosen}
    )
    there = gk.rename(model, values=table)
    same_edit(there, model)
    back = gk.rename(there, values={new: old for old, new in table.items()})
    assert same_bytes(back.proto, model)
    prefixed = gk.rename(model, prefix="p/")
    same_answer(prefixed, model, seed)
    same_edit(prefixed, model)


def opset_up_and_down_keeps_the_numbers(seed, folder):
    model = random_model(seed)
    here = model.opset_import[0].version
    up = gk.opset(model, to=24)
    same_edit(up, model)
    try:
        down = gk.opset(up, to=here)
    except gk.EditError:
        return False
    assert down.proto.opset_import[0].version == here
    same_answer(down, model, seed)
    same_edit(down, model)
    return None


def everything_can_be_cut_out(seed, folder):
    model = random_model(seed)
    rng = random.Random(seed)
    whole = gk.extract(model, outputs=[v.name for v in model.graph.output])
    feeds = feeds_of(model, seed)
    near(*answers([whole, model], feeds))
    made = [name for node in model.graph.node for name in node.output if name]
    for name in rng.sample(made, min(4, len(made))):
        try:
            part = gk.extract(model, outputs=[name])
        except gk.TypeUnknownError:
            continue
        same_edit(part, model)


def drawn_edits_hold_their_laws(seed, folder):
    model = random_model(seed)
    before = model.SerializeToString(deterministic=True)
    rng = random.Random(seed)
    edited = None
    for _ in range(rng.randint(1, 3)):
        current = edited or model
        drawn = an_edit(current if isinstance(current, onnx.ModelProto) else current.proto, rng)
        if drawn is None:
            continue
        with suppress(gk.GraphkitError):
            made = applied(current, drawn)
            if not any("which is large" in note for note in made.history[-1].notes):  # int8 where no level is left
                edited = made
        assert model.SerializeToString(deterministic=True) == before
    if edited is None:
        return False
    same_edit(edited, model)
    return None


def deduplicate_and_reorder_keep_the_numbers(seed, folder):
    model = random_model(seed)
    less = gk.deduplicate(model)
    same_answer(less, model, seed)
    same_edit(less, model)
    names = [v.name for v in model.graph.output]
    random.Random(seed).shuffle(names)
    turned = gk.reorder(model, outputs=names, name_all=True)
    got, want = answers([turned, model], feeds_of(model, seed))
    assert list(got) == names
    near(got, want)
    same_edit(turned, model)


PROPERTIES = [
    a_file_gives_back_what_was_saved, simplify_keeps_the_numbers_and_is_done_at_once, inline_keeps_the_numbers_and_is_done_at_once,
    split_and_run_or_merged_is_the_whole, merge_of_two_equals_both, outline_and_inline_again_is_the_model,
    freeze_of_promote_is_the_model, rename_there_and_back_is_the_model, opset_up_and_down_keeps_the_numbers,
    everything_can_be_cut_out, drawn_edits_hold_their_laws, deduplicate_and_reorder_keep_the_numbers,
]  # fmt: skip

MODELS = 25
"""Seeds a property, in every run of the tests."""


@pytest.mark.filterwarnings("ignore::graphkit.GraphkitWarning")
@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda holds: holds.__name__)
def test_it_holds_of_random_models(holds, tmp_path):
    first = 100_000 * PROPERTIES.index(holds)
    tried = try_seeds(holds, range(first, first + MODELS), tmp_path)
    assert tried >= MODELS // 5


@pytest.mark.matrix
@pytest.mark.filterwarnings("ignore::graphkit.GraphkitWarning")
@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda holds: holds.__name__)
def test_it_holds_of_hundreds_of_random_models(holds, tmp_path):
    try_seeds(holds, range(500), tmp_path)


def try_seeds(holds, seeds, folder):
    """How many seeds had something to try."""
    tried = 0
    for seed in seeds:
        try:
            tried += holds(seed, folder) is not False
        except Exception as error:
            error.add_note(f"random_model({seed})")
            raise
    return tried
