"""What an operation does not have to change survives it bit for bit: every field of onnx.proto, through both of them."""

import onnx
import pytest
from google.protobuf.message import Message

import graphkit as gk
from graphkit.storage import load as loading
from graphkit.storage.source import LocalFile
from rich_model import made_up, rich_model, unset_fields


def bits(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


def test_the_model_sets_every_field_that_onnx_has() -> None:
    """Should onnx get a new field, this says so: set it in the model, and see whether it survives."""
    assert unset_fields(rich_model()) == set()


def test_load_and_save_keep_every_bit(tmp_path, monkeypatch) -> None:
    """With every payload left in the file; one from a data file is embedded."""
    monkeypatch.setattr(loading, "SMALL_FILE", -1)
    monkeypatch.setattr(LocalFile, "threshold", 1)
    model = rich_model()
    (tmp_path / "somewhere.data").write_bytes(bytes(4096) + bytes(range(12)))
    (tmp_path / "rich.onnx").write_bytes(model.SerializeToString())
    gk.save(gk.load(tmp_path / "rich.onnx"), tmp_path / "again.onnx")
    outside = next(tensor for tensor in model.graph.initializer if tensor.name == "outside")
    outside.ClearField("data_location")
    del outside.external_data[:]
    outside.raw_data = bytes(range(12))
    assert bits(onnx.ModelProto.FromString((tmp_path / "again.onnx").read_bytes())) == bits(model)


def test_a_cut_at_its_own_boundary_keeps_every_bit() -> None:
    model = rich_model()
    assert bits(gk.extract(model, outputs=["y"]).proto) == bits(model)
    inputs = [v.name for v in model.graph.input if v.name != "raw_1"]
    part = gk.extract(model, inputs=inputs, outputs=["y"])
    assert bits(part.proto) == bits(model)
    assert part.history[-1].notes == ()


def test_there_and_back_under_other_names_keeps_every_bit() -> None:
    model = rich_model()
    values = ["x", "a", "raw_1", "raw_10", "sparse", "x_scale", "a_sequence", "y", "b"]
    there = gk.rename(model, values={name: f"{name}_renamed" for name in values}, nodes={"last": "z", "first": "last"})
    back = gk.rename(there, values={f"{name}_renamed": name for name in values}, nodes={"last": "first", "z": "last"})
    assert bits(there.proto) != bits(model)
    assert bits(back.proto) == bits(model)


def test_a_swap_of_two_names_twice_keeps_every_bit() -> None:
    model = rich_model()
    once = gk.rename(model, values={"a": "b", "b": "a"})
    assert bits(gk.rename(once, values={"a": "b", "b": "a"}).proto) == bits(model)


@pytest.fixture(scope="module")
def part() -> onnx.ModelProto:
    """From ``a`` to ``d``: without the first node, the last one and most weights."""
    return gk.extract(rich_model(), inputs=["a", "c"], outputs=["d"]).proto


def test_a_smaller_cut_keeps_the_model_level(part) -> None:
    whole = rich_model()
    for field, value in whole.ListFields():
        if field.name not in ("graph", "functions", "training_info"):
            assert getattr(part, field.name) == value, field.name
    assert list(part.functions) == list(whole.functions)[:1]
    assert part.graph.name == whole.graph.name
    assert part.graph.doc_string == whole.graph.doc_string
    assert list(part.graph.metadata_props) == list(whole.graph.metadata_props)


def test_a_smaller_cut_keeps_nodes_and_weights_whole(part) -> None:
    whole = rich_model().graph
    assert list(part.graph.node) == list(whole.node)[1:3]
    kept = {t.name: t for t in whole.initializer}
    assert [t.name for t in part.graph.initializer] == ["x_scale", "a_scale"]
    assert all(bits(t) == bits(kept[t.name]) for t in part.graph.initializer)
    assert list(part.graph.sparse_initializer) == []


def test_a_smaller_cut_keeps_annotations_of_what_is_left_with_the_scales_they_name(part) -> None:
    whole = rich_model().graph
    assert list(part.graph.quantization_annotation) == [whole.quantization_annotation[1]]
    assert part.graph.quantization_annotation[0].quant_parameter_tensor_names[0].value == "a_scale"


def test_a_smaller_cut_keeps_declarations_whole(part) -> None:
    """Metadata, doc strings, denotations and symbolic dims of a value that was an inner one, too."""
    declared = {v.name: v for v in (*rich_model().graph.value_info, *rich_model().graph.input)}
    assert [v.name for v in part.graph.input] == ["a", "c"]
    assert [v.name for v in part.graph.output] == ["d"]
    for value in (*part.graph.input, *part.graph.output):
        assert bits(value) == bits(declared[value.name])
    assert [v.name for v in part.graph.value_info] == ["b"]
    assert bits(part.graph.value_info[0]) == bits(declared["b"])


def test_training_that_is_no_longer_whole_is_left_out_and_noted() -> None:
    result = gk.extract(rich_model(), inputs=["a", "c"], outputs=["d"])
    assert list(result.proto.training_info) == []
    assert result.history[-1].notes == ("training_info was left out: it needs 'raw_10'",)


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        (lambda t: t.update_binding.add(key="raw_16", value="better"), None),
        (lambda t: t.algorithm.node.add(op_type="Neg", input=["b"], output=["q"]), None),
        (lambda t: t.algorithm.node.add(op_type="Neg", input=["ghost"], output=["q"]), "'ghost'"),
        (lambda t: t.update_binding.add(key="ghost", value="better"), "'ghost'"),
        (lambda t: t.algorithm.node.add(op_type="Call", domain="trainer", input=["a"], output=["q"]), None),
        (
            lambda t: (
                t.algorithm.initializer.append(made_up("own", 1)),
                t.update_binding.add(key="own", value="better"),
            ),
            None,
        ),
    ],
)
def test_training_is_kept_where_everything_it_names_is_there(change, lost) -> None:
    """Its algorithm is one graph with the main graph; it may bind its own initializers, and call functions."""
    model = rich_model()
    change(model.training_info[0])
    function = model.functions.add(name="Call", domain="trainer", input=["i"], output=["o"])
    function.node.add(op_type="Neg", input=["i"], output=["o"])
    result = gk.extract(model, outputs=["y"])
    if lost is None:
        assert list(result.proto.training_info) == list(model.training_info)
        calls = any(node.domain == "trainer" for node in model.training_info[0].algorithm.node)
        assert [f.name for f in result.proto.functions] == ["fn", "fn", *(["Call"] if calls else [])]
    else:
        assert list(result.proto.training_info) == []
        assert result.history[-1].notes == (f"training_info was left out: it needs {lost}",)


def test_training_of_a_weight_that_became_an_input_is_left_out() -> None:
    model = rich_model()
    inputs = [v.name for v in model.graph.input if v.name != "raw_1"]
    result = gk.extract(model, inputs=[*inputs, "raw_10"], outputs=["y"])
    assert list(result.proto.training_info) == []
    assert result.history[-1].notes == ("training_info was left out: it needs 'raw_10'",)


def test_the_sharding_of_a_result_that_became_an_input_follows_its_new_name() -> None:
    """The node is still needed for its other result; its own result has another name now."""
    model = rich_model()
    model.graph.node[0].output.append("mask")
    result = gk.extract(model, inputs=["x", "a", "c"], outputs=["d", "mask"], input_types={"mask": "bool[n]"})
    node = result.proto.graph.node[0]
    assert list(node.output) == ["a_unused", "mask"]
    assert [s.tensor_name for s in node.device_configurations[0].sharding_spec] == ["x", "a_unused"]
