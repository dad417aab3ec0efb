"""A model in another version of ai.onnx: node by node, so that nothing but the nodes that must change does.

A node stays as it is, is written as the other version has it, becomes what ONNX defines it to be, or is refused.
``onnx.version_converter`` converts whole models and loses functions, metadata and quantization annotations on the way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import onnx

from graphkit.edit.function_bodies import expanded_operator
from graphkit.edit.inlining import inline_calls, told
from graphkit.edit.lowered_nodes import Place
from graphkit.edit.lowering import LOWEST, is_initializer, lowered_node
from graphkit.edit.nodes import set_nodes
from graphkit.edit.prune import prune
from graphkit.edit.raising import raised_node
from graphkit.errors import EditError
from graphkit.graph import walk
from graphkit.graph.names import Names, title
from graphkit.graph.opset import opset_of
from graphkit.graph.scopes import Scope, scopes
from graphkit.graph.values import constant_tensor
from graphkit.shapes.inference import inferred

INITIALIZERS_ALONE = 4
"""The IR version since which an initializer need not be a graph input (docs/IR.md)."""

ROUNDS = 8
"""How often definitions are expanded: those of ONNX are made of operators that have definitions at most twice."""


def convert_opset(model: onnx.ModelProto, target: int) -> list[str]:
    """Make a model import another version of ai.onnx, converting the nodes that this concerns. Changes the model.

    Functions are inlined first. Names, doc strings and metadata of nodes stay; a node that becomes several gives them to
    the one that makes its output. Constants that become attributes go where nothing else reads them. The IR version is
    raised where the opset needs it and never lowered.

    Returns:
        What was done, one sentence that names the nodes; nothing where the model is at that version already.

    Raises:
        EditError: A node cannot be written in that version, the model has training graphs, or the version is below both
            ``LOWEST`` and the model's own.

    Scope: main graph and bodies.
    Cost: O(graph), and one shape inference; weights are not read.
    """
    before = opset_of(model)
    if before == target:
        return []
    change = "raised" if target > before else "lowered"
    if target < min(LOWEST, before):
        raise EditError(
            f"models are lowered to opset {LOWEST} at least, not to {target}", hint="export it with that opset"
        )
    if model.training_info:
        raise EditError(
            f"the model has training graphs, so it cannot be {change} from opset {before} to {target} here",
            hint="take them out first: del proto.training_info[:]",
        )
    notes, versions = inline_all(model)
    changed = _convert(model, before, target, versions)
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = target
    if target > before:
        model.ir_version = max(model.ir_version, _least_ir(target))
    return [f"the model is {change} from opset {before} to {target}{rewritten(changed)}", *notes]


def inline_all(model: onnx.ModelProto) -> tuple[list[str], Mapping[str, int]]:
    """Inline every function. Changes the model.

    Returns:
        What was done, and the versions of nodes whose function imports another version of ai.onnx (``inlining.Inlined``).

    Raises:
        EditError: As ``inline_calls``.
    """
    if not model.functions:
        return [], {}
    done = inline_calls(model, [walk.function_key(function) for function in model.functions])
    return told(done), done.versions


def level_versions(model: onnx.ModelProto, versions: Mapping[str, int]) -> list[str]:
    """Write nodes that are in another version of ai.onnx than the model in the model's. Changes the model.

    Args:
        model: The model.
        versions: First output of a node -> its version (``inlining.Inlined``).

    Returns:
        What was done.

    Raises:
        EditError: A node cannot be written in the model's version.
    """
    opset = opset_of(model)
    changed = _convert(model, opset, opset, versions) if versions else []
    return [f"written in the model's opset {opset}{rewritten(changed)}"] if changed else []


def rewritten(nodes: Sequence[str], most: int = 12) -> str:
    """The end of a note that names nodes; nothing where there are none."""
    more = f" and {len(nodes) - most} more" if len(nodes) > most else ""
    return f"; rewritten: {', '.join(nodes[:most])}{more}" if nodes else ""


def _least_ir(opset: int) -> int:
    """The IR version that came out with an opset (onnx/docs/Versioning.md)."""
    return int(onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", opset)], ignore_unknown=True))


def _convert(model: onnx.ModelProto, before: int, target: int, versions: Mapping[str, int]) -> list[str]:
    """Convert every node; returns what to call those that changed."""
    versions, origins, titles = dict(versions), dict[str, str](), dict[str, None]()
    for _ in range(ROUNDS):
        work = _Round(model, before, target, versions, origins)
        if not work.expand():
            titles.update(dict.fromkeys(work.convert()))
            break
        titles.update(dict.fromkeys(work.titles))
    return list(titles)


class _Graph(NamedTuple):
    """A graph of the model, and its scope with the types that inference found."""

    graph: onnx.GraphProto
    scope: Scope


_Answer: TypeAlias = "tuple[list[onnx.NodeProto], list[onnx.NodeProto]]"
"""What a node is by definition, where it has to be expanded; and what it is in the other version, where not."""


class _Round:
    """One look at every node with the types of now: either what has to be expanded is, or everything is converted."""

    def __init__(
        self, model: onnx.ModelProto, before: int, target: int, versions: dict[str, int], origins: dict[str, str]
    ) -> None:
        self._model = model
        self._before = before
        self._target = target
        self._versions = versions
        self._origins = origins
        self._names = Names(model.graph)
        found = scopes(inferred(model).graph)
        self._graphs = [_Graph(*pair) for pair in zip(walk.graphs(model.graph), found, strict=True)]
        self._answers: list[list[_Answer]] = []
        self.titles: list[str] = []

    def expand(self) -> bool:
        """Replace the nodes that the other version does not have by what ONNX defines them to be, if there are any."""
        expanded = False
        for graph, scope in reversed(self._graphs):
            answers = [self._answer(node, scope) for node in graph.node]
            self._answers.append(answers)
            if any(body for body, _ in answers):
                pairs = zip(graph.node, answers, strict=True)
                set_nodes(graph, [one for node, (body, _) in pairs for one in body or [node]])
                expanded = True
        return expanded

    def convert(self) -> list[str]:
        """Write every node in the other version; bodies before the nodes that hold them. Returns what changed."""
        titles: list[str] = []
        unread: set[str] = set()
        for (graph, scope), answers in zip(reversed(self._graphs), self._answers, strict=True):
            nodes: list[onnx.NodeProto] = []
            changed: list[str] = []
            for node, (_, found) in zip(graph.node, answers, strict=True):
                has_bodies = node.attribute and any(True for _ in walk.bodies(node))
                new = self._converted(node, scope) if has_bodies else found
                nodes.extend(new)
                if len(new) > 1 or new[0] != node:
                    changed.append(self._origins.get(next(iter(node.output), "")) or title(node))
                    kept = {name for made in new for name in (*made.input, *made.output)}
                    unread.update({*node.input, *node.output} - kept)
            if changed or any(is_initializer(node, self._target) for node in nodes):
                set_nodes(graph, self._without_initializers(graph, nodes))
            titles[:0] = changed
        prune(self._model, sorted(unread))
        return titles

    def _without_initializers(self, graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
        """The nodes but those that have to be initializers in the other version, which are made initializers."""
        kept = []
        for node in nodes:
            tensor = constant_tensor(node) if is_initializer(node, self._target) else None
            if tensor is None:
                kept.append(node)
                continue
            if self._model.ir_version < INITIALIZERS_ALONE:
                raise EditError(
                    f"{title(node)} would have to be an initializer, which is an input too before IR version 4",
                    hint=f"raise the IR version first: it is {self._model.ir_version}",
                )
            copy = graph.initializer.add()
            copy.CopyFrom(tensor)
            copy.name = node.output[0]
        return kept

    def _version(self, node: onnx.NodeProto) -> int:
        return self._versions.get(next(iter(node.output), ""), self._before)

    def _answer(self, node: onnx.NodeProto, scope: Scope) -> _Answer:
        try:
            return [], self._converted(node, scope)
        except EditError as refused:
            version = self._version(node)
            origin = self._origins.get(next(iter(node.output), ""))
            try:
                body = expanded_operator(node, scope, version, self._names)
            except EditError as error:
                raise EditError(f"{refused.message}; {error.message}", hint=refused.hint) from error
            if body is None and origin is None:
                raise
            if body is None:
                raise EditError(f"{origin} is defined by others, and {refused.message}", hint=refused.hint) from refused
            self.titles.append(origin or title(node))
            self._origins.update((one.output[0], origin or title(node)) for one in body if one.output)
            self._versions.update((one.output[0], version) for one in body if one.output and version != self._before)
            return body, []

    def _converted(self, node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
        version = self._version(node)
        if version == self._target:
            return [node]
        if version < self._target:
            return raised_node(node, Place(scope, version, self._target, self._names))
        return lowered_node(node, Place(scope, version, self._target, self._names))
