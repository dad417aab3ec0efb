"""A pair that is saved over while it is read: what is loaded is the one or the other."""

import os

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.storage import load as loading


def pair(number, path):
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 20]> g (float[4] x) => (float[4] y) { y = Add(x, w) }'
    )
    for name, shape in {"w": (4,), "big": (200, 200)}.items():
        array = np.full(shape, number, np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    gk.save(model, path, external="m.data")


@pytest.mark.parametrize("step", ["before the data is opened", "once it is open"])
def test_a_pair_that_is_replaced_while_it_is_read_is_read_again(tmp_path, monkeypatch, step):
    path = tmp_path / "m.onnx"
    pair(1, path)
    real, turns = loading._check_tensors, []

    def replace():
        turns.append(step)  # first: a save loads the old pair too
        pair(2, path)

    def check(*arguments):
        if not turns and step == "before the data is opened":
            replace()
        found = real(*arguments)
        if not turns:
            replace()
        return found

    monkeypatch.setattr(loading, "_check_tensors", check)
    model = gk.load(path)
    assert len(turns) == 1
    assert {float(model.array(name).ravel()[0]) for name in ("w", "big")} == {2.0}


def test_a_pair_that_is_replaced_all_the_time_is_an_error(tmp_path, monkeypatch):
    path = tmp_path / "m.onnx"
    pair(1, path)
    real, saving = loading._check_tensors, []

    def check(*arguments):
        if not saving:  # a save loads the old pair too
            saving.append(path)
            pair(2, path)
            saving.clear()
        return real(*arguments)

    monkeypatch.setattr(loading, "_check_tensors", check)
    monkeypatch.setattr(loading, "READINGS", 3)
    with pytest.raises(gk.WeightsError, match="replaced 3 times"):
        gk.load(path)
    assert os.path.exists(path)
