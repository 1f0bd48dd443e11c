"""Small crystals with targets, and their orbital field matrices."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from mftscreen.ood import OFMFeaturizer
from mftscreen.ood.splits import OFMVectors, SplitData, compute_vectors

SALTS = ["LiF", "NaCl", "MgO", "CaO", "KBr", "TiN"]
METALS = ["Cu", "Al", "Ag", "Pt", "Ni"]


def crystals() -> list[Atoms]:
    """Return 110 crystals: rock salts and fcc metals of several lattice constants."""
    salts = [bulk(s, "rocksalt", a=4.2 + 0.07 * k) for s in SALTS for k in range(10)]
    metals = [bulk(s, "fcc", a=3.6 + 0.06 * k) for s in METALS for k in range(10)]
    return salts + metals


@pytest.fixture(scope="session")
def data() -> SplitData:
    targets = np.random.default_rng(4).gamma(2.0, size=110)
    return SplitData([f"row-{k}" for k in range(110)], crystals(), targets)


@pytest.fixture(scope="session")
def vectors(data: SplitData) -> OFMVectors:
    return compute_vectors(data, OFMFeaturizer())
