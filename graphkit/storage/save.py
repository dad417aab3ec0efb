"""INTERIM: replaced by the streaming, atomic saver; the signatures stay."""
from __future__ import annotations
import os
import onnx
from graphkit.model import ModelLike
from graphkit.storage.load import as_model

def save(model: ModelLike, path: str | os.PathLike[str], *, external: str | None = None, weights: str = "auto") -> None:
    onnx.save(as_model(model).materialize(), os.fspath(path))
