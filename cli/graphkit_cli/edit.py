"""Commands that write a model: ``MODEL OUT``, the options of the edit, the options of the file, one report."""

from __future__ import annotations

import dataclasses
import functools
import os
import shlex
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import click

from graphkit_cli.options import model_argument, out_argument, output_options, save_options

if TYPE_CHECKING:
    import graphkit as gk
    from graphkit_cli.render import Render

DONE, NO = 0, 1

Weights: TypeAlias = Literal["auto", "keep", "link"]


@dataclass(frozen=True)
class Saving:
    """How OUT is to be written: what the options of ``options.save_options`` say.

    Attributes:
        external: Name of a data file beside OUT, or None.
        weights: Where the weights go without one.
        no_history: Leave the history out of OUT.
        dry_run: Write nothing, say what would be.
        prove: Write nothing unless the laws of what was done hold.
    """

    external: str | None = None
    weights: Weights = "auto"
    no_history: bool = False
    dry_run: bool = False
    prove: bool = False


def with_saving(function: Callable[..., object]) -> Callable[..., object]:
    """Add the shared options of saving to a callback, which gets them as one keyword, ``saving``."""

    @functools.wraps(function)
    def callback(*args: object, **options: Any) -> object:
        given = {field.name: options.pop(field.name) for field in dataclasses.fields(Saving)}
        return function(*args, saving=Saving(**given), **options)

    return save_options(callback)


@dataclass(frozen=True)
class Written:
    """What a command wrote, or with ``--dry-run`` what it would have written.

    Attributes:
        path: The model file.
        size: Its size in bytes; None where nothing was written.
        data_path: The data file that was written beside it, or None.
        data_size: Its size in bytes; None where nothing was written.
        references: Files whose bytes the model uses and that were not written.
        nodes: Number of nodes of the main graph.
        inputs: Names of the graph's inputs.
        outputs: Names of the graph's outputs.
        operation: The graphkit function that made the model.
        notes: What that function found and the user should know.
        dry_run: True where nothing was written.
        replaced: Whether a file was there under OUT's name that is not MODEL.
    """

    path: str
    size: int | None
    data_path: str | None
    data_size: int | None
    references: tuple[str, ...]
    nodes: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operation: str
    notes: tuple[str, ...]
    dry_run: bool
    replaced: bool = False

    def text(self) -> str:
        """One line for the model file, one for the data file, one for the files that it refers to."""
        nodes = f"{self.nodes} node{'' if self.nodes == 1 else 's'}"
        interface = f"{_named(self.inputs)} -> {_named(self.outputs)}"
        if self.size is None:
            lines = _fitted(f"would write {self.path}:", nodes, interface)
            return "\n".join(
                [*lines, *([f"would replace {self.path}, which is another file"] if self.replaced else [])]
            )
        lines = _fitted(f"wrote {self.path}:", f"{_size(self.size)}, {nodes}", interface)
        if self.data_path is not None:
            lines.append(f"wrote {self.data_path}: {_size(self.data_size or 0)} of weights")
        if self.replaced:
            lines.append(f"replaced {self.path}, which was another file")
        if self.references:
            lines.append(f"refers to the weights in {', '.join(self.references)}, which must stay as it is")
        return "\n".join(lines)


LINE, PATH, NAME, NAMES = 80, 40, 32, 4
"""Columns of a line, characters of a path that lines are made for and of a name, and how many names are shown."""


def _fitted(wrote: str, size: str, interface: str) -> list[str]:
    """One line; two or more where the interface is too long for it. The path stands whole in the first."""
    one = f"{size}, {interface}"
    if len(one) + min(len(wrote), PATH) < LINE:
        return [f"{wrote} {one}"]
    indented = textwrap.wrap(interface, LINE, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
    return [f"{wrote} {size}", *indented]


def _named(names: Sequence[str]) -> str:
    """Names of an interface in few words; the JSON has them all, and whole."""
    from graphkit import printable

    shown = [printable(name, lines=False, longest=NAME) for name in names[:NAMES]]
    return ", ".join(shown) + (f" and {len(names) - NAMES} more" if len(names) > NAMES else "")


def edit_command(edit: Callable[..., gk.Model]) -> click.Command:
    """A click command around a function ``edit(model, **options) -> Model``.

    It adds MODEL, OUT and the shared options, refuses an OUT that cannot be written before any work starts, saves what
    the function returns and reports it::

        @edit_command
        @click.option("--tensor", "tensors", metavar="NAME", multiple=True, required=True, help="The initializer.")
        def command(model: str, tensors: tuple[str, ...]) -> gk.Model:
            \"\"\"Make initializers graph inputs.\"\"\"
            import graphkit as gk

            return gk.promote(model, tensors)
    """

    def callback(
        render: Render,
        model: str,
        out: str,
        saving: Saving,
        **options: object,
    ) -> int:
        check_target(out, saving)
        with render.progress(f"{edit.__module__.rpartition('.')[2]} {model}"):
            edited = edit(model, **options)
        return save_edited(render, edited, out, saving)

    callback.__doc__ = edit.__doc__
    wrapped = with_saving(output_options(callback))
    # click keeps parameters on the function, last one first: the edit's own options stand before the shared ones.
    wrapped.__click_params__ += getattr(edit, "__click_params__", [])  # type: ignore[attr-defined]  # click's attribute
    return click.command()(model_argument(out_argument(wrapped)))


def check_target(out: str, saving: Saving = Saving()) -> None:
    """Refuse a target that cannot be written, before any work starts.

    Raises:
        click.UsageError: ``--external`` and ``--weights`` exclude each other, or the data file is not beside OUT.
        gk.SaveError: OUT's folder does not exist or may not be written, or OUT is a folder itself.
    """
    external = saving.external
    if external is not None and saving.weights != "auto":
        raise click.UsageError("--external says where the weights go: it excludes --weights.")
    parts = (external or "data").split("/")
    if external is not None and (not external or os.path.isabs(external) or ".." in parts or parts[-1] in ("", ".")):
        raise click.UsageError(f"--external names a file beside OUT, not {external!r}.")
    target = os.path.realpath(out)
    if external is not None and os.path.realpath(os.path.join(os.path.dirname(target), external)) == target:
        raise click.UsageError(f"--external names a second file, for the weights, and {external!r} is OUT itself.")
    if out == "-":
        if external is not None:
            raise click.UsageError("--external names a file beside OUT, and standard output has no place.")
        return
    if "://" in out:
        return  # the store says what may be written there
    folder = os.path.dirname(out) or "."
    problem = hint = None
    if os.path.isdir(out):
        problem, hint = "it is a folder", f"name a file in it: {os.path.join(out, 'model.onnx')}"
    elif not os.path.isdir(folder):
        problem, hint = f"the folder {folder!r} does not exist", f"make it first: mkdir -p {shlex.quote(folder)}"
    elif not os.access(folder, os.W_OK):
        problem = f"the folder {folder!r} may not be written"
    if problem is not None:
        import graphkit as gk

        raise gk.SaveError(f"cannot write {out!r}: {problem}", path=out, hint=hint)


def is_another(out: str, model: gk.Model) -> bool:
    """Whether there is a file under OUT's name that is not the one that the model was read from."""
    if not os.path.exists(out):
        return False
    return model.path is None or not os.path.exists(model.path) or not os.path.samefile(out, model.path)


def save_edited(
    render: Render,
    model: gk.Model,
    out: str,
    saving: Saving,
    *,
    more: Mapping[str, object] | None = None,
    told: bool = False,
) -> int:
    """Save an edited model and report what was written; with ``saving.dry_run`` only report what would be.

    ``more`` is what ``--json`` tells beyond ``Written``; ``told`` says that the notes were printed already. With ``saving.prove`` the model is proved before anything is
    written: its skeleton over the byte ranges that the file will hold.

    Returns:
        The exit code: 1 where the proof did not succeed, and nothing was written.

    Raises:
        click.UsageError, gk.SaveError: As ``check_target``, and where the weights cannot be written.
    """
    import graphkit as gk

    check_target(out, saving)
    render.stdout_is_taken = out == "-"
    if saving.prove:
        proof = _proved(render, model, out)
        if not proof:
            return refuse(render, proof, out)
        more = {**(more or {}), "proof": proof}
        render.note(said(proof))
    external, saved = saving.external, None
    replaced = is_another(out, model)
    if not saving.dry_run:
        with render.progress(f"writing {out}") as report:
            saved = gk.save(
                model, out, external=external, weights=saving.weights, history=not saving.no_history, progress=report
            )
    if saved is not None and "://" in out:
        replaced = saved.replaced and out != model.path
    graph = model.proto.graph
    history = model.history if model.edited or not saving.no_history else ()
    step = history[-1] if history else None
    written = Written(
        path=out,
        size=saved.size if saved else None,
        data_path=saved.data_path if saved else None,
        data_size=saved.data_size if saved and saved.data_path else None,
        references=saved.references if saved else (),
        nodes=len(graph.node),
        inputs=tuple(value.name for value in graph.input),
        outputs=tuple(value.name for value in graph.output),
        operation=step.operation if step else "",
        notes=step.notes if step else (),
        dry_run=saving.dry_run,
        replaced=replaced,
    )
    render.result({**vars(written), **more} if more else written, written.text)
    for note in () if told else written.notes:
        render.note(note)
    if external is not None and saved is not None and saved.data_path is None and not saved.references:
        render.note(f"no tensor has 1 KiB or more: all are in {out}, and {external} was not needed")
    return DONE


def _proved(render: Render, model: gk.Model, out: str) -> gk.Proof:
    """The proof of what was done since the model was loaded."""
    import graphkit as gk

    if model.path is None:
        raise click.UsageError(
            "--prove compares with MODEL, which must be a file. What was exported is compared with its module by "
            "`graphkit validate OUT --torch FACTORY`."
        )
    with render.progress(f"proving {out}") as report:
        return gk.prove(model, model.path, progress=report)


def save_merged(render: Render, model: gk.Model, models: Mapping[str, gk.ModelLike], out: str, saving: Saving) -> int:
    """``save_edited`` for what was made of several models, which a proof compares it with."""
    import graphkit as gk

    def prove() -> gk.Proof:
        return gk.prove(model, models)

    return save_proved(render, model, prove, out, saving)


def save_proved(render: Render, model: gk.Model, prove: Callable[[], gk.Proof], out: str, saving: Saving) -> int:
    """``save_edited`` with a proof of its own."""
    more = None
    if saving.prove:
        render.stdout_is_taken = out == "-"
        with render.progress(f"proving {out}"):
            proof = prove()
        if not proof:
            return refuse(render, proof, out)
        render.note(said(proof))
        more = {"proof": proof}
    return save_edited(render, model, out, dataclasses.replace(saving, prove=False), more=more)


def refuse(render: Render, proof: gk.Proof, out: str | None) -> int:
    """Tell of a proof that did not succeed, and that nothing was written; gives the exit code."""
    import graphkit as gk

    left = f": {out} is as it was" if out is not None else ""
    render.result(proof, lambda: f"{gk.text(proof)}\n\nnothing was written{left}")
    return NO


def said(proof: gk.Proof) -> str:
    """A proof in one line."""
    feeds = sum(held.runs for held in proof.laws)
    also = [text for held in proof.laws for text in held.also]
    on = f" on {feeds} feeds" if feeds else ""
    return f"proved{on} ({'; '.join(filter(None, [proof.tolerance, *also]))})"


def _size(count: int) -> str:
    """A number of bytes as a person reads it: 912 B, 4.6 MB (powers of ten, as file managers show them)."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.2f} GB"
