"""Six small nets in plain ONNX, and faults to put into them: for tests that look for a fault.

Each net is (ModelProto, feeds). Nodes have names, every weight is an initializer.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Net:
    """Nodes and weights, appended one by one."""

    def __init__(self, seed=0):
        self.random = np.random.default_rng(seed)
        self.nodes, self.weights, self.count = [], [], 0

    def weight(self, *shape, scale=None):
        fan = int(np.prod(shape[1:])) or 1
        return self.constant(self.random.standard_normal(shape) * (scale or fan**-0.5))

    def constant(self, array, dtype=np.float32):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def __call__(self, op, *inputs, outputs=1, **attributes):
        self.count += 1
        names = [f"{op.lower()}_{self.count}" + (f"_{i}" if i else "") for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=f"{op}_{self.count}", **attributes))
        return names[0] if outputs == 1 else names

    def model(self, feeds, *outputs):
        kinds = {
            np.dtype(np.float32): TensorProto.FLOAT,
            np.dtype(np.int64): TensorProto.INT64,
            np.dtype(bool): TensorProto.BOOL,
        }
        inputs = [helper.make_tensor_value_info(n, kinds[a.dtype], a.shape) for n, a in feeds.items()]
        made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "net", inputs, made, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        return model, feeds

    def conv(self, x, inner, outer, size=3, **attributes):
        pads = [size // 2] * 4
        return self(
            "Conv", x, self.weight(outer, inner, size, size), self.weight(outer, scale=0.1), pads=pads, **attributes
        )

    def norm(self, x, width):
        mean, variance = (
            self.constant(self.random.normal(0, 0.2, width)),
            self.constant(self.random.uniform(0.01, 0.2, width)),
        )
        return self(
            "BatchNormalization",
            x,
            self.weight(width, scale=1),
            self.weight(width, scale=0.1),
            mean,
            variance,
            epsilon=1e-3,
        )

    def layer_norm(self, x, width):
        return self(
            "LayerNormalization", x, self.constant(np.ones(width)), self.weight(width, scale=0.1), axis=-1, epsilon=1e-3
        )

    def linear(self, x, inner, outer):
        return self("Add", self("MatMul", x, self.weight(inner, outer)), self.weight(outer, scale=0.1))

    def attention(self, x, width, heads=2, mask=None):
        split = self.constant([0, 0, heads, width // heads], np.int64)
        whole = self.constant([0, 0, width], np.int64)
        q, k, v = (
            self("Transpose", self("Reshape", self.linear(x, width, width), split), perm=[0, 2, 1, 3]) for _ in range(3)
        )
        scores = self("Mul", self("MatMul", q, self("Transpose", k, perm=[0, 1, 3, 2])), self.constant(0.35))
        if mask is not None:
            scores = self("Where", mask, scores, self.constant(-1e9))
        weights = self("Softmax", scores, axis=-1)
        mixed = self("Transpose", self("MatMul", weights, v), perm=[0, 2, 1, 3])
        return self.linear(self("Reshape", mixed, whole), width, width)


def convnet():
    net = Net(1)
    feeds = {"x": net.random.uniform(0, 1, (2, 3, 16, 16)).astype(np.float32)}
    h = "x"
    for inner, outer in ((3, 8), (8, 8), (8, 12)):
        h = net("Relu", net.norm(net.conv(h, inner, outer), outer))
    h = net("MaxPool", h, kernel_shape=[2, 2], strides=[2, 2])
    h = net("LeakyRelu", net.conv(h, 12, 12, strides=[2, 2], group=1), alpha=0.1)
    h = net("Flatten", net("GlobalAveragePool", h), axis=1)
    return net.model(
        feeds, net("Softmax", net("Gemm", h, net.weight(10, 12), net.weight(10), transB=1, alpha=0.5), axis=1)
    )


def unet():
    net = Net(2)
    feeds = {"x": net.random.uniform(0, 1, (1, 3, 16, 16)).astype(np.float32)}
    one = net("Relu", net.conv("x", 3, 6))
    two = net("Relu", net.conv(net("AveragePool", one, kernel_shape=[2, 2], strides=[2, 2]), 6, 8))
    three = net("Elu", net.conv(net("MaxPool", two, kernel_shape=[2, 2], strides=[2, 2]), 8, 8), alpha=0.7)
    scales = net.constant([1, 1, 2, 2])
    up = net("Resize", three, "", scales, mode="linear", coordinate_transformation_mode="half_pixel")
    h = net("Relu", net.conv(net("Concat", up, two, axis=1), 16, 6))
    up = net("Resize", h, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric")
    h = net("Relu", net.conv(net("Concat", up, one, axis=1), 12, 4))
    return net.model(feeds, net("Sigmoid", net.conv(h, 4, 1, 1)))


def encoder():
    net = Net(3)
    feeds = {"ids": net.random.integers(0, 20, (2, 6))}
    h = net("Gather", net.weight(20, 8, scale=1), "ids", axis=0)
    for _ in range(2):
        h = net("Add", h, net.attention(net.layer_norm(h, 8), 8))
        inner = net.linear(net.layer_norm(h, 8), 8, 16)
        gelu = net("Mul", inner, net("Sigmoid", net("Mul", inner, net.constant(1.702))))
        h = net("Add", h, net.linear(gelu, 16, 8))
    mean = net("ReduceMean", net.layer_norm(h, 8), net.constant([1], np.int64), keepdims=0)
    return net.model(feeds, net("Tanh", net.linear(mean, 8, 4)))


def decoder():
    net = Net(4)
    feeds = {
        "x": net.random.standard_normal((1, 5, 8)).astype(np.float32),
        "memory": net.random.standard_normal((1, 5, 8)).astype(np.float32),
    }
    mask = net.constant(np.tril(np.ones((5, 5), bool)), bool)
    h = net("Add", "x", net.attention(net.layer_norm("x", 8), 8, mask=mask))
    h = net("Add", h, net("Mul", net.attention(net("Add", net.layer_norm(h, 8), "memory"), 8), net.constant(0.5)))
    h = net("Add", h, net.linear(net("Relu", net.linear(net.layer_norm(h, 8), 8, 16)), 16, 8))
    return net.model(feeds, net("LogSoftmax", net.linear(h, 8, 12), axis=-1), h)


def lstm():
    net = Net(5)
    feeds = {"x": net.random.standard_normal((6, 2, 4)).astype(np.float32)}
    h = net.linear("x", 4, 5)
    for inner in (5, 6):
        y, _, _ = net(
            "LSTM", h, net.weight(1, 24, inner, scale=0.4), net.weight(1, 24, 6, scale=0.4), net.weight(1, 48, scale=0.1),
            outputs=3, hidden_size=6,
        )  # fmt: skip
        h = net("Squeeze", y, net.constant([1], np.int64))
        h = net("Tanh", net("Sub", h, net("ReduceMean", h, net.constant([2], np.int64), keepdims=1)))
    last = net("Gather", h, net.constant(-1, np.int64), axis=0)
    return net.model(feeds, net("HardSigmoid", net("Exp", net.linear(last, 6, 3)), alpha=0.1, beta=0.3))


def flow():
    """A net with an If in the main graph and a Loop whose body holds an If."""
    net = Net(6)
    feeds = {"x": net.random.standard_normal((3, 4)).astype(np.float32), "turns": np.array(3), "flag": np.array(True)}
    h = net("Tanh", net.linear("x", 4, 4))
    w, v, bias = net.weight(4, 4), net.weight(4, 4), net.weight(4, scale=0.5)
    value = helper.make_tensor_value_info

    def body(name, nodes, inputs, outputs):
        return helper.make_graph(
            [helper.make_node(op, i, o, name=f"{name}_{op}_{at}", **a) for at, (op, i, o, a) in enumerate(nodes)],
            name,
            inputs,
            outputs,
        )

    then = body(
        "then",
        [("MatMul", [h, w], ["t1"], {}), ("Relu", ["t1"], ["t2"], {}), ("Add", ["t2", bias], ["t3"], {})],
        [],
        [value("t3", 1, None)],
    )
    other = body(
        "other", [("MatMul", [h, v], ["e1"], {}), ("Elu", ["e1"], ["e2"], {"alpha": 0.5})], [], [value("e2", 1, None)]
    )
    branched = net("If", "flag", then_branch=then, else_branch=other)
    h = net("Add", branched, h)
    small = body("small", [("Sigmoid", ["l1"], ["s1"], {})], [], [value("s1", 1, None)])
    large = body(
        "large", [("Mul", ["l1", bias], ["g1"], {}), ("Softplus", ["g1"], ["g2"], {})], [], [value("g2", 1, None)]
    )
    loop = body(
        "turn",
        [
            ("MatMul", ["state", w], ["l1"], {}),
            ("If", ["going"], ["l2"], {"then_branch": large, "else_branch": small}),
            ("Add", ["l2", "state"], ["l3"], {}),
            ("Tanh", ["l3"], ["l4"], {}),
            ("Identity", ["going"], ["still"], {}),
        ],
        [value("turn", 7, []), value("going", 9, []), value("state", 1, None)],
        [value("still", 9, []), value("l4", 1, None)],
    )
    h = net("Loop", "turns", "", h, body=loop)
    return net.model(feeds, net.linear(h, 4, 2))


NETS = {"convnet": convnet, "unet": unet, "encoder": encoder, "decoder": decoder, "lstm": lstm, "flow": flow}

SWAPS = {
    "Relu": ["LeakyRelu", "Sigmoid", "Softplus"], "Tanh": ["Sigmoid", "Softsign"], "Sigmoid": ["Tanh", "HardSigmoid"],
    "Add": ["Sub", "Mul"], "Sub": ["Add"], "Mul": ["Add"], "MaxPool": ["AveragePool"], "AveragePool": ["MaxPool"],
    "Softmax": ["LogSoftmax"], "LogSoftmax": ["Softmax"], "Elu": ["Celu", "LeakyRelu"], "Exp": ["Softplus"],
    "Softplus": ["Relu"], "LeakyRelu": ["Elu"], "GlobalAveragePool": ["GlobalMaxPool"],
}  # fmt: skip
"""Operators that take the same inputs."""

ATTRIBUTES = {
    ("Conv", "pads"): lambda a: a.ints.__setitem__(slice(None), [a.ints[0] + 1, a.ints[1], a.ints[2] - 1, a.ints[3]]),
    ("LeakyRelu", "alpha"): lambda a: setattr(a, "f", a.f * 1.5),
    ("Elu", "alpha"): lambda a: setattr(a, "f", a.f * 1.5),
    ("HardSigmoid", "alpha"): lambda a: setattr(a, "f", a.f * 1.1),
    ("HardSigmoid", "beta"): lambda a: setattr(a, "f", a.f + 0.01),
    ("Gemm", "alpha"): lambda a: setattr(a, "f", a.f * 1.01),
    ("Resize", "coordinate_transformation_mode"): lambda a: setattr(a, "s", b"align_corners"),
    ("Resize", "mode"): lambda a: setattr(a, "s", b"cubic"),
    ("BatchNormalization", "epsilon"): lambda a: setattr(a, "f", a.f * 3),
    ("LayerNormalization", "epsilon"): lambda a: setattr(a, "f", a.f * 3),
    ("Softmax", "axis"): lambda a: setattr(a, "i", 0 if a.i == 1 else -2),
    ("LogSoftmax", "axis"): lambda a: setattr(a, "i", -2),
    ("Transpose", "perm"): lambda a: a.ints.__setitem__(
        slice(None), [a.ints[0], a.ints[1], a.ints[2], a.ints[3]][::-1]
    ),
    ("Gather", "axis"): lambda a: setattr(a, "i", 1),
}
"""(operator, attribute) -> a change that leaves the net able to run, in most places."""


def every_node(graph):
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from every_node(attribute.g)


def faults(model):
    """Every fault there is for a model: (what, key), to be given to ``with_fault``."""
    found = []
    for node in every_node(model.graph):
        found += [("swap", (node.name, other)) for other in SWAPS.get(node.op_type, ())]
        found += [("attribute", (node.name, a.name)) for a in node.attribute if (node.op_type, a.name) in ATTRIBUTES]
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            found.append(("weight", (tensor.name,)))
    return found


def with_fault(model, what, key):
    """A copy of a model with a fault, and the names of the nodes that are wrong now."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    if what == "weight":
        tensor = next(t for t in copy.graph.initializer if t.name == key[0])
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.01), tensor.name))
        return copy, [n.name for n in every_node(copy.graph) if key[0] in n.input]
    node = next(n for n in every_node(copy.graph) if n.name == key[0])
    if what == "swap":
        kept = {"AveragePool", "MaxPool"} if node.op_type.endswith("Pool") else {"Softmax", "LogSoftmax"}
        if not {node.op_type, key[1]} <= kept:
            del node.attribute[:]
        node.op_type = key[1]
    else:
        attribute = next(a for a in node.attribute if a.name == key[1])
        ATTRIBUTES[node.op_type, key[1]](attribute)
    return copy, [node.name]
