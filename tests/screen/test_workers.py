"""Worker processes: same results, order, and the death of a worker."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk

from mftscreen.errors import MftscreenError
from mftscreen.screen.evaluation import Settings
from mftscreen.screen.outcome import Outcome
from mftscreen.screen.workers import Results, Workers

SETTINGS = Settings(("mft-mini",), ("dielectric",))


def label(structures: list[Atoms]) -> Results:
    """Take the place of a model; polonium ends the process."""
    if any(84 in atoms.numbers for atoms in structures):
        os._exit(1)
    return [(Outcome(formula=str(atoms.symbols)), atoms) for atoms in structures]


@pytest.fixture
def workers() -> Iterator[Workers]:
    with Workers(SETTINGS, 2) as made:
        made._evaluate = label
        yield made


def test_order_is_kept(workers: Workers) -> None:
    chunks = [[bulk(s) for s in ("Si", "Cu")], [], [bulk("Al")]]
    tasks = [workers.submit(chunk) for chunk in chunks]
    formulas = [[o.formula for o, _ in workers.results(task)] for task in tasks]
    assert formulas == [["Si2", "Cu"], [], ["Al"]]


def test_only_the_structure_that_kills_workers_is_lost(workers: Workers) -> None:
    symbols = ["Si", "Cu", "Po", "Al", "Ag"]
    tasks = [workers.submit([bulk("Fe")]), workers.submit([bulk(s) for s in symbols])]
    tasks.append(workers.submit([bulk("Ge")]))
    first, deadly, last = (workers.results(task) for task in tasks)
    assert [o.status for o, _ in first + last] == ["ok", "ok"]
    statuses = [outcome.status for outcome, _ in deadly]
    assert statuses == ["ok", "ok", "worker_died", "ok", "ok"]
    assert "died" in deadly[2][0].reason
    assert [outcome.formula for outcome, _ in deadly][2:4] == ["Po", "Al"]


def test_processes_end_with_their_parent(tmp_path: Path) -> None:
    program = tmp_path / "parent.py"
    program.write_text(
        "import os, time\n"
        "from mftscreen.screen.workers import _make_processes\n"
        "pool = _make_processes(2)\n"
        "print(pool.submit(os.getpid).result(), flush=True)\n"
        "pool.submit(time.sleep, 600)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 30
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_running(child)


def is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    # one that nobody has waited for is a zombie
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.slow
def test_processes_give_what_one_process_gives() -> None:
    structures = [bulk("MgO", "rocksalt", a=a) for a in (4.1, 4.2)] + [bulk("Si")] * 2
    found = []
    for n_jobs in (1, 2):
        with Workers(SETTINGS, n_jobs) as workers:
            tasks = [workers.submit(structures[:2]), workers.submit(structures[2:])]
            found.append([workers.results(task) for task in tasks])
    for one, two in zip(*found, strict=True):
        for (a, _), (b, _) in zip(one, two, strict=True):
            assert a.values["dielectric"] == pytest.approx(
                b.values["dielectric"], rel=1e-5
            )
            assert a.p_values == b.p_values


def test_no_scheduler() -> None:
    pytest.importorskip("distributed")
    with pytest.raises(MftscreenError, match=r"no Dask scheduler|Dask cluster needs"):
        Workers(SETTINGS, scheduler="tcp://127.0.0.1:1")


def test_worker_whose_parent_was_killed_before_it_started_ends() -> None:
    script = (
        "import time; from mftscreen.screen.workers import _end_with_parent; "
        "_end_with_parent(-1); time.sleep(60)"
    )
    ended = subprocess.run([sys.executable, "-c", script], timeout=50, check=False)
    assert ended.returncode == 1
