"""An error of ONNX Runtime from somebody's own program: what it means, which axis or node, and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from graphkit.hint import Argument, Blank, Call, Hint, call, look
from graphkit.result import Result
from graphkit.running.explained_messages import AT_A_NODE, OF_THE_MODEL, explained
from graphkit.runtime.failures import advice, is_out_of_memory, plain_text
from graphkit.runtime.refusals import failed_node, refused_axes


@dataclass(frozen=True, repr=False)
class Explanation(Result):
    """What a message of ONNX Runtime means. Made by ``graphkit.explain``.

    Attributes:
        message: The message without its code, source position and stack.
        meaning: What happened, sentence by sentence; empty where the message is not known.
        node: The node that it names, or None.
        remedies: What to do, the surest first.
    """

    message: str
    meaning: tuple[str, ...]
    node: str | None
    remedies: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.meaning)


def explain(text: str) -> Explanation:
    """Say what an error of ONNX Runtime means, which axis or node it is about, and what to do about it.

    Args:
        text: The message, as a program printed it; a whole traceback will do too.

    Returns:
        What is known; it is false where the message is none that is known.

    Changes: nothing.
    Cost: none; neither the model nor onnxruntime is needed. ``probe`` looks into the model, and tries what it advises.

    Example:
        >>> text = "Invalid rank for input: x Got: 3 Expected: 4 Please fix either the inputs/outputs or the model."
        >>> gk.explain(text).meaning
        ("the array fed for input 'x' has 3 axes, and the model wants 4",)
    """
    text = text[max(text.find("[ONNXRuntimeError]"), 0) :]
    short = plain_text(text)
    failed = failed_node(text)
    node = (failed[1] or failed[0]) if failed else None
    for known in _KNOWN:
        if (found := known(text)) is not None:
            meaning, remedies = found
            return Explanation(short, tuple(meaning), node, tuple(remedies))
    if failed is not None:
        return _at_node(text, short, *failed)
    if at := explained(text, AT_A_NODE, "a node"):  # what is constant is looked at when the model is loaded
        return Explanation(short, (at[0],), None, tuple(at[1]))
    hint = advice(text)
    return Explanation(short, (short,) if hint else (), None, (hint,) if hint else ())


_Found = tuple[list[str], list[str]]


def _axes(text: str) -> _Found | None:
    axes = refused_axes(text)
    if not axes:
        return None
    if axes[0].axis is None:
        name, _, got, expected = axes[0]
        said = f"the array fed for input {name!r} has {got} axes, and the model wants {expected}"
        way = (
            "array[None] puts one in front"
            if got < expected
            else "array.squeeze(0) takes the first away, where it is 1"
        )
        return [said], [f"give the array {expected} axes: {way}"]
    meaning = [
        f"axis {axis} of the array fed for input {name!r} has the size {got}, and the model fixes it to {expected}"
        for name, axis, got, expected in axes
    ]
    free = {f"{name}:{axis}": f"dim_{axis}" for name, axis, _, _ in axes}
    return meaning, [
        "feed the size that the model wants",
        Hint(
            "make the axis free with `",
            call("dims", values=free),
            "`, and where something inside holds the old size too with ",
            Argument("repair_shapes", value=True),
        ),
        Hint("`", look("probe"), "` says which shapes run, and tries the remedy"),
    ]


_TYPES = re.compile(
    r"Unexpected input data type.*?(?:Actual: \(+(?P<got>[^)]+\)?)\)+ ?, expected: \(+(?P<want>[^)]+\)?)\)+)", re.DOTALL
)


def _data_type(text: str) -> _Found | None:
    match = _TYPES.search(text)
    if match is None:
        return None
    got, want = (re.sub(r"tensor\((\w+)\)?", r"\1", match[key]).strip("() ") for key in ("got", "want"))
    numpy = {"float": "float32", "double": "float64"}.get(want, want)
    return [f"an input was fed as {got}, and the model wants {want}"], [
        f"feed it as numpy's {numpy}: array.astype(numpy.{numpy})",
        Hint("or let the model take the other type: `", call("retype", io={Blank("INPUT"): got}), "`"),
    ]


_MISSING = re.compile(r"Required inputs \(\[(?P<missing>.*?)\]\) are missing from input feed \(\[(?P<fed>.*?)\]\)")
_NO_FEED = re.compile(r"Invalid (?:Feed )?Input Name: ?(?P<name>\S+)", re.IGNORECASE)
_NO_OUTPUT = re.compile(r"Invalid Output Name: ?(?P<name>\S+)", re.IGNORECASE)


def _names(text: str) -> _Found | None:
    show = Hint("`", look("inspect"), "` lists the inputs and outputs")
    if match := _MISSING.search(text):
        return [f"inputs {match['missing']} were not fed; fed were {match['fed'] or 'none'}"], [
            "use the names of the model as keys of the feeds",
            show,
            Hint(
                "give the model the value for good with `", call("freeze", values={Blank("NAME"): Blank("VALUE")}), "`"
            ),
        ]
    if match := _NO_FEED.search(text):
        return [f"{match['name']!r} was fed, and is no input of the model"], [
            show,
            Hint(
                "it may have become a constant when the model was exported: `",
                Call("find_baked", (), ("module, args_list", "FACTORY OUT")),
                "`",
            ),
        ]
    if match := _NO_OUTPUT.search(text):
        return [f"{match['name']!r} was asked for, and is no output of the model"], [
            show,
            Hint("an inner value becomes an output with `", call("tap", names=[match["name"]]), "`"),
        ]
    return None


def _files(text: str) -> _Found | None:
    if "NO_SUCHFILE" in text or "File doesn't exist" in text:
        return ["there is no such model file where the program looked for it"], [
            "give an absolute path, or start the program in the folder of the model"
        ]
    if "Protobuf parsing failed" in text or "INVALID_PROTOBUF" in text:
        return ["the bytes are no ONNX model: the file is cut off, or of another kind"], [
            Hint("`", look("check"), "` says at which byte it ends; copy or download it again"),
        ]
    if re.search(r"external data|External initializer|external_data", text, re.IGNORECASE):
        return ["the weights lie in another file, which is not there, too short, or outside of the model's folder"], [
            "keep the data file beside the model, under the name that it had",
            "graphkit copy writes both, or one file where they fit",
        ]
    return None


def _memory(text: str) -> _Found | None:
    if not is_out_of_memory(text):
        return None
    return ["memory ran out"], [
        "feed smaller sizes, a smaller batch first",
        "run on the CPU, where the memory is larger",
    ]


def _providers(text: str) -> _Found | None:
    match = re.search(
        r"Failed to load library \S*?providers_(?P<name>\w+?)\.|Failed to create (?P<made>\w+ExecutionProvider)", text
    )
    if match is None:
        return None
    return [
        f"the provider {match['made'] or match['name']} was asked for and does not load; the model runs on the CPU"
    ], ["graphkit doctor lists the providers that load here, and what is missing for the others"]


_BOUND = re.compile(
    r"Type parameter \((?P<parameter>\w+)\) of Optype \((?P<op>\w+)\) bound to different types \((?P<a>\S+) and (?P<b>[^()\s]+(?:\([^)\s]*\)?)?)\)* in node \((?P<node>[^)]*)\)"
)
_WRONG = re.compile(
    r"Type '(?P<type>[^']+)' of input parameter \((?P<value>[^)]*)\) of operator \((?P<op>\w+)\) in node \((?P<node>[^)]*)\) is invalid"
)


def _cast(value: str) -> Call:
    return call("insert", at=Blank(value), function=Blank("'y = Cast<to = 1>(x)'"))


def _types(text: str) -> _Found | None:
    if match := _BOUND.search(text):
        one, other = (re.sub(r"^tensor\((\w+)\)?$", r"\1", match[key]) for key in ("a", "b"))
        title = f"{match['op']} {match['node']!r}" if match["node"] else match["op"]
        meaning = f"{title} reads {one} and {other}, and both must be of one type"
        return [meaning], [Hint("cast one of them: `", _cast("VALUE"), "`")]
    if match := _WRONG.search(text):
        meaning = f"{match['op']} {match['node']!r} does not take {match['type']}, the type of {match['value']!r}"
        return [meaning], [
            Hint("cast it: `", _cast(match["value"]), "`"),
            Hint("or use an opset in which the operator takes it: `", call("opset", to=Blank("N")), "`"),
        ]
    return None


def _of_the_model(text: str) -> _Found | None:
    found = explained(text, OF_THE_MODEL)
    return None if found is None else ([found[0]], found[1])


_KNOWN: tuple[Callable[[str], _Found | None], ...] = (
    *(_axes, _data_type, _names, _memory, _types, _files, _providers),
    _of_the_model,
)

_CHANNELS = re.compile(r"C: (?P<got>\d+) kernel channels: (?P<kernel>\d+) group: (?P<group>\d+)")
_BROADCAST = re.compile(r"Attempting to broadcast an axis by a dimension other than 1\. (?P<a>\d+) by (?P<b>\d+)")
_RESHAPE = re.compile(r"Input shape:\{(?P<has>[^}]*)\}, requested shape:\{(?P<asked>[^}]*)\}")
_INDEX = re.compile(r"idx=(?P<index>-?\d+) must be within the inclusive range \[(?P<low>-?\d+),(?P<high>-?\d+)\]")


def _at_node(text: str, short: str, op: str, node: str) -> Explanation:
    """A run that failed at a node: the sizes that it names, and why they do not go together."""
    title = f"{op} {node!r}" if node else op
    baked = advice(text)
    probe = Hint("`", look("probe"), "` says which axis of which input it is, and tries the remedy")
    if known := explained(text, AT_A_NODE, title):
        return Explanation(short, (known[0],), node or op, (*known[1], probe))
    if match := _CHANNELS.search(text):
        wanted = int(match["kernel"]) * int(match["group"])
        said = f"{title} got {match['got']} channels, and its weight is made for {wanted}: axis 1 of the picture (NCHW)"
        baked = Hint(
            "feed a picture of that many channels, or change the order of the axes with `",
            call("layout", io={Blank("INPUT"): "NHWC"}),
            "`",
        )
    elif match := _BROADCAST.search(text):
        said = f"{title} got an axis of the size {match['a']} where {match['b']} is wanted: one of the two holds a size of before"
    elif match := _RESHAPE.search(text):
        said = f"{title} was to give the shape [{match['asked']}] to [{match['has']}], which has another number of elements: a shape is a constant as a rule"
    elif match := _INDEX.search(text):
        said = f"{title} was given the index {match['index']}, and there are indices {match['low']} to {match['high']}"
        baked = "feed indices that are there; a table of positions is made for one length, which a longer input exceeds"
    else:
        said = f"{title} failed: {short.partition('Status Message: ')[2] or short}"
    return Explanation(short, (said,), node or op, tuple(hint for hint in (baked, probe) if hint))
