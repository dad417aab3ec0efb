"""Models of one node, a line each: ``TopK:2 1 f[3,4,5] | k=2``.

That is an operator with its number of outputs, the opset, its inputs and its attributes. An input is a type and a shape; values in
braces (or one in parentheses, for a scalar) are an initializer, with ``C`` before them a Constant node; ``-`` leaves one out.
"""

import re

import numpy as np
import onnx

TYPES = {
    "f": "float32",
    "h": "float16",
    "d": "float64",
    "u8": "uint8",
    "u16": "uint16",
    "u64": "uint64",
    "i8": "int8",
    "i16": "int16",
    "i32": "int32",
    "i": "int64",
    "b": "bool",
    "s": "str",
}
NUMBERS = {"bf": onnx.TensorProto.BFLOAT16, "s": onnx.TensorProto.STRING}


def lines(text):
    return [line for line in text.splitlines() if line.strip()]


def model_of(line):
    """The model of a line; its outputs have the types that inference gives them."""
    head, _, attributes = line.partition(" | ")
    op, opset, *inputs = head.split()
    op, _, count = op.partition(":")
    values, tensors, nodes, names = [], [], [], []
    for place, one in enumerate(inputs):
        names.append("" if one == "-" else f"v{place}")
        if one == "-":
            continue
        constant, kind, opening, inner = re.fullmatch(r"(C?)(\w+)([\[{(])(.*)[\]})]", one).groups()
        if opening == "[":
            dims = [dim if dim.isalpha() else int(dim) for dim in inner.split(",") if dim]
            number = NUMBERS.get(kind) or onnx.helper.np_dtype_to_tensor_dtype(np.dtype(TYPES[kind]))
            values.append(onnx.helper.make_tensor_value_info(names[-1], number, dims))
            continue
        array = np.array([float(each) for each in inner.split(",") if each], TYPES[kind])
        tensor = onnx.numpy_helper.from_array(array if opening == "{" else array.reshape(()), names[-1])
        if constant:
            nodes.append(onnx.helper.make_node("Constant", [], [names[-1]], value=tensor))
        else:
            tensors.append(tensor)
    made = [f"y{i}" for i in range(int(count or 1))]
    text = f"{', '.join(made)} = {op}{f'<{attributes}>' if attributes else ''}({', '.join(filter(None, names))})"
    node = onnx.parser.parse_node(text)
    node.name, node.input[:] = "n", names
    infos = [onnx.ValueInfoProto(name=name) for name in made]
    graph = onnx.helper.make_graph([*nodes, node], "g", values, infos, tensors)
    opsets = [onnx.helper.make_opsetid("", int(opset.partition(">")[0]))]
    return onnx.shape_inference.infer_shapes(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10))
