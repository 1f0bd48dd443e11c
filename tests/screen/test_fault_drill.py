"""A hostile folder, a screening that is killed, and nothing lost."""

from __future__ import annotations

import csv
import gzip
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.db import connect
from ase.io import write

from mftscreen.errors import DataError
from mftscreen.model.files.bundle import read_bundle, write_bundle
from mftscreen.screen.candidates.stream import iter_candidates
from mftscreen.screen.work.journal import Journal

pytestmark = pytest.mark.slow

DISORDERED = """\
data_x
_cell_length_a 4.2
_cell_length_b 4.2
_cell_length_c 4.2
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Mg1 Mg 0 0 0 0.5
Si1 Si 0 0 0 0.5
O1 O 0.5 0.5 0.5 1
"""

# small chunks make many points to be killed at; a worker takes ten seconds to start, so
# that what may have died by chance is not tried again
PROGRAM = """\
from mftscreen.screen.work import pipeline, workers
from mftscreen.cli import main
pipeline.CHUNK, workers._ATTEMPTS = 16, 1
main()
"""

LIMITED = f"""\
import resource, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
{PROGRAM}"""


def usual(rng: random.Random) -> Atoms:
    a = rng.uniform(4.0, 4.6)
    return rng.choice(
        [
            bulk("MgO", "rocksalt", a=a),
            bulk("MgO", "cesiumchloride", a=0.65 * a, cubic=True),
            bulk("Si", a=a + 1.1, cubic=True),
            bulk("GaAs", "zincblende", a=a + 1.2),
        ]
    )


def with_nan(rng: random.Random) -> Atoms:
    atoms = usual(rng)
    atoms.positions[0, rng.randrange(3)] = np.nan
    return atoms


def overlapping(rng: random.Random) -> Atoms:
    atoms = usual(rng)
    atoms.positions[1] = atoms.positions[0] + 0.01
    return atoms


def without_volume(rng: random.Random) -> Atoms:
    return Atoms("O", cell=[rng.uniform(3, 4), 3.0, 0.0], pbc=True)


def of_one_atom(rng: random.Random) -> Atoms:
    return bulk("Mg", "fcc", a=rng.uniform(4.3, 4.7))


def of_unknown_elements(rng: random.Random) -> Atoms:
    return bulk("PbTe", "rocksalt", a=rng.uniform(6.3, 6.6))


def of_many_atoms(rng: random.Random) -> Atoms:
    return bulk("MgO", "rocksalt", a=rng.uniform(4.1, 4.3)) * (5, 5, 6)


Maker = Callable[[random.Random], Atoms]

FAULTS: dict[Maker, str] = {
    with_nan: "invalid_geometry",
    overlapping: "invalid_geometry",
    without_volume: "invalid_geometry",
    of_unknown_elements: "unknown_element",
}

MAKERS: list[Maker] = [usual] * 6 + [of_one_atom] + list(FAULTS)


def make_pool(folder: Path) -> Counter[str]:
    """Write a folder of over 500 candidates; return how many end in which status."""
    rng = random.Random(20)
    expected: Counter[str] = Counter()

    def make(maker: Maker) -> Atoms:
        expected[FAULTS.get(maker, "ok")] += 1
        return maker(rng)

    folder.mkdir()
    frames = []
    for k in range(300):
        frames.append(make(rng.choice(MAKERS)))
        frames[-1].info = {"id": f"s-{k % 250}"}  # fifty ids occur twice
    write(folder / "a.extxyz", frames, format="extxyz")
    text = (folder / "a.extxyz").read_text()
    (folder / "a.extxyz").unlink()
    broken = '2\nProperties=species:S:1:pos:R:3 pbc="F F F"\nH 0 0 zero\nH 0 0 1\n'
    expected["unreadable"] += 3
    with gzip.open(folder / "a.extxyz.gz", "wt") as stream:
        stream.write(broken + text + 2 * broken)
    with connect(folder / "b.db") as database:
        for atoms in frames[:20]:  # the same structures once more
            database.write(atoms)
        for _ in range(120):
            database.write(make(rng.choice(MAKERS)))
        for _ in range(5):
            database.write(bulk("Si"))
    for atoms in frames[:20]:
        expected[status_of(atoms)] += 1
    with sqlite3.connect(folder / "b.db") as raw:
        raw.execute("UPDATE systems SET positions = ? WHERE id > 140", (b"garbage",))
    raw.close()
    expected["unreadable"] += 5
    (folder / "cif").mkdir()
    for k in range(5):
        write(folder / "cif" / f"{k}.cif", make(of_one_atom))
        (folder / "cif" / f"disordered-{k}.cif").write_text(DISORDERED)
    (folder / "cif" / "empty.cif").touch()
    (folder / "cut.json").write_text('{"mp-1": {"lattice": ')
    expected["invalid_structure"] += 5  # disordered
    expected["unreadable"] += 2
    last = [make(maker) for maker in [of_many_atoms] * 5 + [usual] * 65]
    write(folder / "d.extxyz", last, format="extxyz")
    return expected


def status_of(atoms: Atoms) -> str:
    """Return how one of the structures above must end."""
    if set(atoms.symbols) & {"Pb", "Te"}:
        return "unknown_element"
    distances = atoms.get_all_distances()[np.triu_indices(len(atoms), 1)]
    fine = np.isfinite(atoms.positions).all() and atoms.cell.rank == 3
    return "ok" if fine and (distances > 0.5).all() else "invalid_geometry"


def ranking(pool: Path, model: Path, run: Path, output: Path) -> list[str]:
    command = ["rank", str(pool), "-m", str(model), "--run", str(run)]
    return [*command, "-o", str(output), "-q", "--device", "cpu"]


@pytest.fixture
def start(tmp_path: Path, start_copy: Callable[..., Any]) -> Callable[..., Any]:
    """Return what starts a command, with what it prints in ``output`` and ``errors``.

    No file can become longer than `limit` bytes.
    """

    def start(arguments: list[str], limit: int = -1) -> Any:
        paths = tmp_path / "output", tmp_path / "errors"
        with paths[0].open("w") as output, paths[1].open("w") as errors:
            files = output.fileno(), errors.fileno()
            return start_copy(LIMITED, [str(limit), *arguments], tmp_path, *files)

    return start


def finish(process: Any, expected: int) -> None:
    assert process.wait(300) == expected


def n_rows(run: Path) -> int:
    """Return how many candidates a journal has, those of a second stage included."""
    try:
        with Journal(run, read_only=True) as journal:
            return sum(1 for again in (False, True) for _ in journal.rows(again=again))
    except DataError:  # not there yet
        return 0


def kill_at(process: Any, run: Path, count: int, wait: float) -> None:
    """Kill a screening some time after its journal has come to `count` rows."""
    while process.poll() is None and n_rows(run) < count:
        time.sleep(0.01)
    time.sleep(wait)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it ended before it was killed"


def test_killed_twice_the_table_is_that_of_an_uninterrupted_run(
    tmp_path: Path, tiny_model: Path, start: Callable[..., Any]
) -> None:
    pool = tmp_path / "pool"
    expected = make_pool(pool)
    whole, resumed = tmp_path / "whole.csv", tmp_path / "resumed.csv"
    # as users start it, with another seed for the order in sets
    arguments = ranking(pool, tiny_model, tmp_path / "whole", whole)
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        check=False,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 3

    run = tmp_path / "run"
    arguments = ranking(pool, tiny_model, run, resumed)
    rng = random.Random(4)
    done: list[int] = []
    for least, most in ((1, 150), (200, 350)):
        process = start(arguments)
        # the rows of the run before stay until the first new ones are written
        count = max(rng.randint(least, most), *done, 0) + 1
        kill_at(process, run, count, rng.uniform(0, 0.05))
        assert not resumed.exists()
        done.append(n_rows(run))
    finish(start(arguments), 3)

    assert 0 < done[0] < expected.total()
    assert done[0] < done[1] < expected.total()
    assert resumed.read_bytes() == whole.read_bytes()
    with whole.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == expected.total() > 500
    assert Counter(row["status"] for row in rows) == expected
    ids = [candidate.id for candidate in iter_candidates(pool)]
    assert sorted(row["id"] for row in rows) == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert {"s-0", "s-0#2", "cif/empty.cif", "cif/disordered-0.cif"} <= set(ids)
    for row in rows:
        assert bool(row["gap"]) == (row["status"] == "ok")
        assert row["reason"] or row["status"] == "ok"
    assert sum(bool(row["duplicate_of"]) for row in rows) >= 20


def test_killed_in_both_stages_the_funnel_is_that_of_an_uninterrupted_run(
    tmp_path: Path, tiny_model: Path, start: Callable[..., Any]
) -> None:
    rng = random.Random(21)
    frames = [rng.choice(MAKERS)(rng) for _ in range(100)]
    write(tmp_path / "pool.extxyz", frames, format="extxyz")
    slow = tmp_path / "slow.mft"
    bundle = read_bundle(tiny_model)
    card = bundle.card.model_copy(update={"name": "slow"})
    write_bundle(slow, card, bundle.checkpoint, bundle.reference)

    def funnel(run: str) -> list[str]:
        arguments = ranking(
            tmp_path / "pool.extxyz",
            tiny_model,
            tmp_path / run,
            tmp_path / f"{run}.csv",
        )
        return [*arguments, "--then", str(slow), "--keep", "80%"]

    finish(start(funnel("whole")), 3)
    total = n_rows(tmp_path / "whole")
    assert total >= 140
    for count in (40, 115):
        kill_at(start(funnel("run")), tmp_path / "run", count, 0.0)
        with Journal(tmp_path / "run", read_only=True) as journal:
            assert not journal.complete
    finish(start(funnel("run")), 3)
    assert (tmp_path / "run.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    with (tmp_path / "run.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 100
    assert {"ok", "fast_only", "invalid_geometry"} <= {row["status"] for row in rows}


POISON = """\
import os
from ase.calculators.emt import EMT

class Poison(EMT):
    def calculate(self, atoms=None, *arguments, **options):
        if "Cu" in atoms.get_chemical_symbols():
            os._exit(137)
        super().calculate(atoms, *arguments, **options)

def make():
    return Poison()
"""


def test_a_candidate_that_kills_its_process_becomes_a_row(
    tmp_path: Path, tiny_model: Path, start: Callable[..., Any]
) -> None:
    (tmp_path / "poison.py").write_text(POISON)
    metals = [bulk(s) for s in ("Al", "Cu", "Pd", "Ag", "Pt")]
    write(tmp_path / "all.extxyz", metals)
    write(tmp_path / "others.extxyz", [m for m in metals if m.symbols[0] != "Cu"])

    def rank(pool: str, run: str, output: str, expected: int) -> None:
        arguments = ranking(Path(pool), tiny_model, Path(run), Path(output))
        arguments += ["--relax", "fire", "--relaxer", "poison:make", "--steps", "3"]
        finish(start(arguments), expected)

    def rows(output: str) -> list[dict[str, str]]:
        with (tmp_path / output).open(newline="") as stream:
            found = {row["formula"]: row for row in csv.DictReader(stream)}
        return [{**found[s], "rank": "", "id": ""} for s in ("Al", "Pd", "Ag", "Pt")]

    rank("others.extxyz", "safe", "others.csv", 3)
    rank("all.extxyz", "run", "all.csv", 137)
    assert not (tmp_path / "all.csv").exists()
    rank("all.extxyz", "run", "all.csv", 3)
    with (tmp_path / "all.csv").open(newline="") as stream:
        (died,) = [r for r in csv.DictReader(stream) if r["status"] == "worker_died"]
    assert died["formula"] == "Cu"
    assert "died" in died["reason"]
    assert rows("all.csv") == rows("others.csv")


def child_processes(parent: int) -> list[int]:
    """Return the workers of a screening."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [
        int(child)
        for child in children
        if b"popen_loky" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def test_killed_workers_leave_no_trace(
    tmp_path: Path, tiny_model: Path, start: Callable[..., Any]
) -> None:
    rng = random.Random(9)
    pool = tmp_path / "pool.extxyz"
    write(pool, [usual(rng) for _ in range(120)], format="extxyz")
    whole, killed = tmp_path / "whole.csv", tmp_path / "killed.csv"
    finish(start(ranking(pool, tiny_model, tmp_path / "whole", whole)), 0)
    run = tmp_path / "run"
    process = start([*ranking(pool, tiny_model, run, killed), "-j", "2"])
    while process.poll() is None and n_rows(run) < 16:
        time.sleep(0.01)
    os.kill(child_processes(process.pid)[0], signal.SIGKILL)
    finish(process, 0)
    assert killed.read_text() == whole.read_text()
    assert whole.read_text().count(",False,ok,") == 120


DISK = 1 << 23


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Make a folder a file system of its own, if this user may; return whether."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    mounted = (
        bool(shutil.which("mount"))
        and not subprocess.run(mount, check=False, capture_output=True).returncode
    )
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_costs_nothing_that_was_complete(
    tmp_path: Path, tiny_model: Path, start: Callable[..., Any]
) -> None:
    rng = random.Random(17)
    pool, disk = tmp_path / "pool.extxyz", tmp_path / "disk"
    write(pool, [usual(rng) for _ in range(100)], format="extxyz")
    whole = tmp_path / "whole.csv"
    finish(start(ranking(pool, tiny_model, tmp_path / "whole", whole)), 0)
    filling, table, page = (disk / name for name in ("filling", "a.csv", "a.html"))
    # the first when the journal is made, the last when all is there but its end
    moments = [0, *sorted(rng.sample(range(30_000, 180_000), 3))]

    with small_disk(disk) as mounted:

        def run(arguments: list[str], room: int) -> str:
            """Run a command with so many bytes of disk; return its errors if it fails.

            Without a disk of its own, no file can become so long.
            """
            filling.unlink(missing_ok=True)
            if mounted:
                filling.write_bytes(bytes(max(0, shutil.disk_usage(disk).free - room)))
            process = start(arguments, -1 if mounted else max(room // 2, 200))
            code = process.wait(300)
            assert code in (0, 1)
            return (tmp_path / "errors").read_text() if code else ""

        def full(arguments: list[str], room: int, named: Path) -> None:
            errors = run(arguments, room)
            assert errors.startswith(f"Error: {named}"), errors
            assert errors.endswith("make room and give the same command again\n")
            assert errors.count("\n") == 1

        folder = disk / "run"
        screening = ranking(pool, tiny_model, folder, table)
        report = ["report", str(folder), "-o", str(page)]
        for kept in (table, page):
            kept.write_text("old")
        done = [0]
        for room in moments:
            full(screening, room, folder)
            done.append(n_rows(folder))
        assert done == sorted(done)
        assert 0 < done[-1] < 100
        assert table.read_text() == "old"
        assert run(screening, DISK) == ""
        assert table.read_bytes() == whole.read_bytes()
        full(report, 20_000, page)
        assert page.read_text() == "old"
        assert run(report, DISK) == ""
        assert page.read_text().endswith("</html>\n")
        # the journal elsewhere has all; only the table has no room
        table.write_text("old")
        elsewhere = ranking(pool, tiny_model, tmp_path / "whole", table)
        full(elsewhere, 4096, table if mounted else tmp_path / "whole")
        assert table.read_text() == "old"
        assert run(elsewhere, DISK) == ""
        assert table.read_bytes() == whole.read_bytes()
