"""A block in which other tools change a graph."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import onnx

from graphkit.bridge.edit import put_back
from graphkit.bridge.graphsurgeon import from_graphsurgeon, to_graphsurgeon
from graphkit.bridge.onnx_ir import from_onnx_ir, to_onnx_ir
from graphkit.model import Model


class Editing:
    """A context manager around changes that other tools make; ``Model.edit`` makes it.

    Attributes:
        proto: With kind ``"proto"``: a copy of the skeleton, for ``onnx.helper`` and the like. Large tensors are references.
        graph: With kind ``"graphsurgeon"``: an ``onnx_graphsurgeon.Graph``, whose weights are read when they are asked for.
        ir: With kind ``"onnx-ir"``: an ``onnx_ir.Model``, with the same weights.
        model: The edited Model, once the block has ended without an exception.
    """

    def __init__(self, model: Model, kind: str = "proto") -> None:
        if kind not in ("proto", "graphsurgeon", "onnx-ir"):
            raise ValueError(f"a graph is edited as 'proto', as 'graphsurgeon' or as 'onnx-ir', not as {kind!r}")
        self._source = model.without_record()
        self._kind = kind
        self.proto: onnx.ModelProto = onnx.ModelProto()
        self.graph: Any = None
        self.ir: Any = None
        self.model: Model = model

    def __enter__(self) -> Self:
        if self._kind == "proto":
            self.proto = self._source.copy_proto()
        elif self._kind == "onnx-ir":
            self.ir = to_onnx_ir(self._source)
        else:
            self.graph = to_graphsurgeon(self._source)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            return
        if self._kind == "proto":
            self.model = put_back(self._source, self.proto)
        elif self._kind == "onnx-ir":
            self.model = from_onnx_ir(self.ir, like=self._source)
        else:
            self.model = from_graphsurgeon(self.graph, like=self._source)
