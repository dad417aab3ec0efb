"""torch's exporters as the tests use them: each net is exported once a run, and torch's table of operators built once.

``Exports.of`` keeps what it made in a folder that all workers of a run share, so that no file exports again what another
one has exported.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx

REGISTRY = "torch.onnx._internal.exporter._registration"


def share_registry() -> None:
    """Let the dynamo exporter build its table of operators once a process instead of once an export.

    It parses the source of five hundred functions for it, which is two thirds of the time of a small export. Every export
    gets a table of its own to register in, as before. To be called when torch may be there; it imports nothing.
    """
    module = sys.modules.get(REGISTRY)
    if module is None or hasattr(module.ONNXRegistry, "built"):
        return
    registry = module.ONNXRegistry
    build = functools.cache(registry.from_torchlib.__func__)

    def from_torchlib(cls: Any, opset_version: int = 18) -> Any:
        built = build(cls, opset_version)
        made = cls()
        made._opset_version = opset_version
        made.functions = {target: list(found) for target, found in built.functions.items()}
        return made

    registry.built = build
    registry.from_torchlib = classmethod(from_torchlib)


class Exports:
    """Exports by what they are of: (net, exporter, opset, options) -> model, made by whoever asks first."""

    def __init__(self, folder: Path) -> None:
        """Keep them in a folder."""
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def of(self, net: str, exporter: str, make: Callable[[], onnx.ModelProto | None], **options: object) -> Any:
        """The ModelProto of a net, a copy of one's own; None where ``make`` gave None: torch cannot export it.

        Args:
            net: Its name, with the name of the table that it is from: "dims/swin".
            exporter: "torchscript" or "dynamo".
            make: Exports it.
            options: The opset, dynamic axes, what else the export depends on.
        """
        key = repr((net, exporter, sorted(options.items())))
        path = self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.onnx"
        if not path.exists():
            made = make()
            temporary = path.with_suffix(f".{os.getpid()}")
            temporary.write_bytes(b"" if made is None else made.SerializeToString())
            temporary.rename(path)
        data = path.read_bytes()
        return onnx.ModelProto.FromString(data) if data else None
