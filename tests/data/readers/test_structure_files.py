from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write

from mftscreen.data.readers import iter_structure_file, structure_files
from mftscreen.data.readers.structure_files import read_cif_text, read_structure
from mftscreen.errors import DataError, StructureError
from mftscreen.screen.candidates.stream import iter_candidates

CASES = Path(__file__).parent / "cases"
MGO = (CASES / "53-POSCAR-lowcase").read_text()


def test_every_frame_of_a_gromacs_file(tmp_path: Path) -> None:
    text = ""
    for k in range(3):
        write(
            tmp_path / "one.gro", Atoms("OH", [[0, 0, 0], [0, 0, 1 + k]], cell=[9] * 3)
        )
        text += (tmp_path / "one.gro").read_text()
    (tmp_path / "all.gro").write_text(text)
    frames = list(iter_structure_file(tmp_path / "all.gro"))
    found = [atoms.get_distance(0, 1) for atoms in frames]
    np.testing.assert_allclose(found, [1, 2, 3], atol=0.02)


@pytest.mark.parametrize(
    ("species", "formula"),
    [
        ("Mg O", "Mg4O4"), ("mg o", "Mg4O4"), ("Mg2+ O2-", "Mg4O4"),
        ("Mg_pv O_s", "Mg4O4"), ("Mg/1a2b O/3c4d", "Mg4O4"), ("Mg O ! x", "Mg4O4"),
        ("Fe3+ D", "Fe4H4"),
    ],
)  # fmt: skip
def test_species_of_a_poscar(tmp_path: Path, species: str, formula: str) -> None:
    (tmp_path / "POSCAR").write_text(MGO.replace("mg o", species))
    assert str(read_structure(tmp_path / "POSCAR").symbols) == formula


@pytest.mark.parametrize("species", ["Mg Va", "X O", "Mg Ow"])
def test_species_of_a_poscar_that_are_none(tmp_path: Path, species: str) -> None:
    (tmp_path / "POSCAR").write_text(MGO.replace("mg o", species))
    with pytest.raises(DataError, match=r"POSCAR: '[A-Za-z]+' is .*(element|symbol)"):
        read_structure(tmp_path / "POSCAR")


def test_every_one_of_several_poscars(tmp_path: Path) -> None:
    path = tmp_path / "all.vasp"
    for atoms in (bulk("MgO", "rocksalt", a=4.2), bulk("Si"), bulk("Cu")):
        atoms.write(tmp_path / "POSCAR", format="vasp")
        with path.open("a") as stream:
            stream.write((tmp_path / "POSCAR").read_text())
    found = [str(atoms.symbols) for atoms in iter_structure_file(path)]
    assert found == ["MgO", "Si2", "Cu"]


def test_poscar_of_a_simulation_is_one(tmp_path: Path) -> None:
    path = tmp_path / "CONTCAR"
    bulk("MgO", "rocksalt", a=4.2).write(path, format="vasp")
    zeros = "0.0 0.0 0.0\n"
    with path.open("a") as stream:
        stream.write(f"Lattice velocities and vectors\n1\n{zeros * 6}")
        stream.write(f"Cartesian\n{zeros * 2}\n1\n0.5\n{zeros * 6}")
    assert [str(a.symbols) for a in iter_structure_file(path)] == ["MgO"]


def test_poscar_of_vasp_4_names_its_species_in_the_title(tmp_path: Path) -> None:
    text = MGO.replace("MgO\n", "Mg O\n", 1).replace("mg o\n", "")
    (tmp_path / "POSCAR").write_text(text)
    assert str(read_structure(tmp_path / "POSCAR").symbols) == "Mg4O4"


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8-sig", "utf-16"])
def test_cif_in_other_encodings(tmp_path: Path, encoding: str) -> None:
    text = (CASES / "10-Fm-3m.cif").read_text() + "_publ_author_name 'Möller'\n"
    (tmp_path / "a.cif").write_bytes(text.encode(encoding))
    assert str(read_structure(tmp_path / "a.cif").symbols) == "Mg4O4"


def test_bad_block_of_a_cif_is_one_candidate(tmp_path: Path) -> None:
    good = (CASES / "10-Fm-3m.cif").read_text()
    bad = (CASES / "16-shared-no-occ.cif").read_text()
    (tmp_path / "a.cif").write_text(good + bad + good)
    found = list(iter_candidates(tmp_path / "a.cif"))
    assert [c.id for c in found] == ["a.cif", "a.cif#1", "a.cif#2"]
    assert [c.atoms is None for c in found] == [False, True, False]
    with pytest.raises(StructureError, match="mixed site"):
        read_cif_text(good + bad)


def test_warnings_of_a_reader_name_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def reading(*args: Any, **options: Any) -> Iterator[Atoms]:
        for _ in range(2):
            warnings.warn("guessed the cell", UserWarning, stacklevel=1)
            yield bulk("Si")

    monkeypatch.setattr(structure_files, "iread", reading)
    write(tmp_path / "a.xsf", bulk("Si"))
    assert len(list(iter_structure_file(tmp_path / "a.xsf"))) == 2
    (record,) = caplog.records
    assert record.getMessage() == f"{tmp_path / 'a.xsf'}: guessed the cell"
