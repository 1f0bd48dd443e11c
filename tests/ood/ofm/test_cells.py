"""Crystals: which are refused, and that their cell's form does not matter."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell

from mftscreen.errors import (
    InvalidGeometryError,
    PeriodicityError,
    StructureError,
    UnknownElementError,
)
from mftscreen.ood import orbital_field_matrix


@pytest.mark.parametrize("size", [7, 60])
def test_skewed_cells_have_the_matrix_of_the_compact_one(
    named: tuple[str, Atoms], size: int
) -> None:
    _, atoms = named
    basis = [[1, 0, 0], [size, 1, 0], [3 - size, size - 2, 1]]
    skewed = make_supercell(atoms, basis, wrap=False)
    heights = 1 / np.linalg.norm(skewed.cell.reciprocal(), axis=1)
    assert size == 7 or heights.min() < 0.2
    expected = orbital_field_matrix(atoms)
    assert orbital_field_matrix(skewed) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(
    ("atoms", "error", "message"),
    [
        (Atoms(cell=[5, 5, 5], pbc=True), InvalidGeometryError, "no atoms"),
        (Atoms("Si", cell=[5, 5, 5]), PeriodicityError, "False"),
        (bulk("Am", "fcc", a=4.9), UnknownElementError, "Am"),
        (Atoms("X", cell=[5, 5, 5], pbc=True), UnknownElementError, "X"),
        (
            Atoms("Si", [[np.nan, 0, 0]], cell=[5, 5, 5], pbc=True),
            InvalidGeometryError,
            "not finite",
        ),
        (
            Atoms("Si", cell=[5, 5, np.inf], pbc=True),
            InvalidGeometryError,
            "cell is not finite",
        ),
        (
            Atoms("Si", cell=[[5, 0, 0], [0, 5, 0], [5, 5, 0]], pbc=True),
            InvalidGeometryError,
            "no volume",
        ),
        (
            Atoms("Si", cell=[[5, 0, 0], [0, 5, 0], [0, 0, 0]], pbc=True),
            InvalidGeometryError,
            "no volume",
        ),
        (
            Atoms("Si", cell=[[5, 0, 0], [0, 5, 0], [90, 75, 0.4]], pbc=True),
            InvalidGeometryError,
            "no volume",
        ),
        (
            Atoms("SiC", [[0, 0, 0], [0, 0, 4.9]], cell=[5, 5, 5], pbc=True),
            InvalidGeometryError,
            r"0 \(Si\) and 1 \(C\) are 0.100 Å",
        ),
        (
            Atoms("SiC", [[0, 0, 0], [0, 0, 0]], cell=[5, 5, 5], pbc=True),
            InvalidGeometryError,
            "0.000 Å",
        ),
        (
            Atoms("Si", [[2e4, 0, 0]], cell=[5, 5, 5], pbc=True),
            InvalidGeometryError,
            r"coordinate of 2e\+04 Å",
        ),
        (
            Atoms("Si", cell=[1e200, 5, 5], pbc=True),
            InvalidGeometryError,
            r"coordinate of 1e\+200 Å",
        ),
        (
            Atoms("C", cell=[2.5, 2.5, 9e3], pbc=True),
            InvalidGeometryError,
            "reduce the vacuum",
        ),
        (
            Atoms(numbers=[200], cell=[5, 5, 5], pbc=True),
            UnknownElementError,
            "number 200",
        ),
        ("Si", StructureError, "str"),
    ],
)
def test_errors(atoms: Atoms, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        orbital_field_matrix(atoms)


def test_an_interrupt_of_the_tessellation_stays_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object) -> None:  # as numba tells of Ctrl-C
        raise SystemError("a result with an exception set") from KeyboardInterrupt()

    monkeypatch.setattr("mftscreen.ood.ofm.voronoi.tessellate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        orbital_field_matrix(bulk("Si"))
