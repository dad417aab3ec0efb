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
