"""insert: a body stands between a value and those who read it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from graphkit.arguments import ArgumentValueError
from graphkit.edit.body import fit, read_body
from graphkit.edit.inserting import Insertion, chosen_readers
from graphkit.errors import EditError
from graphkit.graph.addresses import Addresses
from graphkit.graph.opset import opset_of
from graphkit.model import Model, ModelLike
from graphkit.operation import Edit, operation


@operation(law="meant", valid=False)
def insert(
    model: Model,
    at: str | Iterable[str],
    function: Any = None,
    *,
    body_model: ModelLike | None = None,
    readers: str | Iterable[str] | None = None,
    regex: bool = False,
) -> Edit:
    """Put a body between a value and those who read it.

    The value keeps its name, and its readers read the body's result. At an output of the graph the output keeps its name
    and gets the body's type; the value behind it gets another name. At an input the input keeps its name, and gets the
    type of the body's input where the body declares one.

    A body with several inputs takes as many values, in order; its further outputs become outputs of the graph where the
    value is one.

    Args:
        model: A path, a ModelProto or a Model.
        at: Values, by address: ``NAME``, ``NODE.ATTRIBUTE/NAME`` in a body, ``function:DOMAIN::NAME/VALUE`` in a
            function; ``*`` stands for any text, and names values that nodes make.
        function: The body. ONNX text, ``(a) => (b) { b = Relu(a) }`` at the model's opset or a whole function, graph or
            model; a file that holds a text or a model; a FunctionProto or an onnxscript function; or a name of the library: argmax, cast, clip, clip_uint8, identity, nms, normalize, relu, sigmoid, softmax,
            topk, transpose, with arguments as ``cast:to=float16``.
        body_model: The body as a model, in place of ``function``: a path, a ModelProto or a Model.
        readers: The nodes that read the result, or the output itself; the others go on reading the value. None for all.
        regex: ``at`` are regular expressions.

    Raises:
        NameNotFoundError: There is no such value or reader.
        EditError: The body has another number of inputs than values are given; a type does not fit; an operator of the
            body is unknown at the model's opset; a reader does not read the value; nothing reads it.
        FormatError, ModelFileError: The body cannot be read.
        ValueError: No value is named, or both or neither of ``function`` and ``body_model`` are given.

    Changes: nothing; returns a new model. The notes count what was put in.
    Scope: main graph, bodies, functions.
    Cost: O(graph); weights of the model are not read, those of the body are. One shape inference where the body gives
        another type than it takes.
    Law: meant.

    Example:
        >>> gk.insert("model.onnx", "logits", "softmax").save("out.onnx")  # doctest: +SKIP
    """
    proto = model.copy_proto()
    addresses = Addresses(proto)
    found = addresses.values(at, regex=regex, made=True)
    if not found:
        raise ArgumentValueError("insert needs at least one value")
    body = read_body(function, body_model, opset_of(proto))
    count = len(body.inputs)
    if count != 1 and count != len(found):
        raise EditError(f"{body.title} has {count} inputs, and {len(found)} values are given")
    if len(body.outputs) < max(count, 1):
        raise EditError(f"{body.title} has {len(body.outputs)} outputs, fewer than the {count} values it is put behind")
    notes = fit(body, proto)
    chosen = chosen_readers(addresses, found, readers)
    sites = addresses.sites if chosen is not None else ()
    work = Insertion(model.proto, proto, body, chosen, sites, addresses.main.columns)
    notes.append(work.at([found] if count > 1 else [[each] for each in found]))
    return Edit(proto, notes, warnings=work.warnings, arguments=body.written)
