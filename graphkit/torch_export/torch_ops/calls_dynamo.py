"""What the dynamo exporter makes of each torch operator that a module calls.

torch.export writes the calls down, the exporter takes some of them apart into other torch operators and translates what
is left. Every node knows where it came from, so both steps can be followed back. An operator without a translation gets
a stand-in, so that all others are seen too.
"""

from __future__ import annotations

import operator
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import onnx

from graphkit.graph.module_paths import fx_node
from graphkit.torch_export.failure import first_sentence
from graphkit.torch_export.job import exportable
from graphkit.torch_export.lowering import DYNAMO_OPSETS, canonical, dynamo_rules, operator_key
from graphkit.torch_export.source_line import causes, stack_line
from graphkit.torch_export.torch_ops.calls import Call, working_nodes

if TYPE_CHECKING:
    from graphkit.torch_export.arguments import Arguments

DOMAIN = "graphkit"


class DynamoCalls:
    """The calls of a module, as the dynamo exporter sees them.

    Args:
        module: The module, in eval mode.
        bound: Its arguments.
    """

    exporter = "dynamo"
    opsets = DYNAMO_OPSETS

    def __init__(self, module: Any, bound: Arguments) -> None:
        self._module, self._bound = module, bound
        self._program: Any = None
        self._known: dict[int, tuple[list[Call], set[str]]] = {}

    def lowest(self, operator: str) -> int:
        """The opset below which the operator has no rule. It may still be taken apart into others that have one."""
        del operator
        return self.opsets[0]

    def at(self, opset: int) -> list[Call]:
        """The calls at an opset, in the order of the module.

        Raises:
            Exception: What torch raises when it cannot export the module.

        Cost: a conversion, unless the operators have the same rules at an opset that was asked for before; the first
        time torch.export too.
        """
        if self._program is None:
            self._program = self._exported()
        for other, (calls, operators) in self._known.items():
            low, high = sorted((opset, other))
            if not any(low < rule.since <= high for key in operators for rule in dynamo_rules(key)):
                return calls
        made, refusals = _converted(self._program, opset)
        calls = list(_calls(self._program, made, refusals))
        programs = (self._program, made.exported_program)
        operators = {
            key for program in programs for _, node in _fx_nodes(program) if (key := operator_key(node.target))
        }
        self._known[opset] = calls, operators
        return calls

    def _exported(self) -> Any:
        import torch

        module = exportable(self._module, self._bound)
        if isinstance(module, torch.export.ExportedProgram):
            return module
        return torch.export.export(module, self._bound.args, self._bound.kwargs, strict=False)


def _converted(program: Any, opset: int) -> tuple[Any, dict[Any, str]]:
    """A program as torch.onnx.ONNXProgram, and the operators that have no translation: fx target -> what torch says."""
    import torch

    refusals: dict[Any, str] = {}
    table: dict[Any, Callable[..., Any]] = {}
    while True:
        try:
            made = torch.onnx.export(
                program, dynamo=True, optimize=False, verbose=False, opset_version=opset, custom_translation_table=table
            )
        except torch.onnx.OnnxExporterError as error:
            node = _failing(error)
            if node is None or node.target in table:
                raise
            rules = list(dynamo_rules(operator_key(node.target) or ""))
            refusals[node.target] = first_sentence(error) if rules else ""
            table[node.target] = _stand_in(node)
        else:
            return made, refusals


def _failing(error: Exception) -> Any:
    """The fx node that the exporter was translating: a local of its frames."""
    import torch

    for link in causes(error):
        for frame, _ in traceback.walk_tb(link.__traceback__):
            node = frame.f_locals.get("node")
            if isinstance(node, torch.fx.Node) and node.op == "call_function":
                return node
    return None


def _stand_in(node: Any) -> Callable[..., Any]:
    """A translation that makes nodes of no known operator, which read the tensors that the call reads."""
    import onnx_ir
    from onnxscript import values

    formal, several = onnx.defs.OpSchema.FormalParameter, onnx.defs.OpSchema.FormalParameterOption.Variadic
    types = sorted(onnx.defs.get_schema("Identity").type_constraints[0].allowed_type_strs)
    schema = onnx.defs.OpSchema(
        "Unsupported",
        DOMAIN,
        1,
        inputs=[formal("read", "T", param_option=several, is_homogeneous=False)],
        outputs=[formal("made", "V")],
        type_constraints=[("T", types, "any type"), ("V", types, "any type")],
    )
    unknown = values.Op(values.Opset(DOMAIN, 1), "Unsupported", schema)
    shape = node.meta.get("val")
    count = len(shape) if isinstance(shape, (tuple, list)) else None

    def unsupported(*args: Any, **kwargs: Any) -> Any:
        tensors = [value for value in _flat((args, tuple(kwargs.values()))) if isinstance(value, onnx_ir.Value)]
        if count is None:
            return unknown(*tensors)
        return [unknown(*tensors) for _ in range(count)]

    return unsupported


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, (tuple, list)):
        for inner in value:
            yield from _flat(inner)
    else:
        yield value


def _calls(program: Any, made: Any, refusals: dict[Any, str]) -> Iterator[Call]:
    after = _taken_apart(program, made.exported_program)
    emitted = _emitted(made)
    for graph, node in _fx_nodes(program):
        key = operator_key(node.target)
        if key is None:
            continue
        parts = after.get((id(graph), node.name), [])
        keys = dict.fromkeys(part for part in (operator_key(p.target) for p in parts if not _promoted(p)) if part)
        others = [part for part in keys if canonical(part) != canonical(key).removesuffix("_")]
        refused = [part.target for part in parts if part.target in refusals]
        yield Call(
            key,
            stack_line(node.meta.get("stack_trace") or "") or "",
            tuple(made_of for part in parts for made_of in emitted.get(part, ())),
            tuple(keys) if others else (),
            tuple(dict.fromkeys(operator_key(target) or str(target) for target in refused)),
            next((refusals[target] for target in refused), ""),
        )


def _taken_apart(program: Any, decomposed: Any) -> dict[tuple[int, str], list[Any]]:
    """(graph, name) of each fx node of a program -> the fx nodes that it became, and that pick one of its results."""
    known: dict[str, dict[int, Any]] = {}
    for graph, node in _fx_nodes(program):
        known.setdefault(node.name, {})[id(graph)] = node
    found: dict[tuple[int, str], list[Any]] = {}
    for _, node in _fx_nodes(decomposed):
        origin = next(iter(node.meta.get("from_node") or ()), None)
        while origin is not None and origin.from_node:
            origin = origin.from_node[0]
        if origin is not None and (same := known.get(origin.name)):
            graph = origin.graph_id if origin.graph_id in same else next(iter(same))
            found.setdefault((graph, _maker(same[graph]).name), []).append(node)
    return found


def _maker(node: Any) -> Any:
    """The call whose result an fx node picks from (``getitem``); any other node itself."""
    while node.target is operator.getitem:
        node = node.args[0]
    return node


def _promoted(node: Any) -> bool:
    """Whether an fx node only converts an argument of another one to the type that torch computes in."""
    return any("TypePromotion" in (origin.pass_name or "") for origin in node.meta.get("from_node") or ())


def _fx_nodes(program: Any) -> Iterator[tuple[Any, Any]]:
    """Every call in a program, those in branches and loops too, each with its graph."""
    for module in program.graph_module.modules():
        for node in module.graph.nodes:
            if node.op == "call_function":
                yield module.graph, node


def _emitted(made: Any) -> dict[Any, list[str]]:
    """fx node after the decompositions -> the ONNX operators made for it, once constants are folded.

    A file names fx nodes, and two of them, in two branches, may have one name.
    """
    from onnxscript import optimizer

    optimizer.fold_constants(made.model, onnx_shape_inference=True)
    optimizer.remove_unused_nodes(made.model)
    made.model.graph.initializers.clear()  # weights are not looked at, and a file of 2 GiB cannot be written
    proto = made.model_proto.graph
    calls = _by_name(node for _, node in _fx_nodes(made.exported_program))
    groups: dict[str, dict[int, list[str]]] = {}
    for body, node in working_nodes(proto, [value.name for value in proto.input]):
        name = _origin(node, calls)
        if name is not None and node.domain != DOMAIN:
            groups.setdefault(name, {}).setdefault(id(body), []).append(node.op_type)
    found: dict[Any, list[str]] = {}
    for name, nodes in calls.items():
        lists = list(groups.get(name, {}).values())
        if len(nodes) == 1:
            found[nodes[0]] = [made_of for one in lists for made_of in one]
        else:
            found.update(zip(nodes, lists, strict=False))
    return found


def _origin(node: onnx.NodeProto, names: Collection[str]) -> str | None:
    """The fx node that an ONNX node was made for: it says so, or its results are called after it."""
    written = fx_node(node)
    if written is not None:
        return written[0]
    words = node.output[0].split("_")
    prefixes = ("_".join(words[:count]) for count in range(len(words), 0, -1))
    return next((prefix for prefix in prefixes if prefix in names), None)


def _by_name(nodes: Iterable[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for node in nodes:
        found.setdefault(node.name, []).append(node)
    return found
