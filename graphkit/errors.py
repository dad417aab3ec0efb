"""Every exception and warning that graphkit raises on purpose.

::

    GraphkitError                     message, hint
    ├── ModelFileError                path: a model or weight file that cannot be read or written
    │   ├── FormatError               offset: the bytes are no ONNX model (also a ValueError)
    │   ├── WeightsError              location: external data that is missing, short or out of bounds
    │   └── SaveError                 the target cannot be written; what was there is still there
    ├── NameNotFoundError             kind, name, suggestions (also a KeyError)
    ├── NameTakenError                name: a new name that the graph already uses
    ├── CutError                      missing, suggestion: inputs that do not determine the outputs
    ├── TypeUnknownError              names: values whose type neither the file nor inference gives
    ├── InvalidGraphError             names: nodes that make no valid graph (a cycle, an unknown operator)
    ├── EditError                     an operation that the model does not allow
    │   └── NothingFoundError         an operation that finds nothing to do
    │       └── NoResizeError         nothing in the model resizes
    ├── TensorError                   name: a tensor whose bytes contradict its type and dims
    ├── MissingExtraError             package, extra: what is not installed (also an ImportError)
    ├── OutdatedPackageError          package, installed, lowest: what is too old
    ├── FactoryError                  reference: ``package.module:factory`` that gives no module
    ├── ExportError                   torch could not export: operator, source line
    ├── SessionError                  the runtime refuses the model
    │   └── ProviderError             a provider was asked for and is not what ran
    ├── FeedError                     name: an array that does not fit the input it is for
    ├── TextError                     a text NAME=VALUE, a size or a shape that cannot be read (also a ValueError)
    ├── RecipeError                   path, faults: a recipe that cannot be read, fault by fault (also a ValueError)
    ├── ExpectationError              step, failed: what a recipe expects does not hold (also an AssertionError)
    ├── ClusterError                  address: a scheduler that is not there, or has other versions
    ├── ComparisonError               candidate and reference cannot be compared at all
    └── MismatchError                 compared, and different (also an AssertionError)

    GraphkitWarning                   a finding that does not stop the operation (a UserWarning)

A caller's bug (a wrong Python type, two options that exclude each other) is a plain ``TypeError`` or ``ValueError``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


class GraphkitError(Exception):
    """What went wrong, where and why, in one message; what to do about it in ``hint``.

    Every error of the tree survives ``pickle`` and ``copy`` with all its fields.

    Attributes:
        message: One or more sentences without the hint.
        hint: What the user can do, or None; a ``graphkit.hint.Hint`` where it names arguments, which the command line
            spells as options.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return "\n  ".join([self.message, *([f"hint: {self.hint}"] if self.hint else []), *self.told()])

    def told(self) -> tuple[str, ...]:
        """Lines behind the message and the hint: what another package said, where that adds something."""
        return ()

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (type(self), self.args, self.__dict__)


def _remade(kind: type[GraphkitError], args: tuple[Any, ...], fields: dict[str, Any]) -> GraphkitError:
    """An error with the fields that it had; the constructors of the tree take other arguments than a message."""
    error = kind.__new__(kind, *args)
    super(GraphkitError, error).__init__(*args)
    error.__dict__.update(fields)
    return error


class ModelFileError(GraphkitError):
    """A model or weight file that cannot be read or written.

    Attributes:
        path: The file, as the user wrote it.
    """

    def __init__(self, message: str, *, path: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.path = path


class FormatError(ModelFileError, ValueError):
    """The bytes are not a serialised ONNX model.

    Attributes:
        offset: Byte position in the file where reading failed, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        offset: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, path=path, hint=hint)
        self.offset = offset


class WeightsError(ModelFileError):
    """External data that is missing, too short, or outside of the model's folder.

    Attributes:
        location: The ``location`` entry of the tensor's external data.
    """

    def __init__(
        self,
        message: str,
        *,
        location: str | None = None,
        path: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, path=path, hint=hint)
        self.location = location


class SaveError(ModelFileError):
    """The target could not be written; the files that were there before are unchanged."""


LISTED = 8
"""Names that an error lists where none looks like the one that was asked for."""


class NameNotFoundError(GraphkitError, KeyError):
    """A name that the model does not have.

    Attributes:
        kind: What was looked for: "value", "node", "initializer", "module", ...; "rule" is none of the model's.
        name: The name asked for, or a pattern.
        suggestions: Names that the model has and that look alike, best first.
    """

    def __init__(
        self, kind: str, name: str, known: Iterable[str] = (), *, hint: str | None = None, message: str | None = None
    ) -> None:
        self.kind = kind
        self.name = name
        there = list(dict.fromkeys(known))
        self.suggestions = similar(name, there)
        if hint is None and self.suggestions:
            hint = "did you mean " + " or ".join(repr(s) for s in self.suggestions) + "?"
        elif hint is None and there:
            more = f" and {len(there) - LISTED} more" if len(there) > LISTED else ""
            hint = "it has " + ", ".join(map(repr, there[:LISTED])) + more
        super().__init__(message or f"the model has no {kind} named {name!r}", hint=hint)


class NameTakenError(GraphkitError):
    """A new name that is already in use in the graph.

    Attributes:
        name: The name.
    """

    def __init__(self, message: str, *, name: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.name = name


class CutError(GraphkitError):
    """Inputs that do not determine the outputs asked for.

    Attributes:
        missing: The graph inputs that the outputs still need, in graph order.
        suggestion: Values that would close the cut when given as further inputs.
    """

    def __init__(
        self,
        message: str,
        *,
        missing: Sequence[str] = (),
        suggestion: Sequence[str] = (),
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.missing = tuple(missing)
        self.suggestion = tuple(suggestion)


class TypeUnknownError(GraphkitError):
    """Values whose type is needed and is neither in the file nor found by inference.

    Attributes:
        names: The values, in graph order.
    """

    def __init__(self, message: str, *, names: Sequence[str] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.names = tuple(names)


class InvalidGraphError(GraphkitError):
    """Nodes, inputs and outputs that make no valid ONNX graph: a cycle, an operator or attribute that does not exist.

    Attributes:
        names: The nodes or values concerned.
    """

    def __init__(
        self,
        message: str,
        *,
        names: Sequence[str] = (),
        hint: str
        | None = "the model is not valid ONNX, and runtimes refuse it too: make it again with the tool that wrote it",
    ) -> None:
        super().__init__(message, hint=hint)
        self.names = tuple(names)


class EditError(GraphkitError):
    """An operation that the model does not allow; the model is unchanged."""


class NothingFoundError(EditError):
    """An operation that finds nothing to do in the model. A recipe's step may be ``optional``: then it is left out."""


class NoResizeError(NothingFoundError):
    """The model has no node that resizes, or none that can be given a run-time factor."""


class TensorError(GraphkitError):
    """A tensor whose bytes contradict its data type and dims.

    Attributes:
        name: The tensor.
    """

    def __init__(
        self,
        message: str,
        *,
        name: str,
        hint: str | None = "the file is damaged, or the tool that wrote it is wrong: fetch it, or make it, again",
    ) -> None:
        super().__init__(message, hint=hint)
        self.name = name


class MissingExtraError(GraphkitError, ImportError):
    """A feature whose optional package is not installed, or does not load.

    Attributes:
        package: The package that could not be imported.
        extra: The extra of onnx-graphkit that brings it; "" where none does.
    """

    def __init__(self, package: str, extra: str, purpose: str, reason: str | None = None) -> None:
        why = "is not installed" if reason is None else f"is installed and cannot be imported: {reason}"
        super().__init__(
            f"{purpose} needs the package {package!r}, which {why}",
            hint=f'pip install "onnx-graphkit[{extra}]"' if extra else f"pip install {package}",
        )
        self.package = package
        self.extra = extra


class OutdatedPackageError(GraphkitError):
    """An installed optional package that is older than what graphkit was tested with.

    Attributes:
        package: The package.
        installed: Its version.
        lowest: The lowest version that serves.
    """

    def __init__(self, package: str, installed: str, lowest: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs {package} {lowest} or later; {installed} is installed",
            hint=f'pip install "{package}>={lowest}"',
        )
        self.package = package
        self.installed = installed
        self.lowest = lowest


class FactoryError(GraphkitError):
    """A ``package.module:factory`` that cannot be imported or gives no torch module.

    Attributes:
        reference: The text as the user wrote it.
    """

    def __init__(self, message: str, *, reference: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reference = reference


class ExportError(GraphkitError):
    """torch could not export the module.

    Attributes:
        details: torch's own message, whole; the command line shows it with ``-v``.
        stage: Where it ended: "module" (the module does not run, or the arguments do not fit it or contradict each other),
            "capture" (torch cannot follow the forward), "translation" (an operator cannot be written in ONNX), "file" (the
            result cannot be written); None where nothing was exported.
        torch_version: torch's version, where torch was asked.
        words: What torch said first, in its own words; "" where torch was not asked.
    """

    def __init__(
        self,
        message: str,
        *,
        details: str = "",
        hint: str | None = None,
        stage: str | None = None,
        torch_version: str = "",
        words: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.details = details
        self.stage = stage
        self.torch_version = torch_version
        self.words = words

    def told(self) -> tuple[str, ...]:
        """The stage, torch's version, and its words where the message does not repeat them."""
        if not self.torch_version:
            return ()
        says = f" says: {self.words}" if self.words and self.words[:40] not in self.message else ""
        return (f"stage: {self.stage}; torch {self.torch_version}{says}",)


class SessionError(GraphkitError):
    """The runtime refuses to load or to run the model."""


class ProviderError(SessionError):
    """An execution provider was asked for and is not the one that ran."""


class FeedError(GraphkitError):
    """An array that does not fit the input it is for.

    Attributes:
        name: The input, or None where the feed as a whole is wrong.
    """

    def __init__(self, message: str, *, name: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.name = name


class TextError(GraphkitError, ValueError):
    """A text that a user writes (NAME=VALUE, INPUT:AXIS, a size, a shape) and that cannot be read, or in several ways."""


class RecipeError(GraphkitError, ValueError):
    """A recipe with faults: wrong keys, types or names.

    Attributes:
        faults: All of them, each with file, line and column.
        path: The recipe's file, or None.
    """

    def __init__(self, faults: Sequence[str], *, path: str | None = None, hint: str | None = None) -> None:
        count = "" if len(faults) == 1 else f"{len(faults)} faults:\n  "
        super().__init__(f"the recipe cannot be used: {count}" + "\n  ".join(faults), hint=hint)
        self.faults = tuple(faults)
        self.path = path


class ExpectationError(GraphkitError, AssertionError):
    """A model is not what a recipe expects at a step; nothing was written.

    Attributes:
        step: The step's number, from 1.
        failed: What does not hold, one sentence each.
    """

    def __init__(self, failed: Sequence[str], *, step: int = 0, place: str = "") -> None:
        where = f"{place}: " if place else f"step {step}: " if step else ""
        super().__init__(f"{where}not as expected: " + "; ".join(failed))
        self.step = step
        self.failed = tuple(failed)


class ClusterError(GraphkitError):
    """A Dask scheduler that cannot be used.

    Attributes:
        address: The scheduler's address.
    """

    def __init__(self, message: str, *, address: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.address = address


class ComparisonError(GraphkitError):
    """Candidate and reference cannot be compared: other inputs, other outputs, a run that failed."""


class MismatchError(GraphkitError, AssertionError):
    """Candidate and reference were compared and differ."""


class GraphkitWarning(UserWarning):
    """A finding the user should read that does not stop the operation."""


def similar(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known names that look most like a name, best first.

    A name that ends in, or contains, the one asked for counts as alike, so that the last component of a module path
    finds the whole path.

    Cost: O(number of known names); at most 20,000 of them are compared.
    """
    import difflib

    if len(name) > 200:
        return []
    pool = [k for _, k in zip(range(20_000), known, strict=False) if len(k) <= 200]
    close = difflib.get_close_matches(name, pool[:2_000], n=count, cutoff=0.6)
    lowered = name.lower()
    inside = [k for k in pool if len(lowered) > 2 and lowered in k.lower() and k not in close]
    return (close + sorted(inside, key=len))[:count]
