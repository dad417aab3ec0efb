"""Recipes: what they do, what they refuse, and where they say the fault stands."""

import functools
import json

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.recipe.positions import read_toml

PATCH = """\
[vars]
size = 8
name = "picture"

[[step]]
do = "rename"
values = { image = "${name}" }

[[step]]
do = "dims"
values = { "${name}:0" = "N" }
repair_shapes = true

[[step]]
expect = { inputs = ["${name}"], dims = { "${name}:0" = "N", "y:2" = "${size}" }, no_op = "Upsample", has_op = ["Conv"] }

[[step]]
expect = { opset = ">=17", nodes = "<=3", weights = "<1KB", runs = true, same_as = "original", proved = true }
"""


def test_a_recipe_does_its_steps_in_order_and_the_result_computes_the_same(net, write):
    made = gk.Recipe.load(write(PATCH)).apply(net, name="picture")
    x = np.random.default_rng(1).standard_normal((1, 3, 4, 4), dtype=np.float32)
    np.testing.assert_array_equal(gk.run(made, {"picture": x})["y"], gk.run(net, {"image": x})["y"])
    assert [step.operation for step in made.history] == ["rename", "dims"]
    assert gk.run(made, {"picture": np.concatenate([x, x])})["y"].shape == (2, 2, 8, 8)


def test_a_recipe_in_python_is_a_list_of_calls(net):
    calls = [
        functools.partial(gk.rename, values={"image": "x"}),
        functools.partial(gk.set_parts, metadata={"who": "me"}),
        {"do": "dims", "values": {"x:0": "N"}},
        {"expect": {"inputs": {"x": "float32[N,3,4,4]"}}},
    ]
    made = gk.Recipe(calls).apply(net)
    assert [step.operation for step in made.history] == ["rename", "set_parts", "dims"]


def test_every_fault_is_told_at_once_with_line_column_and_a_suggestion(write):
    path = write("""\
[vars]
size = 8
[[step]]
do = "renam"
values = { a = "b" }

[[step]]
do = "dims"
valuse = { "x:0" = "N" }
strict = "yes"

[[step]]
[step.expect]
inptus = ["x"]
has_op = 3
[[step]]
do = "opset"
to = "${sise}"
[[stepp]]
""")
    with pytest.raises(gk.RecipeError) as caught:
        gk.Recipe.load(path)
    faults = caught.value.faults
    text = "\n".join(faults)
    assert f"{path}:4:1: there is no operation 'renam': did you mean 'rename'?" in text
    assert f"{path}:9:1: there is no key 'valuse' here: did you mean 'values'" in text
    assert f"{path}:10:1: true or false is wanted, not 'yes'" in text
    assert f"{path}:7:1: 'values' is missing" in text
    assert f"{path}:14:1: there is no key 'inptus' here: did you mean 'inputs'" in text
    assert f"{path}:15:1: a text or a list of texts is wanted, not 3" in text
    assert f"{path}:18:1: there is no variable 'sise': did you mean 'size'?" in text
    assert f"{path}:19:1: there is no key 'stepp' here: did you mean 'step'?" in text
    assert len(faults) == 8


def test_text_that_is_no_toml_is_told_with_its_place(write):
    with pytest.raises(gk.RecipeError, match=r"recipe\.toml:2:8: "):
        gk.Recipe.load(write("[vars]\nsize = = 3\n"))


def test_places_are_found_in_every_form_that_toml_has():
    text = (
        '# c\na.b = 1\n["q k"]\nx = """t\n#"""\n[[s]]\nd = { e = [1, { f = 2 }], "g h" = \'#\' }\n'
        "[[s]]\nd = 1979-05-27 07:32:00\n  [s.t]\n  u = [\n    1,  # one\n    2,\n  ]\n"
    )
    document, places = read_toml(text, "f")
    assert document["s"][1]["t"]["u"] == [1, 2]
    assert places["a", "b"] == (2, 1)
    assert places["q k", "x"] == (4, 1)
    assert places["s", 0, "d", "e", 1, "f"] == (7, 17)
    assert places["s", 0, "d", "g h"] == (7, 27)
    assert places["s", 1, "t"] == (10, 3)
    assert places["s", 1, "t", "u", 1] == (13, 5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[vars]\nn = { type = "integer" }\n[[step]]\ndo = "opset"\nto = "${n}"\n', "the variable 'n' has no value"),
        ('[vars]\nn = 3\n[[step]]\ndo = "opset"\nto = "${n}"\n', "the recipe has no variable 'm'"),
    ],
)
def test_variables_have_values_and_names(net, write, text, said):
    recipe = gk.Recipe.load(write(text))
    given = {"m": 1} if "'m'" in said else {}
    with pytest.raises(gk.RecipeError, match=said):
        recipe.apply(net, **given)


def test_a_variable_keeps_its_type(net, write):
    recipe = gk.Recipe.load(write('[vars]\nto = { type = "integer" }\n[[step]]\ndo = "opset"\nto = "${to}"\n'))
    assert recipe.apply(net, to=20).proto.opset_import[0].version == 20
    assert recipe.given({"to": "20"}) == {"to": 20}
    with pytest.raises(gk.TextError, match="of the type integer"):
        recipe.given({"to": "twenty"})
    with pytest.raises(gk.RecipeError, match="of the type integer"):
        recipe.apply(net, to="20")
    with pytest.raises(gk.NameNotFoundError, match="no variable 'tow'"):
        recipe.given({"tow": "20"})


def test_a_step_that_finds_nothing_to_do_is_an_error_unless_it_is_optional(net, write):
    step = '[[step]]\ndo = "rename"\nregex = { "^nobody" = "x" }\n'
    with pytest.raises(gk.NothingFoundError, match="no value and no node"):
        gk.Recipe.load(write(step)).apply(net)
    applied = gk.Recipe.load(write(step + "optional = true\n")).run(net)
    assert [did.state for did in applied.steps] == ["nothing to do"]
    idle = '[[step]]\ndo = "deduplicate"\n'
    with pytest.raises(gk.NothingFoundError, match=r"recipe\.toml:1:1: deduplicate finds nothing to do"):
        gk.Recipe.load(write(idle)).apply(net)
    applied = gk.Recipe.load(write(idle + "optional = true\n")).run(net)
    assert applied.model.history == ()


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        ('inputs = ["x"]', "its inputs are ['image'], not ['x']"),
        ('inputs = { image = "float32[1,3,4,5]" }', "'image' is float32[1,3,4,4], not float32[1,3,4,5]"),
        ('dims = { "image:2" = 5 }', "image:2 is 4, not 5"),
        ('dims = { "image:9" = 5 }', "there is no axis 'image:9'"),
        ("opset = 17", "the opset of ai.onnx is 18, not 17"),
        ('opset = ">18"', "the opset of ai.onnx is 18, not >18"),
        ('has_op = "Gelu"', "it has no Gelu"),
        ('no_op = ["Relu"]', "it has Relu"),
        ("nodes = 2", "it has 3 nodes, not 2"),
        ('weights = ">1KB"', "its weights take 48 bytes, not >1KB"),
        ('producer = "paddle"', "it was written by pytorch, not paddle"),
        ('device = "cuda"', "it does not run on cuda"),
        ('same_as = "other.onnx"', "it does not compute what other.onnx computes: 'y' differs"),
        ("faster_than = 0.0", "not 0.0 s at most"),
        ("runs = false", "it runs"),
    ],
)
def test_an_expectation_that_does_not_hold_says_what_is_there(net, write, tmp_path, expect, said):
    if "cuda" in expect and "CUDAExecutionProvider" in __import__("onnxruntime").get_available_providers():
        pytest.skip("CUDA is there")
    other = onnx.load(net)
    other.graph.node[1].op_type = "Neg"
    onnx.save(other, tmp_path / "other.onnx")
    recipe = gk.Recipe.load(write(f"[[step]]\nexpect = {{ {expect} }}\n"))
    with pytest.raises(gk.ExpectationError) as caught:
        recipe.apply(net)
    assert said in str(caught.value)
    assert "recipe.toml:1:1" in str(caught.value)


def test_what_no_step_changed_needs_no_proof(net, write):
    text = '[[step]]\nexpect = { proved = true }\n[[step]]\ndo = "rename"\nvalues = { nobody = "x" }\noptional = true\n'
    applied = gk.Recipe.load(write(text + "[[step]]\nexpect = { proved = true, runs = true }\n")).run(net)
    assert [did.state for did in applied.steps] == ["done", "nothing to do", "done"]
    assert not applied.changed


def test_what_an_expectation_cannot_ask_says_its_place(net, write):
    with pytest.raises(gk.ModelFileError, match=r"recipe\.toml:1:1: expect: cannot read .*nowhere\.onnx"):
        gk.Recipe.load(write('[[step]]\nexpect = { same_as = "nowhere.onnx" }\n')).apply(net)


def test_expectations_that_nothing_can_meet_are_faults_told_in_the_order_of_the_lines(write):
    text = """[[step]]
expect = { same_as = "original", rtol = -1, samples = 0 }
[[step]]
expect = {}
[[step]]
expect = { nodes = "many", dims = { image = 3 }, rns = true, faster_than = -1.0 }
[more]
"""
    with pytest.raises(gk.RecipeError) as caught:
        gk.Recipe.load(write(text))
    said = [fault.partition("recipe.toml:")[2] for fault in caught.value.faults]
    assert said == [
        "2:34: 0 or more is wanted, not -1",
        "2:45: 1 or more is wanted, not 0",
        "4:1: nothing is named here: there are " + said[2].partition("there are ")[2],
        "6:12: 'many' is no bound: write 12, '<=100' or '>=17'",
        "6:37: 'image' names no axis: write NAME:AXIS, such as 'image:0'",
        "6:50: there is no key 'rns' here: did you mean 'runs'?",
        "6:62: 0 or more is wanted, not -1.0",
        "7:1: there is no key 'more' here: there are vars, include, step",
    ]


def test_every_variable_of_a_wrong_type_is_named(write):
    text = '[vars]\nsize = 3\nfast = true\nname = "a"\n[[step]]\ndo = "opset"\nto = "${size}"\n'
    with pytest.raises(
        gk.TextError, match=r"'size' is of the type integer.*; .*'fast' is of the type boolean.*true or false"
    ):
        gk.Recipe.load(write(text)).given({"size": "2.5", "fast": "yes", "name": "4"})


def test_the_original_is_followed_through_renames_new_outputs_and_another_order(net, write):
    steps = [
        {"do": "rename", "values": {"image": "x", "y": "out"}},
        {"do": "tap", "names": ["c"]},
        {"do": "reorder", "outputs": ["c", "out"]},
        {"do": "rename", "prefix": "p/"},
        {"expect": {"same_as": "original"}},
    ]
    assert [v.name for v in gk.Recipe(steps).apply(net).outputs] == ["c", "out"]
    swapped = [{"do": "tap", "names": ["c"], "replace": True}, {"expect": {"same_as": "original"}}]
    with pytest.raises(gk.ExpectationError, match="the original's output 'y' is gone"):
        gk.Recipe(swapped).apply(net)


def test_what_is_wrong_by_a_little_is_the_same_within_the_tolerance_that_is_given(net, write, tmp_path):
    other = onnx.load(net)
    bias = next(t for t in other.graph.initializer if t.name == "b")
    bias.CopyFrom(onnx.numpy_helper.from_array(np.float32([0.501, -0.499]), "b"))
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(gk.ExpectationError):
        gk.Recipe.load(write('[[step]]\nexpect = { same_as = "other.onnx" }\n')).apply(net)
    gk.Recipe.load(write('[[step]]\nexpect = { same_as = "other.onnx", atol = 0.01 }\n')).apply(net)


def test_a_step_is_left_out_where_its_conditions_do_not_hold(net, write):
    recipe = gk.Recipe.load(
        write(
            '[[step]]\ndo = "opset"\nto = 20\nwhen = { opset = "<18" }\n'
            '[[step]]\ndo = "opset"\nto = 19\nwhen = { producer = "pytorch", has_op = "Conv" }\n'
        )
    )
    applied = recipe.run(net)
    assert [did.state for did in applied.steps] == ["left out", "done"]
    assert applied.model.proto.opset_import[0].version == 19


def test_a_recipe_includes_others_and_hands_variables_on(net, write, tmp_path):
    (tmp_path / "parts").mkdir()
    write('[vars]\nto = 17\n[[step]]\ndo = "opset"\nto = "${to}"\n', "parts/raise.toml")
    recipe = write(
        'include = "parts/raise.toml"\n[vars]\ngoal = 20\n'
        '[[step]]\ninclude = "parts/raise.toml"\nvars = { to = "${goal}" }\n'
    )
    applied = gk.Recipe.load(recipe).run(net)
    assert [step.arguments for step in applied.model.history] == [{"to": 17}, {"to": 20}]


def test_the_condition_of_an_include_is_asked_once(net, write):
    write('[[step]]\ndo = "opset"\nto = 20\n[[step]]\ndo = "rename"\nvalues = { image = "x" }\n', "more.toml")
    recipe = write('[[step]]\ninclude = "more.toml"\nwhen = { opset = 18 }\n')
    assert [did.state for did in gk.Recipe.load(recipe).run(net).steps] == ["done", "done"]
    again = write('[[step]]\ninclude = "more.toml"\nwhen = { opset = 17 }\n')
    assert [did.state for did in gk.Recipe.load(again).run(net).steps] == ["left out", "left out"]


def test_a_recipe_that_includes_itself_is_refused_with_the_circle(write):
    write('include = ["a.toml"]\n', "b.toml")
    path = write('[vars]\nx = 1\n[[step]]\ninclude = "b.toml"\n', "a.toml")
    with pytest.raises(
        gk.RecipeError, match=r"b\.toml:1:12: the recipe includes itself: a\.toml -> b\.toml -> a\.toml"
    ):
        gk.Recipe.load(path)


def test_faults_of_an_included_recipe_are_told_with_its_own_places(write):
    write('[[step]]\ndo = "opset"\nto = true\n', "b.toml")
    with pytest.raises(gk.RecipeError, match=r"b\.toml:3:1: an integer is wanted, not True"):
        gk.Recipe.load(write('include = "b.toml"\n[[step]]\ndo = "deduplicate"\n'))
    with pytest.raises(gk.RecipeError, match=r"recipe\.toml:1:1: .*none\.toml' cannot be read: No such file"):
        gk.Recipe.load(write('include = "none.toml"\n'))


def test_a_recipe_begins_with_merge_and_ends_with_split(net, write, tmp_path):
    recipe = write(
        '[[step]]\ndo = "merge"\nmodels = { tail = "tail.onnx" }\nconnect = { "net:y" = "tail:t" }\n'
        '[[step]]\nexpect = { inputs = ["image"], outputs = ["z"], runs = true }\n'
        '[[step]]\ndo = "split"\nat = ["r"]\n'
    )
    tail = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 18]> tail (float[1,2,8,8] t) => (float[1,2,8,8] z) { z = Neg(t) }'
    )
    onnx.save(tail, tmp_path / "tail.onnx")
    parts = gk.Recipe.load(recipe).apply(net)
    assert [stage.outputs for stage in parts.stages] == [("r",), ("z",)]
    x = np.random.default_rng(1).standard_normal((1, 3, 4, 4), dtype=np.float32)
    parts.save(tmp_path / "parts")
    np.testing.assert_array_equal(gk.run(str(tmp_path / "parts"), {"image": x})["z"], -gk.run(net, {"image": x})["y"])


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ('do = "split"\nstages = 2\n[[step]]\ndo = "deduplicate"\n', "split is the last step"),
        ('do = "deduplicate"\n[[step]]\ndo = "merge"\n', "merge is the first thing"),
        ('do = "opset"\nexpect = { runs = true }\nto = 3\n', "both do and expect"),
        ("optional = true\n", "neither do nor expect nor include"),
        ('expect = { nodes = "few" }\n', "2:12: 'few' is no bound"),
        ('do = "opset"\nto = 3\nwhen = { opset = ">x" }\n', "4:10: '>x' is no bound"),
        ('do = "freeze"\nvalues = { x = { "$foo" = 3 } }\n', "3:1: an argument is written as '.foo'"),
        ("expct = { runs = true }\n", "did you mean 'expect'"),
    ],
)
def test_steps_in_the_wrong_place_or_without_a_meaning_are_refused(write, steps, said):
    with pytest.raises(gk.RecipeError, match=said):
        gk.Recipe.load(write(f"[[step]]\n{steps}"))


def test_a_file_without_steps_is_no_recipe_and_a_mark_at_its_beginning_is_no_fault(net, write):
    with pytest.raises(gk.RecipeError, match=r"there is no \[\[step\]\]"):
        gk.Recipe.load(write("# nothing\n"))
    made = gk.Recipe.load(write('\ufeff[[step]]\ndo = "opset"\nto = 19\n')).apply(net)
    assert made.proto.opset_import[0].version == 19


def test_several_models_are_for_recipes_that_merge(net, write):
    recipe = gk.Recipe.load(write('[[step]]\ndo = "opset"\nto = 20\n'))
    with pytest.raises(gk.GraphkitError, match="takes one model"):
        recipe.apply([net, net])


def test_files_that_a_step_names_lie_beside_the_recipe(net, tmp_path, write, monkeypatch):
    folder = tmp_path / "recipes"
    folder.mkdir()
    np.save(folder / "b.npy", np.float32([3, 4]))
    recipe = write('[[step]]\ndo = "set"\ntensors = { b = "@b.npy" }\n', "recipes/set.toml")
    monkeypatch.chdir(tmp_path)
    made = gk.Recipe.load(recipe).apply(net)
    np.testing.assert_array_equal(made.array("b"), [3, 4])


def test_an_operation_that_has_nothing_to_work_on_is_optional_and_what_fails_says_its_place(write):
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) { y = Neg(x) }'
    model = onnx.parser.parse_model(text)
    for to in ("int8-weights", "int8-dynamic"):
        with pytest.raises(gk.NothingFoundError, match=r"^step 1: precision: the model has no"):
            gk.Recipe([{"do": "precision", "to": to}]).apply(model)
        assert gk.Recipe([{"do": "precision", "to": to, "optional": True}]).apply(model).history == ()
    path = write('[[step]]\ndo = "remove"\nnodes = ["nobody"]\n')
    with pytest.raises(gk.NameNotFoundError) as caught:
        gk.Recipe.load(path).apply(model)
    assert caught.value.message.startswith(f"{path}:1:1: remove: ")


def test_places_name_what_stands_there(net, write):
    recipe = gk.Recipe.load(
        write(
            '[[step]]\ndo = "rename"\nvalues = { "@input[0]" = "x", "@output[-1]" = "out", "@operand(Conv)[0:1]" = "kernel" }\n'
            'nodes = { "@node(Relu)[0]" = "first" }\n[[step]]\ndo = "tap"\nnames = ["@value(Conv)[0]"]\n'
        )
    )
    made = recipe.apply(net)
    assert [value.name for value in made.outputs] == ["out", "c"]
    assert [value.name for value in made.inputs] == ["x"]
    assert made.array("kernel").shape == (2, 3, 1, 1)
    assert made.nodes[1].name == "first"
    with pytest.raises(gk.NameNotFoundError, match=r"no @node\(Relu\)\[1\]"):
        gk.Recipe([{"do": "remove", "nodes": ["@node(Relu)[1]"]}]).apply(net)


def test_the_schema_knows_every_operation_and_is_json():
    schema = json.loads(json.dumps(gk.recipe_schema()))
    steps = schema["properties"]["step"]["items"]["anyOf"]
    names = {step["properties"]["do"]["const"] for step in steps if "do" in step["properties"]}
    assert {"rename", "dims", "set", "merge", "split", "opset", "freeze"} <= names
    rename = next(step for step in steps if step["properties"].get("do", {}).get("const") == "rename")
    assert {"type": "object", "additionalProperties": {"type": "string"}} in rename["properties"]["values"]["anyOf"]
    assert rename["additionalProperties"] is False


def test_the_digest_sees_the_bytes_of_the_files_that_a_step_names(write, tmp_path):
    recipe = gk.Recipe.load(write('[[step]]\ndo = "set"\ntensors = { b = "@b.npy" }\n'))
    seen = {recipe.digest()}
    for value in (1, 2):
        np.save(tmp_path / "b.npy", np.float32([value]))
        seen.add(recipe.digest())
    assert len(seen) == 3


def test_two_recipes_that_do_the_same_have_one_digest(write):
    first = gk.Recipe.load(write('[vars]\nn = 3\n[[step]]\ndo = "opset"\nto = "${n}"\n'))
    second = gk.Recipe.load(write('# other text\n[[step]]\nto = 3\ndo = "opset"\n', "other.toml"))
    assert first.digest() == second.digest() != first.digest({"n": 4})
