"""What each exporter makes of a torch operator, and of all operators of a module; the tutorial's exercises."""

from __future__ import annotations

import pytest

import graphkit as gk
from oracle import assert_same, run_ort

torch = pytest.importorskip("torch")
F = torch.nn.functional


def rules(name):
    lowering = gk.torch_lowering(name)
    return {(r.exporter, r.operator, r.since): r for r in (*lowering.dynamo, *lowering.torchscript)}


# R35
def test_bicubic_upsampling_is_a_resize_since_opset_11():
    found = rules("aten::upsample_bicubic2d")
    tracing = found["torchscript", "aten::upsample_bicubic2d", 11]
    assert tracing.function == "_interpolate_helper.symbolic_fn"
    assert tracing.source.startswith("torch/onnx/_internal/torchscript_exporter/symbolic_helper.py:")
    assert "Resize" in tracing.emits
    assert "Resize" in found["dynamo", "aten::upsample_bicubic2d.vec", 18].emits


def test_an_operator_with_a_later_opset_has_a_rule_for_each():
    found = rules("gelu")
    assert found["torchscript", "aten::gelu", 20].emits == ("Gelu",)
    assert "Erf" in found["torchscript", "aten::gelu", 9].emits
    assert found["dynamo", "aten::gelu", 20].emits == ("Gelu",)
    assert "Erf" in found["dynamo", "aten::gelu", 18].emits


def test_an_operator_named_in_a_call_of_a_helper_is_found():
    assert "Relu" in rules("aten::relu")["torchscript", "aten::relu", 9].emits


def test_an_opset_that_only_refuses_is_no_rule():
    assert min(r.since for r in gk.torch_lowering("cumsum").torchscript) == 11


def test_an_operator_that_works_in_place_has_the_rule_of_the_other():
    assert [r.emits for r in gk.torch_lowering("relu_").torchscript] == [
        r.emits for r in gk.torch_lowering("relu").torchscript
    ]


def test_most_rules_tell_what_they_emit():
    from graphkit.torch_export.lowering import dynamo_rules, known_operators, torchscript_rules

    names = known_operators()[::7]
    found = [r for name in names for r in (*torchscript_rules(name), *dynamo_rules(name))]
    assert len(found) > 80
    assert sum(not r.emits for r in found) / len(found) < 0.08


def test_an_operator_that_is_taken_apart():
    lowering = gk.torch_lowering("aten.special_expit")
    assert lowering.dynamo == ()
    assert lowering.decomposed == ("default",)
    assert "taken apart" in gk.text(lowering)


def test_an_unknown_torch_operator_is_refused():
    with pytest.raises(
        gk.ExportError, match=r"no operator 'aten::upsample_bicubik2d'\n  hint: did you mean aten::upsample_bicubic2d"
    ):
        gk.torch_lowering("upsample_bicubik2d")


class Mixed(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.drop = torch.nn.Dropout()

    def forward(self, x):
        y = F.silu(self.conv(x))
        y = self.drop(y)
        return F.pixel_shuffle(y, 2).std()


class Unsupported(torch.nn.Module):
    def forward(self, x):
        return torch.special.i0(torch.asinh(x))


# R33
def test_the_operators_of_a_module_are_sorted():
    check = gk.check_operators(Mixed().train(), (torch.rand(1, 3, 8, 8),))
    kinds = {(u.exporter, u.operator): (u.kind, u.becomes) for u in check.uses}
    assert kinds["dynamo", "aten::conv2d"] == ("one-to-one", ("Conv",))
    assert kinds["dynamo", "aten::silu"] == ("one-to-many", ("Sigmoid", "Mul"))
    assert kinds["dynamo", "aten::pixel_shuffle"] == ("one-to-one", ("DepthToSpace",))
    assert kinds["dynamo", "aten::std.correction"] == ("decomposed", ("prims::var", "aten::sqrt"))
    assert kinds["torchscript", "aten::_convolution"] == ("one-to-one", ("Conv",))
    assert kinds["torchscript", "aten::silu"] == ("one-to-many", ("Sigmoid", "Mul"))
    assert check.dropped == {"dynamo": {"aten::dropout": 1}, "torchscript": {"aten::dropout": 1}}
    assert check.smallest_opset == {"dynamo": 18, "torchscript": 9}
    assert check.unsupported == ()
    assert all("test_ops.py" in u.sources[0] for u in check.uses if u.operator == "aten::silu")


# R33
def test_what_has_no_translation_is_named_with_its_line():
    check = gk.check_operators(Unsupported(), (torch.rand(3),))
    assert [(u.exporter, u.operator) for u in check.unsupported] == [
        ("dynamo", "aten::special_i0"),
        ("torchscript", "aten::asinh"),
        ("torchscript", "aten::i0"),
    ]
    assert check.unsupported[0].becomes == ("prims::bessel_i0",)
    assert check.smallest_opset == {"dynamo": None, "torchscript": None}
    assert "no translation for aten::special_i0" in gk.text(check)


def test_a_module_that_one_exporter_cannot_trace():
    class Cond(torch.nn.Module):
        def forward(self, x):
            return torch.cond(x.sum() > 0, lambda a: a + 1, lambda a: a * 2, (x,))

    check = gk.check_operators(Cond(), torch.rand(3))
    assert {u.operator: u.becomes for u in check.uses}["cond"] == ("If",)
    assert check.smallest_opset == {"dynamo": 18, "torchscript": None}
    assert "use exporter" not in check.problems["torchscript"]
    assert "cannot trace torch.cond" in check.problems["torchscript"]


class Asinh(torch.nn.Module):
    def forward(self, x):
        return torch.asinh(x)


class Shift(torch.nn.Module):
    def forward(self, x):
        return x << 2


# R36
def test_the_tutorials_first_exercise_asinh():
    """ONNX has Asinh since opset 9; the torchscript exporter has no rule for it to this day, the dynamo exporter has."""
    assert gk.operators()["Asinh"][0] == 9
    assert gk.torch_lowering("asinh").torchscript == ()
    with pytest.raises(gk.ExportError, match="aten::asinh has no translation to opset 9"):
        gk.export(Asinh(), torch.rand(3), exporter="torchscript", opset=9)
    x = torch.linspace(-2, 2, 9)
    model = gk.export(Asinh(), x)
    assert [n.op_type for n in model.proto.graph.node] == ["Asinh"]
    assert_same(next(iter(run_ort(model, {"x": x.numpy()}).values())), torch.asinh(x).numpy())


# R36
def test_the_tutorials_second_exercise_bitshift():
    """The torchscript exporter has BitShift for unsigned types since opset 11, and multiplies for signed ones."""
    assert gk.operators()["BitShift"][0] == 11
    (older, newer) = gk.torch_lowering("aten::__lshift__").torchscript
    assert (older.since, newer.since) == (9, 11)
    assert "BitShift" in set(newer.emits) - set(older.emits)
    for dtype, expected in ((torch.uint8, "BitShift"), (torch.int32, "Mul")):
        x = torch.tensor([1, 2, 33], dtype=dtype)
        model = gk.export(Shift(), x, exporter="torchscript", opset=11)
        assert expected in [n.op_type for n in model.proto.graph.node]
        assert_same(next(iter(run_ort(model, {"x": x.numpy()}).values())), (x << 2).numpy())


# R35, R36
def test_a_part_of_a_name_finds_the_operator_or_lists_those_that_hold_it():
    with pytest.raises(gk.ExportError) as caught:
        gk.torch_lowering("bicubic")
    assert "aten::upsample_bicubic2d" in caught.value.hint
    assert gk.torch_lowering("pixel_shuf").operator == "aten::pixel_shuffle"
