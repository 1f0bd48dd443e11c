from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write

from mftscreen.data.readers.cif.crystals import iter_cif
from mftscreen.data.readers.cif.sites import SITE_TAGS
from mftscreen.data.readers.cif.space_groups import SYMMETRY_TAGS
from mftscreen.errors import DataError, InvalidGeometryError, StructureError

CASES = Path(__file__).parents[1] / "cases"
SPINEL = (CASES / "03-fd3m-colon2.cif").read_text()
LAYERED = (CASES / "32-R3mR-LiCoO2.cif").read_text()
PEROVSKITE = (CASES / "14-unknown-occ.cif").read_text()
BRUCITE = (CASES / "35-missing-H-brucite.cif").read_text()
SPINEL_FORMULA = "_chemical_formula_sum 'Al2 Mg O4'\n_cell_formula_units_Z 8\n"


def read(text: str) -> str:
    """Return the formula of the only crystal, or why there is none."""
    (found,) = iter_cif(text)
    return str(found.symbols) if isinstance(found, Atoms) else str(found)


def spinel(symbol: str, extra: str = "") -> str:
    return SPINEL.replace("F d -3 m :2", symbol).replace("data_x\n", f"data_x\n{extra}")


@pytest.mark.parametrize(
    "symbol",
    [
        "F d -3 m :2", "F d -3 m:2", "F d -3 m :Z", "Fd-3m:2", "F d -3 m Z", "Fd-3mZ",
        "F d -3 m (origin choice 2)", "F d -3 m",
    ],
)  # fmt: skip
def test_second_origin_however_it_is_written(symbol: str) -> None:
    assert read(spinel(symbol)) == "Mg8Al16O32"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("F d -3 m :2'", "F d -3 m'\n_space_group.IT_coordinate_system_code 2"),
        ("_symmetry_space_group_name_H-M 'F d -3 m :2'", SPINEL_FORMULA),
        (
            "_symmetry_space_group_name_H-M 'F d -3 m :2'",
            "_symmetry_space_group_name_Hall '-F 4vw 2vw 3'",
        ),
        ("_atom_site_", "_atom_site."),
    ],
)
def test_second_origin_said_elsewhere(old: str, new: str) -> None:
    assert read(SPINEL.replace(old, new)) == "Mg8Al16O32"


@pytest.mark.parametrize("symbol", ["F d -3 m :1", "F d -3 m S", "Fd-3mS"])
def test_crystal_in_another_setting_than_it_says(symbol: str) -> None:
    (found,) = iter_cif(spinel(symbol))
    assert isinstance(found, InvalidGeometryError)
    assert "0.283 Å apart in space group F d -3 m:1" in str(found)


def test_formula_decides_between_settings() -> None:
    diamond = spinel("F d -3 m").partition("Mg1")[0] + "Si1 Si 0 0 0\n"
    assert "may be F d -3 m:1 or F d -3 m:2" in read(diamond)
    for units, formula in ((8, "Si8"), (16, "Si16")):
        declared = f"_chemical_formula_sum Si\n_cell_formula_units_Z {units}\n"
        assert read(declared_in(diamond, declared)) == formula


def declared_in(text: str, declared: str) -> str:
    return text.replace("data_x\n", f"data_x\n{declared}")


def test_settings_that_give_one_crystal_are_no_question() -> None:
    # both origins are at the same atom of the cubic lattice
    text = spinel("P n -3 m").replace("227", "224").partition("Mg1")[0]
    assert read(f"{text}Cu1 Cu 0.75 0.75 0.75\nO1 O 0 0 0\n")


@pytest.mark.parametrize(
    ("symbol", "found"),
    [
        ("R -3 m :R", "LiCoO2"),
        ("R -3 m R", "LiCoO2"),
        ("R -3 m", "LiCoO2"),
        ("R -3 m S", "LiCoO2"),
        ("R -3 m Z", "LiCoO2"),
        ("R -3 m :1", "data_x: R -3 m has the settings H, R, not 1"),
        ("R -3 m :H", "data_x: the space group R -3 m:H does not fit the lengths"),
    ],
)
def test_rhombohedral_axes(symbol: str, found: str) -> None:
    assert read(LAYERED.replace("R -3 m :R", symbol)).startswith(found)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("number 227", "number 225", "number 227, but number 225 is declared"),
        ("'F d -3 m :2'", "'X y z'", "'X y z' is unknown"),
        ("'F d -3 m :2'", "'F d -3 m :3'", "has the settings 1, 2, not 3"),
        (
            "_symmetry_space_group_name_H-M",
            "_space_group_name_Hall 'F 4d 2 3 -1d'\n_symmetry_space_group_name_H-M",
            "contradict",
        ),
        (
            "loop_\n",
            "loop_\n_symmetry_equiv_pos_as_xyz\nx,y,z\nloop_\n",
            "listed or Hall operations are not those of the space group",
        ),
        (
            "loop_\n",
            "loop_\n_symmetry_equiv_pos_as_xyz\nx,y,w\nloop_\n",
            "'x,y,w' is not understood",
        ),
        ("8.0806\n_cell_angle_alpha", "9\n_cell_angle_alpha", "does not fit"),
        ("loop_\n", "_cell_modulation_dimension 1\nloop_\n", "a modulated structure"),
        ("_cell_length_a 8.0806", "_cell_length_a ?", "the cell .* is none"),
        ("_cell_angle_alpha 90", "_cell_angle_alpha 190", "no cell has|is none"),
    ],
)
def test_symmetry_that_is_not_clear(old: str, new: str, reason: str) -> None:
    (found,) = iter_cif(SPINEL.replace(old, new, 1))
    with pytest.raises(StructureError, match=reason):
        raise found


def test_listed_operations_that_the_formula_confirms() -> None:
    text = spinel("F d -3 m :2").partition("Mg1")[0] + "Al1 Al 0 0 0\n"
    listed = text.replace(
        "loop_\n", "loop_\n_symmetry_equiv_pos_as_xyz\nx,y,z\nloop_\n"
    )
    declared = "_chemical_formula_sum Al\n_cell_formula_units_Z 1\n"
    assert read(declared_in(listed, declared)) == "Al"


def iron(symmetry: str, declared: str = "") -> str:
    cell = "".join(f"_cell_length_{axis} 2.87\n" for axis in "abc")
    columns = "".join(f"_atom_site_fract_{axis}\n" for axis in "xyz")
    return (
        f"data_x\n{declared}{cell}_space_group_name_H-M_alt 'I m -3 m'\n{symmetry}"
        f"loop_\n_atom_site_type_symbol\n{columns}Fe 0 0 0\n"
    )


def listed(symbol: str) -> str:
    """Return the operations of a symbol, as a loop."""
    operations = gemmi.SpaceGroup(symbol).operations()
    lines = "".join(f"'{operation.triplet()}'\n" for operation in operations)
    return f"loop_\n_space_group_symop_operation_xyz\n{lines}"


@pytest.mark.parametrize(
    "symmetry",
    [listed("P m -3 m"), listed("P 1"), "_space_group_name_Hall 'P 1'\n"],
    ids=["without centring", "listed", "Hall"],
)
def test_operations_too_few_for_the_symbol(symmetry: str) -> None:
    assert "operations are not those of the space group" in read(iron(symmetry))
    # the formula may still say that it is these
    one = "_chemical_formula_sum Fe\n_cell_formula_units_Z 1\n"
    assert read(iron(symmetry, one)) == "Fe"


@pytest.mark.parametrize(
    "symmetry", ["", listed("I m -3 m"), "_space_group_name_Hall '-I 4 2 3'\n"]
)
def test_operations_of_the_symbol(symmetry: str) -> None:
    assert read(iron(symmetry)) == "Fe2"


@pytest.mark.parametrize("share", ["?", ".", "1", "1.0000(5)", "0.99999999", "1.0001"])
def test_full_occupancy(share: str) -> None:
    assert read(PEROVSKITE.replace("0 0 0 ?", f"0 0 0 {share}")) == "SrTiO3"


@pytest.mark.parametrize("share", ["0.5", "0", "1.02", "0.99"])
def test_partial_occupancy(share: str) -> None:
    text = read(PEROVSKITE.replace("0 0 0 ?", f"0 0 0 {share}"))
    assert f"partially occupied site (A {share})" in text


@pytest.mark.parametrize("kind", ["Sr", "Sr2+", "SR", "sr", "Sr+2"])
def test_charges_and_case_of_symbols(kind: str) -> None:
    assert read(PEROVSKITE.replace("A Sr 0", f"A {kind} 0")) == "SrTiO3"


def test_labels_stand_for_missing_symbols() -> None:
    text = PEROVSKITE.replace("A Sr 0", "SR1 ? 0")
    assert "'SR1' may begin with Sr or S" in read(text)
    assert read(declared_in(text, "_chemical_formula_sum 'Sr Ti O3'\n")) == "SrTiO3"
    assert read(text.replace("SR1", "Sr1A")) == "SrTiO3"


def replaced(last: str) -> str:
    return PEROVSKITE.replace("O3 O 0 0.5 0.5 1", last)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (replaced("X1 X 0 0.5 0.5 1"), "'X' is a dummy atom"),
        (replaced("Q1 ? 0 0.5 0.5 1"), "'Q' is a dummy atom"),
        (replaced("O3 O ? ? ? 1"), "site O3 has '\\?' for a number"),
        (replaced("O3 O 0 0.5 0.5 1\nF F 0 0.5 0.5 1"), "mixed site: O3 and F are"),
        (replaced("O3 O 0 0.5 0.5 1\nH H 0 0.56 0.5 1"), "H and O3 are 0.240 Å apart"),
        (PEROVSKITE.replace("loop_", "_cell_volume 70\nloop_"), "64 Å.*70 are decl"),
        (
            PEROVSKITE.replace("site_occupancy", "site_attached_hydrogens")
            .replace("0.5 1", "0.5 2"),
            "hydrogens attached that have no site",
        ),
        (
            PEROVSKITE.replace("site_occupancy", "site_calc_flag")
            .replace("0.5 1", "0.5 dum"),
            "is a dummy atom",
        ),
        (
            PEROVSKITE.replace("site_occupancy", "site_disorder_group")
            .replace("0.5 1", "0.5 -1"),
            "disorder groups -1",
        ),
        (
            PEROVSKITE.replace("site_occupancy", "site_site_symmetry_multiplicity")
            .replace("0.5 1", "0.5 4"),
            "has 1 places in the cell, but a multiplicity of 4",
        ),
        (declared_in(PEROVSKITE, "_cell_length_a 5\n"), "stands there twice"),
        (
            PEROVSKITE.replace("site_occupancy", "site_site_symmetry_multiplicity")
            .replace("0.5 1", "0.5 inf"),
            "a multiplicity of inf",
        ),
        (declared_in(PEROVSKITE, "_chemical_formula_sum 'Sr Ti O0'\n"), "has none of"),
        (PEROVSKITE.replace("_cell_length_a 4.0\n", ""), "the cell .* is none"),
    ],
)  # fmt: skip
def test_crystals_that_are_not_what_they_seem(text: str, reason: str) -> None:
    (found,) = iter_cif(text)
    with pytest.raises(StructureError, match=reason):
        raise found


@pytest.mark.parametrize(
    "extra",
    [
        "_cell_length_a 4.0\n",
        "_audit_creation_date 2001-01-01\n_audit_creation_date 2002-02-02\n",
        "_atom_site_symmetry_multiplicity 1\n",
    ],
)
def test_tags_that_do_no_harm(extra: str) -> None:
    assert read(declared_in(PEROVSKITE, extra)) == "SrTiO3"


@pytest.mark.parametrize(
    "tag", sorted({*SITE_TAGS, *SYMMETRY_TAGS, "_cell_volume", "_chemical_formula_sum"})
)
def test_tags_that_must_not_contradict(tag: str) -> None:
    twice = f"data_x\n{tag} 1\n{tag} 2\n_atom_site_fract_x 0\n"
    assert "stands there twice, with different values" in read(twice)


def test_blocks_after_one_that_breaks() -> None:
    # one symbol outside the loop of several sites
    broken = PEROVSKITE.replace("_atom_site_type_symbol", "_atom_site_u")
    broken = declared_in(broken, "_atom_site_type_symbol Sr\n")
    first, second = iter_cif(broken + PEROVSKITE.replace("data_x", "data_y"))
    assert isinstance(first, StructureError)
    assert str(first).startswith("data_x: cannot be read: it is shorter")
    assert str(second.symbols) == "SrTiO3"


def test_a_site_listed_twice_is_one_atom() -> None:
    text = replaced("O3 O 0 0.5 0.5 1\nO4 O 0 0.5 0.5 1")
    assert read(declared_in(text, "_chemical_formula_sum 'O3 Sr Ti'\n")) == "SrTiO3"


@pytest.mark.parametrize(
    ("declared", "found"),
    [
        ("'Sr Ti O3'\n_cell_formula_units_Z 1", "SrTiO3"),
        ("'Sr2 Ti2 O6'", "SrTiO3"),
        ("?", "SrTiO3"),
        # the whole cell as the sum, beside Z of the reduced formula
        ("'Sr1 Ti1 O3'\n_cell_formula_units_Z 1", "SrTiO3"),
        ("'Sr Ti O3'\n_cell_formula_units_Z 4", "Z = 4 declare 20 atoms"),
        ("'Sr Ti O2'", "but the formula sum is O2SrTi"),
        ("'Sr Ti O3 H'", "no site of H"),
        ("'Sr Ti'", "but the formula sum is SrTi"),
    ],
)
def test_formula_sum(declared: str, found: str) -> None:
    text = declared_in(PEROVSKITE, f"_chemical_formula_sum {declared}\n")
    assert found in read(text)


@pytest.mark.parametrize("symbol", ["H", "D"])
def test_hydrogens_with_sites(symbol: str) -> None:
    text = BRUCITE.replace("H2 Mg", f"{symbol}2 Mg")
    assert read(f"{text}H1 {symbol} 0.333333 0.666667 0.43\n") == "MgO2H2"


def test_blocks_of_one_name_and_without_crystals() -> None:
    text = f"data_global\n_title x\n{PEROVSKITE}{BRUCITE}{PEROVSKITE}"
    found = [getattr(f, "symbols", None) and len(f) for f in iter_cif(text)]
    assert found == [5, None, 5]


def test_molecule_without_a_cell() -> None:
    text = "data_m\nloop_\n_atom_site_label\n" + "".join(
        f"_atom_site_Cartn_{axis}\n" for axis in "xyz"
    )
    (found,) = iter_cif(f"{text}O1 0 0 0\nH1 0 0 1\nH2 0 1 0\n")
    assert (str(found.symbols), found.pbc.any()) == ("OH2", False)
    assert "has no cell" in read(text.replace("Cartn", "fract") + "O1 0 0 0\n")


def test_text_that_is_no_cif() -> None:
    with pytest.raises(DataError, match=r"not a valid CIF: .*data_"):
        list(iter_cif("junk\n"))


@pytest.mark.parametrize(
    "atoms",
    [
        bulk("Si", cubic=True),
        bulk("MgO", "rocksalt", a=4.2),
        bulk("ZnO", "wurtzite", a=3.25, c=5.2),
        Atoms("CO", [[0.1, 0.2, 0.3], [1.0, 1.1, 1.2]], cell=[5, 6, 7, 80, 95, 110],
              pbc=True),
    ],
    ids=str,
)  # fmt: skip
def test_what_ase_writes_is_read_again(atoms: Atoms) -> None:
    stream = io.BytesIO()
    write(stream, atoms, format="cif")
    (found,) = iter_cif(stream.getvalue().decode())
    assert str(found.symbols) == str(atoms.symbols)
    np.testing.assert_allclose(
        np.sort(found.get_all_distances(mic=True), axis=None),
        np.sort(atoms.get_all_distances(mic=True), axis=None),
        atol=1e-4,
    )


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")
@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize(
    ("symbol", "symbols", "places"),
    [
        ("Fd-3m", ["Si"], [[0.125, 0.125, 0.125]]),
        ("R-3m", ["Li", "Co", "O"], [[0, 0, 0.5], [0, 0, 0], [0, 0, 0.26]]),
        ("I4_1/amd", ["Ti", "O"], [[0, 0.75, 0.125], [0, 0.75, 0.333]]),
    ],
)
def test_what_pymatgen_writes_is_read_again(
    listed: bool, symbol: str, symbols: list[str], places: list[list[float]]
) -> None:
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.core import Lattice
    from pymatgen.io.ase import AseAtomsAdaptor
    from pymatgen.io.cif import CifWriter

    lattice = {
        "Fd-3m": Lattice.cubic(5.43),
        "R-3m": Lattice.hexagonal(2.8, 14.0),
        "I4_1/amd": Lattice.tetragonal(3.78, 9.51),
    }[symbol]
    (base,) = iter_cif(_text(symbol, lattice, symbols, places))
    crystal = AseAtomsAdaptor.get_structure(base)
    text = str(CifWriter(crystal, symprec=0.01))
    if not listed:
        head, _, rest = text.partition("loop_\n _symmetry_equiv_pos")
        text = head + "loop_\n _atom_site_type" + rest.partition("_atom_site_type")[2]
    (found,) = iter_cif(text)
    assert StructureMatcher(primitive_cell=False).fit(
        crystal, AseAtomsAdaptor.get_structure(found)
    )


def _text(
    symbol: str, lattice: Any, symbols: list[str], places: list[list[float]]
) -> str:
    code = {"Fd-3m": "2", "R-3m": "H", "I4_1/amd": "2"}[symbol]
    sizes = zip(("length_a", "length_b", "length_c"), lattice.abc, strict=True)
    angles = zip(
        ("angle_alpha", "angle_beta", "angle_gamma"), lattice.angles, strict=True
    )
    cell = "".join(f"_cell_{name} {value}\n" for name, value in (*sizes, *angles))
    columns = "".join(f"_atom_site_fract_{axis}\n" for axis in "xyz")
    rows = "".join(
        f"{s} {' '.join(map(str, p))}\n" for s, p in zip(symbols, places, strict=True)
    )
    return (
        f"data_x\n{cell}_space_group_name_H-M_alt '{symbol}:{code}'\nloop_\n"
        f"_atom_site_type_symbol\n{columns}{rows}"
    )
