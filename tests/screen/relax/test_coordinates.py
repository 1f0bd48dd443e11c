"""What optimisers move: variables and gradient, against ASE and differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.filters import FrechetCellFilter

from mftscreen import MFTCalculator
from mftscreen.screen.relax.coordinates import Coordinates
from mftscreen.testing import FakeModel

Rattled = Callable[[int], list[Atoms]]


class TestCoordinates:
    @pytest.mark.parametrize("strained", [False, True])
    def test_gradient_is_that_of_the_energy(
        self, rattled: Rattled, strained: bool
    ) -> None:
        atoms = rattled(4)[3]
        coordinates = Coordinates(atoms, relax_cell=True)
        if strained:
            kick = np.random.default_rng(0).normal(size=coordinates.ndofs())
            coordinates.set_x(coordinates.get_x() + 0.05 * kick)
        x = coordinates.get_x()
        (found,) = FakeModel().evaluate([atoms], energy=True)
        coordinates.set_derivatives(found.energy, found.forces, found.virial)
        gradient = coordinates.get_gradient()
        step = 1e-5
        for k in (0, 7, *range(len(x) - 9, len(x))):
            energies = []
            for sign in (1, -1):
                moved = x.copy()
                moved[k] += sign * step
                coordinates.set_x(moved)
                (found,) = FakeModel().evaluate([atoms], energy=True)
                energies.append(found.energy)
            slope = (energies[0] - energies[1]) / (2 * step)
            assert gradient[k] == pytest.approx(slope, abs=2e-6)

    def test_same_variables_as_ase(self, rattled: Rattled) -> None:
        atoms = rattled(2)[1]
        twin = atoms.copy()
        twin.calc = MFTCalculator(FakeModel())
        cell_filter = FrechetCellFilter(twin)
        coordinates = Coordinates(atoms, relax_cell=True)
        kick = 0.1 * np.random.default_rng(1).normal(size=coordinates.ndofs())
        x = coordinates.get_x() + kick
        coordinates.set_x(x)
        cell_filter.set_positions(cell_filter.get_positions() + kick.reshape(-1, 3))
        np.testing.assert_allclose(coordinates.get_x(), x, atol=1e-12)
        np.testing.assert_allclose(atoms.positions, twin.positions, atol=1e-10)
        np.testing.assert_allclose(atoms.cell, twin.cell, atol=1e-10)
        (found,) = FakeModel().evaluate([atoms], energy=True)
        coordinates.set_derivatives(found.energy, found.forces, found.virial)
        np.testing.assert_allclose(
            -coordinates.get_gradient(), cell_filter.get_forces().ravel(), atol=1e-8
        )
        assert coordinates.volume_change == pytest.approx(
            atoms.get_volume() / bulk_volume(cell_filter) - 1
        )


def bulk_volume(cell_filter: FrechetCellFilter) -> float:
    return abs(np.linalg.det(cell_filter.orig_cell))
