"""validate against a torch module: arguments, attributes and inner values bound, the module left as it was."""

import warnings

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.verify.validate import validate

torch = pytest.importorskip("torch")
nn = torch.nn

HEAD = '<ir_version: 8, opset_import: ["" : 18]>'
SCALED = onnx.parser.parse_model(f"{HEAD} g (float[n,3] x, float[1] factor) => (float[n,3] y) {{ y = Mul(x, factor) }}")
RESIZED = onnx.parser.parse_model(f"""{HEAD} g (float[1,3,h,w] x, float[2] factor) => (float[a,b,c,d] y) <float[2] one = {{1.0, 1.0}}> {{
  s = Concat<axis=0>(one, factor)
  y = Resize<mode="linear">(x, , s) }}""")


class Scaled(nn.Module):
    def __init__(self, gain=3):
        super().__init__()
        self.inner = nn.Identity()
        self.inner.gain = gain
        self.table = (1.0, 2.0)

    def forward(self, x):
        return self.inner(x) * self.inner.gain


class Argument(nn.Module):
    def forward(self, x, factor=2.0, *, extra=None):
        return x * factor if extra is None else x * factor + extra


class Interpolated(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Upsample(scale_factor=3, mode="bilinear")

    def forward(self, image):
        return self.up(image)


def test_an_attribute_is_set_and_set_back():
    module = Scaled(3).train()
    for target in ("self.inner.gain", "inner.gain"):
        report = validate(SCALED, torch=module, map={"factor": target})
        assert report.match
        assert report.bindings["factor"] == "self.inner.gain"
    assert module.inner.gain == 3
    assert module.training
    assert report.samples[0].feeds["factor"] == "float32[1] = [3.0]"
    assert len({s.feeds["factor"] for s in report.samples}) == 3
    wrong = onnx.parser.parse_model(
        f"{HEAD} g (float[n,3] x, float[1] factor) => (float[n,3] y) {{ t = Abs(factor)\n y = Div(x, t) }}"
    )
    assert not validate(wrong, torch=module, map={"factor": "self.inner.gain"}).match


def test_an_attribute_that_is_a_tensor_or_parameter():
    module = Scaled(torch.nn.Parameter(torch.tensor([3.0])))
    assert validate(SCALED, torch=module, map={"factor": "self.inner.gain"}).match
    assert module.inner.gain.item() == 3


def test_an_input_without_a_counterpart_is_named_with_the_numbers_it_may_be():
    with pytest.raises(gk.ComparisonError, match="'factor'") as caught:
        validate(SCALED, torch=Scaled())
    assert "self.inner.gain (now 3)" in str(caught.value)
    with pytest.raises(gk.NameNotFoundError, match="gian") as caught:
        validate(SCALED, torch=Scaled(), map={"factor": "self.inner.gian"})
    assert "self.inner.gain" in str(caught.value)


def test_an_argument_of_the_same_name_or_the_name_that_is_given():
    assert validate(SCALED, torch=Argument()).bindings["factor"] == "factor"
    assert validate(SCALED, torch=(Argument(), (torch.ones(2, 3), 2.0))).match
    renamed = onnx.parser.parse_model(f"{HEAD} g (float[n,3] x, float[1] k) => (float[n,3] y) {{ y = Mul(x, k) }}")
    with pytest.raises(gk.ComparisonError, match="'k'"):
        validate(renamed, torch=Argument())
    assert validate(renamed, torch=Argument(), map={"k": "factor"}).match


def test_an_argument_that_the_example_leaves_to_its_default():
    renamed = onnx.parser.parse_model(f"{HEAD} g (float[n,3] x, float[1] k) => (float[n,3] y) {{ y = Mul(x, k) }}")
    x = torch.rand(2, 3)
    report = validate(renamed, torch=(Argument(), (x,)), map={"k": "factor"}, feeds={"k": ["2", "0.5"]})
    assert report.match
    assert report.bindings["k"] == "factor"
    report = validate(renamed, torch=(Argument(), (x,)), map={"k": "factor"})
    assert report.match
    assert report.samples[0].feeds["k"] == "float32[1] = [2.0]"  # the default, as an example
    assert validate(SCALED, torch=(Argument(), (x,))).bindings["factor"] == "factor"
    added = onnx.parser.parse_model(
        f"{HEAD} g (float[n,3] x, float[n,3] e) => (float[n,3] y) {{ z = Add(x, x)\n y = Add(z, e) }}"
    )
    assert validate(added, torch=(Argument(), (x,)), map={"e": "extra"}).match
    with pytest.raises(gk.NameNotFoundError) as caught:
        validate(renamed, torch=(Argument(), (x,)), map={"k": "facto"})
    assert "'factor'" in str(caught.value)


@pytest.mark.parametrize("example", [True, False])
def test_a_retyped_input_is_cast_to_what_the_module_takes(example):
    module = nn.Linear(3, 3)
    half = onnx.parser.parse_model(f"""{HEAD} g (float16[2,3] x16) => (float[2,3] y) {{
      x = Cast<to=1>(x16)\n y = Gemm<transB=1>(x, w, b) }}""")
    for name, tensor in (("w", module.weight), ("b", module.bias)):
        half.graph.initializer.append(onnx.numpy_helper.from_array(tensor.detach().numpy(), name))
    subject = (module, (torch.rand(2, 3),)) if example else module
    assert validate(half, torch=subject).match
    assert validate(half, torch=subject, map={"x16": "input"}).match
    found = gk.bisect(half, torch=(module, (torch.rand(2, 3),)), map={"x16": "input"}) if example else None
    assert found is None or not found.diverges


def test_two_factors_become_a_tuple():
    report = validate(
        RESIZED,
        torch=Interpolated(),
        map={"factor": "self.up.scale_factor"},
        feeds={"factor": ["2", "2.5", "2,3"]},
        bind={"h": 8, "w": 9},
    )
    assert report.match
    assert {s.outputs["y"].shape for s in report.samples} == {(1, 3, 16, 18), (1, 3, 20, 22), (1, 3, 16, 27)}
    assert report.bindings["x"] == "image"


def test_example_arguments_are_the_first_sample_and_give_the_sizes():
    x = torch.full((4, 3), 0.25)
    report = validate(SCALED, torch=(Scaled(), (x,)), map={"factor": "self.inner.gain"})
    assert {s.feeds["x"] for s in report.samples} == {"float32[4,3]"}
    report = validate(SCALED, torch=(Scaled(), (x,)), map={"factor": "self.inner.gain"}, bind={"n": 7})
    assert {s.feeds["x"] for s in report.samples} == {"float32[7,3]"}


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.second = nn.Linear(4, 3)

    def forward(self, x):
        h = torch.relu(self.first(x))
        return {"out": self.second(h), "pair": (h, h + 1)}


def exported(module, outputs=("y",), names=("x",), shape=(2, 3)):
    import io

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.ones(shape),),
            buffer,
            dynamo=False,
            input_names=list(names),
            output_names=list(outputs),
            dynamic_axes={names[0]: {0: "n"}},
        )
    return onnx.load_from_string(buffer.getvalue())


def test_nested_outputs_are_taken_in_order_and_inner_values_feed_a_part():
    module = Two().eval()
    whole = exported(module, ("a", "b", "c"))
    assert validate(whole, torch=module).match
    second = exported(module.second, shape=(2, 4), names=("h",))
    with pytest.raises(gk.ComparisonError):
        validate(second, torch=module)
    given = (module, (torch.rand(2, 3),))
    report = validate(second, torch=given, map={"y": "second", "h": "first"})
    assert not report.match  # the part wants what comes after the Relu
    with pytest.raises(gk.ComparisonError, match="needs 'x'"):
        validate(second, torch=module, map={"y": "second", "h": "first"})
    chain = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 3))
    part = exported(chain[1], shape=(2, 4), names=("h",))
    report = validate(part, torch=(chain, (torch.rand(2, 3),)), map={"y": "self.1", "h": "self.0"})
    assert report.match
    assert report.bindings["h"] == "output of 0"
    first = exported(module.first)
    assert validate(first, torch=module, map={"y": "first"}, outputs=["y"]).match
    with pytest.raises(gk.ComparisonError, match="gives 3 outputs and the candidate 1"):
        validate(first, torch=module)
    assert validate(exported(module, ("a", "b", "c")), torch=module, outputs=["b"]).match


def test_outputs_in_another_order_are_no_mismatch_of_numbers():
    module = Two().eval()
    whole = exported(module, ("a", "b", "c"))
    order = [whole.graph.output[i] for i in (1, 0, 2)]
    kept = [onnx.ValueInfoProto.FromString(o.SerializeToString()) for o in order]
    del whole.graph.output[:]
    whole.graph.output.extend(kept)
    with pytest.raises(gk.ComparisonError, match="another order"):
        validate(whole, torch=module)
    assert validate(whole, torch=module, map={"b": "1", "a": "0"}).match


def test_dropout_does_not_matter_and_training_mode_is_said():
    module = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    proto = exported(module.eval())
    module.train()
    report = validate(proto, torch=module)
    assert report.match
    assert module.training
    assert any("training mode" in note for note in report.notes)


def test_a_fault_in_the_weights_is_found():
    module = nn.Linear(3, 3)
    proto = exported(module)
    assert validate(proto, torch=module).match
    with torch.no_grad():
        module.weight.mul_(1.01)
    report = validate(proto, torch=module)
    assert not report.match
    assert report.reference_providers == ("torch",)


class Raising(nn.Module):
    def forward(self, x):
        if x.shape[0] != 1:
            raise ValueError("one at a time")
        return x


def test_a_forward_that_raises_is_told_with_its_line():
    neg = onnx.parser.parse_model(f"{HEAD} g (float[n,3] x) => (float[n,3] y) {{ y = Identity(x) }}")
    with pytest.raises(gk.ComparisonError, match="one at a time") as caught:
        validate(neg, torch=Raising(), bind={"n": 2})
    assert "test_validate_torch.py" in str(caught.value)
    assert validate(neg, torch=Raising(), bind={"n": 1}).match


def test_a_parameter_that_nothing_feeds():
    class Needy(nn.Module):
        def forward(self, x, mask):
            return x * mask

    neg = onnx.parser.parse_model(f"{HEAD} g (float[n,3] x) => (float[n,3] y) {{ y = Identity(x) }}")
    with pytest.raises(gk.ComparisonError, match="'mask'"):
        validate(neg, torch=Needy())
    ones = (torch.ones(2, 3), torch.ones(2, 3))
    report = validate(neg, torch=(Needy(), ones))
    assert report.match
    assert any("'mask'" in note for note in report.notes)


def test_bfloat16_and_half():
    module = nn.Linear(3, 3).half()
    proto = onnx.parser.parse_model(f"{HEAD} g (float16[n,3] x) => (float16[n,3] y) {{ y = Gemm<transB=1>(x, w, b) }}")
    for name, tensor in (("w", module.weight), ("b", module.bias)):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(tensor.detach().numpy(), name))
    assert validate(proto, torch=module).match


def test_what_is_no_module_is_a_callers_bug():
    with pytest.raises(TypeError, match="wants an nn"):
        validate(SCALED, torch=np.ones(3))
    with pytest.raises(gk.FactoryError):
        validate(SCALED, torch="nowhere.at_all:factory")


def test_weights_that_are_inputs_are_fed_with_the_modules_own(tmp_path):
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    module[1].running_var.fill_(4.0)
    for exporter in ("dynamo", "torchscript"):
        proto = gk.export(module.eval(), (torch.rand(2, 3),), exporter=exporter, parameters="inputs")
        report = validate(proto, torch=module)
        assert report.match
        assert report.bindings["1.running_var"] == "self.1.running_var"
        assert any("0.weight" in note for note in report.notes)
        assert validate(proto, torch=module, feeds={"1.bias": np.float32([1, 2, 3])}).match
        assert module[1].bias.tolist() == [0, 0, 0]
        with torch.no_grad():
            module[0].bias.add_(1)
        assert validate(proto, torch=module).match
        assert not gk.bisect(proto, torch=(module, (torch.rand(2, 3),))).diverges


def test_outputs_that_agree_in_another_order():
    class Pair(nn.Module):
        def forward(self, x):
            return -x, x

    both = onnx.parser.parse_model(
        f"{HEAD} g (float[n,3] x) => (float[n,3] a, float[n,3] b) {{ a = Identity(x)\n b = Neg(x) }}"
    )
    with pytest.raises(gk.ComparisonError, match=r"another order.*'a' agrees with output 1") as caught:
        validate(both, torch=Pair())
    assert caught.value.hint.endswith("map={'a': '1', 'b': '0'}")
    assert validate(both, torch=Pair(), map={"a": "1", "b": "0"}).match


def test_an_argument_that_only_the_reference_has_is_named_where_they_differ():
    class Sum(nn.Module):
        def forward(self, x, y):
            return x + y

    same = onnx.parser.parse_model(f"{HEAD} g (float[n,3] x) => (float[n,3] z) {{ z = Identity(x) }}")
    report = validate(same, torch=(Sum(), (torch.rand(1, 3), torch.ones(1, 3))))
    assert not report.match
    assert any("'y'" in note and "[[1.0, 1.0, 1.0]]" in note for note in report.notes)
    assert "'y'" in report.doubts[0]
    with pytest.raises(gk.MismatchError, match="'y'"):
        report.raise_for_mismatch()
    report = validate(same, torch=(Sum(), (torch.rand(1, 3), torch.zeros(1, 3))))
    assert report.match
    assert report.doubts == ()


def test_an_extracted_part_is_not_taken_for_the_whole():
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.flat = nn.Flatten()
            self.out = nn.Linear(12, 2)

        def forward(self, image):
            return self.out(self.flat(image))

    module = Flat()
    part = exported(module.out, names=("flat",), shape=(2, 12))
    given = (module, (torch.rand(2, 3, 2, 2),))
    with pytest.raises(gk.ComparisonError, match=r"'flat'.*number of dims") as caught:
        validate(part, torch=given)
    assert "map={'flat': SUBMODULE}" in caught.value.hint
    assert validate(part, torch=given, map={"flat": "flat"}).match
    chain = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    part = exported(chain[1], names=("h",), shape=(2, 4))
    with pytest.raises(gk.ComparisonError, match="raised RuntimeError") as caught:
        validate(part, torch=(chain, (torch.rand(2, 3),)))
    assert "map={'h': SUBMODULE}" in caught.value.hint
