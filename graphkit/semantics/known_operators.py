"""Which operators there are: in the domains that ONNX itself defines, at the opset that a model imports."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import onnx

from graphkit.errors import EditError, similar
from graphkit.graph import walk
from graphkit.graph.names import title
from graphkit.hint import Blank, Hint, call
from graphkit.semantics.schemas import operators

DOMAINS = ("", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training")
"""The domains whose operators ONNX defines. What another domain has, only its runtime knows."""

LONGEST = 60
"""Characters of a node's name that a line of advice repeats."""


def unknown_operator(node: onnx.NodeProto, versions: Mapping[str, int]) -> str | None:
    """Why ONNX has no operator of a node's name, or None: it has one, or the domain is another's to define.

    Args:
        node: A node that calls no function of the model.
        versions: What ``imported`` gives.

    Source: the schemas of the installed onnx. Cost: about 1 microsecond; 20 ms the first time.
    """
    domain = walk.call_key(node)[0]
    if domain not in DOMAINS or not node.op_type:
        return None
    spelt = domain or "ai.onnx"
    known = _operators(domain).get(node.op_type)
    if known is None:
        close = similar(node.op_type, _operators(domain), count=1)
        like = f"; did you mean {close[0]}?" if close else ""
        return f"{title(node)}: {spelt} has no operator {node.op_type}{like}"
    version = versions.get(domain)
    if version is None:
        return f"{title(node)}: the model does not import {spelt} (opset_import), to which {node.op_type} belongs"
    if version < known[0]:
        return f"{title(node)}: {spelt} has {node.op_type} since version {known[0]}, and the model imports {version}"
    return None


def unknown_operator_remedy(domain: str, op_type: str, node: str | None) -> Hint:
    """What to do about a node that ``unknown_operator`` has a word on.

    Args:
        domain: "" for ai.onnx.
        op_type: The operator.
        node: What the node is called, or None.
    """
    short = node and len(node) <= LONGEST
    instead = call("replace", nodes=[node if short else Blank("NODE")], function=Blank("FILE"))
    known = _operators(domain).get(op_type)
    if known is None or domain:
        return Hint("put what it stands for in its place with `", instead, "`")
    return Hint(
        "raise the opset with `",
        call("opset", to=known[0]),
        "`, or put older operators in its place with `",
        instead,
        "`",
    )


def require_known(node: onnx.NodeProto, user: str) -> None:
    """Refuse a node in a domain of ONNX whose operator no version of it has.

    Args:
        node: A node that calls no function.
        user: Who has it, for the message: ``which USER``.

    Raises:
        EditError: There is no such operator.
    """
    domain = walk.call_key(node)[0]
    if domain not in DOMAINS or node.op_type in _operators(domain):
        return
    close = similar(node.op_type, _operators(domain), count=1)
    like = f"did you mean {close[0]}? " if close else ""
    raise EditError(
        f"{domain or 'ONNX'} has no operator {node.op_type!r}, which {user}",
        hint=f"{like}an operator of another domain is written with it, such as com.microsoft.{node.op_type}",
    )


@cache
def _operators(domain: str) -> dict[str, tuple[int, ...]]:
    return operators(domain)
