from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mftscreen.data.readers import iter_rows
from mftscreen.data.readers.molecules import MADE, smiles_to_atoms
from mftscreen.errors import DataError, StructureError
from mftscreen.screen.candidates.stream import iter_candidates

WATER = """{title}
  test

  3  2  0  0  0  0            999 V2000
    0.0000    0.0000    0.1190 O   0  0
    0.0000    0.7630   -0.4770 {heavy}   0  0
    0.0000   -0.7630   -0.4770 H   0  0
  1  2  1  0
  1  3  1  0
M  END
> <gap>
{gap}

$$$$
"""
BARE = """bare
  test  3D

  2  1  0  0  0  0            999 V2000
    0.0000    0.0000    0.1000 C   0  0
    1.4000    0.1000    0.0000 O   0  0
  1  2  1  0
M  END
$$$$
"""


def test_every_record_is_a_row(tmp_path: Path) -> None:
    path = tmp_path / "many.sdf"
    records = [
        WATER.format(title=f"w{k}" if k % 2 else "", gap=k, heavy="H")
        for k in range(40)
    ]
    path.write_text("".join(records))
    rows = list(iter_rows(path))
    assert [row.values["gap"] for row in rows] == [str(k) for k in range(40)]
    assert {str(row.structure.symbols) for row in rows} == {"OH2"}
    np.testing.assert_allclose(rows[0].structure.positions[1], [0, 0.763, -0.477])
    ids = [candidate.id for candidate in iter_candidates(path)]
    assert ids[:4] == ["many.sdf#0", "w1", "many.sdf#2", "w3"]


@pytest.mark.parametrize("name", ["two.mol", "two.sd", "TWO.MOL"])
def test_every_record_under_another_ending(tmp_path: Path, name: str) -> None:
    records = [WATER.format(title=f"w{k}", gap=k, heavy="H") for k in range(2)]
    (tmp_path / name).write_text("".join(records))
    assert [row.name for row in iter_rows(tmp_path / name)] == ["w0", "w1"]


def test_name_in_another_encoding_costs_no_row(tmp_path: Path) -> None:
    records = [WATER.format(title=f"é{k}", gap=k, heavy="H") for k in range(2)]
    (tmp_path / "a.sdf").write_text("".join(records), encoding="latin-1")
    rows = list(iter_rows(tmp_path / "a.sdf"))
    assert [str(row.structure.symbols) for row in rows] == ["OH2"] * 2
    (tmp_path / "a.smi").write_text("C a\né b\nO é\n", encoding="latin-1")
    methane, broken, water = iter_candidates(tmp_path / "a.smi")
    assert (len(methane.atoms), len(water.atoms)) == (5, 3)
    assert "no valid SMILES" in str(broken.structure)


def test_ids_of_a_data_item(tmp_path: Path) -> None:
    text = WATER.format(title="title", gap=1, heavy="H").replace("gap", "ID")
    (tmp_path / "a.sdf").write_text(text.replace("\n1\n", "\n007\n"))
    (row,) = iter_rows(tmp_path / "a.sdf")
    assert row.name == "007"


def test_later_records_are_read_after_a_broken_one(tmp_path: Path) -> None:
    path = tmp_path / "a.sdf"
    water = WATER.format(title="w", gap=1, heavy="H")
    dummy = WATER.format(title="d", gap=1, heavy="R")
    path.write_text(f"{water}broken\n$$$$\n{BARE}{dummy}{water}")
    first, broken, bare, other, last = (row.structure for row in iter_rows(path))
    assert len(first) == len(last) == 3
    assert "molecule 1 is no valid record" in str(broken)
    assert "lacks hydrogens" in str(bare)
    assert isinstance(other, StructureError)


def record(atoms: str, bonds: str, z: float = 0.5) -> str:
    """Return a record without charges; the first atom has the coordinate z."""
    kinds, pairs = atoms.split(), bonds.split()
    lines = [
        f"{1.1 * k:10.4f}{0.3 * k * k:10.4f}{0.0 if k else z:10.4f} {kind:<3} 0  0"
        for k, kind in enumerate(kinds)
    ]
    lines += [f"{int(b[0]) + 1:3d}{int(b[1]) + 1:3d}{int(b[2]):3d}" for b in pairs]
    counts = f"{len(kinds):3d}{len(pairs):3d}  0  0  0  0            999 V2000"
    return "\n".join(["r", "  test", "", counts, *lines, "M  END", "$$$$", ""])


AMMONIUM = ("N H H H H", "011 021 031 041")
GLYCINE = ("N C C O O H H H H H", "011 121 232 241 051 061 071 181 191")


@pytest.mark.parametrize(("molecule", "n_atoms"), [(AMMONIUM, 5), (GLYCINE, 10)])
def test_geometry_counts_though_charges_are_missing(
    tmp_path: Path, molecule: tuple[str, str], n_atoms: int
) -> None:
    (tmp_path / "a.sdf").write_text(record(*molecule))
    (row,) = iter_rows(tmp_path / "a.sdf")
    assert len(row.structure) == n_atoms
    np.testing.assert_allclose(row.structure.positions[:2, 0], [0, 1.1])
    assert "conformer" not in row.structure.info


def test_other_faults_of_charged_molecules_stay_faults(tmp_path: Path) -> None:
    lacking = record("N C H H H", "011 021 031 041")
    (tmp_path / "a.sdf").write_text(record(*AMMONIUM, z=0.0) + lacking)
    flat, bare = (str(row.structure) for row in iter_rows(tmp_path / "a.sdf"))
    assert "bonds are not those of a molecule" in flat
    assert "lacks hydrogens" in bare


def test_file_that_a_table_names(tmp_path: Path) -> None:
    (tmp_path / "w.sdf").write_text(WATER.format(title="w", gap=1, heavy="D"))
    (tmp_path / "t.csv").write_text("id,file\na,w.sdf\n")
    (candidate,) = iter_candidates(tmp_path / "t.csv")
    assert str(candidate.atoms.symbols) == "OH2"


def test_drawing_gets_a_conformer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from rdkit import Chem
    from rdkit.Chem import AllChem

    flat = Chem.MolFromSmiles("CCN")
    AllChem.Compute2DCoords(flat)
    flat.SetProp("_Name", "flat")
    water = WATER.format(title="w", gap=1, heavy="H")
    text = Chem.SDWriter.GetText(flat)
    (tmp_path / "a.sdf").write_text(water + text)
    measured, made = (row.structure for row in iter_rows(tmp_path / "a.sdf"))
    assert "conformer" not in measured.info
    assert (str(made.symbols), made.info["conformer"]) == ("C2NH7", MADE)
    assert "1 of 2 geometries are conformers made here" in caplog.text


def test_list_of_smiles(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = "smiles name\nCCO ethanol\n# comment\n\nC1CC\n*C dummy\n[2H]O[2H] D2O\n"
    (tmp_path / "a.smi").write_text(f"{text}[Na+].[Cl-] salt\nO\n")
    found = {
        c.id: str(c.atoms.symbols if c.atoms is not None else c.structure)
        for c in iter_candidates(tmp_path / "a.smi")
    }
    assert found["ethanol"] == "C2OH6"
    assert (found["D2O"], found["O"]) == ("HOH", "OH2")
    assert found["C1CC"] == "'C1CC' is no valid SMILES"
    assert "dummy atom" in found["dummy"]
    assert "several molecules" in found["salt"]
    assert "3 of 6 geometries are conformers made here" in caplog.text


def test_conformer_is_always_the_same() -> None:
    first, second = (smiles_to_atoms("OCC(O)CO") for _ in range(2))
    np.testing.assert_array_equal(first.positions, second.positions)
    distances = first.get_all_distances()
    assert distances[np.triu_indices(len(first), 1)].min() > 0.9


def test_column_of_smiles(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "t.csv").write_text("id,SMILES,gap\na,CCO,1\nb,xx(,2\nc,,3\n")
    first, second, third = iter_rows(tmp_path / "t.csv")
    assert str(first.structure.symbols) == "C2OH6"
    assert "'xx(' is no valid SMILES" in str(second.structure)
    assert "names no structure in column 'smiles'" in str(third.structure)
    assert "1 of 3 geometries" in caplog.text


@pytest.mark.parametrize("name", ["a.sdf", "a.smi", "a.csv"])
def test_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    importing = builtins.__import__

    def without_rdkit(module: str, *args: Any, **kwargs: Any) -> Any:
        if module.partition(".")[0] == "rdkit":
            raise ModuleNotFoundError(module)
        return importing(module, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_rdkit)
    (tmp_path / name).write_text("id,smiles\na,O\n")
    with pytest.raises(DataError, match=r"pip install 'mftscreen\[molecules\]'"):
        list(iter_rows(tmp_path / name))


def test_charges_are_kept() -> None:
    assert smiles_to_atoms("[NH4+]").info["charge"] == 1
    assert smiles_to_atoms("[O-]C(=O)C(=O)[O-]").info["charge"] == -2
    assert "charge" not in smiles_to_atoms("CCO").info


def test_a_valence_that_rdkit_does_not_survive_is_a_row(tmp_path: Path) -> None:
    lines = record(*AMMONIUM).split("\n")
    lines[4] += " 0  0  0999999999"
    (tmp_path / "a.sdf").write_text("\n".join(lines) + record(*GLYCINE))
    first, second = (row.structure for row in iter_rows(tmp_path / "a.sdf"))
    assert isinstance(first, DataError | StructureError)
    assert len(second) == 10
