from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from mftscreen.diagnostics.environments import (
    Environment,
    atom_environments,
    count_bonded,
    max_bond_length,
)


@pytest.mark.parametrize(
    ("atoms", "expected"),
    [
        (molecule("CH3CH2OH"), {"C4": 2, "O2": 1, "H1": 6}),
        (molecule("C6H6"), {"C3": 6, "H1": 6}),
        (bulk("NaCl", "rocksalt", a=5.64), {"Na6": 1, "Cl6": 1}),
        (bulk("NaCl", "rocksalt", a=5.64, cubic=True), {"Na6": 4, "Cl6": 4}),
        (bulk("C", "diamond", a=3.567), {"C4": 2}),
        (molecule("CO2"), {"C2": 1, "O1": 2}),
        (Atoms("O"), {"O0": 1}),
    ],
    ids=["ethanol", "benzene", "rock salt", "its cube", "diamond", "CO2", "an atom"],
)
def test_environments(atoms: Atoms, expected: dict[str, int]) -> None:
    assert Counter(map(str, atom_environments(atoms))) == expected


def test_images_across_a_boundary_count_only_where_it_is_periodic() -> None:
    chain = Atoms("C", cell=[1.4, 10, 10], pbc=(True, False, False))
    assert count_bonded(chain).tolist() == [2]
    chain.pbc = False
    assert count_bonded(chain).tolist() == [0]


def test_the_limit_is_115_percent_of_the_radii() -> None:
    limit = float(max_bond_length(6, 6))
    assert limit == pytest.approx(1.15 * 2 * 0.76)
    for distance, bonds in ((limit - 1e-6, 1), (limit + 1e-6, 0)):
        pair = Atoms("C2", positions=np.diag([distance, 0, 0])[:2])
        pair.positions[1] = 0
        assert count_bonded(pair).tolist() == [bonds, bonds]


def test_order_is_by_number_not_by_text() -> None:
    environments = [Environment("Mg", 12), Environment("Mg", 6), Environment("H", 1)]
    assert list(map(str, sorted(environments))) == ["H1", "Mg6", "Mg12"]
