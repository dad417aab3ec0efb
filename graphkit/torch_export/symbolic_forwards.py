"""autograd Functions whose symbolic the exporter uses, or does not."""

from __future__ import annotations

from types import CodeType


def symbolic_forwards() -> frozenset[CodeType]:
    """The code of the ``forward`` of each ``autograd.Function`` that says itself what it becomes in ONNX."""
    import torch

    found, left = set(), list(torch.autograd.Function.__subclasses__())
    while left:
        one = left.pop()
        left += one.__subclasses__()
        code = getattr(one.forward, "__code__", None)
        if code is not None and hasattr(one, "symbolic"):
            found.add(code)
    return frozenset(found)
