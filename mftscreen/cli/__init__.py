"""The ``mftscreen`` command; one module per subcommand, loaded when it is used."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import click

from mftscreen.cli.shared.commands import Group

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["EXIT_CODES", "main"]

EXIT_ERROR, EXIT_USAGE, EXIT_FAILED_ROWS, EXIT_INTERRUPTED = 1, 2, 3, 130
EXIT_CODES = {
    0: "all done",
    EXIT_ERROR: "an error: a file that is missing, damaged or cannot be written; a "
    "model, property, column or recipe that there is not; a training that failed",
    EXIT_USAGE: "wrong usage: an unknown command or option, an option that is given "
    "twice, a value that it does not take, options that exclude each other",
    EXIT_FAILED_ROWS: "done, but not for all: rows without a value, trainings of a "
    "study that failed, problems in data that were to be described",
    EXIT_INTERRUPTED: "interrupted: by Ctrl-C, `finetune` and `study run` also by the "
    "signals of schedulers",
}

# name -> (module, one-line help): --help must not import torch
_COMMANDS = {
    "rank": "Rank the candidates of a database by a predicted property.",
    "results": "Rank again, query or export what a screening has found.",
    "report": "Make an HTML page of what a screening has found.",
    "predict": "Predict properties of structure files.",
    "ood": "Find what is out of distribution, without a model.",
    "recipes": "List, show, copy and validate configurations for fine-tuning.",
    "finetune": "Train a model on your own labels (kernel, mft, ft, lp, scratch).",
    "study": "Train a grid of models; show errors beside published ones.",
    "diagnose": "Measure what fine-tuning did to a model's representations.",
    "data": "Describe, convert and download labelled data.",
    "split": "Split labelled data into in- and out-of-distribution folds.",
    "models": "List, download, show, export and import models.",
    "explain": "Say what an error means and what helps.",
}


class _LazyGroup(Group):
    """A group that imports a command's module only to run or describe it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # for commands that keep how they were called
        ctx.meta["mftscreen.arguments"] = tuple(args)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"mftscreen.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=text)
            for name, text in _COMMANDS.items()
            if name.startswith(incomplete)
        ]
        # not as a group, which would import every command
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            # here, since Ctrl-C may come while it is imported
            from mftscreen.errors import MftscreenError

            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("\nInterrupted", err=True)
            sys.exit(EXIT_INTERRUPTED)
        except MftscreenError as error:
            if ctx.params.get("traceback"):
                raise
            click.echo(f"Error: {error}", err=True)
            # for people; in a log, an error is one line
            if sys.stderr.isatty():
                click.echo(f"See 'mftscreen explain {_public_name(error)}'", err=True)
            sys.exit(EXIT_ERROR)
        except OSError as error:
            from mftscreen.cli.shared.standard_output import has_no_reader, leave_unread

            # The reader of a table has had enough. Where what is said of the work
            # has no reader either, it may have stopped in the middle.
            if (
                isinstance(error, BrokenPipeError)
                and has_no_reader(sys.stdout)
                and not has_no_reader(sys.stderr)
            ):
                leave_unread()
                sys.exit(0)
            # another pipe that was closed is click's to handle
            if ctx.params.get("traceback") or isinstance(error, BrokenPipeError):
                raise
            click.echo(f"Error: {error}", err=True)
            sys.exit(EXIT_ERROR)


def _public_name(error: Exception) -> str:
    """Return the name of an error's class, or of a parent if that is private."""
    names = (kind.__name__ for kind in type(error).__mro__)
    return next(name for name in names if not name.startswith("_"))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mftscreen")
@click.option("--traceback", is_flag=True, help="Show where an error comes from.")
@click.option("-v", "--verbose", is_flag=True, help="Log what is being done to stderr.")
def main(traceback: bool, verbose: bool) -> None:
    """Screen materials with multi-task fine-tuned atomistic models.

    Results go to standard output, everything else to standard error.

    Exit codes: 0 all done, 1 error, 2 wrong usage, 3 done, but some rows failed, 130
    interrupted. A table whose reader has had enough, as head, is done.

    \b
    Example:
      mftscreen rank candidates.db --property dielectric
    """
    import logging
    import os

    from mftscreen.cli.shared.standard_output import replace_closed_streams
    from mftscreen.threads import wait_politely

    replace_closed_streams()
    wait_politely(os.environ)
    if verbose:
        logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    else:
        # what is in the data of a training is said without being asked for
        logging.getLogger("mftscreen.data.label_report").setLevel(logging.INFO)
        if logging.lastResort is not None:
            logging.lastResort.setLevel(logging.INFO)
        # deepmd-kit advises on thread numbers at every import
        logging.getLogger("deepmd").setLevel(logging.ERROR)
