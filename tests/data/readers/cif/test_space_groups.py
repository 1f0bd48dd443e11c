"""Space groups: symbols, settings, operations, and where they contradict each other."""

from __future__ import annotations

from pathlib import Path

import gemmi
import pytest
from ase import Atoms

from mftscreen.data.readers.cif.crystals import iter_cif
from mftscreen.errors import InvalidGeometryError, StructureError

CASES = Path(__file__).parents[1] / "cases"


SPINEL = (CASES / "03-fd3m-colon2.cif").read_text()


LAYERED = (CASES / "32-R3mR-LiCoO2.cif").read_text()


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


def test_operations_without_end() -> None:
    loop = "loop_\n_space_group_symop_operation_xyz\n"
    assert read(iron(loop + "'x,y,z'\n" * 20_000)) == read(iron(loop + "'x,y,z'\n"))
    many = "".join(f"'x+{k}/9999,y,z'\n" for k in range(2000))
    assert "2000 operations are listed" in read(iron(loop + many))
