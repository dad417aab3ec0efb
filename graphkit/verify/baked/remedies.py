"""What mends a baked constant: each command is tried on the model before it is advised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from graphkit.errors import GraphkitError
from graphkit.finding import Finding
from graphkit.hint import Argument, Hint, Part, call, joined
from graphkit.model import Model
from graphkit.runtime.session import session
from graphkit.shapes.resize_patterns import is_resampler
from graphkit.surgery.promote import promote
from graphkit.torch_export.arguments import Arguments
from graphkit.torch_export.export import Exported, export_report
from graphkit.torch_export.job import EXPORTERS, Exporter
from graphkit.torch_export.own_domains import Translations
from graphkit.verify.baked.reasons import Reason
from graphkit.verify.baked.runs import Run, sizes_only, trial

REWRITE = (
    "no command mends it: in the module, compute with the whole tensor, use torch.where instead of the 'if', or "
    "torch.cond / torch.while_loop, or a @torch.jit.script helper with exporter 'torchscript'"
)

AS_TENSOR = "leave it a tensor in the module: no .item(), float() or int()"


@dataclass(frozen=True)
class Found:
    """A finding before its remedy is known.

    Attributes:
        reason: What differs and why.
        run: The run that showed it.
    """

    reason: Reason
    run: Run


@dataclass(frozen=True)
class Export:
    """How a module is exported.

    Attributes:
        exporter: "dynamo" or "torchscript".
        opset: The opset to ask for.
        input_names: Names for the tensors.
        dynamic: The axes that may vary.
        translations: Translations of operators of the user's own.
    """

    exporter: Exporter
    opset: int | None
    input_names: Sequence[str] | None
    dynamic: Mapping[str, Mapping[int, str]]
    translations: Translations | None

    def of(self, module: Any, arguments: Arguments) -> Exported:
        """The export of a module.

        Raises:
            ExportError: As ``export_report``.
        """
        return export_report(
            module,
            arguments.args,
            kwargs=arguments.kwargs,
            exporter=self.exporter,
            opset=self.opset,
            input_names=self.input_names,
            dynamic=self.dynamic,
            translations=self.translations,
        )


class Remedies:
    """What mends the findings of one export.

    Args:
        module: The module.
        base: The exported model.
        runs: All runs; the first is the one that was exported.
        export: How it was exported.
    """

    def __init__(
        self,
        module: Any,
        base: Model,
        runs: Sequence[Run],
        export: Export,
    ) -> None:
        self._module, self._base, self._runs = module, base, runs
        self._export = export
        self._again: str | Hint | None = None
        self._promoted: dict[int, bool] = {}

    def again(self) -> str | None:
        """The export that gives the module's numbers in all runs, in words; None where there is none."""
        if self._again is None:
            self._again = self._other_export() or ""
        return self._again or None

    def of(self, found: Found, everything: Sequence[Found], *, decided: bool) -> str:
        """What mends one difference.

        Args:
            found: The difference.
            everything: All of them.
            decided: Whether tracing saw a Python 'if' on a tensor, or a loop over one.
        """
        reason, node = found.reason, found.reason.difference.node
        if (reason.axes or not reason.origin) and (again := self.again()):
            return again
        if reason.axes:
            return "compute it from x.shape without int() or float() in the module: no other export mends it"
        if reason.difference.value in node.output:
            return "keep it a tensor: torch.stack or torch.cat, not torch.Tensor([...])"
        together = [one for one in everything if one.run is found.run]
        followed = reason.origin or not (decided or sizes_only(found.run, self._runs[0]))
        if reason.parted or not followed or not self._promotes(found.run, together):
            return REWRITE
        if _resizes(reason):
            return Hint(call("resize", nodes=[node.name]))
        names = dict.fromkeys(self._promotion(one.reason) for one in together if not _resizes(one.reason))
        edit = call("promote", tensors=list(names))
        if reason.element:
            return Hint(edit, ", or index the tensor without .item()")
        return Hint(edit) if reason.origin else Hint(f"{AS_TENSOR}; or ", edit, " and feed it")

    def _promotion(self, reason: Reason) -> str:
        """What promote is to be told: the constant, and the argument's name where it is the argument as it is."""
        difference = reason.difference
        name = difference.value if difference.slot >= 0 else f"{difference.node.name}:{difference.value}"
        leaf = next((leaf for leaf in self._runs[0].arguments.leaves if leaf.name == reason.argument), None)
        before = difference.constants[0]
        if leaf is None or before is None or any(value.name == leaf.name for value in self._base.proto.graph.input):
            return name
        size = leaf.value.numel() if leaf.is_tensor else 1
        return f"{name}={leaf.name}" if before.size == size else name

    def _promotes(self, run: Run, together: Sequence[Found]) -> bool:
        """Whether the model gives the module's numbers once all that differs is fed to it."""
        if id(run) not in self._promoted:
            self._promoted[id(run)] = self._fed_agrees(run, [found.reason for found in together])
        return self._promoted[id(run)]

    def _fed_agrees(self, run: Run, reasons: Sequence[Reason]) -> bool:
        names, feeds = {}, {}
        for place, reason in enumerate(reasons):
            difference = reason.difference
            if reason.parted or difference.constants[1] is None:
                return False
            attribute = difference.slot < 0
            name = f"{difference.node.name}:{difference.value}" if attribute else difference.value
            names[name] = f"graphkit_fed_{place}"
            feeds[names[name]] = difference.constants[1]
        try:
            loaded = session(promote(self._base, names), device="cpu")
        except GraphkitError:
            return False
        fed = {name: value for name, value in feeds.items() if name in loaded.inputs}
        return trial(loaded, run, fed).agrees

    def _other_export(self) -> str | None:
        axes = {name: dict(own) for name, own in self._export.dynamic.items()}
        first = self._runs[0].arguments
        marks = []
        for place, leaf in enumerate(first.tensors):
            others = [run.arguments.tensors[place].value for run in self._runs]
            for axis, size in enumerate(leaf.value.shape):
                varies = any(other.dim() == leaf.value.dim() and other.shape[axis] != size for other in others)
                if varies and axis not in axes.get(leaf.name, {}):
                    axes.setdefault(leaf.name, {})[axis] = f"{leaf.name}_{axis}"
                    marks.append(f"{leaf.name}:{axis}={leaf.name}_{axis}")
        asked = self._export.exporter
        for exporter in sorted(EXPORTERS, key=lambda one: one != asked):
            if exporter == "torchscript" != asked or (exporter == asked and not marks):
                continue
            told: list[Part] = [Argument("exporter", exporter)] if exporter != asked else []
            told += [Argument("dynamic", marks)] if marks else []
            if self._agrees(replace(self._export, exporter=exporter, dynamic=axes)):
                return Hint("export with ", joined(" ", told))
        return None

    def _agrees(self, export: Export) -> bool:
        try:
            model = export.of(self._module, self._runs[0].arguments).model
            loaded = session(model, device="cpu")
        except GraphkitError:
            return False
        return all(trial(loaded, run).agrees for run in self._runs)


def _resizes(reason: Reason) -> bool:
    return is_resampler(reason.difference.node) and reason.difference.slot > 0 and reason.argument is not None


def told(reason: Reason, remedy: str, lines: Mapping[str, str], *, sizes: bool) -> Finding:
    """A difference as a finding.

    Args:
        reason: What differs and why.
        remedy: What mends it.
        lines: What tracing said of a Python 'if' or loop -> the line.
        sizes: Whether nothing but sizes of inputs differs.
    """
    difference = reason.difference
    about = difference.node.name or reason.node
    if all(constant is None for constant in difference.constants):
        message = (
            f"from node {reason.node!r} ({difference.node.op_type}) on, the graph is another one with other arguments"
        )
        return Finding("branch", message + _because(lines, sizes=sizes), reason.source, remedy, node=about)
    message = reason.what
    if reason.origin:
        message += f": it is {reason.origin}"
    else:
        message += _because(lines, sizes=sizes)
    return Finding("constant", message, reason.source, remedy, node=about, value=difference.value)


def _because(lines: Mapping[str, str], *, sizes: bool) -> str:
    if not lines:
        return ": a Python 'if', a loop or a number that follows sizes of inputs decides it" if sizes else ""
    return ": " + " and ".join(f"{what} at {line} decides it" for what, line in lines.items())
