"""Worker processes: same results, order, and the death of a worker."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk

from mftscreen.errors import WorkerError
from mftscreen.screen.work import cluster
from mftscreen.screen.work.evaluation import EvaluationSettings
from mftscreen.screen.work.outcome import Outcome
from mftscreen.screen.work.workers import Results, Workers, _make_processes

SETTINGS = EvaluationSettings(("mft-mini",), ("dielectric",))


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


@pytest.fixture
def lone() -> Iterator[Workers]:
    """Workers of which there is one at a time: each death costs one new process."""
    with Workers(SETTINGS, 2) as made:
        made._make_pool = partial(_make_processes, 1)
        made._pool = made._make_pool()
        yield made


def test_order_is_kept(workers: Workers) -> None:
    chunks = [[bulk(s) for s in ("Si", "Cu")], [], [bulk("Al")]]
    tasks = [workers.submit(chunk) for chunk in chunks]
    formulas = [[o.formula for o, _ in workers.results(task)] for task in tasks]
    assert formulas == [["Si2", "Cu"], [], ["Al"]]


@pytest.mark.slow
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


def label_batch(folder: Path, deaths: int, structures: list[Atoms]) -> Results:
    """Give values that depend on the batch; end the process a few times before."""
    if any(84 in atoms.numbers for atoms in structures):
        os._exit(1)
    for k in range(deaths):
        try:
            (folder / str(k)).touch(exist_ok=False)
        except FileExistsError:
            continue
        os._exit(1)
    value = float(sum(len(atoms) for atoms in structures))
    return [
        (Outcome(formula=str(atoms.symbols), values={"gap": (value,)}), atoms)
        for atoms in structures
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("deaths", "symbols"),
    [(0, ["Si", "Po", "Al", "Ge"]), (2, ["Si", "Al", "Ge"])],
)
def test_values_do_not_depend_on_who_died(
    lone: Workers, tmp_path: Path, deaths: int, symbols: list[str]
) -> None:
    # killed by what is in the chunk, or from outside: the others are together again
    lone._evaluate = partial(label_batch, tmp_path, deaths)
    results = lone.results(lone.submit([bulk(s) for s in symbols]))
    values = {o.formula: o.values.get("gap") for o, _ in results}
    assert values.pop("Po", None) is None
    assert values == dict.fromkeys(["Si2", "Al", "Ge2"], (5.0,))


def label_pairs(structures: list[Atoms]) -> Results:
    """End the process if there are more than two structures."""
    if len(structures) > 2:
        os._exit(1)
    value = float(sum(len(atoms) for atoms in structures))
    return [(Outcome(values={"gap": (value,)}), atoms) for atoms in structures]


@pytest.mark.slow
def test_what_dies_together_is_evaluated_in_halves(lone: Workers) -> None:
    lone._evaluate = label_pairs
    symbols = ["Si", "Al", "Ge", "Cu"]
    results = lone.results(lone.submit([bulk(s) for s in symbols]))
    assert [o.values["gap"] for o, _ in results] == [(3.0,)] * 4


@pytest.mark.slow
def test_suspects_are_evaluated_in_a_process_of_their_own() -> None:
    with Workers(SETTINGS) as alone:
        alone._evaluate = label
        assert alone.in_process
        suspect = alone.submit([bulk("Si"), bulk("Po"), bulk("Al")], suspect=True)
        harmless = alone.submit([bulk("Cu")])
        results = alone.results(suspect) + alone.results(harmless)
    assert [o.status for o, _ in results] == ["ok", "worker_died", "ok", "ok"]


NAMES = ["select", "random", "struct", "logging", "socket"]


@pytest.mark.slow
def test_modules_of_the_folder_are_not_taken_for_pythons(
    tmp_path: Path,
) -> None:
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')")
    program = (
        "import json, os, sys\n"
        "if __name__ == '__main__':\n"
        "    from mftscreen.screen.work.workers import _make_processes\n"
        "    pool = _make_processes(2)\n"
        "    path = pool.submit(eval, '__import__(\"sys\").path').result()\n"
        "    environ = pool.submit(eval, 'dict(__import__(\"os\").environ)').result()\n"
        "    print(path == sys.path, 'PYTHONSAFEPATH' in environ)\n"
    )
    script = tmp_path / "elsewhere" / "program.py"
    script.parent.mkdir()
    script.write_text(program)
    ended = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert ended.stdout == "True False\n", ended.stderr
    assert "wrong" not in ended.stderr


def die_at_start(*_: object) -> None:
    os._exit(1)


@pytest.mark.slow
def test_workers_that_die_when_they_start_end_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mftscreen.screen.work.workers._begin", die_at_start)
    with (
        pytest.raises(WorkerError, match="die when they start"),
        Workers(SETTINGS, 2) as workers,
    ):
        workers.results(workers.submit([bulk("Si")]))


@pytest.mark.slow
def test_processes_end_with_their_parent(tmp_path: Path) -> None:
    program = tmp_path / "parent.py"
    program.write_text(
        "import os, time\n"
        "from mftscreen.screen.work.workers import _make_processes\n"
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


def test_no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "_TIMEOUT", 1)
    with pytest.raises(WorkerError, match="no Dask scheduler"):
        Workers(SETTINGS, scheduler="tcp://127.0.0.1:1")


def test_worker_whose_parent_was_killed_before_it_started_ends() -> None:
    script = (
        "import time; from mftscreen.screen.work.workers import _end_with_parent; "
        "_end_with_parent(-1); time.sleep(60)"
    )
    ended = subprocess.run([sys.executable, "-c", script], timeout=50, check=False)
    assert ended.returncode == 1
