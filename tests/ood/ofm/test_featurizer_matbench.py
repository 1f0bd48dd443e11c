"""Orbital field matrices of all MatBench structures, some of them against matminer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from mftscreen.data.sources import read_labelled
from mftscreen.ood import OFMFeaturizer, orbital_field_matrix

TASKS = {"perovskites": "e_form", "dielectric": "n", "log_gvrh": "log10(G_VRH)"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("MFTSCREEN_DATA" not in os.environ, reason="no MFTSCREEN_DATA"),
]


def structures(task: str) -> Iterator[Atoms]:
    path = Path(os.environ["MFTSCREEN_DATA"]) / f"matbench/matbench_{task}.json.gz"
    return (row.atoms for row in read_labelled(path, TASKS[task]))


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


@pytest.mark.filterwarnings("ignore")  # of matminer and pymatgen
@pytest.mark.parametrize("task", TASKS)
def test_equals_matminer(task: str) -> None:
    small = [atoms for atoms in structures(task) if len(atoms) <= 20]
    matminer = MatminerBothTables()
    for k in np.random.default_rng(11).choice(len(small), 110, replace=False):
        for table, expected in matminer(small[k]).items():
            vector = orbital_field_matrix(small[k], table=table, mode="matminer")
            assert np.abs(vector - expected).max() <= 1e-8, (k, small[k].symbols)


@pytest.mark.parametrize(
    ("task", "count", "low_dimensional"),
    [("perovskites", 18928, 0), ("dielectric", 4764, 18), ("log_gvrh", 10987, 8)],
)
def test_every_structure_has_a_matrix(
    task: str, count: int, low_dimensional: int
) -> None:
    rows = flagged = 0
    for row in OFMFeaturizer(n_jobs=2)(structures(task)):
        assert row.status == "ok", row.error
        assert np.isfinite(row.vector).all()
        rows += 1
        flagged += row.low_dimensional
    assert (rows, flagged) == (count, low_dimensional)
