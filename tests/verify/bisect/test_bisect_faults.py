"""200 random faults in six nets: each is located at the node it was put into, wherever it can be seen at all."""

import functools

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.verify.bisect.bisect import bisect
from nets import NETS, every_node, faults, with_fault
from oracle import run_ort

RTOL, ATOL = 1e-5, 1e-6


@functools.cache
def net(name):
    return NETS[name]()


def everything(model, feeds):
    """Every value of the main graph, from ONNX Runtime alone, in graph order."""
    tapped = onnx.ModelProto.FromString(model.SerializeToString())
    del tapped.graph.output[:]
    names = [name for node in model.graph.node for name in node.output if name]
    tapped.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return run_ort(tapped, feeds)


def differing(candidate, reference, feeds):
    """The values that differ, found the long way round; None where the candidate cannot run."""
    expected = everything(reference, feeds)
    try:
        actual = everything(candidate, feeds)
    except Exception:  # noqa: BLE001 (the runtime's errors have no common base)
        return None
    return [
        name
        for name, value in expected.items()
        if actual[name].shape != value.shape
        or not np.allclose(actual[name], value, rtol=RTOL, atol=ATOL, equal_nan=True)
    ]


def draws(count, seed):
    random = np.random.default_rng(seed)
    every = [(name, *fault) for name in NETS for fault in faults(net(name)[0])]
    return [every[i] for i in random.choice(len(every), count, replace=False)]


def located(name, what, key, *, isolate=False):
    """Whether the fault is seen, after it has been checked that it is found where it is."""
    model, feeds = net(name)
    faulty, wrong = with_fault(model, what, key)
    expected = differing(faulty, model, feeds)
    if expected is None:  # some node behind the fault cannot run any more
        try:
            found = bisect(faulty, against=model, feeds=feeds, device="cpu", rtol=RTOL, atol=ATOL, isolate=isolate)
        except gk.SessionError as error:
            assert wrong[0] in str(error)  # noqa: PT017 (either this, or an answer)
        else:
            assert found.first.node in wrong
        return True
    result = bisect(faulty, against=model, feeds=feeds, device="cpu", rtol=RTOL, atol=ATOL, isolate=isolate)
    assert result.diverges == bool(expected), (name, what, key)
    if not expected:
        assert result.first is None
        return False
    outer = [n.name for n in model.graph.node]
    assert [row.value for row in result.rows if not row.match][:1] == expected[:1]
    assert result.first.node in wrong, (name, what, key, result.first)
    assert result.first.introduces is True
    assert bool(result.first.inside) == (result.first.node not in outer)
    if isolate:
        assert [row.value for row in result.rows if not row.match] == expected
        guilty = {row.node for row in result.introduced_by}
        inner = {n.name for n in every_node(model.graph)} - set(outer)
        assert guilty <= {*wrong, *(n for n in outer if set(wrong) & inner)}
        assert guilty
    return True


@pytest.mark.parametrize("part", range(8))
def test_random_faults_are_located_at_their_node(part):
    seen = [located(*fault) for fault in draws(200, seed=6)[part::8]]
    assert sum(one is True for one in seen) >= 15


@pytest.mark.parametrize("name", NETS)
def test_faulty_nodes_introduce_error_and_others_pass_it_on(name):
    mine = [fault for fault in draws(120, seed=7) if fault[0] == name]
    assert sum(located(*fault, isolate=True) is True for fault in mine) >= 3


@pytest.mark.matrix
@pytest.mark.parametrize("name", NETS)
def test_every_fault_there_is(name):
    for fault in faults(net(name)[0]):
        located(name, *fault, isolate=True)


def test_nothing_diverges_where_nothing_is_wrong():
    for name in NETS:
        model, feeds = net(name)
        result = bisect(model, against=model, feeds=feeds, isolate=True)
        assert not result.diverges
        assert result.first is None
        assert result.introduced_by == ()
        assert result.matched == result.values == len(result.rows)
        result.raise_for_divergence()


@pytest.mark.parametrize("limit", [2_000, 20_000, "1MB"])
def test_a_small_memory_limit_gives_the_same_answer(limit):
    for name in ("unet", "decoder"):
        model, feeds = net(name)
        fault = next(f for f in faults(model) if f[0] == "swap" and f[1][0].startswith(("Elu", "LogSoftmax")))
        faulty, wrong = with_fault(model, *fault)
        whole = bisect(faulty, against=model, feeds=feeds, isolate=True)
        parts = bisect(faulty, against=model, feeds=feeds, isolate=True, memory=limit)
        assert parts.first == whole.first
        assert [r.match for r in parts.rows] == [r.match for r in whole.rows]
        assert [r.introduces for r in parts.rows] == [r.introduces for r in whole.rows]
        assert parts.first.node in wrong
        if limit == 2_000:
            assert parts.stretches > 5 * whole.stretches
            assert any("more than the memory limit" in note for note in parts.notes)
    with pytest.raises(ValueError, match="no size"):
        bisect(model, against=model, feeds=feeds, memory="much")


def renamed(model):
    """Every value called something else, as tools do that number values anew."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    made = [name for node in copy.graph.node for name in node.output if name]
    new = {name: f"tensor_{len(made) - at}" for at, name in enumerate(made)}

    def change(graph):
        for node in graph.node:
            for names in (node.input, node.output):
                for at, name in enumerate(names):
                    names[at] = new.get(name, name)
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    change(attribute.g)
        for output in graph.output:
            output.name = new.get(output.name, output.name)

    change(copy.graph)
    return copy, new


@pytest.mark.parametrize("name", ["convnet", "unet", "encoder", "decoder", "lstm"])
def test_values_with_new_names_are_matched_by_structure(name):
    model, feeds = net(name)
    other, new = renamed(model)
    onnx_outputs = {new[o.name]: o.name for o in model.graph.output}
    clean = bisect(other, against=model, feeds=feeds, map=onnx_outputs)
    assert not clean.diverges
    assert clean.matched == clean.values
    assert {row.value: row.twin for row in clean.rows} == {
        new[r]: r for r in new if new[r] in {row.value for row in clean.rows}
    }
    faulty, wrong = with_fault(other, *next(f for f in faults(other) if f[0] == "weight"))
    result = bisect(faulty, against=model, feeds=feeds, map=onnx_outputs)
    assert result.first.node in wrong
    assert len(gk.to_json(result)) > 100
