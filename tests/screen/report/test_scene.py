"""Structures as they are drawn: bonds, cell, faces."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from mftscreen.screen.report.scene import build_scene


def test_scene_bonds_cations_to_anions_only() -> None:
    scene = build_scene(
        Atoms(
            "BaTiO3",
            cell=[4.0] * 3,
            pbc=True,
            scaled_positions=[
                [0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5],
            ],
        )
    )  # fmt: skip
    # barium at eight corners, an oxygen on each of six faces
    assert sorted(scene["symbols"]) == ["Ba"] * 8 + ["O"] * 6 + ["Ti"]
    bonded = [{scene["symbols"][i], scene["symbols"][j]} for i, j in scene["bonds"]]
    assert bonded.count({"Ti", "O"}) == 6
    assert {"Ba", "Ti"} not in bonded


def test_scene_of_a_molecule_has_no_cell_and_stays_in_place() -> None:
    water = molecule("H2O")
    scene = build_scene(water)
    assert scene["cell"] is None
    assert len(scene["bonds"]) == 2
    assert np.allclose(scene["positions"], water.positions, atol=5e-4)


def test_scene_shows_an_atom_just_below_a_face_on_both_sides() -> None:
    scene = build_scene(Atoms("Po", cell=[3.4] * 3, pbc=True, positions=[[3.39, 1, 1]]))
    assert sorted(p[0] for p in scene["positions"]) == pytest.approx([-0.01, 3.39])
