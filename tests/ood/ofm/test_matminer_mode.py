"""Orbital field matrices against matminer's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from mftscreen.data.dataset import LabelledStructure
from mftscreen.ood import orbital_field_matrix

DATA = Path(__file__).parent


@pytest.mark.parametrize("table", ["current", "paper"])
def test_equals_matminer(named: tuple[str, Atoms], table: str) -> None:
    name, atoms = named
    with np.load(DATA / "ofm_reference.npz") as stored:
        expected = stored[f"{name}/{table}"]
    vector = orbital_field_matrix(atoms, table=table, mode="matminer")
    assert np.abs(vector - expected).max() < 1e-8
    exact = np.abs(orbital_field_matrix(atoms, table=table) - expected).max()
    # in a dense crystal there is nothing that matminer's approximations could change
    assert exact > 1e-3 if name == "layer" else exact < 1e-8


def paper_vector(element: Any) -> np.ndarray:
    """Valence of an element if the outermost subshell is the last by (n, l)."""
    shells = sorted(
        (n, "spdf".index(letter), count)
        for n, letter, count in element.full_electronic_structure
    )
    outermost = shells[-1][0]
    slots = {"s": 2, "p": 6, "d": 10, "f": 14}
    parts = [np.zeros(size) for size in slots.values()]
    for n, angular, count in shells:
        if n >= outermost - {0: 0, 1: 0, 2: 1, 3: 2}[angular]:
            parts[angular][count - 1] = 1.0
    return np.concatenate(parts)


class MatminerBothTables:
    """matminer's own cells and weights, with the vectors of both element tables.

    An element gets the two vectors one after the other, 64 components; the matrices
    of the tables are then blocks on the diagonal of one matrix.
    """

    def __init__(self) -> None:
        matminer = pytest.importorskip("matminer.featurizers.structure")
        from pymatgen.core import Element

        self.featurizer = matminer.OrbitalFieldMatrix(flatten=False)
        self.featurizer.size = 64
        for z, current in self.featurizer.ohvs.items():
            paper = paper_vector(Element.from_Z(z))
            both = np.concatenate([np.asarray(current)[0], paper])
            # its code relies on what "*" means for this class
            self.featurizer.ohvs[z] = np.matrix(both)

    def __call__(self, atoms: Atoms) -> dict[str, np.ndarray]:
        from pymatgen.io.ase import AseAtomsAdaptor

        (matrix,) = self.featurizer.featurize(AseAtomsAdaptor.get_structure(atoms))
        blocks = {"current": matrix[:32, :32], "paper": matrix[32:, 32:]}
        return {table: np.array(block).ravel() for table, block in blocks.items()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of matminer and pymatgen
@pytest.mark.parametrize("task", ["perovskites", "dielectric", "log_gvrh"])
def test_equals_matminer_on_matbench(
    task: str, matbench: Callable[[str], list[LabelledStructure]]
) -> None:
    small = [row.atoms for row in matbench(task) if len(row.atoms) <= 20]
    matminer = MatminerBothTables()
    for k in np.random.default_rng(11).choice(len(small), 8, replace=False):
        for table, expected in matminer(small[k]).items():
            vector = orbital_field_matrix(small[k], table=table, mode="matminer")
            assert np.abs(vector - expected).max() <= 1e-8, (k, small[k].symbols)
