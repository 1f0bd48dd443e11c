"""``mftscreen split``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mftscreen.cli.shared.commands import Choice, Command
from mftscreen.cli.shared.options import (
    SEED,
    Finite,
    LocalPath,
    jobs_option,
    label_kind_option,
    quiet_option,
)
from mftscreen.cli.shared.summary import counted, say_written
from mftscreen.console.progress import progress_bar
from mftscreen.console.text_table import text_table

if TYPE_CHECKING:
    from mftscreen.jobs.split import SplitResult
    from mftscreen.ood.splits import FoldReport

__all__ = ["command"]

_TARGET_METHODS = ("random", "kde_tails", "property_tail")
_OFM_METHODS = (
    *("loco", "sparse_x_single", "sparse_x_cluster"),
    *("sparse_y_single", "sparse_y_cluster"),
)
_LEAVE_ONE_OUT = ("elements", "periodictablegroups", "chemsys", "sgnum", "prototype")


@click.command("split", cls=Command)
@click.argument("data", type=LocalPath(dir_okay=False))
@click.option("--column", required=True, help="Name of the target in DATA.")
@label_kind_option
@click.option(
    "--method",
    required=True,
    type=Choice([*_TARGET_METHODS, *_OFM_METHODS, *_LEAVE_ONE_OUT]),
    help="How to split.",
)
@click.option(
    "--seed",
    type=SEED,
    default=None,
    help="[default: 0; kde_tails: 42; random: 18012019]",
)
@click.option(
    "--val-share",
    type=Finite(0, 1, max_open=True),
    help="Of the rows not tested.  [default: 0.2]",
)
@click.option(
    "--folds",
    type=click.IntRange(min=2),
    help="random: folds.  [default: 5]",
)
@click.option(
    "--clusters",
    type=click.IntRange(min=2),
    help="Clusters.  [default: 50]",
)
@click.option(
    "--sparse",
    type=click.IntRange(min=1),
    help="Sparse rows.  [default: 500]",
)
@click.option(
    "--neighbors",
    type=click.IntRange(min=1),
    help="sparse_*_cluster.  [default: 10]",
)
@click.option(
    "--perplexity",
    type=Finite(min=1, min_open=True),
    help="sparse_x_*: of t-SNE.  [default: 30]",
)
@click.option(
    "--variant",
    type=Choice(["corrected", "published"]),
    help="sparse_y_*: rare targets, or the published defect.  [default: corrected]",
)
@click.option(
    "--ood-share",
    type=Finite(0, 1, min_open=True, max_open=True),
    help="*_tail(s): OOD test.  [default: 0.1]",
)
@click.option(
    "--id-share",
    type=Finite(0, 1, max_open=True),
    help="*_tail(s): ID test.  [default: 0.05]",
)
@click.option(
    "--tail",
    type=Choice(["low", "high", "both"]),
    help="property_tail.  [default: high]",
)
@click.option(
    "--min-test", type=click.IntRange(min=1), help="Leave-one-out: rows.  [default: 10]"
)
@click.option(
    "--max-share",
    type=Finite(0, 1, min_open=True),
    help="Leave-one-out: share.  [default: 0.5]",
)
@click.option(
    "--omee",
    type=LocalPath(dir_okay=False),
    help="Take the published folds of a MatBench task from this JSON file.",
)
@click.option(
    "--table",
    type=Choice(["current", "paper"]),
    default="current",
    show_default=True,
    help="Element table of the orbital field matrices; published folds have 'paper'.",
)
@click.option(
    "--mode",
    type=Choice(["exact", "matminer"]),
    default="exact",
    show_default=True,
    help="Voronoi cells of the matrices; published folds have 'matminer'.",
)
@jobs_option
@click.option(
    "-o",
    "--output",
    type=LocalPath(dir_okay=False),
    help="Write the split to FILE.json.  [default: standard output, but for --report]",
)
@click.option(
    "--report",
    is_flag=True,
    help="Print sizes, target ranges and OFM p-values, in place of the split.",
)
@quiet_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    data: Path,
    column: str,
    kind: str,
    method: str,
    omee: Path | None,
    table: Any,
    mode: Any,
    jobs: int,
    output: Path | None,
    report: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Split the rows of DATA into train, validation and test folds.

    DATA is whatever 'mftscreen data' reads: extended XYZ, an ase.db, a CSV that names
    structure files, a MatBench .json.gz, ... Methods: random (MatBench's folds); loco,
    sparse_x_* and sparse_y_* (clusters of orbital field matrices and sparse regions,
    Omee et al. 2024); kde_tails (rare targets, BOOM) and property_tail (extreme ones);
    leave-one-out on elements, periodictablegroups, chemsys, sgnum (space group) or
    prototype.

    The file has all ids, the folds as row numbers and a hash of the data. With
    --report, a table on standard output has the median p-value of each test fold: near
    0 the test is unlike the training rows, near 0.5 it is like them.

    \b
    Example:
      mftscreen split labels.extxyz --column gap --method loco -o split.json --report
      mftscreen split matbench_dielectric.json.gz --column n --method loco \\
          --omee omee_ood_folds.json.xz -o published.json
    """  # click wants the character, not the two that stand for it
    from mftscreen.data.label_source import LabelSource
    from mftscreen.jobs.split import split

    chosen = {name: value for name, value in options.items() if value is not None}
    _check_options(ctx, method, chosen, published=omee is not None)
    made = split(
        data,
        LabelSource(column, (column,), yes_no=kind == "class"),
        method=method,
        output=output,
        omee=omee,
        table=table,
        mode=mode,
        n_jobs=jobs,
        progress=not quiet,
        **chosen,
    )
    if output is not None:
        folds, rows = len(made.split.folds), len(made.rows)
        what = f"{counted(folds, 'fold')} of {counted(rows, 'row')}"
        say_written(what, output, quiet=quiet)
    if report:
        _report(made, quiet)
    elif output is None:
        click.echo(made.split.to_json())


def _check_options(
    ctx: click.Context, method: str, chosen: dict[str, Any], published: bool
) -> None:
    from mftscreen.jobs.split import foreign_options

    if published and method not in _OFM_METHODS:
        msg = f"--omee has folds of {', '.join(_OFM_METHODS)}"
        raise click.UsageError(msg, ctx)
    names = {option.name: option.opts[-1] for option in ctx.command.params}
    foreign = foreign_options(method, chosen, published=published)
    if foreign:
        what = "published folds have" if published else f"method {method} has"
        msg = f"{what} no {', '.join(sorted(names[name] for name in foreign))}"
        raise click.UsageError(msg, ctx)


def _report(made: SplitResult, quiet: bool) -> None:
    if made.no_p_values:
        click.echo(f"No p-values: {made.no_p_values}", err=True)
    folds = progress_bar(
        made.reports(), shown=not quiet, total=len(made.split.folds), unit="fold"
    )
    click.echo(_format(folds), nl=False)


def _format(folds: Iterable[FoldReport]) -> str:
    header = [
        *("fold", "train", "val", "test", "ID test"),
        *("target min", "target max", "median OFM p"),
    ]
    lines = [header]
    lines += [
        [
            fold.name,
            *(str(n) for n in (fold.n_train, fold.n_val, fold.n_test, fold.n_id_test)),
            *(f"{value:.6g}" for value in fold.test_range),
            "" if fold.median_p_value is None else f"{fold.median_p_value:.3f}",
        ]
        for fold in folds
    ]
    return text_table(lines, ">")
