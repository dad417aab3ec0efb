"""Rules applied to a model: round by round until none matches, in the main graph and in bodies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING

import onnx

from graphkit.edit.forgetting import forget_values
from graphkit.edit.function_graph import as_model, take_back
from graphkit.edit.inlining import called
from graphkit.edit.nodes import delete_nodes, sort_nodes
from graphkit.edit.patterns.expressions import UnknownError
from graphkit.edit.patterns.facts import Types
from graphkit.edit.patterns.matcher import Match, Matcher, Nearest
from graphkit.edit.patterns.replacement import Written, written
from graphkit.edit.prune import prune
from graphkit.edit.readers import read_instead
from graphkit.errors import EditError
from graphkit.graph import order, walk
from graphkit.graph.columns import outputs_of
from graphkit.graph.names import Names, title
from graphkit.graph.opset import canonical, opset_of
from graphkit.graph.scopes import Scope, scopes
from graphkit.graph.upstream import upstream
from graphkit.model import Model
from graphkit.semantics.known_operators import require_known
from graphkit.semantics.schemas import schema_of

if TYPE_CHECKING:
    from graphkit.edit.patterns.graph_rules import GraphRule
    from graphkit.edit.patterns.rule import Alternative, Rule

OPERATOR = attrgetter("domain", "op_type")
"""A node -> the domain and the operator that it says."""

MOST_GENERATIONS = 32
"""How often what a rule wrote may be matched by the rule again, where its replacement is no smaller than its pattern."""

GROWTH = 64
"""How many times its values a model may come to."""

NAMED = 12
"""Places that a note names."""

SAMPLES = 4
"""Places of each pattern whose nodes are looked at by the schemas and the runtime; the others are alike."""


@dataclass
class Done:
    """What one rule did.

    Attributes:
        rule: The rule.
        places: What stood there, one entry a match.
        told: What the rule itself says about each.
        nearest: Where it came nearest, where it matched nothing.
        score: How near that was.
        samples: Written nodes with their constants, to be checked.
    """

    rule: Rule | GraphRule
    places: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    nearest: str = ""
    score: int = -1
    samples: list[Written] = field(default_factory=list)

    def notes(self) -> list[str]:
        """What a user should know."""
        if not self.places:
            return [f"{self.rule.name}: nothing matched; {self.nearest}"]
        said = [f"{self.rule.name}: {len(self.places)} rewritten: {_listed(self.places)}"]
        more = [f"and {len(self.told) - NAMED} more"] if len(self.told) > NAMED else []
        return [*said, *self.told[:NAMED], *more]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def apply_in_functions(
    model: Model, proto: onnx.ModelProto, rule: Rule, done: Done
) -> list[tuple[onnx.ModelProto, Done]]:
    """Rewrite every place of a model's functions where a rule matches. Changes the model, and what was done.

    Nothing is known of the types of a function's inputs, and a node that takes an attribute from the call is no match.

    Returns:
        Each function that was changed, as a model of its own, and what was done in it.
    """
    changed = []
    own = _own(proto)
    for function in proto.functions:
        whole = as_model(proto, function)
        inside = _Work(model, whole, rule, Names(whole.graph), own).run()
        where = called(walk.function_key(function))
        if inside.places:
            take_back(proto, function, whole)
            changed.append((whole, inside))
            done.places += [f"{place} of {where}" for place in inside.places]
            done.told += [f"{told} of {where}" for told in inside.told]
        elif inside.score > done.score:
            done.score, done.nearest = inside.score, f"{inside.nearest} (in {where}, whose inputs have no types)"
    return changed


def apply_rule(model: Model, proto: onnx.ModelProto, rule: Rule, names: Names) -> Done:
    """Rewrite every place where a rule matches, and what it wrote as long as it matches that. Changes the model.

    Args:
        model: Whose bytes the constants are.
        proto: The model to change.
        rule: The rule.
        names: The model's names, which new ones are added to.

    Raises:
        EditError: The rule would go on for ever: it matches what it wrote, again and again.

    Scope: the main graph and bodies; functions are for ``apply_in_functions``.
    Cost: O(graph) a round. Weights are read only where a constant is computed from them.
    """
    return _Work(model, proto, rule, names, _own(proto)).run()


def _own(proto: onnx.ModelProto) -> set[tuple[str, str]]:
    """The operators that a model defines itself."""
    return {walk.function_key(function)[:2] for function in proto.functions}


class _Work:
    def __init__(
        self, model: Model, proto: onnx.ModelProto, rule: Rule, names: Names, own: set[tuple[str, str]]
    ) -> None:
        self._own = own
        self._model = model
        self._proto = proto
        self._rule = rule
        self._opset = opset_of(proto)
        self._names = names
        self._done = Done(rule)
        self._generation: dict[str, int] = {}
        self._most = GROWTH * (len(names.values) + GROWTH)
        self._left: dict[str, None] = {}
        self._vanished: set[str] = set()

    @cached_property
    def _protected(self) -> set[str]:
        return _protected(self._proto)

    def run(self) -> Done:
        nearest = Nearest()
        alternatives = [a for a in self._rule.alternatives if self._applies(a, nearest)]
        while alternatives and self._round(alternatives, nearest):
            pass
        if self._done.places:
            self._tidy()
        self._done.score = nearest.score
        self._done.nearest = str(nearest) or "the model is not of a kind that it is for"
        return self._done

    def _applies(self, alternative: Alternative, nearest: Nearest) -> bool:
        """Whether a pattern is for this opset, and every operator of its replacement is known there."""
        low, high = alternative.lowest, alternative.highest
        if self._opset < low or (high is not None and self._opset > high):
            wanted = f"{low} or later" if high is None else f"{low} to {high}"
            nearest.note(0, f"it is for opset {wanted}, and the model has {self._opset}")
            return False
        defined = next((one.op for one in alternative.pattern.nodes if one.op in self._own), None)
        if defined is not None:
            nearest.note(0, f"the model defines {defined[1]} itself; inline its functions first")
            return False
        for node in walk.nodes(onnx.GraphProto(node=alternative.replacement.node)):
            if walk.call_key(node)[:2] not in self._own:
                require_known(node, f"{self._rule.name} writes")
            if not node.domain and schema_of(node.op_type, self._opset) is None:
                since = _since(node.op_type)
                nearest.note(0, f"opset {self._opset} has no {node.op_type}{since}")
                return False
        return True

    def _round(self, alternatives: Sequence[Alternative], nearest: Nearest) -> int:
        """Look at every place once; returns how many were rewritten."""
        alternatives = self._possible(alternatives, nearest)
        if not alternatives:
            return 0
        whole: list[list[Scope]] = []
        count = 0
        for number, scope in reversed(list(enumerate(scopes(self._proto.graph)))):
            types = Types(self._model, self._proto, whole, number, scope)
            work = _Graph(scope)
            for alternative in alternatives:
                matcher = Matcher(
                    alternative,
                    scope,
                    types,
                    opset=self._opset,
                    parameters=self._rule.parameters,
                    protected=self._protected,
                    nearest=nearest,
                )
                for match in matcher.matches(work.by_operator):
                    count += self._take(work, match, nearest)
            if work.gone:
                self._write(work)
        return count

    def _possible(self, alternatives: Sequence[Alternative], nearest: Nearest) -> list[Alternative]:
        """The patterns of which every operator is in the model."""
        pairs = set(map(OPERATOR, walk.nodes(self._proto.graph)))
        there = {(canonical(domain), op) for domain, op in pairs}
        found = []
        for alternative in alternatives:
            lacking = next((one.op[1] for one in alternative.pattern.nodes if one.op not in there), None)
            if lacking is None:
                found.append(alternative)
            else:
                nearest.note(0, f"the model has no {lacking}")
        return found

    def _take(self, work: _Graph, match: Match, nearest: Nearest) -> bool:
        """Note what stands for a match, unless its nodes belong to another one already."""
        positions = set(match.positions.values())
        if not positions.isdisjoint(work.used):
            return False
        nodes = work.scope.index.nodes
        try:
            made = written(match, self._model, work.scope, self._names, self._opset)
        except UnknownError as error:
            nearest.note(len(positions) + 1, f"at {title(nodes[match.positions[0]])}: {error}")
            return False
        kept = _still_read(work, match)
        self._count_generations(match, made, [work.scope.index.columns.outputs[position] for position in positions])
        place = max(positions)
        own = match.values[match.alternative.pattern.outputs[0]]
        self._done.places.append(title(nodes[work.scope.index.producer[own]]))
        if self._rule.told:
            self._done.told.append(_told(self._rule.told, match, nodes))
        if len(self._done.samples) < SAMPLES * len(self._rule.alternatives):
            self._done.samples.append(made)
        work.used |= positions
        work.gone |= positions - kept
        work.new[place] = made
        work.reorders |= len(match.alternative.pattern.outputs) > 1
        return True

    def _count_generations(self, match: Match, made: Written, outputs: Iterable[Sequence[str]]) -> None:
        """Refuse to go on where what a rule wrote is matched by it again and again."""
        if match.alternative.shrinks:
            return
        old = max([self._generation.get(name, 0) for names in outputs for name in names], default=0)
        if old >= MOST_GENERATIONS or len(self._generation) > self._most:
            raise EditError(
                f"the rule {self._rule.name!r} rewrites for ever: it matches what it wrote itself",
                hint="add a condition that its own replacement does not meet",
            )
        self._generation.update(dict.fromkeys(chain.from_iterable(outputs_of(made.nodes)), old + 1))

    def _write(self, work: _Graph) -> None:
        """Put what was noted into the graph."""
        graph, nodes = work.scope.graph, work.scope.index.nodes
        reads, outputs = work.scope.index.node_reads, work.scope.index.columns.outputs
        for position in sorted(work.gone):
            self._left.update(dict.fromkeys(reads[position]))
            self._vanished.update(outputs[position])
        keys = list(range(len(nodes)))
        aliases: dict[str, str] = {}
        new: list[onnx.NodeProto] = []
        for position, made in work.new.items():
            added = self._constants(graph, made) + made.nodes if made.constants else [*made.nodes]
            for gone, stays in made.aliases.items():
                if gone in self._protected or gone in work.scope.index.outputs:
                    added.append(onnx.helper.make_node("Identity", [stays], [gone]))
                else:
                    aliases[gone] = stays
            new += added
            keys += [position] * len(added)
        graph.node.extend(new)
        self._vanished.difference_update(chain.from_iterable(outputs_of(new)))
        sort_nodes(graph, keys)
        order_ = sorted(range(len(keys)), key=keys.__getitem__)
        delete_nodes(graph, {place for place, old in enumerate(order_) if old in work.gone})
        if aliases:
            read_instead(graph.node, {name: _end(aliases, name) for name in aliases})
        if work.reorders:
            order.sort_nodes(graph)

    def _constants(self, graph: onnx.GraphProto, made: Written) -> list[onnx.NodeProto]:
        """Put new constants into a graph; before IR version 4 they are nodes, since initializers would be inputs."""
        if self._proto.ir_version < 4:
            return [onnx.helper.make_node("Constant", [], [n], value=tensor) for n, tensor in made.constants.items()]
        graph.initializer.extend(made.constants.values())
        return []

    def _tidy(self) -> None:
        """Take out constants and declarations that nothing needs any more."""
        prune(self._proto, [*self._left, *self._vanished])
        for graph in walk.graphs(self._proto.graph):
            made = walk.defined_names(graph)
            forget_values(graph, self._vanished - made)
        known = {entry.domain for entry in self._proto.opset_import}
        for alternative in self._rule.alternatives:
            for node in alternative.replacement.node:
                if node.domain and node.domain not in known:
                    known.add(node.domain)
                    self._proto.opset_import.add(domain=node.domain, version=1)


class _Graph:
    """One graph while a round looks at it."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.by_operator: dict[tuple[str, str], list[int]] = {}
        found: dict[tuple[str, str], list[int]] = {}
        for position, pair in enumerate(map(OPERATOR, scope.index.nodes)):
            found.setdefault(pair, []).append(position)
        for (domain, op), positions in found.items():
            key = canonical(domain), op
            self.by_operator[key] = sorted([*self.by_operator.get(key, ()), *positions])
        self.used: set[int] = set()
        self.gone: set[int] = set()
        self.new: dict[int, Written] = {}
        self.reorders = False


def _still_read(work: _Graph, match: Match) -> set[int]:
    """The nodes of a match that stay, because others read one of its shared values."""
    if not match.alternative.shared:
        return set()
    index, inside = work.scope.index, set(match.positions.values())
    waiting = [
        match.values[name]
        for name in match.alternative.shared
        if match.values.get(name) in index.outputs
        or any(reader not in inside for reader in index.consumers.get(match.values.get(name, ""), ()))
    ]
    return set(upstream(index, waiting, enter=inside.__contains__).nodes)


def _told(text: str, match: Match, nodes: Sequence[onnx.NodeProto]) -> str:
    titles = {
        one.label: title(nodes[match.positions[place]])
        for place, one in enumerate(match.alternative.pattern.nodes)
        if one.label
    }
    for label, shown in titles.items():
        text = text.replace("{" + label + "}", shown)
    return text


def _end(aliases: dict[str, str], name: str) -> str:
    while name in aliases:
        name = aliases[name]
    return name


def _since(op: str) -> str:
    """Since when there is an operator."""
    newest = schema_of(op, onnx.defs.onnx_opset_version())
    if newest is None:
        return ""
    first = min(schema.since_version for schema in onnx.defs.get_all_schemas_with_history() if schema.name == op)
    return f", which came with opset {first}"


def _protected(proto: onnx.ModelProto) -> set[str]:
    """Values of the main graph that are named outside of it and of its nodes."""
    names = {entry.tensor_name for graph in walk.graphs(proto.graph) for entry in graph.quantization_annotation}
    for graph in walk.graphs(proto.graph):
        for entry in graph.quantization_annotation:
            names.update(pair.value for pair in entry.quant_parameter_tensor_names)
    return names | walk.training_names(proto)
