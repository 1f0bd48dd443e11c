"""The tables of a journal: all or nothing, and what is in them."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ase.build import bulk

from mftscreen.errors import DataError
from mftscreen.screen.work.journal import DATABASE, Entry, Journal
from mftscreen.screen.work.outcome import Outcome


def test_known_takes_any_number_of_keys(outcome: Outcome) -> None:
    with Journal(None) as journal:
        journal.begin({})
        journal.write([], {"k7": (outcome, bulk("Si"))})
        assert journal.known([f"k{i}" for i in range(3000)]) == {"k7"}


def test_a_write_that_fails_leaves_nothing(outcome: Outcome) -> None:
    class Odd:
        numbers = positions = None

    with Journal(None) as journal:
        journal.begin({})
        with pytest.raises(AttributeError):
            journal.write([Entry("1", "k")], {"k": (outcome, Odd())})  # type: ignore[dict-item]
        assert list(journal.rows()) == []
        journal.write([Entry("1", "k")], {"k": (outcome, bulk("Si"))})
        assert len(list(journal.rows())) == 1


def test_a_reader_sees_one_moment(tmp_path: Path, outcome: Outcome) -> None:
    with Journal(tmp_path) as journal:
        journal.begin({"n": 1})
        journal.write([Entry("1", "k1")], {"k1": (outcome, bulk("Si"))})
        with Journal(tmp_path, read_only=True) as reader:
            journal.begin({"n": 2})
            journal.write([Entry("2", "k1"), Entry("3", "k1")], {})
            journal.finish()
            assert not reader.complete
            assert reader.description == {"n": 1}
            assert [row.id for row in reader.rows()] == ["1"]
            assert len(reader.structures([0])) == 1


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
def test_damaged_contents(tmp_path: Path, statement: str, outcome: Outcome) -> None:
    with Journal(tmp_path) as journal:
        journal.begin({})
        journal.write([Entry("1", "k1")], {"k1": (outcome, bulk("Si"))})
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
