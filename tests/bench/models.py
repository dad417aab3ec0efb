"""The models that the benchmarks cut and patch, generated on the spot; none is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper

OPSET, IR = 20, 10


def transformer(path: Path, blocks: int, width: int, hidden: int, *, external: str | None = None) -> tuple[str, str]:
    """A chain of blocks of 13 nodes and 6 weights, streamed to disk (a model above 2 GiB cannot be serialised at once).

    Args:
        path: The ``.onnx`` file.
        blocks: How many blocks.
        width: Model width; 4 weights of width x width a block, float32.
        hidden: Two weights of width x hidden a block.
        external: The name of the data file; None embeds the weights.

    Returns:
        The input and the output of the block in the middle.
    """
    rng = np.random.default_rng(0)
    square = rng.standard_normal((width, width), dtype=np.float32) * np.float32(0.02)
    wide = rng.standard_normal((width, hidden), dtype=np.float32) * np.float32(0.02)
    nodes, stubs = [], []
    for b in range(blocks):
        nodes += _block(b)
        for name, array in (("q", square), ("k", square), ("v", square), ("o", square), ("up", wide), ("down", wide.T)):
            stubs.append((f"block{b}.{name}", array))
    graph = helper.make_graph(
        nodes,
        "transformer",
        [helper.make_tensor_value_info("x0", onnx.TensorProto.FLOAT, ["batch", width])],
        [helper.make_tensor_value_info(f"x{blocks}", onnx.TensorProto.FLOAT, ["batch", width])],
        value_info=[
            helper.make_tensor_value_info(f"x{b}", onnx.TensorProto.FLOAT, ["batch", width]) for b in range(1, blocks)
        ],
    )
    model = helper.make_model(graph, ir_version=IR, opset_imports=[helper.make_opsetid("", OPSET)])
    if external is None:
        _write_embedded(path, model, stubs)
    else:
        _write_external(path, model, stubs, external)
    middle = blocks // 2
    return f"x{middle}", f"x{middle + 1}"


def _block(b: int) -> list[onnx.NodeProto]:
    def node(op: str, inputs: list[str], output: str) -> onnx.NodeProto:
        return helper.make_node(op, inputs, [output], name=f"block{b}/{op}/{output}")

    p = f"b{b}."
    return [
        node("MatMul", [f"x{b}", f"block{b}.q"], p + "q"),
        node("MatMul", [f"x{b}", f"block{b}.k"], p + "k"),
        node("MatMul", [f"x{b}", f"block{b}.v"], p + "v"),
        node("Mul", [p + "q", p + "k"], p + "qk"),
        node("Sigmoid", [p + "qk"], p + "gate"),
        node("Mul", [p + "gate", p + "v"], p + "mixed"),
        node("MatMul", [p + "mixed", f"block{b}.o"], p + "out"),
        node("Add", [p + "out", f"x{b}"], p + "residual"),
        node("MatMul", [p + "residual", f"block{b}.up"], p + "up"),
        node("Relu", [p + "up"], p + "hidden"),
        node("MatMul", [p + "hidden", f"block{b}.down"], p + "down"),
        node("Add", [p + "down", p + "residual"], p + "sum"),
        node("Tanh", [p + "sum"], f"x{b + 1}"),
    ]


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def _write_embedded(path: Path, model: onnx.ModelProto, weights: list[tuple[str, np.ndarray]]) -> None:
    """Write the file as protobuf would, one tensor at a time."""
    graph = onnx.GraphProto()
    graph.CopyFrom(model.graph)
    ends = onnx.GraphProto()
    for field in ("input", "output", "value_info"):
        getattr(ends, field).extend(getattr(graph, field))
        graph.ClearField(field)
    heads = []
    for name, array in weights:
        head = onnx.TensorProto(dims=array.shape, data_type=onnx.TensorProto.FLOAT, name=name).SerializeToString()
        head += b"\x4a" + _varint(array.nbytes)
        heads.append(b"\x2a" + _varint(len(head) + array.nbytes) + head)
    front, back = graph.SerializeToString(), ends.SerializeToString()
    size = len(front) + len(back) + sum(len(h) + w.nbytes for h, (_, w) in zip(heads, weights, strict=True))
    rest = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    with path.open("wb") as file:
        file.write(rest.SerializeToString() + b"\x3a" + _varint(size) + front)
        for head, (_, array) in zip(heads, weights, strict=True):
            file.write(head)
            file.write(np.ascontiguousarray(array).data)
        file.write(back)


def _write_external(path: Path, model: onnx.ModelProto, weights: list[tuple[str, np.ndarray]], data: str) -> None:
    offset = 0
    with (path.parent / data).open("wb") as file:
        for name, array in weights:
            tensor = model.graph.initializer.add(name=name, data_type=onnx.TensorProto.FLOAT, dims=array.shape)
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (("location", data), ("offset", offset), ("length", array.nbytes)):
                tensor.external_data.add(key=key, value=str(value))
            file.write(np.ascontiguousarray(array).data)
            offset += array.nbytes
    path.write_bytes(model.SerializeToString())


def chain(path: Path, count: int) -> None:
    """A graph of ``count`` nodes in a chain with a shared weight, and no value_info at all."""
    nodes = []
    for i in range(0, count, 2):
        nodes.append(helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"], name=f"relu_{i}"))
        nodes.append(helper.make_node("Add", [f"v{i + 1}", "bias"], [f"v{i + 2}"], name=f"add_{i + 1}"))
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("v0", onnx.TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info(f"v{count}", onnx.TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor("bias", onnx.TensorProto.FLOAT, [4], [1, 2, 3, 4])],
    )
    model = helper.make_model(graph, ir_version=IR, opset_imports=[helper.make_opsetid("", OPSET)])
    path.write_bytes(model.SerializeToString())


def upsampled_chain(path: Path, count: int) -> None:
    """A Resize by a constant factor, and then ``count`` nodes in a chain with a shared weight."""
    nodes = [helper.make_node("Resize", ["x", "", "scales"], ["v0"], mode="nearest")]
    for i in range(0, count, 2):
        nodes.append(helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"]))
        nodes.append(helper.make_node("Add", [f"v{i + 1}", "bias"], [f"v{i + 2}"]))
    graph = helper.make_graph(
        nodes,
        "upsampled",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info(f"v{count}", onnx.TensorProto.FLOAT, [1, 1, 16, 16])],
        [
            helper.make_tensor("scales", onnx.TensorProto.FLOAT, [4], [1, 1, 2, 2]),
            helper.make_tensor("bias", onnx.TensorProto.FLOAT, [1], [1]),
        ],
    )
    model = helper.make_model(graph, ir_version=IR, opset_imports=[helper.make_opsetid("", OPSET)])
    path.write_bytes(model.SerializeToString())
