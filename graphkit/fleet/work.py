"""What is done with each model of many: values that any process can unpickle and call."""

from __future__ import annotations

import hashlib
import json
import os
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphkit.errors import ExpectationError, GraphkitError, ModelFileError
from graphkit.fleet.outcomes import Done, Failed, Outcome, Skipped
from graphkit.graph import walk
from graphkit.inspection.check import check
from graphkit.inspection.inspect import inspect
from graphkit.inspection.lint import lint
from graphkit.model import Model
from graphkit.recipe.recipe import Recipe
from graphkit.report.text.text import text
from graphkit.report.to_json import to_json
from graphkit.runtime.session import THREADS_VARIABLE
from graphkit.storage.load import as_model
from graphkit.storage.source import is_url
from graphkit.surgery.split import PLAN
from graphkit.verify.laws.prove import prove
from graphkit.verify.validate import validate

PIECE = 1 << 22
"""Bytes that are digested at once."""


@dataclass(frozen=True)
class Job:
    """One model of many.

    Attributes:
        model: Its path or address.
        out: Where the result goes; None where nothing is written.
        other: What it is compared with; None where it is not.
        before: The outcome of an earlier run, or None.
    """

    model: str
    out: str | None = None
    other: str | None = None
    before: Done | None = None


@dataclass(frozen=True)
class Answer:
    """What the work on one model gave.

    Attributes:
        answer: The verdict.
        said: The result in a line.
        result: Anything that ``to_json`` takes.
        out: What was written, or None.
    """

    answer: bool
    said: str
    result: Any = None
    out: str | None = None


@dataclass(frozen=True)
class Applying:
    """Apply a recipe and save what it makes.

    Attributes:
        recipe: The recipe.
        variables: Variable -> value.
        prove: Write nothing unless the laws of the steps hold.
        dry_run: Write nothing.
        saving: Options of ``save``.
    """

    recipe: Recipe
    variables: Mapping[str, Any] = field(default_factory=dict)
    prove: bool = False
    dry_run: bool = False
    saving: Mapping[str, Any] = field(default_factory=dict)

    def told(self) -> str:
        """What it does, for the digest."""
        said = {"recipe": self.recipe.digest(self.variables), "prove": self.prove, "saving": dict(self.saving)}
        return json.dumps(said, sort_keys=True)

    def __call__(self, job: Job) -> Answer:
        """Do it."""
        applied = self.recipe.run(job.model, **self.variables)
        steps = [step for step in applied.steps if step.state == "done"]
        said = f"{len(steps)} of {len(applied.steps)} steps"
        result: dict[str, Any] = {"steps": applied.steps}
        proof = applied.prove() if self.prove else None
        if proof is not None:
            result["proof"] = proof
            if not proof:
                return Answer(False, f"{said}; {proof.verdict}, so nothing was written", result)
            said = f"{said}, proved"
        if self.dry_run or job.out is None:
            touched = "; ".join(f"{step.what}: {', '.join(step.touched)}" for step in steps)
            return Answer(True, touched or said, result)
        write(applied.result, job.out, self.saving)
        return Answer(True, said, result, job.out)


def write(made: Any, out: str, saving: Mapping[str, Any]) -> None:
    """Save a model, or the stages of a split, also to an address."""
    if not is_url(out):
        os.makedirs(os.path.dirname(os.path.abspath(out)), exist_ok=True)
    made.save(out, **saving)


@dataclass(frozen=True)
class Checking:
    """``check``, ``lint`` or ``inspect`` of each model.

    Attributes:
        what: Which of them.
        options: Their keyword arguments.
    """

    what: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def told(self) -> str:
        """What it does, for the digest."""
        return json.dumps({self.what: dict(self.options)}, sort_keys=True)

    def __call__(self, job: Job) -> Answer:
        """Do it."""
        functions: dict[str, Callable[..., Any]] = {"check": check, "lint": lint, "inspect": inspect}
        result = functions[self.what](job.model, **self.options)
        answer = bool(result) if self.what != "inspect" else True
        return Answer(answer, text(result).partition("\n")[0], result)


@dataclass(frozen=True)
class Comparing:
    """``validate`` or ``prove`` of each model and its reference.

    Attributes:
        what: Which of them.
        options: Their keyword arguments.
    """

    what: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def told(self) -> str:
        """What it does, for the digest."""
        return json.dumps({self.what: dict(self.options)}, sort_keys=True, default=str)

    def __call__(self, job: Job) -> Answer:
        """Do it."""
        if self.what == "prove":
            result: Any = prove(job.model, job.other, **self.options)
        else:
            result = validate(job.model, against=job.other, **self.options)
        return Answer(bool(result), text(result).partition("\n")[0], result)


Work = Applying | Checking | Comparing


@dataclass(frozen=True)
class Guarded:
    """Work that answers with an outcome, whatever happens short of the end of the process.

    Attributes:
        work: What is done.
        version: graphkit's version, for the key.
        keyed: Whether models are digested, so that a later run can go on from here.
    """

    work: Work | Callable[[Job], Answer]
    version: str
    keyed: bool = False

    def __call__(self, job: Job) -> Outcome:
        """Do the work on one model, with one thread."""
        os.environ[THREADS_VARIABLE] = "1"
        began = time.perf_counter()
        key = ""
        try:
            if self.keyed:
                key = self.key(job)
                if job.before is not None and job.before.key == key and _still_there(job.before):
                    return Skipped(job.model, "done before", job.before.answer, job.before.out, key)
            answer = self.work(job)
            result = json.loads(to_json(answer.result))
            written = digest_of_output(answer.out) if self.keyed and answer.out is not None else ""
            took = time.perf_counter() - began
            return Done(job.model, answer.answer, answer.out, answer.said, result, took, 1, key, written)
        except ExpectationError as error:
            took = time.perf_counter() - began
            return Failed(job.model, type(error).__name__, error.message, None, took, 1, key)
        except GraphkitError as error:
            took = time.perf_counter() - began
            return Failed(job.model, type(error).__name__, error.message, error.hint, took, 1, key)
        except MemoryError:
            took = time.perf_counter() - began
            return Failed(job.model, "MemoryError", "not enough memory for this model", None, took, 1, key)
        except OSError as error:
            took = time.perf_counter() - began
            return Failed(job.model, type(error).__name__, str(error), None, took, 1, key)
        except Exception as error:  # noqa: BLE001 (a bug costs its model a row, and not the run)
            told = "".join(traceback.format_exception(error))
            return Failed(job.model, "Bug", told, None, time.perf_counter() - began, 1, key)

    def key(self, job: Job) -> str:
        """Digest of the model with its weights, of what it is compared with, of the work and of graphkit's version."""
        told = getattr(self.work, "told", None)
        whole = hashlib.sha256(f"{self.version}\n{told() if told else self.work!r}\n{job.out}\n".encode())
        for path in (job.model, job.other):
            if path is not None:
                whole.update(digest_of_model(path).encode())
        return whole.hexdigest()


def digest_of_model(path: str) -> str:
    """sha256 of a model: its skeleton, and the bytes of its weights wherever they lie.

    Cost: everything is read, 1 s a GB.
    """
    model = as_model(path)
    whole = hashlib.sha256(model.proto.SerializeToString(deterministic=True))
    for tensor in walk.tensors(model.proto):
        for piece in _pieces(model, tensor):
            whole.update(piece)
    return whole.hexdigest()


def _pieces(model: Model, tensor: Any) -> Any:
    if tensor.data_location != tensor.EXTERNAL:
        return
    source, offset, length = model.locate(tensor)
    for at in range(offset, offset + length, PIECE):
        yield source.read(at, min(PIECE, offset + length - at))


def digest_of_output(path: str) -> str:
    """sha256 of a file that was written with its data file, or of a split's folder; "" where it is not there."""
    try:
        if os.path.isdir(path):
            with open(os.path.join(path, PLAN), encoding="utf-8") as plan:
                stages = [stage["file"] for stage in json.load(plan)["stages"]]
            return hashlib.sha256("".join(digest_of_model(os.path.join(path, s)) for s in stages).encode()).hexdigest()
        return digest_of_model(path)
    except (OSError, ValueError, KeyError, ModelFileError):
        return ""


def _still_there(before: Done) -> bool:
    return before.out is None or (before.written != "" and digest_of_output(before.out) == before.written)
