from __future__ import annotations

from pathlib import Path

import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.db import connect
from ase.io import write

from mftscreen.data.readers import UnknownFormatError, iter_rows
from mftscreen.errors import DataError, StructureError


@pytest.mark.parametrize("name", ["one.extxyz", "one.extxyz.gz", "one.traj", "one.db"])
def test_values_are_labels_and_results(tmp_path: Path, name: str) -> None:
    atoms = bulk("Cu")
    atoms.calc = EMT()
    energy = atoms.get_potential_energy()
    path = tmp_path / name
    if name.endswith(".db"):
        with connect(path) as database:
            database.write(atoms, gap=1.5, note="x")
    else:
        atoms.info = {"gap": 1.5, "name": "copper"}
        write(path, atoms)
    (row,) = iter_rows(path)
    assert row.name == ("1" if name.endswith(".db") else "copper")
    assert row.values["gap"] == 1.5
    assert row.values["energy"] == pytest.approx(energy, abs=1e-7)


def test_cells_of_a_table_keep_their_columns_names(tmp_path: Path) -> None:
    write(tmp_path / "a.cif", bulk("Cu"))
    (tmp_path / "t.csv").write_text("ID,File,Gap eV\nx,a.cif,1.5\ny,b.cif,2\n")
    first, second = iter_rows(tmp_path / "t.csv")
    assert first.name == "x"
    assert first.values == {"ID": "x", "File": "a.cif", "Gap eV": "1.5"}
    assert isinstance(second.structure, DataError)
    assert second.values["Gap eV"] == "2"


def test_values_stay_with_a_structure_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text('[{"id": "x", "structure": {}, "gap": 1.5}]')
    (row,) = iter_rows(tmp_path / "one.json")
    assert isinstance(row.structure, StructureError)
    assert row.values == {"id": "x", "gap": 1.5}


def test_other_files_are_read_by_ase(tmp_path: Path) -> None:
    write(tmp_path / "a.cif", bulk("Cu"))
    (row,) = iter_rows(tmp_path / "a.cif")
    assert str(row.structure.symbols) == "Cu"
    (tmp_path / "notes.odt").write_text("nothing")
    with pytest.raises(UnknownFormatError):
        list(iter_rows(tmp_path / "notes.odt"))
