"""Which torch module a node came from, as torch's two exporters write it into a file.

The dynamo exporter (``torch.onnx.export(dynamo=True)``) puts it into every node's metadata_props; the TorchScript
exporter (``dynamo=False``) into the node's name. Tools that rebuild nodes lose the first and keep the second.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from graphkit.graph.names import label
from graphkit.hint import Argument, Hint

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

SCOPES_KEY = "pkg.torch.onnx.name_scopes"
"""Node metadata of the dynamo exporter: ``['', 'layers.0', 'layers.0.attn', 'softmax']``, a Python list of strings:
the root module, each module on the way down by its whole path, and last the operator."""

CLASSES_KEY = "pkg.torch.onnx.class_hierarchy"
"""Node metadata of the dynamo exporter: the class of each scope in ``SCOPES_KEY``, and last the torch operator."""

FX_NODE_KEY = "pkg.torch.onnx.fx_node"
"""Node metadata of the dynamo exporter: the torch.fx node as text, ``%conv2d : [num_users=1] = call_function[target=...``."""

STACK_KEY = "pkg.torch.onnx.stack_trace"
"""Node metadata of the dynamo exporter: the Python lines that led to the operator, outermost first."""

CALLS_KEY = "graphkit.module_calls"
"""Node metadata of graphkit's exports, where modules are called more than once or have more than one name: a JSON list,
``["block#2", "block.act#4"]``, of the calls around the node, outermost first."""

FOLDED_KEY = "graphkit.folded_modules"
"""Node metadata of graphkit's exports: a JSON object, path -> class, of the modules whose work one node does since an exporter
folded a BatchNorm into the convolution before it."""

_FX_NODE = re.compile(r"%(?P<name>\w+) :.*?= call_function\[target=(?P<target>[\w.]+)\]", re.DOTALL)

_STRING = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")


def module_path(node: onnx.NodeProto) -> str | None:
    """The path of the module whose forward made a node, as ``Module.get_submodule`` takes it, or None.

    "" is the root module. Where an exporter folded two modules into one node, it is the one the exporter names: for
    Conv + BatchNorm the TorchScript exporter names the convolution, the dynamo exporter the normalisation.

    It is the exporter's word. The TorchScript exporter writes the second call of module ``relu`` as ``relu_1``. A node
    alone does not tell this from a module of that name, so the path keeps the suffix; see ``module_call``.
    """
    scopes = scope_names(node)
    if len(scopes) > 1:
        return scopes[-2]
    return _from_name(node.name) if node.name.startswith("/") else None


def scope_names(node: onnx.NodeProto) -> list[str]:
    """What the dynamo exporter writes under ``SCOPES_KEY``; [] where it is not there."""
    return _listed(node, SCOPES_KEY)


def module_call(node: onnx.NodeProto) -> str | None:
    """The module that made a node, and the number of the call where it is called more than once: ``block.act#2``.

    As ``graphkit.export`` wrote it, the same under both exporters, with the first name of a module that has several;
    ``module_path`` in files of others.
    """
    calls = _calls(node)
    return calls[-1] if calls else module_path(node)


def calls_around(node: onnx.NodeProto) -> list[tuple[str, int | None]]:
    """(module, number of the call) of every module around a node, the root and the module itself included, containers too.

    The number is None where the module is called once or nobody says it.
    """
    found: dict[str, int | None] = {}
    for call in _calls(node) or filter(None, [module_path(node)]):
        path, mark, number = call.rpartition("#")
        counted = mark and number.isdecimal()
        found.update((ancestor, None) for ancestor in lineage(path if counted else call) if ancestor not in found)
        if counted:
            found[path] = int(number)
    if not found and module_path(node) == "":
        found[""] = None
    return list(found.items())


def _calls(node: onnx.NodeProto) -> list[str]:
    try:
        calls = json.loads(_entry(node, CALLS_KEY) or "[]")
    except (ValueError, RecursionError):  # also an integer of more digits than Python reads
        return []
    return [call for call in calls if isinstance(call, str)] if isinstance(calls, list) else []


def module_classes(node: onnx.NodeProto) -> dict[str, str]:
    """Path -> class (``torch.nn.modules.conv.Conv2d``) of the modules around a node; {} where the file does not say."""
    scopes, classes = _listed(node, SCOPES_KEY), _listed(node, CLASSES_KEY)
    return dict(zip(scopes[:-1], classes[:-1], strict=True)) if len(scopes) == len(classes) else {}


def folded_modules(node: onnx.NodeProto) -> dict[str, str]:
    """Path -> class of the modules that were folded into a node, itself included; {} where none was or nobody says it."""
    try:
        found = json.loads(_entry(node, FOLDED_KEY) or "{}")
    except (ValueError, RecursionError):
        return {}
    return {str(path): str(kind) for path, kind in found.items()} if isinstance(found, dict) else {}


def folded_hint(graph: onnx.GraphProto, path: str) -> Hint | None:
    """Where a module is that was folded into another's node, for who asks for it by name; None for all others."""
    for node in graph.node:
        if path in folded_modules(node):
            both = f"an exporter folded {path!r} into {node.op_type} {label(node)!r}, which stands for {module_call(node)!r} too"
            return Hint(f"{both}: name that, or export with ", Argument("optimize", value=False))
    return None


def give_folded(node: onnx.NodeProto, modules: dict[str, str]) -> None:
    """Write onto a node which modules were folded into it; those that are there already stay."""
    both = {**folded_modules(node), **modules}
    for entry in [entry for entry in node.metadata_props if entry.key == FOLDED_KEY]:
        node.metadata_props.remove(entry)
    node.metadata_props.add(key=FOLDED_KEY, value=json.dumps(both))


def fx_node(node: onnx.NodeProto) -> tuple[str, str] | None:
    """The torch.fx node that a node came from, as (name, operator): ("conv2d_1", "torch.ops.aten.conv2d.default").

    None where the file does not say it: the TorchScript exporter, or tools that dropped the metadata. Several nodes
    may come from one; the value with the name of the fx node is its result.
    """
    return fx_call(_entry(node, FX_NODE_KEY))


def fx_call(text: str) -> tuple[str, str] | None:
    """(name, operator) of a torch.fx node that calls a function, from the text that ``torch.fx.Node.format_node`` gives."""
    match = _FX_NODE.search(text)
    return (match["name"], match["target"]) if match else None


def stack_trace(node: onnx.NodeProto) -> str:
    """The Python lines that led to a node, outermost first: ``File "net.py", line 12, in forward``.

    The dynamo exporter keeps them in the metadata; ``graphkit.export`` puts those of the TorchScript exporter into the
    doc_string. "" where the file does not say it.
    """
    return _entry(node, STACK_KEY) or (node.doc_string if node.doc_string.startswith('File "') else "")


def modules(graph: onnx.GraphProto) -> dict[str, list[int]]:
    """Every module path of a graph -> positions of its nodes, those of its submodules included.

    Parents come before children, otherwise in the order of the first node. Containers that are never called
    (ModuleList, ModuleDict) are listed too. Nodes without a path are in no list; a graph without paths gives {}. All
    calls of a module count together, as far as the file tells them.

    Scope: this graph; a node counts with its bodies.
    Cost: O(nodes).
    """
    found: dict[str, list[int]] = {}
    for position, node in enumerate(graph.node):
        for path, _ in calls_around(node):
            found.setdefault(path, []).append(position)
    return found


def module_calls(graph: onnx.GraphProto, path: str) -> dict[int, list[int]]:
    """Number of a call -> positions of its nodes; {} where the module is called once, or nobody says it.

    Scope: this graph; a node counts with its bodies.
    Cost: O(nodes).
    """
    found: dict[int, list[int]] = {}
    for position, node in enumerate(graph.node):
        number = dict(calls_around(node)).get(path)
        if number is not None:
            found.setdefault(number, []).append(position)
    return dict(sorted(found.items()))


def lineage(path: str) -> Iterator[str]:
    """The root "", every module on the way to a path, and the path itself: "a.b" gives "", "a", "a.b"."""
    yield ""
    if path:
        end = path.find(".")
        while end >= 0:
            yield path[:end]
            end = path.find(".", end + 1)
        yield path


def _listed(node: onnx.NodeProto, key: str) -> list[str]:
    """The strings of a metadata entry that holds the repr of a list of strings; [] where there is none."""
    return [single or double for single, double in _STRING.findall(_entry(node, key))]


def _entry(node: onnx.NodeProto, key: str) -> str:
    return next((entry.value for entry in node.metadata_props if entry.key == key), "")


def _from_name(name: str) -> str:
    """``/enc/block/block.2/Mul`` -> ``enc.block.2``.

    A child of a called Sequential repeats its parent's component ("block", then "block.2"); every other component
    stands below the one before it.
    """
    path = previous = ""
    for component in name.split("/")[1:-1]:
        if previous and component.startswith(previous + "."):
            path += component[len(previous) :]
        else:
            path = f"{path}.{component}" if path else component
        previous = component
    return path
