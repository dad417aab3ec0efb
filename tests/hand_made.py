"""Models put together by hand, byte by byte where protobuf would refuse to write what a test wants to read."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from graphkit.storage.wire import tag, varint
from weight_places import SIDE, node, raw, value


def field(number, data):
    """A length-delimited protobuf field."""
    return tag(number, 2) + varint(len(data)) + data


def model_bytes(graph, *, padding=0):
    """A serialised model around a serialised graph; with padding, it is larger than what is parsed whole."""
    head = onnx.ModelProto(ir_version=10, opset_import=[helper.make_opsetid("", 20)]).SerializeToString()
    if padding:
        graph += field(5, raw(1, "padding").SerializeToString()) * padding
    return head + field(7, graph)


def small():
    return helper.make_model(
        helper.make_graph([node("Add", "x w", "y")], "g", [value("x", [2])], [value("y", [2])], [vector([1, 2], "w")]),
        ir_version=10,
        opset_imports=[helper.make_opsetid("", 20)],
    )


def vector(numbers, name):
    return numpy_helper.from_array(np.array(numbers, np.float32), name)


def tensor(dims=(SIDE, SIDE), data_type=TensorProto.FLOAT, **fields):
    return TensorProto(name="w", dims=dims, data_type=data_type, **fields)


def holding(tensor, *, where="initializer"):
    """A model that holds a tensor as an initializer, in a Constant, in a body, in a function, in a sparse tensor."""
    model = small()
    if where == "initializer":
        model.graph.initializer.append(tensor)
    elif where == "constant":
        model.graph.node.add(op_type="Constant").attribute.add(name="value", t=tensor, type=onnx.AttributeProto.TENSOR)
    elif where == "body":
        body = model.graph.node.add(op_type="If").attribute.add(name="g", type=onnx.AttributeProto.GRAPH).g
        body.initializer.append(tensor)
    elif where == "function":
        function = model.functions.add(name="F", domain="f")
        function.node.add(op_type="Constant").attribute.add(name="value", t=tensor, type=onnx.AttributeProto.TENSOR)
    else:
        model.graph.sparse_initializer.add().values.CopyFrom(tensor)
    return model.SerializeToString()


def referring(**entries):
    """A model whose weight ``w`` lies elsewhere."""
    stub = tensor(data_location=TensorProto.EXTERNAL)
    for key, text in entries.items():
        stub.external_data.add(key=key, value=str(text))
    return holding(stub)


def model_head(stub, length, number=9):
    """The beginning of a model whose only initializer has so many bytes, in raw_data or another field."""
    head = stub.SerializeToString() + tag(number, 2) + varint(length)
    graph = tag(5, 2) + varint(len(head) + length) + head
    opsets = onnx.ModelProto(ir_version=10, opset_import=[helper.make_opsetid("", 20)]).SerializeToString()
    return opsets + tag(7, 2) + varint(len(graph) + length) + graph
