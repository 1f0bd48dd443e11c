"""The file of a journal: locked, replaced, or not to be written."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from pathlib import Path

import pytest
from ase.build import bulk

from mftscreen.errors import DataError
from mftscreen.screen.work.journal import DATABASE, Entry, Journal
from mftscreen.screen.work.outcome import Outcome


def test_second_screening_is_refused_and_readers_are_not(
    tmp_path: Path, outcome: Outcome
) -> None:
    with Journal(tmp_path) as journal:
        with pytest.raises(DataError, match="holds no results yet"):
            Journal(tmp_path, read_only=True)
        journal.begin({})
        journal.write([Entry("1", "k1")], {"k1": (outcome, bulk("Si"))})
        with pytest.raises(DataError, match="another screening runs"):
            Journal(tmp_path)
        with Journal(tmp_path, read_only=True) as reader:
            assert not reader.complete
    Journal(tmp_path).close()


def test_folder_on_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(DataError, match=r"cannot be locked.*local file system"):
        Journal(tmp_path)


def test_folder_without_a_journal(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no screening"):
        Journal(tmp_path, read_only=True)


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / DATABASE).touch()
    with pytest.raises(DataError, match="holds no screening"):
        Journal(tmp_path, read_only=True)
    Journal(tmp_path).close()


@pytest.mark.parametrize("what", [".lock", DATABASE, "folder"])
@pytest.mark.parametrize("replaced", [False, True])
def test_what_is_deleted_meanwhile_is_noticed(
    tmp_path: Path, what: str, replaced: bool, outcome: Outcome
) -> None:
    run = tmp_path / "run"
    journal = Journal(run)
    journal.begin({})
    journal.write([Entry("1", "k1")], {"k1": (outcome, bulk("Si"))})
    if what == "folder":
        run.rename(tmp_path / "elsewhere")
    else:
        (run / what).rename(tmp_path / what)
    other = Journal(run) if replaced and what != DATABASE else None
    with pytest.raises(DataError, match="was removed or replaced while the screening"):
        journal.write([Entry("2", "k1")], {})
    if other is not None:
        other.begin({})
        other.write([Entry("3", "k1")], {"k1": (outcome, bulk("Si"))})
        assert [row.id for row in other.rows()] == ["3"]
        other.close()
    journal.close()


def test_folder_that_cannot_be_written(as_nobody: Path) -> None:
    as_nobody.chmod(0o500)
    with pytest.raises(DataError, match="Permission"):
        Journal(as_nobody / "run")


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_journal_in_a_folder_that_cannot_be_written(
    as_nobody: Path, mode: str, outcome: Outcome
) -> None:
    run = as_nobody / "run"
    with Journal(run) as journal:
        journal.begin({})
        journal.write([Entry("1", "k1")], {"k1": (outcome, bulk("Si"))})
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


def test_closed_journal_is_one_file(tmp_path: Path, outcome: Outcome) -> None:
    with Journal(tmp_path) as journal:
        journal.begin({})
        journal.write([Entry("1", "k1")], {"k1": (outcome, bulk("Si"))})
    assert {path.name for path in tmp_path.iterdir()} == {DATABASE, ".lock"}
    # bytes 18 and 19 are 2 with a write-ahead log (sqlite.org/fileformat2.html)
    assert (tmp_path / DATABASE).read_bytes()[18:20] == b"\1\1"
