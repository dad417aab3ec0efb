"""Models of gigabytes that take kilobytes on the disk: their weights are holes in sparse files."""

import numpy as np
import onnx
from onnx import TensorProto, helper

from graphkit.storage.wire import tag, varint


def chain(path, blocks, side, *, external=None):
    """``y = x @ w0 @ w1 ...``: a float32 weight of side x side a block, zeros but for its first and last number, which
    is the block's number plus 1. Block i makes ``x{i+1}`` from ``x{i}``.

    Args:
        path: The ``.onnx`` file.
        blocks: How many.
        side: Rows and columns; at most 2 GiB of weights may be embedded if others shall read the file.
        external: Name of the data file; None embeds the weights, between the nodes and the outputs as protobuf does.
    """
    nodes = [helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"x{i + 1}"], name=f"n{i}") for i in range(blocks)]
    ends = [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, ["n", side]) for i in range(blocks + 1)]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[-1:], value_info=ends[1:-1])
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])
    length = 4 * side * side
    if external:
        for i in range(blocks):
            tensor = model.graph.initializer.add(name=f"w{i}", data_type=TensorProto.FLOAT, dims=[side, side])
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", external), ("offset", i * length), ("length", length)):
                tensor.external_data.add(key=key, value=str(value))
        path.write_bytes(model.SerializeToString())
        with (path.parent / external).open("wb") as file:
            for i in range(blocks):
                _hole(file, i, length)
    else:
        _embed(path, model, blocks, side)
    return path


def _embed(path, model, blocks, side):
    length = 4 * side * side
    front, back = onnx.GraphProto(node=model.graph.node, name=model.graph.name), onnx.GraphProto()
    back.input.extend(model.graph.input)
    back.output.extend(model.graph.output)
    back.value_info.extend(model.graph.value_info)
    heads = []
    for i in range(blocks):
        head = TensorProto(name=f"w{i}", data_type=TensorProto.FLOAT, dims=[side, side]).SerializeToString()
        head += tag(9, 2) + varint(length)
        heads.append(tag(5, 2) + varint(len(head) + length) + head)
    size = front.ByteSize() + back.ByteSize() + sum(map(len, heads)) + blocks * length
    model.ClearField("graph")
    with path.open("wb") as file:
        file.write(onnx.ModelProto(ir_version=model.ir_version).SerializeToString())
        file.write(tag(7, 2) + varint(size) + front.SerializeToString())
        for i, head in enumerate(heads):
            file.write(head)
            _hole(file, i, length)
        file.write(back.SerializeToString())
        file.write(onnx.ModelProto(opset_import=model.opset_import).SerializeToString())


def _hole(file, number, length):
    mark = np.float32(number + 1).tobytes()
    file.write(mark)
    file.seek(length - 8, 1)
    file.write(mark)
