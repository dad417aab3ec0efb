"""INTERIM: replaced by the scanning loader; the signatures stay."""
from __future__ import annotations
import os
import onnx
from graphkit.model import Model, ModelLike

def load(path: str | os.PathLike[str]) -> Model:
    return Model(onnx.load(os.fspath(path)), path=os.fspath(path))

def as_model(model: ModelLike) -> Model:
    if isinstance(model, Model):
        return model
    if isinstance(model, onnx.ModelProto):
        return Model(model)
    return load(model)
