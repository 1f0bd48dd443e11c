"""Pooled descriptors."""

from __future__ import annotations

import numpy as np

from mftscreen.model.readouts.pooling import pool


def test_a_supercell_has_the_vector_of_its_cell() -> None:
    descriptors = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_allclose(pool(np.tile(descriptors, (4, 1))), pool(descriptors))


def test_one_atom_has_no_spread() -> None:
    np.testing.assert_array_equal(pool(np.array([[1.0, -2.0]])), [1.0, -2.0, 0.0, 0.0])
