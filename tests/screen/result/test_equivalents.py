"""Candidates that are one structure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk
from ase.db import connect

from mftscreen import ScreenResult, rank
from mftscreen.errors import (
    ConfigError,
)
from mftscreen.screen.result.screen_result import read_options, read_result
from mftscreen.screen.work.journal import Journal


def write_pool(path: Path, structures: Sequence[Atoms]) -> Path:
    with connect(path, append=False) as database:
        for atoms in structures:
            database.write(atoms)
    return path


def test_equivalents_are_copies_if_asked_for(tmp_path: Path, tiny_model: Path) -> None:
    magnesia, silicon = bulk("MgO", "rocksalt", a=4.2), bulk("Si")
    turned = magnesia.copy()
    turned.rotate(40, (1, 2, 3), rotate_cell=True)
    cubic = bulk("MgO", "rocksalt", a=4.2, cubic=True)
    lead = [Atoms("Pb"), Atoms("Pb", cell=[3.0] * 3, pbc=True)]  # not known: no values
    other = bulk("MgO", "rocksalt", a=4.242)
    structures = [
        silicon,
        magnesia,
        *lead,
        turned,
        other,
        cubic,
        magnesia,
        cubic,
        *lead,
    ]
    pool = write_pool(tmp_path / "pool.db", structures)

    def copies(result: ScreenResult) -> dict[str, str]:
        return {row.id: row.duplicate_of for row in result.rows if row.duplicate_of}

    run = tmp_path / "run"
    identical = {"8": "2", "9": "7", "10": "3", "11": "4"}
    result = rank(pool, goals="gap:max", models=tiny_model, run=run)
    assert copies(result) == identical
    assert sum(r is not None for r in result.ranks) == 5
    with Journal(run, read_only=True) as journal:
        options = read_options(journal, duplicates="equivalent")
        again = read_result(journal, options, structures=False)
    expected = identical | dict.fromkeys("5789", "2")
    assert copies(again) == expected
    assert [row.id for row in again.top(9)] == [
        row.id for row in result.top(9) if row.id in "126"
    ]
    assert {row.atoms for row in again.rows} == {None}
    at_once = rank(
        pool, goals="gap:max", models=tiny_model, duplicates="equivalent", run=run
    )
    assert copies(at_once) == expected
    with Journal(run, read_only=True) as journal:
        assert read_options(journal).duplicates == "equivalent"
    with pytest.raises(ConfigError, match="duplicates: one of identical, equivalent"):
        rank(pool, goals="gap:max", models=tiny_model, duplicates="similar")  # type: ignore[arg-type]
