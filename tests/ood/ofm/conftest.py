"""Crystals whose matrices by matminer are in ofm_reference.npz."""

from __future__ import annotations

import pytest
from ase import Atoms
from ase.build import bulk, mx2
from ase.spacegroup import crystal


def build_layer() -> Atoms:
    atoms = mx2("MoS2", vacuum=10.0)
    atoms.pbc = True
    return atoms


def build_triclinic() -> Atoms:
    return Atoms(
        "FeUBi2",
        positions=[[0.1, 0.2, 0.3], [2.4, 0.7, 1.9], [1.0, 2.9, 0.8], [3.1, 2.6, 3.7]],
        cell=[[4.6, 0.3, -0.2], [0.8, 4.9, 0.5], [-0.6, 1.1, 5.3]],
        pbc=True,
    )


def build_crystals() -> dict[str, Atoms]:
    """Crystals whose matrices by matminer are in ofm_reference.npz."""
    perovskite = Atoms(
        "SrTiO3",
        scaled_positions=[
            [0, 0, 0],
            [0.5, 0.5, 0.5],
            [0.5, 0.5, 0],
            [0.5, 0, 0.5],
            [0, 0.5, 0.5],
        ],
        cell=[3.9, 3.9, 3.9],
        pbc=True,
    )
    return {
        "NaCl": bulk("NaCl", "rocksalt", a=5.64),
        "Si": bulk("Si"),
        "Cu": bulk("Cu"),
        "Ti": bulk("Ti"),
        "ZnS": bulk("ZnS", "wurtzite", a=3.82, c=6.26),
        "SrTiO3": perovskite,
        "triclinic": build_triclinic(),
        "Fe": bulk("Fe"),
        "CsCl": bulk("CsCl", "cesiumchloride", a=4.12),
        "UO2": bulk("UO2", "fluorite", a=5.47),
        "TiO2": crystal(
            ["Ti", "O"],
            [(0, 0, 0), (0.305, 0.305, 0)],
            spacegroup=136,
            cellpar=[4.59, 4.59, 2.96, 90, 90, 90],
        ),
        "Al2O3": crystal(
            ["Al", "O"],
            [(0, 0, 0.352), (0.306, 0, 0.25)],
            spacegroup=167,
            cellpar=[4.76, 4.76, 12.99, 90, 90, 120],
            primitive_cell=True,
        ),
        "LaNi5": crystal(
            ["La", "Ni", "Ni"],
            [(0, 0, 0), (1 / 3, 2 / 3, 0), (0.5, 0, 0.5)],
            spacegroup=191,
            cellpar=[5.02, 5.02, 3.99, 90, 90, 120],
        ),
        "layer": build_layer(),
    }


CRYSTALS = build_crystals()


@pytest.fixture(params=CRYSTALS)
def named(request: pytest.FixtureRequest) -> tuple[str, Atoms]:
    """Give a crystal and its name; each of them, unless a test names some."""
    return request.param, CRYSTALS[request.param].copy()


@pytest.fixture
def layer() -> Atoms:
    return build_layer()


@pytest.fixture
def triclinic() -> Atoms:
    return build_triclinic()
