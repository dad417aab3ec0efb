"""Sixty hard models, cut at an inner value by graphkit and its peers: who gets it right.

    python tests/bench/hard_models.py [--all]

Right is: the file that was written runs, gives the inner value of the whole model, and still has what the cut does not have
to change (metadata, annotations, functions, external data as external data). ``--all`` says for each model what went wrong.
Needs the peers: onnx-graphsurgeon, polygraphy, onnx-ir, onnxslim; one that is not installed is left out.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from onnx_text import parse  # noqa: E402
from oracle import assert_same, run_ort, run_reference  # noqa: E402

CUT = "m"
"""The value that every model is cut at."""


@dataclass
class Hard:
    """A model, what it is fed, and what must be there still."""

    name: str
    model: onnx.ModelProto
    feeds: dict[str, np.ndarray] = field(default_factory=lambda: {"x": np.array([1.5, -2.0], np.float32)})
    keeps: Callable[[onnx.ModelProto], bool] = lambda _: True
    external: bool = False


def simple(text: str, **options) -> onnx.ModelProto:
    return parse(f"g (float[2] x) => (float[2] y) {text}", **{"opset": 20, "ir": 10, **options})


def captures() -> list[Hard]:
    """Bodies that read what is outside of them: an input, a weight, an inner value, through two levels."""
    found = []
    sources = {"input": "x", "weight": "w", "value": "a"}
    for what, name in sources.items():
        body = f"then_branch = t () => (float[2] p) {{ p = Neg({name}) }}, else_branch = e () => (float[2] q) {{ q = Abs({name}) }}"
        text = f"<float[2] w = {{1, 2}}, bool c = {{1}}> {{ a = Relu(x) m = If(c) <{body}> y = Neg(m) }}"
        found.append(Hard(f"If reads an outer {what}", simple(text)))
        inner = f"then_branch = t () => (float[2] p) {{ p = If(c) <then_branch = tt () => (float[2] r) {{ r = Neg({name}) }}, else_branch = ee () => (float[2] s) {{ s = Abs({name}) }}> }}, else_branch = e () => (float[2] q) {{ q = Abs(x) }}"
        text = f"<float[2] w = {{1, 2}}, bool c = {{1}}> {{ a = Relu(x) m = If(c) <{inner}> y = Neg(m) }}"
        found.append(Hard(f"If in an If reads an outer {what}", simple(text)))
        loop = f"body = b (int64 i, bool k, float[2] s) => (bool ko, float[2] so) {{ ko = Identity(k) so = Add(s, {name}) }}"
        text = f"<float[2] w = {{1, 2}}, bool c = {{1}}, int64 n = {{3}}> {{ a = Relu(x) m = Loop(n, c, x) <{loop}> y = Neg(m) }}"
        found.append(Hard(f"Loop reads an outer {what}", simple(text)))
        scan = f"body = b (float s, float e) => (float so, float eo) {{ t = ReduceSum <keepdims = 0> ({name}) so = Add(s, t) eo = Add(e, so) }}, num_scan_inputs = 1"
        text = f"<float[2] w = {{1, 2}}, float z = {{0}}> {{ a = Relu(x) f, m = Scan(z, x) <{scan}> y = Neg(m) }}"
        found.append(Hard(f"Scan reads an outer {what}", simple(text)))
    return found


def functions() -> list[Hard]:
    """Functions: nested, with attributes, an overload, two domains, one that is used only behind the cut."""
    body = '<domain: "my", opset_import: ["": 20]> f (a) => (b) { t = Neg(a) b = Abs(t) }'
    outer = '<domain: "my", opset_import: ["": 20, "my": 1]> h (a) => (b) { t = my.f(a) b = Relu(t) }'
    alpha = '<domain: "my", opset_import: ["": 20]> g <alpha: float = 0.5> (a) => (b) { b = LeakyRelu <alpha: float = @alpha> (a) }'
    other = '<domain: "two", opset_import: ["": 18]> f (a) => (b) { b = Exp(a) }'
    imports = '"my" : 1, "two" : 1'

    def has(*wanted):
        return lambda model: set(wanted) <= {function.name for function in model.functions}

    def model(text, *bodies):
        return simple(text, imports=imports, functions=" ".join(bodies))

    overload = model("{ m = my.f(x) y = Neg(m) }", body)
    overload.functions[0].overload = overload.graph.node[0].overload = "narrow"
    twin = onnx.FunctionProto()
    twin.CopyFrom(overload.functions[0])
    twin.overload = "wide"
    twin.node[1].op_type = "Exp"
    overload.functions.append(twin)
    typed = model("{ m = my.f(x) y = Neg(m) }", body)
    typed.functions[0].value_info.append(helper.make_tensor_value_info("t", 1, [2]))
    return [
        Hard("function", model("{ m = my.f(x) y = Neg(m) }", body), keeps=has("f")),
        Hard("function that calls one", model("{ m = my.h(x) y = Neg(m) }", body, outer), keeps=has("f", "h")),
        Hard("function with an attribute", model("{ m = my.g <alpha = 0.25> (x) y = Neg(m) }", alpha), keeps=has("g")),
        Hard("function with a default attribute", model("{ m = my.g(x) y = Neg(m) }", alpha), keeps=has("g")),
        Hard(
            "two functions of one name", model("{ a = my.f(x) m = two.f(a) y = Neg(m) }", body, other), keeps=has("f")
        ),
        Hard("function behind the cut", model("{ m = Neg(x) y = my.f(m) }", body)),
        Hard("overloads of a function", overload, keeps=has("f")),
        Hard(
            "types inside of a function",
            typed,
            keeps=lambda m: len(m.functions) == 1 and len(m.functions[0].value_info) == 1,
        ),
        Hard(
            "function called in a body",
            model(
                "<bool c = {1}> { m = If(c) <then_branch = t () => (float[2] p) { p = my.f(x) }, else_branch = e () => (float[2] q) { q = Abs(x) }> y = Neg(m) }",
                body,
            ),
            keeps=has("f"),
        ),
    ]


def sparse_ones() -> list[Hard]:
    found = []
    for rank, dims, index, op in ((1, [2], [1], "Add"), (2, [2, 2], [[0, 1]], "MatMul"), (2, [2, 2], [3], "MatMul")):
        model = simple("{ m = Identity(x) y = Neg(m) }")
        model.graph.node.insert(0, helper.make_node(op, ["x", "s"], ["a"]))
        model.graph.node[1].input[0] = "a"
        values = helper.make_tensor("s", TensorProto.FLOAT, [1], [3.0])
        indices = numpy_helper.from_array(np.array(index, np.int64), "s_at")
        model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, dims))
        found.append(
            Hard(
                f"sparse weight of rank {rank}, indices {index}",
                model,
                keeps=lambda m: len(m.graph.sparse_initializer) == 1,
            )
        )
    return found


def kept_fields() -> list[Hard]:
    """What no number shows."""
    base = "<float[2] w = {1, 2}> { [add] a = Add(x, w) [relu] m = Relu(a) [neg] y = Neg(m) }"

    def made(change, keeps, name):
        model = simple(base)
        change(model)
        return Hard(name, model, keeps=keeps)

    def annotate(name):
        def change(model):
            note = model.graph.quantization_annotation.add(tensor_name=name)
            note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="w")

        return change

    def prop(of):
        return lambda model: of(model).metadata_props.add(key="made", value="here")

    def node(model, name="add"):
        return next(n for n in model.graph.node if n.name == name)

    def told(of):
        return lambda model: "here" in [p.value for p in of(model).metadata_props]

    typed = lambda model: model.graph.value_info.append(helper.make_tensor_value_info("a", 1, ["batch"]))  # noqa: E731
    symbol = lambda model: any(  # noqa: E731
        v.name == "a" and v.type.tensor_type.shape.dim[0].dim_param == "batch" for v in model.graph.value_info
    )
    return [
        made(prop(lambda m: m), told(lambda m: m), "metadata of the model"),
        made(prop(lambda m: m.graph), told(lambda m: m.graph), "metadata of the graph"),
        made(prop(node), told(node), "metadata of a node"),
        made(prop(lambda m: m.graph.initializer[0]), told(lambda m: m.graph.initializer[0]), "metadata of a weight"),
        made(annotate("a"), lambda m: len(m.graph.quantization_annotation) == 1, "annotation of a value"),
        made(annotate("w"), lambda m: len(m.graph.quantization_annotation) == 1, "annotation of a weight"),
        made(lambda m: setattr(m, "doc_string", "said"), lambda m: m.doc_string == "said", "doc_string of the model"),
        made(
            lambda m: setattr(node(m), "doc_string", "said"),
            lambda m: node(m).doc_string == "said",
            "doc_string of a node",
        ),
        made(lambda m: setattr(m, "producer_name", "maker"), lambda m: m.producer_name == "maker", "the producer"),
        made(typed, symbol, "a symbolic dim of an inner value"),
        made(lambda m: setattr(m, "model_version", 7), lambda m: m.model_version == 7, "the model's version"),
        made(
            lambda m: setattr(m.graph.input[0], "doc_string", "in"),
            lambda m: m.graph.input[0].doc_string == "in",
            "doc_string of an input",
        ),
    ]


def low_precision() -> list[Hard]:
    found = []
    for name in ("INT4", "UINT4", "FLOAT8E4M3FN", "FLOAT8E5M2", "BFLOAT16", "FLOAT16", "INT2", "FLOAT4E2M1"):
        kind = getattr(TensorProto, name, None)
        if kind is None:
            continue
        opset, ir = (25, 13) if name == "INT2" else (23, 11) if name == "FLOAT4E2M1" else (21, 10)
        model = simple("{ m = Add(x, d) y = Neg(m) }", opset=opset, ir=ir)
        model.graph.initializer.append(helper.make_tensor("w", kind, [2], [1, 0]))
        model.graph.node.insert(0, helper.make_node("Cast", ["w"], ["d"], to=TensorProto.FLOAT))
        found.append(
            Hard(
                f"weight of {name.lower()}",
                model,
                keeps=lambda m, k=kind: any(t.data_type == k for t in m.graph.initializer),
            )
        )
    return found


def orders() -> list[Hard]:
    unsorted = simple("{ [c] m = Relu(b) [a] a = Neg(x) [b] b = Abs(a) [d] y = Neg(m) }")
    twice = simple("{ [same] a = Neg(x) [same] m = Abs(a) [same] y = Neg(m) }")
    absent = simple("{ a = Clip(x, , top) m = Abs(a) y = Neg(m) }")
    absent.graph.initializer.append(helper.make_tensor("top", 1, [], [1.0]))
    named = simple("{ a = Neg(x) m = Abs(a) y = Neg(m) }")
    for node in named.graph.node:
        node.input[:] = ["a:0 b/c" if n == "a" else n for n in node.input]
        node.output[:] = ["a:0 b/c" if n == "a" else n for n in node.output]
    default = simple("<float[2] w = {1, 2}> { a = Add(x, w) m = Relu(a) y = Neg(m) }")
    default.graph.input.append(helper.make_tensor_value_info("w", 1, [2]))
    direct = simple("{ m = Identity(x) y = Neg(m) }")
    also = simple("{ m = Neg(x) y = Neg(m) }")
    also.graph.output.append(helper.make_tensor_value_info("m", 1, [2]))
    dead = simple("{ dead = Exp(x) m = Neg(x) y = Neg(m) }")
    two = parse(
        "g (float[2] x) => (float[1] y) { m, n = Split <axis = 0, num_outputs = 2> (x) y = Add(m, n) }", opset=20, ir=10
    )
    random = simple("{ a = Dropout(x) m = Neg(a) y = Neg(m) }")
    return [
        Hard("nodes out of order", unsorted),
        Hard("nodes of one name", twice),
        Hard("an operand that is left out", absent),
        Hard("a name with a colon, a space and a slash", named),
        Hard(
            "a weight that a feed may replace",
            default,
            keeps=lambda m: "w" in {v.name for v in m.graph.input} & {t.name for t in m.graph.initializer},
        ),
        Hard("an Identity at the cut", direct),
        Hard("the cut is an output already", also),
        Hard("a dead node beside the cut", dead),
        Hard("one of two results", two),
        Hard("Dropout in inference", random),
        Hard("ir 3, where weights are inputs", old()),
    ]


def old() -> onnx.ModelProto:
    model = parse(
        "g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}> { a = Add(x, w) m = Relu(a) y = Neg(m) }",
        opset=8,
        ir=3,
    )
    if len(model.graph.initializer) != 1:
        model.graph.initializer.append(helper.make_tensor("w", 1, [2], [1.0, 2.0]))
    return model


def other_types() -> list[Hard]:
    sequence = "{ s = SequenceConstruct(x, x) i = Constant <value = int64 {1}> () m = SequenceAt(s, i) y = Neg(m) }"
    optional = "{ o = Optional(x) m = OptionalGetElement(o) y = Neg(m) }"
    text = parse("g (string[2] x) => (string[2] y) { m = Identity(x) y = Identity(m) }", opset=20, ir=10)
    return [
        Hard("a sequence on the way", simple(sequence)),
        Hard("an optional on the way", simple(optional)),
        Hard("strings", text, feeds={"x": np.array(["a", "b"], object)}),
    ]


def external() -> list[Hard]:
    found = []
    for name, many, where in (
        ("one tensor", 1, "w.data"),
        ("two tensors in one file", 2, "w.data"),
        ("a file in a folder", 1, "sub/w.data"),
        ("a tensor that is not needed", 3, "w.data"),
    ):
        text = " ".join(f"a{k} = Add({'x' if not k else f'a{k - 1}'}, w{k})" for k in range(many if many < 3 else 1))
        model = simple(f"{{ {text} m = Relu(a{(many if many < 3 else 1) - 1}) y = Neg(m) }}")
        for k in range(many):
            model.graph.initializer.append(numpy_helper.from_array(np.full(2, k + 1, np.float32), f"w{k}"))
        found.append(Hard(f"external data: {name} ({where})", model, external=True))
    return found


def hard_models() -> list[Hard]:
    """All of them."""
    makers = (captures, functions, sparse_ones, kept_fields, low_precision, orders, other_types, external)
    return [hard for make in makers for hard in make()]


def by_onnx(source: str, target: str) -> None:
    proto = onnx.load(source)
    onnx.utils.extract_model(source, target, [v.name for v in proto.graph.input], [CUT])


def by_graphsurgeon(source: str, target: str) -> None:
    import onnx_graphsurgeon as gs

    graph = gs.import_onnx(onnx.shape_inference.infer_shapes(onnx.load(source)))
    output = graph.tensors()[CUT]
    output.dtype = output.dtype or np.dtype(np.float32)  # where inference does not know, as its own examples do
    graph.outputs = [output]
    onnx.save(gs.export_onnx(graph.cleanup()), target)


def by_polygraphy(source: str, target: str) -> None:
    from polygraphy.backend.onnx import extract_subgraph, infer_shapes, onnx_from_path, save_onnx
    from polygraphy.common import TensorMetadata

    model = infer_shapes(onnx_from_path(source))
    wanted = TensorMetadata().add(CUT, dtype=np.dtype(np.float32), shape=None)
    save_onnx(extract_subgraph(model, output_metadata=wanted), target)


def by_ir(source: str, target: str) -> None:
    import onnx_ir as ir

    model = ir.load(source)
    part = ir.convenience.extract(model.graph, [v.name for v in model.graph.inputs], [CUT])
    ir.save(ir.Model(part, ir_version=model.ir_version, functions=list(model.functions.values())), target)


def by_slim(source: str, target: str) -> None:
    import onnxslim

    onnx.save(onnxslim.slim(onnx.load(source), outputs=[CUT]), target)


def by_graphkit(source: str, target: str) -> None:
    import graphkit as gk

    gk.save(gk.extract(source, outputs=[CUT]), target)


TOOLS = {
    "graphkit": ("graphkit", by_graphkit),
    "onnx.utils": ("onnx", by_onnx),
    "onnx-graphsurgeon": ("onnx_graphsurgeon", by_graphsurgeon),
    "Polygraphy": ("polygraphy", by_polygraphy),
    "onnx-ir": ("onnx_ir", by_ir),
    "onnxslim": ("onnxslim", by_slim),
}


def whole_value(path: str, hard: Hard):
    """The inner value, by the whole model with one output more."""
    model = onnx.load(path)
    if CUT not in [v.name for v in model.graph.output]:
        model.graph.output.add(name=CUT)
    return compute(model, hard.feeds)[CUT]


def compute(model, feeds):
    try:
        return run_ort(model, feeds)
    except Exception:  # noqa: BLE001 (the runtime has no kernel, or wants nodes in order: onnx's evaluator decides)
        return run_reference(model, feeds)


def verdict(tool: Callable[[str, str], None], hard: Hard, folder: str) -> str:
    """ "" where a tool gets a model right, else what is wrong."""
    source, target = os.path.join(folder, "in", "m.onnx"), os.path.join(folder, "out", "part.onnx")
    for path in (source, target):
        os.makedirs(os.path.join(os.path.dirname(path), "sub"))
    model = onnx.ModelProto()
    model.CopyFrom(hard.model)
    if hard.external:
        where = hard.name.rpartition("(")[2].rstrip(")")
        onnx.save(model, source, save_as_external_data=True, location=where, size_threshold=0)
    else:
        onnx.save(model, source)
    expected = whole_value(source, hard)
    try:
        tool(source, target)
        shutil.rmtree(os.path.dirname(source))  # what was written stands alone
        part = onnx.load(target)
        needed = {v.name for v in part.graph.input}
        answer = compute(target if hard.external else part, {n: a for n, a in hard.feeds.items() if n in needed})
        assert_same(answer[CUT], expected)
        return "" if hard.keeps(part) else "lost"
    except Exception as error:  # noqa: BLE001 (a row of the table)
        return f"{type(error).__name__}: {' '.join(str(error).split())[:110]}"


def main(arguments: list[str]) -> int:
    """Print the table."""
    warnings.simplefilter("ignore")
    models = hard_models()
    tools = {name: tool for name, (package, tool) in TOOLS.items() if importlib.util.find_spec(package)}
    score = dict.fromkeys(tools, 0)
    for hard in models:
        wrong = {}
        for name, tool in tools.items():
            with tempfile.TemporaryDirectory() as folder:
                why = verdict(tool, hard, folder)
            score[name] += not why
            if why:
                wrong[name] = why
        if "--all" in arguments and wrong:
            sys.stdout.write(f"{hard.name}\n" + "".join(f"    {name:<18} {why}\n" for name, why in wrong.items()))
    sys.stdout.write("".join(f"{name:<18} {right} of {len(models)}\n" for name, right in score.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
