"""NAME=VALUE fits the names that are there, whatever characters they hold; quotes settle what can be read in two ways."""

import json

import onnx
import pytest

import graphkit as gk
from graphkit.graph.ports import input_ports
from graphkit.reading.names import axis_or_symbol, read_pair

NAMES = ["a=b", "x:0", "f=1:0", "=", "a=", ":", "a b", '"q"', "$(x)", "é=ü", "a=b=c:1"]


def model_with(*names):
    """Inputs of these names, each of type float[2]; one output."""
    graph = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 19]> g (float[2] x) => (float[2] y) { [n] y = Identity(x) }'
    )
    declared = graph.graph.input.pop()
    for name in names:
        declared.name = name
        graph.graph.input.add().CopyFrom(declared)
    del graph.graph.node[0].input[:]
    graph.graph.node[0].op_type = "Sum"
    graph.graph.node[0].input.extend(names)
    return graph


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("quote", [False, True], ids=["plain", "quoted"])
def test_a_name_is_read_as_it_is_in_the_model(name, quote):
    text = json.dumps(name) if quote or name.startswith('"') else name
    assert gk.read_pairs([f"{text}=1,2"], model_with(name)) == [(name, "1,2")]
    assert gk.read_pairs([f"{text}=@a=b.npy"], model_with(name, "other")) == [(name, "@a=b.npy")]


def test_without_names_the_first_sign_separates():
    assert gk.read_pairs(["a=b=c", '"a=b"=c']) == [("a", "b=c"), ("a=b", "c")]
    assert read_pair("a=b=c", {"a=b"}) == ("a=b", "c")
    assert gk.read_pairs(["a=b", "a", '"a=b"'], model_with("a=b"), of="constant", alone=True) == [
        ("a=b", ""),
        ("a", ""),
        ("a=b", ""),
    ]


def test_what_can_be_read_in_two_ways_is_refused_with_both():
    with pytest.raises(gk.TextError) as caught:
        gk.read_pairs(["a=b=1"], model_with("a", "a=b"))
    assert "'a' with 'b=1' or 'a=b' with '1'" in caught.value.message
    readings = caught.value.hint.partition(": ")[2].split(" or ")
    assert gk.read_pairs(readings, model_with("a", "a=b")) == [("a", "b=1"), ("a=b", "1")]


@pytest.mark.parametrize("text", ["", "=", "a", "=1", "a=", '"a', '"a"'])
def test_what_is_no_pair_is_refused(text):
    with pytest.raises(gk.TextError, match="NAME=VALUE") as caught:
        gk.read_pairs([text])
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_takes_such_a_name(graphkit, tmp_path, name):
    source, out = tmp_path / "m.onnx", tmp_path / "o.onnx"
    onnx.save(model_with(name), source)
    text = json.dumps(name) if name.startswith('"') else name
    assert graphkit("run", source, "--feed", f"{text}=1,2").code == 0
    assert graphkit("freeze", source, out, "--set", f"{text}=3,4").code == 0
    assert gk.run(out, {})["y"].tolist() == [3, 4]
    assert graphkit("promote", out, tmp_path / "p.onnx", "--tensor", f"{text}=new=name").code == 0
    assert [i.name for i in gk.load(tmp_path / "p.onnx").proto.graph.input] == ["new=name"]
    assert graphkit("rename", source, out, "--value", f'{text}="c=d"').code == 0
    assert [i.name for i in gk.load(out).proto.graph.input] == ["c=d"]
    assert graphkit("dims", source, out, "--set", f"{text}:0=n").code == 0
    assert gk.load(out).proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "n"
    assert graphkit("validate", out, "--against", source, "--bind", f"{text}:0=2", "--samples", "1").code == 0
    assert graphkit("probe", source, "--shape", f"{text}=2").code == 0
    assert graphkit("extract", source, out, "--output", "y", "--input-type", f"{text}=float32[2]").code == 0


def _ports(text):
    return input_ports(onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 19]> g ({text}) => () {{}}'))


def test_an_axis_or_a_symbol():
    ports = _ports("float[n,3] x, float y")
    assert axis_or_symbol("x:-1", ports, {"n"}) == ("x", 1)
    assert axis_or_symbol('"x":1', ports, {"n"}) == ("x", 1)
    assert axis_or_symbol("n", ports, {"n"}) == axis_or_symbol('"n"', ports, {"n"}) == "n"
    with pytest.raises(gk.TextError, match="symbolic dim 'x:0' or as axis 0 of input 'x'") as caught:
        axis_or_symbol("x:0", ports, {"x:0"})
    assert caught.value.hint == 'quote the name: "x:0" or "x":0'
    assert axis_or_symbol('"x:0"', ports, {"x:0"}) == "x:0"
    assert axis_or_symbol('"x":0', ports, {"x:0"}) == ("x", 0)
    for wrong, said in (("x:2", "has 2 axes"), ("y:0", "has 0 axes")):
        with pytest.raises(gk.EditError, match=said):
            axis_or_symbol(wrong, ports, set())


def test_a_missing_axis_is_named_for_that_very_text(graphkit, tmp_path):
    onnx.save(model_with("x"), tmp_path / "m.onnx")
    ran = graphkit("dims", tmp_path / "m.onnx", tmp_path / "o.onnx", "--set", "x=4")
    assert ran.code == 3
    assert "'x' is an input: say which axis, such as --set x:0=4" in ran.err
    with pytest.raises(gk.NameNotFoundError, match=r"values=\{'x:0': 4\}"):
        gk.dims(tmp_path / "m.onnx", {"x": 4})
    with pytest.raises(gk.EditError, match=r"values=\{'x:0': 4\}"):
        gk.dims(tmp_path / "m.onnx", {"x": {0: 4}})


def test_an_unnamed_axis_is_bound_by_its_place(graphkit, tmp_path):
    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 17]> g (float[?,?] x, float[n,3] z) => (float[?,?] y) { y = Identity(x) }'
    )
    onnx.save(model, tmp_path / "m.onnx")
    ran = graphkit("validate", tmp_path / "m.onnx", "--against", tmp_path / "m.onnx", "--bind", "x:1=7,9", "--bind", "z:0=5", "--json")  # fmt: skip
    assert ran.code == 0
    shapes = [s["feeds"]["x"] for s in json.loads(ran.out)["samples"]]
    assert any("7]" in s for s in shapes)
    assert any("9]" in s for s in shapes)
    for bind, said in (("z:1=4", "is 3 and cannot be 4"), ("q=2", "open dims are"), ("x:5=1", "has 2 axes")):
        ran = graphkit("validate", tmp_path / "m.onnx", "--against", tmp_path / "m.onnx", "--bind", bind)
        assert ran.code == 3
        assert said in ran.err


def test_a_nodes_name_where_a_values_is_meant_is_said_to_be_one():
    model = model_with("x")
    for work in (
        lambda: gk.tap(model, ["n"]),
        lambda: gk.extract(model, outputs=["n"]),
        lambda: gk.run(model, {"x": 1}, outputs=["n"]),
    ):
        with pytest.raises(gk.NameNotFoundError, match="no value named 'n'") as caught:
            work()
        assert caught.value.hint == "it is the name of a node, Sum, which makes 'y'"


def test_sizes_and_shapes():
    assert gk.read_sizes("1,2,8") == [1, 2, 8]
    assert gk.read_shape("1x3x64") == gk.read_shape("[1, 3, 64]") == [1, 3, 64]
    assert gk.read_shape("") == []
    for bad in ("-1", "a", "1,,2", "1.5", "٣", "9" * 5000, "²"):
        with pytest.raises(gk.TextError):
            gk.read_shape(bad)
        with pytest.raises(gk.TextError):
            gk.parse_bytes(bad + "Q")
    with pytest.raises(gk.TextError):
        gk.read_sizes("")


def test_an_axis_that_is_missing_is_proposed_for_that_very_name(graphkit, tmp_path):
    onnx.save(model_with("x:0", "a=b"), tmp_path / "m.onnx")
    code, _, err = graphkit("dims", tmp_path / "m.onnx", tmp_path / "o.onnx", "--set", "x:0=5")
    assert (code, "--set x:0:0=5" in err) == (3, True)


@pytest.mark.parametrize("option", [("retype", "--io", "a=b=float16"), ("set", "--tensor", "a=b=@w.npy")])
def test_commands_of_values_take_a_name_with_a_sign_in_it(graphkit, tmp_path, option):
    onnx.save(model_with("a=b", "x"), tmp_path / "m.onnx")
    code, _, err = graphkit(option[0], tmp_path / "m.onnx", tmp_path / "o.onnx", *option[1:])
    assert code == 0 or "'a=b'" in err
    assert "b=float16" not in err


PLAIN = {
    "extract": ("--input={input}", "--output={output}"),
    "extract a node": ("--node={node}",),
    "image": ("--input={picture}", "--from", "uint8"),
    "insert": ("--at={output}", "--reader={reader}", "--function", "relu"),
    "outline": ("--input={input}", "--output={output}"),
    "precision": ("--to", "float16", "--keep-node={node}"),
    "promote": ("--tensor={weight}", "--only={node}"),
    "remove": ("--node={node}",),
    "remove an output": ("--output={last}",),
    "reorder": ("--input={picture}", "--output={last}"),
    "replace": ("--node={node}", "--function", "(a, b) => (c) { c = Max(a, b) }"),
    "replace a region": ("--input={input}", "--output={output}", "--function", "relu"),
    "resize": ("--node={resizer}",),
    "set an attribute": ("--attribute={resizer}:mode=linear",),
    "set an operand": ("--operand={node}:1=5,6",),
    "set what is cleared": ("--clear={resizer}:mode",),
    "split": ("--at={output}",),
    "tap": ("--value={output}",),
}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A model whose values and nodes all have signs in their names, and the names."""
    text = """<ir_version: 9, opset_import: ["" : 18]>
    g (float[2] input, float[1,3,4,4] picture) => (float[2] final, float[1,3,8,8] last)
    <float[2] weight = {1, 2}, float[4] scales = {1, 1, 2, 2}> {
      [node] output = Mul(input, weight)
      [reader] final = Neg(output)
      [resizer] last = Resize<mode = "nearest">(picture, , scales)
    }"""
    names = {n: f'{n}=:0 "[*' for n in ("input", "picture", "output", "last", "weight", "node", "reader", "resizer")}
    values = {old: new for old, new in names.items() if old not in ("node", "reader", "resizer")}
    path = tmp_path_factory.mktemp("hostile") / "m.onnx"
    nodes = {old: names[old] for old in ("node", "reader", "resizer")}
    gk.rename(onnx.parser.parse_model(text), values=values, nodes=nodes).save(path)
    return path, names


def _filled(text, names):
    """An option with the names in it."""
    for key, name in names.items():
        text = text.replace(f"{{{key}}}", name)
    return text


@pytest.mark.parametrize("quote", [str, json.dumps], ids=["plain", "quoted"])
@pytest.mark.parametrize("case", PLAIN)
def test_an_option_that_takes_a_name_takes_it_in_quotes_too(graphkit, hostile, tmp_path, case, quote):
    path, names = hostile
    options = [_filled(text, {key: quote(name) for key, name in names.items()}) for text in PLAIN[case]]
    ran = graphkit(case.split()[0], path, tmp_path / "out", *options)
    assert ran.code == 0, ran.err


@pytest.mark.parametrize("quote", [str, json.dumps], ids=["plain", "quoted"])
def test_what_looks_at_a_model_takes_names_in_quotes(graphkit, hostile, quote):
    path, names = hostile
    said = {key: quote(name) for key, name in names.items()}
    feed = f"{said['input']}=3,4"
    random = f"--feed={said['picture']}=random"
    ran = graphkit("run", path, f"--feed={feed}", random, f"--output={said['output']}", "--json")
    assert ran.code == 0, ran.err
    assert list(json.loads(ran.out)["outputs"]) == [names["output"]]
    assert graphkit("inspect", path, f"--value={said['weight']}").code == 0
    assert graphkit("inspect", path, f"--node={said['node']}").code == 0
    assert graphkit("validate", path, "--against", path, f"--output={said['last']}", "--samples", "1").code == 0


def test_a_name_with_quotes_in_it_is_meant_where_the_model_has_it_alone():
    assert gk.read_names(['"q"', '"x"', "x"], model_with('"q"', "x")) == ['"q"', "x", "x"]
    assert gk.read_names(['"q"', '"\\"q\\""'], model_with('"q"', "q")) == ["q", '"q"']
    assert gk.read_pairs(['"q"=1'], model_with('"q"')) == [('"q"', "1")]
    assert gk.read_names(['"n":axis', '"n'], of="part") == ["n:axis", '"n']
