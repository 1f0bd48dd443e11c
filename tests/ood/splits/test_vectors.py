"""Orbital field matrices of a data set, and their neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import molecule

from mftscreen.errors import DataError
from mftscreen.ood import OFMFeaturizer
from mftscreen.ood.splits import (
    SplitData,
    compute_vectors,
    nearest_materials,
)


def test_neighbours_are_taken_once_in_order_of_labels() -> None:
    values = np.array([0.0, 1.0, 1.5, 3.0, 10.0, 11.0, 30.0])[:, None]
    assert nearest_materials(values, {2: 0, 1: 1}, 2) == {1: [2, 0], 2: [1, 3]}
    with pytest.raises(DataError, match="more than 8 rows, got 7"):
        nearest_materials(values, {0: 0, 1: 1}, 4)


def test_rows_without_matrix_are_named(data: SplitData) -> None:
    atoms = [*data.structures[:4], molecule("H2O")]
    bad = SplitData([*data.ids[:4], "water"], atoms, np.arange(5.0))
    with pytest.raises(DataError, match=r"1 of 5 rows .* water \(.*periodic"):
        compute_vectors(bad, OFMFeaturizer())
