"""Pooled descriptors."""

from __future__ import annotations

import numpy as np

from mftscreen.model.readouts.pooling import join_pooled, pool


def test_a_supercell_has_the_vector_of_its_cell() -> None:
    descriptors = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_allclose(pool(np.tile(descriptors, (4, 1))), pool(descriptors))


def test_one_atom_has_no_spread() -> None:
    np.testing.assert_array_equal(pool(np.array([[1.0, -2.0]])), [1.0, -2.0, 0.0, 0.0])


def test_descriptors_side_by_side_are_pooled_as_one() -> None:
    rng = np.random.default_rng(0)
    rows = [[rng.normal(size=(n, width)) for width in (3, 5, 1)] for n in (4, 7)]
    parts = [np.array(list(map(pool, own))) for own in zip(*rows, strict=True)]
    expected = np.array([pool(np.hstack(own)) for own in rows])
    np.testing.assert_array_equal(join_pooled(parts), expected)
    assert join_pooled(parts[:1]) is parts[0]
