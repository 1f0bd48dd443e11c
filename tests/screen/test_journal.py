"""The run directory: transactions, resuming, locking, damage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from mftscreen.errors import DataError
from mftscreen.screen.journal import DATABASE, Entry, Journal
from mftscreen.screen.outcome import Outcome, Relaxation

OUTCOME = Outcome(
    formula="Si",
    values={"gap": (0.1 + 0.2, 1e-300)},
    p_values={"gap": 1 / 3},
    unseen_elements={"gap": ["W"]},
    unseen_pairs=["Cu d10 – O p4"],
    low_dimensional=False,
    relaxation=Relaxation(True, 3, 0.01, -0.02),
)


def silicon(a: float = 5.43) -> Atoms:
    return bulk("Si", a=a)


def test_outcome_round_trip_is_exact() -> None:
    assert Outcome.from_json(OUTCOME.to_json()) == OUTCOME
    assert Outcome.from_json(Outcome().to_json()) == Outcome()


def test_rows_are_in_order_and_survive_closing(tmp_path: Path) -> None:
    failed = Outcome("unreadable", "row 2 is cut short")
    with Journal(tmp_path / "run") as journal:
        journal.begin({"command": "rank"})
        entries = [Entry("b", "k1"), Entry("x", None, failed), Entry("a", "k1")]
        journal.write(entries, {"k1": (OUTCOME, silicon())})
        assert not journal.complete
        journal.finish()
    with Journal(tmp_path / "run", read_only=True) as journal:
        assert journal.complete
        assert journal.description == {"command": "rank"}
        rows = list(journal.rows(structures=True))
    assert [row.id for row in rows] == ["b", "x", "a"]
    assert [row.outcome for row in rows] == [OUTCOME, failed, OUTCOME]
    assert [row.duplicate_of for row in rows] == ["", "", "b"]
    assert np.array_equal(rows[2].atoms.positions, silicon().positions)
    assert rows[1].atoms is None


def test_a_new_screening_keeps_outcomes_only(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.begin({})
        journal.write([Entry("1", "k1")], {"k1": (OUTCOME, silicon())})
        journal.finish()
        journal.begin({})
        assert not journal.complete
        assert list(journal.rows()) == []
        assert journal.known(["k1", "k2"]) == {"k1"}


def test_failures_of_the_machine_are_tried_again(tmp_path: Path) -> None:
    outcomes = {
        status: (Outcome(status), silicon())
        for status in ("ok", "invalid_geometry", "out_of_memory", "worker_died")
    }
    with Journal(tmp_path) as journal:
        journal.begin({})
        journal.write([], outcomes)
        assert journal.known(outcomes) == {"ok", "invalid_geometry"}


def test_known_takes_any_number_of_keys() -> None:
    with Journal(None) as journal:
        journal.begin({})
        journal.write([], {"k7": (OUTCOME, silicon())})
        assert journal.known([f"k{i}" for i in range(3000)]) == {"k7"}


def test_a_write_that_fails_leaves_nothing() -> None:
    class Odd:
        numbers = positions = None

    with Journal(None) as journal:
        journal.begin({})
        with pytest.raises(AttributeError):
            journal.write([Entry("1", "k")], {"k": (OUTCOME, Odd())})  # type: ignore[dict-item]
        assert list(journal.rows()) == []
        journal.write([Entry("1", "k")], {"k": (OUTCOME, silicon())})
        assert len(list(journal.rows())) == 1


def test_second_screening_is_refused_and_readers_are_not(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.begin({})
        with pytest.raises(DataError, match="another screening runs"):
            Journal(tmp_path)
        with Journal(tmp_path, read_only=True) as reader:
            assert not reader.complete
    Journal(tmp_path).close()


def test_killed_while_writing(tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from ase.build import bulk
from mftscreen.screen.journal import Entry, Journal
from mftscreen.screen.outcome import Outcome
journal = Journal(Path({str(tmp_path)!r}))
journal.begin({{}})
for chunk in range(10**6):
    keys = [f"{{chunk}}-{{k}}" for k in range(5)]
    journal.write(
        [Entry(key, key) for key in keys],
        {{key: (Outcome(), bulk("Si")) for key in keys}},
    )
    print(chunk, flush=True)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 20:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.stdout.close()
    process.wait()
    with Journal(tmp_path) as journal:
        ids = [row.id for row in journal.rows(structures=True)]
        assert len(ids) >= 21 * 5
        assert len(ids) % 5 == 0
        assert journal.known(ids) == set(ids)


def test_folder_without_a_journal(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no screening"):
        Journal(tmp_path, read_only=True)


def test_damaged_journal(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"not a database" * 100)
    for read_only in (True, False):
        with pytest.raises(DataError, match="cannot be used"):
            Journal(tmp_path, read_only=read_only)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="Permission"):
        Journal(tmp_path / "run")
