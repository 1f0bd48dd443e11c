"""``mftscreen rank``."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mftscreen.cli import EXIT_FAILED_ROWS
from mftscreen.cli.options import (
    alpha_option,
    device_option,
    model_option,
    output_option,
    policy_option,
    quiet_option,
)

if TYPE_CHECKING:
    from mftscreen.model.backend import Device
    from mftscreen.screen.ranking import Goal, OODPolicy
    from mftscreen.screen.store import Ranked

__all__ = ["command"]

TABLE_ROWS = 20


def _goal(
    ctx: click.Context, maximize: bool, minimize: bool, target: float | None
) -> Goal:
    from mftscreen.screen.ranking import Goal

    if maximize + minimize + (target is not None) > 1:
        msg = "choose one of --maximize, --minimize and --target"
        raise click.UsageError(msg, ctx)
    if target is not None:
        return Goal("target", target)
    return Goal("minimize" if minimize else "maximize")


@click.command("rank")
@click.argument("database", type=click.Path(path_type=Path))
@click.argument("query", required=False)
@click.option("-p", "--property", "name", default=None, help="Property to rank by.")
@model_option
@click.option(
    "-L",
    "--limit",
    type=click.IntRange(min=1),
    default=None,
    help="Print this many rows; files get all.  [default: 20 in a table, all in CSV]",
)
@click.option("--maximize", is_flag=True, help="Largest values first.  [default]")
@click.option("--minimize", is_flag=True, help="Smallest values first.")
@click.option("--target", type=float, help="Values closest to this one first.")
@policy_option
@alpha_option
@click.option(
    "--format",
    "style",
    type=click.Choice(["auto", "table", "csv"]),
    default="auto",
    help="On standard output: a table for people or CSV.  "
    "[default: table on a terminal, else CSV]",
)
@output_option
@device_option
@quiet_option
@click.pass_context
def command(
    ctx: click.Context,
    database: Path,
    query: str | None,
    name: str | None,
    model: str | None,
    limit: int | None,
    maximize: bool,
    minimize: bool,
    target: float | None,
    policy: OODPolicy,
    alpha: float,
    style: str,
    output: Path | None,
    device: Device,
    quiet: bool,
) -> None:
    """Rank the candidates of DATABASE by a predicted property.

    DATABASE is an ase.db, which QUERY (ASE's own query string) may restrict, or an
    extended XYZ file, also compressed (.gz, .xz). Every candidate gets a row: one that
    cannot be evaluated has a status and a reason instead of a value.

    The OOD p-value compares a candidate's orbital field matrix with those of the
    model's training set. A small one means: unlike anything the model has learned
    from, do not trust the value. A large one is no guarantee.

    \b
    Example:
      mftscreen rank candidates.db --property dielectric
      mftscreen rank candidates.db 'O>1,natoms<20' -p dielectric --ood demote -o top.csv
    """
    from mftscreen.screen.store import (
        check_output,
        columns,
        format_table,
        result_records,
        write_csv,
        write_results,
    )

    goal = _goal(ctx, maximize, minimize, target)
    if output is not None:
        check_output(output)
    keep = output is not None and output.suffix == ".db"
    ranked, name = _screen(
        database, query, model, name, goal, policy, alpha, device, quiet, keep
    )
    if style == "table" or (style == "auto" and sys.stdout.isatty()):
        click.echo(format_table(ranked, name, limit or TABLE_ROWS), nl=False)
    elif style == "csv" or output is None:
        write_csv(sys.stdout, columns(name), result_records(ranked[:limit], name))
    if output is not None:
        write_results(output, ranked, name)
    failed = Counter(row.status for _, row in ranked if row.status != "ok")
    flagged = sum(bool(row.ood) for _, row in ranked)
    click.echo(
        f"{len(ranked)} candidates: {len(ranked) - failed.total()} predicted "
        f"({flagged} of them out of distribution), {failed.total()} failed"
        + "".join(f", {status}: {n}" for status, n in failed.items()),
        err=True,
    )
    if failed:
        ctx.exit(EXIT_FAILED_ROWS)


def _screen(
    database: Path,
    query: str | None,
    source: str | None,
    name: str | None,
    goal: Goal,
    policy: OODPolicy,
    alpha: float,
    device: Device,
    quiet: bool,
    keep_structures: bool,
) -> tuple[Ranked, str]:
    from tqdm import tqdm

    from mftscreen.model.loading import load_model
    from mftscreen.ood.reference import open_reference
    from mftscreen.predictor import Predictor
    from mftscreen.screen.candidates import iter_candidates
    from mftscreen.screen.pipeline import ScreenRow, screen
    from mftscreen.screen.ranking import rank_rows

    model = load_model(source, device=device)
    name = _property(model.card.properties, name, model.card.name)
    elements = model.card.properties[name].elements
    rows: Iterator[ScreenRow] = screen(
        iter_candidates(database, query),
        Predictor(model, properties=[name]),
        name,
        open_reference(model.reference, alpha, elements),
    )
    if not keep_structures:
        # a row is small, a structure is not
        rows = (replace(row, atoms=None) for row in rows)
    bar = tqdm(rows, unit="structure", disable=True if quiet else None, file=sys.stderr)
    return rank_rows(bar, goal, policy), name


def _property(known: Iterable[str], name: str | None, model: str) -> str:
    """Return the property to rank by; may be left out if there is only one."""
    from mftscreen.errors import UnknownPropertyError

    names = list(known)
    if name is None and len(names) == 1:
        return names[0]
    if name is not None and name in names:
        return name
    what = f"does not predict {name!r}" if name else "predicts several properties"
    msg = f"model {model} {what}; choose --property from: {', '.join(names)}"
    raise UnknownPropertyError(msg)
