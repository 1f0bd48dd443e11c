"""A funnel against the slow model on all: time, and how much of its top is found.

Usage: python benchmarks/funnel.py CANDIDATES.extxyz[.gz] --slow SLOW.mft
[--fast mft-mini] [-g dielectric:max] [-n 2000] [--keep 5% --keep 10%] [-j 1]

In one run, on the same structures, each from nothing: the slow model on all, then a
funnel for each share that is kept. Start-up is included, but for what the first run of
a process compiles. Prints the time of each funnel as a share of that of the slow model
on all, the least that it could be (the fast model alone), and the recall: how many of
the best that the slow model finds among all are among the best of the funnel.
"""

from __future__ import annotations

import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import click
from ase import Atoms
from ase.io import write
from scipy.stats import spearmanr

from mftscreen import ScreenResult, rank
from mftscreen.data.readers import iter_extxyz

N_WARM = 32


def ranked(path: Path, **options: Any) -> tuple[float, ScreenResult]:
    """Rank without a run folder, which would know outcomes of the run before."""
    start = time.perf_counter()
    result = rank(path, structures=False, device="cpu", **options)
    return time.perf_counter() - start, result


def report(keep: str, share: float, found: ScreenResult, best: list[list[str]]) -> None:
    n_kept = sum(row.status != "fast_only" and bool(row.fast) for row in found.rows)
    recalls = [
        len(set(ids) & {row.id for row in found.top(len(ids))}) / max(1, len(ids))
        for ids in best
    ]
    shown = "".join(f"{100 * recall:12.0f} %" for recall in recalls)
    click.echo(f"{keep:>10s} {n_kept:8d} {share:10.3f} {shown}")


def correlation(fast: ScreenResult, slow: ScreenResult) -> float:
    """Return the rank correlation of the two orders."""
    ranks = {r.id: n for r, n in zip(fast.rows, fast.ranks, strict=True) if n}
    pairs = [
        (ranks[row.id], number)
        for row, number in zip(slow.rows, slow.ranks, strict=True)
        if number and row.id in ranks
    ]
    return float(spearmanr(pairs).statistic)


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--slow", required=True, help="Name or path of a model.")
@click.option("--fast", default="mft-mini", show_default=True)
@click.option("-g", "--goal", "goals", multiple=True, default=["dielectric:max"])
@click.option("-n", "count", type=int, help="Of structures.  [default: all]")
@click.option("--keep", "shares", multiple=True, default=["5%", "10%", "20%"])
@click.option(
    "--top", "tops", multiple=True, type=int, default=[10, 100], show_default=True
)
@click.option("--ood", default="label", show_default=True, help="As of rank.")
@click.option("-j", "n_jobs", default=1, show_default=True, help="Processes.")
def main(
    path: Path,
    slow: str,
    fast: str,
    goals: tuple[str, ...],
    count: int | None,
    shares: tuple[str, ...],
    tops: tuple[int, ...],
    ood: str,
    n_jobs: int,
) -> None:
    """Print a line for each share."""
    options: dict[str, Any] = {"goals": goals, "ood": ood, "n_jobs": n_jobs}
    with tempfile.TemporaryDirectory() as folder:
        few, pool = Path(folder) / "few.extxyz", Path(folder) / "pool.extxyz"
        frames = [a for a in islice(iter_extxyz(path), count) if isinstance(a, Atoms)]
        write(pool, frames, format="extxyz")
        write(few, frames[:N_WARM], format="extxyz")
        for model in (fast, slow):
            ranked(few, models=model, **options)
        seconds, alone = ranked(pool, models=slow, **options)
        fast_seconds, first = ranked(pool, models=fast, **options)
        best = [[row.id for row in alone.top(n)] for n in tops]
        click.echo(
            f"{len(frames)} structures; slow model on all: 1 ({seconds:.0f} s), fast "
            f"model on all: {fast_seconds / seconds:.3f}; rank correlation "
            f"{correlation(first, alone):.2f}"
        )
        heads = "".join(f"{'of top':>10s} {n:3d}" for n in tops)
        click.echo(f"{'keep':>10s} {'kept':>8s} {'time':>10s} {heads}")
        for keep in shares:
            funnel, found = ranked(pool, models=fast, then=slow, keep=keep, **options)
            report(keep, funnel / seconds, found, best)


if __name__ == "__main__":
    main()
