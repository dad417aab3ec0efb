"""The entry point: a table of commands that are imported when they are called, and what each error means to the shell.

How to write a command ``NAME``:

1. ``commands/NAME.py`` defines ``command``, a ``click.Command``. A command that edits a model is a function that gives
   the edited Model (see ``graphkit_cli.edit.edit_command``); any other takes the ``Render`` first::

       @click.command()
       @model_argument
       @click.option("--values", is_flag=True, help="List every value with its type.")
       @output_options
       def command(render: Render, model: str, values: bool) -> None:
           \"\"\"Show what a model holds.\"\"\"
           import graphkit as gk

           summary = gk.inspect(model)
           render.result(summary, lambda: gk.report.text(summary, values=values))

2. ``COMMANDS`` below gets a line: the module and the first line of the command's help. ``GROUPS`` has its name.
3. graphkit, numpy and whatever else is heavy are imported inside of the function, so that ``--help`` stays light.
4. The answer "no" (different, invalid) is ``return 1``. Options that exclude each other raise ``click.UsageError``.
   Everything else that a user can do wrong is a ``GraphkitError`` of the library.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from graphkit_cli.options import verbosity_options
from graphkit_cli.render import Render

if TYPE_CHECKING:
    from graphkit import GraphkitError

COMMANDS: dict[str, tuple[str, str]] = {
    "guide": ("graphkit_cli.commands.guide", "Read a guide: make it dynamic, cut and merge, prove, ..."),
    "export": ("graphkit_cli.commands.export", "Export a torch module, and say what the exporter did not."),
    "inspect": ("graphkit_cli.commands.inspect", "Show what a model holds: interface, operators, weights."),
    "diff": ("graphkit_cli.commands.diff", "Show how model B differs from A; exit 1 where they differ."),
    "view": ("graphkit_cli.commands.view", "Draw a model as one page: modules, search, paths, findings."),
    "check": ("graphkit_cli.commands.check", "Say whether a model is valid and loads, and what is wrong."),
    "extract": ("graphkit_cli.commands.extract", "Cut a submodel out: by values, by a torch module, or by nodes."),
    "dims": ("graphkit_cli.commands.dims", "Set, rename, fix and free the dims of inputs and outputs."),
    "freeze": ("graphkit_cli.commands.freeze", "Turn graph inputs into constants, the inverse of promote."),
    "promote": ("graphkit_cli.commands.promote", "Turn constants (weights, attributes) into graph inputs."),
    "resize": ("graphkit_cli.commands.resize", "Turn the scale baked into every Resize into a graph input."),
    "rename": ("graphkit_cli.commands.rename", "Give values and nodes other names, wherever they are written."),
    "insert": ("graphkit_cli.commands.insert", "Put nodes between a value and those who read it."),
    "remove": ("graphkit_cli.commands.remove", "Take nodes, inputs and outputs out."),
    "replace": ("graphkit_cli.commands.replace", "Put nodes in the place of a node, or of a region."),
    "rewrite": ("graphkit_cli.commands.rewrite", "Fold, fuse and expand operators by rules: built in, or yours."),
    "retype": ("graphkit_cli.commands.retype", "Give inputs and outputs another element type."),
    "layout": ("graphkit_cli.commands.layout", "Give inputs and outputs their channels first or last."),
    "image": ("graphkit_cli.commands.image", "Let an input take pictures as they come: uint8, any size."),
    "reorder": ("graphkit_cli.commands.reorder", "Put inputs and outputs in another order; sort and name nodes."),
    "set": ("graphkit_cli.commands.set", "Set attributes, operands, weights, metadata, versions, shapes."),
    "inline": ("graphkit_cli.commands.inline", "Replace calls of the model's own functions by their bodies."),
    "opset": ("graphkit_cli.commands.opset", "Write a model in a later or earlier opset, losing nothing."),
    "precision": ("graphkit_cli.commands.precision", "Write a model in float16, bfloat16, int8, or int4 weights."),
    "simplify": ("graphkit_cli.commands.simplify", "Leave out what the graph does not need."),
    "deduplicate": ("graphkit_cli.commands.deduplicate", "Store equal weights once."),
    "copy": ("graphkit_cli.commands.copy", "Write a model as it is: one file, external data, text, a pipe."),
    "outline": ("graphkit_cli.commands.outline", "Put the nodes of torch modules into functions."),
    "split": ("graphkit_cli.commands.split", "Cut a model into stages that run one after the other."),
    "merge": ("graphkit_cli.commands.merge", "Join models, outputs of some wired to inputs of others."),
    "tap": ("graphkit_cli.commands.tap", "Make inner values graph outputs, to look at them."),
    "validate": ("graphkit_cli.commands.validate", "Compare with another model or a torch module."),
    "prove": ("graphkit_cli.commands.prove", "Prove an edited model against its original, step by step."),
    "history": ("graphkit_cli.commands.history", "Show what was done to a model, or write it as a recipe."),
    "apply": ("graphkit_cli.commands.apply", "Do what a recipe says, on one model or on many."),
    "bisect": ("graphkit_cli.commands.bisect", "Find the first inner value that differs from a reference."),
    "layers": ("graphkit_cli.commands.layers", "Show what every submodule returns, in torch and in the model."),
    "doctor": ("graphkit_cli.commands.doctor", "Show versions, limits and the providers that really load."),
    "run": ("graphkit_cli.commands.run", "Run a model in ONNX Runtime; show or save its outputs."),
    "bench": ("graphkit_cli.commands.bench", "Measure how long a run takes and how much memory."),
    "calibrate": ("graphkit_cli.commands.calibrate", "Note how large values become, for int8 in TensorRT."),
    "probe": ("graphkit_cli.commands.probe", "Try input shapes on models, and say which axis is to blame."),
    "ops": ("graphkit_cli.commands.ops", "Look operators up: in ONNX, and in torch's two exporters."),
    "define": ("graphkit_cli.commands.define", "Give an operator of a custom domain a body."),
    "lint": ("graphkit_cli.commands.lint", "Find what another runtime does not document as supported."),
}
"""Command -> (module that defines ``command``, first line of its help, of at most 62 characters)."""

GROUPS = {
    "Look": "inspect check diff view lint ops doctor",
    "Run": "run bench probe calibrate",
    "Interface and shapes": "dims rename reorder retype layout image promote freeze tap resize",
    "Cut and join": "extract split merge",
    "Nodes and weights": "insert remove replace define rewrite set",
    "Whole model": "simplify deduplicate inline outline opset precision copy",
    "Prove": "prove validate layers bisect history",
    "Pipelines": "apply",
    "From torch": "export",
    "Learn": "guide",
}
"""What a user wants to do -> the commands for it, as ``--help`` shows them."""

GC_AFTER = 100_000
"""Objects after which Python looks for garbage. A command makes many objects and ends; the default costs it 6 % of its time."""

DONE = 0
NO = 1
USAGE = 2
FAILED = 3
BUG = 70
INTERRUPTED = 130
BROKEN_PIPE = 141


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called; ``--help`` reads the table."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """The names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (click's signature)
        """The command, imported now, or None."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        command.name = cmd_name
        # A raw docstring spells click's mark for "do not wrap this paragraph" as two characters.
        command.help = (command.help or "").replace("\\b\n", "\b\n")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first argument names.

        Raises:
            click.exceptions.NoSuchCommand: There is none; it says which names look alike.
        """
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.exceptions.NoSuchCommand(args[0], possibilities=COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 (click's signature)
        """Write the table without importing what it names."""
        for group, names in GROUPS.items():
            rows = [(f"{name:<11}", COMMANDS[name][1]) for name in names.split() if name in COMMANDS]
            if rows:
                with formatter.section(group):
                    formatter.write_dl(rows)


def _show_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: ARG001, FBT001 (click's signature)
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"graphkit {version('onnx-graphkit')}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="graphkit COMMAND --help describes a command. Exit codes: 0 done or yes, 1 the answer is no, 2 usage, "
    "3 the work failed, 70 a bug in graphkit, 130 interrupted. Completion: "
    'eval "$(_GRAPHKIT_COMPLETE=bash_source graphkit)", or zsh_source; fish: _GRAPHKIT_COMPLETE=fish_source graphkit | source.',
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_show_version, help="Print the version."
)
@verbosity_options
def cli() -> None:
    """Edit ONNX models without losing anything, and prove that the result computes what it should."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The command line without the program's name; None means ``sys.argv``.

    Returns:
        The exit code, see the epilog of ``graphkit --help``.
    """
    if "_GRAPHKIT_COMPLETE" in os.environ:
        from graphkit_cli.completion import complete_in_fish

        complete_in_fish({name: said for name, (_, said) in COMMANDS.items()})
        cli.main(prog_name="graphkit")  # click writes the shell's completion and exits
    gc.set_threshold(GC_AFTER)
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    render = Render()
    try:
        with render.warnings():
            return _run(arguments, render)
    except click.ClickException as error:
        render.as_json = "--json" in arguments  # the line may have ended before click came to it
        render.usage_error(error)
        return USAGE
    except (KeyboardInterrupt, click.Abort):
        render.error("interrupted")
        return INTERRUPTED
    except SystemExit as stop:  # no code of ours: a user's module, while it runs
        render.error(f"the code that was run left Python: SystemExit({stop.code!r})")
        return FAILED
    except BrokenPipeError:
        _abandon_stdout()
        return BROKEN_PIPE
    except OSError as error:
        render.error(_describe(error))
        return FAILED
    except MemoryError:
        render.error("not enough memory for this operation")
        return FAILED
    except Exception as error:  # noqa: BLE001 (the last line of defence: our own bugs get a message and exit code 70)
        known = _graphkit_error(error)
        if known is None:
            render.bug(error)
            return BUG
        render.failure(known)
        return FAILED


def _run(arguments: Sequence[str], render: Render) -> int:
    try:
        with cli.make_context("graphkit", list(arguments), obj=render) as ctx:
            answer = cli.invoke(ctx)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return USAGE
    except click.exceptions.Exit as stop:
        return stop.exit_code
    finally:
        sys.stdout.flush()
    return answer if isinstance(answer, int) else DONE


def _graphkit_error(error: Exception) -> GraphkitError | None:
    """The error if it is one that graphkit raises on purpose; the library is not imported to find that out."""
    module = sys.modules.get("graphkit.errors")
    if module is not None and isinstance(error, module.GraphkitError):
        known: GraphkitError = error
        return known
    return None


def _describe(error: OSError) -> str:
    """An OSError in one line that names the file."""
    reason = error.strerror or str(error) or type(error).__name__
    files = " -> ".join(repr(os.fspath(name)) for name in (error.filename, error.filename2) if name is not None)
    return f"{reason}: {files}" if files else reason


def _abandon_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush does not fail again."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)
