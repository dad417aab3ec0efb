"""ONNX's own test cases through load, save and extract: unchanged where nothing is cut, the same numbers where it is.

Which evaluator runs a case is found out by running it; what none runs, or none runs right, is listed here by rule.
"""

import os
import warnings

import numpy as np
import onnx
import pytest
from onnx.numpy_helper import to_array

import graphkit as gk
from backend_cases import RANDOM, Case, attempt, file_cases, judged, light_case, light_models, node_cases
from graphkit.graph import walk
from graphkit.graph.values import has_shape
from graphkit.storage import load as loading
from graphkit.storage.source import LocalFile
from oracle import assert_same, run_ort

KINDS = ("node", "simple", "pytorch-operator", "pytorch-converted")


def cases(kind: str) -> tuple[Case, ...]:
    return node_cases() if kind == "node" else file_cases(kind)


def test_there_are_well_over_a_thousand() -> None:
    assert len(cases("node")) > 1500
    assert [len(cases(kind)) > 20 for kind in KINDS] == [True] * 4
    assert len(light_models()) == 9


@pytest.mark.parametrize("kind", [*KINDS, "light"])
def test_every_model_comes_back_from_load_and_save(kind, tmp_path, monkeypatch) -> None:
    """Through the scanner and with every payload left in the file, however small file and payload are."""
    monkeypatch.setattr(loading, "SMALL_FILE", -1)
    monkeypatch.setattr(LocalFile, "threshold", 1)
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    if kind == "light":
        models = {name: onnx.load(path) for name, path in light_models().items()}
    else:
        models = {case.name: case.model for case in cases(kind)}
    (tmp_path / "saved").mkdir()
    file, saved = tmp_path / "m.onnx", tmp_path / "saved" / "m.onnx"
    references, changed = 0, []
    for name, model in models.items():
        data = model.SerializeToString(deterministic=True)
        file.write_bytes(data)
        loaded = gk.load(file)
        references += sum(t.data_location == onnx.TensorProto.EXTERNAL for t in walk.tensors(loaded.proto))
        gk.save(loaded, saved)
        back = onnx.ModelProto.FromString(saved.read_bytes())
        again = gk.load(saved).materialize()
        arrays = [[loaded.array_of(t) for t in walk.tensors(loaded.proto)], list(map(to_array, walk.tensors(again)))]
        if back.SerializeToString(deterministic=True) != data or not all(map(same_bytes, *arrays)):
            changed.append(name)
    assert changed == []
    assert references >= {"node": 70, "simple": 0, "pytorch-operator": 4}.get(kind, 10)


def same_bytes(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_at_the_models_own_boundary_changes_nothing(kind) -> None:
    """But for nodes that no output needs. Inputs that none needs are kept where they are named, with a warning."""
    changed = []
    for case in cases(kind):
        weights = {tensor.name for tensor in case.model.graph.initializer}
        inputs = [v.name for v in case.model.graph.input if v.name and v.name not in weights]
        outputs = [v.name for v in case.model.graph.output]
        expected = without_dead_nodes(case.model)
        idle = [v for v in expected.graph.input if v.name not in weights | reads_of(expected.graph)]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            named = gk.extract(case.model, inputs=inputs, outputs=outputs).proto
        for output, found in zip(expected.graph.output, named.graph.output, strict=True):
            if not has_shape(output.type):  # what the model leaves open may be filled in
                output.type.CopyFrom(found.type)
        if named != expected or len(caught) != bool(idle):
            changed.append((case.name, "by inputs and outputs"))
        for value in idle:
            expected.graph.input.remove(value)
        if gk.extract(case.model, outputs=outputs).proto != expected:
            changed.append((case.name, "by outputs"))
    assert changed == []


def without_dead_nodes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without the nodes that no output needs, found here in one pass backwards over the sorted nodes."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    needed = {value.name for value in model.graph.output}
    for position in range(len(model.graph.node) - 1, -1, -1):
        node = model.graph.node[position]
        if needed.isdisjoint(node.output):
            del copy.graph.node[position]
        else:
            needed.update(node.input, *(reads_of(body) for body in walk.nested([node])))
    return copy


def reads_of(graph: onnx.GraphProto) -> set[str]:
    bodies = [reads_of(body) for body in walk.nested(graph.node)]
    return {name for node in graph.node for name in node.input}.union((v.name for v in graph.output), *bodies)


@pytest.fixture(scope="module")
def runnable():
    return {kind: list(judged(cases(kind))) for kind in KINDS}


def test_what_cannot_be_judged_by_onnxs_own_numbers(runnable) -> None:
    """Nobody runs Gradient; random draws have no numbers; the reference evaluator gives Range's function a rank more."""
    ran = {judge.case.name for kind in KINDS for judge in runnable[kind]}
    never = [case for kind in KINDS for case in cases(kind) if case.name not in ran]
    assert {case.name for case in never} == {"test_gradient_of_add", "test_gradient_of_add_and_mul"}
    wrong = [judge for kind in KINDS for judge in runnable[kind] if not judge.expected]
    drawn = [judge for judge in wrong if any(node.op_type in RANDOM for node in judge.case.model.graph.node)]
    other = [judge.case.name for judge in wrong if judge not in drawn]
    assert len(drawn) == 6
    assert all(name.startswith("test_range_") and name.endswith("_expanded") for name in other), other
    assert len(other) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_cut_at_its_own_boundary_gives_the_expected_numbers(kind, runnable) -> None:
    wrong = []
    for case, run, answer, _ in runnable[kind]:
        if is_random(case.model):
            continue
        part = gk.extract(case.model, outputs=list(answer))
        if not gives(run, part, fed(part, case.feeds), answer, case):
            wrong.append(case.name)
    assert wrong == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_cut_in_two_gives_the_expected_numbers(kind, runnable) -> None:
    """At every place where a model of few nodes can be cut, and at six places of a larger one."""
    wrong, cuts = [], 0
    for case, run, answer, _ in runnable[kind]:
        if is_random(case.model):
            continue
        for place in places(len(case.model.graph.node)):
            middle = passing(case.model.graph, place)
            if middle:
                cuts += 1
                head = gk.extract(case.model, outputs=middle)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", gk.GraphkitWarning)  # a dead node's inputs pass the place too
                    tail = gk.extract(case.model, inputs=middle, outputs=list(answer))
                between = attempt(run, head, fed(head, case.feeds))
                if between is None or not gives(run, tail, between, answer, case):
                    wrong.append((case.name, place))
    assert wrong == []
    assert cuts >= {"node": 1900, "simple": 5}.get(kind, 19)


def is_random(model: onnx.ModelProto) -> bool:
    return any(node.op_type in RANDOM for node in walk.model_nodes(model))


def places(count: int) -> list[int]:
    return (
        list(range(1, count))
        if count <= 8
        else sorted({1, count // 4, count // 3, count // 2, 3 * count // 4, count - 1})
    )


def passing(graph: onnx.GraphProto, place: int) -> list[str]:
    """The values that go from the nodes before a place to those behind it, weights aside."""
    known = {name for node in graph.node[:place] for name in node.output} | {value.name for value in graph.input}
    read = [name for node in graph.node[place:] for name in walk.reads(node)] + [value.name for value in graph.output]
    weights = {tensor.name for tensor in graph.initializer}
    return [name for name in dict.fromkeys(read) if name in known and name not in weights]


def fed(model: gk.Model, feeds: dict) -> dict:
    return {value.name: feeds[value.name] for value in model.proto.graph.input if value.name in feeds}


def gives(run, model: gk.Model, feeds: dict, expected: dict, case: Case) -> bool:
    got = attempt(run, model, feeds)
    if got is None:
        return False
    try:
        assert_same(got, expected, rtol=case.rtol, atol=case.atol)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("name", light_models())
def test_a_light_model_in_segments(name) -> None:
    """IR version 3, no value_info: cut in three, each segment runs, and every value between is that of the whole."""
    case = light_case(name)
    model = case.model
    weights = {tensor.name for tensor in model.graph.initializer}
    count = len(model.graph.node)
    # The first layers of two of them are large.
    seams = [passing(model.graph, place) for place in (3 * count // 4, count - 3)]
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    whole.graph.output.extend(onnx.ValueInfoProto(name=n) for seam in seams for n in seam if n not in case.expected)
    expected = run_ort(onnx.shape_inference.infer_shapes(whole), case.feeds)
    values = dict(case.feeds)
    for inputs, outputs in zip([list(case.feeds), *seams], [*seams, list(case.expected)], strict=True):
        part = gk.extract(case.model, inputs=inputs, outputs=outputs)
        graph = part.proto.graph
        assert {t.name for t in graph.initializer} == {v.name for v in graph.input} & weights
        onnx.checker.check_model(part.materialize(), full_check=True)
        values = run_ort(part, {name: values[name] for name in inputs})
        assert_same(values, {n: expected[n] for n in outputs}, where=name)
    assert_same(values, case.expected, where=name)
