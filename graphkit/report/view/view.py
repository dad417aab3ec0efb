"""view: a model as one page to look into: opened and closed by module, searched, marked, highlighted."""

from __future__ import annotations

import html
import os
import tempfile
import webbrowser
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphkit.errors import GraphkitError
from graphkit.graph import walk
from graphkit.model import Model, ModelLike
from graphkit.report.foot import foot
from graphkit.report.printable import shown
from graphkit.report.text.history import step_words
from graphkit.report.view.drawing import CONSTANT, Drawing, draw
from graphkit.report.view.highlights import Highlight, highlights
from graphkit.report.view.marks import marks
from graphkit.report.view.page import view_page
from graphkit.result import Result
from graphkit.shapes.inference import inferred
from graphkit.storage.commit import write_file
from graphkit.storage.load import as_model, load
from graphkit.tensor import stored_bytes

MOST_INFERRED = 200_000
"""Nodes up to which missing types are inferred for the dims on the edges; it takes about 40 microseconds a node."""

MANY = 20_000
"""Nodes from which on the page says that it opens closed."""


@dataclass(frozen=True, repr=False)
class View(Result):
    """A page that draws a model. In a notebook it is shown.

    Attributes:
        name: The model's file, or the name of its graph.
        nodes: Nodes of the main graph.
        groups: What the groups are made from: "modules", "names" (prefixes of names) or "order" (runs of nodes).
        highlighted: Label -> number of boxes.
        findings: How many findings of ``check`` and ``lint`` are marked.
        notes: What the reader should know: what was left out because the model is large.
        html: The page.
    """

    name: str
    nodes: int
    groups: str
    highlighted: dict[str, int]
    findings: int
    notes: tuple[str, ...]
    html: str = field(repr=False, metadata={"json": False})

    def _repr_html_(self) -> str:
        """The page in a frame of its own: its scripts and styles touch nothing else of a notebook."""
        page = html.escape(self.html)
        return f'<iframe srcdoc="{page}" style="width:100%;height:640px;border:1px solid #8884" title="model"></iframe>'

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page.

        Raises:
            SaveError: The file cannot be written.
        """
        write_file(os.fspath(path), self.html.encode())

    def open(self) -> str:
        """Write the page to a temporary file and open it in the browser.

        Returns:
            The file's path. It stays until somebody removes it: the browser may read it late.
        """
        stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in self.name)[:60].strip("-") or "model"
        folder = tempfile.mkdtemp(prefix="graphkit-view-")
        path = os.path.join(folder, f"{stem}.html")
        self.save(path)
        webbrowser.open(Path(path).as_uri())
        return path


def view(model: ModelLike, *, highlight: Highlight | Sequence[Highlight] = (), weights: bool = True) -> View:
    """Draw a model as one self-contained page that loads nothing from any network.

    The page opens with a dozen boxes or so: torch modules where the file knows them, else prefixes of names, else runs
    of nodes. Everything opens in place: groups, bodies of If, Loop and Scan, functions.

    Args:
        model: A path, a ModelProto or a Model; it may be invalid, which is marked.
        highlight: What to colour. Texts: the name of a node or value, ``cut:INPUT,INPUT->OUTPUT``, ``module:PATH``,
            ``step:N`` of the history (the original lies in the model's folder), ``bisect:FILE`` (what ``graphkit bisect
            --json`` wrote), ``placement:DEVICE`` (which provider runs which node). Or results: of ``suggest``,
            ``validate``, ``bisect``, ``layers``, ``prove``, ``diff`` (this is the second model) or ``session``, or a
            mapping node -> label.
        weights: Read weights for statistics and histograms: at most 256 MB in all, 1 MB of each.

    Returns:
        The page: ``save(path)`` writes it, ``open()`` shows it in the browser; a notebook shows it by itself.

    Raises:
        ModelFileError, FormatError: The file cannot be read at all.
        TextError, NameNotFoundError: Something to highlight is written wrongly, or is not there.
        GraphkitError: There is no history, or a file holds no bisection.
        ProviderError, SessionError, MissingExtraError: For a placement, as ``session``.

    Changes: nothing.
    Scope: main graph, bodies, functions.
    Cost: O(graph); up to 20,000 nodes also ``check`` and ``lint``, 100 microseconds a node. A page has 0.7 MB and about
    150 bytes a node.

    Example:
        >>> import onnx, graphkit as gk
        >>> text = '<ir_version: 8, opset_import: ["": 18]> g (float[2] x) => (float[2] y) { y = Relu(x) }'
        >>> gk.view(onnx.parser.parse_model(text)).nodes
        1
    """
    source = load(model, strict=False) if isinstance(model, str | os.PathLike) else as_model(model)
    proto = source.proto
    count = sum(1 for _ in walk.model_nodes(proto))
    drawing = draw(source, inferred(proto) if count <= MOST_INFERRED else proto)
    found, notes = marks(source, drawing, count)
    if count >= MANY:
        notes.insert(0, f"{count:,} nodes: the page opens with everything closed; open one group after the other")
    wanted = [highlight] if isinstance(highlight, str) or not isinstance(highlight, Sequence) else highlight
    coloured = highlights(wanted, source, drawing)
    name = os.path.basename(source.path.rstrip("/")) if source.path else proto.graph.name or "model"
    data = {
        "about": _about(source, drawing, name, notes),
        "drawing": drawing.data(read_weights=weights),
        "marks": found,
        "highlights": coloured,
    }
    return View(
        name=name,
        nodes=len(proto.graph.node),
        groups=drawing.source,
        highlighted={entry["label"]: len(entry["places"]) for entry in coloured},
        findings=len(found),
        notes=tuple(notes),
        html=view_page(shown(name), data),
    )


def _about(model: Model, drawing: Drawing, name: str, notes: Sequence[str]) -> dict[str, Any]:
    """What the panel says of the whole model."""
    proto = model.proto
    operators = Counter(node.op_type for node in walk.model_nodes(proto))
    hidden = sum(box.get("k") == CONSTANT for graph in drawing.graphs for box in graph["nodes"])
    opsets = ", ".join(f"{entry.domain or 'ai.onnx'} {entry.version}" for entry in proto.opset_import)
    facts = {
        "graph": proto.graph.name,
        "IR version": str(proto.ir_version),
        "opsets": opsets,
        "producer": f"{proto.producer_name} {proto.producer_version}".strip(),
        "nodes": f"{sum(operators.values()):,}",
        "functions": str(len(proto.functions)) if proto.functions else "",
        "weights": f"{len(proto.graph.initializer):,}, {_weight_bytes(drawing):,} bytes",
        "grouped by": {"modules": "torch modules", "names": "prefixes of names", "order": "order of the nodes"}[
            drawing.source
        ],
        "operators": ", ".join(f"{name} {count}" for name, count in operators.most_common(12)),
        "constants": f"{hidden:,} nodes that only hold weights are not drawn: their readers show them"
        if hidden
        else "",
        "doc": proto.doc_string,
    }
    return {
        "name": shown(name),
        "facts": [[title, shown(text)] for title, text in facts.items() if text],
        "notes": list(notes),
        "history": _history(model),
        "foot": foot(),
    }


def _weight_bytes(drawing: Drawing) -> int:
    return sum(max(0, stored_bytes(tensor)) for _, tensor in drawing.weights if min(tensor.dims, default=0) >= 0)


def _history(model: Model) -> list[str]:
    try:
        return [shown(f"{step.operation} {step_words(step)}".strip()) for step in model.history]
    except GraphkitError as error:
        return [shown(error.message)]
