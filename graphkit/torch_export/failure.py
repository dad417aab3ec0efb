"""Why torch could not export: its page-long message as one sentence, with the operator, the line and what to try."""

from __future__ import annotations

import re
import traceback
from typing import Any

from graphkit.errors import ExportError, MissingExtraError
from graphkit.hint import Argument, Blank, Either, Hint, bare, call
from graphkit.torch_export.lowering import torch_lowering
from graphkit.torch_export.raised import forward_raised, remedy
from graphkit.torch_export.source_line import causes, is_users, stack_line, user_line
from graphkit.torch_export.symbolic_forwards import USED_BY_TORCHSCRIPT, failed_forward

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_NO_FUNCTION = re.compile(
    r"No ONNX function found for <OpOverload\(op='(?P<op>[\w.]+)', overload='(?P<overload>\w+)'\)>"
)
_UNSUPPORTED = re.compile(
    r"Exporting the operator '(?P<op>[\w:.]+)' to ONNX opset version (?P<opset>\d+) is not supported"
)
_NAMESPACE = re.compile(r"unrecognized namespace (?P<op>\w+::\w+)")
_ADDED = re.compile(r"added in version (?P<opset>\d+)")
_TRACED = re.compile(r"= (?P<op>\w+::\w+)\(.*# (?P<file>\S+?):(?P<line>\d+):\d+")
_STATIC = re.compile(r"static shape of (?P<size>\d+) for dimension inputs\[(?P<input>[^\]]+)\]\.shape\[(?P<axis>\d+)\]")

_SAME = {
    **dict.fromkeys(("__lshift", "__ilshift"), ("<<", "torch.bitwise_left_shift")),
    **dict.fromkeys(("__rshift", "__irshift"), (">>", "torch.bitwise_right_shift")),
}
"""Operators of Python's syntax that an exporter may have no rule for, and the function of torch that it has one for."""

OTHER_EXPORTER = {"dynamo": "torchscript", "torchscript": "dynamo"}

_EXPLAINED: tuple[tuple[str, str, str], ...] = (
    (
        r"data-dependent expression",
        "a Python 'if' or loop depends on the values of a tensor, which torch.export cannot follow",
        "use torch.where, torch.cond or torch.while_loop; or 'torchscript' with the branch in a @torch.jit.script helper",
    ),
    (
        r"found element of type Sym(Float|Int)|must be .*, not Sym(Float|Int)|!list of \[Sym(Float|Int)",
        "a Python number is taken from a tensor (.item()) and given to an operator that wants a constant there",
        Hint(
            "export with the number fixed and make it an input of the file: ",
            *(call("resize"), " or ", call("promote", tensors=[Blank("NAME")])),
        ),
    ),
    (
        r"data is not allocated yet|Cannot copy out of meta tensor|\.numpy\(\) is not supported",
        "Python reads the values of a tensor (torch.Tensor([...]), numpy) while the module is traced without values",
        "use torch.stack or torch.cat on the tensors themselves",
    ),
    (
        r"Exporting a ScriptModule is not supported",
        "the dynamo exporter takes no ScriptModule",
        "use exporter 'torchscript', or give the module that the script was made from",
    ),
    (
        r"aliasing during higher.order op",
        "a branch of torch.cond, or the body of torch.while_loop, gives back its argument as it is",
        "give a copy of it: x.clone()",
    ),
    (
        r"FX to torch\.jit\.trace",
        "the torchscript exporter cannot trace torch.cond or torch.while_loop",
        "use exporter 'dynamo'",
    ),
)


def export_error(
    error: Exception, exporter: str, module: Any, args: Any, kwargs: Any, heard: str
) -> ExportError | MissingExtraError:
    """The exception of an exporter as an ExportError.

    When torch's own tracing failed, the module is run once with the same arguments: a module that does not even run
    is told apart from one that runs and does not export.

    Args:
        error: What the exporter raised.
        exporter: "dynamo" or "torchscript".
        module: The module.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        heard: What torch printed and logged.
    """
    import torch

    for link in causes(error):
        if isinstance(link, ModuleNotFoundError) and link.name in ("onnxscript", "onnx_ir"):
            return MissingExtraError(link.name, "torch", "torch's dynamo exporter")
    text = "\n".join(plain(str(link)) for link in causes(error))
    told = {
        "details": "\n".join([heard, plain("".join(traceback.format_exception(error)))]).strip(),
        "torch_version": str(torch.__version__),
        "words": first_sentence(error)[:MOST_WORDS],
    }
    unsupported = _unsupported(error, text, heard)
    if unsupported:
        message, hint = unsupported
        return ExportError(message, hint=hint, stage="translation", **told)
    own = _own_failure(module, args, kwargs)
    if own is not None:
        message, hint = own
        return ExportError(message, hint=hint, stage="module", **told)
    if (stage := stage_of(error)) == "file":
        return unwritable(error, **told)
    message, hint = (_ignored(error) if exporter == "dynamo" else None) or _explained(error, text, exporter)
    return ExportError(message, hint=hint, stage=stage, **told)


def unwritable(error: BaseException, **told: str) -> ExportError:
    """The error of an exporter whose files cannot be written."""
    return ExportError(
        f"the files of an export cannot be written: {error}",
        hint="they lie in the folder of the model, and in the system's folder for temporary files (TMPDIR)",
        stage="file",
        **told,
    )


MOST_WORDS = 300
"""Characters of torch's own words that an error repeats; ``details`` has them all."""

_TRANSLATING = {
    *("ConversionError", "DispatchError", "GraphConstructionError", "UnsupportedOperatorError", "SymbolicValueError"),
    *("_run_symbolic_function", "_run_symbolic_method", "_optimize_graph", "_exported_program_to_onnx_program"),
    *("PassError", "optimize_ir"),
}
_WRITING = {"EncodeError", "_export_file", "_export_onnx", "_through_a_file", "save", "serialize_model_proto"}


def stage_of(error: BaseException) -> str:
    """Where an exporter ended, told by the kinds of its exceptions and the functions that they passed, innermost first."""
    for link in causes(error):
        kind = type(link).__name__
        if kind in _TRANSLATING:
            return "translation"
        if kind in ("TorchExportError", "TracingCheckError"):
            return "capture"
        frames = [frame for frame in traceback.extract_tb(link.__traceback__) if not is_users(frame.filename)]
        for frame in reversed(frames):
            if frame.name in _TRANSLATING:
                return "translation"
            if frame.name in _WRITING and isinstance(link, OSError | RuntimeError) and frame.name != "_through_a_file":
                return "file"
            if frame.name in ("_get_trace_graph", "_trace_and_get_graph_from_model"):
                return "capture"
            if frame.name == "_through_a_file":
                return "file" if isinstance(link, OSError) else "capture"
    return "capture"


def plain(text: str) -> str:
    """A text without the colour codes that torch writes into its messages."""
    return _ANSI.sub("", text)


def first_sentence(error: Exception) -> str:
    """What went wrong at the bottom of an exporter's exception, without its page of advice."""
    text = next((text for link in causes(error) if (text := plain(str(link)).strip())), type(error).__name__)
    return text.partition("\n")[0].partition(" Please feel free")[0].partition(" [Caused by")[0]


def _unsupported(error: Exception, text: str, heard: str) -> tuple[str, str] | None:
    if match := _UNSUPPORTED.search(text):
        operator, where = match["op"], _traced_line(match["op"], heard) or user_line(error)
        added = _ADDED.search(text)
        hint = f"ask for opset {added['opset']} or later" if added else _instead(operator)
        return f"{operator} has no translation to opset {match['opset']}{_at(where)}", hint
    if match := _NAMESPACE.search(text):
        where = _traced_line(match["op"], heard) or user_line(error)
        hint = f"register one: torch.onnx.register_custom_op_symbolic({match['op']!r}, function, opset)"
        return f"{match['op']} has no translation in the torchscript exporter{_at(where)}", hint
    if match := _NO_FUNCTION.search(text):
        namespace, _, name = match["op"].partition(".")
        operator = f"{namespace}::{name}"
        where = _failing_line(error) or user_line(error)
        table = f"{{torch.ops.{match['op']}.{match['overload']}: function}}"
        hint = _written_otherwise(operator) or Hint(
            "write it with other operators, or give ",
            Either(f"translations={table}", f"--translations PACKAGE.MODULE:NAME, where NAME is {table}"),
            "; ",
            bare("torch_lowering", name=operator),
            " shows what each exporter can do",
        )
        return f"{operator} has no translation in the dynamo exporter{_at(where)}", hint
    return None


def _written_otherwise(operator: str) -> str | None:
    """The function to call in place of an operator of Python's syntax."""
    syntax, function = _SAME.get(operator.partition("::")[2].rstrip("_"), ("", ""))
    return f"write {function}(x, n) in place of x {syntax} n: both exporters have a rule for it" if function else None


def _instead(operator: str) -> str:
    """What to do about an operator that the torchscript exporter has no rule for: dynamo is named where it has one."""
    if (otherwise := _written_otherwise(operator)) is not None:
        return otherwise
    try:
        lowering = torch_lowering(operator)
    except ExportError:  # the exporter drops a "_" at the end of an operator that changes its argument
        lowering = torch_lowering(f"{operator}_")
    if lowering.dynamo:
        return f"use exporter 'dynamo', which has a rule for it since opset {min(r.since for r in lowering.dynamo)}"
    if lowering.decomposed:
        return Hint(
            "the dynamo exporter has no rule for it either, and takes it apart; whether it can write what that leaves, ",
            bare("check_operators", module=Blank("MODULE"), args=Blank("ARGS")),
            " says",
        )
    return (
        "the dynamo exporter has no rule for it either: write it with other operators, or register a rule of your own "
        f"with torch.onnx.register_custom_op_symbolic({operator!r}, function, opset)"
    )


def _explained(error: Exception, text: str, exporter: str) -> tuple[str, str]:
    where = user_line(error) or stack_line(text)
    if match := _STATIC.search(text):
        name = match["input"].strip("'\"")
        return (
            f"axis {match['axis']} of {name} was asked to be dynamic, but the module fixes it to {match['size']}{_at(where)}",
            "mark the axes of the other inputs that must have the same size too, or do not mark this one",
        )
    for pattern, message, hint in _EXPLAINED:
        if re.search(pattern, text):
            return message + _at(where), hint
    texts = (plain(str(link)).strip() for link in causes(error) if not isinstance(link, StopIteration))
    line = next((text.splitlines()[0] for text in texts if text), type(error).__name__)
    return (
        f"the {exporter} exporter failed{_at(where)}: {line}",
        Hint(
            "try ",
            Argument("exporter", OTHER_EXPORTER[exporter]),
            "; ",
            Either("torch's whole message is in the error's details", "-v prints torch's whole message"),
        ),
    )


def _ignored(error: Exception) -> tuple[str, str] | None:
    """What to say where the dynamo exporter could not trace the ``forward`` of a Function that has a ``symbolic``."""
    failed = failed_forward(error)
    if failed is None:
        return None
    name, call, inside = failed
    reason = first_sentence(error)
    message = (
        f"the dynamo exporter ignores {name}.symbolic and cannot trace {name}.forward{_at(inside)}, which {name}.apply "
        f"calls{_at(call)}: {reason}"
    )
    return message, USED_BY_TORCHSCRIPT


def _own_failure(module: Any, args: Any, kwargs: Any) -> tuple[str, str | Hint] | None:
    import torch

    if not isinstance(module, torch.nn.Module):
        return None
    try:
        with torch.no_grad():
            module(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 (a user's forward may raise anything; it becomes the message)
        message = plain(forward_raised(type(module).__name__, error, "on these arguments"))
        return message, remedy(error, "call the module itself with these arguments first")
    return None


def _traced_line(operator: str, heard: str) -> str | None:
    """The user's line of an operator in the graph that the torchscript exporter prints when it fails."""
    for match in _TRACED.finditer(heard):
        if match["op"] == operator and is_users(match["file"]):
            return stack_line(f'File "{match["file"]}", line {match["line"]}')
    return None


def _failing_line(error: Exception) -> str | None:
    """The user's line behind the fx node that the dynamo exporter was translating: it is a local of its frames."""
    import torch

    for link in causes(error):
        for frame, _ in traceback.walk_tb(link.__traceback__):
            node = frame.f_locals.get("node")
            if isinstance(node, torch.fx.Node) and (line := stack_line(node.meta.get("stack_trace") or "")):
                return line
    return None


def _at(where: str | None) -> str:
    return f", at {where}" if where else ""
