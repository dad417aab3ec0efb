"""rewrite: patterns are looked for and replaced, by rules that are built in, in files, or made in Python."""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import onnx

from graphkit.arguments import ArgumentTypeError, ArgumentValueError
from graphkit.edit.patterns.graph_rules import GraphRule
from graphkit.edit.patterns.library import TARGETS, built_in, find_rules
from graphkit.edit.patterns.rewriting import Done, apply_in_functions, apply_rule
from graphkit.edit.patterns.rule import Rule
from graphkit.edit.patterns.rule_file import rule_of
from graphkit.edit.patterns.rule_info import RuleInfo, Rules
from graphkit.errors import EditError
from graphkit.graph.index import GraphIndex
from graphkit.graph.names import Names
from graphkit.model import Model
from graphkit.operation import Edit, operation
from graphkit.runtime.written import unfit
from graphkit.shapes.types_of import types_of


def rewrite_rules() -> list[RuleInfo]:
    """The rules that come with graphkit, sorted by name.

    Cost: their files are read once.

    Example:
        >>> "silu" in [rule.name for rule in gk.rewrite_rules()]
        True
    """
    return Rules(RuleInfo(r.name, r.law, r.tolerance, r.parameters, r.summary) for r in built_in().values())


def rewrite_rule(
    pattern: str,
    replacement: str,
    *,
    name: str = "rule",
    where: str | Callable[[Any], object] | Iterable[str | Callable[[Any], object]] = (),
    let: Mapping[str, str | Callable[[Any], object]] | None = None,
    optional: str | Iterable[str] = (),
    shared: str | Iterable[str] = (),
    tolerance: float | None = None,
) -> Rule:
    """A rule for ``rewrite``, made in Python, where conditions and computed values may be functions.

    Args:
        pattern: A function in ONNX's text, such as ``(x) => (y) { s = Sigmoid(x) y = Mul(x, s) }``.
        replacement: The same with what stands for it; the outputs correspond in order.
        name: What notes call the rule.
        where: What has to hold: expressions as in rule files, or functions of the facts about a match, which have
            ``names``, ``rank``, ``shape``, ``dtype``, ``value`` and the other functions of expressions as methods.
        let: Name -> a computed attribute or constant: an expression or a function, in order.
        optional: Variables that a node may leave out.
        shared: Values inside of the pattern that others may read too.
        tolerance: The bound of a rule that approximates, relative to the output's largest magnitude.

    Raises:
        FormatError: The texts are no functions, do not fit each other, or an expression is none.

    Example:
        >>> rule = gk.rewrite_rule("(x) => (y) { y = Identity(x) }", "(x) => (x) { }", name="no-identity")
    """
    return rule_of(pattern, replacement, name, where, let or {}, optional, shared, tolerance)


@operation(law="replaced", valid=False)
def rewrite(
    model: Model,
    rules: str | Rule | os.PathLike[str] | Iterable[str | Rule | os.PathLike[str]] = (),
    *,
    target: str | None = None,
) -> Edit:
    """Look for patterns and put others in their place: activations, normalizations, folds, what a target lacks.

    Each rule is applied until it matches no more, in the order given. A rule is the name of a built-in one
    (``rewrite_rules`` lists them; ``NAME:KEY=VALUE`` gives its parameters), a file, a folder of files (``*.txt``), the
    text of a rule, or what ``rewrite_rule`` made. A rule file::

        # x * Sigmoid(x) is Swish.
        opset 24
        pattern (x) => (y) { s = Sigmoid(x)  y = Mul(x, s) }
        where dtype(x) == "float32"
        replacement (x) => (y) { y = Swish(x) }

    Operands of Add, Mul and the like are matched in either order; Constant nodes of a pattern match constants of any
    spelling, floats up to rounding; attributes that a pattern leaves out have to have their defaults; values inside of a
    match may have no other reader (``shared`` allows it); ``optional`` operands may be missing, ``default`` says what stands
    for them. ``where constant(w)`` has the replacement compute new constants from ``w``, and ``written d`` writes the node
    that makes ``d`` all the same. What a rule wrote may be matched
    again; a rule for which that never ends is refused.

    The values at the boundary keep their names, and nodes take over names, doc strings and metadata of those that they
    replace. The operators that were written are held to their schemas, and loaded by ONNX Runtime where it is installed.

    Args:
        model: A path, a ModelProto or a Model.
        rules: One rule or several.
        target: A runtime, "tensorrt" or "tensorrt-8.5": after the rules, those that take out operators which it does not
            document as supported. What ONNX defines an operator by computes sizes that are constant; ``simplify`` folds them.

    Raises:
        NameNotFoundError: There is no such rule; names that look alike are suggested.
        FormatError: A rule is not as rules are written, or has no such parameter.
        ModelFileError: A file of rules cannot be read.
        EditError: A rule rewrites for ever; it writes an operator that no version of ONNX has, or that does not load.
        ValueError: No rule and no target is given, or the target is unknown.
        TypeError: A rule is no text, path or ``Rule``.

    Changes: nothing; returns a new model. The notes say for each rule what was rewritten, or where it came nearest to a match
        and why it is none.
    Scope: main graph, bodies and functions. Of a function's inputs no types are known, and a node that takes an attribute
        from the call is no match: ``inline`` first where a rule asks for types. Rules for whole graphs (``tie-embeddings``,
        ``constants-to-initializers`` and the like) leave functions alone.
    Cost: O(graph) a rule; shapes are inferred once where a condition asks for one that the model does not declare. Weights
        are read only where a rule computes new ones from them.
    Law: replaced; close, within the rule's own bound, for rules that approximate.

    Example:
        >>> gk.rewrite("model.onnx", ["batchnorm", "silu"]).save("out.onnx")  # doctest: +SKIP
    """
    given = _listed(rules)
    if not given and target is None:
        raise ArgumentValueError("name a rule; rewrite_rules() lists those that are built in")
    if target is not None and target not in TARGETS:
        raise ArgumentValueError(f"{target!r} is no target; there is {', '.join(TARGETS)}")
    chosen: list[tuple[Rule | GraphRule, str | Rule]] = []
    for each in given:
        chosen += [(each, each)] if isinstance(each, Rule) else list(find_rules(each))
    proto = model.copy_proto()
    notes = _applied(model, proto, [rule for rule, _ in chosen])
    if target is not None:
        done = _applied(model, proto, [rule for name in TARGETS[target] for rule, _ in find_rules(name)])
        notes += [note for note in done if ": nothing matched; " not in note] or [f"nothing to rewrite for {target}"]
    made = [written if isinstance(written, str) else written.text for _, written in chosen]
    obstacle = "" if all(made) else "a rule with functions of Python in it cannot be written down"
    return Edit(proto, notes, arguments={"rules": made} if made else {}, obstacle=obstacle)


def _listed(rules: str | Rule | os.PathLike[str] | Iterable[str | Rule | os.PathLike[str]]) -> list[Rule | str]:
    """The rules, one by one, each a ``Rule`` or a text.

    Raises:
        ArgumentTypeError: One is neither a rule nor a name or a path.
    """
    given: list[Any] = list(rules) if isinstance(rules, Iterable) and not isinstance(rules, str) else [rules]
    for each in given:
        if not isinstance(each, str | Rule | os.PathLike):
            raise ArgumentTypeError(f"a rule is a name, a file or a Rule, not {type(each).__name__}")
    return [each if isinstance(each, Rule) else os.fspath(each) for each in given]


def _applied(model: Model, proto: onnx.ModelProto, rules: Iterable[Rule | GraphRule]) -> list[str]:
    """Apply rules in order. Changes the model; returns what was done."""
    notes: list[str] = []
    names = Names(proto.graph)
    for rule in rules:
        if isinstance(rule, GraphRule):
            named = rule.apply(model, proto, rule.parameters)
            names = Names(proto.graph) if named else names
            notes += Done(rule, named, nearest="nothing of that kind is there").notes()
        else:
            done = apply_rule(model, proto, rule, names)
            inside = apply_in_functions(model, proto, rule, done)
            checked = [note for whole, there in ((proto, done), *inside) for note in _checked(whole, there)]
            notes += [*done.notes(), *dict.fromkeys(checked)]
    return notes


def _checked(proto: onnx.ModelProto, done: Done) -> list[str]:
    """Hold some of the nodes that a rule wrote to their schemas, and load them alone.

    Raises:
        EditError: One is not as its operator has it, or ONNX Runtime refuses it.
    """
    index = GraphIndex(proto.graph)
    made_by = {name: node for made in done.samples for node in made.nodes for name in node.output[:1]}
    nodes = [
        node for name, node in made_by.items() if name in index.producer and index.nodes[index.producer[name]] == node
    ]
    if not nodes:
        return []
    alone = onnx.ModelProto(ir_version=max(proto.ir_version, 4), opset_import=proto.opset_import)
    graph = alone.graph
    graph.name = "written"
    graph.node.extend(nodes)
    made = {name for node in nodes for name in node.output}
    read = dict.fromkeys(name for node in nodes for name in node.input if name and name not in made)
    known = types_of(proto, index, [name for name in (*read, *made) if index.has(name)])
    for name in read:
        graph.input.add(name=name, type=known.get(name))
    for name in made - {""}:
        graph.output.add(name=name, type=known.get(name))
    found = unfit(alone)
    wrong = [one for one in found if one.rule != "kernel"]
    if wrong:
        raise EditError(f"{wrong[0].node}, which {done.rule.name} wrote, cannot be so: {wrong[0].why}")
    kernels = ", ".join(dict.fromkeys(one.op_type for one in found))
    return [f"this ONNX Runtime has no implementation of {kernels} for these types"] if kernels else []
