"""Every built-in rule on the spellings it is for, and on those it must leave alone: executed, and compared."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import graphkit as gk

WEIGHTS = {"float[3,2,3,3] w": (3, 2, 3, 3), "float[4,2,3,3] w": (4, 2, 3, 3), "float[1,2,3,3] w": (1, 2, 3, 3)}

Q = "(float[2,3,5,8] q, float[2,3,7,8] k, float[2,3,7,4] v) => (float[2,3,5,4] y)"
QM = "(float[2,3,5,8] q, float[2,3,7,8] k, float[2,3,7,4] v, float[5,7] m) => (float[2,3,5,4] y)"
ROOT = """sh = Shape(q) l=Constant<value=int64[1] {-1}>() e = Constant<value=int64[1] {9223372036854775807}>() sz = Slice(sh,l,e) f = Cast<to=1>(sz) rt = Sqrt(f) one=Constant<value=float[1] {1}>() sc = Div(one,rt) sc2 = Cast<to=1>(sc) r1 = Sqrt(sc2) r2 = Sqrt(sc2) """

CASES = [
    ("silu", 24, "(float[2,3] x) => (float[2,3] y) { s = Sigmoid(x) y = Mul(s, x) }", 1),
    ("expand-silu", 24, "(float[2,3] x) => (float[2,3] y) { y = Swish(x) }", 1),
    ("expand-silu", 24, "(float[2,3] x) => (float[2,3] y) { y = Swish<alpha=1.5>(x) }", 1),
    (
        "quick-gelu",
        24,
        "(float[2,3] x) => (float[2,3] y) <float c = {1.702}> { m = Mul(c, x) s = Sigmoid(m) y = Mul(s, x) }",
        1,
    ),
    ("expand-quick-gelu", 17, "(float[2,3] x) => (float[2,3] y) { y = com.microsoft.QuickGelu(x) }", 1),
    (
        "gelu",
        20,
        "(float[2,3] x) => (float[2,3] y) <float r = {1.4142135}, float h={0.5}, float o={1}> { d = Div(x, r) e = Erf(d) t = Add(e, o) m = Mul(x, t) y = Mul(m, h) }",
        1,
    ),
    (
        "gelu",
        20,
        "(float[2,3] x) => (float[2,3] y) <float r = {0.70710677}, float h={0.5}, float o={1}> { d = Mul(r, x) e = Erf(d) t = Add(o, e) m = Mul(x, h) y = Mul(t, m) }",
        1,
    ),
    (
        "gelu",
        20,
        "(float[2,3] x) => (float[2,3] y) <float r = {0.7978846}, float w={0.044715}, float h={0.5}, float o={1}, float p={3}> { c = Pow(x, p) m=Mul(w,c) a = Add(m, x) b = Mul(r,a) e = Tanh(b) t = Add(o, e) k = Mul(h, t) y = Mul(x,k) }",
        1,
    ),
    (
        "gelu",
        20,
        "(float[2,3] x) => (float[2,3] y) <float r = {1.5}, float h={0.5}, float o={1}> { d = Div(x, r) e = Erf(d) t = Add(e, o) m = Mul(x, t) y = Mul(m, h) }",
        0,
    ),
    ("expand-gelu", 20, "(float[2,3] x) => (float[2,3] y) { y = Gelu(x) }", 1),
    ("expand-gelu", 20, '(float[2,3] x) => (float[2,3] y) { y = Gelu<approximate="tanh">(x) }', 1),
    ("gelu-tanh", 20, "(float[2,3] x) => (float[2,3] y) { y = Gelu(x) }", 1),
    ("erf-to-tanh", 17, "(float[2,3] x) => (float[2,3] y) { y = Erf(x) }", 1),
    (
        "hard-swish",
        17,
        "(float[2,3] x) => (float[2,3] y) <float t={3}, float z={0}, float s={6}> { a = Add(x,t) c = Clip(a,z,s) m = Mul(x,c) y = Div(m, s) }",
        1,
    ),
    ("hard-swish", 17, "(float[2,3] x) => (float[2,3] y) { a = HardSigmoid<alpha=0.16666667>(x) y = Mul(a, x) }", 1),
    (
        "hard-sigmoid",
        17,
        "(float[2,3] x) => (float[2,3] y) <float t={3}, float z={0}, float s={6}> { a = Add(x,t) c = Clip(a,z,s) y = Div(c, s) }",
        1,
    ),
    ("expand-hard-swish", 17, "(float[2,3] x) => (float[2,3] y) { y = HardSwish(x) }", 1),
    ("mish", 18, "(float[2,3] x) => (float[2,3] y) { a = Softplus(x) t = Tanh(a) y = Mul(x, t) }", 1),
    ("expand-mish", 18, "(float[2,3] x) => (float[2,3] y) { y = Mish(x) }", 1),
    ("softplus", 18, "(float[2,3] x) => (float[2,3] y) <float o={1}> { e = Exp(x) a = Add(o,e) y = Log(a) }", 1),
    ("log-softmax", 13, "(float[2,3] x) => (float[2,3] y) { e = Softmax<axis=0>(x) y = Log(e) }", 1),
    (
        "layer-norm",
        17,
        "(float[2,3,4] x) => (float[2,3,4] y) <float[4] g={1,2,3,4}, float[4] b={0.5,0,1,2}, float[1] e={0.00001}, float two={2}> { m = ReduceMean<axes=[-1]>(x) d = Sub(x,m) q = Pow(d,two) v = ReduceMean<axes=[-1]>(q) a = Add(v,e) r = Sqrt(a) n = Div(d,r) w = Mul(n,g) y = Add(w,b) }",
        1,
    ),
    (
        "layer-norm",
        18,
        "(float[2,3,4] x) => (float[2,3,4] y) <float[4] g={1,2,3,4}, float[4] b={0.5,0,1,2}, float e={0.00001}, int64[1] a1={-1}, int64[1] a2={-1}> { m = ReduceMean(x,a1) d = Sub(x,m) q = Mul(d,d) v = ReduceMean(q,a2) a = Add(v,e) r = Sqrt(a) n = Div(d,r) w = Mul(n,g) y = Add(w,b) }",
        1,
    ),
    (
        "layer-norm",
        18,
        "(float[n,3,4] x) => (float[n,3,4] y) <float e={0.00001}, int64[2] a1={-1,-2}> { m = ReduceMean(x,a1) d = Sub(x,m) q = Mul(d,d) v = ReduceMean(q,a1) a = Add(v,e) r = Sqrt(a) y = Div(d,r) }",
        1,
    ),
    (
        "layer-norm",
        18,
        "(float[2,3,4] x) => (float[2,3,4] y) <float e={0.00001}, int64[1] a1={1}> { m = ReduceMean(x,a1) d = Sub(x,m) q = Mul(d,d) v = ReduceMean(q,a1) a = Add(v,e) r = Sqrt(a) y = Div(d,r) }",
        0,
    ),
    (
        "rms-norm",
        23,
        "(float[2,3,4] x) => (float[2,3,4] y) <float[4] g={1,2,3,4}, float e={0.00001}, int64[1] a1={-1}, float p={2}> { q = Pow(x,p) v = ReduceMean(q,a1) a = Add(v,e) r = Sqrt(a) i = Reciprocal(r) n = Mul(x,i) y = Mul(g,n) }",
        1,
    ),
    (
        "group-norm",
        21,
        "(float[2,6,4,4] x) => (float[2,6,4,4] y) <int64[3] t={0,2,-1}, int64[4] k={2,6,4,4}, float[2] o={1,1}, float[2] z={0,0}, float[6,1,1] g={1,2,3,4,5,6}, float[6,1,1] b={1,2,0,4,5,6}> { r = Reshape(x,t) i = InstanceNormalization<epsilon=0.001>(r,o,z) n = Reshape(i,k) w = Mul(n,g) y = Add(w,b) }",
        1,
    ),
    ("lp-normalization", 17, "(float[2,3] x) => (float[2,3] y) { n = ReduceL2<axes=[1]>(x) y = Div(x,n) }", 1),
    (
        "lp-normalization",
        17,
        """(float[2,3] x) => (float[2,3] y) { n = ReduceL2<axes=[-1], keepdims=1>(x) eps = Constant<value = float {1e-12}>()
         c = Clip(n, eps, ) t = Shape(x) e = Expand(c, t) y = Div(x, e) }""",
        1,
    ),
    (
        "lp-normalization",
        18,
        "(float[2,3] x) => (float[2,3] y) <int64[1] a={1}, float p={2}> { s=Pow(x,p) t = ReduceSum(s,a) n = Sqrt(t) y = Div(x,n) }",
        1,
    ),
    ("expand-lp-normalization", 18, "(float[2,3] x) => (float[2,3] y) { y = LpNormalization<axis=1>(x) }", 1),
    (
        "reciprocal-mul-to-div",
        17,
        "(float[2,3] x, float[3] z) => (float[2,3] y) { r = Reciprocal(z) y = Mul(x, r) }",
        1,
    ),
    (
        "matmul-add-to-gemm",
        17,
        "(float[2,3] x) => (float[2,2] y) <float[3,2] w={1,2,3,4,5,6}, float[2] b={1,2}> { m = MatMul(x,w) y = Add(b, m) }",
        1,
    ),
    (
        "matmul-add-to-gemm",
        17,
        "(float[2,3] x) => (float[2,2] y) <float[2,3] w={1,2,3,4,5,6}, float[2] b={1,2}> { t=Transpose(w) m = MatMul(x,t) y = Add(b, m) }",
        1,
    ),
    (
        "matmul-add-to-gemm",
        17,
        "(float[1,2,3] x) => (float[1,2,2] y) <float[3,2] w={1,2,3,4,5,6}, float[2] b={1,2}> { m = MatMul(x,w) y = Add(b, m) }",
        0,
    ),
    (
        "gemm-to-matmul-add",
        17,
        "(float[2,3] x) => (float[2,2] y) <float[2,3] w={1,2,3,4,5,6}, float[2] b={1,2}> { y = Gemm<transB=1>(x,w,b) }",
        1,
    ),
    (
        "gemm-to-matmul-add",
        17,
        "(float[2,3] x) => (float[2,2] y) <float[2,3] w={1,2,3,4,5,6}, float[2] b={1,2}> { y = Gemm<transB=1,alpha=0.5,beta=2.0>(x,w,b) }",
        1,
    ),
    ("gemm-to-matmul-add", 17, "(float[2,3] x) => (float[2,2] y) <float[3,2] w={1,2,3,4,5,6}> { y = Gemm(x,w) }", 1),
    (
        "gemm-to-matmul-add",
        17,
        "(float[2,3] x, float[2,3] w) => (float[2,2] y) <float[2] b={1,2}> { y = Gemm<transB=1>(x,w,b) }",
        1,
    ),
    (
        "gemm-to-matmul-add",
        17,
        "(float[3,2] x, float[2,3] w) => (float[2,2] y) <float[2] b={1,2}> { y = Gemm<transB=1,transA=1>(x,w,b) }",
        0,
    ),
    (
        "batchnorm",
        17,
        "(float[1,2,5,5] x) => (float[1,3,3,3] y) <float[3,2,3,3] w, float[3] s={1,2,3}, float[3] b={1,-2,3}, float[3] m={1,0.5,3}, float[3] v={1,0.1,3}> { c = Conv(x,w) y = BatchNormalization<epsilon=0.001,momentum=0.2>(c,s,b,m,v) }",
        1,
    ),
    (
        "batchnorm",
        17,
        "(float[1,2,5,5] x) => (float[1,3,3,3] y) <float[3,2,3,3] w, float[3] k={1,2,1}, float[3] s={1,2,3}, float[3] b={1,-2,3}, float[3] m={1,0.5,3}, float[3] v={1,0.1,3}> { c = Conv(x,w,k) y = BatchNormalization(c,s,b,m,v) }",
        1,
    ),
    (
        "batchnorm",
        17,
        "(float[1,4,5,5] x) => (float[1,4,7,7] y) <float[4,2,3,3] w, float[4] s={1,2,3,4}, float[4] b={1,-2,3,1}, float[4] m={1,0.5,3,1}, float[4] v={1,0.1,3,2}> { c = ConvTranspose<group=2>(x,w) y = BatchNormalization(c,s,b,m,v) }",
        1,
    ),
    (
        "batchnorm",
        17,
        "(float[2,3] x) => (float[2,2] y) <float[2,3] w={1,2,3,4,5,6}, float[2] k={1,2}, float[2] s={1,2}, float[2] b={1,-2}, float[2] m={1,0.5}, float[2] v={1,0.1}> { c = Gemm<transB=1>(x,w,k) y = BatchNormalization(c,s,b,m,v) }",
        1,
    ),
    (
        "batchnorm",
        17,
        "(float[1,2,5,5] x) => (float[1,3,3,3] y, float[1,3,3,3] c) <float[3,2,3,3] w, float[3] s={1,2,3}, float[3] b={1,-2,3}, float[3] m={1,0.5,3}, float[3] v={1,0.1,3}> { c = Conv(x,w) y = BatchNormalization(c,s,b,m,v) }",
        0,
    ),
    (
        "conv-mul",
        17,
        "(float[1,2,5,5] x) => (float[1,3,3,3] y) <float[3,2,3,3] w, float[3,1,1] k={1,2,3}, float[3] b={1,-2,3}> { c = Conv(x,w,b) y = Mul(k,c) }",
        1,
    ),
    (
        "conv-mul",
        17,
        "(float[1,2,5,5] x) => (float[1,3,3,3] y) <float[3,2,3,3] w, float k={2}> { c = Conv(x,w) y = Mul(k,c) }",
        1,
    ),
    (
        "conv-mul",
        17,
        "(float[1,2,5,5] x) => (float[1,3,3,3] y) <float[3,2,3,3] w, float[3] k={1,2,3}> { c = Conv(x,w) y = Mul(k,c) }",
        0,
    ),
    (
        "conv-div",
        17,
        "(float[1,2,5,5] x) => (float[1,3,3,3] y) <float[3,2,3,3] w, float[1,3,1,1] k={1,2,3}, float[3] b={1,-2,3}> { c = Conv(x,w,b) y = Div(c,k) }",
        1,
    ),
    (
        "conv-div",
        17,
        "(float[1,2,5,5] x) => (float[1,3,3,3] y) <float[3,2,3,3] w, float[1,3,1,1] k={1,0,3}, float[3] b={1,-2,3}> { c = Conv(x,w,b) y = Div(c,k) }",
        0,
    ),
    (
        "conv-add",
        17,
        "(float[1,2,5,5] x) => (float[1,3,3,3] y) <float[3,2,3,3] w, float[1,3,1,1] k={1,2,3}> { c = Conv(x,w) y = Add(k,c) }",
        1,
    ),
    (
        "conv-add",
        17,
        "(float[1,2,5,5] x) => (float[1,3,3,3] y) <float[1,2,3,3] w, float[1,3,1,1] k={1,2,3}> { c = Conv(x,w) y = Add(k,c) }",
        0,
    ),
    (
        "conv-sub",
        17,
        "(float[1,2,5,5] x) => (float[1,3,3,3] y) <float[3,2,3,3] w, float[1,3,1,1] k={1,2,3}, float[3] b={1,-2,3}> { c = Conv(x,w,b) y = Sub(c,k) }",
        1,
    ),
    (
        "pad-into-conv",
        17,
        "(float[1,2,5,5] x) => (float[1,3,8,7] y) <float[3,2,3,3] w, int64[8] p={0,0,1,1,0,0,2,1}> { q = Pad(x,p) y = Conv<pads=[1,1,1,1]>(q,w) }",
        1,
    ),
    (
        "pad-into-conv",
        17,
        "(float[1,2,5,5] x) => (float[1,3,6,5] y) <float[3,2,3,3] w, int64[8] p={0,0,1,1,0,0,2,1}, float v={1}> { q = Pad(x,p,v) y = Conv(q,w) }",
        0,
    ),
    (
        "qdq-to-clip",
        17,
        "(float[2,3] x) => (float[2,3] y) <float s={0.01}, uint8 z={100}> { q = QuantizeLinear(x,s,z) y = DequantizeLinear(q,s,z) }",
        1,
    ),
    (
        "qdq-to-clip",
        17,
        "(float[2,3] x) => (float[2,3] y) <float s={0.01}, int8 z={-10}> { q = QuantizeLinear(x,s,z) y = DequantizeLinear(q,s,z) }",
        1,
    ),
    (
        "remove-qdq",
        17,
        "(float[2,3] x) => (float[2,3] y) <float s={0.02}, int8 z={0}> { q = QuantizeLinear(x,s,z) y = DequantizeLinear(q,s,z) }",
        1,
    ),
    (
        "dequantize-constants",
        17,
        "(float[2,3] x) => (float[2,2] y) <int8[3,2] w={1,2,3,4,5,6}, float[2] s={0.5,2}, int8[2] z={0,1}> { d = DequantizeLinear<axis=1>(w,s,z) y = MatMul(x,d) }",
        1,
    ),
    (
        "dequantize-constants",
        17,
        "(float[2,3] x) => (float[2,2] y) <int8[3,2] w={1,2,3,4,5,6}, float[2] s={0.5,2}> { d = DequantizeLinear<axis=1>(w,s) y = MatMul(x,d) }",
        1,
    ),
    (
        "dequantize-constants",
        17,
        "(float[2,3] x) => (float[2,3] y) <int32[3] w={-7,200000,6}, float s={0.25}> { d = DequantizeLinear(w,s) y = Add(x,d) }",
        1,
    ),
    ("flatten-to-reshape", 17, "(float[2,3,4] x) => (float[2,12] y) { y = Flatten(x) }", 1),
    ("flatten-to-reshape", 17, "(float[2,3,4] x) => (float[6,4] y) { y = Flatten<axis=-1>(x) }", 1),
    ("flatten-to-reshape", 17, "(float[2,3,4] x) => (float[1,24] y) { y = Flatten<axis=0>(x) }", 1),
    ("reshape-to-flatten", 17, "(float[2,3,4] x) => (float[2,12] y) <int64[2] t={0,-1}> { y = Reshape(x,t) }", 1),
    (
        "squeeze-chains",
        17,
        "(float[2,1,3,1,1] x) => (float[2,3] y) <int64[1] a={1}, int64[1] b={-2}, int64[1] c={-1}> { s = Squeeze(x,a) t = Squeeze(s,b) y = Squeeze(t,c) }",
        2,
    ),
    (
        "squeeze-chains",
        17,
        "(float[2,3] x) => (float[2,1,3,1] y) <int64[1] a={1}, int64[1] b={-1}> { s = Unsqueeze(x,a) y = Unsqueeze(s,b) }",
        1,
    ),
    (
        "reduce-keepdims",
        18,
        "(float[2,3,4] x) => (float[2,1,4] y) <int64[1] a={1}> { s = ReduceMean<keepdims=0>(x,a) y = Unsqueeze(s,a) }",
        1,
    ),
    (
        "matmul-to-conv",
        17,
        "(float[1,3,4] x) => (float[1,3,2] y) <float[4,2] w={1,2,3,4,5,6,7,8}> { y = MatMul(x,w) }",
        1,
    ),
    ("pow2-to-mul", 17, "(float[1,3,4] x) => (float[1,3,4] y) <float p={2}> { y = Pow(x,p) }", 1),
    (
        "remove-zero-bias",
        17,
        "(float[1,2,5,5] x) => (float[1,3,3,3] y) <float[3,2,3,3] w, float[3] b={0,0,0}> { y = Conv(x,w,b) }",
        1,
    ),
    (
        "constants-to-initializers",
        17,
        "(float[2] x) => (float[2] y) { c = Constant<value=float[2] {1,2}>() y = Add(x,c) }",
        1,
    ),
    ("default-attributes", 17, "(float[2] x) => (float[2] y) { y = LeakyRelu(x) }", 1),
    (
        "attention",
        23,
        Q
        + " <float c={0.35355339}> { t = Transpose<perm=[0,1,3,2]>(k) s = MatMul(q,t) n = Mul(c,s) p = Softmax(n) y = MatMul(p,v) }",
        1,
    ),
    (
        "attention",
        23,
        QM
        + " <float c={2.828427}> { t = Transpose<perm=[0,1,3,2]>(k) s = MatMul(q,t) n = Div(s,c) a = Add(m,n) p = Softmax<axis=3>(a) y = MatMul(p,v) }",
        1,
    ),
    (
        "attention",
        23,
        Q
        + " <float[1] c={0.59460354}, int64[3] ta={-1,7,8}, int64[4] tb={2,3,8,7}> { w = Reshape(k,ta) x = Transpose<perm=[0,2,1]>(w) t = Reshape(x,tb) qs = Mul(q,c) ks = Mul(t,c) s = MatMul(qs,ks) p = Softmax(s) y = MatMul(p,v) }",
        1,
    ),
    (
        "attention",
        23,
        Q
        + " <float[1] c={0.59460354}, int64[3] ta={-1,8,7}, int64[4] tb={2,3,8,7}> { w = Reshape(k,ta) x = Transpose<perm=[0,2,1]>(w) t = Reshape(x,tb) qs = Mul(q,c) ks = Mul(t,c) s = MatMul(qs,ks) p = Softmax(s) y = MatMul(p,v) }",
        0,
    ),
    (
        "attention",
        23,
        Q
        + " { "
        + ROOT
        + " qs = Mul(q,r1) t = Transpose<perm=[0,1,3,2]>(k) ks = Mul(t,r2) s = MatMul(qs,ks) p = Softmax(s) y = MatMul(p,v) }",
        1,
    ),
    (
        "attention",
        23,
        QM
        + " { "
        + ROOT
        + " qs = Mul(q,r1) t = Transpose<perm=[0,1,3,2]>(k) ks = Mul(t,r2) s = MatMul(qs,ks) a = Add(s,m) p = Softmax(a) y = MatMul(p,v) }",
        1,
    ),
    (
        "attention",
        23,
        Q.replace("2,3,7,8", "2,1,7,8")
        + " <float c={0.35355339}> { t = Transpose<perm=[0,1,3,2]>(k) s = MatMul(q,t) n = Mul(c,s) p = Softmax(n) y = MatMul(p,v) }",
        0,
    ),
    ("expand-attention", 23, Q + " { y = Attention(q,k,v) }", 1),
    ("expand-attention", 23, QM + " { y = Attention<scale=0.5>(q,k,v,m) }", 1),
    ("expand-attention", 23, Q + " { y = Attention<is_causal=1>(q,k,v) }", 0),
    (
        "rotary-embedding",
        23,
        "(float[2,3,5,8] x, float[2,5,4] f) => (float[2,3,5,8] y, float[2,3,5,8] y2) <int64[1] u={1}, int64[1] z={0}, int64[1] h={4}, int64[1] e={9223372036854775807}, int64[1] a={3}, int64[1] o={1}> { g = Concat<axis=-1>(f,f) cc = Cos(g) ss = Sin(g) c = Unsqueeze(cc,u) s = Unsqueeze(ss,u) x1 = Slice(x,z,h,a,o) x2 = Slice(x,h,e,a,o) n = Neg(x2) r = Concat<axis=-1>(n,x1) m = Mul(x,c) l = Mul(r,s) y = Add(m,l) w = Neg(x) w1 = Slice(w,z,h,a,o) w2 = Slice(w,h,e,a,o) wn = Neg(w2) wr = Concat<axis=-1>(wn,w1) wm = Mul(w,c) wl = Mul(wr,s) y2 = Add(wm,wl) }",
        2,
    ),
    (
        "rotary-embedding",
        23,
        "(float[2,3,5,8] x, float[2,5,4] f) => (float[2,3,5,8] y) <int64[1] u={1}> { g = Concat<axis=-1>(f,f) cc = Cos(g) ss = Sin(g) c = Unsqueeze(cc,u) s = Unsqueeze(ss,u) x1,x2 = Split<axis=-1,num_outputs=2>(x) n = Neg(x2) r = Concat<axis=-1>(n,x1) m = Mul(x,c) l = Mul(r,s) y = Add(m,l) }",
        1,
    ),
    (
        "rotary-embedding",
        23,
        "(float[2,3,5,8] x, float[2,5,4] f) => (float[2,3,5,8] y) <int64[1] u={1}> { g = Concat<axis=-1>(f,f) cc = Cos(g) ss = Sin(g) c = Unsqueeze(cc,u) s = Unsqueeze(ss,u) x1,x2 = Split<axis=-1,num_outputs=2>(x) n = Neg(x1) r = Concat<axis=-1>(n,x2) m = Mul(x,c) l = Mul(r,s) y = Add(m,l) }",
        0,
    ),
    (
        "expand-layer-norm",
        17,
        "(float[2,3,4] x) => (float[2,3,4] y) <float[4] g={1,2,3,4}> { y = LayerNormalization(x,g) }",
        1,
    ),
    (
        "expand-rms-norm",
        23,
        "(float[2,3,4] x) => (float[2,3,4] y) <float[4] g={1,2,3,4}> { y = RMSNormalization(x,g) }",
        1,
    ),
    (
        "expand-group-norm",
        21,
        "(float[2,4,4] x) => (float[2,4,4] y) <float[4] g={1,2,3,4}, float[4] b={1,2,3,4}> { y = GroupNormalization<num_groups=2>(x,g,b) }",
        1,
    ),
    (
        "expand-rotary-embedding",
        23,
        "(float[2,3,5,8] x, float[2,5,4] c, float[2,5,4] s) => (float[2,3,5,8] y) { y = RotaryEmbedding(x,c,s) }",
        1,
    ),
    (
        "lp-normalization",
        18,
        "(float[2,3] x) => (float[2,3] y) <int64[1] a={1}, float z={0.000000000001}> { n = ReduceL2(x,a) c = Clip(n,z) s = Shape(x) e = Expand(c,s) y = Div(x,e) }",
        1,
    ),
    (
        "expand-center-crop-pad",
        18,
        "(float[2,6,7] x) => (float[2,4,9] y) <int64[2] s = {4,9}> { y = CenterCropPad<axes = [1, 2]>(x, s) }",
        1,
    ),
    (
        "expand-cross-entropy-loss",
        13,
        "(float[3,4] x) => (float y) <int64[3] t = {0, 3, 1}> { y = SoftmaxCrossEntropyLoss(x, t) }",
        1,
    ),
    (
        "expand-nll-loss",
        13,
        '(float[3,4] x) => (float[3] y) <int64[3] t = {0, 3, 1}> { y = NegativeLogLikelihoodLoss<reduction = "none">(x, t) }',
        1,
    ),
    (
        "expand-simplified-layer-norm",
        18,
        "(float[2,3] x, float[3] g) => (float[2,3] y) { y = SimplifiedLayerNormalization<axis = 1>(x, g) }",
        1,
    ),
    (
        "expand-simplified-layer-norm",
        18,
        "(float[2,3] x, float[2,3] k, float[3] g) => (float[2,3] y) { y = com.microsoft.SkipSimplifiedLayerNormalization<epsilon = 0.1>(x, k, g) }",
        1,
    ),
    (
        "expand-simplified-layer-norm",
        18,
        '(float[2,3] x, float[2,3] k, float[3] g) => (float[2,3] z) { y, "", "", t = com.microsoft.SkipSimplifiedLayerNormalization(x, k, g) z = Mul(y, t) }',
        1,
    ),
    (
        "expand-microsoft-rotary-embedding",
        18,
        "(float[1,2,3,4] x, float[8,2] c, float[8,2] s) => (float[1,2,3,4] y) <int64[1,3] p = {0,5,7}> { y = com.microsoft.RotaryEmbedding(x, p, c, s) }",
        1,
    ),
    (
        "expand-microsoft-rotary-embedding",
        18,
        "(float[1,2,3,4] x, float[8,2] c, float[8,2] s) => (float[1,2,3,4] y) <int64[1,3] p = {0,5,7}> { y = com.microsoft.RotaryEmbedding<interleaved = 1>(x, p, c, s) }",
        0,
    ),
    (
        "rms-norm-to-lp",
        18,
        "(float[2,3] x, float[3] g) => (float[2,3] y) { y = SimplifiedLayerNormalization(x, g) }",
        1,
    ),
    ("rms-norm-to-lp", 23, "(float[2,3] x, float[3] g) => (float[2,3] y) { y = RMSNormalization(x, g) }", 1),
    (
        "rms-norm-to-lp",
        18,
        "(float[2,3] x, float[3] g) => (float[2,3] y) <int64[1] a={-1}, float e={0.00001}> { q = Mul(x,x) v = ReduceMean(q,a) w = Add(v,e) r = Sqrt(w) n = Div(x,r) y = Mul(g,n) }",
        1,
    ),
    (
        "transpose-dequantize",
        17,
        "(float[2,3] x) => (float[2,2] y) <int8[3,2] w={1,2,3,4,5,6}, float[2] s={0.5,2}> { d = DequantizeLinear<axis=1>(w,s) y = MatMul(x,d) }",
        1,
    ),
    (
        "transpose-dequantize",
        17,
        "(float[2,3] x) => (float[2,2] y) <int8[2,3] w={1,2,3,4,5,6}, float[2] s={0.5,2}, int8[2] z={1,2}, float[2] b={1,2}> { d = DequantizeLinear<axis=-2>(w,s,z) y = Gemm<transB=1,alpha=2.0>(x,d,b) }",
        1,
    ),
    (
        "drop-g-idx",
        21,
        '(float[2,32] a) => (float[2,1] y) <uint8[1,2,8] b={1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}, float[2] s={1,2}, int32[32] g={0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1}> { y = com.microsoft.MatMulNBits<K=32,N=1,bits=4,block_size=16>(a,b,s,"",g) }',
        1,
    ),
    (
        "drop-g-idx",
        21,
        '(float[2,32] a) => (float[2,1] y) <uint8[1,2,8] b={1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}, float[2] s={1,2}, int32[32] g={1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,0}> { y = com.microsoft.MatMulNBits<K=32,N=1,bits=4,block_size=16>(a,b,s,"",g) }',
        0,
    ),
    (
        "expand-matmul-nbits",
        21,
        "(float[2,32] a) => (float[2,1] y) <uint8[1,2,8] b={1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,160}, float[2] s={1,2}> { y = com.microsoft.MatMulNBits<K=32,N=1,bits=4,block_size=16>(a,b,s) }",
        1,
    ),
    (
        "expand-matmul-nbits",
        21,
        "(float[2,32] a) => (float[2,1] y) <uint8[1,2,8] b={1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,160}, float[2] s={1,2}, uint8[1] z={115}> { y = com.microsoft.MatMulNBits<K=32,N=1,bits=4,block_size=16>(a,b,s,z) }",
        1,
    ),
]
"""(rule, opset, the graph, how many places are rewritten); a weight without numbers is drawn."""

INFO = {rule.name: rule for rule in gk.rewrite_rules()}


def model(opset, body):
    domain = ', "com.microsoft" : 1' if "com.microsoft" in body else ""
    drawn = {shape for text, shape in WEIGHTS.items() if text in body}
    for text in WEIGHTS:
        body = body.replace(text + ",", "")
    made = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}{domain}]> g {body}')
    for shape in drawn:
        numbers = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        made.graph.initializer.append(onnx.numpy_helper.from_array(numbers, "w"))
    return made


def results(proto):
    """What ONNX Runtime computes without its own fusions."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    feeds = {}
    for number, value in enumerate(proto.graph.input):
        shape = [dim.dim_value or 2 for dim in value.type.tensor_type.shape.dim]
        feeds[value.name] = np.random.default_rng(number).standard_normal(shape, dtype=np.float32)
    return ort.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"]).run(None, feeds)


def rewritten(edited):
    notes = edited.history[-1].notes
    return sum(int(note.split(": ")[1].split()[0]) for note in notes if " rewritten: " in note)


@pytest.mark.parametrize(("rule", "opset", "body", "count"), CASES, ids=[case[0] for case in CASES])
def test_a_rule_rewrites_what_it_is_for_and_the_numbers_stay(rule, opset, body, count):
    before = model(opset, body)
    edited = gk.rewrite(before, rule)
    assert rewritten(edited) == count, edited.history[-1].notes
    if not count:
        assert edited.proto.graph == before.graph
        assert "nothing matched" in edited.history[-1].notes[0]
        return
    assert edited.proto.graph != before.graph
    within = INFO[rule].tolerance or 2e-6
    for old, new in zip(results(before), results(edited.proto), strict=True):
        assert old.dtype == new.dtype
        assert old.shape == new.shape
        assert np.max(np.abs(old - new)) <= within * np.max(np.abs(old))


IN_OWN_TESTS = {
    "einsum-to-matmul",
    "identity-outputs",
    "lift-initializers",
    "mask-value",
    "remove-memcpy",
    "tie-embeddings",
}


def test_every_built_in_rule_is_tested():
    assert {case[0] for case in CASES} | IN_OWN_TESTS == set(INFO)
    assert {case[0] for case in CASES if case[3]} | IN_OWN_TESTS == set(INFO)
