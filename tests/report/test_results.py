"""Every result: its verdict, its few lines in a REPL, its page in a notebook, its text and its JSON."""

import dataclasses
import re

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.result import LINES, WIDTH, Result, brief

LONG = "a_name_that_is_rather_long_" * 20


def chain(k, count=300):
    """A chain of Tanh with one Mul by k, which is 1 in the right one."""
    nodes = [
        onnx.helper.make_node("Mul", [f"v{i}", "k"], [f"v{i + 1}"], name=f"{LONG}{i}")
        if i == count // 2
        else onnx.helper.make_node("Tanh", [f"v{i}"], [f"v{i + 1}"], name=f"{LONG}{i}")
        for i in range(count)
    ]
    return gk.build(nodes, {"v0": "float32[8]"}, {f"v{count}": "float32[8]"}, initializers={"k": np.float32(k)})


@pytest.fixture(scope="module")
def results():
    """(result, verdict or None) of every kind that no torch module is needed for."""
    right, wrong = chain(1), chain(1.5)
    report, bisection = gk.validate(wrong, against=right), gk.bisect(wrong, against=right)
    found = [
        (report, False),
        (gk.validate(right, against=right), True),
        (report.samples[0], False),
        (next(iter(report.outputs.values())), False),
        (bisection, False),
        (gk.bisect(right, against=right), True),
        (bisection.rows[-1], False),
        (bisection.first, None),
        (bisection.failing, None),
        (gk.inspect(right), None),
        (gk.lint(right), True),
        (gk.run_report(right, {"v0": np.ones(8, np.float32)}), None),
        (gk.operator("Resize"), None),
        (gk.suggest(right), None),
    ]
    attempts = gk.probe(right, [{"v0": (8,)}, {"v0": (9,)}])
    return [*found, (attempts[0], True), (attempts[1], False)]


def test_the_verdict_of_a_result_is_its_truth(results):
    for result, verdict in results:
        assert bool(result) is (True if verdict is None else verdict), type(result).__name__


def test_a_repr_has_ten_lines_at_most_whatever_the_model(results):
    for result, _ in results:
        text = repr(result)
        assert text.startswith(type(result).__name__ + "(")
        assert len(text.splitlines()) <= LINES, type(result).__name__
        assert len(text) <= 2000, type(result).__name__


def test_the_page_of_a_result_is_what_a_notebook_shows(results):
    for result, _ in results:
        page = result._repr_html_()
        assert page == gk.report_html(result)
        assert "<main" in page
        style = re.sub(r"@media [^{]*\{", "", page.partition("<style>")[2].partition("</style>")[0])
        rules = [rule.strip() for rule in style.split("}")]
        assert not [rule for rule in rules if rule and not rule.startswith(".graphkit")]


def test_a_result_has_text_and_json(results):
    for result, _ in results:
        assert gk.text(result)
        if type(result).__name__ != "Failing":  # which holds a model
            assert gk.to_json(result)


def test_text_takes_what_probe_suggest_and_operators_give():
    model = chain(1, 4)
    attempts = gk.probe(model, [{"v0": (8,)}])
    assert "succeeds" in gk.text(attempts)
    assert "m.onnx" in gk.text({"m.onnx": attempts})
    assert "Resize" in gk.text(gk.operators())
    assert "inputs" in gk.text(gk.suggest(model))
    assert "nodes" in gk.text(gk.inspect(model), nodes=True)


@pytest.mark.parametrize("wrong", [3, None, "text", [], {"a": 1}, onnx.ModelProto()])
def test_text_refuses_what_is_no_result(wrong):
    with pytest.raises(TypeError):
        gk.text(wrong)


def test_a_model_is_shown_as_what_is_in_it():
    model = chain(1, 4)
    assert gk.load(model)._repr_html_() == gk.report_html(gk.inspect(model))
    with pytest.raises(TypeError, match=r"gk\.inspect\(model\)"):
        gk.text(gk.load(model))


def test_nodes_are_listed_of_a_summary_only():
    with pytest.raises(TypeError, match="Lint"):
        gk.text(gk.lint(chain(1, 4)), nodes=True)


@pytest.mark.parametrize("name", ["report_text", "lint_text", "operators_text", "probe_text", "summary_text"])
def test_a_former_name_gives_the_same_and_says_what_it_is_now(name):
    summary = gk.inspect(chain(1, 4))
    with pytest.warns(DeprecationWarning, match="graphkit.text"):
        said = getattr(gk, name)(summary)
    assert said == gk.text(summary)


def test_every_public_dataclass_that_a_function_gives_is_a_result():
    given = {gk.RuntimeLimits, gk.Step, gk.Examples, gk.TensorRT}  # named tuples, and an option
    given |= {
        kind for kind in map(gk.__dict__.get, gk.__all__) if getattr(kind, "__module__", "") == "graphkit.fleet.work"
    }
    kinds = [getattr(gk, name) for name in gk.__all__]
    given |= {kind for kind in kinds if getattr(kind, "__module__", "") == "graphkit.fleet.work"}  # work to do
    loose = [k for k in kinds if dataclasses.is_dataclass(k) and not issubclass(k, Result) and k not in given]
    assert loose == []
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, Result):
            assert kind.__repr__ is Result.__repr__, kind.__name__


def test_a_tensor_among_the_fields_is_shown_by_its_shape():
    torch = pytest.importorskip("torch")
    examples = gk.Examples((torch.zeros(300, 300),), {}, ("x",))
    assert "0." not in repr(examples)
    subject = gk.TorchSubject(torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(50))), (torch.zeros(1, 2),))
    assert len(repr(subject).splitlines()) <= LINES
    assert brief(examples) == repr(examples)


def test_what_is_no_dataclass_is_shown_alike():
    step = gk.rename(chain(1, 3), values={"v0": f"<script>{LONG}</script>" * 20}).history[-1]
    rules = gk.rewrite_rules()
    for result in (step, rules, rules[0]):
        assert len(repr(result)) <= LINES * (WIDTH + 1)
        assert len(repr(result).splitlines()) <= LINES
        assert gk.text(result)
        page = result._repr_html_()
        assert page.startswith("<!doctype html>")
        assert "<script" not in page
    assert "silu" in gk.text(rules)
    small = gk.rename(chain(1, 3), values={"v0": "x"}).history[-1]
    assert repr(small).startswith("Step(operation='rename', arguments={'values': {'v0': 'x'}}, notes=(")
