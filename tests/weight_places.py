"""A model that holds weights in every place where ONNX allows them, and judges of what became of it and of a folder."""

import hashlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from oracle import assert_same, run_ort

SIDE = 40
BYTES = SIDE * SIDE * 4  # 6400: above the threshold of local files


def weight(seed, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal((SIDE, SIDE)).astype(dtype)


def value(name, shape=(SIDE, SIDE), dtype=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def raw(seed, name="", dtype=np.float32):
    return numpy_helper.from_array(weight(seed, dtype), name)


def make_everything():
    """A model that runs, with a large tensor in: raw_data, float_data, double_data, int64_data, a Constant, a sparse
    initializer, a sparse Constant, the bodies of If, Loop and Scan (initializers and Constants), and a function.
    """
    typed = helper.make_tensor("w_float", TensorProto.FLOAT, [SIDE, SIDE], weight(2).ravel())
    typed.float_data[3], typed.float_data[5] = float("nan"), -0.0
    doubles = helper.make_tensor("w_double", TensorProto.DOUBLE, [SIDE, SIDE], weight(3, np.float64).ravel())
    integers = helper.make_tensor("w_int", TensorProto.INT64, [SIDE, SIDE], np.arange(SIDE * SIDE) - 800)
    places = np.arange(0, SIDE * SIDE, dtype=np.int64)
    sparse = onnx.SparseTensorProto(
        values=numpy_helper.from_array(weight(4).ravel(), "w_sparse"),
        indices=numpy_helper.from_array(places, "places"),
        dims=[SIDE, SIDE],
    )
    sparse_constant = onnx.SparseTensorProto(
        values=numpy_helper.from_array(weight(5).ravel()), indices=numpy_helper.from_array(places), dims=[SIDE, SIDE]
    )
    function = helper.make_function(
        "local",
        "Shift",
        ["a"],
        ["b"],
        [node("Constant", "", "f_c", value=raw(6)), node("Add", "a f_c", "b")],
        [helper.make_opsetid("", 20)],
    )
    loop_body = helper.make_graph(
        [
            node("Add", "carried l_w", "l_sum"),
            node("Identity", "l_cond", "l_out"),
        ],
        "loop_body",
        [value("l_i", [], TensorProto.INT64), value("l_cond", [], TensorProto.BOOL), value("carried")],
        [value("l_out", [], TensorProto.BOOL), value("l_sum")],
        [raw(7, "l_w")],
    )
    then = helper.make_graph(
        [
            node("Constant", "", "t_c", value=raw(8)),
            node("Add", "summed t_c", "t_a"),
            node("Loop", "trips yes t_a", "t_b", body=loop_body),
            node("Mul", "t_b t_w", "t_out"),
        ],
        "then",
        [],
        [value("t_out")],
        [raw(9, "t_w"), numpy_helper.from_array(np.int64(2), "trips"), numpy_helper.from_array(np.True_, "yes")],
    )
    otherwise = helper.make_graph([node("Neg", "summed", "e_out")], "otherwise", [], [value("e_out")])
    scan_body = helper.make_graph(
        [node("Add", "row s_w", "row_out")],
        "scan_body",
        [value("row", [SIDE])],
        [value("row_out", [SIDE])],
        [numpy_helper.from_array(np.tile(weight(10)[0], 1), "s_w")],
    )
    graph = helper.make_graph(
        [
            node("Add", "x w_raw", "a"),
            node("Add", "a w_float", "nans"),
            node("Cast", "w_double", "d", to=TensorProto.FLOAT),
            node("Cast", "w_int", "i", to=TensorProto.FLOAT),
            node("Constant", "", "c", value=raw(11)),
            node("Constant", "", "sc", sparse_value=sparse_constant),
            node("Shift", "a", "shifted", domain="local"),
            node("Sum", "shifted d i c w_sparse sc", "summed"),
            node("If", "cond", "chosen", then_branch=then, else_branch=otherwise),
            node("Scan", "chosen", "y", body=scan_body, num_scan_inputs=1),
        ],
        "everything",
        [value("x"), value("cond", [], TensorProto.BOOL)],
        [value("y"), value("nans")],
        [raw(1, "w_raw"), typed, doubles, integers],
        sparse_initializer=[sparse],
        doc_string="a large tensor in every place",
    )
    graph.metadata_props.add(key="graph", value="kept")
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("local", 1)]
    model = helper.make_model(graph, functions=[function], opset_imports=opsets, ir_version=10, producer_name="test")
    model.metadata_props.add(key="model", value="kept")
    return model


def feeds(seed=0, cond=True):
    return {"x": weight(100 + seed), "cond": np.array(cond)}


def assert_computes(path, expected, *, cond=True):
    """ONNX Runtime loads a file (or a Model) and computes what a ModelProto in memory computes."""
    assert_same(run_ort(path, feeds(cond=cond)), run_ort(expected, feeds(cond=cond)), rtol=0, atol=0)


def snapshot(folder):
    """Every file below a folder: path -> (inode, digest); links by where they lead."""
    return {
        str(path.relative_to(folder)): (
            path.readlink()
            if path.is_symlink()
            else (path.stat().st_ino, hashlib.sha256(path.read_bytes()).hexdigest())
        )
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())
