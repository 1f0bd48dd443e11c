from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from mftscreen.data.readers import iter_extxyz
from mftscreen.errors import DataError
from mftscreen.screen.candidates.stream import iter_candidates

NINE = "4.2 0 0 0 4.2 0 0 0 4.2"
COLUMNS = "Properties=species:S:1:pos:R:3:forces:R:3"


def frame(path: Path, comment: str, species: str = "Mg") -> Atoms | DataError:
    path.write_text(f"2\n{comment}\n{species} 0 0 0 0 0 .1\nO 2.1 0 0 0 0 -.1\n")
    (found,) = iter_extxyz(path)
    return found


@pytest.mark.parametrize(
    "comment",
    [
        f'Lattice="{NINE}" {COLUMNS} energy=-1',
        f'lattice="{NINE}" {COLUMNS} energy=-1',
        f'LATTICE="{NINE}" {COLUMNS} ENERGY=-1',
        f'Lattice = "{NINE}" {COLUMNS} Energy = -1',
        f"Lattice=[{NINE.replace(' ', ',')}] {COLUMNS} energy=-1",
        f'lattice="{NINE}" properties=species:s:1:pos:r:3:force:r:3 energy=-1',
        f'lattice="{NINE}" Properties=element:S:1:position:R:3:Forces:R:3 energy=-1',
    ],
)
def test_spellings_of_one_frame(tmp_path: Path, comment: str) -> None:
    atoms = frame(tmp_path / "a.xyz", comment)
    assert isinstance(atoms, Atoms)
    assert str(atoms.symbols) == "MgO"
    assert atoms.pbc.all()
    np.testing.assert_array_equal(atoms.cell, np.eye(3) * 4.2)
    np.testing.assert_array_equal(atoms.calc.results["forces"][:, 2], [0.1, -0.1])
    assert atoms.calc.results["energy"] == -1
    assert not atoms.info


def test_tensors_keep_the_order_that_ase_gives_them(tmp_path: Path) -> None:
    skewed = "4 1 0 0 4 2 0 0 4"
    for spelling in ("Lattice", "lattice"):
        atoms = frame(tmp_path / "a.xyz", f'{spelling}="{skewed}" {COLUMNS}')
        np.testing.assert_array_equal(atoms.cell[0], [4, 1, 0])
        np.testing.assert_array_equal(atoms.cell[1], [0, 4, 2])


def test_directions_are_those_of_the_file(tmp_path: Path) -> None:
    atoms = frame(tmp_path / "a.xyz", f'lattice="{NINE}" {COLUMNS} PBC="T T F"')
    assert atoms.pbc.tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("comment", "reason"),
    [
        (f'cell="{NINE}" {COLUMNS}', "a cell seems to be in 'cell'"),
        (f'Box="4 4 4" {COLUMNS}', "a cell seems to be in 'Box'"),
        (f'super_cell="4 4 4" {COLUMNS}', "a cell seems to be in 'super_cell'"),
        (f'orig_Lattice="{NINE}" {COLUMNS}', "a cell seems to be in 'orig_Lattice'"),
        (f'H="{NINE}" {COLUMNS}', "a cell seems to be in 'H'"),
        (f'a="4 0 0" b="0 4 0" c="0 0 4" {COLUMNS}', "be in 'a', 'b', 'c'; it"),
        (f'a1="4 0 0" a2="0 4 0" a3="0 0 4" {COLUMNS}', "be in 'a1', 'a2', 'a3'"),
        (f"a=4 b=4 c=4 alpha=90 beta=90 gamma=90 {COLUMNS}", "'beta', 'gamma'"),
        (f'pbc="T T T" {COLUMNS}', "there is no Lattice"),
        (f'lattice="4 4 4" {COLUMNS}', "lattice is not nine numbers"),
        (f'Lattice="4 4 4" {COLUMNS}', "9-long"),
    ],
)
def test_cell_that_would_be_lost(tmp_path: Path, comment: str, reason: str) -> None:
    found = frame(tmp_path / "a.xyz", comment)
    assert isinstance(found, DataError)
    assert reason in str(found)


@pytest.mark.parametrize(
    "comment",
    [
        "# CELL(abcABC):   4.2   4.2   4.2  90.0  90.0  90.0  Step:  0  Bead:  0",
        "lattice vectors: 4.2 0 0 0 4.2 0 0 0 4.2",
        f"%PBC {NINE}",
        NINE,
    ],
)
def test_cell_in_words(tmp_path: Path, comment: str) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(f"2\n{comment}\nMg 0 0 0\nO 0 0 2.1\n")
    (found,) = iter_extxyz(path)
    assert f"a cell seems to be in the comment {comment[:9]!r}"[:-1] in str(found)


@pytest.mark.parametrize(
    "comment",
    [
        'polarizability="9 0 0 0 9 0 0 0 9" dipole="0 0 1"',
        'rotational="9 9 9" A=157.7 B=157.7 C=157.7 mu=0 alpha=13.2 H=-40.5 h=6.6e-34',
        "gdb 1 157.7118 157.70997 157.70699 0. 13.21 -0.3877 0.1171 0.5048 35.36",
        "methane in a box, relaxed",
        "one molecule of the lattice",
        "0 0 0 0 0 0 0 0 0",
    ],
)
def test_cluster_is_none_that_lacks_a_cell(tmp_path: Path, comment: str) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(f"2\n{comment}\nMg 0 0 0\nO 0 0 2.1\n")
    (found,) = iter_extxyz(path)
    assert isinstance(found, Atoms)
    assert not found.pbc.any()


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ("species:S:1:coords:R:3", "no column 'pos' among species, coords"),
        ("species:S:1:scaled_positions:R:3", "no column 'pos' among species, scaled_"),
        ("label:S:1:pos:R:3", "no column 'species' among label, pos"),
    ],
)
def test_frame_without_places_or_species(
    tmp_path: Path, columns: str, reason: str
) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(f'2\nLattice="{NINE}" Properties={columns}\nMg 0 0 0\nO 0 0 2.1\n')
    (found,) = iter_extxyz(path)
    assert isinstance(found, DataError)
    assert reason in str(found)


@pytest.mark.parametrize("name", ["Z", "z", "numbers", "atomic_number"])
def test_species_by_number(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.xyz"
    columns = f"Properties={name}:I:1:pos:R:3"
    path.write_text(f'2\nLattice="{NINE}" {columns}\n12 0 0 0\n8 0 0 2.1\n')
    (found,) = iter_extxyz(path)
    assert str(found.symbols) == "MgO"


@pytest.mark.parametrize("key", ["stress", "Stress", "STRESS"])
@pytest.mark.parametrize(
    "value",
    [
        '"1 6 5 6 2 4 5 4 3"', "[1,6,5,6,2,4,5,4,3]", '"1 2 3 4 5 6"',
        "[[1,6,5],[6,2,4],[5,4,3]]", "[[1, 6, 5], [6, 2, 4], [5, 4, 3]]",
        '"[[1 6 5] [6 2 4] [5 4 3]]"', '"_JSON [[1, 6, 5], [6, 2, 4], [5, 4, 3]]"',
    ],
)  # fmt: skip
def test_stress_however_it_is_written(tmp_path: Path, key: str, value: str) -> None:
    atoms = frame(tmp_path / "a.xyz", f'Lattice="{NINE}" {key}={value} a=1 {COLUMNS}')
    assert atoms.calc.results["stress"].tolist() == [1, 2, 3, 4, 5, 6]
    assert atoms.info == {"a": 1}


@pytest.mark.parametrize(
    ("written", "left"),
    [
        ('stress="1 2 3"', "STRESS"), ('Stress="1 2 3"', "Stress"),
        ('virial="1 2 3 4 5 6"', "VIRIAL"), ("Stress=none", "Stress"),
        ("stress=none", "STRESS"), ('Virial="T T T"', "Virial"),
        ('stress="1 2 0 0 1 0 0 0 1"', "STRESS"),  # not symmetric
    ],
)  # fmt: skip
def test_label_that_is_not_understood_costs_no_frame(
    tmp_path: Path, written: str, left: str
) -> None:
    atoms = frame(tmp_path / "a.xyz", f'Lattice="{NINE}" {written} {COLUMNS} energy=-1')
    assert set(atoms.info) == {left}
    assert set(atoms.calc.results) == {"energy", "forces"}


def test_box_beside_a_lattice_is_no_cell(tmp_path: Path) -> None:
    atoms = frame(tmp_path / "a.xyz", f'Lattice="{NINE}" box="4 4 4" {COLUMNS}')
    assert isinstance(atoms, Atoms)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("id=007", "007"), ("id=1e3", "1e3"), ("id=T", "T"), ("name=F", "F"),
        ("id=nan", "nan"), ("id=None", "None"), ("id=1_000", "1_000"),
        ('id="1 2 3"', "1 2 3"), ('id = "mp 12"', "mp 12"), ("id=[1,2]", "1,2"),
        ('note="id=5" id=07', "07"), ('id="a\\"b"', 'a"b'),
        ('id=_JSON "5"', "_JSON"),
        ('id="_JSON \\"007\\""', "007"),
        ("id=12345678901234567890123", "12345678901234567890123"),
    ],
)  # fmt: skip
def test_ids_stay_as_written(tmp_path: Path, written: str, name: str) -> None:
    frame(tmp_path / "a.xyz", f'Lattice="{NINE}" {written} {COLUMNS}')
    (candidate,) = iter_candidates(tmp_path / "a.xyz")
    assert candidate.id == name


@pytest.mark.parametrize("species", ["Mg2+", "mg", "MG", "Mg1"])
def test_species_that_are_clear(tmp_path: Path, species: str) -> None:
    atoms = frame(tmp_path / "a.xyz", f'Lattice="{NINE}" {COLUMNS}', species)
    assert isinstance(atoms, Atoms)
    assert str(atoms.symbols) == "MgO"
    assert atoms.calc.results["forces"].shape == (2, 3)


def test_species_in_another_column(tmp_path: Path) -> None:
    columns = "Properties=pos:R:3:species:S:1:n:I:1"
    path = tmp_path / "a.xyz"
    path.write_text(f'1\nLattice="{NINE}" {columns}\n0 0 1 Mg2+ 7\n')
    (atoms,) = iter_extxyz(path)
    assert (str(atoms.symbols), atoms.arrays["n"].tolist()) == ("Mg", [7])
    path.write_text(f'1\nLattice="{NINE}" {columns}\n0 0 1 Ow 7\n')
    (found,) = iter_extxyz(path)
    assert "valid extxyz: 'Ow' is no chemical symbol" in str(found)


@pytest.mark.parametrize("columns", [COLUMNS, COLUMNS.replace("species:S", "Z:I")])
def test_other_missing_keys_are_not_blamed_on_the_species(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("charge")

    monkeypatch.setattr("mftscreen.data.readers.extxyz.read_xyz", broken)
    found = frame(tmp_path / "a.xyz", columns)
    assert "valid extxyz: 'charge' is missing or unknown" in str(found)


@pytest.mark.parametrize("species", ["Va", "T", "Ow", "Q"])
def test_species_that_are_not(tmp_path: Path, species: str) -> None:
    found = frame(tmp_path / "a.xyz", f'Lattice="{NINE}" {COLUMNS}', species)
    assert isinstance(found, DataError)
    assert f"valid extxyz: '{species}' is " in str(found)


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_encodings(tmp_path: Path, encoding: str) -> None:
    text = f'1\nLattice="{NINE}" id=ü\nH 0 0 0\n'
    (tmp_path / "a.xyz").write_bytes(text.encode(encoding))
    (candidate,) = iter_candidates(tmp_path / "a.xyz")
    assert (candidate.id, len(candidate.atoms)) == ("ü", 1)


def test_utf_16_that_breaks_off(tmp_path: Path) -> None:
    text = "1\n\nH 0 0 0\n".encode("utf-16") + b"1"
    (tmp_path / "a.xyz").write_bytes(text)
    with pytest.raises(DataError, match="cannot be read past frame"):
        list(iter_extxyz(tmp_path / "a.xyz"))


def formulas(path: Path) -> list[str]:
    return [
        "error" if isinstance(item, DataError) else str(item.symbols)
        for item in iter_extxyz(path)
    ]


def test_blank_lines_between_frames_are_skipped(tmp_path: Path, text: str) -> None:
    path = tmp_path / "frames.xyz"
    path.write_text(f"\n{text}\n\n{text}\n")
    assert formulas(path) == ["Si2", "OH2", "MgO"] * 2


@pytest.mark.parametrize("broken", ["O 0 zero 0", "O 0 0", "Xx 0 0 0", ""])
def test_later_frames_are_read_after_a_broken_one(
    tmp_path: Path, text: str, broken: str
) -> None:
    path = tmp_path / "frames.extxyz"
    path.write_text(f"{text}1\nProperties=species:S:1:pos:R:3\n{broken}\n{text}")
    items = list(iter_extxyz(path))
    assert [isinstance(item, DataError) for item in items] == [False] * 3 + [True] + (
        [False] * 3
    )
    assert f"{path}: frame 3 is not valid extxyz" in str(items[3])


def test_last_frame_with_too_few_atoms_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "frames.extxyz"
    path.write_text("".join(text.splitlines(keepends=True)[:-1]))
    assert formulas(path) == ["Si2", "OH2", "error"]


def test_line_that_should_count_atoms_but_does_not(tmp_path: Path, text: str) -> None:
    path = tmp_path / "frames.extxyz"
    path.write_text(f"{text}two atoms\n{text}")
    found = iter_extxyz(path)
    assert [len(next(found)) for _ in range(3)] == [2, 3, 2]
    with pytest.raises(DataError, match=r"frame 3 should begin .* found 'two atoms'"):
        next(found)


def test_number_of_atoms_beyond_all_files(tmp_path: Path, text: str) -> None:
    path = tmp_path / "frames.extxyz"
    path.write_text(f"{text}{'9' * 30}\n{text}")
    with pytest.raises(DataError, match="frame 3 should begin"):
        list(iter_extxyz(path))


@pytest.mark.parametrize("text", ["2\n", "1\ncomment\nH 0 0 0\n2\ncomment\nH 0 0 0\n"])
def test_file_that_ends_too_early(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cut.extxyz"
    path.write_text(text)
    assert isinstance(list(iter_extxyz(path))[-1], DataError)
