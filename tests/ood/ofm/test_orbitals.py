"""Valence orbitals of the elements."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from mftscreen.ood import orbital_field_matrix
from mftscreen.ood.ofm.orbitals import ORBITALS, element_table, name_pair, table_hash


def test_element_tables() -> None:
    def names(z: int, table: str) -> str:
        return " ".join(ORBITALS[k] for k in element_table(table)[z].nonzero()[0])

    assert names(29, "paper") == "s1 d10"
    assert names(29, "current") == "s1 s2 p6 d10"
    assert names(92, "paper") == "s2 d1 f3"
    assert names(92, "current") == "s2 p6 d1 d10 f3 f14"
    assert len(np.unique(element_table("paper")[1:], axis=0)) == 59
    assert len(np.unique(element_table("current")[1:], axis=0)) == 61
    # stored reference sets name their table by these
    assert table_hash("current") == "3bffdefb6c4eeb49"
    assert table_hash("paper") == "4abc2d545af2c64a"


def test_electron_configurations_are_those_of_pymatgen() -> None:
    periodic_table = pytest.importorskip("pymatgen.core.periodic_table")
    from mftscreen.ood.ofm.orbitals import electron_configuration

    for z in range(1, 95):
        shells = periodic_table.Element.from_Z(z).full_electronic_structure
        expected = {(n, letter): count for n, letter, count in shells}
        assert electron_configuration(z) == expected


def test_name_pair_lists_every_element_with_the_orbital() -> None:
    vectors = element_table("current")
    for column in np.flatnonzero(
        orbital_field_matrix(bulk("CuCl", "zincblende", a=5.4))
    ):
        neighbour, centre = name_pair(int(column), [17, 29]).split(" – ")
        for name, index in zip(
            (neighbour, centre), divmod(int(column), len(ORBITALS)), strict=True
        ):
            symbols, orbital = name.split()
            assert orbital == ORBITALS[index]
            having = {s for s, z in (("Cl", 17), ("Cu", 29)) if vectors[z, index]}
            assert set(symbols.split("/")) == having
    with pytest.raises(ValueError, match=r"no element of the structure has .* f14"):
        name_pair(31 * 32, [29])
