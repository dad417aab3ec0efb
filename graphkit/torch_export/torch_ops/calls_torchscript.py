"""What the torchscript exporter makes of each torch operator that a module calls.

The exporter translates its graph node by node, each with a Python function. This module stands in the way of that one
call: it sees which node is translated, gives the node a mark in the place of its line, which the exporter copies to
whatever it makes of the node, and puts a stand-in where a translation is missing, so that all others are seen too.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import onnx

from graphkit.errors import ExportError
from graphkit.torch_export.failure import first_sentence
from graphkit.torch_export.io_names import stand_ins
from graphkit.torch_export.job import taking_tensors_only
from graphkit.torch_export.lowering import TORCHSCRIPT_OPSETS, load_symbolic_functions, torchscript_rules
from graphkit.torch_export.source_line import stack_line, users_stack
from graphkit.torch_export.torch_ops.calls import Call, working_nodes

if TYPE_CHECKING:
    from graphkit.torch_export.arguments import Arguments

DOMAIN = "graphkit"

_MARK = "graphkit_call_"
_MARKED = re.compile(_MARK + r"(\d+)")

_RENAMED = {"prim::ConstantChunk": "aten::chunk"}
"""What torch.jit's own passes call an operator before the exporter sees it."""

_FUSED = {"aten::mm": "aten::addmm", "aten::add": "aten::addmm"}
"""What the exporter puts together before it translates: ``a @ b + c``."""

_CONTROL_FLOW = ("prim::If", "prim::Loop")

_PART = "prim::ListUnpack"
"""What picks the results of an operator that gives a list; torch counts their nodes as made for it."""

_FUNCTION = "prim::PythonOp"
"""A torch.autograd.Function. The exporter calls its ``symbolic`` in another way than it translates operators; without
one it exports what is called inside of it.
"""


@dataclass
class _Translated:
    """A node as the exporter came to translate it.

    Attributes:
        kind: The torch operator.
        place: Where it was called, as the exporter writes it.
        error: Why it has no translation, or None.
        nodes: The ONNX operators that it became.
    """

    kind: str
    place: str
    error: Exception | None
    nodes: list[str]


@dataclass
class _Translations:
    """What happened in one export.

    Attributes:
        entries: The nodes that the exporter translated, in order.
        functions: Place -> the ONNX operators made there without a translation: by a torch.autograd.Function.
    """

    entries: list[_Translated] = field(default_factory=list)
    functions: dict[str, list[str]] = field(default_factory=dict)


class TorchscriptCalls:
    """The calls of a module, as the torchscript exporter sees them.

    Args:
        module: The module, in eval mode.
        bound: Its arguments.
    """

    exporter = "torchscript"
    opsets = TORCHSCRIPT_OPSETS

    def __init__(self, module: Any, bound: Arguments) -> None:
        self._module, self._bound = module, bound
        self._traced: list[tuple[str, str]] | None = None

    def lowest(self, operator: str) -> int:
        """The opset below which the operator has no rule."""
        names = [operator, *(renamed for renamed, name in _RENAMED.items() if name == operator)]
        return min((rule.since for name in names for rule in torchscript_rules(name)), default=self.opsets[0])

    def at(self, opset: int) -> list[Call]:
        """The calls at an opset, in the order of the module.

        Raises:
            ExportError: torch calls its symbolic functions in another way than graphkit knows.
            Exception: What torch raises when it cannot trace the module.

        Cost: an export without weights, and a trace the first time.
        """
        load_symbolic_functions()
        if self._traced is None:
            self._traced = self._trace()
        found = self._export(opset)
        functions = {place for kind, place in self._traced if not _is_operator(kind)}
        if set(found.functions) - functions and not any(entry.nodes for entry in found.entries):
            raise ExportError("this version of torch translates operators in a way that graphkit cannot follow")
        return list(_calls(self._traced, found))

    def _trace(self) -> list[tuple[str, str]]:
        """(operator, place) of everything that the module calls, before torch simplifies it."""
        import torch

        with taking_tensors_only(self._module, self._bound) as args:
            graph, _ = torch.onnx.utils.unconvertible_ops(self._module, args, opset_version=self.opsets[-1])
        return [(_name(node), _below_tracer(node.sourceRange())) for node in _nodes(graph) if _is_call(node.kind())]

    def _export(self, opset: int) -> _Translations:
        import torch

        script = isinstance(self._module, torch.jit.ScriptModule)
        inputs = stand_ins("input", len(self._bound.leaves if script else self._bound.tensors))
        buffer = io.BytesIO()
        with _translations_recorded() as found, taking_tensors_only(self._module, self._bound) as args:
            torch.onnx.export(
                self._module,
                args,
                buffer,
                dynamo=False,
                verbose=True,  # without it the nodes do not know their places
                input_names=inputs,
                opset_version=opset,
                export_params=False,
                do_constant_folding=False,
                custom_opsets={DOMAIN: 1},
            )
        made = [node for _, node in working_nodes(onnx.load_from_string(buffer.getvalue()).graph, inputs)]
        for node, place in zip(made, _places(made, found.entries), strict=True):
            if match := _MARKED.search(place):
                found.entries[int(match[1])].nodes += [node.op_type] if node.domain != DOMAIN else []
            else:
                found.functions.setdefault(_below_tracer(place), []).append(node.op_type)
        return found


@contextlib.contextmanager
def _translations_recorded() -> Iterator[_Translations]:
    """Keep account of the nodes that the exporter translates inside of the block; none stops it.

    Raises:
        Exception: What the first translation that failed raised, where the export fails all the same.
    """
    from torch.onnx._internal.torchscript_exporter import utils

    found = _Translations()
    translate = utils._run_symbolic_function  # noqa: SLF001 (the one place that all translations go through)

    def recorded(graph: Any, block: Any, node: Any, inputs: Any, *rest: Any) -> Any:
        entry = _Translated(_name(node), _below_tracer(node.sourceRange()), None, [])
        number = len(found.entries)
        found.entries.append(entry)
        try:
            return translate(graph, block, node, inputs, *rest)
        except Exception as error:  # noqa: BLE001 (a symbolic function may raise anything; it is told with the operator)
            entry.error = error
            return _stand_in(block, node, inputs, new_nodes=rest[2])
        finally:
            if node.kind() == _PART:
                node.copyMetadata(next(node.inputs()).node())
            else:
                _mark(node, number)

    utils._run_symbolic_function = recorded  # noqa: SLF001 (see above)
    try:
        yield found
    except Exception as error:
        refused = next((entry.error for entry in found.entries if entry.error is not None), None)
        raise refused or error from error
    finally:
        utils._run_symbolic_function = translate  # noqa: SLF001 (see above)


def _mark(node: Any, number: int) -> None:
    """Give a node a number in the place of its line. torch copies lines from node to node, and lets nobody write one."""
    import torch

    function = f"{_MARK}{number}"
    graph = getattr(torch.jit.CompilationUnit(f"def {function}(x):\n    return x + 1\n"), function).graph
    node.copyMetadata(graph.findNode("aten::add"))


def _places(nodes: list[onnx.NodeProto], entries: list[_Translated]) -> list[str]:
    """Where each node was called, or its mark. One that torch added without either, or that makes a list for an
    operator, was made for its reader.
    """
    found: list[str] = []
    readers: dict[str, str] = {}
    for node in reversed(nodes):
        match = _MARKED.search(node.doc_string)
        own = node.doc_string if match is None or _is_operator(entries[int(match[1])].kind) else ""
        place = own or next((readers[name] for name in node.output if name in readers), "")
        readers.update(dict.fromkeys(node.input, place))
        found.append(place)
    return found[::-1]


def _stand_in(block: Any, node: Any, inputs: Any, new_nodes: list[Any]) -> Any:
    """A node of no known operator for one without a translation, with its tensors and its types."""
    import torch

    if not node.outputsSize():
        return None  # torch copies the node as it is

    tensors = [value for value in inputs if isinstance(value.type(), torch.TensorType)]
    made = block.addNode(f"{DOMAIN}::Unsupported", tensors)
    for _ in range(1, node.outputsSize()):
        made.addOutput()
    for value, original in zip(made.outputs(), node.outputs(), strict=True):
        kind = original.type()
        dtype = kind.dtype() if isinstance(kind, torch.TensorType) else None
        if dtype is None or not dtype.is_complex:
            value.setType(kind)
        else:  # the exporter's shape inference refuses complex types
            value.inferTypeFrom(torch.empty(kind.sizes() or ()))
    new_nodes.append(made)
    values = tuple(made.outputs())
    return values if len(values) > 1 else values[0]


def _calls(traced: list[tuple[str, str]], found: _Translations) -> Iterator[Call]:
    """What was traced and what was translated, put together.

    What was traced and never translated was a constant, of no use, or fused with another call.
    """
    waiting: dict[str, list[_Translated]] = {}
    for entry in found.entries:
        if _is_operator(entry.kind) or entry.error is not None:
            waiting.setdefault(entry.kind, []).append(entry)
    fused = {kind: waiting[into] for kind, into in _FUSED.items() if into in waiting and kind not in waiting}
    for kind, place in traced:
        if waiting.get(kind):
            yield _call(waiting[kind].pop(0))
        elif kind in fused:
            became = (operator for entry in fused[kind] for operator in entry.nodes)
            yield Call(kind, _line(place), tuple(became), parts=(_FUSED[kind],))
        elif _is_operator(kind):
            yield Call(kind, _line(place))
        elif place in found.functions:
            same = sum(other == (kind, place) for other in traced)
            nodes = found.functions[place]
            yield Call(kind, _line(place), tuple(nodes[: len(nodes) // same]))
    for entries in waiting.values():
        yield from (_call(entry) for entry in entries)


def _call(entry: _Translated) -> Call:
    if entry.error is None:
        return Call(entry.kind, _line(entry.place), tuple(entry.nodes))
    return Call(entry.kind, _line(entry.place), refused=(entry.kind,), reason=_reason(entry.error))


def _reason(error: Exception) -> str:
    from torch.onnx.errors import UnsupportedOperatorError

    return "" if isinstance(error, UnsupportedOperatorError) else first_sentence(error)


def _is_operator(kind: str) -> bool:
    """Whether a node of a graph calls an operator; others hold constants, lists and numbers together."""
    return kind in _CONTROL_FLOW or ("::" in kind and not kind.startswith(("prim::", "onnx::")))


def _is_call(kind: str) -> bool:
    return kind == _FUNCTION or _is_operator(kind)


def _name(node: Any) -> str:
    """The operator of a node, or the class of a function; ``aten::relu_`` is translated as ``aten::relu`` is."""
    if node.kind() == _FUNCTION:
        return str(node.pyname())
    kind: str = _RENAMED.get(node.kind(), node.kind())
    return kind if kind.endswith("__") else kind.removesuffix("_")


def _nodes(block: Any) -> Iterator[Any]:
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)


def _below_tracer(place: str) -> str:
    """A place without what called the tracer, which is no part of the module and another thing each time."""
    return "\n".join(itertools.takewhile(lambda line: "torch/jit/_trace.py" not in line, place.splitlines()))


def _line(place: str) -> str:
    """The user's line of a place, traced or in a script."""
    return stack_line(users_stack(place)) or stack_line(place) or ""
