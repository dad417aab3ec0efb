"""Names of a file on the terminal: no command lets through what steers it, on stdout, on stderr or in JSON."""

import json

import onnx
import pytest

EVIL = "\x1b]0;t\x07\x1b[2J\x9b31m\u202eemag\u2066\r\nwrote nothing: name"


@pytest.fixture
def evil(tmp_path):
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[1,4] x) => (float[1,4] z) { [k] y = Relu(x) [l] z = Neg(y) }'
    )
    graph = model.graph
    graph.input[0].name = graph.node[0].input[0] = EVIL
    graph.node[0].output[0] = graph.node[1].input[0] = EVIL + "y"
    graph.node[1].output[0] = graph.output[0].name = EVIL + "z"
    graph.node[0].name = graph.name = model.producer_name = model.doc_string = EVIL
    model.metadata_props.add(key=EVIL, value=EVIL)
    onnx.save(model, tmp_path / "evil.onnx")
    return tmp_path / "evil.onnx"


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "M", "--nodes", "--values"],
        ["run", "M"],
        ["run", "M", "--feed", f"{EVIL}=1"],
        ["run", "M", "--feed", f"{EVIL}=1,2"],
        ["run", "M", "--feed", f"{EVIL}=@{EVIL}.npy"],
        ["lint", "M"],
        ["validate", "M", "--against", "M"],
        ["bisect", "M", "--against", "M", "--isolate"],
        ["tap", "M", "O", "--value", EVIL + "nothing"],
        ["extract", "M", "--suggest", "--node", EVIL],
        ["extract", "M", "--nothing", EVIL],
        ["probe", "M", "--shape", f"{EVIL}=1,4"],
        ["rename", "M", "O", "--value", f"{EVIL}=z"],
        ["freeze", "M", "O", "--set", f"{EVIL}=x"],
        ["dims", "M", "O", "--set", f"{EVIL}=3"],
    ],
    ids=lambda a: a[0],
)
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_names_reach_no_terminal_as_they_are(graphkit, evil, tmp_path, arguments, as_json):
    given = [
        a.replace("M", str(evil), 1) if a == "M" else str(tmp_path / "o.onnx") if a == "O" else a for a in arguments
    ]
    ran = graphkit(*given, *(["--json"] if as_json else []))
    assert ran.code in (0, 1, 2, 3)
    text = ran.out + ran.err
    assert text.replace("\n", "").isprintable()
    assert arguments[0] == "rename" or not any(line.startswith("wrote nothing") for line in text.splitlines())
    if as_json and ran.code != 2:
        json.loads(ran.out)


def test_an_error_is_an_object_with_json(graphkit, evil):
    ran = graphkit("run", evil, "--feed", f"{EVIL}=1,2", "--json")
    error = json.loads(ran.out)["error"]
    assert ran.code == 3
    assert error["type"] == "FeedError"
    assert "of rank 2, and was given" in error["message"]
    assert error["hint"] is None
    assert error["name"] == EVIL
