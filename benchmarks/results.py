"""Ranking from a finished journal of many rows.

Usage: python benchmarks/results.py CANDIDATES.extxyz[.gz] [-n 200000] [--screened 2000]

Screens the first structures of a file, then fills a second journal with strained copies
of them, which carry the outcomes of their originals with values moved by up to 5 %.
Prints how long ``mftscreen results show --limit 50`` takes on it, start-up included.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import click
import numpy as np
from ase import Atoms
from ase.io import write

from mftscreen import rank
from mftscreen.data.readers import iter_extxyz
from mftscreen.screen.work.journal import Entry, Journal, JournalRow

NAME, CHUNK = "dielectric", 5000


def fill(target: Journal, rows: list[JournalRow], count: int) -> None:
    rng = np.random.default_rng(0)
    for start in range(0, count, CHUNK):
        entries, outcomes = [], {}
        for k in range(start, min(start + CHUNK, count)):
            row = rows[k % len(rows)]
            entries.append(Entry(str(k), str(k)))
            factor = float(rng.uniform(0.95, 1.05))
            values = {
                n: tuple(factor * v for v in vs) for n, vs in row.outcome.values.items()
            }
            atoms = row.atoms.copy() if row.atoms is not None else Atoms()
            atoms.set_cell(atoms.cell * (1 + rng.normal(0, 0.01)), scale_atoms=True)
            outcomes[str(k)] = (replace(row.outcome, values=values), atoms)
        target.write(entries, outcomes)


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("-n", "count", default=200_000, show_default=True)
@click.option("--screened", default=2000, show_default=True)
@click.option("--rounds", default=3, show_default=True)
def main(path: Path, count: int, screened: int, rounds: int) -> None:
    """Print the seconds of each round."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frames = [
            a for a in islice(iter_extxyz(path), screened) if isinstance(a, Atoms)
        ]
        write(folder / "some.extxyz", frames, format="extxyz")
        rank(
            folder / "some.extxyz",
            goals=f"{NAME}:max",
            run=folder / "few",
            progress=True,
        )
        with Journal(folder / "few", read_only=True) as journal:
            description = journal.description
            rows = [r for r in journal.rows(structures=True) if r.atoms is not None]
        with Journal(folder / "many") as journal:
            journal.begin(description)
            fill(journal, rows, count)
            journal.finish()
        command = [sys.executable, "-m", "mftscreen", "results", "show"]
        command += [str(folder / "many"), "--limit", "50", "--format", "table"]
        for _ in range(rounds):
            start, before = time.perf_counter(), getrusage(RUSAGE_CHILDREN).ru_utime
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            seconds = time.perf_counter() - start
            cpu = getrusage(RUSAGE_CHILDREN).ru_utime - before
            click.echo(f"{count} rows: {seconds:.1f} s, {cpu:.1f} s of a CPU")


if __name__ == "__main__":
    main()
