"""gk.bench: times, memory, where the time goes; two models beside each other."""

import json

import numpy as np
import onnx
import pytest

import graphkit as gk

TEXT = """<ir_version: 10, opset_import: ["" : 18]>
g (float[batch, n] x) => (float[batch, n] y) {{ a = Sin(x) b = Cos(a) {} y = Relu(b) }}"""
QUICK = {"runs": 6, "memory": False, "device": "cpu"}


def model(more=""):
    return onnx.parser.parse_model(TEXT.format(more))


def test_a_row_for_each_size_optimization_and_model():
    found = gk.bench(model(), model(), bind={"batch": [1, 4], "n": 8}, **QUICK)
    rows = [(row.sizes["batch"], row.optimization, row.model) for row in found.timings]
    assert rows == [(b, o, f"g ({m})") for b in (1, 4) for o in ("all", "none") for m in (1, 2)]
    assert {row.inputs["x"] for row in found.timings} == {"float32[1,8]", "float32[4,8]"}
    for row in found.timings:
        assert row.runs == 6
        assert 0 < row.min <= row.median <= row.p90 <= row.p99
        assert row.load > 0
    first, second = found.timings[:2]
    assert first.times is None
    assert second.times == pytest.approx(second.median / first.median)


def test_work_shows_in_the_times():
    """A loop of 2,000 heavy steps is slower than none, by far more than any noise."""
    heavy = """<ir_version: 10, opset_import: ["" : 18]>
    g (float[batch, n] x) => (float[batch, n] y) <int64 trips = {200}, bool go = {1}> {
      y = Loop(trips, go, x) <body = step (int64 i, bool c, float[batch, n] v) => (bool d, float[batch, n] w) {
        d = Identity(c) s = Sin(v) w = Cos(s) }>
    }"""
    found = gk.bench(model(), onnx.parser.parse_model(heavy), bind={"n": 512}, optimizations=["none"], **QUICK)
    assert found.timings[1].times > 3
    assert "times" in gk.text(found)


def test_the_number_of_runs_follows_the_seconds():
    found = gk.bench(model(), seconds=0.001, memory=False, optimizations=["all"], device="cpu")
    assert found.timings[0].runs >= 5


def test_a_profile_names_the_operators_and_their_shares():
    found = gk.bench(model(), profile=True, optimizations=["none"], **QUICK)
    (profile,) = found.profiles
    assert {row.operator for row in profile.operators} == {"Sin", "Cos", "Relu"}
    assert sum(row.share for row in profile.operators) == pytest.approx(1)
    assert all(row.nodes == 1 for row in profile.operators)
    assert profile.nodes[0].milliseconds == max(node.milliseconds for node in profile.nodes)
    assert "slowest nodes" in gk.text(found)


def test_memory_is_that_of_a_process_of_its_own(tmp_path):
    """Weights of 40 MB show; a model in memory is written to a file that goes again."""
    weights = np.ones((1000, 10_000), np.float32)
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    big = gk.build([node], {"x": "float32[1,1000]"}, {"y": "float32[1,10000]"}, initializers={"w": weights})
    found = gk.bench(big, optimizations=["none"], runs=1, device="cpu")
    use = found.memory["graph"]
    assert weights.nbytes <= use.peak < 5 * weights.nbytes
    assert use.loaded <= use.peak
    assert "at most" in gk.text(found)


def test_feeds_are_taken_and_checked():
    found = gk.bench(model(), feeds={"x": np.ones((3, 5), np.float32)}, **QUICK)
    assert found.timings[0].inputs == {"x": "float32[3,5]"}
    with pytest.raises(gk.NameNotFoundError, match="'z'"):
        gk.bench(model(), feeds={"z": 1}, **QUICK)
    with pytest.raises(gk.FeedError, match="'m'"):
        gk.bench(model(), bind={"m": 1}, **QUICK)


@pytest.mark.parametrize("wrong", [{"runs": 0}, {"seconds": 0}, {"optimizations": []}, {"optimizations": ["most"]}])
def test_what_is_no_number_of_runs_is_refused(wrong):
    with pytest.raises(ValueError, match=r"more than 0|one of"):
        gk.bench(model(), **{**QUICK, **wrong})


def test_it_fits_80_columns_and_has_json():
    long = gk.build(
        [onnx.helper.make_node("Relu", ["x" * 3000], ["y" * 3000], name="\x1b[2J" + "n" * 3000)],
        {"x" * 3000: "float32[a_rather_long_name_of_a_dim,3]"},
        {"y" * 3000: "float32[a_rather_long_name_of_a_dim,3]"},
        name="g" * 3000,
    )
    found = gk.bench(long, long, bind={"a_rather_long_name_of_a_dim": 100}, profile=True, **QUICK)
    said = gk.text(found)
    assert max(map(len, said.splitlines())) <= 80
    assert "\x1b" not in said
    assert json.loads(gk.to_json(found))["timings"][0]["runs"] == 6
