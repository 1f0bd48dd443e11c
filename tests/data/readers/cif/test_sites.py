"""Sites: whole or not, which element, and those that are one place."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase import Atoms

from mftscreen.data.readers.cif.crystals import iter_cif
from mftscreen.errors import StructureError

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
    "share", ["?", ".", "''", "1", "1.0000(5)", "0.99999999", "1.0001"]
)
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


def test_a_site_listed_twice_is_one_atom() -> None:
    text = replaced("O3 O 0 0.5 0.5 1\nO4 O 0 0.5 0.5 1")
    assert read(declared_in(text, "_chemical_formula_sum 'O3 Sr Ti'\n")) == "SrTiO3"


@pytest.mark.parametrize("symbol", ["H", "D"])
def test_hydrogens_with_sites(symbol: str) -> None:
    text = BRUCITE.replace("H2 Mg", f"{symbol}2 Mg")
    assert read(f"{text}H1 {symbol} 0.333333 0.666667 0.43\n") == "MgO2H2"
