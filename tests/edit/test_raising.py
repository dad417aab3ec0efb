"""Raising a model's opset node by node: the same numbers, and nothing lost."""

import itertools

import numpy as np
import onnx
import onnx.parser
import pytest

import graphkit as gk
from graphkit.edit.converting import convert_opset
from graphkit.edit.raised_nodes import RULES
from graphkit.edit.raising import INT_INPUTS, SCALAR_INPUTS
from graphkit.semantics.schemas import operators, schema_of
from oracle import assert_same, run_ort, run_reference

X = np.random.default_rng(0).random((2, 4, 6, 6), dtype=np.float32) - 0.5

NODES = {
    "Clip": ("y = Clip<min=-0.2, max=0.3>(x)", 6),
    "Dropout": ("y = Dropout<ratio=0.3>(x)", 7),
    "Dropout whose mask nobody reads": ("y, mask = Dropout<ratio=0.3>(x)", 7),
    "Pad": ('y = Pad<pads=[0,0,1,0,0,0,0,2], value=1.5, mode="constant">(x)', 2),
    "Slice": ("y = Slice<starts=[1,0], ends=[5,3], axes=[2,3]>(x)", 1),
    "TopK": ("y, i = TopK<k=2, axis=3>(x)", 1),
    "Split": ("y, z = Split<axis=1, split=[1,3]>(x)", 2),
    "Squeeze": ("u = Unsqueeze<axes=[0]>(x) y = Squeeze<axes=[0]>(u)", 1),
    "Softmax, which flattened once": ("y = Softmax<axis=1>(x)", 1),
    "LogSoftmax": ("y = LogSoftmax<axis=2>(x)", 1),
    "Hardmax": ("y = Hardmax<axis=3>(x)", 1),
    "Hardmax, which flattened once": ("y = Hardmax(x)", 1),
    "Hardmax over everything": ("y = Hardmax<axis=0>(x)", 1),
    "Hardmax from the end": ("y = Hardmax<axis=-2>(x)", 11),
    "Pad with a value that its mode does not use": ('y = Pad<pads=[0,0,1,0,0,0,0,2], value=1.5, mode="edge">(x)', 2),
    "Scatter": ("y = Scatter<axis=2>(x, index, x)", 9),
    "Split into equal parts": ("y, z = Split<axis=1>(x)", 2),
    "GridSample": ('y = GridSample<mode="bicubic">(x, grid)', 16),
    "DFT": ("u = Unsqueeze(x, last) d = DFT<axis=2>(u) y = Squeeze(d)", 17),
    "ReduceSum": ("y = ReduceSum<axes=[1,2], keepdims=1>(x)", 1),
    "ReduceMean": ("y = ReduceMean<axes=[-1]>(x)", 11),
    "ReduceMax": ("y = ReduceMax<axes=[2]>(x)", 12),
    "BatchNormalization": ("y = BatchNormalization<epsilon=0.01>(x, four, four, four, four)", 9),
    "MaxPool": ("y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x)", 8),
    "AveragePool": ("y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(x)", 7),
    "RoiAlign, which sampled elsewhere once": (
        "y = RoiAlign<output_height=2, output_width=2, spatial_scale=0.5>(x, boxes, which)",
        10,
    ),
    "Upsample by attribute": ('y = Upsample<mode="linear", scales=[1.0,1.0,1.5,2.0]>(x)', 7),
    "Upsample": ('y = Upsample<mode="nearest">(x, scales)', 9),
    "Resize": ('y = Resize<mode="linear">(x, scales)', 10),
    "Gemm": ("f = Flatten(x) y = Gemm<transB=1, alpha=0.5>(f, gemm, two)", 7),
    "Shape": ("d = Shape(x) y = Cast<to=1>(d)", 1),
    "arithmetic": ("a = Add(x, x) b = Mul(a, x) c = Relu(b) y = Sigmoid(c)", 7),
}

CONSTANTS = {
    "four": np.array([1, 2, 0.5, 3], np.float32),
    "boxes": np.array([[0, 0, 8, 8], [1, 2, 9, 7]], np.float32),
    "which": np.array([0, 1]),
    "scales": np.array([1, 1, 1.5, 2], np.float32),
    "gemm": np.random.default_rng(1).random((2, 144), dtype=np.float32),
    "two": np.array([1, 2], np.float32),
    "index": np.random.default_rng(3).permuted(np.tile(np.arange(6), (2, 4, 6, 1)), axis=2)[:, :, :6],
    "grid": np.random.default_rng(2).random((2, 3, 3, 2), dtype=np.float32),
    "last": np.array([4]),
}


def model_of(case):
    nodes, since = NODES[case]
    opset = max(since, 7)  # ONNX Runtime's first
    outputs = ", ".join(f"float[{name}] {name}" for name in ("y", "z") if f"{name} =" in nodes or f"{name}," in nodes)
    model = onnx.parser.parse_model(
        f'<ir_version: 4, opset_import: ["" : {opset}]> g (float[2,4,6,6] x) => ({outputs}) {{ {nodes} }}'
    )
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    for name, array in CONSTANTS.items():
        if any(name in node.input for node in model.graph.node):
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return model


@pytest.mark.parametrize("target", [9, 11, 13, 18, 20])
@pytest.mark.parametrize("case", NODES)
def test_a_raised_node_computes_the_same(case, target):
    model = model_of(case)
    want = run_ort(model, {"x": X})
    if model.opset_import[0].version > target:
        pytest.skip("that is lowering")
    convert_opset(model, target)
    assert model.opset_import[0].version == target
    for output in model.graph.output:
        output.type.CopyFrom(onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, ["?"] * want[output.name].ndim))
    onnx.checker.check_model(model, full_check=True)
    assert_same(run_ort(model, {"x": X}), want)


FOUR = CONSTANTS["four"]

BEFORE_7 = {
    "Add over an axis": ("y = Add<broadcast=1, axis=1>(x, four)", 6, X + FOUR[:, None, None]),
    "Mul of a scalar": ("c = Constant<value=float {2.0}>() y = Mul<broadcast=1>(x, c)", 6, X * 2),
    "Sub of one shape": ("y = Sub<consumed_inputs=[0, 0]>(x, x)", 1, X - X),
    "Reshape by an attribute": ("y = Reshape<shape=[2, -1]>(x)", 4, X.reshape(2, -1)),
    "Pad by paddings": (
        "y = Pad<paddings=[0,0,1,0,0,0,0,2], value=1.5>(x)",
        1,
        np.pad(X, [(0, 0), (0, 0), (1, 0), (0, 2)], constant_values=1.5),
    ),
    "Upsample by two scales": (
        "y = Upsample<height_scale=2.0, width_scale=3.0>(x)",
        1,
        X.repeat(2, axis=2).repeat(3, axis=3),
    ),
    "BatchNormalization at inference": (
        "y = BatchNormalization<is_test=1, epsilon=0.0, consumed_inputs=[0, 0, 0, 1, 1]>(x, four, four, four, four)",
        1,
        (X - FOUR[:, None, None]) / np.sqrt(FOUR)[:, None, None] * FOUR[:, None, None] + FOUR[:, None, None],
    ),
    "Dropout at inference": ("y = Dropout<is_test=1>(x)", 6, X),
    "Clip": ("y = Clip<max=0.2>(x)", 1, np.minimum(X, 0.2)),
    "Concat over the default axis": ("y = Concat(x, x)", 1, np.concatenate([X, X], 1)),
}


@pytest.mark.parametrize("target", [7, 13, 21])
@pytest.mark.parametrize("case", BEFORE_7)
def test_a_node_from_before_opset_7_computes_what_it_said(case, target):
    """No runtime here runs it as it stands; what it says is written out in numpy."""
    nodes, opset, want = BEFORE_7[case]
    model = onnx.parser.parse_model(
        f'<ir_version: 4, opset_import: ["" : {opset}]> g (float[2,4,6,6] x) => (float[a,b,c,d] y) {{ {nodes} }}'
    )
    model.graph.output[0].type.tensor_type.ClearField("shape")
    if "four" in nodes:
        model.graph.initializer.append(onnx.numpy_helper.from_array(FOUR, "four"))
    convert_opset(model, target)
    assert_same(run_ort(model, {"x": X}), {"y": want.astype(np.float32)}, rtol=1e-4, atol=1e-5)


def test_a_group_normalization_whose_scales_were_the_groups_is_written_as_what_it_was():
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]> g (float[2,4,6,6] x) => (float[2,4,6,6] y)
           <float[2] two = {1, 2}> { [norm] y = GroupNormalization<num_groups=2>(x, two, two) }"""
    )
    want = run_reference(model, {"x": X})
    convert_opset(model, 21)
    onnx.checker.check_model(model, full_check=True)
    assert "GroupNormalization" not in [node.op_type for node in model.graph.node]
    assert_same(run_ort(model, {"x": X}), want, rtol=1e-4, atol=1e-5)


def test_names_doc_strings_metadata_and_bodies_stay():
    model = onnx.parser.parse_model(
        """<ir_version: 7, opset_import: ["" : 11, "my" : 3]> g (float[2,4] x, bool t) => (float[2,4] y) {
          [clamp] c = Clip(x) [choose] y = If(t) <
            then_branch = th () => (float[2,4] p) { [soft] p = Softmax<axis=0>(c) },
            else_branch = el () => (float[2,4] q) { q = Abs(c) } > }"""
    )
    model.graph.node[0].doc_string = "said"
    model.graph.node[1].attribute[0].g.node[0].metadata_props.add(key="module", value="head")
    model.graph.quantization_annotation.add(tensor_name="c")
    x = X[0, 0, :2, :4]
    want = run_ort(model, {"x": x, "t": np.array(True)})
    convert_opset(model, 18)
    assert_same(run_ort(model, {"x": x, "t": np.array(True)}), want)
    assert [node.name for node in model.graph.node] == ["clamp", "choose"]
    assert model.graph.node[0].doc_string == "said"
    [soft] = [n for n in model.graph.node[1].attribute[0].g.node if "p" in n.output]
    assert [(entry.key, entry.value) for entry in soft.metadata_props] == [("module", "head")]
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 18), ("my", 3)]
    assert len(model.graph.quantization_annotation) == 1


@pytest.mark.parametrize("target", [13, 18])
def test_the_empty_tensors_of_resize_11_go(target):
    model = onnx.parser.parse_model(
        """<ir_version: 6, opset_import: ["" : 11]> g (float[2,4,6,6] x) => (float[2,4,9,7] y)
           <float[0] none = {}, int64[4] sizes = {2,4,9,7}>
           { [up] y = Resize<mode="linear", coordinate_transformation_mode="align_corners">(x, none, none, sizes) }"""
    )
    want = run_ort(model, {"x": X})
    [note] = convert_opset(model, target)
    assert note.endswith("rewritten: Resize 'up'")
    assert list(model.graph.node[0].input) == ["x", "", "", "sizes"]
    assert_same(run_ort(model, {"x": X}), want)
    model.opset_import[0].version = 11
    model.graph.node[0].attribute[1].s = b"tf_half_pixel_for_nn"
    with pytest.raises(gk.EditError, match=r"Resize 'up' .* tf_half_pixel_for_nn ended with opset 13"):
        convert_opset(model, target)


def test_what_cannot_be_raised_is_refused():
    gone = onnx.parser.parse_model(
        """<ir_version: 4, opset_import: ["" : 8]> g (float[1,2,3] x) => (float[1,2,3] y)
           { [over] y = BatchNormalization<spatial=0>(x, x, x, x, x) }"""
    )
    with pytest.raises(gk.EditError, match="'over' cannot be raised from opset 8 to 18: spatial=0 ended"):
        convert_opset(gone, 18)
    scan = onnx.parser.parse_model(
        """<ir_version: 4, opset_import: ["" : 8]> g (float[1,2] s, float[1,3,2] x) => (float[1,2] z, float[1,3,2] y)
           { [over] z, y = Scan<num_scan_inputs=1, body = b (float[2] a, float[2] c) => (float[2] d, float[2] e)
             { d = Add(a, c) e = Identity(d) }>(, s, x) }"""
    )
    with pytest.raises(gk.EditError, match="Scan 'over' cannot be raised"):
        convert_opset(scan, 18)


def test_a_model_that_is_there_already_is_left_alone():
    model = model_of("arithmetic")
    before = model.SerializeToString()
    assert convert_opset(model, 7) == []
    assert model.SerializeToString() == before


def test_every_version_that_says_something_in_another_way_has_a_rule():
    """Names and defaults that changed since opset 7: all that ``_fit`` alone does not follow is in the table."""
    missing = []
    for op, versions in operators().items():
        for old, new in itertools.pairwise([schema_of(op, version) for version in versions]):
            if new.since_version <= 7 or new.deprecated:
                continue
            names = [formal.name for formal in old.inputs] != [formal.name for formal in new.inputs][: len(old.inputs)]
            gone = set(old.attributes) - set(new.attributes) - INT_INPUTS - SCALAR_INPUTS
            if (names or gone) and not any(rule.since == new.since_version for rule in RULES.get(op, ())):
                missing.append((op, new.since_version))
    assert missing == []
