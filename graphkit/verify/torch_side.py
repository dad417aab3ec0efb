"""A torch module value by value: by the nodes of its torch.fx graph, or by what its submodules return."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graphkit.errors import ComparisonError, GraphkitError
from graphkit.graph.modules import fx_node
from graphkit.runtime.feeds import tensor_array
from graphkit.runtime.random_feeds import RandomFeeds
from graphkit.torch_export.mark import marks_heard
from graphkit.torch_export.quiet import quiet_torch
from graphkit.torch_export.source_line import stack_line, user_line
from graphkit.verify.memory import living
from graphkit.verify.sides import OnnxSide, Place
from graphkit.verify.torch_call import flattened, placed
from graphkit.verify.torch_matching import match_fx, match_modules, values_first
from graphkit.verify.torch_reference import TorchReference, as_subject
from graphkit.verify.torch_state import prepared
from graphkit.verify.validate import draw_feeds

if TYPE_CHECKING:
    import torch

    from graphkit.verify.bisect import Interface, Pair

KERNELS = 2
"""Copies of their inputs and results, in another layout, that torch's kernels make (its convolutions do)."""

LIBRARY = 32 << 20
"""Bytes of torch's libraries that are read from their files while the module runs for the first time (20 MB, measured)."""


class TorchRun:
    """A module and the arguments that it is called with in every run.

    Attributes:
        module: The module.
        args: Positional arguments.
        kwargs: Keyword arguments.
        name: For messages.
        runs: How often it was called.
    """

    def __init__(self, module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], name: str) -> None:
        self.module = module
        self.args = tuple(args)
        self.kwargs = dict(kwargs)
        self.name = name
        self.runs = 0

    def call(self, function: Callable[..., Any] | None = None) -> Any:
        """Call the module, or something in its place.

        Raises:
            ComparisonError: It raised.
        """
        import torch

        self.runs += 1
        try:
            with torch.no_grad(), _no_fast_path():
                return (function or self.module)(*self.args, **self.kwargs)
        except GraphkitError:
            raise
        except Exception as error:
            line = user_line(error)
            text = str(error).strip().partition("\n")[0]
            where = f", at {line}" if line else ""
            raise ComparisonError(f"forward of {self.name} raised {type(error).__name__}: {text}{where}") from error


@contextlib.contextmanager
def _no_fast_path() -> Iterator[None]:
    """Without torch's fused kernels for nn.TransformerEncoderLayer, which call no submodule."""
    import torch

    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@dataclass(frozen=True)
class Call:
    """One call of a submodule, or one mark that was passed.

    Attributes:
        path: The submodule, or the mark's name.
        number: Counted from 0 for each path.
        kind: The class, or "mark".
        keys: The names of the tensors that it gave.
        follows: The key of the tensor that it was given, where that came out of another call.
        same: Whether it gave back what it was given, as Dropout and Identity do in eval mode.
    """

    path: str
    number: int
    kind: str
    keys: tuple[str, ...]
    follows: str | None
    same: bool


class ModuleSide:
    """The outputs of submodules and the marks, in the order in which they are there.

    Attributes:
        calls: What was called.
    """

    def __init__(self, run: TorchRun) -> None:
        self.name = run.name
        self.providers: tuple[str, ...] = ("torch",)
        self._run = run
        self._sizes: dict[str, int] = {}
        self.calls: list[Call] = []
        self._origin: list[tuple[weakref.ref[Any], str]] = []
        with self._watched(self._record):
            run.call()
        self._origin.clear()

    @property
    def runs(self) -> int:
        """How often the module was run."""
        return self._run.runs

    def places(self) -> list[Place]:
        """Every tensor that a submodule gave, or that was marked."""
        return [Place(key, None, call.kind, call.path) for call in self.calls for key in call.keys]

    def sizes(self) -> dict[str, int]:
        """Key -> bytes."""
        return self._sizes

    def held(self) -> dict[str, tuple[int, int]]:
        """Value -> bytes that are held when it is made: between submodules that is not known; two values, and KERNELS."""
        most = (2 + KERNELS) * max(self._sizes.values(), default=0) + LIBRARY
        return dict.fromkeys(self._sizes, (0, most))

    def expect(self, names: Iterable[str]) -> None:
        """Nothing is kept from one run to the next."""

    def fetch(self, names: Sequence[str]) -> dict[str, Any]:
        """Some outputs, from one more run."""
        wanted = set(names)
        found: dict[str, Any] = {}

        def keep(path: str, number: int, kind: str, inputs: Any, outputs: list[Any]) -> None:  # noqa: ARG001 (as _record)
            for key, tensor in zip(_keys(path, number, kind, len(outputs)), outputs, strict=True):
                if key in wanted:
                    found[key] = tensor_array(tensor.clone())

        with self._watched(keep):
            self._run.call()
        missing = wanted - found.keys()
        if missing:
            raise ComparisonError(f"{self.name} did not give {min(missing)!r} when it was run again")
        return found

    def _record(self, path: str, number: int, kind: str, inputs: list[Any], outputs: list[Any]) -> None:
        keys = _keys(path, number, kind, len(outputs))
        given = next((key for ref, key in reversed(self._origin) if any(ref() is t for t in inputs)), None)
        same = (
            bool(outputs)
            and len(outputs) == len(inputs[: len(outputs)])
            and all(
                any(o is i or (o.data_ptr() == i.data_ptr() and o.shape == i.shape) for i in inputs) for o in outputs
            )
        )
        self.calls.append(Call(path, number, kind, keys, given, same and kind != "mark"))
        for key, tensor in zip(keys, outputs, strict=True):
            self._sizes[key] = tensor.numel() * tensor.element_size()
            self._origin.append((weakref.ref(tensor), key))

    @contextlib.contextmanager
    def _watched(self, told: Callable[[str, int, str, list[Any], list[Any]], None]) -> Iterator[None]:
        """Call ``told`` with (path, number of the call, class, input tensors, output tensors) for every call and mark."""
        import torch

        counts: dict[str, int] = {}
        handles = []

        def tell(path: str, kind: str, inputs: list[Any], outputs: list[Any]) -> None:
            number = counts.get(path, 0)
            counts[path] = number + 1
            told(path, number, kind, inputs, outputs)

        compiling = torch.compiler.is_dynamo_compiling  # torch compiles the bodies of while_loop: no values there

        for path, module in self._run.module.named_modules():

            def hook(module: Any, args: Any, kwargs: Any, output: Any, path: str = path) -> None:
                if compiling():
                    return
                tell(path, type(module).__name__, flattened([*args, *kwargs.values()]), flattened(output))

            handles.append(module.register_forward_hook(hook, with_kwargs=True))

        def marked(value: Any, name: str) -> Any:
            if not compiling():
                tell(name, "mark", [value], [value])
            return value

        try:
            with marks_heard(marked):
                yield
        finally:
            for handle in handles:
                handle.remove()


def _keys(path: str, number: int, kind: str, count: int) -> tuple[str, ...]:
    """Names for the tensors of one call: ``layers.0``, ``relu (call 2)``, ``lstm [1]``, ``mark features``."""
    name = f"mark {path}" if kind == "mark" else path or "(whole)"
    name += f" (call {number + 1})" if number else ""
    return (name,) if count == 1 else tuple(f"{name} [{at}]" for at in range(count))


class FxSide:
    """The nodes of the torch.fx graph that the dynamo exporter makes of a module, interpreted one by one.

    Attributes:
        graph: The torch.fx graph.
    """

    def __init__(self, run: TorchRun) -> None:
        """Export the module to get its graph.

        Raises:
            ExportFailed: torch cannot export it.
        """
        self.name = run.name
        self.providers: tuple[str, ...] = ("torch",)
        self._run = run
        self._module = _exported(run)
        self.graph = self._module.graph

    @property
    def runs(self) -> int:
        """How often the graph was run."""
        return self._run.runs

    def places(self) -> list[Place]:
        """Every node that calls a function."""
        found = []
        for node in self.graph.nodes:
            if node.op == "call_function":
                line = stack_line(node.meta.get("stack_trace") or "")
                found.append(Place(node.name, None, operator_of(node), path_of(node), line))
        return found

    def sizes(self) -> dict[str, int]:
        """fx node -> bytes, as the export traced it."""
        known = {}
        for node in self.graph.nodes:
            value = node.meta.get("val")
            if hasattr(value, "numel"):
                known[node.name] = int(value.numel()) * value.element_size()
        return known

    def held(self) -> dict[str, tuple[int, int]]:
        """Value -> bytes that are held when it is made: every fetch runs all of the graph, so the most that it ever holds."""
        nodes = [node for node in self.graph.nodes if node.op == "call_function"]
        steps = [((node.name,), [read.name for read in node.all_input_nodes]) for node in nodes]
        sizes = self.sizes()
        most = max((part for _, part in living(steps, sizes, ()).values()), default=0)
        most += KERNELS * max(sizes.values(), default=0) + LIBRARY
        return {node.name: (0, most) for node in nodes}

    def expect(self, names: Iterable[str]) -> None:
        """Nothing is kept from one run to the next."""

    def fetch(self, names: Sequence[str]) -> dict[str, Any]:
        """The results of some nodes, from one more run."""
        import torch
        from torch.utils import _pytree

        wanted = set(names)
        found: dict[str, Any] = {}

        interpreter = torch.fx.Interpreter(self._module)
        plain = interpreter.run_node

        def recorded(node: Any) -> Any:
            result = plain(node)
            if node.name in wanted and isinstance(result, torch.Tensor):
                found[node.name] = tensor_array(result.clone())
            return result

        interpreter.run_node = recorded

        def interpret(*args: Any, **kwargs: Any) -> None:
            leaves = _pytree.tree_leaves((args, kwargs))
            interpreter.run(*leaves, enable_io_processing=False)

        self._run.call(interpret)
        missing = wanted - found.keys()
        if missing:
            raise ComparisonError(f"the node {min(missing)!r} of {self.name} gave no tensor")
        return found


class ExportFailed(Exception):  # noqa: N818 (it is caught in this room and never reaches a caller)
    """torch cannot export the module, so that there is no graph to look at."""


def _exported(run: TorchRun) -> Any:
    import torch

    try:
        with quiet_torch(), torch.no_grad():
            program = torch.onnx.export(
                run.module, run.args, kwargs=run.kwargs, dynamo=True, optimize=False, verbose=False
            )
    except Exception as error:
        raise ExportFailed(str(error)) from error
    assert program is not None
    return program.exported_program.module()


def operator_of(node: Any) -> str:
    """The operator of an fx node: ``aten.conv2d``."""
    text = str(node.target)
    return text.removeprefix("torch.ops.").rpartition(".")[0] if text.count(".") > 1 else text


def path_of(node: Any) -> str | None:
    """The path of the module whose forward made an fx node, or None."""
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return None
    return str(list(stack.values())[-1][0]).removeprefix("L['self'].").removeprefix("L__self__.")


def torch_pair(
    own: Interface,
    subject: Any,
    options: Mapping[str, Any],
    device: str,
    stack: contextlib.ExitStack,
    *,
    tf32: bool,
    modules: bool = False,
) -> Pair:
    """A model beside a torch module.

    Args:
        own: The model.
        subject: The module, as ``validate`` takes it.
        options: bind, feeds, map and seed of ``bisect``.
        device: Where both run.
        stack: Holds the module in eval mode, on the device and with its attributes set, until it is closed.
        tf32: Allow TF32.
        modules: Compare what submodules return, even where the file names fx nodes.

    Raises:
        ComparisonError: Inputs have no counterpart, ``forward`` raised, or no value is found on both sides.
    """
    from graphkit.verify.bisect import Pair

    binding = TorchReference(own, as_subject(subject), options["map"], (), device=device, tf32=tf32)
    stack.enter_context(binding.opened())
    random = RandomFeeds(own.model, seed=options["seed"], like=binding.like).bound(options["bind"])
    drawn = draw_feeds(own, binding, random, options["feeds"], 0, bound=options["bind"])
    mine = {name: drawn[name] for name in own.inputs if name in drawn}
    mine.update(binding.determined(drawn, 0))
    stack.enter_context(binding.attributes_set(drawn))
    args, kwargs = binding.arguments(drawn)
    run = TorchRun(binding.module, args, kwargs, binding.name)
    candidate = OnnxSide(own.model, mine, device=device, tf32=tf32)
    notes = binding.notes
    if not modules and any(fx_node(node) is not None for node in candidate.index.nodes):
        try:
            side = FxSide(run)
        except ExportFailed:
            notes.append("torch cannot export the module with these arguments; values are matched by modules")
        else:
            twins = match_fx(candidate.index, side)
            if twins:
                return Pair(candidate, side, twins, mine, notes)
    side_of_modules = ModuleSide(run)
    paths = {path for path, _ in binding.module.named_modules()}
    outputs = match_modules(candidate.index, side_of_modules, paths, own.model, candidate.sizes())
    twins = values_first(outputs)
    if not twins:
        raise ComparisonError(
            f"{own.name} and {binding.name} share no value that can be told: the file names neither fx nodes nor modules",
            hint="export the model with `graphkit export`, and run tools that drop metadata afterwards; or name values with "
            "graphkit.mark",
        )
    return Pair(candidate, side_of_modules, twins, mine, notes, outputs)


def two_modules(candidate: Any, reference: Any, device: str, stack: contextlib.ExitStack, *, tf32: bool) -> Pair:
    """Two torch modules beside each other: what submodules of the same path return, on the candidate's example arguments.

    Args:
        candidate: A module with example arguments, as ``validate`` takes it.
        reference: A module.
        device: Where both run.
        stack: Holds the modules in eval mode and on the device until it is closed.
        tf32: Allow TF32.

    Raises:
        ComparisonError: There are no example arguments, a ``forward`` raised, or no submodule is on both sides.
    """
    from graphkit.verify.bisect import Pair

    subjects = [as_subject(candidate), as_subject(reference)]
    example = next((s for s in subjects if s.args is not None or s.kwargs), None)
    if example is None:
        raise ComparisonError(
            "two torch modules need example arguments",
            hint="let the factory give (module, args) or (module, args, kwargs)",
        )
    sides = []
    for subject in subjects:
        stack.enter_context(prepared(subject.module, device, tf32=tf32))
        args, kwargs = (placed(value, device) for value in (tuple(example.args or ()), dict(example.kwargs)))
        sides.append(
            ModuleSide(TorchRun(subject.module, args, kwargs, subject.reference or type(subject.module).__name__))
        )
    theirs = {place.value for place in sides[1].places()}
    twins = {place.value: place.value for place in sides[0].places() if place.value in theirs}
    if not twins:
        raise ComparisonError(f"{sides[0].name} and {sides[1].name} have no submodule of the same path")
    return Pair(sides[0], sides[1], twins, {}, [])
