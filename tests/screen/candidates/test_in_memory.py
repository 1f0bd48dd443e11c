from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ase import Atoms
from ase.build import bulk
from pymatgen.core import Lattice, Structure

from mftscreen.errors import DataError
from mftscreen.screen.candidates.in_memory import (
    count_in_memory,
    is_in_memory,
    memory_rows,
)

ONE = Structure(Lattice.cubic(4.0), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.mark.parametrize(
    ("source", "in_memory", "number"),
    [
        ("pool.db", False, None),
        (Path("pool.db"), False, None),
        (["a.cif", Path("b.cif")], False, None),
        ([], True, 0),
        (bulk("Si"), True, 1),
        (ONE, True, 1),
        (ONE.as_dict(), True, 1),
        ([bulk("Si"), ONE], True, 2),
        ((atoms for atoms in [bulk("Si")]), True, None),
        (pd.DataFrame({"atoms": [bulk("Si")] * 3}), True, 3),
        ({"a": bulk("Si"), "b": ONE}, True, 2),
        (3, True, None),
    ],
)
def test_what_is_in_memory_is_told_from_paths(
    source: Any, in_memory: bool, number: int | None
) -> None:
    assert is_in_memory(source) == in_memory
    if in_memory:
        assert count_in_memory(source) == number


def test_rows_can_be_sent_to_other_processes() -> None:
    atoms = bulk("Si")
    atoms.calc = object()
    ((name, structure, _),) = memory_rows({"a": atoms}, None, None)
    assert name == "a"
    assert isinstance(structure, Atoms)
    assert structure.calc is None
    assert atoms.calc is not None
    with pytest.raises(DataError, match=r"a query \('O'\) needs an ase.db"):
        list(memory_rows([atoms], "O", None))
