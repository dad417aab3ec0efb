"""``package.module:factory``: a torch module, and maybe example arguments, named on a command line."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from graphkit.errors import FactoryError, similar
from graphkit.optional import optional
from graphkit.result import Result
from graphkit.torch_export.own_domains import Translations
from graphkit.torch_export.source_line import user_line

if TYPE_CHECKING:
    import torch

SPELLING = (
    "write package.module:factory; a factory is a callable without arguments that gives an nn.Module, "
    "(module, args) or (module, args, kwargs)"
)

TABLE = (
    "write package.module:NAME; NAME is a dict such as {torch.ops.my.op.default: function}, or a callable without arguments "
    "that gives one"
)


@dataclass(frozen=True, repr=False)
class TorchSubject(Result):
    """A torch module and the arguments to call it with.

    Attributes:
        module: The module.
        args: Positional example arguments, or None where the factory gave a module only.
        kwargs: Keyword example arguments.
        reference: The text it was named by.
    """

    module: torch.nn.Module
    args: tuple[Any, ...] | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    reference: str = ""


def load_factory(reference: str) -> TorchSubject:
    """Import a factory and call it.

    The current directory is on the import path while this runs, as with ``python -m``.

    Args:
        reference: ``package.module:factory``. The factory takes no arguments and gives an nn.Module,
            (module, args) or (module, args, kwargs); an nn.Module that is there already will do too.

    Raises:
        FactoryError: The text has another form; the module does not import; it has no such attribute; the factory
            raises or leaves Python (SystemExit), needs arguments, or gives no module.
        MissingExtraError: torch is not installed.

    Cost: importing torch takes about a second.

    Example:
        >>> import graphkit as gk
        >>> subject = gk.load_factory("torch.nn:ReLU")
    """
    torch = import_torch("a torch factory")
    path, attribute = _parts(reference, SPELLING)
    with _current_directory_first():
        made = _made(_attribute(_import(path, reference), attribute, reference), reference, torch)
    return _subject(made, reference, torch)


def load_translations(reference: str) -> Translations:
    """Import translations of operators, as ``export`` takes them.

    The current directory is on the import path while this runs.

    Args:
        reference: ``package.module:NAME``: a mapping from operators of torch to functions that build their ONNX nodes, or a
            callable without arguments that gives one.

    Raises:
        FactoryError: The text has another form; the module does not import; it has no such attribute; the callable raises;
            there is no mapping from operators to functions.
        MissingExtraError: torch is not installed.

    Example:
        >>> import graphkit as gk
        >>> table = gk.load_translations("net:TRANSLATIONS")  # doctest: +SKIP
    """
    import_torch("translations of operators")
    path, attribute = _parts(reference, TABLE)
    with _current_directory_first():
        found = _attribute(_import(path, reference, TABLE), attribute, reference)
        if callable(found):
            found = _called(found, reference, "")
    if not isinstance(found, Mapping):
        raise FactoryError(
            f"{reference!r} is a {type(found).__name__}, no mapping from operators to functions",
            reference=reference,
            hint=TABLE,
        )
    for operator, made in found.items():
        several = made if isinstance(made, (tuple, list)) else (made,)
        if not all(map(callable, several)):
            raise FactoryError(
                f"{reference!r} has {made!r} for {operator}, no function", reference=reference, hint=TABLE
            )
    return found


def import_torch(purpose: str) -> Any:
    """The torch package.

    Raises:
        MissingExtraError: It is not installed.
        OutdatedPackageError: It is too old.
    """
    return optional("torch", purpose)


def import_onnxscript(purpose: str) -> Any:
    """The onnxscript package, which torch's exporters use and torch does not bring.

    Raises:
        MissingExtraError: It is not installed.
        OutdatedPackageError: It is too old.
    """
    return optional("onnxscript", purpose)


@contextlib.contextmanager
def _current_directory_first() -> Iterator[None]:
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(here)


def _parts(reference: str, spelling: str) -> tuple[str, str]:
    path, colon, attribute = reference.partition(":")
    if not colon or not path or not attribute or "/" in path or path.endswith(".py"):
        raise FactoryError(f"{reference!r} names nothing in a module", reference=reference, hint=spelling)
    return path, attribute


def _import(path: str, reference: str, spelling: str = SPELLING) -> Any:
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        missing = error.name or path
        if path == missing or path.startswith(missing + "."):
            raise FactoryError(
                f"there is no Python module {missing!r} (looked in {os.getcwd()} and in what is installed)",
                reference=reference,
                hint=_file_hint(path, spelling),
            ) from error
        raise FactoryError(
            f"importing {path!r} failed: it needs the module {missing!r}, which is not there", reference=reference
        ) from error
    except (Exception, SystemExit) as error:
        raise FactoryError(f"importing {path!r} failed: {_summary(error)}", reference=reference) from error


def _file_hint(path: str, spelling: str) -> str:
    here = os.getcwd()
    known = sorted(name.removesuffix(".py") for name in os.listdir(here) if name.endswith(".py") or os.path.isdir(name))
    close = similar(path.partition(".")[0], known)
    return f"did you mean {' or '.join(repr(c) for c in close)}?" if close else spelling


def _attribute(module: Any, attribute: str, reference: str) -> Any:
    found = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            names = [name for name in vars(found) if not name.startswith("_")]
            close = similar(part, names) or [name for name in names if callable(getattr(found, name, None))][:3]
            where = getattr(module, "__file__", None) or module.__name__
            raise FactoryError(
                f"{where} has no {part!r}",
                reference=reference,
                hint=f"did you mean {' or '.join(repr(c) for c in close)}?" if close else None,
            )
        found = getattr(found, part)
    return found


def _made(factory: Any, reference: str, torch: Any) -> Any:
    if isinstance(factory, torch.nn.Module):
        return factory
    if not callable(factory):
        raise FactoryError(
            f"{reference!r} is a {type(factory).__name__}, no factory", reference=reference, hint=SPELLING
        )
    return _called(factory, reference, "the factory ")


def _called(factory: Any, reference: str, kind: str) -> Any:
    try:
        return factory()
    except (Exception, SystemExit) as error:  # argparse leaves by SystemExit
        raise FactoryError(f"{kind}{reference!r} raised {_summary(error)}", reference=reference) from error


def _subject(made: Any, reference: str, torch: Any) -> TorchSubject:
    parts = made if isinstance(made, tuple) else (made,)
    module, args, kwargs = (*parts, None, None, None)[:3]
    if isinstance(module, type) and issubclass(module, torch.nn.Module):
        raise FactoryError(
            f"{reference!r} gave the class {module.__name__}, not a module made from it", reference=reference
        )
    if not isinstance(module, torch.nn.Module) or len(parts) > 3:
        kind = "None" if made is None else f"an object of type {type(made).__name__}"
        raise FactoryError(f"{reference!r} gave {kind}, no torch module", reference=reference, hint=SPELLING)
    if isinstance(args, torch.Tensor):
        args = (args,)
    if args is not None and not isinstance(args, (tuple, list)):
        raise FactoryError(
            f"{reference!r} gave arguments of type {type(args).__name__}; a tuple is needed",
            reference=reference,
            hint=SPELLING,
        )
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise FactoryError(
            f"{reference!r} gave keyword arguments of type {type(kwargs).__name__}; a dict is needed",
            reference=reference,
            hint=SPELLING,
        )
    return TorchSubject(module, None if args is None else tuple(args), dict(kwargs or {}), reference)


def _summary(error: BaseException) -> str:
    line = user_line(error)
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" + (f", at {line}" if line else "")
