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
    found = gk.torch_lowering("bicubic")
    assert found.operator == "aten::upsample_bicubic2d"
    assert found.others == ("aten::_upsample_bicubic2d_aa",)
    assert gk.torch_lowering("pixel_shuf").operator == "aten::pixel_shuffle"
    with pytest.raises(gk.ExportError) as caught:
        gk.torch_lowering("upsample")
    assert "aten::upsample_bicubic2d" in caught.value.hint


def becomes(name, exporter, since):
    """(operator, input or attribute) -> the torch arguments, or the constant."""
    lowering = gk.torch_lowering(name)
    rule = next(r for r in getattr(lowering, exporter) if (r.operator, r.since) == since)
    return {(use.operator, use.name): use.arguments or use.value for use in rule.arguments}


# R36
def test_the_tutorials_third_exercise_which_parameter_holds_the_scale():
    """``scales``, the third input of Resize, is made from ``scale_factors``; the sizes are there for the other call."""
    for exporter, since in (
        ("torchscript", ("aten::upsample_bicubic2d", 11)),
        ("dynamo", ("aten::upsample_bicubic2d.vec", 18)),
    ):
        found = becomes("aten::upsample_bicubic2d", exporter, since)
        assert found["Resize", "X"] == ("input",)
        assert found["Resize", "scales"] == ("scale_factors",)
        assert found["Resize", "sizes"] == ("input", "output_size")
        assert found["Resize", "coordinate_transformation_mode"] == ("align_corners",)
        assert found["Resize", "mode"] == "'cubic'"
        assert found["Resize", "cubic_coeff_a"] == "-0.75"
    assert "scales from scale_factors" in " ".join(gk.text(gk.torch_lowering("bicubic")).split())


@pytest.mark.parametrize(
    ("name", "exporter", "since", "expected"),
    [
        ("conv2d", "dynamo", ("aten::conv2d", 18), {("Conv", "strides"): ("stride",), ("Conv", "group"): ("groups",)}),
        (
            "_convolution",
            "torchscript",
            ("aten::_convolution", 9),
            {("Conv", "W"): ("weight",), ("Conv", "B"): ("bias",), ("ConvTranspose", "pads"): ("padding",)},
        ),
        ("softmax", "dynamo", ("aten::softmax.int", 18), {("Softmax", "axis"): ("dim",), ("Cast", "to"): ("dtype",)}),
        (
            "hardtanh",
            "dynamo",
            ("aten::hardtanh", 18),
            {("Clip", "min"): ("min_val",), ("Clip", "max"): ("max_val",)},
        ),
        ("cat", "torchscript", ("aten::cat", 9), {("Concat", "inputs"): ("tensors",), ("Concat", "axis"): ("dim",)}),
        ("gelu", "torchscript", ("aten::gelu", 20), {("Gelu", "approximate"): ("approximate",)}),
        (
            "grid_sampler",
            "torchscript",
            ("aten::grid_sampler", 16),
            {("GridSample", "grid"): ("grid",), ("GridSample", "align_corners"): ("align_corners",)},
        ),
        ("layer_norm", "dynamo", ("aten::layer_norm", 18), {("LayerNormalization", "epsilon"): ("eps",)}),
        (
            "upsample_nearest2d",
            "torchscript",
            ("aten::upsample_nearest2d", 11),
            {("Resize", "mode"): "'nearest'", ("Resize", "coordinate_transformation_mode"): "'asymmetric'"},
        ),
    ],
)
def test_torch_arguments_become_inputs_and_attributes(name, exporter, since, expected):
    found = becomes(name, exporter, since)
    assert {key: found.get(key) for key in expected} == expected


class Strided(torch.nn.Module):
    def __init__(self, stride, groups):
        super().__init__()
        self.stride, self.groups = stride, groups

    def forward(self, x, w):
        return F.conv2d(x, w, stride=self.stride, groups=self.groups)


def test_what_is_said_of_conv_is_what_an_export_does():
    """The attributes that are said to come from an argument change with it, and no others."""
    x, w = torch.rand(1, 4, 8, 8), {1: torch.rand(4, 4, 3, 3), 2: torch.rand(4, 2, 3, 3)}

    def attributes(stride, groups):
        proto = gk.export(Strided(stride, groups), (x, w[groups])).proto
        (node,) = [node for node in proto.graph.node if node.op_type == "Conv"]
        return {a.name: list(a.ints) or a.i for a in node.attribute}

    base, strided, grouped = attributes(1, 1), attributes(2, 1), attributes(1, 2)
    said = becomes("conv2d", "dynamo", ("aten::conv2d", 18))
    assert {name for name in base if base[name] != strided[name]} == {
        name for (_, name), arguments in said.items() if arguments == ("stride",)
    }
    assert {name for name in base if base[name] != grouped[name]} == {
        name for (_, name), arguments in said.items() if arguments == ("groups",)
    }


class ShiftedBy(torch.nn.Module):
    def __init__(self, shift):
        super().__init__()
        self.shift = shift

    def forward(self, x, n):
        return self.shift(x, n)


# R36
@pytest.mark.parametrize(
    ("shift", "exporter", "named"),
    [
        (lambda x, n: x << n, "dynamo", "torch.bitwise_left_shift"),
        (lambda x, n: x >> n, "dynamo", "torch.bitwise_right_shift"),
        (lambda x, n: x.clone().__ilshift__(n), "torchscript", "torch.bitwise_left_shift"),
    ],
)
def test_a_refused_shift_names_the_function_that_has_a_rule(shift, exporter, named):
    x = torch.tensor([1, 2, 33], dtype=torch.int32)
    with pytest.raises(gk.ExportError) as caught:
        gk.export(ShiftedBy(shift), (x, x), exporter=exporter)
    assert named in caught.value.hint
    function = getattr(torch, named.removeprefix("torch."))
    n = torch.tensor([1, 3, 2], dtype=torch.int32)
    model = gk.export(ShiftedBy(function), (x, n), exporter=exporter)
    got = next(iter(run_ort(model, {"x": x.numpy(), "n": n.numpy()}).values()))
    assert_same(got, function(x, n).numpy())


def test_a_name_that_is_no_utf_8_is_no_operator():
    with pytest.raises(gk.ExportError, match="torch has no operator"):
        gk.torch_lowering("\udcff")
