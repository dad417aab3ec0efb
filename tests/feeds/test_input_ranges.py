"""What inputs are drawn from: read from the graph, so that a model runs and gives numbers that say something."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.feeds.random import RandomFeeds


def parsed(text, functions="", opset=18):
    imports = f'"" : {opset}' + (', "own" : 1' if functions else "")
    return gk.Model(onnx.parser.parse_model(f"<ir_version: 9, opset_import: [{imports}]> {text} {functions}"))


def drawn(text, functions="", opset=18, **options):
    """The feeds, and that the model runs on them and gives finite numbers."""
    model = parsed(text, functions, opset)
    feeds = RandomFeeds(model, **options).draw_all(0)
    for name, made in gk.run(model, feeds).items():
        assert made.size, name
        assert np.isfinite(made).all(), name
    return feeds


C = "float two = {2.0}, float one = {1.0}, float half = {0.5}, float small = {0.00001}, int64[1] ax = {1}"

ALWAYS_DEFINED = {
    "a sum of squares": "s = Mul(x, x) m = ReduceSum(s, ax) y = Sqrt(m)",
    "an even power": "s = Pow(x, two) y = Sqrt(s)",
    "a layer norm": "m = ReduceMean<axes=[1]>(x) d = Sub(x, m) s = Mul(d, d) v = ReduceMean<axes=[1]>(s) "
    "e = Add(v, small) r = Sqrt(e) y = Div(d, r)",
    "a bound": "c = Clip(x, small) y = Log(c)",
    "a maximum": "c = Max(x, small) y = Log(c)",
    "an absolute value": "a = Abs(x) y = Sqrt(a)",
    "a relu": "r = Relu(x) y = Sqrt(r)",
    "an exponential": "e = Exp(x) s = Add(e, one) y = Log(s)",
    "a sum of exponentials": "e = Exp(x) s = ReduceSum(e, ax) y = Log(s)",
    "a softplus": "e = Softplus(x) y = Log(e)",
    "a sigmoid": "e = Sigmoid(x) f = Sub(one, e) y = Log(f)",
    "a softmax": "e = Softmax(x) y = Log(e)",
    "a tanh": "t = Tanh(x) y = Atanh(t)",
    "one minus its square": "t = Tanh(x) s = Mul(t, t) d = Sub(one, s) y = Log(d)",
    "an elu": "t = Elu(x) s = Add(t, one) y = Reciprocal(s)",
    "a norm": "t = ReduceL2(x, ax) s = Add(t, one) y = Div(x, s)",
}


@pytest.mark.parametrize("nodes", ALWAYS_DEFINED.values(), ids=ALWAYS_DEFINED)
def test_where_nothing_can_go_wrong_numbers_have_both_signs(nodes):
    x = drawn(f"g (float[b,4] x) => (float[b,c] y) <{C}> {{ {nodes} }}", opset=17 if "axes=" in nodes else 18)["x"]
    assert x.min() < -0.5
    assert x.max() > 0.5


ONLY_SOME_DEFINED = {
    "Log(2x)": "a = Mul(x, two) y = Log(a)",
    "Sqrt(x+2)": "a = Add(x, two) y = Sqrt(a)",
    "Log1p": "a = Add(x, one) y = Log(a)",
    "ReduceSum": "a = ReduceSum(x, ax) y = Log(a)",
    "ReduceMean": "a = ReduceMean(x, ax) y = Log(a)",
    "Relu": "a = Relu(x) y = Log(a)",
    "Pow": "y = Pow(x, half)",
    "Pow of a Pow": "a = Div(one, two) y = Pow(x, a)",
    "Div": "a = Div(two, x) y = Log(a)",
    "MatMul": "a = MatMul(x, w) y = Log(a)",
    "Gemm": "a = Gemm(x, w) y = Sqrt(a)",
    "Log(-x)": "a = Neg(x) y = Log(a)",
    "Log(-2x)": "m = Neg(two) a = Mul(m, x) y = Log(a)",
    "logit": "a = Sub(one, x) b = Div(x, a) y = Log(b)",
    "Asin": "y = Asin(x)",
    "Acos(x/2)": "a = Mul(x, half) y = Acos(a)",
    "Atanh": "y = Atanh(x)",
    "Acosh": "y = Acosh(x)",
    "Sqrt(x*x-1)": "a = Mul(x, x) b = Sub(a, one) y = Sqrt(b)",
    "a divisor": "y = Div(one, x)",
    "a reciprocal": "a = Mul(x, two) y = Reciprocal(a)",
    "Clip": "a = Clip(x, , one) y = Log(a)",
}


@pytest.mark.parametrize("nodes", ONLY_SOME_DEFINED.values(), ids=ONLY_SOME_DEFINED)
def test_numbers_are_those_for_which_everything_downstream_is_defined(nodes):
    weights = "float[4,4] w = {" + ",".join(["0.5"] * 16) + "}"
    drawn(f"g (float[b,4] x) => (float[b,c] y) <{C}, {weights}> {{ {nodes} }}")


def test_each_input_has_the_range_that_it_needs():
    feeds = drawn(
        "g (float[64] a, float[64] b, float[64] c, float[64] d) => (float[64] y) "
        "{ s = Log(a) t = Acosh(b) u = Atanh(c) v = Sum(s, t, u) y = Add(v, d) }"
    )
    assert feeds["b"].min() > 1
    assert feeds["a"].max() > 1
    assert feeds["c"].min() < 0
    assert feeds["d"].min() < 0


def test_what_only_two_inputs_together_decide():
    feeds = drawn("g (float[b] p, float[b] q) => (float[b] y) { s = Add(p, q) y = Log(s) }")
    assert min(feeds["p"].min(), feeds["q"].min()) > 0


def test_a_weight_whose_numbers_are_not_read_leaves_it_open_and_positive_numbers_are_taken():
    model = parsed("g (float[b,64] x, float[b] z) => (float[b,64] y) <float[64,64] w> { a = MatMul(x, w) y = Log(a) }")
    weight = np.abs(np.random.default_rng(0).standard_normal((64, 64))).astype(np.float32)
    model.proto.graph.initializer.add().CopyFrom(onnx.numpy_helper.from_array(weight, "w"))
    feeds = RandomFeeds(model).draw_all(0)
    assert feeds["x"].min() > 0
    assert feeds["z"].min() < 0
    assert np.isfinite(gk.run(model, feeds)["y"]).all()


def test_a_logarithm_of_powers_behind_a_weight_leaves_the_sign_alone():
    """A mel filterbank: no range of the input makes its unread weights positive, or the powers more so."""
    model = parsed(
        "g (float[b,64] x) => (float[b,64] y) <float[64,64] w, float[64,64] mel, float e = {1e-6}> "
        "{ a = MatMul(x, w) p = Mul(a, a) m = MatMul(p, mel) s = Add(m, e) y = Log(s) }"
    )
    weight = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    for name, array in (("w", weight), ("mel", np.abs(weight))):
        model.proto.graph.initializer.add().CopyFrom(onnx.numpy_helper.from_array(array, name))
    feeds = RandomFeeds(model).draw_all(0)
    assert feeds["x"].min() < -1
    assert np.isfinite(gk.run(model, feeds)["y"]).all()


BODIES = {
    "If": "y = If(c) <then_branch = t () => (float[b,4] p) { p = Log(x) }, "
    "else_branch = e () => (float[b,4] q) { q = Identity(x) }>",
    "the result of an If": "v = If(c) <then_branch = t () => (float[b,4] p) { p = Identity(x) }, "
    "else_branch = e () => (float[b,4] q) { q = Mul(x, two) }> y = Sqrt(v)",
    "Loop": "y = Loop(n, , x) <body = l (int64 i, bool k, float[b,4] v) => (bool o, float[b,4] r) "
    "{ o = Identity(k) h = Mul(v, two) g = Add(h, two) r = Log(g) }>",
    "outside of a Loop": "y = Loop(n, , two) <body = l (int64 i, bool k, float v) => (bool o, float[b,4] r) "
    "{ o = Identity(k) a = Log(x) r = Add(v, a) }>",
    "a function": "y = own.f(x)",
    "the result of a function": "a = own.twice(x) y = Log(a)",
}
FUNCTIONS = """
<domain: "own", opset_import: ["" : 18]> f (v) => (r) { a = Mul(v, v)  b = Div(a, v)  r = Sqrt(b) }
<domain: "own", opset_import: ["" : 18]> twice (v) => (r) { r = Add(v, v) }
"""


@pytest.mark.parametrize("nodes", BODIES.values(), ids=BODIES)
def test_domains_count_in_bodies_and_functions(nodes):
    text = f"g (float[b,4] x, bool c) => (float[b,4] y) <{C}, int64 n = {{2}}> {{ {nodes} }}"
    assert drawn(text, FUNCTIONS if "own." in nodes else "")["x"].min() > 0


def test_a_loop_that_goes_down_and_down_is_not_taken_for_positive():
    drawn(
        "g (float[b] x) => (float[b] y) <int64 n = {20}, float d = {0.2}, float m = {-100.0}> { "
        "v = Loop(n, , x) <body = l (int64 i, bool k, float[b] v) => (bool o, float[b] r) "
        "{ o = Identity(k) r = Sub(v, d) }> c = Max(v, m) e = Exp(c) y = Sqrt(e) }"
    )


PICTURES = {
    "uint8[1,3,h,w]": ((1, 3, 32, 32), 0, 255),
    "uint8[1,h,w,3]": ((1, 32, 32, 3), 0, 255),
    "int8[1,h,w,3]": ((1, 32, 32, 3), -128, 127),
    "float[n,h,w,3]": ((2, 32, 32, 3), 0, 1),
    "float[n,1,h,w]": ((2, 1, 32, 32), 0, 1),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures(kind):
    shape, low, high = PICTURES[kind]
    x = drawn(f"g ({kind} x) => (float[a,b,c,d] y) {{ y = Cast<to=1>(x) }}")["x"]
    assert x.shape == shape
    assert low <= x.min() < low + (high - low) / 10
    assert high - (high - low) / 10 < x.max() <= high
    assert len(np.unique(x)) > 200


MASKS = {
    "taken as true": ("int64", "c = Cast<to=9>(m) y = Where(c, x, zero)", None),
    "equal to 0": ("int64", "c = Equal(m, i0) y = Where(c, zero, x)", None),
    "equal to 1": ("int32", "c = Cast<to=7>(m) d = Equal(i1, c) y = Where(d, x, zero)", None),
    "above a half": ("float", "c = Greater(m, half) y = Where(c, x, zero)", None),
    "equal to 0, then -inf": ("int64", "c = Equal(m, i0) s = Where(c, inf, x) y = Softmax(s)", 1),
    "not zero, then -inf": ("int64", "c = Cast<to=9>(m) d = Not(c) s = Where(d, inf, x) y = Softmax(s)", 1),
    "together with others": ("int64", "c = Cast<to=9>(m) d = And(c, causal) s = Where(d, x, inf) y = Softmax(s)", 1),
    "true where it drops": ("bool", "s = Where(m, inf, x) y = Softmax(s)", 0),
    "or, true where it drops": ("bool", "d = Or(m, never) s = Where(d, inf, x) y = Softmax(s)", 0),
    "(1-m)*-1e9": ("int64", "c = Cast<to=1>(m) d = Sub(one, c) e = Mul(d, big) s = Add(x, e) y = Softmax(s)", 1),
    "(m-1)*1e9": ("float", "d = Sub(m, one) n = Neg(big) e = Mul(n, d) s = Add(x, e) y = Softmax(s)", 1),
    "m*-1e9": ("float", "e = Mul(m, big) s = Add(x, e) y = Softmax(s)", 0),
    "and counted": (
        "int64",
        """f = Cast<to=1>(m) d = Sub(one, f) e = Mul(d, big) s = Add(x, e) p = Softmax(s) q = Mul(p, f)
        n = ReduceSum(f, ax) y = Div(q, n)""",
        1,
    ),
}


@pytest.mark.parametrize(("kind", "nodes", "kept"), MASKS.values(), ids=MASKS)
def test_a_mask_is_known_by_its_use(kind, nodes, kept):
    constants = (
        "float zero = {0.0}, int64 i0 = {0}, int64 i1 = {1}, float half = {0.5}, float one = {1.0}, float big = {-1e9}, "
        "float inf = {-1e30}, bool[4] causal = {1,1,1,0}, bool never = {0}, int64[1] ax = {1}"
    )
    keep = drawn(f"g ({kind}[b,4] m, float[b,4] x) => (float[b,c] y) <{constants}> {{ {nodes} }}", bind={"b": 16})["m"]
    assert set(np.unique(keep).tolist()) <= {0, 1}
    rows = keep.astype(bool)
    if kept is None:
        assert rows.any(axis=1).all()
        assert not rows.all(axis=1).any()
    else:
        assert (rows == bool(kept)).any(axis=1).all()
        assert (keep != kept).any()


def test_data_that_is_also_compared_with_zero_is_no_mask():
    x = drawn("g (float[b,4] x) => (float[b,4] y) <float z = {0.0}> { c = Greater(x, z) y = Where(c, x, z) }")["x"]
    assert len(np.unique(x)) == x.size


def test_data_that_is_cut_off_below_zero_is_no_mask():
    text = """g (float[b,4] x) => (float[b,4] y) <float z = {0.0}, float inf = {-1e30}>
        { c = LessOrEqual(x, z) m = Where(c, inf, x) y = Softmax(m) }"""
    assert (drawn(text, bind={"b": 16})["x"] < 0).any()


def test_a_matrix_of_neighbours_is_a_mask():
    text = """g (float[n,n] near, float[n,n] e) => (float[n,n] y) <float z = {0.0}, float far = {-9e15}>
        { c = Greater(near, z) m = Where(c, e, far) y = Softmax(m) }"""
    near = drawn(text, bind={"n": 16})["near"]
    assert set(np.unique(near)) == {0, 1}
    assert near.any(axis=1).all()


INDICES = {
    "Gather": "y = Gather(w, ids)",
    "behind a cast": "a = Cast<to=6>(ids) y = Gather(w, a)",
    "behind reshaping": "a = Unsqueeze(ids, ax) y = Gather(w, a)",
    "shifted": "a = Add(ids, two) y = Gather(w, a)",
    "of a shifted one": "a = Sub(ids, two) y = Gather(w, a)",
    "of a padding one": "c = Equal(ids, two) d = Cast<to=1>(c) e = Gather(w, ids) f = ReduceSum(d) y = Add(e, f)",
    "in a body": "k = Constant<value = bool {1}>() y = If(k) <then_branch = t () => (float[p,q,r] v) { v = Gather(w, ids) }, "
    "else_branch = e () => (float[p,q,r] u) { u = Gather(w, ids) }>",
    "in a function": "y = own.look(w, ids)",
    "tuples": "l = Constant<value_ints = [-1]>() a = Unsqueeze(ids, l) y = GatherND(w, a)",
    "one-hot": "d = Constant<value_int = 7>() v = Constant<value_floats = [0.0, 1.0]>() y = OneHot(ids, d, v)",
}


@pytest.mark.parametrize("nodes", INDICES.values(), ids=INDICES)
def test_indices_stay_below_the_rows(nodes):
    table = "float[7,2] w = {" + ",".join(map(str, range(14))) + "}, int64[1] ax = {1}, int64 two = {2}"
    look = '<domain: "own", opset_import: ["" : 18]> look (t, i) => (r) { a = Cast<to=6>(i) r = Gather(t, a) }'
    out = "float[n] y" if "GatherND" in nodes else "float[p,q,r] y"
    ids = drawn(f"g (int64[n,s] ids) => ({out}) <{table}> {{ {nodes} }}", look if "own." in nodes else "")["ids"]
    shift = 2 if "Add(ids" in nodes else -2 if "Sub(ids" in nodes else 0
    assert ids.min() + shift >= -7
    assert ids.max() + shift <= 6
    assert len(np.unique(ids)) > 3


def test_the_rows_of_another_input_are_counted():
    text = """g (float[n,3] x, int64[2,e] edges) => (float[n,3] y) <int64 zero = {0}, int64 one = {1}, float f = {0.0}> {
        source = Gather(edges, zero)  target = Gather(edges, one)  message = Gather(x, source)
        shape = Shape(x)  start = ConstantOfShape(shape)  l = Constant<value_ints = [-1]>()  at = Unsqueeze(target, l)
        y = ScatterND<reduction = "add">(start, at, message) }"""
    edges = drawn(text, bind={"n": 5, "e": 64})["edges"]
    assert set(np.unique(edges)) == set(range(5))


def test_two_tables_and_a_shift_in_one_range():
    text = """g (int64[n] i) => (float[n,2] y) <int64 one = {1}, float[9,2] w = {0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0},
        float[4,2] v = {1,1,1,1,1,1,1,1}> { a = Gather(w, i) j = Sub(i, one) b = Gather(v, j) y = Add(a, b) }"""
    i = drawn(text, bind={"n": 64})["i"]
    assert (i.min(), i.max()) == (1, 4)


def test_tuples_of_indices_stay_below_each_axis():
    text = "g (float[7,2] x, int64[n,2] at) => (float[n] y) { y = GatherND(x, at) }"
    assert drawn(text, bind={"n": 64})["at"].max() == 1


def test_lengths_of_a_padded_batch_fall_from_the_full_one():
    rng = np.random.default_rng(0)
    model = parsed(
        "g (float[t,b,3] x, int32[b] lengths) => (float[t,d,b,4] y, float[d,b,4] h) <float[1,12,3] w, float[1,12,4] r> "
        "{ y, h = GRU<hidden_size = 4>(x, w, r, , lengths) }"
    )
    for name, shape in (("w", (1, 12, 3)), ("r", (1, 12, 4))):
        array = rng.standard_normal(shape).astype(np.float32)
        model.proto.graph.initializer.add().CopyFrom(onnx.numpy_helper.from_array(array, name))
    source = RandomFeeds(model, bind={"t": 11, "b": 6})
    lengths = source.draw("lengths", 0)
    assert lengths[0] == 11
    assert (np.diff(lengths) <= 0).all()
    assert lengths.min() >= 1
    gk.run(model, source.draw_all(0))


def test_lengths_that_a_ramp_is_compared_with():
    text = """g (float[b,6] x, int64[b] lengths) => (float[b,6] y) <int64[6] ramp = {0,1,2,3,4,5}, int64[1] ax = {1},
        float masked = {-1e9}> { l = Unsqueeze(lengths, ax)  c = Less(ramp, l)  s = Where(c, x, masked)  y = Softmax(s) }"""
    lengths = drawn(text, bind={"b": 32})["lengths"]
    assert (lengths.min(), lengths.max()) == (1, 6)


def test_lengths_that_a_ramp_as_long_as_an_input_is_compared_with():
    text = """g (float[b,t] x, int64[b] lengths) => (float[b,t] y) <int64[1] ax = {1}, float masked = {-1e9},
        int64 zero = {0}, int64 one = {1}> {
        s = Shape(x)  t = Gather(s, one)  ramp = Range(zero, t, one)  l = Unsqueeze(lengths, ax)
        c = GreaterOrEqual(ramp, l)  m = Where(c, masked, x)  y = Softmax(m) }"""
    model = parsed(text)
    ramp = onnx.helper.make_tensor_value_info("ramp", onnx.TensorProto.INT64, ["t"])
    model.proto.graph.value_info.append(ramp)
    lengths = RandomFeeds(model, bind={"b": 64, "t": 12}).draw("lengths", 0)
    assert (lengths.min(), lengths.max()) == (1, 12)
    ramp.type.tensor_type.shape.dim[0].dim_param = "somebody_elses"
    model.proto.graph.value_info[0].CopyFrom(ramp)
    lengths = RandomFeeds(model, bind={"b": 64, "t": 12}).draw("lengths", 0)
    assert (lengths.min(), lengths.max()) == (1, 9)


def test_rows_whose_number_is_computed_from_an_input():
    text = """g (float[n,2] x, int64[m] i) => (float[m,2] y) { t = Concat<axis = 0>(x, x) y = Gather(t, i) }"""
    model = parsed(text)
    model.proto.graph.value_info.append(onnx.helper.make_tensor_value_info("t", 1, ["2*n", 2]))
    assert RandomFeeds(model, bind={"n": 3, "m": 64}).draw("i", 0).max() == 5


SIZES = {
    "Range": "g (int64 n) => (int64[k] y) <int64 a = {0}, int64 d = {1}> { y = Range(a, n, d) }",
    "ConstantOfShape": "g (int64[3] n) => (float[a,b,c] y) { y = ConstantOfShape<value = float[1] {1.0}>(n) }",
    "a multiple of it": "g (int64[1] n) => (float[a] y) <int64 k = {1000}> "
    "{ m = Mul(n, k) y = ConstantOfShape<value = float[1] {1.0}>(m) }",
    "Expand": "g (float[1,4] x, int64[n] s) => (float[a,b] y) { y = Expand(x, s) }",
    "a part of Expand": "g (float[1,4] x, int64[1] s) => (float[a,b] y) <int64[1] o = {1}> "
    "{ t = Concat<axis=0>(s, o) y = Expand(x, t) }",
    "Reshape": "g (float[2,3,4] x, int64[n] s) => (float[a,b,c] y) { y = Reshape(x, s) }",
    "Reshape to fewer": "g (float[2,3,4] x, int64[2] s) => (float[a,b] y) { y = Reshape(x, s) }",
    "Reshape to more": "g (float[2,3] x, int64[4] s) => (float[a,b,c,d] y) { y = Reshape(x, s) }",
    "Tile": "g (float[2,3] x, int64[n] s) => (float[a,b] y) { y = Tile(x, s) }",
    "TopK": "g (float[2,2] x, int64[n] k) => (float[a,b] y, int64[a,b] i) { y, i = TopK(x, k) }",
    "Slice": "g (float[8,8] x, int64[n] s, int64[n] e, int64[n] ax, int64[n] st) => (float[a,b] y) "
    "{ y = Slice(x, s, e, ax, st) }",
    "Slice along two axes": "g (float[8,8] x, int64[2] s, int64[2] e, int64[2] ax) => (float[a,b] y) "
    "{ y = Slice(x, s, e, ax) }",
    "Split": "g (float[6,2] x, int64[n] s) => (float[a,b] y, float[c,b] z, float[d,b] u) { y, z, u = Split(x, s) }",
    "Pad": "g (float[2,2] x, int64[n] p) => (float[a,b] y) { y = Pad(x, p) }",
    "Unsqueeze": "g (float[2] x, int64[2] a) => (float[p,q,r] y) { y = Unsqueeze(x, a) }",
    "Squeeze": "g (float[2,1,3] x, int64[n] a) => (float[p,q] y) { y = Squeeze(x, a) }",
    "ReduceSum": "g (float[2,3] x, int64[n] a) => (float[p,q] y) { y = ReduceSum(x, a) }",
    "CumSum": "g (float[2,3] x, int64 a) => (float[p,q] y) { y = CumSum(x, a) }",
    "OneHot": "g (int64[n] x, int64 d) => (float[n,k] y) <float[2] v = {0.0, 1.0}> { y = OneHot(x, d, v) }",
    "Loop": "g (float[2] x, int64 n, bool c) => (float[2] y) "
    "{ y = Loop(n, c, x) <body = l (int64 i, bool k, float[2] v) => (bool o, float[2] r) { o = Identity(k) r = Tanh(v) }> }",
    "boxes": "g (float[1,n,4] boxes, float[1,2,n] scores, int64[k] most, float[k] iou, float[k] score) => (int64[m,3] y) "
    "{ y = NonMaxSuppression(boxes, scores, most, iou, score) }",
    "regions": "g (float[2,1,16,16] x, float[n,4] rois, int64[n] batch) => (float[n,1,1,1] y) "
    "{ y = RoiAlign(x, rois, batch) }",
    "a grid": "g (float[2,1,8,8] x, float[2,5,5,2] grid) => (float[2,1,5,5] y) { y = GridSample(x, grid) }",
    "sizes of Resize": 'g (float[2,3,8,8] x, int64[4] s) => (float[a,b,c,d] y) { y = Resize<mode = "cubic">(x, , , s) }',
    "sizes as numbers": "g (float[2,3,8,8] x, float[2] hw) => (float[a,b,c,d] y) <int64[2] nc = {2,3}> "
    "{ i = Cast<to=7>(hw) s = Concat<axis=0>(nc, i) y = Resize(x, , , s) }",
    "a whole divisor": "g (int64[n] x) => (int64[n] y) <int64 k = {100}> { y = Div(k, x) }",
    "dropout off": "g (float[64] x, float r, bool t) => (float[64] y) { y = Dropout(x, r, t) }",
}


@pytest.mark.parametrize("text", SIZES.values(), ids=SIZES)
def test_sizes_axes_and_boxes_are_such_that_the_model_runs(text):
    for seed in range(3):
        feeds = drawn(text, seed=seed)
        assert sum(array.size for array in feeds.values()) < 10_000


def test_a_size_out_of_two_others_follows_both():
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Relu", ["mask"], ["y"])
    inputs = [value("mask", 1, ["batch", "past + new"]), value("x", 1, ["batch", "new"]), value("k", 1, ["past"])]
    graph = onnx.helper.make_graph([node], "g", [*inputs, value("z", 1, ["batch-size"])], [value("y", 1, [None, None])])
    feeds = RandomFeeds(gk.Model(onnx.helper.make_model(graph)), bind={"past": 3}).draw_all(0)
    assert feeds["mask"].shape == (2, feeds["x"].shape[1] + 3)
    assert feeds["z"].shape == (4,)  # a name, not a difference: nothing is called "size"


def test_a_graph_of_twenty_thousand_nodes_needs_no_deep_stack():
    nodes = [
        onnx.helper.make_node("Sqrt" if n % 100 == 99 else "Tanh", [f"v{n}"], [f"v{n + 1}"]) for n in range(20_000)
    ]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(nodes, "g", [value("v0", 1, [2])], [value("v20000", 1, [2])])
    model = gk.Model(onnx.helper.make_model(graph))
    assert RandomFeeds(model).draw("v0", 0).min() > 0


WINDOWS = {
    "a kernel": ("x = Unsqueeze(wave, one) y = Conv<strides = [20]>(x, k)", "float[b,1,m]"),
    "two of them": ("x = Unsqueeze(wave, one) a = Conv<strides = [20]>(x, k) y = Conv(a, k)", "float[b,1,m]"),
    "a dilated one": ("x = Unsqueeze(wave, one) y = Conv<dilations = [7]>(x, k)", "float[b,1,m]"),
    "a pool": ("x = Unsqueeze(wave, one) y = AveragePool<kernel_shape = [200]>(x)", "float[b,1,m]"),
    "a reflection": ('y = Pad<mode = "reflect">(wave, p)', "float[b,m]"),
    "frames": ("x = Unsqueeze(wave, two) y = STFT(x, step, , frame)", "float[b,m,k,2]"),
    "the best": ("y, i = TopK(wave, best)", "float[b,m]"),
}


@pytest.mark.parametrize(("nodes", "out"), WINDOWS.values(), ids=WINDOWS)
def test_sizes_leave_room_for_windows(nodes, out):
    constants = (
        "int64[1] one = {1}, int64[1] two = {2}, int64[4] p = {0,100,0,100}, int64 step = {50}, int64 frame = {150}, "
        "int64[1] best = {40}, float[1,1,50] k = {" + ",".join(["0.1"] * 50) + "}"
    )
    text = (
        f"g (float[b,n] wave, float[b,other] z) => ({out} y, float[b,other] z2) <{constants}> {{ {nodes} z2 = Neg(z) }}"
    )
    feeds = drawn(text)
    assert feeds["wave"].shape[0] == feeds["z"].shape[0] == 2
    assert feeds["wave"].shape[1] > 32
    assert feeds["z"].shape[1] == 16
    with pytest.raises(gk.GraphkitError):
        drawn(text, bind={"n": 16})  # what is bound stays


def test_sizes_that_no_window_wants_larger_are_the_usual_ones():
    constants = "float[1,3,33,33] k = {" + ",".join(["0.1"] * 3 * 33 * 33) + "}"
    feeds = drawn(f"g (float[n,3,h,w] x) => (float[n,1,p,q] y) <{constants}> {{ y = Conv<pads = [1,1,1,1]>(x, k) }}")
    assert feeds["x"].shape == (2, 3, 32, 32)
    feeds = drawn(
        f'g (float[n,3,h,w] x) => (float[n,1,p,q] y) <{constants}> {{ y = Conv<auto_pad = "SAME_UPPER">(x, k) }}'
    )
    assert feeds["x"].shape == (2, 3, 32, 32)
    feeds = drawn(f"g (float[n,3,h,w] x) => (float[n,1,p,q] y) <{constants}> {{ y = Conv(x, k) }}")
    assert feeds["x"].shape == (2, 3, 64, 64)


def test_a_function_that_calls_itself_and_bodies_many_deep_come_to_an_end():
    model = parsed(
        "g (float[2] x) => (float[2] y) { y = own.f(x) }",
        '<domain: "own", opset_import: ["" : 18, "own" : 1]> f (v) => (r) { a = own.f(v) b = own.f(a) r = Log(b) }',
    )
    assert RandomFeeds(model).draw("x", 0).shape == (2,)
    value = onnx.helper.make_tensor_value_info
    inner = onnx.helper.make_node("Log", ["x"], ["deepest"])
    for depth in range(25):
        body = onnx.helper.make_graph([inner], "b", [], [value(inner.output[0], 1, [2])])
        other = onnx.helper.make_graph([], "e", [], [value("x", 1, [2])])
        inner = onnx.helper.make_node("If", ["c"], [f"y{depth}"], then_branch=body, else_branch=other)
    inputs = [value("x", 1, [2]), value("c", 9, [])]
    graph = onnx.helper.make_graph([inner], "g", inputs, [value(inner.output[0], 1, [2])])
    assert RandomFeeds(gk.Model(onnx.helper.make_model(graph))).draw("x", 0).min() > 0


def test_in_some_samples_a_mask_drops_one_whole_row_and_the_seed_says_which():
    text = "g (int64[b,4] m, float[b,4] x) => (float[b,4] y) <float inf = {-1e30}> { c = Cast<to=9>(m) s = Where(c, x, inf) y = Softmax(s) }"
    rows = []
    for seed in range(8):
        made, again = (RandomFeeds(parsed(text), seed=seed).bound({"b": 8}) for _ in range(2))
        kept = [made.draw("m", sample).any(axis=1) for sample in range(3)]
        assert kept[0].all()
        assert kept[2].all()
        assert kept[1].sum() == 7
        assert (made.draw("m", 1) == again.draw("m", 1)).all()
        rows.append(int(kept[1].argmin()))
    assert len(set(rows)) > 1
    alone = RandomFeeds(parsed(text)).bound({"b": 1})
    assert all(alone.draw("m", sample).any() for sample in range(6))
