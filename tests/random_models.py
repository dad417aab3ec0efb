"""Random valid models, from a seed: what the property tests of all operations work on.

A model carries float values of shape [n, 3] (n is 2, or symbolic) through nodes of every kind: low and narrow types,
strings, sequences and optional values, If, Loop and Scan with bodies that capture, functions that call functions,
constants in every spelling, sparse, unused, shared and default weights. Beside the nodes it has what exporters leave
there: names that are missing or there twice, docs, metadata, declared shapes, quantization annotations.

``random_model(seed)`` is the same model for a seed, forever with one version of this file; ``feeds_of`` feeds it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROWS, COLUMNS = 2, 3
UNARY = ["Neg", "Abs", "Tanh", "Identity", "Relu", "Sigmoid", "Softmax", "HardSigmoid"]
BINARY = ["Add", "Sub", "Max", "Min", "Add"]
CASTS = [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16, TensorProto.INT32, TensorProto.INT8, TensorProto.FLOAT8E4M3FN, TensorProto.BOOL]  # fmt: skip


def random_model(seed: int) -> onnx.ModelProto:
    """A valid model of 5 to about 40 nodes. ONNX Runtime runs it; where two nodes have one name, onnx.reference does."""
    return _Drawing(random.Random(seed)).model()


def feeds_of(model: onnx.ModelProto, seed: int = 0, rows: int = ROWS) -> dict[str, Any]:
    """Something to feed each input that has no default value."""
    rng = np.random.default_rng(seed)
    held = {t.name for t in model.graph.initializer} | {s.values.name for s in model.graph.sparse_initializer}
    feeds: dict[str, Any] = {}
    for value in model.graph.input:
        if value.name in held:
            continue
        kind = value.type.tensor_type
        shape = [d.dim_value or rows for d in kind.shape.dim]
        if kind.elem_type == TensorProto.BOOL:
            feeds[value.name] = np.array(rng.random(shape) < 0.5)
        elif kind.elem_type == TensorProto.STRING:
            feeds[value.name] = np.full(shape, "a", dtype=object)
        else:
            feeds[value.name] = rng.uniform(-1, 1, shape).astype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
    return feeds


class _Drawing:
    """One model while it is drawn."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.opset = rng.choice([17, 18, 19, 20, 21, 22, 23])
        self.twin, self.duplicates = False, rng.random() < 0.1  # ONNX Runtime refuses these in one graph
        if self.duplicates:
            self.opset = max(self.opset, 21)
        self.ir = max(8, rng.choice([8, 9, 10, 11]), 10 if self.opset >= 21 else 9 if self.opset >= 19 else 8)
        self.rows: int | str = rng.choice([ROWS, "n"])
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[TensorProto] = []
        self.sparse: list[onnx.SparseTensorProto] = []
        self.inputs = [self.value(f"x{k}") for k in range(rng.randint(1, 3))]
        self.inputs.append(helper.make_tensor_value_info("flag", TensorProto.BOOL, []))
        self.known = [v.name for v in self.inputs if v.name != "flag"]
        self.outputs: list[onnx.ValueInfoProto] = []
        self.infos: list[onnx.ValueInfoProto] = []
        self.functions = False
        self.count = 0
        self.module = 0

    def model(self) -> onnx.ModelProto:
        rng = self.rng
        for name, shape in (("w0", [COLUMNS]), ("w1", [1, COLUMNS]), ("w2", [])):
            self.weigh(name, np.asarray(rng.choice([0.5, 1.0, -0.25, 0.0]) * np.ones(shape), np.float32))
            self.known.append(name)
        drawn = [kind for kind in KINDS if not self.duplicates or kind not in NOT_IN_REFERENCE]
        kinds = [*drawn, *rng.choices(drawn, k=8)]
        for _ in range(rng.randint(3, 14)):
            self.module += rng.random() < 0.3
            rng.choice(kinds)(self)
        self.unary()
        self.choose_outputs()
        self.around()
        graph = helper.make_graph(self.nodes, "random", self.inputs, self.outputs, self.weights)
        graph.sparse_initializer.extend(self.sparse)
        graph.value_info.extend(self.infos)
        opsets = [helper.make_opsetid("", self.opset)]
        functions = (
            _functions(self.opset, rng.choice(["Tanh", "Tanh", "Sigmoid"]))
            if self.functions or rng.random() < 0.1
            else []
        )
        if functions:
            opsets.append(helper.make_opsetid("local", 1))
        model = helper.make_model(graph, functions=functions, opset_imports=opsets, ir_version=self.ir)
        self.remark(model)
        return model

    # Names, values and weights.

    def name(self, stem: str = "v") -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def value(self, name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [self.rows, COLUMNS])

    def one(self) -> str:
        """A value of shape [n, 3], or a weight that broadcasts to it; recent ones more often."""
        return self.rng.choice(self.known[-6:] if self.rng.random() < 0.6 else self.known)

    def full(self) -> str:
        """A value of shape [n, 3]."""
        return self.rng.choice([name for name in self.known if not name.startswith("w")])

    def weigh(self, name: str, array: np.ndarray, data_type: int | None = None) -> str:
        tensor = numpy_helper.from_array(array, name)
        if data_type is not None:
            tensor = helper.make_tensor(name, data_type, array.shape, array.ravel().tolist())
        self.weights.append(tensor)
        return name

    def add(self, op: str, inputs: list[str], outputs: int | list[str] = 1, domain: str = "", **attributes: Any) -> Any:
        """A node with a name, without one, or with one that others have; its outputs, or its only one."""
        names = [self.name() for _ in range(outputs)] if isinstance(outputs, int) else outputs
        self.count += 1
        called = self.rng.choice([f"/m{self.module}/{op}_{self.count}"] * 4 + ["", "twin", f"node {self.count}"])
        if called == "twin" and self.twin and not self.duplicates:
            called = ""
        self.twin |= called == "twin"
        node = helper.make_node(op, inputs, names, name=called, domain=domain, **attributes)
        if self.ir >= 10 and self.rng.random() < 0.2:
            node.metadata_props.add(key="from", value=called)
        if self.rng.random() < 0.1:
            node.doc_string = f"doc of {op}"
        self.nodes.append(node)
        return names[0] if len(names) == 1 else names

    def keep(self, *names: str) -> None:
        self.known.extend(names)

    # Kinds of nodes.

    def unary(self) -> None:
        self.keep(self.add(self.rng.choice(UNARY), [self.full()]))

    def binary(self) -> None:
        self.keep(self.add(self.rng.choice(BINARY), [self.full(), self.one()]))

    def scaled(self) -> None:
        self.keep(self.add("Mul", [self.full(), self.rng.choice(["w0", "w1", "w2"])]))

    def clip(self) -> None:
        self.keep(self.add("Clip", [self.full(), "", self.constant(0.75)]))

    def constant(self, number: float) -> str:
        """A scalar in one of the spellings of a constant."""
        spelling = self.rng.randrange(4)
        if spelling == 0:
            return str(self.add("Constant", [], value_float=number))
        if spelling == 1:
            return str(self.add("Constant", [], value=numpy_helper.from_array(np.float32(number))))
        if spelling == 2:
            return self.weigh(self.name("c"), np.asarray(number, np.float32))
        return str(self.add("Identity", [self.weigh(self.name("c"), np.asarray(number, np.float32))]))

    def integers(self, numbers: list[int]) -> str:
        if self.rng.random() < 0.5:
            return str(self.add("Constant", [], value_ints=numbers))
        return self.weigh(self.name("i"), np.array(numbers, np.int64))

    def cast(self) -> None:
        """There and back. In double a node lies between: ONNX Runtime takes Casts out that lose nothing, and a body that
        reads the last of them finds nothing.
        """
        narrow = self.rng.choice([c for c in CASTS if c != TensorProto.FLOAT8E4M3FN or self.opset >= 19])
        there = self.add("Cast", [self.full()], to=narrow)
        if narrow == TensorProto.DOUBLE:
            there = self.add("Neg", [there])
        self.keep(self.add("Cast", [there], to=TensorProto.FLOAT))

    def narrow_weight(self) -> None:
        """A weight in bfloat16, float8, int4 or int8, read as float."""
        kind = self.rng.choice(["bfloat16", "int8", "float8", "int4"])
        numbers = np.array([1, -2, 3], np.float32)
        scale = self.weigh(self.name("scale"), np.float32(0.25))
        if kind == "int4" and self.opset >= 21:
            weight = self.weigh(self.name("q"), numbers, self.rng.choice([TensorProto.INT4, TensorProto.FLOAT8E5M2]))
            made = self.add("DequantizeLinear", [weight, scale])
        elif kind == "float8" and self.opset >= 19:
            weight = self.weigh(self.name("q"), numbers, TensorProto.FLOAT8E4M3FN)
            made = self.add("DequantizeLinear", [weight, scale])
        elif kind == "bfloat16":
            made = self.add("Cast", [self.weigh(self.name("b"), numbers, TensorProto.BFLOAT16)], to=TensorProto.FLOAT)
        else:
            zero = self.weigh(self.name("zero"), np.int8(0))
            weight = self.weigh(self.name("q"), numbers, TensorProto.INT8)
            made = self.add("DequantizeLinear", [weight, scale, zero])
        self.keep(self.add("Add", [self.full(), made]))

    def quantized(self) -> None:
        scale, zero = self.weigh(self.name("scale"), np.float32(0.05)), self.weigh(self.name("zero"), np.uint8(128))
        self.keep(self.add("DequantizeLinear", [self.add("QuantizeLinear", [self.full(), scale, zero]), scale, zero]))

    def compared(self) -> None:
        less = self.add("Less", [self.full(), self.one()])
        if self.rng.random() < 0.5:
            less = self.add("Not", [less])
        self.keep(self.add("Where", [less, self.full(), self.one()]))

    def strings(self) -> None:
        """A string that is joined, compared, and chooses between two values."""
        word = helper.make_tensor(self.name("t"), TensorProto.STRING, [1], [b"b"])
        self.weights.append(word)
        if not any(value.name == "text" for value in self.inputs):
            self.inputs.append(helper.make_tensor_value_info("text", TensorProto.STRING, [1]))
        said = self.add("StringConcat", ["text", word.name]) if self.opset >= 20 else self.add("Identity", ["text"])
        if self.opset >= 19:
            self.keep(self.add("Where", [self.add("Equal", [said, word.name]), self.full(), self.full()]))
        self.outputs.append(helper.make_tensor_value_info(said, TensorProto.STRING, [1]))

    def matrix(self) -> None:
        """A weight of some kilobytes, which goes to external data."""
        wide = self.rng.choice([128, 150])
        array = (np.arange(COLUMNS * wide, dtype=np.float32).reshape(COLUMNS, wide) % 7 - 3) / 10
        wide_one = self.add("MatMul", [self.full(), self.weigh(self.name("wide"), array)])
        back = self.weigh(self.name("back"), np.ascontiguousarray(array.T) / 50)
        self.keep(self.add("MatMul", [self.add("Tanh", [wide_one]), back]))

    def sparse_weight(self) -> None:
        name = self.name("s")
        values = numpy_helper.from_array(np.array([0.5, -1], np.float32), name)
        places = numpy_helper.from_array(np.array([0, 2], np.int64), "")
        self.sparse.append(helper.make_sparse_tensor(values, places, [COLUMNS]))
        self.keep(self.add("Add", [self.full(), name]))

    def default(self) -> None:
        """A weight that callers may override."""
        name = self.weigh(self.name("d"), np.array([0.1, 0.2, 0.3], np.float32))
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [COLUMNS]))
        self.keep(self.add("Sub", [self.full(), name]))

    def sizes(self) -> None:
        """Shape arithmetic that comes back to the same shape."""
        value = self.full()
        shape = self.add("Shape", [self.full()])
        flat = self.add("Reshape", [value, self.integers([-1])])
        self.keep(self.add("Reshape", [self.add("Identity", [flat]), shape]))

    def turned(self) -> None:
        turned = self.add("Transpose", [self.full()], perm=[1, 0])
        if self.rng.random() < 0.4:
            turned = self.add("Tanh", [turned])
        self.keep(self.add("Transpose", [turned]))

    def parts(self) -> None:
        value = self.full()
        if self.rng.random() < 0.5:
            first, second = self.add("Split", [value, self.integers([1, COLUMNS - 1])], 2, axis=1)
        else:
            first = self.add("Slice", [value, self.integers([0]), self.integers([1]), self.integers([1])])
            second = self.add("Gather", [value, self.integers([1, 2])], axis=1)
        self.keep(self.add("Concat", [second, first], axis=1))

    def reduced(self) -> None:
        axes = {"axes": [1]} if self.opset < 18 else {}
        inputs = [self.full()] if self.opset < 18 else [self.full(), self.integers([1])]
        self.keep(self.add("Sub", [self.full(), self.add("ReduceMean", inputs, **axes)]))

    def pictured(self) -> None:
        """A picture, made larger now and then, and of it a number a channel."""
        if not any(value.name == "picture" for value in self.inputs):
            self.inputs.append(helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, COLUMNS, 4, 4]))
        value = "picture"
        if self.rng.random() < 0.5:
            scales = self.weigh(self.name("f"), np.array([1, 1, 2, 2], np.float32))
            value = self.add("Resize", [value, "", scales], mode="nearest")
        pooled = self.add("GlobalAveragePool", [value])
        flat = self.add("Reshape", [pooled, self.integers([1, COLUMNS])])
        self.keep(self.add("Add", [self.full(), flat]))

    def top(self) -> None:
        """An output that nothing reads."""
        made, _ = self.add("TopK", [self.full(), self.integers([COLUMNS])], 2)
        self.keep(made)

    def dropout(self) -> None:
        """An output that is left out."""
        made = self.name()
        self.add("Dropout", [self.full()], [made, ""] if self.rng.random() < 0.5 else [made])
        self.keep(made)

    def sequence(self) -> None:
        sequence = self.add("SequenceConstruct", [self.full(), self.full()])
        if self.rng.random() < 0.4:
            kind = helper.make_sequence_type_proto(
                helper.make_tensor_type_proto(TensorProto.FLOAT, [self.rows, COLUMNS])
            )
            self.outputs.append(helper.make_value_info(sequence, kind))
        position = self.weigh(self.name("at"), np.array(self.rng.choice([0, 1, -1]), np.int64))
        self.keep(self.add("SequenceAt", [sequence, position]))

    def joined(self) -> None:
        pieces = self.add("SplitToSequence", [self.full(), self.integers([1, COLUMNS - 1])], axis=1)
        self.keep(self.add("ConcatFromSequence", [pieces], axis=1))

    def optional(self) -> None:
        wrapped = self.add("Optional", [self.full()])
        if self.opset >= 18 and self.rng.random() < 0.4:
            self.add("OptionalHasElement", [wrapped])
        self.keep(self.add("OptionalGetElement", [wrapped]))

    def call(self) -> None:
        self.functions = True
        if self.rng.random() < 0.4:
            first, second = self.add("Pair", [self.full()], 2, domain="local")
            self.keep(first, second)
        elif self.rng.random() < 0.5:
            self.keep(self.add("Scaled", [self.full(), self.one()], domain="local", by=self.rng.choice([2.0, -0.5])))
        else:
            self.keep(self.add("Outer", [self.full(), self.full()], domain="local"))

    def branch(self) -> None:
        bodies = {f"{side}_branch": self.body(2) for side in ("then", "else")}
        self.keep(self.add("If", ["flag"], **bodies))

    def body(self, depth: int) -> onnx.GraphProto:
        """A body without inputs that reads outer values, a weight of its own and sometimes a body of its own."""
        name, own = self.name("body"), self.name("own")
        total, out = f"{name}_sum", f"{name}_out"
        nodes = [
            helper.make_node("Add", [self.full(), own], [total], name="twin"),
            helper.make_node("Sub", [total, self.one()], [out], name=f"{name}_sub"),
        ]
        if depth > 1 and self.rng.random() < 0.3:
            inner = {f"{side}_branch": self.body(depth - 1) for side in ("then", "else")}
            last = helper.make_node("If", ["flag"], [f"{name}_inner"], **inner)
            nodes += [last, helper.make_node("Max", [out, f"{name}_inner"], [f"{name}_max"])]
            out = f"{name}_max"
        weight = numpy_helper.from_array(np.array([0.5, 0, 1], np.float32), own)
        return helper.make_graph(nodes, name, [], [self.value(out)], [weight])

    def loop(self) -> None:
        name = self.name("loop")
        trips = self.weigh(self.name("trips"), np.array(self.rng.choice([0, 1, 3]), np.int64))
        go = self.rng.choice(["", self.weigh(self.name("go"), np.array(True))])
        body = helper.make_graph(
            [
                helper.make_node("Identity", [f"{name}_go"], [f"{name}_next"]),
                helper.make_node("Add", [f"{name}_carried", self.one()], [f"{name}_sum"]),
                helper.make_node("Tanh", [f"{name}_sum"], [f"{name}_tanh"]),
            ],
            name,
            [
                helper.make_tensor_value_info(f"{name}_i", TensorProto.INT64, []),
                helper.make_tensor_value_info(f"{name}_go", TensorProto.BOOL, []),
                self.value(f"{name}_carried"),
            ],
            [helper.make_tensor_value_info(f"{name}_next", TensorProto.BOOL, []), self.value(f"{name}_tanh")],
        )
        self.keep(self.add("Loop", [trips, go, self.full()], body=body))

    def scan(self) -> None:
        """A running sum over the columns."""
        name = self.name("scan")

        def vector(part: str) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(f"{name}_{part}", TensorProto.FLOAT, [self.rows])

        body = helper.make_graph(
            [
                helper.make_node("Add", [f"{name}_total", f"{name}_column"], [f"{name}_now"]),
                helper.make_node("Identity", [f"{name}_now"], [f"{name}_out"]),
            ],
            name,
            [vector("total"), vector("column")],
            [vector("now"), vector("out")],
        )
        value = self.full()
        start = self.add("Squeeze", [self.add("Slice", [value, *map(self.integers, ([0], [1], [1]))]), self.integers([1])])  # fmt: skip
        _, stacked = self.add("Scan", [start, value], 2, body=body, num_scan_inputs=1, scan_input_axes=[1], scan_output_axes=[1])  # fmt: skip
        self.keep(stacked)

    def twice(self) -> None:
        """The same node two times."""
        op, inputs = self.rng.choice(BINARY), [self.full(), self.one()]
        self.keep(self.add("Add", [self.add(op, inputs), self.add(op, inputs)]))

    # What lies around the nodes.

    def choose_outputs(self) -> None:
        made = [name for name in self.known if name.startswith("v")]
        for name in dict.fromkeys([made[-1], *self.rng.choices(made, k=self.rng.randint(0, 2))]):
            self.outputs.append(self.value(name))
        if self.rng.random() < 0.1:
            self.outputs.append(self.value("x0"))
        self.rng.shuffle(self.outputs)

    def around(self) -> None:
        rng = self.rng
        if rng.random() < 0.4:
            self.weigh("unused", np.ones(2, np.float32))
        if rng.random() < 0.2:
            self.inputs.append(helper.make_tensor_value_info("unread", TensorProto.FLOAT, [2]))
        listed = {value.name for value in self.outputs}
        for name in self.known:
            if name.startswith("v") and name not in listed and rng.random() < 0.3:
                info = self.value(name)
                info.doc_string = f"doc of {name}"
                self.infos.append(info)

    def remark(self, model: onnx.ModelProto) -> None:
        model.producer_name = "random"
        if self.rng.random() < 0.6:
            model.metadata_props.add(key="author", value="nobody")
            model.graph.doc_string = "a random graph"
            model.graph.output[0].doc_string = "an output"
        if self.rng.random() < 0.4:
            annotation = model.graph.quantization_annotation.add(tensor_name=self.rng.choice(self.known))
            annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="w2")


KINDS: list[Callable[[_Drawing], None]] = [
    _Drawing.unary, _Drawing.binary, _Drawing.scaled, _Drawing.clip, _Drawing.cast, _Drawing.narrow_weight, _Drawing.quantized,
    _Drawing.compared, _Drawing.strings, _Drawing.matrix, _Drawing.sparse_weight, _Drawing.default, _Drawing.sizes, _Drawing.turned,
    _Drawing.parts, _Drawing.reduced, _Drawing.top, _Drawing.dropout, _Drawing.sequence, _Drawing.joined, _Drawing.optional,
    _Drawing.pictured, _Drawing.call, _Drawing.branch, _Drawing.loop, _Drawing.scan, _Drawing.twice,
]  # fmt: skip

NOT_IN_REFERENCE = (
    _Drawing.dropout,
    _Drawing.scan,
    _Drawing.sparse_weight,
    _Drawing.optional,
    _Drawing.sequence,
    _Drawing.joined,
)
"""What ONNX Runtime does and onnx.reference does not, or not always (an output that is left out becomes every input that is)."""


def _functions(version: int, inner: str) -> list[onnx.FunctionProto]:
    """Functions of one and two results, with an attribute, and one that calls another."""
    opsets = [helper.make_opsetid("", version), helper.make_opsetid("local", 1)]
    node = helper.make_node
    number = node("Constant", [], ["k"])
    number.attribute.add(name="value_float", type=onnx.AttributeProto.FLOAT, ref_attr_name="by")
    return [
        helper.make_function("local", "Inner", ["i"], ["o"], [node(inner, ["i"], ["o"])], opsets),
        helper.make_function(
            "local", "Outer", ["a", "b"], ["o"],
            [node("Inner", ["a"], ["t"], domain="local"), node("Sub", ["t", "b"], ["o"], name="twin")], opsets,
        ),
        helper.make_function("local", "Pair", ["i"], ["p", "q"], [node("Neg", ["i"], ["p"]), node("Abs", ["i"], ["q"])], opsets),
        helper.make_function(
            "local", "Scaled", ["a", "b"], ["o"], [number, node("Mul", ["a", "k"], ["m"]), node("Add", ["m", "b"], ["o"])],
            opsets, attributes=["by"],
        ),
    ]  # fmt: skip
