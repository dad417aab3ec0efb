"""The operators of a module, in four kinds: each claim is held against a real export."""

from __future__ import annotations

import functools
import json
from collections import Counter

import pytest

import graphkit as gk

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional

from graphkit.graph import walk  # noqa: E402 (needs no torch, and stands with what does)
from graphkit.torch_export.arguments import bind  # noqa: E402
from graphkit.torch_export.quiet import quiet_torch  # noqa: E402
from graphkit.torch_export.torch_ops import calls_torchscript  # noqa: E402
from graphkit.torch_export.torch_ops.calls_dynamo import DynamoCalls  # noqa: E402
from graphkit.torch_export.torch_ops.calls_torchscript import TorchscriptCalls  # noqa: E402

KINDS = {"one-to-one", "one-to-many", "decomposed", "unsupported"}


class OneLine(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, bias=False)

    def forward(self, x):
        return torch.relu(self.conv(x)) + x.sigmoid() * 2


class Twice(nn.Module):
    """Submodules that are called twice, so that every line of theirs has two calls."""

    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Linear(4, 4), nn.SiLU(), nn.Dropout(), nn.Linear(4, 4))

    def forward(self, x):
        return self.block(self.block(x))


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 5, 2, batch_first=True, bidirectional=True)

    def forward(self, x):
        return self.lstm(x)[0]


class Attention(nn.Module):
    def forward(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v)


class Picture(nn.Module):
    def forward(self, x):
        y = F.pixel_shuffle(F.interpolate(x, scale_factor=2.0, mode="bicubic"), 2)
        z = torch.einsum("bchw,bcwk->bhk", y, y.transpose(2, 3))
        return F.layer_norm(z, z.shape[-1:]), F.dropout(x, 0.5, self.training).detach().contiguous()


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.relu = nn.BatchNorm2d(4), nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.second(self.relu(self.norm(self.first(x))))
        y += x
        return F.adaptive_avg_pool2d(self.relu(y), 1).flatten(1)


class Types(nn.Module):
    """Both exporters put conversions in front of an operator whose arguments have two types."""

    def forward(self, x, i):
        return x + i, F.gelu(x) + x.float() + x / 2, torch.rand(4) + x


class Lists(nn.Module):
    """Operators that give and take lists; torchscript has nodes between, which are no operators."""

    def forward(self, a, b):
        x, y = torch.meshgrid(a, b, indexing="ij")
        return torch.stack(x.unbind(0)) * y, torch.cat(y.split([1, 2], 1), 1)


class Branches(nn.Module):
    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda a: F.silu(a) + 1, lambda a: torch.relu(a + 2) * 2, (x + 1,))


@torch.jit.script
def repeated(x, count):
    if bool(x.sum() > 0):
        x = torch.relu(x)
    for _ in range(int(count)):
        x = torch.sigmoid(x) * 2
    return x.view([x.size(1), x.size(0)])


class Scripted(nn.Module):
    def forward(self, x, count):
        return torch.tanh(repeated(x, count))


def example(*shape):
    return torch.linspace(-1, 1, torch.Size(shape).numel()).reshape(shape)


MODULES = {
    "one line": (OneLine(), (example(1, 3, 4, 4),)),
    "twice": (Twice(), (example(2, 4),)),
    "lstm": (Lstm(), (example(1, 3, 4),)),
    "attention": (Attention(), tuple(example(1, 2, 3, 4) for _ in range(3))),
    "encoder layer": (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (example(1, 3, 8),)),
    "picture": (Picture(), (example(1, 4, 4, 4),)),
    "residual": (Residual(), (example(1, 4, 5, 5),)),
    "types": (Types(), (example(3, 4), torch.ones(4, dtype=torch.int64))),
    "lists": (Lists(), (example(2), example(3))),
    "branches": (Branches(), (example(3),)),
    "script": (Scripted(), (example(3, 4), torch.tensor(3))),
}

SIMPLER_IN_THE_FILE = {
    ("encoder layer", "dynamo"): Counter(Reshape=2),  # two in a row: one
    ("residual", "dynamo"): Counter(BatchNormalization=1),  # into Conv
    ("residual", "torchscript"): Counter(BatchNormalization=1),
}
"""What an export does across operators after their translation, and the check does not."""

FOLDED_BY_NOBODY = {
    ("encoder layer", "torchscript"): {"Add", "Mod", "Reshape"},
    ("types", "dynamo"): {"ConstantOfShape"},
}
"""What the files compute from constants in every run."""


@functools.cache
def sorted_uses(name, opset=None):
    module, args = MODULES[name]
    check = gk.check_operators(module, args, opset=opset)
    return check, {(use.exporter, use.operator): (use.kind, use.becomes) for use in check.uses}


@pytest.mark.parametrize(
    ("name", "exporter"),
    [(n, e) for n in MODULES for e in ("dynamo", "torchscript") if (n, e) not in {("branches", "torchscript"), ("script", "dynamo")}],
)  # fmt: skip
def test_every_node_of_an_export_is_made_for_one_operator(name, exporter):
    module, args = MODULES[name]
    file = gk.export(module, args, exporter=exporter, opset=20).proto.graph
    expected = Counter(n.op_type for n in walk.nodes(file) if n.op_type not in ("Constant", "Identity"))
    with quiet_torch(native_errors=True):
        calls = {"dynamo": DynamoCalls, "torchscript": TorchscriptCalls}[exporter](
            module.eval(), bind(module, args, None, None)
        ).at(20)
    found = Counter(node for call in calls for node in call.nodes)
    assert found - expected == SIMPLER_IN_THE_FILE.get((name, exporter), Counter())
    assert set(expected - found) == FOLDED_BY_NOBODY.get((name, exporter), set())


# R33
@pytest.mark.parametrize("name", MODULES)
def test_there_are_four_kinds(name):
    check, _ = sorted_uses(name)
    assert check.uses
    assert {use.kind for use in check.uses} <= KINDS
    for use in check.uses:
        assert use.becomes, use
        assert use.since in range(9, 26), use
        assert use.operator not in check.dropped[use.exporter]


# R33
def test_operators_on_one_line_are_told_apart():
    check, found = sorted_uses("one line")
    ones = {
        "aten::relu": "Relu", "aten::sigmoid": "Sigmoid",
        "aten::mul": "Mul", "aten::add": "Add", "aten::_convolution": "Conv",
    }  # fmt: skip
    assert {key[1]: value for key, value in found.items() if key[0] == "torchscript"} == {
        operator: ("one-to-one", (node,)) for operator, node in ones.items()
    }
    assert found["dynamo", "aten::conv2d"] == ("one-to-one", ("Conv",))
    assert {use.sources for use in check.uses if use.operator == "aten::relu"} == {(check.uses[0].sources[0],)}


def test_a_module_that_is_called_twice():
    check, found = sorted_uses("twice")
    for exporter in ("dynamo", "torchscript"):
        assert found[exporter, "aten::linear"] == ("one-to-one", ("Gemm",))
        assert found[exporter, "aten::silu"] == ("one-to-many", ("Sigmoid", "Mul"))
        assert check.dropped[exporter] == {"aten::dropout": 2}
    assert [use.count for use in check.uses if use.operator == "aten::linear"] == [4, 4]


# R33
def test_operators_of_which_no_node_is_left():
    check, _ = sorted_uses("picture")
    assert set(check.dropped["dynamo"]) == {"aten::dropout", "aten::detach"}
    assert set(check.dropped["torchscript"]) == {"aten::dropout", "aten::detach", "aten::contiguous", "aten::size"}
    assert "no node is left of aten::dropout" in gk.text(check)
    assert json.loads(gk.to_json(check))["dropped"]["dynamo"]["aten::dropout"] == 1


def test_operators_in_branches_and_loops():
    check, found = sorted_uses("branches")
    assert found["dynamo", "cond"] == ("one-to-one", ("If",))
    assert found["dynamo", "aten::silu"] == ("one-to-many", ("Sigmoid", "Mul"))
    assert found["dynamo", "aten::add.Tensor"] == ("one-to-one", ("Add",))
    assert [use.count for use in check.uses if use.operator == "aten::add.Tensor"] == [3]
    check, found = sorted_uses("script")
    assert found["torchscript", "prim::Loop"] == ("one-to-one", ("Loop",))
    assert found["torchscript", "prim::If"] == ("one-to-many", ("Cast", "If"))
    assert found["torchscript", "aten::sigmoid"] == ("one-to-one", ("Sigmoid",))
    assert found["torchscript", "aten::view"] == ("one-to-many", ("Unsqueeze", "Concat", "Reshape"))
    assert all("test_ops_check.py" in use.sources[0] for use in check.uses)


def test_conversions_of_arguments_are_counted_and_are_no_decomposition():
    _, found = sorted_uses("types")
    assert found["dynamo", "aten::add.Tensor"] == ("one-to-many", ("Cast", "Add"))
    assert found["torchscript", "aten::add"] == ("one-to-many", ("Cast", "Add"))
    assert found["dynamo", "aten::rand"] == ("one-to-one", ("RandomUniformLike",))
    assert found["torchscript", "aten::rand"] == ("one-to-one", ("RandomUniform",))


class OneBad(nn.Module):
    def forward(self, x):
        return F.softplus(torch.special.i0(torch.relu(x)) + F.silu(x)), torch.asinh(x).t()


# R33
def test_one_operator_without_translation_leaves_the_others_sorted():
    check = gk.check_operators(OneBad(), (torch.rand(3, 4),))
    found = {(use.exporter, use.operator): (use.kind, use.becomes, use.since) for use in check.uses}
    for exporter, first in (("dynamo", 18), ("torchscript", 9)):
        assert found[exporter, "aten::relu"] == ("one-to-one", ("Relu",), first)
        assert found[exporter, "aten::silu"] == ("one-to-many", ("Sigmoid", "Mul"), first)
        assert found[exporter, "aten::t"] == ("one-to-one", ("Transpose",), first)
    assert found["dynamo", "aten::special_i0"] == ("unsupported", ("prims::bessel_i0",), None)
    assert found["dynamo", "aten::asinh"] == ("one-to-one", ("Asinh",), 18)
    assert found["torchscript", "aten::i0"] == ("unsupported", ("aten::i0",), None)
    assert found["torchscript", "aten::asinh"] == ("unsupported", ("aten::asinh",), None)
    assert check.smallest_opset == {"dynamo": None, "torchscript": None}
    assert check.exporters == ()
    text = gk.text(check)
    assert "torchscript: cannot export this module at opset 20; no translation for aten::i0, aten::asinh" in text


class BadBranch(nn.Module):
    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda a: torch.special.i0(a) + 1, lambda a: F.silu(a) * 2, (x + 1,))


class ThreeResults(nn.Module):
    def forward(self, x):
        u, s, v = torch.linalg.svd(torch.relu(x))
        return F.silu(u), s.exp(), v @ v


class Complex(nn.Module):
    def forward(self, x):
        return torch.fft.rfft(torch.relu(x)).abs()


@pytest.mark.parametrize(
    ("module", "shape", "exporter", "bad", "others"),
    [
        (BadBranch(), (3,), "dynamo", {"aten::special_i0"}, {"cond", "aten::silu", "aten::mul.Tensor"}),
        (ThreeResults(), (3, 3), "dynamo", {"aten::linalg_svd"}, {"aten::silu", "aten::exp", "aten::matmul"}),
        (ThreeResults(), (3, 3), "torchscript", {"aten::linalg_svd"}, {"aten::silu", "aten::exp", "aten::matmul"}),
        (Complex(), (8,), "torchscript", {"aten::fft_rfft"}, {"aten::relu", "aten::abs"}),
    ],
)
def test_a_stand_in_takes_the_place_of_every_kind_of_call(module, shape, exporter, bad, others):
    check = gk.check_operators(module, (torch.rand(shape),))
    assert {use.operator for use in check.unsupported if use.exporter == exporter} == bad
    assert others <= {use.operator for use in check.uses if use.exporter == exporter and use.kind.startswith("one-to-")}


class Uneven(nn.Module):
    def forward(self, x):
        return F.adaptive_avg_pool2d(torch.relu(x), (3, 3)).exp()


def test_a_rule_that_does_not_take_a_call_says_why():
    check = gk.check_operators(Uneven(), (torch.rand(1, 2, 7, 7),))
    (use,) = check.unsupported
    assert (use.exporter, use.operator, use.since) == ("torchscript", "aten::adaptive_avg_pool2d", None)
    assert use.reason.endswith("output size that are not factor of input size.")
    assert f"  aten::adaptive_avg_pool2d: {use.reason}" in gk.text(check)
    assert check.exporters == ("dynamo",)


class Chunks(nn.Module):
    """torch.jit calls chunk ``prim::ConstantChunk``, and that has a rule before ``aten::chunk`` has."""

    def forward(self, x):
        return x.chunk(2, 1)


@pytest.mark.parametrize(
    ("module", "args", "operator", "since"),
    [
        (Attention(), MODULES["attention"][1], "aten::scaled_dot_product_attention", 14),
        (nn.Unflatten(1, (2, 2)), (torch.rand(3, 4),), "aten::unflatten", 13),
        (Chunks(), (torch.rand(3, 4),), "aten::chunk", 9),
        (nn.Upsample(scale_factor=2.0, mode="bicubic"), (torch.rand(1, 1, 4, 4),), "aten::upsample_bicubic2d", 11),
    ],
)
def test_the_smallest_opset_is_the_first_that_an_export_takes(module, args, operator, since):
    check = gk.check_operators(module, args)
    found = {use.operator: use.since for use in check.uses if use.exporter == "torchscript"}
    assert found[operator] == check.smallest_opset["torchscript"] == since
    gk.export(module, args, exporter="torchscript", opset=since)
    if since > 9:
        with pytest.raises(gk.ExportError):
            gk.export(module, args, exporter="torchscript", opset=since - 1)


def test_another_opset_can_be_looked_at():
    at = {opset: sorted_uses("attention", opset=opset) for opset in (9, 20, 23)}
    key = "aten::scaled_dot_product_attention"
    assert at[9][1]["torchscript", key] == ("unsupported", (key,))
    assert at[9][0].smallest_opset == {"dynamo": 18, "torchscript": 14}
    assert at[9][0].exporters == ("dynamo",)
    assert "no translation for aten::scaled_dot_product_attention; opset 14 or later serves" in gk.text(at[9][0])
    assert [at[opset][0].opset["dynamo"] for opset in at] == [18, 20, 23]
    assert at[20][1]["dynamo", key][0] == "one-to-many"
    assert at[23][1]["dynamo", key] == ("one-to-one", ("Attention",))
    assert at[23][0].smallest_opset["dynamo"] == 18


def test_a_product_and_a_sum_that_the_exporter_fuses():
    class Fused(nn.Module):
        def forward(self, a, b, c):
            return torch.mm(a, b) + c

    check = gk.check_operators(Fused(), tuple(torch.rand(2, 2) for _ in range(3)))
    found = {use.operator: (use.kind, use.becomes) for use in check.uses if use.exporter == "torchscript"}
    assert found["aten::mm"] == found["aten::add"] == ("decomposed", ("aten::addmm",))
    assert found["aten::addmm"] == ("one-to-one", ("Gemm",))


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        del ctx
        return x * 2

    @staticmethod
    def symbolic(g, x):
        return g.op("mine::Double", x)


def test_a_function_with_a_symbolic_of_its_own():
    class Custom(nn.Module):
        def forward(self, x):
            return sum(Doubled.apply(torch.relu(y)) for y in (x, x + 1)).exp()

    check = gk.check_operators(Custom(), (torch.rand(3),))
    found = {use.operator: (use.kind, use.becomes, use.count) for use in check.uses if use.exporter == "torchscript"}
    assert found["Doubled"] == ("one-to-one", ("Double",), 2)
    assert found["aten::exp"] == ("one-to-one", ("Exp",), 1)


def test_torch_and_the_module_are_left_as_they_were():
    from torch.onnx._internal.torchscript_exporter import utils

    before, module = utils._run_symbolic_function, OneBad().train()
    gk.check_operators(module, (torch.rand(3, 4),))
    assert utils._run_symbolic_function is before
    assert module.training


def test_a_torch_that_translates_in_another_way_is_a_problem_and_no_wrong_answer(monkeypatch):
    monkeypatch.setattr(calls_torchscript, "_mark", lambda node, number: None)
    check = gk.check_operators(OneLine(), (example(1, 3, 4, 4),))
    assert "in a way that graphkit cannot follow" in check.problems["torchscript"]
    assert {use.exporter for use in check.uses} == {"dynamo"}
