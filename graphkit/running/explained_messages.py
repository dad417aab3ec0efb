"""Messages of ONNX Runtime and what they mean: a pattern, a sentence, what to do. ``{title}`` is the node that failed."""

from __future__ import annotations

import re
from typing import NamedTuple

from graphkit.hint import Argument, Blank, Call, Hint, call, look


class Meaning(NamedTuple):
    """What a message means.

    Attributes:
        pattern: What the message holds; its groups stand in the sentence.
        sentence: What happened.
        remedies: What to do, the surest first; groups stand in them too.
    """

    pattern: re.Pattern[str]
    sentence: str
    remedies: tuple[str, ...]


_FREE = Hint(
    "where a size of the example is a constant in the model, free the axis with `",
    call("dims", values={Blank("INPUT:AXIS"): Blank("NAME")}, repair_shapes=True),
    "`",
)
_OPERATOR = Call("operator", (), ("{op!r}", "{op}"))
_CHECK = Hint("`", look("check"), "` names the node and the rule that it breaks")


def _meaning(pattern: str, sentence: str, *remedies: str) -> Meaning:
    return Meaning(re.compile(pattern, re.DOTALL | re.IGNORECASE), sentence, remedies)


AT_A_NODE: tuple[Meaning, ...] = (
    _meaning(
        r"MatMul dimension mismatch",
        "{title}: the last axis of its first input and the last but one of its second are of different sizes",
        _FREE,
    ),
    _meaning(
        r"Gemm: Dimension mismatch, W: \{(?P<w>[\d,]+)\} K: (?P<k>\d+) N: ?(?P<n>\d+)",
        "{title} got rows of {k} numbers, and its weight has the shape [{w}]: a layer behind Flatten is made for one picture size",
        _FREE,
    ),
    _meaning(
        r"Axis (?P<axis>\d+) has mismatched dimensions of (?P<a>\d+) and (?P<b>\d+)",
        "{title} joins values whose axis {axis} has the sizes {a} and {b}; only the axis that is joined may differ",
        "feed sizes that all halvings of the network divide, such as multiples of 32, where it joins paths of one picture",
        _FREE,
    ),
    _meaning(
        r"Dimension of input (?P<axis>\d+) must be 1 instead of (?P<size>\d+)",
        "{title} drops axis {axis}, which has to be of size 1 and is of size {size}: an export with one sample was fed several",
        _FREE,
    ),
    _meaning(
        r"Split size (?P<size>\d+) exceeds the remaining size of the selected axis, (?P<left>\d+)"
        r"|Cannot split using values in 'split' attribute|sum of (?:split )?sizes",
        "{title}: the sizes of the parts that it splits into, constants as a rule, do not add up to that of the axis that was fed",
        _FREE,
    ),
    _meaning(
        r"Invalid input shape: \{(?P<shape>[\d,]+)\}",
        "{title} got a picture of [{shape}], which is smaller than its kernel",
        "feed a larger picture, or pad it",
    ),
    _meaning(
        r"invalid expand shape",
        "{title}: the shape that it expands to, a constant as a rule, does not go with the sizes that were fed",
        _FREE,
    ),
    _meaning(
        r"Missing Input: (?P<name>\S+)",
        "the input {name!r} was fed with None",
        Hint("feed an array; `", look("inspect"), "` says of which type and shape"),
    ),
    _meaning(
        r"'(?P<mode>Cubic|Linear|Bilinear)' mode only supports",
        "{title} can scale the last two axes only: scales are [1, 1, height, width], in that order",
        "give 1 for the batch and the channels",
        Hint("`", call("resize"), "` makes one factor the input, and writes the scales"),
    ),
    _meaning(
        r"Status Message: sto[dif]\b|invalid string value",
        "{title} was to read a number from a text that holds none",
        "feed texts that are numbers",
    ),
)
"""Messages of a run that failed at a node."""

OF_THE_MODEL: tuple[Meaning, ...] = (
    _meaning(
        r"Unsupported model IR version: (?P<got>\d+), max supported IR version: (?P<most>\d+)",
        "the file is of IR version {got}, and this onnxruntime reads versions up to {most}",
        Hint("`", call("set_parts", ir=Blank("{most}")), "` writes it in a version that it reads"),
        "or install a newer onnxruntime",
    ),
    _meaning(
        r"Opset (?P<got>\d+) is under development.*?support for domain (?P<domain>\S+) is till opset (?P<most>\d+)",
        "the model is of opset {got} of {domain}, and this onnxruntime knows opsets up to {most}",
        Hint("lower it: `", call("opset", to=Blank("N")), "`"),
        "or install a newer onnxruntime",
    ),
    _meaning(
        r"Fatal error: (?P<op>[\w.:]+?)\(-?\d+\) is not a registered function/op",
        "the operator {op} is none that this onnxruntime knows",
        Hint("give it a body: `", call("define", function=Blank("FILE")), "`"),
        Hint("or load the library that has it with ", Argument("custom_ops", [Blank("LIBRARY")])),
    ),
    _meaning(
        r"Could not find an implementation for (?P<op>\w+)\((?P<since>\d+)\) node with name '(?P<node>[^']*)'",
        "{op} {node!r} reads a type that this provider of onnxruntime has no kernel for",
        Hint("give the values another type: `", call("precision", to="float16"), "`, or cast around the node"),
        "or run it on another device",
    ),
    _meaning(
        r"No graph was found in the protobuf",
        "the bytes hold no graph: the file is empty, cut off or of another kind",
        Hint("`", look("check"), "` says at which byte it ends; copy or download it again"),
    ),
    _meaning(
        r"Node input '(?P<name>[^']*)' is not a graph input, initializer, or output of a previous node",
        "a node reads {name!r}, which nothing in the model makes, or which a later node makes",
        Hint("where it is a matter of order, `", call("reorder", sort=True), "` sorts the nodes"),
        _CHECK,
    ),
    _meaning(r"graph is not acyclic", "nodes of the model read each other's results in a circle", _CHECK),
    _meaning(
        r"Duplicate definition of name \((?P<name>[^)]*)\)",
        "two nodes of the model make {name!r}; a name is made once",
        Hint("give one of them another name before the model is saved; ", _CHECK),
    ),
    _meaning(
        r"In Node, \(\"(?P<node>[^\"]*)\", (?P<op>\w+),.*?Required attribute '(?P<name>\w+)' is missing",
        "{op} {node!r} lacks the attribute {name!r}, which it has to have",
        Hint("`", call("set_parts", attributes={Blank("NODE:{name}"): Blank("VALUE")}), "` sets it"),
        Hint("`", _OPERATOR, "` says what it means"),
    ),
    _meaning(
        r"Node \((?P<node>[^)]*)\) Op \((?P<op>\w+)\) \[(?:ShapeInferenceError|TypeInferenceError)\] (?P<why>[^\n]+)",
        "{op} {node!r} contradicts itself or what it reads: {why}",
        _CHECK,
        Hint("`", _OPERATOR, "` says what its inputs and attributes mean"),
    ),
    _meaning(
        r"Failed to load library (?P<file>.+?) with error: (?P<why>[^\n]+)",
        "the library {file} could not be loaded: {why}",
        "give its absolute path, and see with ldd that the libraries it needs are there and built for this processor",
        "a library of custom operators is built against the headers of this onnxruntime or of an older one",
    ),
    _meaning(
        r"Input must be a list of dictionaries or a single numpy array for input '(?P<name>[^']*)'",
        "what was fed for {name!r} is no numpy array",
        "give numpy.asarray(value, dtype); of a torch tensor tensor.numpy()",
    ),
)
"""Messages about a model that does not load, or a feed that is none."""


def explained(text: str, table: tuple[Meaning, ...], title: str = "") -> tuple[str, list[str]] | None:
    """The sentence and the remedies of the first entry that a message fits; None where none does."""
    for entry in table:
        match = entry.pattern.search(text)
        if match is not None:
            groups = {name: " ".join((found or "").split()) for name, found in match.groupdict().items()}
            filled = [
                hint.filled(groups) if isinstance(hint, Hint) else hint.format(**groups) for hint in entry.remedies
            ]
            return entry.sentence.format(title=title, **groups).replace(" ''", ""), filled  # a node without a name
    return None
