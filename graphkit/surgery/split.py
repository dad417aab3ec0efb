"""split: a model becomes stages that run one after the other."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import onnx

from graphkit.arguments import ArgumentValueError
from graphkit.edit.stages import at_modules, at_values, balanced
from graphkit.errors import EditError, SaveError
from graphkit.graph import walk
from graphkit.graph.addresses import Addresses
from graphkit.graph.index import GraphIndex
from graphkit.graph.order import topological_order
from graphkit.graph.upstream import upstream
from graphkit.hint import Hint, call
from graphkit.model import Model, ModelLike
from graphkit.operation import names
from graphkit.result import Result
from graphkit.shapes.types_of import types_of
from graphkit.storage.load import as_valid_model
from graphkit.storage.new_folder import NewFolder
from graphkit.storage.save import Saved, save
from graphkit.storage.source import is_url
from graphkit.storage.upload import names_at, remove_at, upload
from graphkit.surgery.extract import extract
from graphkit.tensor import stored_bytes

PLAN = "stages.json"
"""The file that says how the stages of a folder are chained."""


@dataclass(frozen=True, repr=False)
class Stage(Result):
    """One of the models that a model was split into.

    Attributes:
        file: Its file's name in the folder.
        inputs: Input -> "input" for an input of the whole model, or the file of the stage that makes it.
        outputs: Its outputs: what later stages read, and outputs of the whole model.
        nodes: Number of nodes.
        weight_bytes: Bytes of its weights.
    """

    file: str
    inputs: dict[str, str]
    outputs: tuple[str, ...]
    nodes: int
    weight_bytes: int


@dataclass(frozen=True, repr=False)
class Split(Result):
    """A model in stages.

    Attributes:
        models: The stages as models, in the order in which they run.
        stages: What each of them reads and makes.
        inputs: Inputs of the whole model.
        outputs: Outputs of the whole model.
    """

    models: tuple[Model, ...]
    stages: tuple[Stage, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def plan(self) -> dict[str, Any]:
        """What ``stages.json`` holds."""
        return {
            "format": 1,
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "stages": [{**vars(stage), "outputs": list(stage.outputs)} for stage in self.stages],
        }

    def save(
        self, folder: str | os.PathLike[str], *, external: bool = False, history: bool = True
    ) -> tuple[Saved, ...]:
        """Write the stages and ``stages.json`` into a folder, all of it or nothing.

        Args:
            folder: A folder that does not exist, is empty, or holds an earlier split, which is replaced; or the address
                of one, as ``gk.save`` takes addresses.
            external: Write each stage's weights into a data file beside it.
            history: As ``gk.save`` has it.

        Raises:
            SaveError: The folder holds something else, or cannot be written.
        """
        if is_url(os.fspath(folder)):
            return self._save_at(os.fspath(folder).rstrip("/"), external=external, history=history)
        target = os.path.realpath(os.fspath(folder))
        parent = os.path.dirname(target)
        if os.path.lexists(target) and not _replaceable(target):
            raise SaveError(f"{folder} is there already and holds no split", path=str(folder), hint="name a new folder")
        if not os.path.isdir(parent):
            raise SaveError(f"the folder {parent!r} does not exist", path=str(folder))
        try:
            made = NewFolder(target)
        except OSError as error:
            raise SaveError(f"cannot write {folder}: {error.strerror}", path=str(folder)) from error
        work = made.path
        try:
            saved = tuple(
                save(
                    model,
                    os.path.join(work, stage.file),
                    external=f"{stage.file}.data" if external else None,
                    history=history,
                )
                for model, stage in zip(self.models, self.stages, strict=True)
            )
            with open(os.path.join(work, PLAN), "w", encoding="utf-8") as file:
                json.dump(self.plan(), file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            made.put()
        finally:
            made.close()
        return _within(saved, target)

    def _save_at(self, url: str, *, external: bool, history: bool) -> tuple[Saved, ...]:
        """The same at an address: made in a temporary folder, and uploaded, the plan last."""
        there = names_at(url)
        if there and PLAN not in there:
            raise SaveError(f"{url} is there already and holds no split", path=url, hint="name a new folder")
        with tempfile.TemporaryDirectory(prefix="graphkit-") as folder:
            work = os.path.join(folder, "stages")
            saved = self.save(work, external=external, history=history)
            names = [name for name in sorted(os.listdir(work)) if name != PLAN]
            upload(work, [*names, PLAN], url)
        remove_at(url, [name for name in there if _OF_A_STAGE.fullmatch(name) and name not in names])
        return _within(saved, url)


_OF_A_STAGE = re.compile(r"stage\d+\.onnx(\.data)?")
"""The files of a split, but for its plan."""


def _within(saved: Sequence[Saved], place: str) -> tuple[Saved, ...]:
    """What was written, in the folder where it is now."""

    def moved(path: str) -> str:
        return f"{place}/{os.path.basename(path)}"

    return tuple(replace(s, path=moved(s.path), data_path=s.data_path and moved(s.data_path)) for s in saved)


def _replaceable(folder: str) -> bool:
    return os.path.isdir(folder) and (not os.listdir(folder) or os.path.exists(os.path.join(folder, PLAN)))


def split(
    model: ModelLike,
    *,
    stages: int | None = None,
    at: Sequence[str] | None = None,
    modules: Sequence[str] | None = None,
    by: Literal["bytes", "flops"] = "bytes",
) -> Split:
    """Cut a model into stages that run one after the other and together give what it gives.

    A value that a later stage reads is an output of the stage that makes it and an input of the one that reads it, however
    many stages lie between. A weight that two stages read is in both.

    Args:
        model: A path, a ModelProto or a Model.
        stages: How many; they are balanced by ``by``, and cut where few values cross.
        at: Values; a stage ends with each of them, in this order: it has what that value needs and no earlier stage has.
        modules: Paths of torch modules; a stage begins with the first node of each.
        by: What is balanced: bytes of weights, or multiply-accumulates as far as shapes are known.

    Raises:
        ValueError: None or several of ``stages``, ``at`` and ``modules`` are given, or fewer than two stages.
        NameNotFoundError: A value or module that is not there.
        EditError: There are fewer nodes than stages, a stage would have nothing to do, or a value is in a body or function.
        TypeUnknownError: The type of a value that crosses cannot be found.
        InvalidGraphError, ModelFileError, FormatError, WeightsError, TensorError: As ``load``.

    Changes: nothing; returns new models over the same bytes.
    Scope: cuts the main graph; bodies and functions go with the nodes that have or call them.
    Cost: O(graph) a stage; weights are not read.
    Law: part: the stages in a chain equal the whole.

    Example:
        >>> import graphkit as gk
        >>> trunk = gk.extract("model.onnx", outputs=["relu_3"])
        >>> [stage.inputs for stage in gk.split(trunk, at=["b"]).stages]
        [{'image': 'input', 'x': 'input'}, {'b': 'stage0.onnx'}]
    """
    if sum(given is not None for given in (stages, at, modules)) != 1:
        raise ArgumentValueError("say how to split in one way: stages=N, at=[VALUE, ...] or modules=[PATH, ...]")
    at, modules = names(at), names(modules)
    if not any((stages is not None, at, modules)):
        raise ArgumentValueError("there is no value or module to split at, so there is one stage: name one or more")
    source = as_valid_model(model)
    proto = source.proto
    index = GraphIndex(proto.graph)
    order = topological_order(index.nodes)
    if stages is not None:
        number = balanced(proto, index, order, stages, by)
    elif at is not None:
        _check_in_main_graph(proto, at)
        number = at_values(index, order, at)
    else:
        number = at_modules(index, order, modules or ())
    return _cut(source, index, number)


def _check_in_main_graph(proto: onnx.ModelProto, names: Sequence[str]) -> None:
    """Refuse to end a stage in the midst of a node: a body runs as a whole, and so does a function.

    Raises:
        NameNotFoundError: No such value.
        EditError: It is inside of a body or function.
    """
    addresses = Addresses(proto)
    for name in names:
        site = addresses.value(name).site
        if site is not addresses.main:
            hint: Hint | str = "name a value of the main graph: a body runs as a whole, in one stage"
            if site.function is not None:
                hint = Hint("inline the functions first: ", call("inline"))
            raise EditError(
                f"{name!r} is inside of a body or function, and stages are cut in the main graph", hint=hint
            )


def _cut(source: Model, index: GraphIndex, number: Sequence[int]) -> Split:
    """Stages of nodes that are numbered by the stage that they are in."""
    count = max(number, default=0) + 1
    made = {name: number[index.producer[name]] for name in index.producer}
    reads: list[dict[str, None]] = [{} for _ in range(count)]
    outputs: list[dict[str, None]] = [{} for _ in range(count)]
    needed = upstream(index, index.outputs).nodes
    for position in range(len(index.nodes)):
        if position not in needed:
            continue
        here = number[position]
        for name in index.reads(position):
            if name in made and made[name] != here:
                reads[here][name] = None
                outputs[made[name]][name] = None
            elif name in index.inputs and not index.is_constant(name):
                reads[here][name] = None
    for name in index.outputs:
        outputs[made.get(name, 0)][name] = None
        if name in index.inputs and not index.is_constant(name):
            reads[0][name] = None
    if empty := [stage for stage in range(count) if not outputs[stage]]:
        raise EditError(f"stage {empty[0]} would have nothing to do: nothing later reads what it makes")
    crossing = dict.fromkeys(name for stage in reads for name in stage if name in made)
    types = types_of(source.proto, index, crossing)
    models = [
        extract(
            source,
            inputs=list(reads[k]),
            outputs=list(outputs[k]),
            input_types={n: types[n] for n in reads[k] if n in types},
        )
        for k in range(count)
    ]
    told = tuple(
        Stage(
            file=f"stage{k}.onnx",
            inputs={name: f"stage{made[name]}.onnx" if name in made else "input" for name in reads[k]},
            outputs=tuple(outputs[k]),
            nodes=len(part.proto.graph.node),
            weight_bytes=sum(stored_bytes(tensor) for tensor in walk.tensors(part.proto)),
        )
        for k, part in enumerate(models)
    )
    whole = tuple(value.name for value in source.inputs)
    return Split(tuple(models), told, whole, tuple(index.outputs))
