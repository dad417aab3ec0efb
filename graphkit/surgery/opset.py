"""opset: the model in another version of ai.onnx."""

from __future__ import annotations

import onnx

from graphkit.arguments import ArgumentValueError
from graphkit.edit.converting import convert_opset
from graphkit.errors import EditError
from graphkit.graph.opset import opset_of
from graphkit.model import Model
from graphkit.operation import Edit, operation
from graphkit.runtime.written import check_written


@operation(law="same")
def opset(model: Model, *, to: int) -> Edit:
    """Write a model in a later or earlier version of ai.onnx.

    Node by node: whatever means the same in both versions is not touched, and everything beside the nodes stays
    (metadata, doc strings, quantization annotations, symbolic dims). Functions are inlined first. Operators that ONNX
    defines by others (LayerNormalization, Gelu, HardSwish, GroupNormalization, Attention and so on) become these where
    the version does not have them. ``onnx.version_converter`` converts whole models and loses what is beside the nodes.

    A node that the other version cannot say is refused, never approximated: an operator that came later, an attribute,
    a value of one or a type that the older version lacks, axes that are computed where they were attributes. Each kind of
    node of the result is held to its schema and loaded by ONNX Runtime where it is installed. Other domains keep their
    version, and the IR version is raised where the opset needs it and never lowered.

    Args:
        model: A path, a ModelProto or a Model.
        to: The version of ai.onnx; down to 7, up to what the installed onnx knows.

    Raises:
        EditError: A node cannot be written in that version, the model has training graphs, ``to`` is
            below both 7 and the model's own version, or that is one which the installed onnx does not know.
        ValueError: The installed onnx knows no such version.

    Changes: nothing; returns a new model. The notes name the nodes that were rewritten.
    Scope: main graph, bodies, functions.
    Cost: O(graph), two shape inferences, a millisecond for each kind of node that the runtime loads; weights are not read.
    Law: same.
    Source: onnx/docs/Changelog.md; onnx issue 8480 (the whole-model converter and Resize-10).

    Example:
        >>> gk.opset("model.onnx", to=21).save("out.onnx")  # doctest: +SKIP
    """
    newest = onnx.defs.onnx_opset_version()
    if not 1 <= to <= newest:
        raise ArgumentValueError(f"the installed onnx knows opsets 1 to {newest}, not {to}")
    proto = model.copy_proto()
    before = opset_of(proto)
    if before > newest:
        raise EditError(
            f"the model imports opset {before}, and the installed onnx knows opsets to {newest}",
            hint="install a newer onnx: pip install --upgrade onnx",
        )
    notes = convert_opset(proto, to)
    if notes:
        notes += check_written(model.proto, proto)
    return Edit(proto, notes or [f"the model is at opset {before} already"])
