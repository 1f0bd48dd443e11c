from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from pymatgen.core import Lattice, Structure

from mftscreen.data.memory import RowsInMemory, find_structure_column, iter_memory
from mftscreen.data.readers import Row
from mftscreen.data.sources import read_labelled
from mftscreen.errors import DataError, StructureError


def _named() -> Atoms:
    atoms = bulk("MgO", "rocksalt", a=4.2)
    atoms.info = {"material_id": "mp-1265", "gap": 4.4}
    return atoms


STRUCTURE = Structure(Lattice.cubic(4.0), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.mark.parametrize(
    ("source", "names"),
    [
        (bulk("Si"), ["0"]),
        (STRUCTURE, ["0"]),
        (STRUCTURE.as_dict(), ["0"]),
        ([bulk("Si"), STRUCTURE, _named()], ["0", "1", "mp-1265"]),
        ((a for a in [bulk("Si")]), ["0"]),
        ([("a", bulk("Si")), (7, STRUCTURE)], ["a", "7"]),
        ({"a": bulk("Si"), "b": STRUCTURE}, ["a", "b"]),
        (pd.Series([bulk("Si")], index=["x"]), ["x"]),
        (pd.DataFrame({"atoms": [bulk("Si")], "mp_id": ["mp-149"]}), ["mp-149"]),
        (pd.DataFrame({"atoms": [bulk("Si")], "gap": [1.1]}, index=["r"]), ["r"]),
        (pd.DataFrame({"atoms": [bulk("Si")], "gap": [1.1]}), ["0"]),
        ([], []),
    ],
)
def test_structures_are_found_with_their_ids(source: Any, names: list[str]) -> None:
    rows = list(iter_memory(source))
    assert [row.name for row in rows] == names
    assert all(isinstance(row.structure, Atoms) for row in rows)


def test_values_are_info_results_and_columns() -> None:
    atoms = _named()
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0)
    (row,) = iter_memory(pd.DataFrame({"s": [atoms], "gap": [5.0], "note": ["x"]}))
    assert row.values == {
        "material_id": "mp-1265", "gap": 5.0, "note": "x", "energy": -1.0
    }  # fmt: skip
    atoms.positions += 0.1  # the energy is of other positions
    (row,) = iter_memory(atoms)
    assert "energy" not in row.values


def test_what_is_no_structure_stays_as_an_error() -> None:
    disordered = Structure(Lattice.cubic(4.0), [{"Si": 0.5, "Ge": 0.5}], [[0, 0, 0]])
    rows = list(iter_memory([disordered, "Si", None, DataError("broken")]))
    assert isinstance(rows[0].structure, StructureError)
    assert "disordered" in str(rows[0].structure)
    assert "got str" in str(rows[1].structure)
    assert str(rows[3].structure) == "broken"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (3, "int is not understood"),
        ("pool.db", "str is not understood"),
        (None, "NoneType is not understood"),
        (pd.DataFrame({"a": [1]}), "no column of the table holds structures"),
        (pd.DataFrame({"x": [bulk("Si")], "y": [bulk("Ge")]}), "several columns"),
    ],
)
def test_other_things_are_refused(source: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(iter_memory(source))


def test_a_column_may_be_named() -> None:
    table = pd.DataFrame({"x": [bulk("Si")], "structure": [bulk("Ge")]})
    assert find_structure_column(table) == "structure"
    assert find_structure_column(table, "x") == "x"
    with pytest.raises(DataError, match="no column 'z'; there is x, structure"):
        find_structure_column(table, "z")
    numbered: Any = 5  # pandas numbers what has no names
    with pytest.raises(DataError, match="no column 5; there is 0"):
        find_structure_column(pd.DataFrame([1]), numbered)


def test_labels_are_read_from_memory() -> None:
    table = pd.DataFrame({"atoms": [bulk("Si"), bulk("Ge")], "gap": [1.1, np.nan]})
    rows = RowsInMemory.of(table)
    with pytest.raises(DataError, match=r"2 rows in memory: 1 row cannot be used"):
        list(read_labelled(rows, "gap"))
    (row,) = read_labelled(RowsInMemory.of(table[:1]), "gap")
    assert row.labels["gap"] == 1.1
    with pytest.raises(DataError, match="no label 'Eg'; there is gap"):
        list(read_labelled(RowsInMemory.of(table), "Eg"))
    grouped = RowsInMemory([Row("a", bulk("Si"), {"gap": 1.0}, "cubic")], "mine")
    assert [row.group for row in read_labelled(grouped, "gap")] == ["cubic"]
    assert len(grouped) == 1
    assert repr(grouped) == "<mine>"
