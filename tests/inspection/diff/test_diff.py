"""gk.diff: matching, what counts, weights, bodies, functions."""

import json
import random
import re

import numpy as np
import onnx
import pytest

import graphkit as gk
from onnx_text import parse

BLOCKS = """<ir_version: 10, opset_import: ["" : 18]>
g (float[1, 8] x) => (float[1, 8] y) {{ {nodes} }}"""


def blocks(count, skip=None, shift=0, extra=None):
    """A chain of equal blocks whose names are numbered; ``extra`` puts an Abs in front of a block, which numbers the rest on."""
    nodes, value, number = [], "x", shift
    for at in range(count):
        if at == skip:
            continue
        ops = (["Abs"] if at == extra else []) + ["Relu", "Neg", "Tanh"]
        for op in ops:
            made = f"v{number}"
            nodes.append(f"[n{number}] {made} = {op}({value})")
            value, number = made, number + 1
    nodes.append(f"y = Identity({value})")
    return onnx.parser.parse_model(BLOCKS.format(nodes=" ".join(nodes)))


def kinds(found):
    return {
        name: [(change.kind, change.name) for change in changes] for name, changes in found.lists.items() if changes
    }


def test_a_node_put_into_a_numbered_chain_is_one_node_more_and_the_rest_is_renamed():
    found = gk.diff(blocks(20), blocks(20, extra=10))
    assert [change.after for change in found.added] == ["Abs 'n30'(v29) -> v30"]
    assert found.removed == ()
    assert [(change.name, change.details) for change in found.changed] == [("n31", ("input 0: v29 -> v30",))]
    assert {change.kind for change in found.renamed} == {"node", "value"}
    assert not found


def test_a_model_under_other_names_is_equal_but_for_names():
    found = gk.diff(blocks(20), blocks(20, shift=7))
    assert found.verdict == "equal but for names"
    assert not found
    ignored = gk.diff(blocks(20), blocks(20, shift=7), ignore=["names"])
    assert ignored
    assert not any(ignored.lists.values())
    assert ignored.ignored == {"names": 120}


def test_nodes_in_another_order_moved():
    text = """<ir_version: 10, opset_import: ["" : 18]> g (float[2] x) => (float[2] y)
    {{ {} y = Sum(a, b, c) }}"""
    nodes = ["[one] a = Relu(x)", "[two] b = Neg(x)", "[three] c = Abs(x)"]
    one, two = (
        onnx.parser.parse_model(text.format(" ".join(order))) for order in (nodes, [nodes[1], nodes[2], nodes[0]])
    )
    found = gk.diff(one, two)
    assert kinds(found) == {"moved": [("node", "one")]}
    assert (found.moved[0].before, found.moved[0].after) == ("node 0 of 4", "node 2 of 4")


def test_operands_that_changed_places_are_seen():
    text = """<ir_version: 10, opset_import: ["" : 18]> g (float[2] x, float[2] z) => (float[2] y) {{ [sub] y = Sub({}) }}"""
    found = gk.diff(*(onnx.parser.parse_model(text.format(order)) for order in ("x, z", "z, x")))
    assert found.changed[0].details == ("input 0: x -> z", "input 1: z -> x")


def test_names_that_were_swapped_between_two_branches_are_no_other_model():
    text = """<ir_version: 10, opset_import: ["" : 18]> g (float[2] x) => (float[2] y)
    <float[2] {0} = {{1, 2}}, float[2] {1} = {{3, 4}}> {{ a = Mul(x, {0}) b = Mul(a, {1}) y = Relu(b) }}"""
    one, two = (onnx.parser.parse_model(text.format(*names)) for names in (("p", "q"), ("q", "p")))
    found = gk.diff(one, two)
    assert not found
    assert found.added == found.removed == ()
    said = gk.text(found)
    assert "p -> q" in said
    assert "q -> p" in said


WEIGHT = """<ir_version: 10, opset_import: ["" : 18]> g (float[3] x) => (float[3] y) { y = Mul(x, w) }"""


def weighted(values, **attributes):
    model = onnx.parser.parse_model(WEIGHT)
    tensor = values if isinstance(values, onnx.TensorProto) else onnx.numpy_helper.from_array(values, "w")
    model.graph.initializer.append(tensor)
    return model


def test_how_far_a_weight_moved_is_measured():
    one, two = np.float32([3, 4, 0]), np.float32([3, 4.5, np.nan])
    found = gk.diff(weighted(one), weighted(two))
    moved = found.changed[0].movement
    assert (moved.elements, moved.changed, moved.not_finite) == (3, 2, 1)
    assert moved.max_abs == 0.5
    assert moved.relative == pytest.approx(0.1)
    assert moved.before_sha256 != moved.after_sha256
    assert gk.diff(weighted(one), weighted(two), ignore="weights")
    assert gk.diff(weighted(two), weighted(two))


@pytest.mark.parametrize("dtype", ["int4", "bfloat16", "float8_e4m3fn", "int64", "bool", "float64"])
def test_weights_of_every_type_are_compared(dtype):
    import ml_dtypes

    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    one = onnx.numpy_helper.from_array(np.array([1, 0, 1], kind), "w")
    two = onnx.numpy_helper.from_array(np.array([1, 1, 1], kind), "w")
    found = gk.diff(weighted(one), weighted(two))
    assert (found.changed[0].movement.changed, found.changed[0].movement.max_abs) == (1, 1.0)
    assert gk.diff(weighted(one), weighted(one))


def test_where_and_how_bytes_are_stored_is_no_difference(tmp_path):
    values = np.arange(3000, dtype=np.float32)
    typed = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [3000], values)
    models = [weighted(values), weighted(typed)]
    gk.save(models[0], tmp_path / "a.onnx", external="a.bin")
    gk.save(models[1], tmp_path / "b.onnx")
    for one in (*models, tmp_path / "a.onnx", tmp_path / "b.onnx"):
        for two in (*models, tmp_path / "a.onnx", tmp_path / "b.onnx"):
            assert gk.diff(one, two).verdict == "equal"


def test_ignored_weights_are_not_read(tmp_path):
    gk.save(weighted(np.arange(3000, dtype=np.float32)), tmp_path / "a.onnx", external="a.bin")
    model = gk.load(tmp_path / "a.onnx")
    (tmp_path / "a.bin").write_bytes(b"short")
    assert gk.diff(model, model, ignore=["weights"])


def test_a_weight_renamed_is_known_by_where_it_is_read():
    other = weighted(np.float32([1, 2, 3]))
    other.graph.initializer[0].name = other.graph.node[0].input[1] = "gain"
    found = gk.diff(weighted(np.float32([1, 2, 4])), other)
    assert kinds(found) == {"renamed": [("weight", "gain")], "changed": [("weight", "gain")]}
    assert found.changed[0].former == "w"


INNER = """<ir_version: 10, opset_import: ["" : 18, "mine" : 1]>
g (float[2] x, bool c) => (float[2] y)
{{
  [pick] p = If (c) <
    then_branch = yes () => (float[2] a) {{ k = Constant<value = float[2] {{1, {0}}}>() [in] a = {1}(x, k) }},
    else_branch = no () => (float[2] b) {{ b = Neg(x) }}
  >
  y = mine.Twice(p)
}}
<domain: "mine", opset_import: ["" : 18]>
Twice (u) => (v) {{ [in] v = {2}(u, u) }}"""


def test_bodies_and_functions_are_compared_and_addressed():
    one = onnx.parser.parse_model(INNER.format("2.0", "Add", "Add"))
    two = onnx.parser.parse_model(INNER.format("3.0", "Mul", "Sub"))
    found = gk.diff(one, two)
    assert sorted((change.kind, change.name) for change in found.changed) == [
        ("node", "function:mine::Twice/in"),
        ("node", "pick.then_branch/in"),
        ("weight", "pick.then_branch/k"),
    ]
    assert "float32[2] [1, 2] -> float32[2] [1, 3]; 1 of 2 numbers moved" in " ".join(gk.text(found).split())


def test_a_function_under_another_name_is_renamed_with_its_calls():
    one = onnx.parser.parse_model(INNER.format("2.0", "Add", "Add"))
    two = onnx.parser.parse_model(INNER.format("2.0", "Add", "Add").replace("Twice", "Double"))
    found = gk.diff(one, two)
    assert found.verdict == "equal but for names"
    assert ("function", "mine::Double") in kinds(found)["renamed"]


@pytest.mark.parametrize(
    ("change", "aspect"),
    [
        (lambda m: setattr(m, "ir_version", 9), "structure"),
        (lambda m: setattr(m, "producer_name", "me"), "metadata"),
        (lambda m: setattr(m, "doc_string", "d"), "metadata"),
        (lambda m: setattr(m, "domain", "d"), "metadata"),
        (lambda m: setattr(m, "model_version", 3), "metadata"),
        (lambda m: m.metadata_props.add(key="k", value="v"), "metadata"),
        (lambda m: m.graph.metadata_props.add(key="k", value="v"), "metadata"),
        (lambda m: m.graph.node[0].metadata_props.add(key="k", value="v"), "metadata"),
        (lambda m: setattr(m.graph.node[0], "doc_string", "d"), "metadata"),
        (lambda m: setattr(m.graph.input[0], "doc_string", "d"), "metadata"),
        (lambda m: setattr(m.graph.initializer[0], "doc_string", "d"), "metadata"),
        (lambda m: setattr(m.graph, "name", "other"), "names"),
        (lambda m: setattr(m.graph.node[0], "name", "other"), "names"),
        (lambda m: m.opset_import.add(domain="more", version=1), "structure"),
        (lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[0], "dim_param", "n"), "shapes"),
        (lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[0], "denotation", "B"), "metadata"),
        (lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 10), "structure"),
        (lambda m: m.graph.value_info.append(onnx.helper.make_tensor_value_info("w", 1, [3])), "shapes"),
        (lambda m: setattr(m.graph.initializer[0], "raw_data", b"\0" * 12), "weights"),
        (lambda m: m.graph.initializer[0].ClearField("raw_data"), "weights"),
        (lambda m: m.graph.quantization_annotation.add(tensor_name="y"), "structure"),
        (lambda m: m.training_info.add().algorithm.node.add(op_type="Relu"), "structure"),
        (lambda m: m.functions.add(name="F", domain="f"), "structure"),
        (lambda m: m.graph.node[0].attribute.append(onnx.helper.make_attribute("a", 1)), "structure"),
        (lambda m: m.graph.node[0].device_configurations.add(configuration_id="a"), "structure"),
    ],
)
def test_every_field_counts_under_its_own_word(change, aspect):
    one, two = weighted(np.float32([1, 2, 3])), weighted(np.float32([1, 2, 3]))
    change(two)
    found = gk.diff(one, two)
    aspects = {entry.aspect for changes in found.lists.values() for entry in changes}
    assert aspects == {aspect}
    assert not found
    if aspect != "structure":
        assert found.verdict == f"equal but for {aspect}"
        assert gk.diff(one, two, ignore=[aspect])


def test_another_word_to_ignore_is_refused():
    with pytest.raises(ValueError, match="names, metadata, weights, shapes"):
        gk.diff(blocks(1), blocks(1), ignore=["nodes"])


def test_sparse_weights_are_compared():
    def sparse(value):
        model = onnx.parser.parse_model(WEIGHT)
        values = onnx.helper.make_tensor("w", 1, [1], [value])
        held = onnx.helper.make_sparse_tensor(values, onnx.helper.make_tensor("", 7, [1], [2]), [3])
        model.graph.sparse_initializer.append(held)
        return model

    assert gk.diff(sparse(1.0), sparse(1.0))
    assert gk.diff(sparse(1.0), sparse(2.0)).verdict == "equal but for weights"


def test_random_edits_of_a_chain_are_never_called_equal():
    generator = random.Random(0)
    for _ in range(60):
        one = blocks(6)
        two = onnx.ModelProto()
        two.CopyFrom(one)
        node = generator.choice(two.graph.node)
        if generator.random() < 0.5:
            node.op_type = generator.choice([op for op in ("Sin", "Cos", "Exp") if op != node.op_type])
        else:
            earlier = ["x", *(made.output[0] for made in two.graph.node[: list(two.graph.node).index(node)])]
            node.input[0] = generator.choice([name for name in earlier if name != node.input[0]] or ["other"])
        found = gk.diff(one, two)
        assert found.verdict == "different"
        assert len([change for changes in found.lists.values() for change in changes]) <= 3


def test_the_json_has_what_scripts_read():
    read = json.loads(gk.to_json(gk.diff(blocks(2), blocks(2, shift=1))))
    assert read["equal"] is False
    assert {"added", "removed", "renamed", "moved", "changed"} <= set(read)
    assert read["renamed"][0]["former"] == "v0"


def test_what_is_written_beside_many_nodes_is_one_line():
    one, two = blocks(4), blocks(4)
    for at, node in enumerate(two.graph.node):
        node.metadata_props.add(key="pkg.line", value=str(at))
    said = gk.text(gk.diff(one, two))
    assert "metadata of 13 nodes changed" in said
    assert "~ 13 nodes: metadata pkg.line: n0, n1, n2 and 10 more" in said
    assert len(said.splitlines()) < 10


def test_names_that_stand_twice_are_equal_to_themselves_only():
    one = weighted(np.float32([1, 2, 3]))
    for field in ("initializer", "output", "value_info"):
        two = onnx.ModelProto()
        two.CopyFrom(one)
        two.graph.value_info.append(onnx.helper.make_tensor_value_info("w", 1, [3]))
        twice = onnx.ModelProto()
        twice.CopyFrom(two)
        getattr(twice.graph, field).append(getattr(twice.graph, field)[0])
        assert gk.diff(twice, twice)
        assert "stands 2 times, 1 before" in gk.text(gk.diff(two, twice))


def test_the_name_and_doc_of_a_body_count():
    one = onnx.parser.parse_model(INNER.format("2.0", "Add", "Add"))
    two = onnx.parser.parse_model(INNER.format("2.0", "Add", "Add").replace("= yes ()", "= other ()"))
    found = gk.diff(one, two)
    assert found.verdict == "equal but for names"
    assert (found.renamed[0].name, found.renamed[0].before) == ("pick.then_branch", "yes")
    two.graph.node[0].attribute[0].g.doc_string = "about"
    assert gk.diff(one, two).verdict == "equal but for names and metadata"


def test_what_was_added_removed_or_renamed_in_a_function_or_body_says_where():
    def inner(function, then):
        return parse(
            f"""<ir_version: 10, opset_import: ["": 20, "f": 1]> g (float[2] x, bool c) => (float[2] y) {{
            a = f.Act(x) y = If(c) <then_branch = t () => (float[2] p) {{ {then} }},
            else_branch = e () => (float[2] q) {{ q = Neg(a) }}> }}
            <domain: "f", opset_import: ["": 20]> Act (x) => (y) {{ {function} }}"""
        )

    before = inner("t = Relu(x) y = Add(t, t)", "p = Abs(a)")
    after = inner("y = Relu(x)", "s = Exp(a) p = Abs(s)")
    said = gk.text(gk.diff(before, after))
    assert "- Add(t, t) -> y  [in function:f::Act]" in said
    assert re.search(r"\+ Exp\(a\) -> s  \[in .*then_branch\]", said)
    renamed = gk.text(
        gk.diff(inner("t = Relu(x) y = Add(t, t)", "p = Abs(a)"), inner("s = Relu(x) y = Add(s, s)", "p = Abs(a)"))
    )
    assert "= value t -> s  [in function:f::Act]" in renamed


def test_a_weight_that_moved_further_than_its_norm_moved_times_its_norm():
    def with_weight(text):
        return parse(f"g (float[2] x) => (float[2] y) <float[2] w = {text}> {{ y = Add(x, w) }}")

    far = gk.text(gk.diff(with_weight("{3, 4}"), with_weight("{33, 44}")))
    near = gk.text(gk.diff(with_weight("{3, 4}"), with_weight("{3, 4.5}")))
    assert "10 times its norm" in far
    assert "0.1 of its norm" in near


def test_who_watches_hears_how_many_weights_are_compared():
    text = "g (float[2] x) => (float[2] y) <float[2] a = {{1, 2}}, float[2] b = {{3, {last}}}> {{ c = Add(x, a) y = Mul(c, b) }}"
    heard = []
    with gk.watched(lambda done, total, what: heard.append((done, total, what))):
        gk.diff(parse(text.format(last=4)), parse(text.format(last=5)))
    assert heard[-1] == (2, 2, "comparing weights")
