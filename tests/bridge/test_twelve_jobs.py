"""The twelve example jobs of onnx-graphsurgeon, each done twice: by its script through the bridge, and by graphkit's own steps."""

import ml_dtypes
import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx import helper

import graphkit as gk
from onnx_text import parse
from oracle import assert_same, run_ort

RNG = np.random.default_rng(0)
W = RNG.standard_normal((3, 3, 3, 3)).astype(np.float32)
IMAGE = RNG.standard_normal((1, 3, 5, 5)).astype(np.float32)
X = RNG.standard_normal((2, 4)).astype(np.float32)


def nothing():
    """A model to begin with: a graph from nothing is a graph whose one node goes."""
    return gk.build(
        [helper.make_node("Identity", ["x"], ["y"])], {"x": "float32[1]"}, {"y": "float32[1]"}, opset=18, ir_version=9
    )


def made(nodes, inputs, outputs):
    """A graph from nothing, by a script."""
    with nothing().edit("graphsurgeon") as edit:
        edit.graph.nodes[:] = nodes
        edit.graph.inputs, edit.graph.outputs = inputs, outputs
    return edit.model


def create():
    """01: one node."""
    x, y = gs.Variable("x", np.float32, (2, 4)), gs.Variable("y", np.float32, (2, 4))
    ours = gk.build([helper.make_node("Relu", ["x"], ["y"])], {"x": "float32[2,4]"}, {"y": "float32[2,4]"}, opset=18)
    return made([gs.Node("Relu", inputs=[x], outputs=[y])], [x], [y]), ours, {"x": X}


def create_with_weights():
    """02: a Conv with its filter."""
    x, y = gs.Variable("x", np.float32, (1, 3, 5, 5)), gs.Variable("y", np.float32, (1, 3, 3, 3))
    node = gs.Node("Conv", inputs=[x, gs.Constant("w", W)], outputs=[y])
    shapes = {"x": "float32[1,3,5,5]"}, {"y": "float32[1,3,3,3]"}
    ours = gk.build([helper.make_node("Conv", ["x", "w"], ["y"])], *shapes, initializers={"w": W}, opset=18)
    return made([node], [x], [y]), ours, {"x": IMAGE}


def isolate():
    """03: what lies between two values."""
    model = parse("g (float[2,4] x) => (float[2,4] y) { a = Neg(x) b = Exp(a) c = Abs(b) y = Sin(c) }")
    with gk.Model(model).edit("graphsurgeon") as edit:
        tensors = edit.graph.tensors()
        edit.graph.inputs = [tensors["a"].to_variable(np.float32, (2, 4))]
        edit.graph.outputs = [tensors["c"].to_variable(np.float32, (2, 4))]
        edit.graph.cleanup()
    return edit.model, gk.extract(model, inputs=["a"], outputs=["c"]), {"a": X}


def modify():
    """04: a node's input, operator and attribute are others, another one goes."""
    model = parse(
        "g (float[2,4] x) => (float[2,4] y) { a = Neg(x) [act] b = LeakyRelu<alpha = 0.5>(a) y = Identity(b) }"
    )
    with gk.Model(model).edit("graphsurgeon") as edit:
        _, act, identity = edit.graph.nodes
        act.op, act.attrs["alpha"] = "Elu", 2.0
        act.inputs = [edit.graph.inputs[0]]
        edit.graph.outputs = [act.outputs[0]]
        act.outputs[0].name, act.outputs[0].dtype, act.outputs[0].shape = "y", np.float32, (2, 4)
        identity.outputs.clear()
        edit.graph.cleanup()
    ours = gk.replace(model, nodes="act", function="(a) => (b) { b = Elu<alpha = 2.0>(a) }")
    ours = gk.remove(gk.set_parts(ours, operands={"b:0": "x"}), nodes="y")
    return edit.model, gk.simplify(ours), {"x": X}


def fold():
    """05: what hangs on constants only is computed."""
    model = parse(
        "g (float[2,4] x) => (float[2,4] y) { a = Add(c, d) s = Mul(a, c) y = Add(x, s) }",
        c=[1, 2, 3, 4],
        d=[5, 6, 7, 8],
    )
    with gk.Model(model).edit("graphsurgeon") as edit:
        edit.graph.fold_constants().cleanup()
    return edit.model, gk.simplify(model), {"x": X}


def remove():
    """06: a node of an unknown operator goes."""
    model = parse("g (float[2,4] x) => (float[2,4] y) { a = Neg(x) [fake] b = FakeNodeToRemove(a) y = Exp(b) }")
    with gk.Model(model).edit("graphsurgeon") as edit:
        neg, fake, _ = edit.graph.nodes
        fake.o().inputs[0] = neg.outputs[0]
        fake.outputs.clear()
        edit.graph.cleanup()
    return edit.model, gk.remove(model, nodes="fake"), {"x": X}


@gs.Graph.register()
def add(self, a, b):
    return self.layer(op="Add", inputs=[a, b], outputs=["sum"])[0]


@gs.Graph.register()
def shape(self, a):
    return self.layer(op="Shape", inputs=[a], outputs=["shape"])[0]


@gs.Graph.register()
def reshape(self, a, target):
    return self.layer(op="Reshape", inputs=[a, target], outputs=["out"])[0]


def layers():
    """07: a graph by calls, one a layer."""
    with nothing().edit("graphsurgeon") as edit:
        graph = edit.graph
        graph.nodes.clear()
        x = gs.Variable("x", np.float32, (2, 4))
        graph.inputs = [x]
        y = graph.add(graph.add(x, np.float32([1, 2, 3, 4])), x)
        y.dtype, y.shape = np.float32, (2, 4)
        graph.outputs = [y]
    nodes = [
        helper.make_node("Add", ["x", "w"], ["a"]),
        helper.make_node("Add", ["a", "x"], [edit.model.outputs[0].name]),
    ]
    types = {"x": "float32[2,4]"}, {edit.model.outputs[0].name: "float32[2,4]"}
    return edit.model, gk.build(nodes, *types, initializers={"w": np.float32([1, 2, 3, 4])}, opset=18), {"x": X}


def replace():
    """08: Min and Max become Clip."""
    model = parse(
        "g (float[2,4] x) => (float[2,4] y) <float low = {0}, float high = {0.5}> { n = Neg(x) a = Min(n, high) b = Max(a, low) y = Exp(b) }"
    )
    with gk.Model(model).edit("graphsurgeon") as edit:
        tensors = edit.graph.tensors()
        begin, end = tensors["n"], tensors["b"]
        begin.outputs.clear()
        end.inputs.clear()
        edit.graph.nodes.append(gs.Node("Clip", inputs=[begin, tensors["low"], tensors["high"]], outputs=[end]))
        edit.graph.cleanup().toposort()
    clip = "(x) => (y) { l = Constant<value_float = 0.0>() h = Constant<value_float = 0.5>() y = Clip(x, l, h) }"
    return edit.model, gk.simplify(gk.replace(model, inputs=["n"], outputs=["b"], function=clip)), {"x": X}


def shapes():
    """09: a target out of the sizes of another value."""
    with nothing().edit("graphsurgeon") as edit:
        graph = edit.graph
        graph.nodes.clear()
        x, like = gs.Variable("x", np.float32, ("n", 4)), gs.Variable("like", np.float32, ("k", 2))
        graph.inputs = [x, like]
        y = graph.reshape(x, graph.shape(like))
        y.dtype, y.shape = np.float32, ("k", 2)
        graph.outputs = [y]
    name = edit.model.outputs[0].name
    nodes = [helper.make_node("Shape", ["like"], ["s"]), helper.make_node("Reshape", ["x", "s"], [name])]
    ours = gk.build(nodes, {"x": "float32[n,4]", "like": "float32[k,2]"}, {name: "float32[k,2]"}, opset=18)
    return edit.model, ours, {"x": X, "like": np.zeros((4, 2), np.float32)}


def batch():
    """10: the batch is free, and so is it in a Reshape."""
    model = parse("g (float[1,4] x) => (float[1,2,2] y) <int64[3] t = {1, 2, 2}> { a = Neg(x) y = Reshape(a, t) }")
    with gk.Model(model).edit("graphsurgeon") as edit:
        edit.graph.inputs[0].shape = ("N", 4)
        edit.graph.outputs[0].shape = ("N", 2, 2)
        edit.graph.nodes[1].inputs[1] = gs.Constant("free", np.array([-1, 2, 2]))
    return edit.model, gk.dims(model, {"x:0": "N"}, repair_shapes=True), {"x": X}


SELU = '<domain: "my", opset_import: ["" : 18]> Selu2 <alpha> (x) => (y) { c = Constant<value_float: float = @alpha>() e = Elu(x) y = Mul(e, c) }'


def local_function():
    """11: a function of one's own for an operator of one's own."""
    model = parse("g (float[2,4] x) => (float[2,4] y) { y = my.Selu2<alpha = 3.0>(x) }", imports='"my" : 1')
    with gk.Model(model).edit("graphsurgeon") as edit:
        body = gs.Function("Selu2", domain="my", attrs={"alpha": None})
        x, c, e, y = (gs.Variable(name) for name in ("x", "c", "e", "y"))
        held = gs.Node("Constant", attrs={"value_float": gs.Node.AttributeRef("alpha", float)}, outputs=[c])
        body.nodes = [held, gs.Node("Elu", inputs=[x], outputs=[e]), gs.Node("Mul", inputs=[e, c], outputs=[y])]
        body.inputs, body.outputs, body.opset = [x], [y], 18
        edit.graph.functions.append(body)
    return edit.model, gk.define(model, SELU), {"x": X}


def brain_floats():
    """12: weights of a type that numpy does not have."""
    w = np.array([1, 2.5, 3, 4], ml_dtypes.bfloat16)
    x, y, cast = (
        gs.Variable("x", np.float32, (2, 4)),
        gs.Variable("y", np.float32, (2, 4)),
        gs.Variable("cast", np.float32),
    )
    held = gs.Constant("w", w.astype(np.float32), export_dtype=onnx.TensorProto.BFLOAT16)
    nodes = [
        gs.Node("Cast", inputs=[held], outputs=[cast], attrs={"to": 1}),
        gs.Node("Mul", inputs=[x, cast], outputs=[y]),
    ]
    own = [helper.make_node("Cast", ["w"], ["c"], to=1), helper.make_node("Mul", ["x", "c"], ["y"])]
    ours = gk.build(own, {"x": "float32[2,4]"}, {"y": "float32[2,4]"}, initializers={"w": w}, opset=18)
    bridged = made(nodes, [x], [y])
    for model in (bridged, ours):
        assert model.proto.graph.initializer[0].data_type == onnx.TensorProto.BFLOAT16
    return bridged, ours, {"x": X}


JOBS = [
    create,
    create_with_weights,
    isolate,
    modify,
    fold,
    remove,
    layers,
    replace,
    shapes,
    batch,
    local_function,
    brain_floats,
]


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.__doc__)
def test_the_script_and_the_steps_make_models_that_compute_the_same(job):
    assert job.__doc__.startswith(f"{JOBS.index(job) + 1:02}")
    bridged, ours, feeds = job()
    for model in (bridged, ours):
        onnx.checker.check_model(model.materialize(), full_check=job is not local_function)
        assert gk.check(model)
    kinds = [sorted(n.op_type for n in model.nodes if n.op_type != "Constant") for model in (bridged, ours)]
    assert kinds[0] == kinds[1]
    assert_same(run_ort(bridged, feeds), run_ort(ours, feeds))
