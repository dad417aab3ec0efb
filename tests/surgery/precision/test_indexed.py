"""The quantizer with indexes writes what it writes without: byte for byte."""

import contextlib

import numpy as np
import pytest

import graphkit as gk
import onnx_text
from graphkit.surgery.precision import int8

CHAIN = """g (float[2,3,8,8] x) => (float[a,b] y, float[c,d,e,f] z) <int64[2] t = {2,-1}> {
    c0 = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, k, bias) r0 = Relu(c0) c1 = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(r0, k, bias)
    s = Add(r0, c1) q = Clip(s, low, high) z = MaxPool<kernel_shape=[2,2], strides=[2,2]>(q) f = Reshape(z, t)
    m = MatMul(f, w) n = MatMul(f, w) y = Concat<axis=1>(m, n) }"""


@pytest.mark.parametrize("per_channel", [False, True])
def test_it_is_the_same_model(per_channel, monkeypatch):
    rng = np.random.default_rng(0)
    weights = {"k": (3, 3, 3, 3), "bias": (3,), "w": (48, 5)}
    model = onnx_text.parse(CHAIN, 17, low=0, high=6, **{n: rng.standard_normal(s) for n, s in weights.items()})

    def made():
        result = gk.precision(model, to="int8", samples=2, per_channel=per_channel)
        return result.proto.SerializeToString(deterministic=True)

    fast = made()
    monkeypatch.setattr(int8, "indexed", contextlib.nullcontext)
    assert fast == made()
