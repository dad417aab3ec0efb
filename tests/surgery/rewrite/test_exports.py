"""Rules on what both of torch's exporters write today: they match, and the numbers stay."""

import contextlib
import io
import warnings

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import graphkit as gk

torch = pytest.importorskip("torch")
functional = torch.nn.functional


class Everything(torch.nn.Module):
    """What the rules are for, side by side, so that one export shows how an exporter writes it."""

    def __init__(self):
        super().__init__()
        self.group_norm = torch.nn.GroupNorm(3, 6)
        self.linear = torch.nn.Linear(8, 3)
        self.weight = torch.nn.Parameter(torch.rand(8))

    def forward(self, q, k, v, mask, angles, picture):
        whole = torch.cat((angles, angles), -1)
        half = torch.cat((-q[..., 4:], q[..., :4]), -1)
        return (
            functional.scaled_dot_product_attention(q, k, v),
            functional.scaled_dot_product_attention(2 * q, v, k, attn_mask=mask),
            functional.silu(q),
            functional.gelu(q),
            functional.gelu(q, approximate="tanh"),
            self.weight * (q * torch.rsqrt(q.pow(2).mean(-1, keepdim=True) + 1e-6)),
            self.group_norm(picture),
            functional.normalize(q, dim=-1),
            q * whole.cos()[:, None] + half * whole.sin()[:, None],
            self.linear(mask),
            q.softmax(-1).log(),
        )


SHAPES = [(2, 3, 5, 8), (2, 3, 8, 8), (2, 3, 8, 8), (5, 8), (2, 5, 4), (2, 6, 4, 4)]
RULES = {
    "attention": ("Attention", 2),
    "silu": ("Swish", 1),
    "gelu": ("Gelu", 2),
    "rms-norm": ("RMSNormalization", 1),
    "group-norm": ("GroupNormalization", 1),
    "lp-normalization": ("LpNormalization", 1),
    "rotary-embedding": ("RotaryEmbedding", 1),
    "gemm-to-matmul-add": ("MatMul", 1),
    "log-softmax": ("LogSoftmax", 1),
}


def feeds(model):
    torch.manual_seed(1)
    return {value.name: torch.randn(shape).numpy() for value, shape in zip(model.inputs, SHAPES, strict=True)}


def run(model):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model.materialize().SerializeToString(), options, ["CPUExecutionProvider"])
    return session.run(None, feeds(model))


@pytest.fixture(scope="module", params=[False, True], ids=["torchscript", "dynamo"])
def export(request, tmp_path_factory, exports):
    def make():
        path = tmp_path_factory.mktemp("export") / "m.onnx"
        torch.manual_seed(0)
        args = tuple(torch.randn(shape) for shape in SHAPES)
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                Everything().eval(), args, str(path), dynamo=request.param, opset_version=18, verbose=False
            )
        return onnx.load(path)

    model = gk.opset(exports.of("rewrite/everything", "dynamo" if request.param else "torchscript", make), to=24)
    return model, run(model)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_finds_what_the_exporters_write(export, rule):
    model, before = export
    operator, count = RULES[rule]
    had = sum(node.op_type == operator for node in model.nodes)
    edited = gk.rewrite(model, rule)
    assert sum(node.op_type == operator for node in edited.nodes) == had + count, edited.history[-1].notes
    for old, new in zip(before, run(edited), strict=True):
        np.testing.assert_allclose(old, new, rtol=1e-5, atol=2e-6)


def test_all_rules_together_keep_the_numbers(export):
    model, before = export
    edited = gk.rewrite(model, list(RULES))
    assert sum(" rewritten: " in note for note in edited.history[-1].notes) == len(RULES)
    for old, new in zip(before, run(edited), strict=True):
        np.testing.assert_allclose(old, new, rtol=1e-5, atol=2e-6)
