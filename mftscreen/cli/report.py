"""``mftscreen report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mftscreen.cli.options import (
    alpha_option,
    coverage_option,
    goal_option,
    method_option,
    policy_option,
)

if TYPE_CHECKING:
    from mftscreen.ood.map import Method
    from mftscreen.screen.ranking import OODPolicy, RankMethod

__all__ = ["command"]


@click.command("report")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="The page.",
)
@goal_option
@method_option
@policy_option
@alpha_option
@coverage_option
@click.option(
    "--map",
    "embedding",
    type=click.Choice(["pca", "tsne", "none"]),
    default="pca",
    show_default=True,
    help="How candidates and training set are placed on the map.",
)
def command(
    run: Path,
    output: Path,
    goals: tuple[str, ...],
    method: RankMethod,
    policy: OODPolicy,
    alpha: float,
    coverage: float,
    embedding: Method | str,
) -> None:
    """Make one HTML page of what the folder RUN of 'mftscreen rank --run RUN' holds.

    A table to sort and filter, values against p-values, a map, the structures, the
    failures and the model's card, in one file that needs no network.

    \b
    Example:
      mftscreen rank candidates.db -p dielectric --run runs/first
      mftscreen report runs/first -o first.html
    """
    from mftscreen.screen.goals import parse_goals
    from mftscreen.screen.report import build_report, check_report_output
    from mftscreen.screen.report_data import collect
    from mftscreen.screen.result import RankOptions

    check_report_output(output)
    options = RankOptions(parse_goals(goals), method, policy, alpha, coverage)
    build_report(collect(run, options, embedding), output)
    click.echo(f"wrote {output}", err=True)
