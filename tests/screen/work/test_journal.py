"""The run directory: transactions, resuming, locking, damage."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from mftscreen.errors import DataError
from mftscreen.screen.work.journal import DATABASE, Entry, Journal
from mftscreen.screen.work.outcome import Outcome, Relaxation

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
        journal.write([Entry("2", None, OUTCOME)], {})
        assert not journal.complete
        assert [row.id for row in journal.rows()] == ["2"]
        assert journal.known(["k1", "k2"]) == {"k1"}


def test_a_screening_that_fails_at_its_start_leaves_the_last_one(
    tmp_path: Path,
) -> None:
    with Journal(tmp_path) as journal:
        journal.begin({"n": 1})
        journal.write([Entry("1", "k1")], {"k1": (OUTCOME, silicon())})
        journal.finish()
        journal.begin({"n": 2})
        assert (journal.complete, journal.description) == (True, {"n": 1})
        with pytest.raises(AttributeError):
            journal.write([Entry("2", None, "no outcome")], {})  # type: ignore[arg-type]
        assert (journal.complete, journal.description) == (True, {"n": 1})
    with Journal(tmp_path, read_only=True) as journal:
        assert [row.id for row in journal.rows()] == ["1"]
    with Journal(tmp_path) as journal:
        journal.begin({"n": 3})
        journal.finish()  # of an empty source
        assert (journal.complete, journal.description) == (True, {"n": 3})
        assert list(journal.rows()) == []
        journal.write([Entry("3", "k1")], {})
        assert np.array_equal(journal.structures([0])[0].positions, silicon().positions)


def test_failures_of_the_machine_are_tried_again(tmp_path: Path) -> None:
    outcomes = {
        status: (Outcome(status), silicon())
        for status in ("ok", "invalid_geometry", "out_of_memory", "worker_died")
    }
    with Journal(tmp_path) as journal:
        journal.begin({})
        journal.write([], outcomes)
        assert journal.known(outcomes) == {
            "ok", "invalid_geometry", "worker_died",
        }  # fmt: skip


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
        with pytest.raises(DataError, match="holds no results yet"):
            Journal(tmp_path, read_only=True)
        journal.begin({})
        journal.write([Entry("1", "k1")], {"k1": (OUTCOME, silicon())})
        with pytest.raises(DataError, match="another screening runs"):
            Journal(tmp_path)
        with Journal(tmp_path, read_only=True) as reader:
            assert not reader.complete
    Journal(tmp_path).close()


def test_a_reader_sees_one_moment(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.begin({"n": 1})
        journal.write([Entry("1", "k1")], {"k1": (OUTCOME, silicon())})
        with Journal(tmp_path, read_only=True) as reader:
            journal.begin({"n": 2})
            journal.write([Entry("2", "k1"), Entry("3", "k1")], {})
            journal.finish()
            assert not reader.complete
            assert reader.description == {"n": 1}
            assert [row.id for row in reader.rows()] == ["1"]
            assert len(reader.structures([0])) == 1


def test_folder_on_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(DataError, match=r"cannot be locked.*local file system"):
        Journal(tmp_path)


def test_killed_while_writing(tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from ase.build import bulk
from mftscreen.screen.work.journal import Entry, Journal
from mftscreen.screen.work.outcome import Outcome
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


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / DATABASE).touch()
    with pytest.raises(DataError, match="holds no screening"):
        Journal(tmp_path, read_only=True)
    Journal(tmp_path).close()


def refusal(call: Callable[[], object]) -> str:
    """Return the message of a DataError, if there is one."""
    try:
        call()
    except DataError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "statement",
    [
        'UPDATE outcomes SET outcome = \'{"status": "ok"}\'',
        "UPDATE outcomes SET outcome = '[]'",
        "UPDATE outcomes SET outcome = NULL",
        "UPDATE outcomes SET outcome = 'x'",
        "UPDATE outcomes SET atoms = x'00'",
        "DELETE FROM outcomes",
        "DROP TABLE outcomes",
        "UPDATE meta SET value = '7' WHERE name = 'description'",
        "UPDATE meta SET value = '{' WHERE name = 'description'",
    ],
)
def test_damaged_contents(tmp_path: Path, statement: str) -> None:
    with Journal(tmp_path) as journal:
        journal.begin({})
        journal.write([Entry("1", "k1")], {"k1": (OUTCOME, silicon())})
        journal.finish()
    database = sqlite3.connect(tmp_path / DATABASE)
    with database:
        database.execute(statement)
    database.close()
    messages = {refusal(lambda: read_all(tmp_path))}
    with Journal(tmp_path) as journal:
        readings: list[Callable[[], object]] = [
            lambda: journal.description,
            lambda: list(journal.rows()),
            lambda: journal.structures([0]),
        ]
        messages |= {refusal(reading) for reading in readings} - {""}
        # what is damaged is computed again
        if "outcomes SET" in statement:
            assert journal.known(["k1"]) == set()
    assert all(f"{tmp_path}: the journal" in message for message in messages)


def read_all(folder: Path) -> tuple[object, ...]:
    """Return whatever a reader can learn from a journal."""
    with Journal(folder, read_only=True) as journal:
        rows = [
            (r.id, r.outcome, r.duplicate_of, r.atoms and r.atoms.todict())
            for r in journal.rows(structures=True)
        ]
        return repr(rows), journal.complete, journal.description, journal.known(KEYS)


KEYS = [f"key-{k:03d}" for k in range(20)]


def make_journal(folder: Path) -> None:
    rng = np.random.default_rng(3)
    with Journal(folder) as journal:
        journal.begin({"command": "rank", "units": {"gap": "eV"}})
        for part in (KEYS[:10], KEYS[10:]):
            outcomes = {
                key: (
                    Outcome(formula="Si", values={"gap": (rng.random(),)}),
                    silicon(5 + rng.random()),
                )
                for key in part
            }
            journal.write([Entry(f"id {key}", key) for key in part], outcomes)
        journal.write([Entry("copy", KEYS[3]), Entry("x", None, Outcome("bad"))], {})
        journal.finish()


def test_a_changed_byte_never_changes_what_is_read(tmp_path: Path) -> None:
    make_journal(tmp_path)
    path = tmp_path / DATABASE
    content, whole = path.read_bytes(), read_all(tmp_path)
    rng = np.random.default_rng(7)
    # all of the text and the numbers of a row, and places all over the file
    row = content.index(b'{"status": "ok"')
    places = [*range(row - 40, row + 120, 3), *rng.choice(len(content), 500)]
    detected = 0
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            found = read_all(tmp_path)
        except DataError:
            detected += 1
        else:
            known = found[-1]
            assert isinstance(known, set)
            assert known <= set(KEYS)
            assert found[:-1] == whole[:-1]
    assert detected > 100


def test_a_damaged_outcome_is_computed_again(tmp_path: Path) -> None:
    make_journal(tmp_path)
    path = tmp_path / DATABASE
    content = path.read_bytes()
    at = content.index(b'"values": {"gap": [0.') + 21
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    with pytest.raises(DataError, match=r"row of 'id key-\d+' has changed; give the"):
        read_all(tmp_path)
    with Journal(tmp_path) as journal:
        (lost,) = set(KEYS) - journal.known(KEYS)
        journal.begin({})
        entries = [Entry(key, key) for key in KEYS]
        journal.write(entries, {lost: (OUTCOME, silicon())})
        journal.finish()
        assert journal.known(KEYS) == set(KEYS)
    assert "'gap': (0.30000000000000004, 1e-300)" in str(read_all(tmp_path)[0])


def make_unchecked(folder: Path) -> None:
    """Take the checksums out of a journal, as those of format 1 had none."""
    database = sqlite3.connect(folder / DATABASE)
    with database:
        for table in ("meta", "outcomes", "candidates"):
            database.execute(f"ALTER TABLE {table} DROP COLUMN checksum")
        database.execute("DELETE FROM meta WHERE name IN ('n_candidates', 'in_flight')")
        database.execute("UPDATE meta SET value = '1' WHERE name = 'format'")
    database.close()


def test_journal_without_checksums_is_read_and_gets_them(tmp_path: Path) -> None:
    make_journal(tmp_path)
    whole = read_all(tmp_path)
    make_unchecked(tmp_path)
    assert read_all(tmp_path) == whole
    with Journal(tmp_path) as journal:
        assert journal.known(KEYS) == set(KEYS)
    assert read_all(tmp_path) == whole
    content = (tmp_path / DATABASE).read_bytes()
    (tmp_path / DATABASE).write_bytes(content.replace(b"id key-007", b"id key-999"))
    with pytest.raises(DataError, match="row of 'id key-999' has changed"):
        read_all(tmp_path)


@pytest.mark.parametrize("what", [".lock", DATABASE, "folder"])
@pytest.mark.parametrize("replaced", [False, True])
def test_what_is_deleted_meanwhile_is_noticed(
    tmp_path: Path, what: str, replaced: bool
) -> None:
    run = tmp_path / "run"
    journal = Journal(run)
    journal.begin({})
    journal.write([Entry("1", "k1")], {"k1": (OUTCOME, silicon())})
    if what == "folder":
        run.rename(tmp_path / "elsewhere")
    else:
        (run / what).rename(tmp_path / what)
    other = Journal(run) if replaced and what != DATABASE else None
    with pytest.raises(DataError, match="was removed or replaced while the screening"):
        journal.write([Entry("2", "k1")], {})
    if other is not None:
        other.begin({})
        other.write([Entry("3", "k1")], {"k1": (OUTCOME, silicon())})
        assert [row.id for row in other.rows()] == ["3"]
        other.close()
    journal.close()


def test_what_was_in_flight_when_a_process_died_is_suspect(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.begin({})
        with journal.in_flight(["k1", "k2"]):
            pass  # died here, as far as the journal can tell
        assert journal.suspects(["k1", "k3"]) == set()
    with Journal(tmp_path) as journal:
        journal.begin({})
        assert journal.suspects(["k1", "k2", "k3"]) == {"k1", "k2"}
        with pytest.raises(KeyboardInterrupt), journal.in_flight(["k3"]):
            raise KeyboardInterrupt
    with Journal(tmp_path) as journal:
        assert journal.suspects(["k1", "k2", "k3"]) == set()
        journal.begin({})
        with journal.in_flight(["k1"]):
            journal.write([], {"k1": (OUTCOME, silicon())})
    with Journal(tmp_path) as journal:
        assert journal.suspects(["k1", "k2"]) == set()


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM meta WHERE name = 'format'", "UPDATE meta SET value = '3'"],
)
def test_journal_of_another_version(tmp_path: Path, statement: str) -> None:
    with Journal(tmp_path) as journal:
        journal.begin({})
        journal.finish()
    database = sqlite3.connect(tmp_path / DATABASE)
    with database:
        database.execute(statement)
    database.close()
    for read_only in (True, False):
        with pytest.raises(DataError, match=r"another version.*use another folder"):
            Journal(tmp_path, read_only=read_only)


def test_damaged_journal(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"not a database" * 100)
    for read_only in (True, False):
        with pytest.raises(DataError, match="cannot be used"):
            Journal(tmp_path, read_only=read_only)


def test_folder_that_cannot_be_written(as_nobody: Path) -> None:
    as_nobody.chmod(0o500)
    with pytest.raises(DataError, match="Permission"):
        Journal(as_nobody / "run")


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_journal_in_a_folder_that_cannot_be_written(as_nobody: Path, mode: str) -> None:
    run = as_nobody / "run"
    with Journal(run) as journal:
        journal.begin({})
        journal.write([Entry("1", "k1")], {"k1": (OUTCOME, silicon())})
        journal.finish()
    database = sqlite3.connect(run / DATABASE)
    database.execute(f"PRAGMA journal_mode={mode}")
    database.close()
    run.chmod(0o500)
    for path in run.iterdir():
        path.chmod(0o400)
    with Journal(run, read_only=True) as journal:
        assert [row.id for row in journal.rows()] == ["1"]
    run.chmod(0o700)


def test_closed_journal_is_one_file(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.begin({})
        journal.write([Entry("1", "k1")], {"k1": (OUTCOME, silicon())})
    assert {path.name for path in tmp_path.iterdir()} == {DATABASE, ".lock"}
    # bytes 18 and 19 are 2 with a write-ahead log (sqlite.org/fileformat2.html)
    assert (tmp_path / DATABASE).read_bytes()[18:20] == b"\1\1"
