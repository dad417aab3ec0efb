"""Small nets of many kinds, and honest edits of each: what the campaign of mutants and of false alarms works on."""

import numpy as np
import onnx
import onnx.parser

from nets import NETS

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
}  # fmt: skip

TWICE = '<domain: "mine", opset_import: ["" : 18]> Twice (a, b) => (c) { d = Add(a, a)  c = Sub(d, b) }'


def all_nets():
    """Name -> ModelProto."""
    found = {name: make()[0] for name, make in NETS.items()}
    for name, text in TEXTS.items():
        model = onnx.parser.parse_model(text)
        onnx.checker.check_model(model)
        found[name] = onnx.shape_inference.infer_shapes(model)
    return found


def an_edit(model, rng, *, name=""):
    """An operation and its arguments that may go with a model, drawn; None where it has nothing to work on."""
    draw = DRAWS[name or rng.choice(sorted(DRAWS))]
    return draw(model, rng)


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


DRAWS = {
    "define": _define, "layout": _layout, "retype": _retype, "dims": _dims, "extract": _extract, "freeze": _freeze, "inline": _inline, "opset": _opset,
    "precision": _precision, "promote": _promote, "rename": _rename, "resize": _resize, "swap": _swap, "tap": _tap,
}  # fmt: skip
