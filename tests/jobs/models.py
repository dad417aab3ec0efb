"""Jobs 104 to 134: models together and apart; order, text, metadata; looking, comparing, hunting."""

import json

import numpy as np
import onnx

import graphkit as gk
from jobs.job import Job, Look, Out
from jobs.nodes import drawn, ops
from onnx_text import parse
from oracle import assert_same, run_ort

AXB = "g (float[2,3] x) => (float[2,3] y) { h = Neg(x) y = Exp(h) }"
X = {"x": drawn(2, 3)}


def joined():
    first = parse("a (float[2,3] x) => (float[2,3] h) { h = Neg(x) }")
    second = parse("b (float[2,3] h, float[2,3] k) => (float[2,3] y) { y = Add(h, k) }")
    model = gk.merge({"A": first, "B": second}, connect=["A:h=B:h"])
    k = drawn(2, 3)
    assert_same(run_ort(model, {**X, "k": k}), {"y": -X["x"] + k})
    shared = gk.merge({"A": first, "B": first}, connect=["A:x=B:x"])
    assert_same(run_ort(shared, X), {"h": -X["x"], "B/h": -X["x"]})


def in_stages(tmp_path):
    model = parse(AXB)
    gk.split(model, at=["h"]).save(tmp_path / "parts")
    plan = json.loads((tmp_path / "parts/stages.json").read_text())
    assert [stage["file"] for stage in plan["stages"]] == ["stage0.onnx", "stage1.onnx"]
    assert_same(gk.run(str(tmp_path / "parts"), X), run_ort(model, X))


def at_what_a_target_lacks():
    model = parse("g (float[2,3] x) => (float[2,3] y) { a = Neg(x) [odd] d = Bernoulli(a) y = Exp(d) }")
    names = [violation.node for violation in gk.lint(model).violations]
    assert names == ["odd"]
    index = next(place for place, node in enumerate(model.graph.node) if node.name == names[0])
    before, odd = model.graph.node[index].input[0], model.graph.node[index].output[0]
    parts = gk.split(model, at=[before, odd])
    assert [[node.op_type for node in part.nodes] for part in parts.models] == [["Neg"], ["Bernoulli"], ["Exp"]]
    assert not any(gk.lint(part).violations for part in (parts.models[0], parts.models[2]))
    assert_same(run_ort(parts.models[0], X), {"a": -X["x"]})


CALLED = '<domain: "my", opset_import: ["" : 18]> Twice (a) => (b) { b = Add(a, a) }'


def with_modules():
    model = parse("g (float[2,3] x) => (float[2,3] y) { a = Neg(x) b = Exp(a) y = Abs(b) }")
    for node in model.graph.node[:2]:
        node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'block', 'node']")
        node.metadata_props.add(key="pkg.torch.onnx.class_hierarchy", value="['Net', 'Block', 'aten.neg']")
    return model


def a_function(trial):
    assert [function.name for function in trial.after.proto.functions] == ["block"]
    assert trial.ops == ["block", "Abs"]
    trial.same()


def keys_and_values():
    encoder = parse("e (float[2,4] x) => (float[2,4] h) { a = MatMul(x, w) h = Tanh(a) }", w=drawn(4, 4))
    heads = parse(
        "d (float[2,4] h) => (float[2,4] k, float[2,4] v) { k = MatMul(h, wk) v = MatMul(h, wv) }",
        wk=drawn(4, 4),
        wv=drawn(4, 4),
    )
    whole = gk.tap(gk.merge({"encoder": encoder, "cross": heads}, connect=["encoder:h=cross:h"]), "h")
    x = drawn(2, 4)
    now = run_ort(whole, {"x": x})
    was = run_ort(encoder, {"x": x})
    assert_same({"h": now["h"]}, was)
    assert_same({name: now[name] for name in ("k", "v")}, run_ort(heads, was))


def upgraded(trial):
    assert [(entry.domain, entry.version) for entry in trial.after.proto.opset_import] == [("", 18)]
    trial.same()


def documented():
    model = parse(AXB)
    model.doc_string = "secret"
    model.graph.node[0].doc_string = "secret"
    model.metadata_props.add(key="author", value="secret")
    return model


def nothing_told(trial):
    bare = onnx.ModelProto()
    bare.CopyFrom(trial.after.proto)
    for place in range(len(bare.metadata_props) - 1, -1, -1):
        if bare.metadata_props[place].key.startswith("graphkit."):
            del bare.metadata_props[place]
    assert b"secret" not in bare.SerializeToString()
    trial.same()


def told(trial):
    assert {entry.key: entry.value for entry in trial.after.proto.metadata_props}["author"] == "me"
    trial.same()


def from_a_file(tmp_path):
    recipe = tmp_path / "edits.toml"
    recipe.write_text(
        '[[step]]\ndo = "rename"\nvalues = { x = "image" }\n\n[[step]]\nexpect = { inputs = ["image"], same_as = "original" }\n'
    )
    model = gk.Recipe.load(recipe).apply(parse(AXB))
    assert_same(run_ort(model, {"image": X["x"]}), run_ort(parse(AXB), X))


def one_file_and_two(tmp_path):
    model = parse("g (float[2,3] x) => (float[2,300] y) { y = MatMul(x, w) }", w=drawn(3, 300))
    two, one = tmp_path / "two.onnx", tmp_path / "one.onnx"
    gk.save(model, two, external="two.data")
    assert (tmp_path / "two.data").stat().st_size >= 3600 > two.stat().st_size
    gk.save(two, one)
    assert one.stat().st_size > 3600
    for path in (one, two):
        assert_same(run_ort(path, X), run_ort(model, X))


def text_and_back(tmp_path):
    for name in ("model.onnxtxt", "model.json"):
        gk.save(parse(AXB), tmp_path / name)
        assert "Neg" in (tmp_path / name).read_text()
        assert_same(run_ort(gk.load(tmp_path / name), X), run_ort(parse(AXB), X))


def looked_at():
    found = gk.inspect(parse(AXB))
    assert [value.type for value in (*found.inputs, *found.outputs)] == ["float32[2,3]"] * 2
    assert dict(found.operators) == {"Neg": 1, "Exp": 1}


def drawn_as_a_page(tmp_path):
    page = tmp_path / "net.html"
    page.write_text(str(gk.report_html(gk.view(parse(AXB)))))
    assert "<html" in page.read_text()
    assert "Exp" in page.read_text()


def who_makes_it():
    value = gk.look_up_value(parse(AXB), "h")
    assert "Neg" in str(value.producer)
    assert ["Exp" in reader for reader in value.readers] == [True]
    assert gk.find(parse(AXB), "h")


def numbers_of_a_weight():
    numbers = gk.look_up_value(parse("g (float[2] x) => (float[2] y) { y = Add(x, w) }", w=[1, 3]), "w").statistics
    assert numbers is not None
    assert (numbers.min, numbers.max, numbers.mean, numbers.std) == (1, 3, 2, 1)


def node_by_node():
    before, after = parse(AXB), parse(AXB.replace("Exp", "Abs"))
    assert gk.diff(before, before)
    difference = gk.diff(before, after)
    assert not difference
    assert any(
        "Exp" in str(change) or "Abs" in str(change)
        for change in (*difference.changed, *difference.removed, *difference.added)
    )


def both_sides():
    assert gk.validate(parse(AXB), against=parse(AXB))
    wrong = parse(AXB.replace("Neg", "Abs"))
    assert not gk.validate(wrong, against=parse(AXB))
    assert gk.bisect(wrong, against=parse(AXB)).first.value == "h"


def whether_it_is_valid():
    assert gk.check(parse(AXB))
    broken = parse(AXB)
    broken.graph.node[1].input[0] = "nobody"
    assert not gk.check(broken)


def other_tolerances(tmp_path):
    near = parse("g (float[2,3] x) => (float[2,3] y) { a = Neg(x) h = Mul(a, k) y = Exp(h) }", k=[1.001])
    assert not gk.validate(near, against=parse(AXB), save=tmp_path / "old.npz")
    assert not gk.validate_saved(tmp_path / "old.npz")
    assert gk.validate_saved(tmp_path / "old.npz", rtol=0.1)


def feeds_in_files(tmp_path):
    gk.save_arrays(X, tmp_path / "one.npz")
    assert_same(gk.run(parse(AXB), {"x": f"@{tmp_path / 'one.npz'}:x"}), run_ort(parse(AXB), X))
    joined = {**dict(np.load(tmp_path / "one.npz")), "z": drawn(3)}
    gk.save_arrays(joined, tmp_path / "both.npz")
    assert sorted(np.load(tmp_path / "both.npz")) == ["x", "z"]


def what_a_target_takes():
    assert gk.lint(parse(AXB))
    assert not gk.lint(parse("g (float[2,3] x) => (float[2,3] y) { y = Bernoulli(x) }"))


def run_and_timed():
    assert_same(gk.run(parse(AXB), X), run_ort(parse(AXB), X))
    timed = gk.bench(parse(AXB), runs=2, memory=False, optimizations=["all"])
    assert [timing.runs for timing in timed.timings] == [2]


def smallest():
    found = gk.reduce_model(parse(AXB), "sh -c '! grep -q Exp {}'")
    assert (found.nodes, found.inputs, found.outputs) == (("Exp 'y'",), ("h",), ("y",))


JOBS = [
    Look(104, "outputs of one model into inputs of the next", joined),
    Out(
        105,
        "a decoder and the same with past under one If",
        "two models with weights of their own under one flag: optimum's merged decoders are its own format; merge joins models "
        "that run one after the other or side by side",
    ),
    Look(106, "stages by module, marks, sizes", in_stages),
    Look(107, "a cut where a target cannot", at_what_a_target_lacks),
    Job(
        108,
        "calls of functions become nodes",
        "g (float[2,3] x) => (float[2,3] y) { y = my.Twice(x) }",
        [{"do": "inline"}],
        ops("Add"),
        imports='"my" : 1',
        functions=CALLED,
    ),
    Job(
        109, "nodes of a module become a function", with_modules, [{"do": "outline", "modules": ["block"]}], a_function
    ),
    Look(110, "K and V of the decoder's cross attention at the end of the encoder", keys_and_values),
    Out(
        111,
        "attention becomes GroupQueryAttention with a cache at the interface",
        "new inputs and outputs with a memory between runs change what a model is; ONNX Runtime's model builder and optimum "
        "write such models from the checkpoint",
    ),
    Job(112, "another opset", AXB, [{"do": "opset", "to": 18}], upgraded, opset=11),
    Job(113, "doc strings and metadata away", documented, [{"do": "set", "clear": ["docs", "metadata"]}], nothing_told),
    Job(114, "metadata written", AXB, [{"do": "set", "metadata": {"author": "me"}}], told),
    Look(115, "a list of edits as data", from_a_file),
    Look(116, "external data to one file, and back", one_file_and_two),
    Look(117, "a model as text that can be edited, and back", text_and_back),
    Out(
        118,
        "what ONNX Runtime's optimizer makes, as a file",
        "ONNX Runtime writes it by itself (optimized_model_filepath), for one machine and one version; graphkit's simplify and "
        "rewrite make files for any runtime",
    ),
    Out(
        119,
        "other formats: ORT, Core ML, TFLite, GGUF, engines",
        "graphkit reads and writes ONNX; converters to other formats are tools of their own",
    ),
    Look(120, "inputs, outputs, operators, attributes", looked_at),
    Look(121, "the graph as a picture", drawn_as_a_page),
    Look(122, "who makes a name, who reads it", who_makes_it),
    Look(123, "distribution of each weight", numbers_of_a_weight),
    Look(124, "two models, node by node", node_by_node),
    Look(125, "the same values on both sides", both_sides),
    Look(126, "valid, and does each node load", whether_it_is_valid),
    Look(127, "saved results against other tolerances", other_tolerances),
    Look(128, "the smallest model that still fails a user's command", smallest),
    Out(
        129,
        "hunting in TensorRT builds",
        "building engines again and again and comparing tactics is Polygraphy's work, and needs TensorRT and its GPU",
    ),
    Look(130, "feeds and results in files, joined", feeds_in_files),
    Look(131, "which operators a target takes", what_a_target_takes),
    Look(132, "runs, times", run_and_timed),
    Job(
        133,
        "patterns by name",
        "g (float[2,3] x) => (float[2,3] y) { i = Identity(x) s = Sigmoid(i) y = Mul(i, s) }",
        [{"do": "simplify"}, {"do": "rewrite", "rules": ["silu", "gelu"]}],
        ops("Swish"),
        opset=24,
    ),
    Out(
        134,
        "work around Hugging Face models",
        "configurations, sample inputs and exports of whole families of models are not surgery; optimum and onnx-diagnostic do that",
    ),
]
