"""``mftscreen report``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mftscreen.cli import EXIT_FAILED_ROWS
from mftscreen.cli.shared.commands import Choice, Command
from mftscreen.cli.shared.options import LocalPath, quiet_option, reranking_options
from mftscreen.cli.shared.summary import (
    counted,
    failed_rows,
    say_screened,
    say_unless_complete,
    say_written,
)

if TYPE_CHECKING:
    from mftscreen.ood.map.embedding import Method

__all__ = ["command"]


@click.command("report", cls=Command)
@click.argument("run", type=LocalPath(exists=True, file_okay=False))
@click.option(
    "-o",
    "--output",
    type=LocalPath(dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="The page.",
)
@reranking_options
@click.option(
    "--map",
    "embedding",
    type=Choice(["pca", "tsne", "none"]),
    default="pca",
    show_default=True,
    help="How candidates and training set are placed on the map.",
)
@quiet_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    run: Path,
    output: Path,
    embedding: Method | str,
    quiet: bool,
    **ranking: Any,
) -> None:
    """Make one HTML page of what the folder RUN of 'mftscreen rank --run RUN' holds.

    A sentence on what to trust, a table to sort and filter, the structures, values
    against p-values and against each other, a map, the elements, the failures and the
    models' cards, in one file that needs no network.

    \b
    Example:
      mftscreen rank candidates.db -p dielectric --run runs/first
      mftscreen report runs/first -o first.html
    """
    from mftscreen.screen.report.contents import collect
    from mftscreen.screen.report.page import build_report, check_report_output
    from mftscreen.screen.work.journal import Journal

    with Journal(run, read_only=True) as journal:
        check_report_output(output, *journal.sources)
        complete = journal.complete
    data = collect(run, embedding, **ranking)
    build_report(data, output)
    what = f"a report of {counted(len(data.records), 'candidate')}"
    say_written(what, output, quiet=quiet)
    say_unless_complete(complete)
    statuses = Counter(record["status"] for record in data.records)
    trust = Counter(record["trust"] for record in data.records)
    click.echo(say_screened(statuses, trust), err=True)
    if failed_rows(statuses):
        ctx.exit(EXIT_FAILED_ROWS)
