"""inline: calls of functions become the functions' bodies."""

from __future__ import annotations

from collections.abc import Iterable

from graphkit.edit.converting import level_versions
from graphkit.edit.inlining import called, inline_calls, told
from graphkit.errors import NameNotFoundError
from graphkit.graph import walk
from graphkit.model import Model
from graphkit.operation import Edit, operation
from graphkit.runtime.written import check_written


@operation(law="same")
def inline(model: Model, functions: Iterable[str] | None = None) -> Edit:
    """Replace calls of model-local functions by the functions' bodies.

    Each call gets a copy of the body whose values have names of their own; calls inside of bodies, of other functions and
    of training graphs are expanded too. Types that a function declares for its values go along (a symbolic dim of a
    function that is called again gets another name each time). Nodes keep their names, doc strings and metadata, and take
    over the metadata of the call where they have no entry of that key. What the function itself says (its doc string and
    metadata) has no place in a graph and goes.

    Args:
        model: A path, a ModelProto or a Model.
        functions: The functions to inline, as ``name``, ``domain::name`` or ``domain::name:overload``; None for all.

    Returns:
        The model without these functions.

    Raises:
        NameNotFoundError: The model has no function of a name.
        EditError: The calls come to more than 262,144 nodes beyond those of the file (functions that call each other twice
            double each time), a call does not fit its function, or a custom domain is imported in two versions.
        InvalidGraphError: A function calls itself.

    Changes: nothing; returns a new model. The notes count the calls of each function.
    Scope: main graph, bodies, training graphs, and functions that stay.
    Cost: O(nodes of the result), counted before anything is expanded; weights are not read.
    Law: same.
    Source: onnx/docs/IR.md, "Functions".

    Example:
        >>> gk.inline("model.onnx").save("flat.onnx")  # doctest: +SKIP
    """
    names = None if functions is None else [functions] if isinstance(functions, str) else list(functions)
    proto = model.copy_proto()
    done = inline_calls(proto, _keys(model, names))
    notes = told(done) + level_versions(proto, done.versions)
    notes += check_written(model.proto, proto, new_only=not done.versions)
    return Edit(proto, notes)


def _keys(model: Model, names: list[str] | None) -> list[walk.FunctionKey]:
    known = [walk.function_key(function) for function in model.proto.functions]
    if names is None:
        return known
    found: list[walk.FunctionKey] = []
    for name in names:
        matching = [key for key in known if name in (key[1], f"{key[0]}::{key[1]}", called(key))]
        if not matching:
            raise NameNotFoundError("function", name, map(called, known))
        found.extend(matching)
    return found
