from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from mftscreen.diagnostics.sampling import gather_rows, sample_each
from mftscreen.errors import ModelError


def test_samples_are_limited_distinct_and_of_every_kind() -> None:
    codes = np.repeat([3, -1, 0, 7], [50, 40, 5, 30])
    chosen = sample_each(codes, 20, np.random.default_rng(1))
    found, counts = np.unique(codes[chosen], return_counts=True)
    assert dict(zip(found.tolist(), counts.tolist(), strict=True)) == {
        3: 20,
        0: 5,
        7: 20,
    }
    assert len(np.unique(chosen)) == len(chosen)


def test_samples_depend_on_the_seed_alone() -> None:
    codes = np.zeros(1000, dtype=np.int64)
    one, same, other = (
        sample_each(codes, 10, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_nothing_to_sample() -> None:
    codes = np.full(4, -1)
    assert sample_each(codes, 5, np.random.default_rng(0)).tolist() == []


def test_rows_come_in_order_and_unused_structures_are_not_evaluated() -> None:
    sizes = [3, 1, 200, 2, 5]
    structures = [Atoms(f"H{n}", positions=np.zeros((n, 3))) for n in sizes]
    for number, atoms in enumerate(structures):
        atoms.info["features"] = 1000.0 * number + np.arange(len(atoms))[:, None]
    seen = []

    def evaluate(batch: list[Atoms]) -> list[np.ndarray]:
        seen.extend(len(atoms) for atoms in batch)
        return [atoms.info["features"] for atoms in batch]

    everything = np.concatenate([atoms.info["features"] for atoms in structures])
    rows = np.array([210, 0, 5, 203, 2])
    found = gather_rows(evaluate, structures, sizes, rows)
    np.testing.assert_array_equal(found, everything[rows])
    assert sorted(seen) == [3, 5, 200]


def test_features_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ModelError, match="not finite"):
        gather_rows(
            lambda batch: [np.full((1, 2), np.nan) for _ in batch],
            [Atoms("H")],
            [1],
            np.array([0]),
        )
