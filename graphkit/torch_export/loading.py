"""Does the runtime load what was exported? Asked where it is installed and the weights are not large."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphkit.errors import GraphkitError
from graphkit.finding import Finding
from graphkit.optional import is_there
from graphkit.tensor import stored_bytes

if TYPE_CHECKING:
    from graphkit.model import Model

MOST = 256 << 20
"""Bytes of weights up to which a model is loaded to see whether that works: a second of time, twice the memory."""


def unloadable(model: Model) -> tuple[Finding, ...]:
    """A finding where ONNX Runtime refuses the model.

    A model that has operators of other domains than ONNX's and the runtime's, or of functions of its own, is not asked
    about: they need a library that the user registers.

    Cost: a session, without the runtime's rewrites.
    """
    proto = model.proto
    own = {function.domain for function in proto.functions}
    foreign = {node.domain for node in proto.graph.node} - own - {"", "ai.onnx", "com.microsoft"}
    if foreign or not is_there("onnxruntime"):
        return ()
    if sum(stored_bytes(tensor) for tensor in proto.graph.initializer) > MOST:
        return ()
    from graphkit.runtime.session import session

    try:
        session(model, device="cpu", optimization="none")
    except GraphkitError as error:
        message = f"ONNX Runtime does not load the model: {error.message}"
        return (Finding("not-loaded", message, remedy="try the other exporter, or another opset"),)
    return ()
