"""What is installed, what it can load, and what really works here."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from dataclasses import dataclass

import onnx

from graphkit.errors import GraphkitError, MissingExtraError
from graphkit.optional import EXTRAS, installed_distributions, outdated
from graphkit.result import Result


@dataclass(frozen=True, repr=False)
class Check(Result):
    """One thing that was looked at.

    Attributes:
        what: What it is.
        state: "ok", "missing" (an optional part is not there) or "broken" (it is there and does not work).
        detail: A version, a limit, a reason.
        remedy: What mends it, or None.
    """

    what: str
    state: str
    detail: str
    remedy: str | None = None

    def __bool__(self) -> bool:
        return self.state != "broken"


@dataclass(frozen=True, repr=False)
class Diagnosis(Result):
    """Everything that was looked at. Made by ``graphkit.doctor``.

    Attributes:
        ok: Whether nothing is broken.
        checks: What was looked at.
        providers: The execution providers of ONNX Runtime that really load here.
    """

    ok: bool
    checks: tuple[Check, ...]
    providers: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.ok


_PURPOSES = {
    "onnxruntime": "running models",
    "torch": "exporting torch modules and comparing with them",
    "onnxscript": "torch's dynamo exporter",
    "PIL": "pictures in and out",
    "fsspec": "models behind addresses",
    "aiohttp": "models behind http addresses",
}
"""Import name -> what it is for."""


def doctor() -> Diagnosis:
    """Look at the installation: versions, the model versions that the runtime accepts, the providers that load.

    A provider counts when a small model has run on it: ONNX Runtime lists providers that it was built with, also on
    machines where they cannot work (``onnxruntime.get_device()`` says GPU there).

    Returns:
        What was found; ``ok`` is False where something is broken, not where an optional part is missing.

    Changes: nothing.
    Cost: about a second; torch is not imported unless CUDA libraries are looked for.

    Example:
        >>> import graphkit as gk
        >>> bool(gk.doctor())
        True
    """
    checks = [
        Check("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *(Check(name, "ok", importlib.metadata.version(name)) for name in ("onnx", "numpy", "onnx-graphsurgeon")),
    ]
    packages = {name: _package(name, purpose) for name, purpose in _PURPOSES.items()}
    checks += packages.values()
    loaded: list[str] = []
    if packages["onnxruntime"].state == "ok":
        try:
            checks += _runtime(loaded)
        except MissingExtraError as error:  # it is installed and does not load
            checks.append(Check("onnxruntime accepts", "broken", error.message, error.hint))
    checks.append(_memory())
    return Diagnosis(all(check.state != "broken" for check in checks), tuple(checks), tuple(loaded))


def _package(name: str, purpose: str) -> Check:
    remedy = f'pip install "onnx-graphkit[{EXTRAS[name]}]"'
    if importlib.util.find_spec(name) is None:
        return Check(name, "missing", f"for {purpose}", remedy)
    found = installed_distributions(name)
    said = " and ".join(f"{package} {version}" for package, version in found.items())
    if len(found) > 1:
        return Check(name, "broken", f"{said}: the two share one import name", "pip uninstall one of them")
    for package, version in found.items():
        if lowest := outdated(name, version):
            return Check(name, "broken", f"{said}: {lowest} or later is needed", f'pip install "{package}>={lowest}"')
    return Check(name, "ok", said or "installed, version unknown")


def _runtime(loaded: list[str]) -> list[Check]:
    from graphkit.builder import build, runtime_limits
    from graphkit.runtime.providers import problem_with, remedy, wanted_provider
    from graphkit.runtime.session import session

    limits = runtime_limits()
    checks = [Check("onnxruntime accepts", "ok", f"IR versions up to {limits.ir_version}, opsets up to {limits.opset}")]
    model = build([_node()], {"x": "float32[n]"}, {"y": "float32[n]"})
    for device in ("cpu", "cuda", "tensorrt"):
        problem = problem_with(device)
        if problem is None:
            try:
                session(model, device=device).run({"x": [1.0, 2.0]})
            except GraphkitError as error:
                problem = error.message
        provider = wanted_provider(device)
        if problem is None:
            loaded.append(provider)
            checks.append(Check(provider, "ok", "ran a model"))
        else:
            mending = None if device == "cpu" else remedy(problem)
            checks.append(Check(provider, "broken" if device == "cpu" else "missing", problem, mending))
    return checks


def _node() -> onnx.NodeProto:
    return onnx.helper.make_node("Relu", ["x"], ["y"])


def _memory() -> Check:
    cores = os.cpu_count() or 1
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return Check("machine", "ok", f"{cores} cores")
    return Check("machine", "ok", f"{cores} cores, {total / 1e9:.1f} GB of memory")
