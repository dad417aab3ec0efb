"""Module paths, in the spellings that both of torch's exporters write."""

import warnings
from pathlib import Path
from typing import Any

import onnx
import pytest

from graphkit.graph.module_paths import lineage, module_classes, module_path, modules


def traced(name: str) -> onnx.NodeProto:
    return onnx.helper.make_node("Mul", ["a", "b"], ["c"], name=name)


def dynamo(scopes: list[str], classes: list[str] | None = None) -> onnx.NodeProto:
    node = onnx.helper.make_node("Mul", ["a", "b"], ["c"], name="node_mul")
    node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=str(scopes))
    if classes:
        node.metadata_props.add(key="pkg.torch.onnx.class_hierarchy", value=str(classes))
    return node


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("/Add", ""),
        ("/conv1/Conv", "conv1"),
        ("/block/block.2/Mul", "block.2"),
        ("/layers.0/ff/ff.1/ff.1.0/Gelu", "layers.0.ff.1.0"),
        ("/layers.0/attn/q/Gemm", "layers.0.attn.q"),
        ("/a/ab/Mul", "a.ab"),
        ("/relu_1/Relu", "relu_1"),
        ("Identity_21", None),
        ("", None),
    ],
)
def test_path_in_a_name(name: str, path: str | None) -> None:
    assert module_path(traced(name)) == path


@pytest.mark.parametrize(
    ("scopes", "path"),
    [
        (["", "layers.0", "layers.0.attn", "softmax"], "layers.0.attn"),
        (["", "add"], ""),
        (["", "d.it's", "linear"], "d.it's"),
        (["add"], None),
        ([], None),
    ],
)
def test_path_in_metadata(scopes: list[str], path: str | None) -> None:
    assert module_path(dynamo(scopes)) == path


def test_metadata_go_before_the_name() -> None:
    node = dynamo(["", "stem", "mul"])
    node.name = "/other/Mul"
    assert module_path(node) == "stem"


def test_classes() -> None:
    node = dynamo(["", "q", "linear"], ["__main__.Net", "torch.nn.modules.linear.Linear", "aten.linear.default"])
    assert module_classes(node) == {"": "__main__.Net", "q": "torch.nn.modules.linear.Linear"}
    assert module_classes(traced("/q/Gemm")) == {}
    assert module_classes(dynamo(["", "q", "linear"], ["__main__.Net"])) == {}


def test_lineage() -> None:
    assert list(lineage("a.b.0")) == ["", "a", "a.b", "a.b.0"]
    assert list(lineage("")) == [""]


def test_modules_hold_their_submodules_nodes() -> None:
    graph = onnx.helper.make_graph(
        [traced("/a/a.0/Mul"), traced("/Add"), traced("nameless"), traced("/a/a.1/Mul"), traced("/b/Mul")], "g", [], []
    )
    assert modules(graph) == {"": [0, 1, 3, 4], "a": [0, 3], "a.0": [0], "a.1": [3], "b": [4]}
    assert list(modules(graph)) == ["", "a", "a.0", "a.1", "b"]
    assert modules(onnx.helper.make_graph([traced("x")], "g", [], [])) == {}


@pytest.mark.parametrize("is_dynamo", [False, True])
def test_real_exports_name_the_modules_that_torch_has(is_dynamo: bool, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Sequential(torch.nn.Tanh()))

        def forward(self, x: Any) -> Any:
            return self.parts(x) * 2

    net = torch.nn.Sequential(Block(), Block()).eval()
    path = tmp_path / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own: deprecation of the exporter and of what it calls
        torch.onnx.export(net, (torch.zeros(2, 4),), path, dynamo=is_dynamo, verbose=False)
    graph = onnx.load(path, load_external_data=False).graph
    by_op = {
        path: [op for p in places if (op := graph.node[p].op_type) != "Constant"]
        for path, places in modules(graph).items()
    }
    assert set(by_op) == {name for name, _ in net.named_modules()}
    assert by_op["1"] == ["Gemm", "Tanh", "Mul"]
    assert by_op["1.parts"] == ["Gemm", "Tanh"]
    assert by_op["0.parts.1.0"] == ["Tanh"]
