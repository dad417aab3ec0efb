"""Models that load and contradict themselves, at the command line: a clear message, a hint, exit code 3, no output file."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from damage import RESIZE, SUBJECTS

GOOD = RESIZE


def change(text=RESIZE):
    """Turn a change of a model into the changed model."""

    def made(apply):
        model = onnx.parser.parse_model(text)
        apply(model)
        return model

    return made


@change()
def made_by_two_nodes(model):
    model.graph.node[2].output[0] = "b"
    model.graph.output[0].name = "b"


@change()
def in_a_cycle(model):
    model.graph.node[0].input[0] = "b"


@change()
def without_inputs(model):
    del model.graph.node[1].input[:]


@change()
def with_too_many_inputs(model):
    model.graph.node[1].input.extend(["x"] * 4)


@change()
def without_outputs(model):
    del model.graph.node[1].output[:]


@change()
def reading_what_nothing_makes(model):
    model.graph.node[2].input[0] = "ghost"


@change()
def giving_what_nothing_makes(model):
    model.graph.output[0].name = "ghost"


@change(SUBJECTS["sizes"])
def with_an_attribute_of_another_type(model):
    model.graph.node[3].attribute[1].CopyFrom(helper.make_attribute("axes", "hw"))


@change(SUBJECTS["defaults"])
def without_an_attribute(model):
    del next(node for node in model.graph.node if node.op_type == "Cast").attribute[:]


@change(SUBJECTS["loop"])
def without_a_body(model):
    model.graph.node[0].attribute[0].ClearField("g")


@change(SUBJECTS["functions"])
def with_a_function_that_calls_itself(model):
    model.functions[0].node.add(op_type="G", domain="f", input=["u"], output=["again"])


@change()
def with_opset_0(model):
    model.opset_import[0].version = 0


@change()
def with_two_opsets(model):
    model.opset_import.add(domain="ai.onnx", version=9)


@change()
def without_a_data_type(model):
    model.graph.initializer[0].data_type = 0


@change()
def with_too_few_bytes(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.raw_data = b"1234"


@change()
def with_data_nowhere(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="offset", value="0")


@change()
def with_a_broken_sparse_weight(model):
    sparse = model.graph.sparse_initializer.add(dims=[-3])
    sparse.values.CopyFrom(numpy_helper.from_array(np.ones(2, np.float32), "s2"))


MODELS = {
    name: (model, words)
    for name, model, words in (
        ("a value made by two nodes", made_by_two_nodes, "two definitions"),
        ("a cycle", in_a_cycle, "cycle"),
        ("no inputs", without_inputs, "inputs"),
        ("too many inputs", with_too_many_inputs, "inputs"),
        ("no outputs", without_outputs, "output"),
        ("an undefined name", reading_what_nothing_makes, "ghost"),
        ("an undefined output", giving_what_nothing_makes, "ghost"),
        ("a wrong attribute", with_an_attribute_of_another_type, "axes"),
        ("a missing attribute", without_an_attribute, "'to'"),
        ("a missing body", without_a_body, "body"),
        ("recursion", with_a_function_that_calls_itself, "calls"),
        ("opset 0", with_opset_0, "ai.onnx"),
        ("two opsets", with_two_opsets, "versions 18 and 9"),
        ("no data type", without_a_data_type, "type"),
        ("too few bytes", with_too_few_bytes, "4 bytes"),
        ("data nowhere", with_data_nowhere, "no location"),
        ("a broken sparse weight", with_a_broken_sparse_weight, "sparse"),
    )
}

COMMANDS = [
    "resize bad.onnx out.onnx",
    "promote bad.onnx out.onnx --tensor s",
    "freeze bad.onnx out.onnx --set x=1 --fold",
    "dims bad.onnx out.onnx --set x:0=batch",
    "opset bad.onnx out.onnx --to 21",
    "precision bad.onnx out.onnx --to float16",
    "precision bad.onnx out.onnx --to int8",
    "lint bad.onnx",
    "bisect bad.onnx --against good.onnx",
    "bisect good.onnx --against bad.onnx",
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("case", MODELS)
def test_a_contradiction_is_said_with_a_hint(graphkit, tmp_path, monkeypatch, case, command):
    model, words = MODELS[case]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.onnx").write_bytes(model.SerializeToString())
    onnx.save(onnx.parser.parse_model(GOOD), "good.onnx")
    code, out, err = graphkit(*command.split())
    assert code == 3, err
    assert out == ""
    assert "Traceback" not in err
    assert err.startswith("graphkit: error: ")
    assert words in err
    assert "\n  hint: " in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.onnx", "good.onnx"]


@pytest.mark.parametrize("case", MODELS)
def test_other_commands_refuse_it_or_pass_it_on(graphkit, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.onnx").write_bytes(MODELS[case][0].SerializeToString())
    for command in (
        "inspect bad.onnx --nodes --values",
        "extract bad.onnx out.onnx --output y",
        "extract bad.onnx --suggest --output y",
        "rename bad.onnx out.onnx --value x=input",
        "tap bad.onnx out.onnx --value x",
        "run bad.onnx --feed x=random",
        "probe bad.onnx --shape x=1,3,8,8",
    ):
        code, _, err = graphkit(*command.split())
        assert code in (0, 3), err
        assert "Traceback" not in err
        assert (tmp_path / "out.onnx").exists() <= (code == 0)
        (tmp_path / "out.onnx").unlink(missing_ok=True)
