"""Voronoi cells: they fill space, and change as little as the atoms do."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from mftscreen.ood import orbital_field_matrix


@pytest.mark.parametrize("named", ["Cu", "NaCl", "SrTiO3"], indirect=True)
def test_degenerate_vertices_are_continuous(named: tuple[str, Atoms]) -> None:
    atoms = named[1].repeat(2)
    expected = orbital_field_matrix(atoms)
    atoms.positions += np.random.default_rng(0).normal(scale=1e-8, size=(len(atoms), 3))
    assert np.abs(orbital_field_matrix(atoms) - expected).max() < 1e-6


def test_cells_fill_space() -> None:
    # a solid angle that is lost or counted twice would change this sum
    from mftscreen.ood.ofm.voronoi import _clip, _solid_angle, _start_cube

    vertices, counts = np.zeros((96, 48, 3)), np.zeros(96, dtype=np.int64)
    owners, sides = np.zeros((96, 4)), np.zeros((96, 48))
    _start_cube(vertices, counts, 3.0)
    n_faces = 6
    for neighbour in np.random.default_rng(1).normal(size=(40, 3)) * 2.5 + 0.1:
        result = _clip(
            vertices, counts, owners, n_faces, np.array([*neighbour, 0.0]), sides
        )
        n_faces = n_faces if result == -2 else result
    total = sum(_solid_angle(vertices[f], counts[f]) for f in range(n_faces))
    assert total == pytest.approx(4 * np.pi, abs=1e-10)


def test_supercell_with_vacuum(layer: Atoms) -> None:
    for atoms in (layer, Atoms("Si", cell=[12.0, 12.0, 12.0], pbc=True)):
        doubled = orbital_field_matrix(atoms.repeat((2, 1, 1)))
        assert np.abs(doubled - orbital_field_matrix(atoms)).max() < 1e-10
