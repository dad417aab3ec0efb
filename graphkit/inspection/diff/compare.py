"""Two scopes held side by side: nodes, weights, interface and declared types, and the bodies below them."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import onnx

from graphkit.graph.module_paths import module_call
from graphkit.graph.names import label, title
from graphkit.graph.values import format_type
from graphkit.graph.walk import attribute_tensors, bodies
from graphkit.graph.written import node_text
from graphkit.inspection.diff import weights
from graphkit.inspection.diff.annotations import compare_annotations
from graphkit.inspection.diff.attributes import node_details
from graphkit.inspection.diff.difference import Change, Found
from graphkit.inspection.diff.documentation import documentation
from graphkit.inspection.diff.doubles import doubles
from graphkit.inspection.diff.match import Matching, match_nodes, moved
from graphkit.inspection.diff.pairs import by_name_and_kind, confirmed, pair_outputs, pair_weights
from graphkit.inspection.diff.scope import Key, Scope
from graphkit.inspection.diff.tensors import Tensors
from graphkit.progress import told

if TYPE_CHECKING:
    from graphkit.graph.addresses import Holder
    from graphkit.model import Model


class Place(NamedTuple):
    """Two graphs or functions that are one place of both models.

    Attributes:
        before: The one.
        after: The other.
        prefix: What stands before a name in its address.
        outer: Value around it before -> value around it after.
    """

    before: Holder
    after: Holder
    prefix: str
    outer: Mapping[str, str]


class Comparison:
    """Two models while they are compared.

    Attributes:
        before: The one.
        after: The other.
        found: The differences so far.
        tensors: What compares weights.
        calls: Function before -> function after, where the name is another.
        read: Whether weights may be read.
    """

    def __init__(self, before: Model, after: Model, calls: Mapping[Key, Key], *, read: bool) -> None:
        self.before = before
        self.after = after
        self.found = Found()
        self.tensors = Tensors(before, after, self.found, read=read)
        self.calls = calls
        self.read = read

    def run(self, places: Sequence[Place]) -> None:
        """Compare places, and the bodies in them at any depth."""
        waiting = list(reversed(places))
        while waiting:
            waiting.extend(reversed(list(self._place(waiting.pop()))))

    def _place(self, place: Place) -> Iterator[Place]:
        left, right = Scope(place.before, self.calls), Scope(place.after)
        types = _types(place.before), _types(place.after)
        inputs = by_name_and_kind(left.inputs, right.inputs, (_kind(types[0]), _kind(types[1])))
        prints: list[Any] = [(weights.outline, weights.outline)]
        if self.read:
            prints.insert(0, (lambda t: weights.glance(self.before, t), lambda t: weights.glance(self.after, t)))
        matching = match_nodes(left, right, prints, _leaves(left, right, inputs, place.outer))
        inputs = confirmed(inputs, matching)
        held = pair_weights(matching, prints[0], inputs)
        values = inputs | held | _made(matching)
        outputs = pair_outputs(left, right, values)
        inside: ChainMap[str, str] = ChainMap(values, dict(place.outer))
        self._interface("input", place, inputs, (left.inputs, right.inputs), types)
        self._interface("output", place, outputs, (left.outputs, right.outputs), types)
        self._outputs(place, matching, outputs, inside)
        self._weights(place, matching, held)
        self._values(place, matching, outputs)
        self._nodes(place, matching, inside)
        self._declared(place, values, (left, right))
        if isinstance(place.before, onnx.GraphProto) and isinstance(place.after, onnx.GraphProto):
            self._graph(place.before, place.after, place.prefix)
            compare_annotations(place.before, place.after, inside, self.found, place.prefix)
        for one, two in matching.pairs.items():
            yield from _inner(place, left.nodes[one], right.nodes[two], inside)

    def _graph(self, one: onnx.GraphProto, two: onnx.GraphProto, prefix: str) -> None:
        """The name of a graph, and what is written beside it."""
        name = prefix.removesuffix("/") or two.name
        if one.name != two.name:
            former = one.name if not prefix else None
            self.found.add("renamed", Change("graph", name, "names", former, one.name, two.name))
        if said := documentation(one, two):
            self.found.add("changed", Change("graph", name, "metadata", details=tuple(said)))

    def _interface(
        self,
        kind: str,
        place: Place,
        pairs: Mapping[str, str],
        names: tuple[list[str], list[str]],
        types: tuple[Mapping[str, Any], Mapping[str, Any]],
    ) -> None:
        """Inputs or outputs: which came, which went, which are called or typed otherwise, which stand elsewhere."""
        add, prefix = self.found.add, place.prefix
        taken = set(pairs.values())
        for name in dict.fromkeys(names[0]):
            if name not in pairs:
                text = _type_text(types[0].get(name))
                add("removed", Change(kind, prefix + name, "structure", before=text))
        for name in dict.fromkeys(names[1]):
            if name not in taken:
                add("added", Change(kind, prefix + name, "structure", after=_type_text(types[1].get(name))))
        for one, two in pairs.items():
            if one != two:
                add("renamed", Change(kind, prefix + two, "names", prefix + one, one, two))
            self._typed(kind, prefix, (one, two), types[0].get(one), types[1].get(two))
        doubles(kind, prefix, names, pairs, self.found)
        order = [one for one in dict.fromkeys(names[0]) if one in pairs]
        places = {name: at for at, name in reversed(list(enumerate(names[1])))}
        for at in sorted(moved([places[pairs[one]] for one in order])):
            one, two = order[at], pairs[order[at]]
            was, now = f"{kind} {names[0].index(one)}", f"{kind} {places[two]}"
            add("moved", Change(kind, prefix + two, "structure", _former(prefix, one, two), was, now))

    def _typed(self, kind: str, prefix: str, names: tuple[str, str], one: Any, two: Any) -> None:
        """The declared types of one value, and what else is written beside them."""
        if one is None and two is None:
            return
        address, former = prefix + names[1], _former(prefix, *names)
        texts = _type_text(one), _type_text(two)
        if texts[0] != texts[1]:
            aspect: Any = "structure" if _element(one) != _element(two) and None not in (one, two) else "shapes"
            self.found.add("changed", Change(kind, address, aspect, former, *texts))
        elif one is not None and two is not None and _bytes(one.type) != _bytes(two.type):
            self.found.add("changed", Change(kind, address, "metadata", former, *texts, ("denotation of its axes",)))
        self.found.lists["changed"] += _documented(kind, address, former, one, two)

    def _outputs(self, place: Place, matching: Matching, pairs: Mapping[str, str], values: Mapping[str, str]) -> None:
        """Outputs that another value is handed out as."""
        for one, two in pairs.items():
            if values.get(one, one) != two:
                was, now = _maker(matching.left, one), _maker(matching.right, two)
                said = (f"comes from {now}, not from {was}",)
                change = Change(
                    "output", place.prefix + two, "structure", _former(place.prefix, one, two), was, now, said
                )
                self.found.add("changed", change)

    def _weights(self, place: Place, matching: Matching, pairs: Mapping[str, str]) -> None:
        left, right, prefix = matching.left.weights, matching.right.weights, place.prefix
        doubles("weight", prefix, (matching.left.weight_names, matching.right.weight_names), pairs, self.found)
        taken = set(pairs.values())
        for name, tensor in left.items():
            if name not in pairs:
                self.tensors.gone(prefix + name, tensor)
        for name, tensor in right.items():
            if name not in taken:
                self.tensors.new(prefix + name, tensor)
        for one, two in told(pairs.items(), len(pairs), "comparing weights"):
            if one != two and one not in matching.left.inputs:
                self.found.add("renamed", Change("weight", prefix + two, "names", prefix + one, one, two))
            self.tensors.compare(prefix + two, _former(prefix, one, two), left[one], right[two])

    def _values(self, place: Place, matching: Matching, outputs: Mapping[str, str]) -> None:
        """Values between nodes that have another name."""
        for one, two in _made(matching).items():
            if one != two and outputs.get(one) != two:
                change = Change("value", place.prefix + two, "names", place.prefix + one, one, two)
                self.found.add("renamed", change)

    def _nodes(self, place: Place, matching: Matching, values: Mapping[str, str]) -> None:
        left, right, prefix = matching.left, matching.right, place.prefix
        held = prefix.removesuffix("/")
        for at in matching.removed:
            node = left.nodes[at]
            name, text, module = prefix + label(node), node_text(node, self._reader(self.before)), module_call(node)
            self.found.add("removed", Change("node", name, "structure", before=text, module=module, place=held))
        for at in matching.added:
            node = right.nodes[at]
            name, text, module = prefix + label(node), node_text(node, self._reader(self.after)), module_call(node)
            self.found.add("added", Change("node", name, "structure", after=text, module=module, place=held))
        order = sorted(matching.pairs)
        elsewhere = moved([matching.pairs[at] for at in order])
        for place_in_order, one in enumerate(order):
            two = matching.pairs[one]
            if one not in matching.alike or not _is_told_by_text(left.nodes[one], values):
                self._node(prefix, matching, (one, two), values)
            if place_in_order in elsewhere:
                texts = f"node {one} of {len(left.nodes)}", f"node {two} of {len(right.nodes)}"
                self._said("moved", prefix, left.nodes[one], right.nodes[two], texts)

    def _node(self, prefix: str, matching: Matching, pair: tuple[int, int], values: Mapping[str, str]) -> None:
        one, two = matching.left.nodes[pair[0]], matching.right.nodes[pair[1]]
        if one.name != two.name:
            self.found.add(
                "renamed",
                Change(
                    "node",
                    prefix + label(two),
                    "names",
                    prefix + label(one),
                    one.name,
                    two.name,
                    module=module_call(two),
                ),
            )
        modules = module_call(one), module_call(two)
        if modules[0] != modules[1] and None not in modules:
            texts = tuple(f"module {module or '(the whole)'}" for module in modules)
            aspect = "metadata" if one.name == two.name else "names"
            self._said("moved", prefix, one, two, (texts[0], texts[1]), aspect)
        same = matching.left.operator(pair[0]) == matching.right.operator(pair[1])
        read = self._reader(self.before), self._reader(self.after)
        details = node_details(one, two, values, self.tensors, prefix, read, same_operator=same)
        for aspect, said in details.items():
            if said:
                texts = node_text(one, read[0]), node_text(two, read[1])
                self._said("changed", prefix, one, two, texts, aspect, tuple(said))

    def _said(
        self,
        to: str,
        prefix: str,
        one: onnx.NodeProto,
        two: onnx.NodeProto,
        texts: tuple[str, str],
        aspect: Any = "structure",
        details: tuple[str, ...] = (),
    ) -> None:
        former = _former(prefix, label(one), label(two))
        change = Change("node", prefix + label(two), aspect, former, *texts, details, module_call(two))
        self.found.add(to, change)

    def _reader(self, model: Model) -> Callable[[onnx.TensorProto], Any] | None:
        return model.array_of if self.read else None

    def _declared(self, place: Place, values: Mapping[str, str], scopes: tuple[Scope, Scope]) -> None:
        """Types that the file declares between nodes, of values that both models have."""
        one = {info.name: info for info in place.before.value_info}
        two = {info.name: info for info in place.after.value_info}
        doubles("shape", place.prefix, ([i.name for i in place.before.value_info], [i.name for i in place.after.value_info]), values, self.found)  # fmt: skip
        back = {after: before for before, after in values.items()}
        known = [set(side.producer) | set(side.weights) | set(side.inputs) for side in scopes]
        ports = [set(side.inputs) | set(side.outputs) for side in scopes]
        for name, info in one.items():
            there = values.get(name, None if name in known[0] else name)
            if there is not None and name not in ports[0] and there not in ports[1]:
                self._typed("shape", place.prefix, (name, there), info, two.get(there))
        for name, info in two.items():
            there = back.get(name, None if name in known[1] else name)
            if there is not None and there not in one and name not in ports[1] and there not in ports[0]:
                self._typed("shape", place.prefix, (there, name), None, info)


def _is_told_by_text(node: onnx.NodeProto, values: Mapping[str, str]) -> bool:
    """Whether nodes of this text are the same: nothing that they read has another name now, and no bytes lie elsewhere."""
    if any(values.get(name, name) != name for name in node.input):
        return False
    return not any(tensor.data_location for attribute in node.attribute for tensor in attribute_tensors(attribute))


def _former(prefix: str, one: str, two: str) -> str | None:
    return None if one == two else prefix + one


def _made(matching: Matching) -> dict[str, str]:
    """What nodes make: value before -> value after."""
    nodes = [(matching.left.nodes[one], matching.right.nodes[two]) for one, two in matching.pairs.items()]
    pairs = [pair for one, two in nodes for pair in zip(one.output, two.output, strict=False)]
    return {mine: other for mine, other in pairs if mine and other}


def _leaves(
    left: Scope, right: Scope, inputs: Mapping[str, str], outer: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What stands for names that no node makes, the same for one thing in both."""
    one: dict[str, Any] = {}
    two: dict[str, Any] = {}
    for mine, other in inputs.items():
        one[mine] = two[other] = ("input", other)
    for scope, found in ((left, one), (right, two)):
        for name in scope.readers:
            if name not in scope.producer and name not in scope.weights and name not in found:
                found[name] = ("outer", outer.get(name, name) if scope is left else name)
    alike = len(left.outputs) == len(right.outputs)
    for names, found in ((left.outputs, one), (right.outputs, two)):
        for at, name in enumerate(names):
            found[f"out:{name}"] = ("output", at if alike else name)
    return one, two


def _inner(place: Place, one: onnx.NodeProto, two: onnx.NodeProto, values: Mapping[str, str]) -> Iterator[Place]:
    """The bodies that two nodes have under the same attribute."""
    if not any(True for _ in bodies(one)):
        return
    others = {attribute.name: attribute for attribute in two.attribute}
    for attribute in one.attribute:
        other = others.get(attribute.name)
        if other is None:
            continue
        base = f"{place.prefix}{label(two)}.{attribute.name}"
        if attribute.HasField("g") and other.HasField("g"):
            yield Place(attribute.g, other.g, f"{base}/", values)
        for number, (mine, graph) in enumerate(zip(attribute.graphs, other.graphs, strict=False)):
            yield Place(mine, graph, f"{base}[{number}]/", values)


def _types(holder: Holder) -> dict[str, onnx.ValueInfoProto]:
    """The interface's declared types; functions declare none."""
    if isinstance(holder, onnx.FunctionProto):
        return {}
    return {info.name: info for info in (*holder.output, *holder.input)}


def _kind(types: Mapping[str, onnx.ValueInfoProto]) -> Callable[[str], Any]:
    """Element type and number of axes of a value."""

    def kind(name: str) -> Any:
        info = types.get(name)
        text = _type_text(info)
        return _element(info), text.count(",") + (not text.endswith("[]"))

    return kind


def _element(info: onnx.ValueInfoProto | None) -> str:
    return _type_text(info).partition("[")[0]


def _type_text(info: onnx.ValueInfoProto | None) -> str:
    return "not declared" if info is None else format_type(info.type)


def _bytes(message: Any) -> bytes:
    return bytes(message.SerializeToString(deterministic=True))


def _maker(scope: Scope, name: str) -> str:
    made = scope.producer.get(name)
    return title(scope.nodes[made[0]]) if made else repr(name)


def _documented(kind: str, address: str, former: str | None, one: Any, two: Any) -> list[Change]:
    """Differences in the doc_string and metadata_props of two messages, as one change."""
    if one is None or two is None:
        return []
    said = documentation(one, two)
    return [Change(kind, address, "metadata", former, details=tuple(said))] if said else []
