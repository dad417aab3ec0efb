"""--prove on every command that writes, where the operation has a fault: the law sees it, and nothing is left behind.

The fault is in the operation itself, so that the replay has it too and gives the same bytes: a Relu became an Abs.
"""

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit import operation
from graphkit.graph import walk
from graphkit.surgery import merge

HEAD = '<ir_version: 10, opset_import: ["" : 18, "mine" : 1]>'
PLAIN = f"""{HEAD} g (float[2, 32] x, float[2, 32] u) => (float[2, 16] y, float[2, 16] z) {{
    [first] h = Relu(x) [add] a = Add(h, u) [mm] m = MatMul(a, w) [bias] y = Add(m, b)
    ["/mod/Neg"] n = Neg(y) ["/mod/Tanh"] z = Tanh(n) }}"""
PICTURE = f"""{HEAD} g (float[1, 3, 4, 4] x) => (float[1, 3, 8, 8] y) <float[4] s = {{1, 1, 2, 2}}> {{
    h = Relu(x) [up] r = Resize<mode = "linear">(h, , s) y = Neg(r) }}"""
SILU = f"{HEAD} g (float[2, 4] x) => (float[2, 4] y) {{ h = Relu(x) s = Sigmoid(h) y = Mul(h, s) }}"
BODY = '<domain: "mine", opset_import: ["" : 18]> Twice (a, b) => (c) { d = Add(a, a) c = Sub(d, b) }'
CUSTOM = f"{HEAD} g (float[2, 4] x) => (float[2, 4] y) {{ h = Relu(x) y = mine.Twice(h, x) }}"
NETS = {"plain": PLAIN, "picture": PICTURE, "silu": SILU, "custom": CUSTOM, "called": CUSTOM + BODY}

EDITS = {
    "promote": ("plain", "promote", "--tensor", "w"),
    "freeze": ("plain", "freeze", "--set", "u=0.5"),
    "resize": ("picture", "resize"),
    "layout": ("picture", "layout", "--io", "x=NHWC"),
    "image": ("picture", "image", "--input", "x", "--from", "uint8", "--mean", "0.5"),
    "retype": ("plain", "retype", "--io", "x=float16"),
    "inline": ("called", "inline"),
    "outline": ("plain", "outline", "--module", "mod"),
    "define": ("custom", "define", "--function", BODY),
    "rewrite": ("silu", "rewrite", "--rule", "silu"),
    "simplify": ("plain", "simplify"),
    **{
        f"precision {to}": ("plain", "precision", "--to", to)
        for to in ("float16", "bfloat16", "int8", "int8-dynamic", "int8-weights", "int4-weights")
    },
    "opset": ("plain", "opset", "--to", "20"),
    "dims": ("plain", "dims", "--set", "x:0=n", "--set", "u:0=n"),
    "insert": ("plain", "insert", "--at", "m", "--function", "sigmoid"),
    "remove": ("plain", "remove", "--node", "bias"),
    "replace": ("plain", "replace", "--node", "bias", "--function", "(p, r) => (q) { q = Sum(p, r) }"),
    "set": ("plain", "set", "--tensor", "b=0.5"),
    "set metadata": ("plain", "set", "--metadata", "by=me"),
    "strip": ("plain", "set", "--strip-weights"),
    "reorder": ("plain", "reorder", "--input", "u"),
    "deduplicate": ("plain", "deduplicate"),
    "tap": ("plain", "tap", "--value", "m"),
    "extract": ("plain", "extract", "--output", "m"),
    "rename": ("plain", "rename", "--value", "x=image"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with nets, and with what was there under the names that are written."""
    random = np.random.default_rng(0)
    for name, text in NETS.items():
        model = onnx.parser.parse_model(text)
        if name == "plain":
            weights = {"w": random.standard_normal((32, 16)), "b": random.standard_normal(16)}
            tensors = (onnx.numpy_helper.from_array(array.astype(np.float32), key) for key, array in weights.items())
            model.graph.initializer.extend(tensors)
        onnx.save(model, tmp_path / f"{name}.onnx")
    for name in ("out.onnx", "weights.bin"):
        (tmp_path / name).write_bytes(b"mine")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fault(monkeypatch):
    """The fault: whatever passes the gate behind an operation has an Abs in the place of a Relu."""
    right = operation.passed

    def wrong(after, before, **options):
        made = right(after, before, **options)
        for node in walk.model_nodes(made.proto):
            node.op_type = {"Relu": "Abs"}.get(node.op_type, node.op_type)
        return made

    for module in (operation, merge):
        monkeypatch.setattr(module, "passed", wrong)


def everything(folder):
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def refused(ran, step):
    code, out, err = ran
    assert code == 1, out + err
    assert f"{step} (" in out
    assert ": NO" in out
    assert "the first value that differs: 'h'" in out
    assert "does the replay give these bytes? yes" in out or step == "split"


@pytest.mark.usefixtures("fault")
@pytest.mark.parametrize("edit", EDITS)
def test_a_fault_of_the_operation_is_named_and_nothing_is_left(graphkit, folder, edit):
    net, command, *options = EDITS[edit]
    before = everything(folder)
    step = "set_parts" if command == "set" else command
    refused(
        graphkit(command, f"{net}.onnx", "out.onnx", *options, "--external", "weights.bin", "--no-history", "--prove"),
        step,
    )
    assert everything(folder) == before


@pytest.mark.usefixtures("fault")
def test_a_fault_of_split_and_merge_is_named_and_nothing_is_left(graphkit, folder):
    before = everything(folder)
    refused(graphkit("split", "plain.onnx", "parts", "--stages", 2, "--external", "--prove"), "split")
    refused(graphkit("merge", "out.onnx", "silu.onnx", "plain.onnx", "--replace", "--prove"), "merge")
    assert everything(folder) == before


RECIPES = {
    "step": ('[[step]]\ndo = "rename"\nvalues = { x = "image" }\n', ["plain.onnx"], "out.onnx", "rename"),
    "second step": (
        '[[step]]\ndo = "rename"\nvalues = { "u" = "v" }\n[[step]]\ndo = "tap"\nnames = ["m"]\n',
        ["plain.onnx"],
        "out.onnx",
        "rename",
    ),
    "merge": ('[[step]]\ndo = "merge"\n', ["silu.onnx", "plain.onnx"], "out.onnx", "merge"),
    "split": ('[[step]]\ndo = "split"\nstages = 2\n', ["plain.onnx"], "parts", "split"),
}


@pytest.mark.usefixtures("fault")
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_fault_in_a_recipe_is_named_and_nothing_is_left(graphkit, folder, recipe, dry):
    text, models, out, step = RECIPES[recipe]
    (folder / "recipe.toml").write_text(text)
    before = everything(folder)
    refused(graphkit("apply", "recipe.toml", *models, "--out", out, "--prove", *dry), step)
    assert everything(folder) == before


@pytest.mark.usefixtures("fault")
@pytest.mark.parametrize("recipe", ["step", "split"])
def test_a_fault_in_a_fleets_work_is_told_and_nothing_is_left(folder, recipe):
    text, (model,), out, step = RECIPES[recipe]
    (folder / "recipe.toml").write_text(text)
    before = everything(folder)
    answer = gk.Applying(gk.Recipe.load("recipe.toml"), prove=True)(gk.Job(model, out))
    assert (answer.answer, answer.out) == (False, None)
    assert "broken, so nothing was written" in answer.said
    assert [law.steps for law in answer.result["proof"].laws] == [(step,)]
    assert everything(folder) == before


@pytest.mark.usefixtures("fault")
def test_a_recipe_that_expects_a_proof_says_which_step_is_wrong(graphkit, folder):
    text = RECIPES["step"][0] + "[[step]]\nexpect = { proved = true }\n"
    (folder / "recipe.toml").write_text(text)
    before = everything(folder)
    code, out, err = graphkit("apply", "recipe.toml", "plain.onnx", "--out", "out.onnx")
    assert code == 1, out + err
    assert "rename (same): output" in out + err
    assert "the first value that differs: 'h'" in out + err
    (folder / "recipe.toml").write_text(RECIPES["merge"][0] + "[[step]]\nexpect = { proved = true }\n")
    before = everything(folder)
    code, out, err = graphkit("apply", "recipe.toml", "silu.onnx", "plain.onnx", "--out", "out.onnx")
    assert (code, "merge (joined): output" in out + err) == (1, True), out + err
    assert everything(folder) == before
