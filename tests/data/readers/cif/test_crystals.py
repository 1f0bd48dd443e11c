from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.cif import CifWriter

from mftscreen.data.readers.cif.crystals import iter_cif
from mftscreen.data.readers.cif.sites import SITE_TAGS
from mftscreen.data.readers.cif.space_groups import SYMMETRY_TAGS
from mftscreen.errors import DataError, StructureError

CASES = Path(__file__).parents[1] / "cases"
PEROVSKITE = (CASES / "14-unknown-occ.cif").read_text()
BRUCITE = (CASES / "35-missing-H-brucite.cif").read_text()


def read(text: str) -> str:
    """Return the formula of the only crystal, or why there is none."""
    (found,) = iter_cif(text)
    return str(found.symbols) if isinstance(found, Atoms) else str(found)


def declared_in(text: str, declared: str) -> str:
    return text.replace("data_x\n", f"data_x\n{declared}")


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


@pytest.mark.parametrize("formula", ["N8", "O2", "Si8", "H2O", "NaCl"])
def test_what_pymatgen_writes_is_read(formula: str) -> None:
    atoms = Atoms(formula, cell=[9.0, 9.5, 10.0], pbc=True)
    atoms.set_scaled_positions(np.linspace(0.05, 0.85, len(atoms))[:, None] * [1, 1, 1])
    text = str(CifWriter(AseAtomsAdaptor.get_structure(atoms)))
    assert "_cell_formula_units_Z" in text
    (found,) = iter_cif(text)
    assert sorted(found.symbols) == sorted(atoms.symbols)


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
