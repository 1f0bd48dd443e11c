"""``mftscreen results``: look again at what a run folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mftscreen.cli.options import (
    alpha_option,
    coverage_option,
    diverse_option,
    goal_option,
    method_option,
    output_option,
    policy_option,
)
from mftscreen.cli.rank import show

if TYPE_CHECKING:
    from mftscreen.screen.ranking import OODPolicy, RankMethod

__all__ = ["command"]


@click.command("results")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@goal_option
@method_option
@policy_option
@alpha_option
@coverage_option
@diverse_option
@click.option(
    "-w",
    "--where",
    default=None,
    metavar="CONDITION",
    help="Only rows for which this holds: columns, numbers, comparisons, and, or, not.",
)
@click.option(
    "-L",
    "--limit",
    type=click.IntRange(min=1),
    default=None,
    help="Print this many rows; files get all.  [default: 20 in a table, all in CSV]",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(["auto", "table", "csv"]),
    default="auto",
    help="On standard output: a table for people or CSV.  "
    "[default: table on a terminal, else CSV]",
)
@output_option
@click.pass_context
def command(
    ctx: click.Context,
    run: Path,
    goals: tuple[str, ...],
    method: RankMethod,
    policy: OODPolicy,
    alpha: float,
    coverage: float,
    diverse: int,
    where: str | None,
    limit: int | None,
    style: str,
    output: Path | None,
) -> None:
    """Rank again what the folder RUN of 'mftscreen rank --run RUN' holds.

    Nothing is evaluated: other goals, another alpha or another format take seconds.
    Also while the screening still runs; then only what is done is shown.

    \b
    Example:
      mftscreen results runs/pool -L 50
      mftscreen results runs/pool -g 'dielectric=2..2.4' --ood exclude -o best.db
      mftscreen results runs/pool --where 'dielectric > 3 and not ood'
    """
    from mftscreen.screen.goals import Goal, parse_goals
    from mftscreen.screen.journal import Journal
    from mftscreen.screen.result import RankOptions, read_result
    from mftscreen.screen.store import check_output

    if output is not None:
        check_output(output)
    with Journal(run, read_only=True) as journal:
        names = journal.description.get("units", {})
        chosen = parse_goals(goals) if goals else {name: Goal() for name in names}
        options = RankOptions(chosen, method, policy, alpha, coverage, diverse)
        structures = output is not None and output.suffix == ".db"
        result = read_result(journal, options, structures=structures)
        if not journal.complete:
            click.echo(
                "this screening is not complete; give its 'mftscreen rank' command "
                "again to go on",
                err=True,
            )
    show(ctx, result if where is None else result.where(where), limit, style, output)
