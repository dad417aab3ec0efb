"""What to check in a freshly exported model: what torch silently left out, changed or got wrong."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from types import CodeType
from typing import TYPE_CHECKING, Any

import onnx

from graphkit.errors import ExportError
from graphkit.finding import Finding
from graphkit.graph import walk
from graphkit.graph.index import GraphIndex
from graphkit.graph.opset import opset_of
from graphkit.graph.values import dims
from graphkit.hint import Argument, Blank, Call, Hint, call, look
from graphkit.shapes.size_dependence import Comparison, breaking
from graphkit.tensor import type_name
from graphkit.torch_export.output_dims import follow_inputs
from graphkit.torch_export.ranges import ranges
from graphkit.torch_export.source_line import is_users, stack_line
from graphkit.torch_export.symbolic_forwards import symbolic_forwards, traced_forwards

if TYPE_CHECKING:
    from graphkit.torch_export.arguments import Arguments

TORCHSCRIPT_MAX_OPSET = 20
"""The newest opset that torch 2.13's torchscript exporter has definitions for; a later number only goes into the file."""

CHECK_BAKED = Call("find_baked", (), ("module, args_list", "FACTORY OUT"))
"""What looks for constants that stand for arguments."""

PROMOTE = call("promote", tensors=[Blank("NAME")])


def examine(
    proto: onnx.ModelProto,
    program: Any,
    bound: Arguments,
    dynamic: Mapping[str, Mapping[int, str]],
    opset: int | None,
    output_names: Sequence[str] | None,
    heard: Sequence[warnings.WarningMessage],
) -> tuple[Finding, ...]:
    """Everything worth telling about an exported model; repairs the torchscript exporter's dim names in it.

    Args:
        proto: The model. Its dim names may be changed, nothing else.
        program: The ExportedProgram behind it (dynamo), or None (torchscript).
        bound: The arguments of the export.
        dynamic: The dynamic axes asked for.
        opset: The opset asked for.
        output_names: The output names asked for.
        heard: The warnings that torch gave.

    Raises:
        ExportError: More output names were given than there are outputs.
    """
    if output_names is not None and len(output_names) > len(proto.graph.output):
        raise ExportError(
            f"{len(output_names)} output names were given ({', '.join(output_names)}), "
            f"and the module has {len(proto.graph.output)} outputs"
        )
    _make_numbers(proto)
    _rename_symbols(proto, dynamic)
    found = [
        *_inputs(proto, bound),
        *_opset(proto, opset, torchscript=program is None),
        *_asked_dims(proto, dynamic),
        *_traced(heard),
        *traced_forwards(program),
        *_output_types(proto, program),
        *ranges(program, dynamic),
        *_held_sizes(proto, bound, dynamic),
    ]
    if program is None:
        found += follow_inputs(proto, bound, dynamic)
    return tuple(found)


def _inputs(proto: onnx.ModelProto, bound: Arguments) -> list[Finding]:
    found = []
    index = GraphIndex(proto.graph)
    outputs = set(index.outputs)
    for leaf in bound.leaves:
        if not leaf.is_tensor and leaf.name in index.inputs:
            continue
        if not leaf.is_tensor:
            found.append(_number(leaf.name, leaf.value))
        elif leaf.name not in index.inputs:
            found.append(
                Finding(
                    "input-vanished",
                    f"input {leaf.name!r} is not in the model: nothing computed from its values reaches an output, "
                    "or they were turned into constants while tracing",
                    value=leaf.name,
                    remedy=Hint(CHECK_BAKED, " names the constants"),
                )
            )
        elif leaf.name not in index.consumers and leaf.name not in outputs:
            found.append(
                Finding("input-unused", f"input {leaf.name!r} is in the model and nothing reads it", value=leaf.name)
            )
    return found


def _number(name: str, value: Any) -> Finding:
    return Finding(
        "number-baked",
        f"argument {name!r} is a Python {type(value).__name__}; its value {value!r} is a constant in the model",
        value=name,
        remedy=Hint("give it as a tensor, or make it an input afterwards with ", call("resize"), " or ", PROMOTE),
    )


def _opset(proto: onnx.ModelProto, asked: int | None, *, torchscript: bool) -> list[Finding]:
    got = opset_of(proto, 0)
    if asked is not None and got != asked:
        remedy = "the torchscript exporter writes opset 9 to 20 itself" if asked < got else None
        return [Finding("opset", f"opset {asked} was asked for and the model has opset {got}", remedy=remedy)]
    if torchscript and got > TORCHSCRIPT_MAX_OPSET:
        message = (
            f"the torchscript exporter knows opset {TORCHSCRIPT_MAX_OPSET} at most; it only writes {got} into the file"
        )
        return [Finding("opset", message, remedy=Hint("use ", Argument("exporter", "dynamo"), " for this opset"))]
    return []


def _every_dim(proto: onnx.ModelProto) -> Iterator[onnx.TensorShapeProto.Dimension]:
    for graph in walk.graphs(proto.graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            yield from value.type.tensor_type.shape.dim


def _make_numbers(proto: onnx.ModelProto) -> None:
    """Give dims that torch writes as a symbol called ``3`` the size 3 (of a ScriptModule's inputs, torch 2.13)."""
    for dim in _every_dim(proto):
        if dim.dim_param.isdigit():
            dim.dim_value = int(dim.dim_param)


def _rename_symbols(proto: onnx.ModelProto, dynamic: Mapping[str, Mapping[int, str]]) -> None:
    """Call dims as the user did where torch has symbols of its own (``s48``): a ScriptModule comes with its own."""
    asked = {symbol for axes in dynamic.values() for symbol in axes.values()}
    renamed: dict[str, str] = {}
    for value in proto.graph.input:
        shape = dims(value.type)
        for axis, symbol in dynamic.get(value.name, {}).items():
            got = shape[axis] if shape is not None else None
            if isinstance(got, str) and got.isidentifier() and got not in asked:
                renamed.setdefault(got, symbol)
    if not renamed:
        return
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, renamed)) + r")\b")
    for dim in _every_dim(proto):
        if dim.dim_param:
            dim.dim_param = pattern.sub(lambda match: renamed[match[1]], dim.dim_param)


def _asked_dims(proto: onnx.ModelProto, dynamic: Mapping[str, Mapping[int, str]]) -> list[Finding]:
    found = []
    weights = {tensor.name for tensor in proto.graph.initializer}
    symbols = {symbol for axes in dynamic.values() for symbol in axes.values()}
    for value in proto.graph.input:
        if value.name in weights:
            continue
        asked = dynamic.get(value.name, {})
        for axis, got in enumerate(dims(value.type) or ()):
            symbol = asked.get(axis)
            if symbol is not None and got != symbol:
                found.append(Finding("dim", _other_dim(value.name, axis, symbol, got), value=value.name))
            elif symbol is None and isinstance(got, str) and got not in symbols:
                message = f"axis {axis} of input {value.name!r} was not asked to be dynamic, and is: {got!r}"
                found.append(Finding("dim", message, value=value.name))
    return found


def _other_dim(name: str, axis: int, symbol: str, got: int | str | None) -> str:
    if isinstance(got, int):
        return f"axis {axis} of input {name!r} was asked to be dynamic and is fixed to {got}"
    return f"axis {axis} of input {name!r} is called {got!r}, not {symbol!r}: torch says the two are equal"


_TRACED: tuple[tuple[str, str], ...] = (
    ("Iterating over a tensor", "a loop over a tensor was unrolled for the length that it had"),
    ("Converting a tensor to a Python boolean", "a Python 'if' on a tensor: only the branch taken is in the model"),
    ("Converting a tensor to a Python", "a tensor became a Python number; its value is a constant in the model"),
    ("Converting a tensor to a NumPy array", "a tensor left torch for numpy; its values are a constant in the model"),
    ("results are registered as constants", "a tensor made from Python values is a constant in the model"),
)


def _traced(heard: Sequence[warnings.WarningMessage]) -> list[Finding]:
    """The TracerWarnings, one for each line of the user's source; and what the torchscript exporter warns about."""
    found: dict[tuple[str, str], Finding] = {}
    hidden = symbolic_forwards()
    for warning in heard:
        if any(_stands_in(code, warning) for code in hidden):
            continue  # the exporter takes the Function's symbolic, not what its forward computes
        text = " ".join(str(warning.message).split())
        users = is_users(warning.filename)
        where = stack_line(f'File "{warning.filename}", line {warning.lineno}') if users else None
        if warning.category.__name__ == "TracerWarning":
            message = next((told for start, told in _TRACED if start in text), text.partition(". ")[0])
            finding = Finding("traced-constant", message, where, remedy=Hint(CHECK_BAKED, " tells whether it matters"))
        elif warning.category is UserWarning and "symbolic" in warning.filename:
            finding = Finding("exporter-warning", text)
        else:
            continue
        found.setdefault((finding.message, where or text), finding)
    return list(found.values())


def _stands_in(code: CodeType, warning: warnings.WarningMessage) -> bool:
    lines = [line for *_, line in code.co_lines() if line is not None]
    return code.co_filename == warning.filename and code.co_firstlineno <= warning.lineno <= max(lines)


def _output_types(proto: onnx.ModelProto, program: Any) -> list[Finding]:
    """Outputs of another element type than torch's: the dynamo exporter writes uint8 ``<<`` as int8 (torch 2.13)."""
    if program is None:
        return []
    found = []
    expected = _torch_output_types(program)
    for value, wanted in zip(proto.graph.output, expected, strict=False):
        got = value.type.tensor_type.elem_type
        if wanted is not None and got and got != wanted:
            found.append(
                Finding(
                    "output-type",
                    f"output {value.name!r} is {type_name(got)}, and {type_name(wanted)} in torch: its values may be wrong",
                    value=value.name,
                    remedy=Hint("compare with ", look("validate"), "; the torchscript exporter may have it right"),
                )
            )
    return found


def _torch_output_types(program: Any) -> list[int | None]:
    import torch

    from graphkit.torch_export.types import DATA_TYPES

    outputs = next(node for node in program.graph.nodes if node.op == "output").args[0]
    specs = program.graph_signature.output_specs
    users = [arg for arg, spec in zip(outputs, specs, strict=True) if spec.kind.name == "USER_OUTPUT"]
    found: list[int | None] = []
    for arg in users:
        held = arg.meta.get("val") if isinstance(arg, torch.fx.Node) else None
        if arg is not None:
            found.append(DATA_TYPES.get(str(held.dtype)) if isinstance(held, torch.Tensor) else None)
    return found


def _held_sizes(proto: onnx.ModelProto, bound: Arguments, dynamic: Mapping[str, Mapping[int, str]]) -> list[Finding]:
    """Nodes that work at the example's sizes of the dynamic axes only: a size of the example is a constant in them."""
    sizes = {leaf.name: tuple(leaf.value.shape) for leaf in bound.tensors if leaf.name in dynamic}
    if not sizes:
        return []

    def change(model: onnx.ModelProto, times: int) -> None:
        for value in model.graph.input:
            for axis in dynamic.get(value.name, ()) if value.name in sizes else ():
                value.type.tensor_type.shape.dim[axis].dim_value = int(sizes[value.name][axis]) * times

    cause = "another size of " + ", ".join(sorted({name for axes in dynamic.values() for name in axes.values()}))
    return [Finding("size-baked", said, remedy=FIXED) for said in breaking(Comparison(proto, change), cause=cause)]


FIXED = Hint(CHECK_BAKED, " names the constant; do not mark the axis as dynamic, or try the other exporter")
