"""Maps: where the points are."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from scipy.sparse import csr_array
from sklearn.decomposition import PCA

from mftscreen.errors import DataError
from mftscreen.ood.map.embedding import MapPoint, embed, reference_points
from mftscreen.ood.reference.reference_set import fit_reference


def clusters(n: int = 20, seed: int = 0) -> np.ndarray:
    """Return two groups of sparse vectors that have no column in common."""
    rng = np.random.default_rng(seed)
    vectors = np.zeros((2 * n, 12))
    vectors[:n, :4] = 3.0 + 0.1 * rng.random((n, 4))
    vectors[n:, 4:8] = 3.0 + 0.1 * rng.random((n, 4))
    return vectors


def test_pca_is_that_of_the_reference_alone() -> None:
    reference, new = clusters(), clusters(seed=1)[::7]
    found = embed(csr_array(reference), new, method="pca")
    pca = PCA(2, svd_solver="full").fit(reference)
    # the sign of a component is free
    assert np.allclose(abs(found.reference), abs(pca.transform(reference)), atol=1e-8)
    assert np.allclose(abs(found.candidates), abs(pca.transform(new)), atol=1e-8)
    assert found.axes[0] == f"PC 1 ({100 * pca.explained_variance_ratio_[0]:.0f} %)"


def test_tsne_keeps_neighbours_together_and_new_columns_apart() -> None:
    reference = clusters(30)
    inside, outside = clusters(1, seed=2)[0], np.zeros(12)
    outside[9:] = 9.0  # in columns that the reference set never uses
    found = embed(csr_array(reference), [inside, outside], perplexity=5.0, seed=3)
    assert found.description == (
        "t-SNE of 12 principal components, perplexity 5, seed 3"
    )
    distances = np.linalg.norm(
        found.reference[:, None] - found.candidates[None], axis=2
    )
    nearest = distances.argmin(axis=0)
    assert nearest[0] < 30
    spread = np.ptp(found.reference[:30], axis=0).max()
    assert distances[nearest[0], 0] < spread
    again = embed(csr_array(reference), [inside, outside], perplexity=5.0, seed=3)
    assert np.array_equal(found.reference, again.reference)


def test_perplexity_is_lowered_for_few_points() -> None:
    found = embed(csr_array(clusters(5)), [])
    assert "perplexity 3," in found.description
    assert found.candidates.shape == (0, 2)


def test_too_few_points() -> None:
    with pytest.raises(DataError, match="at least 3 reference structures, got 2"):
        embed(csr_array(clusters(1)), clusters(5))


@pytest.mark.parametrize("method", ["tsne", "pca"])
@pytest.mark.parametrize("noise", [0.0, 1e-14])
def test_equal_vectors_make_no_map(method: str, noise: float) -> None:
    same = np.ones((20, 9)) + noise * np.random.default_rng(0).normal(size=(20, 9))
    with pytest.raises(DataError, match=r"all orbital field matrices are equal \(20 "):
        embed(csr_array(same), method=method)


@pytest.mark.parametrize("perplexity", [1.0, 0.0, np.nan, np.inf])
def test_perplexity_is_checked(perplexity: float) -> None:
    with pytest.raises(DataError, match="perplexity must be a number above 1"):
        embed(csr_array(clusters()), perplexity=perplexity)


def test_sparse_candidates_are_placed_like_dense_ones() -> None:
    reference, new = csr_array(clusters()), clusters(seed=1)[::7]
    dense, sparse = (embed(reference, x, method="pca") for x in (new, csr_array(new)))
    assert np.array_equal(dense.candidates, sparse.candidates)


def test_reference_points_have_leave_one_out_p_values() -> None:
    crystals = {f"{k}": bulk("NaCl", "rocksalt", a=5.4 + 0.01 * k) for k in range(24)}
    reference, _ = fit_reference({**crystals, "odd": bulk("W")}.items())
    points = reference_points(reference, 0.05)
    assert [point.id for point in points] == list(reference.ids)
    assert points[-1] == MapPoint("odd", "W", 1 / 25, True)
    assert not any(point.ood for point in reference_points(reference, 0.039))
    # refitted without it, a point has the same p-value
    others = {name: atoms for name, atoms in crystals.items() if name != "7"}
    rest, _ = fit_reference({**others, "odd": bulk("W")}.items())
    assert rest.detector is not None
    assert reference.detector is not None
    own = rest.detector.p_value(reference.detector.reference_[[7]])[0]
    # the neighbours of the point left out are now further apart themselves
    assert points[7].p_value == pytest.approx(own, abs=3 / 25)
