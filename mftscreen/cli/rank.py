"""``mftscreen rank``."""

from __future__ import annotations

import shlex
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mftscreen.cli import EXIT_FAILED_ROWS
from mftscreen.cli.shared.checks import (
    check_goals,
    check_keep,
    check_not_empty,
    check_relaxer,
    check_symbols,
    checked,
    given,
    symbols,
)
from mftscreen.cli.shared.commands import Choice, Command
from mftscreen.cli.shared.completion import complete_models, complete_properties
from mftscreen.cli.shared.options import (
    Finite,
    LocalPath,
    anyway_option,
    carried,
    carry_option,
    device_option,
    id_key_option,
    jobs_option,
    limit_option,
    only_property,
    output_option,
    quiet_option,
    ranking_options,
    style_option,
    verbose_option,
)
from mftscreen.cli.shared.standard_output import standard_output
from mftscreen.cli.shared.summary import (
    counted,
    failed_rows,
    say_screened,
    say_written,
)

if TYPE_CHECKING:
    from mftscreen.errors import DataError
    from mftscreen.model.network.backend import Device
    from mftscreen.screen.order.goals import Goal
    from mftscreen.screen.order.rank_options import Duplicates
    from mftscreen.screen.order.ranking import OODPolicy, RankMethod
    from mftscreen.screen.relax.settings import (
        CellFilterName,
        OptimizerName,
        RelaxSettings,
    )
    from mftscreen.screen.result.screen_result import ScreenResult

__all__ = ["command", "show"]

TABLE_ROWS = 20


@click.command("rank", cls=Command)
@click.argument("database", callback=check_not_empty)
@click.argument("query", required=False)
@click.option(
    "-p",
    "--property",
    "name",
    default=None,
    shell_complete=complete_properties,
    help="Property to rank by; for several, --goal.",
)
@click.option("--maximize", is_flag=True, help="Largest values first.  [default]")
@click.option("--minimize", is_flag=True, help="Smallest values first.")
@click.option("--target", type=Finite(), help="Values closest to this one first.")
@click.option(
    "-g",
    "--goal",
    "goals",
    multiple=True,
    callback=checked(check_goals),
    shell_complete=complete_properties,
    help="Instead of -p, also several: gap:max, gap=1.2..1.6, 'mass<=90', gap:max*2.",
)
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    shell_complete=complete_models,
    help="Name of a shipped model, .mft file, or folder of a training; several of one "
    "property are an ensemble.  [default: mft-mini]",
)
@click.option(
    "--then",
    multiple=True,
    metavar="MODEL",
    shell_complete=complete_models,
    help="Slower model for the best of what --model has seen, which then decides about "
    "the order; as --model.",
)
@click.option(
    "--keep",
    default="10%",
    show_default=True,
    metavar="SHARE|NUMBER",
    callback=checked(check_keep),
    help="How many of those that --model ranks are for --then: 5%, 200.",
)
@ranking_options
@click.option("--max-elements", type=click.IntRange(min=1), help="Skip others.")
@click.option(
    "--exclude-elements",
    default="",
    metavar="Cd,Pb,…",
    callback=checked(check_symbols),
    help="Skip what holds these.",
)
@click.option(
    "--relax",
    "optimizer",
    type=Choice(["fire", "bfgs", "lbfgs"]),
    help="Relax each candidate before the prediction, with this optimiser.",
)
@click.option(
    "--cell-filter",
    type=Choice(["frechet", "none"]),
    default="frechet",
    show_default=True,
    help="Relax the cell, too, or not.",
)
@click.option(
    "--fmax",
    type=Finite(min=0, min_open=True),
    default=0.05,
    show_default=True,
    help="Relaxed when no force is larger, in eV/Å.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=500,
    show_default=True,
    help="Give up relaxing after this many.",
)
@click.option(
    "--relaxer",
    metavar="MODULE:FACTORY",
    callback=checked(check_relaxer),
    help="Relax with this ASE calculator instead of the model; --run knows it by this "
    "name.",
)
@click.option(
    "--run",
    type=LocalPath(file_okay=False),
    help="Local folder that keeps what is done, to resume and for 'mftscreen results'. "
    "Candidates of another DATABASE take the place of those that it holds.",
)
@anyway_option
@jobs_option
@click.option(
    "--scheduler", metavar="tcp://…", help="Dask scheduler to use instead of processes."
)
@id_key_option
@carry_option
@limit_option
@style_option
@output_option
@device_option
@quiet_option
@verbose_option
@click.pass_context
def command(
    ctx: click.Context,
    database: str,
    query: str | None,
    name: str | None,
    maximize: bool,
    minimize: bool,
    target: float | None,
    goals: tuple[str, ...],
    method: RankMethod,
    models: tuple[str, ...],
    then: tuple[str, ...],
    keep: str,
    policy: OODPolicy,
    alpha: float,
    coverage: float,
    diverse: int,
    duplicates: Duplicates,
    max_elements: int | None,
    exclude_elements: str,
    optimizer: OptimizerName | None,
    cell_filter: CellFilterName,
    fmax: float,
    steps: int,
    relaxer: str | None,
    run: Path | None,
    anyway: bool,
    jobs: int,
    scheduler: str | None,
    id_key: str | None,
    carry: str | None,
    limit: int | None,
    style: str,
    output: Path | None,
    device: Device,
    quiet: bool,
    verbose: bool,
) -> None:
    """Rank the candidates of DATABASE by predicted properties.

    DATABASE is an ase.db file or server, which QUERY (ASE's own query string) may
    restrict, a trajectory, an extended XYZ file, a folder or glob of structure files,
    a CSV, or JSON of pymatgen, OPTIMADE or MatBench, also compressed (.gz, .xz).
    Every candidate gets a row: one that cannot be evaluated has a status and a reason
    instead of a value.

    The OOD p-value compares a candidate with the model's training set. A small one
    means: unlike anything the model has learned from, do not trust the value. A large
    one is no guarantee.

    With --then, --model sees all candidates and its best --keep are ranked by the
    slower model. The table holds the values of both; what one model alone has seen has
    no rank, the status fast_only, and comes after the others.

    With --run, a screening that was interrupted, even killed, goes on where it was when
    the same command is given again.

    \b
    Example:
      mftscreen rank candidates.db --property dielectric
      mftscreen rank candidates.db 'O>1,natoms<20' -p dielectric --ood demote -o top.csv
      mftscreen rank pool.extxyz.gz -g 'dielectric=2..2.4' --run runs/pool -j 4
      mftscreen rank candidates.db -p dielectric --relax fire --fmax 0.02 -o out.db
      mftscreen rank candidates.db -p dielectric --then slow.mft --keep 5% -o top.csv
    """
    from mftscreen.screen.candidates.elements import ElementFilter
    from mftscreen.screen.candidates.stream import explain_empty
    from mftscreen.screen.rank import held_before, rank
    from mftscreen.screen.result.store import check_output

    chosen = _goals(ctx, name, maximize, minimize, target, goals, models)
    if output is not None:
        check_output(output, database)
    exclude = symbols(exclude_elements)
    filtering = max_elements is not None or exclude
    relax = _relaxation(ctx, optimizer, cell_filter, fmax, steps, relaxer)
    if not then and given(ctx, "keep"):
        msg = "--keep needs --then, the model that sees what is kept"
        raise click.UsageError(msg, ctx)
    if run is not None and not quiet and (before := held_before(run, database)):
        what = f"{click.format_filename(run)} holds the candidates of {before}"
        click.echo(f"{what}; those of DATABASE will take their place", err=True)
    result = rank(
        database,
        query,
        goals=chosen,
        models=models or None,
        then=then or None,
        keep=keep,
        method=method,
        ood=policy,
        alpha=alpha,
        coverage=coverage,
        diverse=diverse,
        duplicates=duplicates,
        elements=ElementFilter(max_elements, exclude) if filtering else None,
        relax=relax,
        check_domain=not anyway,
        run=run,
        n_jobs=jobs,
        scheduler=scheduler,
        device=device,
        id_key=id_key,
        carry=carried(carry, output),
        structures=output is not None and output.suffix == ".db",
        progress=not quiet,
        command=_as_typed(ctx),
    )
    if not result.rows:
        click.echo(explain_empty(database, query), err=True)
    show(ctx, result, limit, style, output, verbose=verbose, quiet=quiet)


def show(
    ctx: click.Context,
    result: ScreenResult,
    limit: int | None,
    style: str,
    output: Path | None,
    *,
    verbose: bool = False,
    quiet: bool = False,
) -> None:
    """Print a result, write it to a file if there is one, and count what failed."""
    from mftscreen.screen.result.store import format_table, write_csv, write_records

    problems: list[DataError] = []
    with standard_output(problems) as stream:
        as_table = style == "table" or (style == "auto" and stream.isatty())
        if as_table:
            click.echo(format_table(result, limit or TABLE_ROWS), nl=False)
        elif style == "csv" or (style == "auto" and output is None):
            write_csv(
                stream,
                result.columns,
                ((r, None) for r in islice(result.records(), limit)),
            )
    if output is not None:
        structures = (row.atoms for row in result.rows)
        pairs = zip(result.records(), structures, strict=True)
        write_records(output, result.columns, pairs, foreign=result.foreign)
        say_written(counted(len(result.rows), "row"), output, quiet=quiet)
    for remark in [*result.remarks, *(result.details if verbose else ())]:
        click.echo(remark, err=True)
    hidden = as_table and output is None
    statuses = Counter(row.status for row in result.rows)
    trust = Counter(row.trust for row in result.rows)
    if trust["untested"] and result.options.policy != "label":
        click.echo(
            f"--ood {result.options.policy}: nothing tells whether {trust['untested']} "
            "candidates are like the training set; they count as if they were",
            err=True,
        )
    failed = failed_rows(statuses)
    click.echo(
        say_screened(statuses, trust)
        + ("; --format csv has the reasons" if failed and hidden else ""),
        err=True,
    )
    if problems:
        raise problems[0]
    if failed:
        ctx.exit(EXIT_FAILED_ROWS)


def _relaxation(
    ctx: click.Context,
    optimizer: OptimizerName | None,
    cell_filter: CellFilterName,
    fmax: float,
    steps: int,
    relaxer: str | None,
) -> RelaxSettings | None:
    if optimizer is not None:
        from mftscreen.screen.relax.settings import RelaxSettings

        return RelaxSettings(optimizer, cell_filter, fmax, steps, relaxer)
    if unused := given(ctx, "cell_filter", "fmax", "steps", "relaxer"):
        msg = f"{', '.join(unused)} needs --relax fire, bfgs or lbfgs"
        raise click.UsageError(msg, ctx)
    return None


def _as_typed(ctx: click.Context) -> str:
    """Return the whole command, but for passwords."""
    from mftscreen.data.readers import without_password

    arguments = ctx.meta["mftscreen.arguments"]
    return shlex.join(["mftscreen", *map(without_password, arguments)])


def _goals(
    ctx: click.Context,
    name: str | None,
    maximize: bool,
    minimize: bool,
    target: float | None,
    goals: tuple[str, ...],
    models: tuple[str, ...],
) -> dict[str, Goal]:
    from mftscreen.screen.order.goals import Goal, parse_goals

    directions = maximize + minimize + (target is not None)
    if goals and (name or directions):
        msg = "--goal says it all; leave out --property and the direction"
        raise click.UsageError(msg, ctx)
    if directions > 1:
        msg = "choose one of --maximize, --minimize and --target"
        raise click.UsageError(msg, ctx)
    if goals:
        return parse_goals(goals)
    name = name or only_property(models)
    if target is not None:
        return {name: Goal("target", target)}
    return {name: Goal("minimize" if minimize else "maximize")}
