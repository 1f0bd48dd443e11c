"""``mftscreen rank`` on many structures: throughput, memory, nothing lost.

Usage: python benchmarks/rank.py CANDIDATES.extxyz[.gz] [-n 2000]
"""

from __future__ import annotations

import csv
import resource
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import click
from ase import Atoms
from ase.io import write

from mftscreen.readers import iter_extxyz


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("-n", "count", default=2000, show_default=True)
@click.option("-p", "--property", "name", default="dielectric", show_default=True)
def main(path: Path, count: int, name: str) -> None:
    """Print structures per second, peak memory and the number of rows."""
    with tempfile.TemporaryDirectory() as folder:
        database, result = Path(folder) / "candidates.extxyz", Path(folder) / "out.csv"
        frames = [a for a in islice(iter_extxyz(path), count) if isinstance(a, Atoms)]
        write(database, frames, format="extxyz")
        command = [sys.executable, "-m", "mftscreen", "rank", str(database)]
        command += ["-p", name, "-o", str(result), "-q", "--format", "table"]
        start = time.perf_counter()
        status = subprocess.run(command, check=False).returncode
        seconds = time.perf_counter() - start
        with result.open() as stream:
            rows = list(csv.DictReader(stream))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
    failed = sum(row["status"] != "ok" for row in rows)
    click.echo(
        f"exit code {status}; {len(rows)} rows for {len(frames)} candidates, "
        f"{failed} failed; {len(rows) / seconds:.1f} structures/s over all "
        f"({seconds:.0f} s with start-up); peak memory {peak:.2f} GiB"
    )


if __name__ == "__main__":
    main()
