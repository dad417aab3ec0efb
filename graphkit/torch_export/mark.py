"""Marks: names that a torch module gives to values, which stay the same in the model whatever the exporter does.

In ``forward``::

    x = gk.mark(self.backbone(x), "features")

Inside of ``graphkit.export`` a mark is an operator of its own, so that nothing is folded or fused across it. After the
export it is gone: the value that went in is called "features". Everywhere else a mark is the value itself.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any

import onnx

from graphkit.finding import Finding
from graphkit.graph import walk
from graphkit.graph.names import Names
from graphkit.torch_export.factory import import_onnxscript
from graphkit.torch_export.io_names import rename_value

if TYPE_CHECKING:
    import torch

DOMAIN = "graphkit"
OPERATOR = "Mark"

MARKS_KEY = "graphkit.marks"
"""Model metadata: JSON, mark -> value. They differ where a value could not be renamed (an input of the graph)."""


class _Current:
    """The operator that marks are while an export runs; a plain attribute, because torch.cond compiles its branches and
    its compiler cannot read a ContextVar.
    """

    operator: Any = None


def mark(value: torch.Tensor, name: str) -> torch.Tensor:
    """Give a value of a forward a name that the exported model has too: a stable point to cut, tap or compare at.

    Args:
        value: A tensor.
        name: Its name in the model, the same under both exporters and whatever happens to the code around it.

    Returns:
        The value itself. Inside of ``graphkit.export`` a copy that the exporter follows.

    Raises:
        TypeError: The name is empty, or the value no tensor.

    Changes: nothing.
    Scope: the forward of any module, branches of ``torch.cond`` included.
    Cost: none outside of an export.

    Example:
        >>> import graphkit as gk, torch
        >>> gk.mark(torch.ones(2), "features").tolist()
        [1.0, 1.0]
    """
    if not name or not hasattr(value, "dtype"):
        raise TypeError(f"mark takes a tensor and a name, not {type(value).__name__} and {name!r}")
    if _Current.operator is None:
        return value
    marked: torch.Tensor = _Current.operator(value, name)
    return marked


@contextlib.contextmanager
def marks_kept() -> Iterator[dict[Any, Callable[..., Any]]]:
    """Let marks reach the exporters inside of the block.

    Yields:
        The dynamo exporter's translation table for them.
    """
    import torch

    operator = _operator()
    torch.onnx.register_custom_op_symbolic("graphkit::mark", _symbolic, 9)
    before, _Current.operator = _Current.operator, operator
    try:
        yield {operator: _translation()}
    finally:
        _Current.operator = before
        torch.onnx.unregister_custom_op_symbolic("graphkit::mark", 9)


@contextlib.contextmanager
def marks_heard(told: Callable[[torch.Tensor, str], torch.Tensor]) -> Iterator[None]:
    """Call ``told(value, name)`` for every mark that is passed inside of the block; what it returns goes on."""
    before, _Current.operator = _Current.operator, told
    try:
        yield
    finally:
        _Current.operator = before


def _operator() -> Any:
    """The torch operator ``graphkit::mark``, made when it is first needed: torch is no dependency of graphkit."""
    import torch

    if hasattr(torch.ops.graphkit, "mark"):
        return torch.ops.graphkit.mark.default

    def copied(value: torch.Tensor, name: str) -> torch.Tensor:
        del name
        return value.clone()

    schema = "(Tensor value, str name) -> Tensor"
    made = torch.library.custom_op("graphkit::mark", copied, mutates_args=(), schema=schema)
    made.register_fake(lambda value, name: torch.empty_like(value))  # noqa: ARG005 (the operator's signature)
    return torch.ops.graphkit.mark.default


def _symbolic(g: Any, value: Any, name: Any) -> Any:
    """The torchscript exporter's translation."""
    from torch.onnx import symbolic_helper

    text = symbolic_helper._maybe_get_const(name, "s")  # noqa: SLF001 (torch's documented way to read a constant)
    return g.op(f"{DOMAIN}::{OPERATOR}", value, name_s=text).setType(value.type())


def _translation() -> Callable[..., Any]:
    """The dynamo exporter's translation."""
    onnxscript = import_onnxscript("exporting a module")
    if not onnx.defs.has(OPERATOR, DOMAIN):
        formal, types = onnx.defs.OpSchema.FormalParameter, onnx.defs.get_schema("Identity").type_constraints[0]
        onnx.defs.register_schema(
            onnx.defs.OpSchema(
                OPERATOR,
                DOMAIN,
                1,
                inputs=[formal("value", "T")],
                outputs=[formal("marked", "T")],
                type_constraints=[("T", list(types.allowed_type_strs), "any type")],
                attributes=[onnx.defs.OpSchema.Attribute("name", onnx.defs.OpSchema.AttrType.STRING, required=True)],
            )
        )
    domain = onnxscript.values.Opset(DOMAIN, 1)

    def translated(value: Any, name: str) -> Any:
        return domain.Mark(value, name=name)

    return translated


def resolve_marks(proto: onnx.ModelProto, kept: Collection[str]) -> list[Finding]:
    """Take the marks out of an exported model: the values get their names. Changes the proto.

    A value that must keep its name keeps it; ``MARKS_KEY`` says what it is called.

    Args:
        proto: The model.
        kept: Outputs that the user named.

    Returns:
        What could not be named as wished.

    Scope: main graph and bodies.
    Cost: O(nodes).
    """
    placed: dict[str, str] = {}
    found: list[Finding] = []
    names = Names(proto.graph)
    for graph in list(walk.graphs(proto.graph)):
        for node in [n for n in graph.node if (n.domain, n.op_type) == (DOMAIN, OPERATOR)]:
            wish = next(a.s.decode() for a in node.attribute if a.name == "name")
            value = _taken_out(proto.graph, graph, node, wish, names, kept)
            key = wish
            if wish in placed:
                key = value
                found.append(
                    Finding("mark-repeated", f"mark {wish!r} is met more than once; this one is {value!r}", value=value)
                )
            elif value != wish:
                found.append(Finding("mark-renamed", _other_name(proto.graph, wish, value, kept), value=value))
            placed[key] = value
    if placed:
        proto.metadata_props.add(key=MARKS_KEY, value=json.dumps(placed))
    _forget_domain(proto)
    return found


def _taken_out(
    main: onnx.GraphProto, graph: onnx.GraphProto, node: onnx.NodeProto, wish: str, names: Names, kept: Collection[str]
) -> str:
    """Take one mark out; gives the name that its value has afterwards."""
    source, marked = node.input[0], node.output[0]
    outputs = {value.name for value in graph.output}
    made_here = any(source in n.output for n in graph.node)
    if marked in outputs:
        if made_here and source not in outputs:
            graph.node.remove(node)
            rename_value(main, source, marked)
        else:
            node.op_type, node.domain = "Identity", ""
            node.ClearField("attribute")
        return marked if marked in kept else _renamed(main, marked, wish, names)
    graph.node.remove(node)
    rename_value(main, marked, source)
    _drop_repeated_types(graph, source)
    if not made_here or source in kept or source == wish:
        return source
    return _renamed(main, source, wish, names)


def _other_name(main: onnx.GraphProto, wish: str, value: str, kept: Collection[str]) -> str:
    if value in kept:
        return f"mark {wish!r} is on the output {value!r}, which keeps this name"
    if value in {entry.name for entry in main.input}:
        return f"mark {wish!r} is on the input {value!r}, which keeps this name"
    if value.startswith(wish):
        return f"mark {wish!r}: something else has this name already; the marked value is {value!r}"
    return f"mark {wish!r} is on {value!r}, which comes from outside of its body and keeps this name"


def _renamed(main: onnx.GraphProto, old: str, wish: str, names: Names) -> str:
    name = names.fresh(wish)
    rename_value(main, old, name)
    return name


def _drop_repeated_types(graph: onnx.GraphProto, name: str) -> None:
    """The mark's output had a type of its own; one entry for the value is enough."""
    places = [at for at, value in enumerate(graph.value_info) if value.name == name]
    for position in reversed(places[1:]):
        del graph.value_info[position]


def _forget_domain(proto: onnx.ModelProto) -> None:
    if any(node.domain == DOMAIN for node in walk.model_nodes(proto)):
        return
    for position in reversed(range(len(proto.opset_import))):
        if proto.opset_import[position].domain == DOMAIN:
            del proto.opset_import[position]
