"""``mftscreen results``: look again at what a run folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mftscreen.cli.rank import show
from mftscreen.cli.shared.commands import Group
from mftscreen.cli.shared.options import (
    LocalPath,
    carried,
    carry_option,
    limit_option,
    output_option,
    quiet_option,
    reranking_options,
    style_option,
    verbose_option,
)
from mftscreen.cli.shared.summary import say_unless_complete
from mftscreen.screen.result.columns import result_columns

if TYPE_CHECKING:
    from mftscreen.screen.result.screen_result import ScreenResult

__all__ = ["command"]


def _column_help() -> str:
    names = [column.name for column in result_columns({"PROPERTY": "UNIT"})]
    return (
        f"Columns: {', '.join(names)}. PROPERTY is the name of each that is ranked by; "
        "some columns are there only if a candidate has a value."
    )


run_argument = click.argument("run", type=LocalPath(exists=True, file_okay=False))


@click.group("results", cls=Group)
def command() -> None:
    """Look again at what the folder RUN of 'mftscreen rank --run RUN' holds.

    Nothing is evaluated: other goals, another alpha or another format take seconds.
    What is not asked for is as in the screening.
    Also while the screening still runs; then only what is done is shown.

    \b
    Example:
      mftscreen results show runs/pool -L 50
      mftscreen results query runs/pool 'dielectric > 3 and not ood' -o best.csv
      mftscreen results export runs/pool out.db
    """


@command.command("show")
@run_argument
@reranking_options
@carry_option
@limit_option
@style_option
@verbose_option
@click.pass_context
def show_command(
    ctx: click.Context,
    /,
    run: Path,
    carry: str | None,
    limit: int | None,
    style: str,
    verbose: bool,
    **ranking: Any,
) -> None:
    """Rank what RUN holds, and print it.

    \b
    Example:
      mftscreen results show runs/pool -L 50
      mftscreen results show runs/pool -g 'dielectric=2..2.4' --ood exclude
    """
    result = _read(run, None, carry, **ranking)
    show(ctx, result, limit, style, None, verbose=verbose)


@command.command("query", epilog=_column_help())
@run_argument
@click.argument("condition")
@reranking_options
@carry_option
@limit_option
@style_option
@output_option
@quiet_option
@click.pass_context
def query(
    ctx: click.Context,
    /,
    run: Path,
    condition: str,
    carry: str | None,
    limit: int | None,
    style: str,
    output: Path | None,
    quiet: bool,
    **ranking: Any,
) -> None:
    """Print the rows of RUN for which CONDITION holds, with the ranks that they have.

    A condition is made of columns, numbers, texts in quotes, comparisons, 'and', 'or'
    and 'not'; ood=False and commas, as in ASE's queries, are understood, too. Ids are
    texts. 'mftscreen results show RUN --format csv -L 1' prints the columns that RUN
    has.

    \b
    Example:
      mftscreen results query runs/pool 'dielectric > 3 and not ood'
      mftscreen results query runs/pool 'status != "ok"' -o failed.csv
    """
    result = _read(run, output, carry, **ranking).where(condition)
    if not result.rows:
        click.echo(f"no candidate matches {condition!r}", err=True)
    show(ctx, result, limit, style, output, quiet=quiet)


@command.command("export")
@run_argument
@click.argument("output", type=LocalPath(dir_okay=False))
@reranking_options
@carry_option
@quiet_option
@click.pass_context
def export(
    ctx: click.Context,
    /,
    run: Path,
    output: Path,
    carry: str | None,
    quiet: bool,
    **ranking: Any,
) -> None:
    """Write all rows of RUN to OUTPUT: .csv, .jsonl, .parquet or .db (ASE).

    The database holds the structures, relaxed if that was asked for, and the columns
    as key-value pairs: 'ase db' and 'ase gui' work on it.

    \b
    Example:
      mftscreen results export runs/pool out.csv --carry all
      mftscreen results export runs/pool out.db --ood demote
      ase db out.db 'ood=False,rank<20' -c candidate,formula,rank -s rank
    """
    show(ctx, _read(run, output, carry, **ranking), None, "none", output, quiet=quiet)


def _read(
    run: Path, output: Path | None, carry: str | None, **ranking: Any
) -> ScreenResult:
    """Return what a run folder holds, ranked, as `output` needs it."""
    from mftscreen.screen.result.screen_result import read_options, read_result
    from mftscreen.screen.result.store import check_output
    from mftscreen.screen.work.journal import Journal

    with Journal(run, read_only=True) as journal:
        if output is not None:
            check_output(output, *journal.sources)
        structures = output is not None and output.suffix == ".db"
        options = read_options(journal, **ranking)
        result = read_result(
            journal, options, structures=structures, carry=carried(carry, output)
        )
        say_unless_complete(journal.complete)
    return result
