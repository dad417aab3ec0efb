"""Operators of the user's own: translations for an exporter, and the versions of their domains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import onnx

from graphkit.errors import similar
from graphkit.finding import Finding
from graphkit.graph import walk

Translations: TypeAlias = Mapping[Callable[..., Any], Any]
"""torch operator -> the function that builds its ONNX nodes, or several of them."""


def own_translations(exporter: str, given: Translations | None, table: Translations | None) -> Translations:
    """The translations under either name.

    Raises:
        ValueError: They are given under both, or for an exporter that takes none.
    """
    if given and table:
        raise ValueError("translations and custom_translation_table are one thing: give one of them")
    found = given or table or {}
    if found and exporter != "dynamo":
        raise ValueError(
            "translations are for the dynamo exporter; torchscript takes torch.onnx.register_custom_op_symbolic"
        )
    return found


def unused_translations(program: Any, translations: Translations) -> list[Finding]:
    """A finding for each translation of an operator that the exported program does not call."""
    if program is None or not translations:
        return []
    graphs = [module.graph for module in program.graph_module.modules() if hasattr(module, "graph")]
    called = {node.target for graph in graphs for node in graph.nodes if node.op == "call_function"}
    found = []
    for key in translations:
        if key in called:
            continue
        close = similar(str(key).replace("::", "."), sorted(str(target) for target in called))
        there = f"; it calls {', '.join(close)}" if close else ""
        named = hasattr(key, "overloadpacket")
        message = (
            f"the translation of {str(key) if named else repr(key)} was not used: the module does not call it{there}"
        )
        found.append(Finding("translation", message, remedy=None if named else OVERLOAD))
    return found


OVERLOAD = "name the operator as torch does, with its overload: torch.ops.aten.relu.default"


def own_opsets(given: Mapping[str, int] | None) -> dict[str, int]:
    """Versions of domains.

    Raises:
        TypeError: A version is no number.
        ValueError: It is below 1, or the domain is ONNX's own.
    """
    found = dict(given or {})
    for domain, version in found.items():
        if isinstance(version, bool) or not isinstance(version, int):
            raise TypeError(f"the version of domain {domain!r} is a number, not {version!r}")
        if domain in ("", "ai.onnx"):
            raise ValueError("custom_opsets is for domains of your own; opset= says the version of ONNX's operators")
        if version < 1:
            raise ValueError(f"the version of domain {domain!r} is 1 or more, not {version}")
    return found


def give_opsets(proto: onnx.ModelProto, versions: Mapping[str, int]) -> list[Finding]:
    """Write versions of domains into a model and its functions; a domain that it does not use is a finding."""
    used = {node.domain for node in walk.model_nodes(proto)}
    found = []
    for domain, version in versions.items():
        if domain not in used:
            own = sorted(used - {"", "ai.onnx"})
            close = similar(domain, own) or own
            there = f"; it uses {', '.join(map(repr, close))}" if close else ""
            found.append(
                Finding("opset", f"no node of the model is of domain {domain!r}, given version {version}{there}")
            )
            continue
        for imports in (proto.opset_import, *(function.opset_import for function in proto.functions)):
            for entry in imports:
                if entry.domain == domain:
                    entry.version = version
        if not any(entry.domain == domain for entry in proto.opset_import):
            proto.opset_import.add(domain=domain, version=version)
    return found
