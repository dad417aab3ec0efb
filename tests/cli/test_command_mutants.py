"""Damaged models through every command: a result or a GraphkitError, below five seconds and 500 MB."""

import signal

import onnx
import pytest

import command_mutants
import onnx_text


@pytest.fixture
def timer():
    """The handler of the timer that stops a command is put back."""
    before = signal.getsignal(signal.SIGPROF)
    yield
    signal.signal(signal.SIGPROF, before)


@pytest.mark.usefixtures("timer")
def test_a_damaged_model_gives_a_result_or_an_error_in_every_command():
    ended, found = command_mutants.campaign(1_000_000, 80)
    assert not found, found[0]
    assert {code for _, code in ended} >= {0, 3}


@pytest.mark.matrix
@pytest.mark.usefixtures("timer")
def test_ten_thousand_damaged_models_give_a_result_or_an_error():
    _, found = command_mutants.campaign(0, 10_000)
    assert not found, found[0]


def test_bench_refuses_a_node_without_outputs(graphkit, tmp_path):
    model = onnx_text.parse("g (float[2] x) => (float[2] y) { c = Constant<value_float=1.0>() y = Neg(x) }", 17)
    del model.graph.node[0].output[:]
    onnx.save(model, tmp_path / "m.onnx")
    done = graphkit("bench", tmp_path / "m.onnx", "--runs", "1")
    assert (done.code, "Constant" in done.err) == (3, True), done.err


def test_retype_refuses_a_type_that_there_is_not(graphkit, tmp_path):
    model = onnx_text.parse("g (float[2] x) => (float[2] y) { y = Neg(x) }", 17)
    model.graph.input[0].type.tensor_type.elem_type = 99
    onnx.save(model, tmp_path / "m.onnx")
    done = graphkit("retype", tmp_path / "m.onnx", tmp_path / "o.onnx", "--io", "x=uint8")
    assert done.code == 3
    assert "data type 99" in done.err


def test_what_a_campaign_found_ends_in_an_error(graphkit, tmp_path):
    """A Split that would end the process, a node without outputs behind a layout, a Slice without an end."""
    split = onnx_text.parse("g (float[2,3] x) => (float[a,b] p) { p, q = Split<axis=1, num_outputs=1>(x) }", 18)
    onnx.save(split, tmp_path / "split.onnx")
    done = graphkit("run", tmp_path / "split.onnx")
    assert (done.code, "has 2 outputs and num_outputs = 1" in done.err) == (3, True), done.err
    text = "g (float[1,3,4,4] x) => (float[1,3,4,4] y) { a = Relu(x) y = Neg(x) }"
    outputless = onnx_text.parse(text, 17)
    del outputless.graph.node[0].output[:]
    onnx.save(outputless, tmp_path / "none.onnx")
    assert graphkit("layout", tmp_path / "none.onnx", tmp_path / "o.onnx", "--io", "x=NHWC").code in (0, 3)
    text = """g (float[2,3,4] x) => (float[a,b] y) <int64[1] s = {0}, int64[0] e = {}, int64[1] k = {0}> {
        sh = Shape(x) part = Slice(sh, s, e, k) y = Reshape(x, part) }"""
    onnx.save(onnx_text.parse(text, 17), tmp_path / "slice.onnx")
    assert graphkit("simplify", tmp_path / "slice.onnx", tmp_path / "o2.onnx").code in (0, 3)


def test_a_model_newer_than_onnx_is_not_merged_with_an_older_one(graphkit, tmp_path):
    for name, opset in (("a", 17), ("b", 200)):
        model = onnx_text.parse("g (float[2] x) => (float[2] y) { y = Neg(x) }", 17)
        model.opset_import[0].version = opset
        onnx.save(model, tmp_path / f"{name}.onnx")
    done = graphkit("merge", tmp_path / "o.onnx", tmp_path / "a.onnx", tmp_path / "b.onnx", "--prefix")
    assert (done.code, "raised to opset 200" in done.err) == (3, True), done.err
