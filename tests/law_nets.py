"""Small nets of many kinds, and honest edits of each: what the campaign of mutants and of false alarms works on."""

import numpy as np
import onnx
import onnx.parser

import graphkit as gk
from graphkit.storage.load import as_model
from nets import NETS, SWAPS, every_node

TEXTS = {
    "free": """<ir_version: 10, opset_import: ["" : 18]>
      g (float[n, 4] x, float[n, 4] y) => (float[n, 4] z, float[n] s) <float[4] b = {0.5, -1, 2, 0.25}> {
        [add] a = Add(x, b) [mul] m = Mul(a, y) [sm] z = Softmax<axis = 1>(m)
        axes = Constant<value_ints = [1]>() [sum] s = ReduceSum<keepdims = 0>(m, axes) }""",
    "constants": """<ir_version: 8, opset_import: ["" : 17]>
      g (float[2, 3] x) => (float[2, 3] y, float[2, 3] u) {
        two = Constant<value = float {2.0}>() low = Constant<value_float = -0.5>() [mul] m = Mul(x, two)
        [clip] c = Clip(m, low) [sub] y = Sub(c, x) [div] u = Div(c, two) }""",
    "called": """<ir_version: 10, opset_import: ["" : 18, "mine" : 1]>
      g (float[3, 4] x, float[4] k) => (float[3, 4] y) { [one] a = mine.Scaled<by = 2.0>(x, k) [two] y = mine.Scaled<by = 0.5>(a, x) }
      <domain: "mine", opset_import: ["" : 18]> Scaled <by> (a, b) => (c) {
        s = Constant<value_float: float = @by>() d = Mul(a, s) c = Sub(d, b) }""",
    "custom": """<ir_version: 10, opset_import: ["" : 18, "mine" : 1]>
      g (float[2, 3] x) => (float[2, 3] y) { [r] r = Relu(x) [t] t = mine.Twice(r, x) [n] y = Neg(t) }""",
    "quantized": """<ir_version: 10, opset_import: ["" : 18]>
      g (float[2, 4] x) => (float[2, 3] y)
      <float sx = {0.05}, int8 zx = {0}, float[3] sw = {0.02, 0.03, 0.01}, int8[3] zw = {0, 0, 0},
       int8[4, 3] w = {10, -20, 30, 40, 50, -60, 70, 80, 90, -100, 110, 120}> {
        q = QuantizeLinear(x, sx, zx) d = DequantizeLinear(q, sx, zx) [dw] f = DequantizeLinear<axis = 1>(w, sw, zw)
        [mm] y = MatMul(d, f) }""",
    "up": """<ir_version: 10, opset_import: ["" : 18]>
      g (float[1, 2, h, w] x) => (float[1, 2, p, q] y, float[1, 2, h, w] r)
      <float[4] s = {1, 1, 2, 2}, float[4] t = {1, 1, 3, 3}> {
        [relu] r = Relu(x) [one] a = Resize<mode = "nearest">(r, , s) [neg] b = Neg(a)
        [two] y = Resize<mode = "linear">(b, , t) }""",
    "sizes": """<ir_version: 10, opset_import: ["" : 18]>
      g (float[1, 2, 6, 6] x) => (float[1, 2, 12, 9] y) <int64[4] s = {1, 2, 12, 9}> {
        [relu] r = Relu(x) [one] y = Resize<mode = "linear">(r, , , s) }""",
    "sequence": """<ir_version: 10, opset_import: ["" : 18]>
      g (float[4, 3] x) => (seq(float[2, 3]) s, float[2, 3] y) {
        two = Constant<value_int = 2>() one = Constant<value_int = 1>()
        [split] s = SplitToSequence<axis = 0>(x, two) [at] a = SequenceAt(s, one) [abs] y = Abs(a) }""",
    "defaults": """<ir_version: 10, opset_import: ["" : 18]>
      g (float[2, 3] x, float[3] k, float[1] t) => (float[2, 3] y) <float[3] k = {1, 2, 3}, float[1] t = {0.5}> {
        [mul] m = Mul(x, k) [sub] y = Sub(m, t) }""",
    "integers": """<ir_version: 10, opset_import: ["" : 18]>
      g (int64[4] x, bool[4] keep) => (int64[4] y, bool[4] z) <int64[4] w = {3, 1, 2, 5}, int64[4] v = {0, 7, 0, 7}> {
        [mul] m = Mul(x, w) [where] y = Where(keep, m, v) [less] z = Less(y, w) }""",
    "modules": """<ir_version: 10, opset_import: ["" : 18]>
      g (float[2, 4] x) => (float[2, 4] y, float[2, 4] z)
      <float[4] k = {0.5, -1, 2, 0.25}, float[4] k2 = {0.5, -1, 2, 0.25}, float[4] dead = {1, 1, 1, 1}> {
        ["/first/Add"] a = Add(x, k) ["/first/Sigmoid"] s = Sigmoid(a) ["/first/Mul"] m = Mul(a, s)
        ["/second/Add"] b = Add(m, k2) ["/second/Identity"] i = Identity(b)
        ["/second/act/Softplus"] p = Softplus(i) ["/second/act/Tanh"] t = Tanh(p) ["/second/act/Mul"] y = Mul(i, t)
        half = Constant<value_float = 0.5>() ["/third/Mul"] h = Mul(half, half) ["/third/Mul_1"] z = Mul(y, h)
        unread = Neg(dead) }""",
    "loops": """<ir_version: 10, opset_import: ["" : 18]>
      g (float[2, 3] x, int64 turns) => (float[2, 3] y, float[m, 2, 3] z) <float[3] w = {0.5, -1, 1.5}> {
        yes = Constant<value = bool {1}>()
        [loop] y, z = Loop(turns, yes, x) <body = b (int64 i, bool go, float[2, 3] s) => (bool again, float[2, 3] o, float[2, 3] q) {
          again = Identity(go) r = Mul(s, w) q = Sin(r) o = Sub(q, x) }> }""",
}  # fmt: skip

TWICE = '<domain: "mine", opset_import: ["" : 18]> Twice (a, b) => (c) { d = Add(a, a)  c = Sub(d, b) }'


def products():
    """Products with weights that are worth four and eight bits."""
    model = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 18]>
      g (float[3, 32] x) => (float[3, 16] y, float[3, 24] z) {
        [one] a = MatMul(x, w) [tanh] t = Tanh(a) [two] z = Gemm<transB = 1>(t, v, b) [three] y = MatMul(t, u) }""")
    random = np.random.default_rng(3)
    for name, shape in {"w": (32, 48), "v": (24, 48), "b": (24,), "u": (48, 16)}.items():
        array = (random.standard_normal(shape) * 0.2).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return onnx.shape_inference.infer_shapes(model)


def all_nets():
    """Name -> ModelProto."""
    found = {name: make()[0] for name, make in NETS.items()}
    found["products"] = products()
    for name, text in TEXTS.items():
        model = onnx.parser.parse_model(text)
        onnx.checker.check_model(model)
        found[name] = onnx.shape_inference.infer_shapes(model)
    return found


def an_edit(model, rng, *, name=""):
    """An operation and its arguments that may go with a model, drawn; None where it has nothing to work on."""
    draw = DRAWS[name or rng.choice(sorted(DRAWS))]
    return draw(model, rng)


def applied(model, drawn):
    """What an operation that was drawn makes of a model."""
    name, arguments = drawn
    if name != "edit":
        return getattr(gk, name)(model, **arguments)
    with as_model(model).edit() as editing:
        arguments["change"](editing.proto)
    return editing.model


def _values(model):
    return [name for node in model.graph.node for name in node.output if name]


def _weights(model, kinds="f"):
    listed = {value.name for value in model.graph.input}
    return [
        t.name
        for t in model.graph.initializer
        if t.name not in listed and onnx.helper.tensor_dtype_to_np_dtype(t.data_type).kind in kinds
    ]


def _some(rng, items, most=3):
    items = list(items)
    return rng.sample(items, min(len(items), rng.randint(1, most))) if items else []


def _rename(model, rng):
    names = [*_values(model), *(v.name for v in model.graph.input), *(t.name for t in model.graph.initializer)]
    values = {name: f"{name}_new" for name in _some(rng, dict.fromkeys(names), 5)}
    return ("rename", {"values": values}) if values else None


def _swap(model, rng):
    names = _some(rng, _values(model), 2)
    return ("rename", {"values": {names[0]: names[1], names[1]: names[0]}}) if len(names) == 2 else None


def _opset(model, rng):
    if model.functions:
        return None
    return "opset", {"to": rng.choice([17, 18, 19, 20, 21])}


def _tap(model, rng):
    inner = [name for name in _values(model) if _is_tensor(model, name)]
    return ("tap", {"names": _some(rng, inner), "replace": rng.random() < 0.3}) if inner else None


def _is_tensor(model, name):
    for value in (*model.graph.output, *model.graph.value_info):
        if value.name == name:
            return value.type.HasField("tensor_type")
    return True


def _extract(model, rng):
    outputs = _some(rng, [name for name in _values(model) if _is_tensor(model, name)], 2)
    if not outputs:
        return None
    if rng.random() < 0.5:
        return "extract", {"outputs": outputs}
    made = _values(model)
    before = made[: made.index(outputs[0])]
    inner = _some(rng, [name for name in before if _is_tensor(model, name)], 2)
    own = [v.name for v in model.graph.input if v.name not in {t.name for t in model.graph.initializer}]
    return "extract", {"outputs": outputs, "inputs": list(dict.fromkeys([*inner, *own]))}


def _promote(model, rng):
    names = _some(rng, _weights(model), 2)
    return ("promote", {"tensors": names, "keep_default": rng.random() < 0.4}) if names else None


def _freeze(model, rng):
    inputs = [v for v in model.graph.input if v.type.HasField("tensor_type")]
    if len(inputs) < 2:
        return None
    value = rng.choice(inputs)
    shape = [d.dim_value or 2 for d in value.type.tensor_type.shape.dim]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    array = np.random.default_rng(rng.randint(0, 999)).uniform(0, 2, shape).astype(dtype)
    return "freeze", {"values": {value.name: array}, "fold": rng.random() < 0.5}


def _dims(model, rng):
    dims = [
        (value.name, axis, dim)
        for value in model.graph.input
        for axis, dim in enumerate(value.type.tensor_type.shape.dim)
    ]
    if not dims:
        return None
    name, axis, dim = rng.choice(dims)
    if dim.dim_param:
        return "dims", {"values": {dim.dim_param: rng.choice([f"{dim.dim_param}_new", 4])}}
    return "dims", {"values": {f"{name}:{axis}": "free"}, "repair_shapes": True, "strict": True}


def _resize(model, rng):
    if not any(node.op_type == "Resize" for node in model.graph.node):
        return None
    wish = {"form": rng.choice(["factor", "factor", "scales"]), "keep_default": rng.random() < 0.3}
    if wish["form"] == "factor":
        wish["relative"] = rng.random() < 0.4
        wish["separate"] = rng.random() < 0.4
    return "resize", wish


def _precision(model, rng):
    listed = {value.name for value in model.graph.input}
    if rng.random() < 0.3:
        return "precision", {"to": rng.choice(["int8-weights", "int8-dynamic", "int4-weights"])}
    if rng.random() < 0.3 and not any(t.name in listed for t in model.graph.initializer):  # default values are lost
        return "precision", {"to": "int8", "samples": 24}
    return "precision", {"to": "float16", "keep_io": rng.random() < 0.5}


def _retype(model, rng):
    listed = {t.name for t in model.graph.initializer}
    ports = [v for v in (*model.graph.input, *model.graph.output) if v.type.HasField("tensor_type")]
    floats = [v.name for v in ports if v.type.tensor_type.elem_type == 1 and v.name not in listed]
    return (
        ("retype", {"io": {name: rng.choice(["float64", "float16"]) for name in _some(rng, floats)}})
        if floats
        else None
    )


def _layout(model, rng):
    ports = [v for v in (*model.graph.input, *model.graph.output) if len(v.type.tensor_type.shape.dim) == 4]
    return ("layout", {"io": {v.name: "NHWC" for v in _some(rng, ports)}}) if ports else None


def _inline(model, rng):
    return ("inline", {}) if model.functions else None


def _define(model, rng):
    return ("define", {"function": TWICE}) if any(n.op_type == "Twice" for n in model.graph.node) else None


BODIES = ["relu", "sigmoid", "identity", "softmax", "clip:low=-1,high=1", "(p) => (q) { r = Cos(p) q = Mul(r, p) }"]
"""Bodies that go with any float."""

EQUAL = {
    "Neg": "(p) => (q) { z = Constant<value_float = 0.0>() q = Sub(z, p) }",
    "Relu": "(p) => (q) { z = Constant<value_float = 0.0>() q = Max(p, z) }",
    "Sigmoid": "(p) => (q) { o = Constant<value_float = 1.0>() n = Neg(p) e = Exp(n) d = Add(e, o) q = Div(o, d) }",
    "Sub": "(p, r) => (q) { n = Neg(r) q = Add(p, n) }",
    "Add": "(p, r) => (q) { q = Sum(p, r) }",
    "Abs": "(p) => (q) { n = Neg(p) q = Max(p, n) }",
    "Identity": "(p) => (q) { q = Identity(p) }",
}
"""Operator -> a body that computes the same of floats."""


def _floats(model):
    """Values of the main graph that are known to be float tensors."""
    infos = (*model.graph.input, *model.graph.output, *model.graph.value_info)
    return {v.name for v in infos if v.type.tensor_type.elem_type == 1}


def _insert(model, rng):
    floats = _floats(model)
    read = {name for node in every_node(model.graph) for name in node.input} | {v.name for v in model.graph.output}
    places = sorted(floats.intersection(read).intersection([*_values(model), *(v.name for v in model.graph.input)]))
    listed = {t.name for t in model.graph.initializer}
    places = [name for name in places if name not in listed]
    if not places:
        return None
    at = rng.choice(places)
    readers = [n.name for n in model.graph.node if at in n.input and n.name]
    chosen = {"readers": rng.choice(readers)} if readers and rng.random() < 0.3 else {}
    return "insert", {"at": at, "function": rng.choice(BODIES), **chosen}


def _remove(model, rng):
    if len(model.graph.output) > 1 and rng.random() < 0.2:
        return "remove", {"outputs": [rng.choice(model.graph.output).name]}
    floats = _floats(model)
    nodes = [n for n in model.graph.node if n.input and n.input[0] in floats and n.output[0] in floats]
    return ("remove", {"nodes": [_label(n) for n in _some(rng, nodes, 2)]}) if nodes else None


def _label(node):
    return node.name or node.output[0]


def _replace(model, rng):
    floats = _floats(model)
    nodes = [
        n
        for n in model.graph.node
        if n.op_type in EQUAL and not n.domain and set(n.input) <= floats | set(_weights(model))
    ]
    if not nodes:
        return None
    node = rng.choice(nodes)
    return "replace", {"nodes": _label(node), "function": EQUAL[node.op_type]}


def _reorder(model, rng):
    inputs, outputs = ([v.name for v in values] for values in (model.graph.input, model.graph.output))
    rng.shuffle(inputs)
    rng.shuffle(outputs)
    return "reorder", {"inputs": inputs, "outputs": outputs, "sort": True, "name_all": rng.random() < 0.5}


def _rewrite(model, rng):
    exact = [rule.name for rule in gk.rewrite_rules() if rule.tolerance is None or rule.tolerance < 0.001]
    return "rewrite", {"rules": rng.sample(exact, 12)}


def _set(model, rng):
    kind = rng.choice(["attribute", "weight", "metadata", "shapes", "operand"])
    if kind == "attribute":
        found = [
            (n, a) for n in model.graph.node for a in n.attribute if a.type == 1 and n.name and not a.ref_attr_name
        ]
        if found:
            node, attribute = rng.choice(found)
            return "set_parts", {"attributes": {f"{node.name}:{attribute.name}": attribute.f * 1.5 + 0.125}}
    if kind == "weight" and (names := _weights(model)):
        name = rng.choice(names)
        tensor = next(t for t in model.graph.initializer if t.name == name)
        array = np.random.default_rng(rng.randint(0, 99)).uniform(-1, 1, list(tensor.dims))
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        return "set_parts", {"tensors": {name: np.asarray(array).astype(dtype)}}
    if kind == "operand":
        pairs = [(n, i) for n in model.graph.node for i, x in enumerate(n.input) if x in _weights(model) and n.name]
        if pairs:
            node, at = rng.choice(pairs)
            return "set_parts", {"operands": {f"{node.name}:{at}": 0.75}} if node.op_type in (
                "Add",
                "Mul",
                "Sub",
            ) else {"doc": "d"}
    if kind == "shapes":
        return "set_parts", {"shapes": rng.choice(["infer", "clear"])}
    return "set_parts", {"metadata": {"by": "me"}, "clear": ["docs"]}


def _edit(model, rng):
    nodes = [
        at
        for at, n in enumerate(model.graph.node)
        if n.op_type in SWAPS and not n.op_type.endswith("Pool") and not n.domain
    ]
    if not nodes:
        return None
    at = rng.choice(nodes)
    other = rng.choice(SWAPS[model.graph.node[at].op_type])

    def change(proto):
        proto.graph.node[at].op_type = other
        del proto.graph.node[at].attribute[:]

    return "edit", {"change": change}


def _simplify(model, rng):
    return "simplify", {"fold_limit": rng.choice([0, 1 << 20])}


def _deduplicate(model, rng):
    return "deduplicate", {}


def _outline(model, rng):
    paths = sorted({n.name.split("/")[1] for n in model.graph.node if n.name.startswith("/") and n.name.count("/") > 1})
    return ("outline", {"modules": _some(rng, paths, 2)}) if paths else None


def _image(model, rng):
    pictures = [
        v for v in model.graph.input if len(v.type.tensor_type.shape.dim) == 4 and v.type.tensor_type.elem_type == 1
    ]
    if not pictures:
        return None
    channels = pictures[0].type.tensor_type.shape.dim[1].dim_value
    wish = {"input": pictures[0].name, "layout": rng.choice(["NHWC", "NCHW"]), "std": rng.choice([1.0, 0.25])}
    if channels == 3:
        wish |= {"mean": [0.4, 0.5, 0.6], "order": rng.choice(["rgb", "bgr"])}
    return "image", wish


DRAWS = {
    "define": _define, "layout": _layout, "retype": _retype, "dims": _dims, "extract": _extract, "freeze": _freeze, "inline": _inline, "opset": _opset,
    "precision": _precision, "promote": _promote, "rename": _rename, "resize": _resize, "swap": _swap, "tap": _tap,
    "insert": _insert, "remove": _remove, "replace": _replace, "reorder": _reorder, "rewrite": _rewrite, "set": _set, "edit": _edit,
    "simplify": _simplify, "deduplicate": _deduplicate, "outline": _outline, "image": _image,
}  # fmt: skip
