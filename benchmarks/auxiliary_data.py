"""Memory and start-up of MFT whose auxiliary frames stay in their files.

Usage: python benchmarks/auxiliary_data.py [-n 20000 -n 2000000] [--format extxyz]
[--steps 40] [--folder FOLDER] [--in-memory]

Labels 500 crystals of two atoms with mft-mini-crystals, writes them again and again
until a file of each format has so many frames (2 million take 0.5 to 1.6 GB), and
starts a short MFT run with each from the command line, on one thread, with an empty
cache. Prints the peak of the resident memory of both processes together (the one that
starts the training, and the one that trains), the seconds until the first step is done,
and the memory over that with the smallest file; for extended XYZ also the same of a
second run, which finds the index that the first has made. ``--in-memory`` adds a run
with the smallest file that reads all frames before it begins.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import click
import lmdb
import numpy as np
import yaml
from ase import Atoms
from ase.build import bulk
from ase.db.row import AtomsRow
from ase.io.extxyz import write_extxyz
from ase.io.jsonio import encode
from ase.stress import voigt_6_to_full_3x3_stress

from mftscreen import MFTCalculator

N_MADE = 500
POLL_SECONDS = 0.05
LASTING_SECONDS = 5.0
"""Of the two processes; others that they start for a moment do not count."""
KINDS = [
    ("MgO", "rocksalt", 4.25),
    ("Si", "diamond", 5.43),
    ("GaAs", "zincblende", 5.7),
]


@dataclass(frozen=True)
class Outcome:
    """What one run needed."""

    peak: float
    """MiB"""
    start: float
    """s"""


def make_frames(seed: int = 0) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    calculator = MFTCalculator("mft-mini-crystals")
    frames = []
    for k in range(N_MADE):
        symbols, structure, a = KINDS[k % len(KINDS)]
        atoms = bulk(symbols, structure, a=a * rng.uniform(0.97, 1.03))
        atoms.positions += rng.normal(scale=0.05, size=(2, 3))
        frames.append(calculator.freeze(atoms))
    return frames


def bare(frame: Atoms) -> Atoms:
    atoms = frame.copy()
    atoms.info = {}
    atoms.calc = frame.calc
    return atoms


def write_text(frames: Sequence[Atoms], n: int, path: Path) -> None:
    text = StringIO()
    write_extxyz(text, [bare(frame) for frame in frames])
    with path.open("w") as stream:
        for _ in range(n // len(frames)):
            stream.write(text.getvalue())


def write_lmdb(frames: Sequence[Atoms], n: int, path: Path) -> None:
    rows = []
    for frame in frames:
        row = AtomsRow(bare(frame))
        values = {
            key: row[key]
            for key in ("numbers", "positions", "pbc", "energy", "forces", "stress")
        }
        values |= {"cell": np.asarray(row["cell"]), "data": {}, "key_value_pairs": {}}
        rows.append(zlib.compress(encode(values).encode()))
    environment = lmdb.open(str(path), map_size=1 << 36, subdir=False, sync=False)
    for start in range(0, n, 100_000):
        with environment.begin(write=True) as transaction:
            for k in range(start, min(n, start + 100_000)):
                transaction.put(str(k + 1).encode(), rows[k % len(rows)])
    with environment.begin(write=True) as transaction:
        transaction.put(b"nextid", zlib.compress(str(n + 1).encode()))
    environment.sync(True)
    environment.close()


def write_npy(frames: Sequence[Atoms], n: int, path: Path) -> None:
    block = path / "2" / "set.000"
    block.mkdir(parents=True)
    symbols = sorted({symbol for frame in frames for symbol in frame.symbols})
    (path / "2" / "type_map.raw").write_text("\n".join(symbols) + "\n")
    (path / "2" / "type.raw").write_text("0\n0\n")
    arrays = {
        "coord": [frame.positions.ravel() for frame in frames],
        "box": [frame.cell.array.ravel() for frame in frames],
        "energy": [frame.calc.results["energy"] for frame in frames],
        "force": [frame.calc.results["forces"].ravel() for frame in frames],
        "virial": [
            -frame.get_volume()
            * voigt_6_to_full_3x3_stress(frame.calc.results["stress"]).ravel()
            for frame in frames
        ],
        "real_atom_types": [[symbols.index(s) for s in f.symbols] for f in frames],
    }
    for name, values in arrays.items():
        few = np.asarray(values)
        many = np.lib.format.open_memmap(
            block / f"{name}.npy", "w+", few.dtype, (n, *few.shape[1:])
        )
        for start in range(0, n, len(few)):
            many[start : start + len(few)] = few[: n - start]
        many.flush()
        del many


FORMATS: dict[str, tuple[str, Callable[[Sequence[Atoms], int, Path], None]]] = {
    "extxyz": (".extxyz", write_text),
    "aselmdb": (".aselmdb", write_lmdb),
    "npy": ("", write_npy),
}


def write_config(folder: Path, data: Path, steps: int, *, streamed: bool) -> Path:
    stream: dict[str, Any] = {"stream": {}} if streamed else {}
    document = {
        "strategy": "mft",
        "name": "streamed",
        "pretrained": "mft-mini-crystals",
        "properties": {"size": {"label": "volume", "neurons": [16]}},
        "data": {"train": [str(folder / "rows.extxyz")]},
        "auxiliary": {
            "head": "crystals", "data": [str(data)], "batch_size": 32,
            "lambda_reg": 0.02, **stream,
        },
        "training": {"steps": steps, "save_every": steps, "batch_size": 32},
    }  # fmt: skip
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def write_rows(frames: Sequence[Atoms], path: Path) -> None:
    rows = []
    for k, frame in enumerate(frames[:60]):
        atoms = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=True)
        atoms.info = {"id": f"row-{k}", "size": frame.get_volume() / len(frame)}
        rows.append(atoms)
    with path.open("w") as stream:
        write_extxyz(stream, rows)


def run(config: Path, output: Path, cache: Path) -> Outcome:
    """Train, and watch the memory of the process and of the one that it starts."""
    command = [sys.executable, "-m", "mftscreen", "finetune", str(config), "-q"]
    command += ["-o", str(output), "--threads", "1", "--no-collapse-report"]
    environment = {**os.environ, "MFTSCREEN_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    begin = time.perf_counter()
    process = subprocess.Popen(command, env=environment)
    peaks: dict[int, int] = {}
    seen: dict[int, list[float]] = {}
    start = 0.0
    curve = output / "lcurve.out"
    while process.poll() is None:
        for pid in descendants(process.pid):
            # until a new process has become another program it has its parent's
            peaks[pid] = high_water(pid) or peaks.get(pid, 0)
            seen.setdefault(pid, []).append(time.perf_counter())
        if not start and curve.exists() and curve.read_text().count("\n") > 1:
            start = time.perf_counter() - begin
        time.sleep(POLL_SECONDS)
    if process.returncode:
        raise SystemExit(process.returncode)
    lasting = [k for k, at in seen.items() if at[-1] - at[0] > LASTING_SECONDS]
    return Outcome(sum(peaks[pid] for pid in lasting) / 1024, start)


def descendants(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue
        for child in children:
            found += descendants(int(child))
    return found


def high_water(pid: int) -> int:
    """Return the largest resident memory of a process so far, in KiB."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(x.split()[1]) for x in lines if x.startswith("VmHWM")), 0)


@click.command()
@click.option("-n", "sizes", type=int, multiple=True, default=[20_000, 2_000_000])
@click.option("--format", "formats", type=click.Choice(list(FORMATS)), multiple=True)
@click.option("--steps", default=40, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="For temporary files.")
@click.option("--in-memory", is_flag=True)
def main(
    sizes: Sequence[int],
    formats: Sequence[str],
    steps: int,
    folder: Path | None,
    in_memory: bool,
) -> None:
    """Print a line for each format and size."""
    frames = make_frames()
    click.echo(
        f"{'format':>10s} {'frames':>9s} {'MiB':>6s} {'ratio':>6s} {'start, s':>9s}"
    )
    for name in formats or FORMATS:
        smallest = None
        for n in sorted(sizes):
            with tempfile.TemporaryDirectory(dir=folder) as temporary:
                work = Path(temporary)
                suffix, write = FORMATS[name]
                data = work / f"frames{suffix}"
                write(frames, n, data)
                write_rows(frames, work / "rows.extxyz")
                config = write_config(work, data, steps, streamed=True)
                found = run(config, work / "first", work / "cache")
                smallest = smallest or found
                click.echo(
                    f"{name:>10s} {n:9d} {found.peak:6.0f} "
                    f"{found.peak / smallest.peak:6.3f} {found.start:9.1f}"
                )
                if name == "extxyz":
                    again = run(config, work / "second", work / "cache")
                    click.echo(
                        f"{'again':>10s} {n:9d} {again.peak:6.0f} "
                        f"{again.peak / smallest.peak:6.3f} {again.start:9.1f}"
                    )
                if in_memory and n == min(sizes):
                    config = write_config(work, data, steps, streamed=False)
                    whole = run(config, work / "whole", work / "cache")
                    click.echo(
                        f"{'in memory':>10s} {n:9d} {whole.peak:6.0f} "
                        f"{whole.peak / smallest.peak:6.3f} {whole.start:9.1f}"
                    )


if __name__ == "__main__":
    main()
