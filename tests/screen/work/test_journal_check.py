"""Damage: noticed by checksums, which an older journal gets."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from mftscreen.errors import DataError
from mftscreen.screen.work.journal import DATABASE, Entry, Journal
from mftscreen.screen.work.outcome import Outcome


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
                    bulk("Si", a=5 + rng.random()),
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
    places = [*range(row - 40, row + 120, 3), *rng.choice(len(content), 150)]
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
    assert detected > 60


def test_a_damaged_outcome_is_computed_again(tmp_path: Path, outcome: Outcome) -> None:
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
        journal.write(entries, {lost: (outcome, bulk("Si"))})
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
