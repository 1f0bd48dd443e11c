"""Worker processes: same results, order, and the death of a worker."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from ase import Atoms
from ase.build import bulk

from mftscreen.errors import MftscreenError
from mftscreen.screen.evaluation import Settings
from mftscreen.screen.outcome import Outcome
from mftscreen.screen.workers import Results, Workers

SETTINGS = Settings((None,), ("dielectric",))


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
