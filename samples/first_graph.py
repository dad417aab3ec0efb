"""First steps: build ``output = a * x + b`` by hand, save it, read it, change one node, run both.

    python samples/first_graph.py [FOLDER]

Protocol Buffers (protobuf) is a way to write structured data as bytes, whatever the language of the program.
A ``.proto`` file lists what a message may hold: fields, each with a number, a name and a type. ONNX's is ``onnx/onnx.proto``.
A compiler, ``protoc``, makes classes of it: ``onnx.ModelProto`` is one, and C++ programs have theirs of the same file.
An ONNX file is one such message: a ModelProto holds a GraphProto, which holds NodeProtos and ValueInfoProtos.
The bytes hold numbers and no names of fields: nobody can read a file without the ``.proto``, and an old program skips new fields.

Needs: pip install "onnx-graphkit[cpu]"
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

import graphkit as gk


def main(folder: Path) -> int:
    """Write linear.onnx and difference.onnx to a folder and run them."""
    folder.mkdir(parents=True, exist_ok=True)

    # Values have a name, an element type and a shape; nodes have an operator and the names of what they read and make.
    a, x, b, output = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [10, 10]) for name in ("a", "x", "b", "output")
    )
    multiply = helper.make_node("Mul", ["a", "x"], ["c"])
    add = helper.make_node("Add", ["c", "b"], ["output"])
    model = gk.build([multiply, add], [a, x, b], [output], name="linear_func")
    gk.save(model, folder / "linear.onnx")

    # onnx.helper.make_model would have stamped the newest versions of the onnx package; build asks the runtime.
    proto = onnx.load(folder / "linear.onnx")
    limits = gk.runtime_limits()
    print(f"onnx {onnx.__version__} would write IR {onnx.IR_VERSION}, opset {onnx.defs.onnx_opset_version()}")
    print(f"onnxruntime {limits.version} loads up to IR {limits.ir_version}, opset {limits.opset}")
    print(f"the file has IR {proto.ir_version}, opset {proto.opset_import[0].version}\n")

    # Everything can be read as fields of the message; a field has a number, which is what stands in the file.
    for node in proto.graph.node:
        print(f"{node.op_type}: {list(node.input)} -> {list(node.output)}")
    numbers = {field.name: field.number for field in onnx.ModelProto.DESCRIPTOR.fields}
    print(f"fields of ModelProto: graph is number {numbers['graph']}, opset_import {numbers['opset_import']}")
    first = proto.graph.input[0]
    print(f"{first.name}: {[dim.dim_value for dim in first.type.tensor_type.shape.dim]}\n")
    print(gk.text(gk.inspect(proto)), "\n")

    # ... and changed.
    proto.graph.node[1].op_type = "Sub"
    gk.save(proto, folder / "difference.onnx")

    rng = np.random.default_rng(0)
    feeds = {name: rng.random((10, 10), np.float32) for name in ("a", "x", "b")}
    product = feeds["a"] * feeds["x"]
    for file, expected in (("linear.onnx", product + feeds["b"]), ("difference.onnx", product - feeds["b"])):
        result = gk.run(folder / file, feeds)["output"]
        np.testing.assert_allclose(result, expected, rtol=1e-6)
        print(f"{file} computes what it should")

    # A name that nothing defines, nodes in the wrong order: the first is an error, the second is mended.
    try:
        gk.build([multiply, helper.make_node("Add", ["cc", "b"], ["output"])], [a, x, b], [output])
    except gk.NameNotFoundError as error:
        print(f"\n{error}")
    unsorted = gk.build([add, multiply], [a, x, b], [output])
    print(f"sorted: {[node.op_type for node in unsorted.proto.graph.node]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "out"))
