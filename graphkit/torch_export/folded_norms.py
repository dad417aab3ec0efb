"""BatchNorms that an exporter folded into the convolution before them: which ones, and into which node.

Both exporters fold. The node is called after the convolution by torchscript and after the normalisation by dynamo, so that
one of the two modules is in no name of the file. Here both are written onto the node.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import onnx

from graphkit.finding import Finding
from graphkit.graph.module_paths import give_folded, module_path
from graphkit.graph.names import label
from graphkit.hint import Argument, Hint
from graphkit.semantics.kinds import PRODUCTS

NAMED = 3
"""Pairs that the finding names."""


class Pair(NamedTuple):
    """A normalisation and the module whose result it is given.

    Attributes:
        maker: Path of the module before it.
        maker_class: Its class, with its module.
        norm: Path of the BatchNorm.
        norm_class: Its class, with its module.
    """

    maker: str
    maker_class: str
    norm: str
    norm_class: str


@contextlib.contextmanager
def norms_recorded(module: Any) -> Iterator[list[Pair]]:
    """The pairs that a forward inside of the block runs through: for torchscript, which traces."""
    import torch

    found: dict[Pair, None] = {}
    pairs: list[Pair] = []
    paths = {one: path for path, one in module.named_modules()} if isinstance(module, torch.nn.Module) else {}

    def before(called: Any, args: Any) -> None:
        if called in paths and _is_norm(called) and args:
            maker = getattr(args[0], "_graphkit_made_by", None)
            if maker is not None:
                found[Pair(paths[maker], _class(maker), paths[called], _class(called))] = None

    def behind(called: Any, _: Any, made: Any) -> None:
        if called in paths and isinstance(made, torch.Tensor):
            made._graphkit_made_by = called  # noqa: SLF001 (ours, for ``before``)

    hooks = torch.nn.modules.module
    handles = [hooks.register_module_forward_pre_hook(before), hooks.register_module_forward_hook(behind)]
    try:
        yield pairs
    finally:
        for handle in handles:
            handle.remove()
        pairs += found


def norms_of_program(program: Any, module: Any) -> list[Pair]:
    """The pairs of an ExportedProgram: for dynamo."""
    import torch

    norms = None
    if isinstance(module, torch.nn.Module):
        norms = {path for path, one in module.named_modules(remove_duplicate=False) if _is_norm(one)}
    found: dict[Pair, None] = {}
    for node in program.graph.nodes:
        if node.op != "call_function" or "batch_norm" not in str(node.target) or not node.args:
            continue
        stack, above = _innermost(node), _innermost(node.args[0])
        if stack is None or above is None or stack == above:
            continue
        if stack[0] in norms if norms is not None else ".batchnorm." in stack[1]:
            found[Pair(*above, *stack)] = None
    return list(found)


def _innermost(node: Any) -> tuple[str, str] | None:
    stack = list((getattr(node, "meta", {}).get("nn_module_stack") or {}).values())
    return (str(stack[-1][0]), _named(stack[-1][1])) if stack else None


def _is_norm(module: Any) -> bool:
    import torch

    return isinstance(module, torch.nn.modules.batchnorm._BatchNorm)  # noqa: SLF001 (what all BatchNorms are)


def _class(module: Any) -> str:
    return _named(type(module))


def _named(kind: Any) -> str:
    return kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"


def folded_norms(proto: onnx.ModelProto, pairs: list[Pair]) -> list[Finding]:
    """Write both modules onto each node that a normalisation went into, and say so. Changes the proto's metadata.

    Scope: the main graph.
    Cost: O(nodes).
    """
    kept = {module_path(node) for node in proto.graph.node if node.op_type == "BatchNormalization"}
    places: dict[str | None, list[onnx.NodeProto]] = {}
    for node in proto.graph.node:
        if node.op_type in PRODUCTS:
            places.setdefault(module_path(node), []).append(node)
    said = []
    for pair in pairs:
        nodes = places.get(pair.norm) or places.get(pair.maker)
        if pair.norm in kept or not nodes:
            continue
        for node in nodes:
            give_folded(node, {pair.maker: pair.maker_class, pair.norm: pair.norm_class})
        said.append(
            f"your {_short(pair.norm_class)} {pair.norm!r} went into {nodes[0].op_type} {pair.maker!r} "
            f"(node {label(nodes[0])!r})"
        )
    if not said:
        return []
    more = f"; so did {len(said) - NAMED} more" if len(said) > NAMED else ""
    remedy = Hint("to keep them apart, export with ", Argument("optimize", value=False))
    return [Finding("folded", "; ".join(said[:NAMED]) + more, remedy=remedy)]


def _short(kind: str) -> str:
    return kind.rpartition(".")[2]
