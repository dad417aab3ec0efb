"""ONNX's operator table: histories, the rule in force, what changed."""

from __future__ import annotations

import onnx
import pytest

import graphkit as gk


# R34
@pytest.mark.parametrize(
    ("name", "versions"),
    [("Relu", (1, 6, 13, 14)), ("Resize", (10, 11, 13, 18, 19)), ("Upsample", (1, 7, 9, 10)), ("Asinh", (9, 22))],
)
def test_the_table_lists_the_opsets_that_changed_an_operator(name, versions):
    assert gk.operators()[name] == versions


# R34
@pytest.mark.parametrize(("opset", "in_force"), [(9, None), (10, 10), (12, 11), (17, 13), (18, 18), (22, 19)])
def test_the_rule_in_force_is_the_last_change_at_or_before_the_opset(opset, in_force):
    rule = gk.operator("Resize", opset).rule
    assert (rule and rule.since) == in_force


def test_what_changed_is_said():
    resize = {version.since: version for version in gk.operator("resize").versions}
    assert resize[10].changes == ()
    assert "input 'roi' is new (required)" in resize[11].changes
    assert "input 'roi' is optional, was required" in resize[13].changes
    assert "attribute 'antialias' is new (default 0)" in resize[18].changes
    assert any("half_pixel_symmetric" in change for change in resize[19].changes)
    (bfloat16,) = gk.operator("Asinh").versions[1].changes
    assert bfloat16 == "T also bfloat16"
    assert gk.operator("Upsample").versions[-1].changes == ("deprecated",)


def test_a_rule_has_inputs_attributes_and_types():
    rule = gk.operator("BitShift", 11).rule
    assert [(p.name, p.option) for p in rule.inputs] == [("X", "required"), ("Y", "required")]
    assert [(a.name, a.required) for a in rule.attributes] == [("direction", True)]
    assert rule.types["T"] == ("tensor(uint16)", "tensor(uint32)", "tensor(uint64)", "tensor(uint8)")
    mode = next(a for a in gk.operator("Resize", 11).rule.attributes if a.name == "mode")
    assert mode.default == "nearest"


# R36
def test_the_tutorials_third_exercise_the_factor_is_the_third_input_of_resize():
    assert [p.name for p in gk.operator("Resize", 11).rule.inputs] == ["X", "roi", "scales", "sizes"]


def test_an_unknown_operator_is_refused():
    with pytest.raises(gk.GraphkitError, match=r"ONNX has no operator 'Resise'\n  hint: did you mean Resize"):
        gk.operator("Resise")
    with pytest.raises(gk.GraphkitError, match=r"in domain 'ai\.onnx\.ml'"):
        gk.operator("Resize", domain="ai.onnx.ml")


def test_an_opset_that_the_installed_onnx_does_not_know_is_refused():
    beyond = onnx.defs.onnx_opset_version() + 1
    for look in (lambda: gk.operator("Resize", beyond), lambda: gk.rules_in_force(beyond)):
        with pytest.raises(gk.GraphkitError, match=f"knows opsets up to {beyond - 1}, not {beyond}"):
            look()


def test_the_text_shows_history_and_rule():
    text = gk.text(gk.operator("Resize", 11))
    assert "Resize: changed at opset 10, 11, 13, 18, 19" in text
    assert "in force at opset 11: version 11" in text
    assert "does not exist yet" in gk.text(gk.operator("BitShift", 10))
    assert "Resize" in gk.text(gk.operators())


def test_a_value_that_an_older_text_names_without_quotes_is_not_called_new():
    changes = {v.since: v.changes for v in gk.operator("Resize").versions}
    assert "attribute 'mode' also names cubic" in changes[11]
    assert not any("'mode'" in change or "'nearest_mode'" in change for change in changes[18])


# R34
@pytest.mark.parametrize("opset", [7, 11, 18])
def test_all_rules_in_force_at_an_opset_are_those_of_onnx(opset):
    import onnx

    found = gk.rules_in_force(opset)
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if not schema.domain}
    for name in known:
        try:
            since = onnx.defs.get_schema(name, opset).since_version
        except onnx.defs.SchemaError:  # onnx gives no rule of an operator that is deprecated, or not there yet
            assert name not in found.rules or found.rules[name].deprecated
            continue
        assert found.rules[name].since == since
    assert max(rule.since for rule in found.rules.values()) <= opset
    lines = [line for line in gk.text(found).splitlines() if not line.startswith(" ")]  # long ones go on below
    assert max(map(len, gk.text(found).splitlines())) <= 80
    assert len(lines) == 2 + len(found.rules)


# R34
def test_the_meaning_of_inputs_and_attributes_stands_in_the_text():
    text = " ".join(gk.text(gk.operator("Resize", 11)).split())
    assert "The scale array along each dimension" in text
    assert "The coefficient 'a' used in cubic interpolation" in text
    assert "<br" not in text
    rule = gk.operator("BitShift").rule
    assert all(value.doc for value in (*rule.inputs, *rule.outputs, *rule.attributes))


def test_the_command_lists_the_rules_in_force(capsys):
    from graphkit_cli.main import main

    assert main(["ops", "--opset", "11"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (resize,) = [line.split() for line in lines if line.startswith("Resize ")]
    assert resize[1] == "11"
    assert {"X,", "roi,", "scales,", "sizes?"} <= set(resize)
    assert not any(line.startswith("GridSample ") for line in lines)
