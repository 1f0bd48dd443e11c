"""Exact neighbours and densities among sparse vectors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

from mftscreen.ood import OFMDensityDetector
from mftscreen.ood.reference.nearest import InvertedIndex


def sparse_vectors(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.random((n, 60)) * (rng.random((n, 60)) < 0.3)


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("k", [1, 3])
def test_distances_equal_brute_force(
    k: int, n_jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mftscreen.ood.reference.nearest._BLOCK", 7)  # several blocks
    reference, query = sparse_vectors(80), sparse_vectors(30, seed=1)
    detector = OFMDensityDetector(n_neighbors=k, n_jobs=n_jobs).fit(reference)
    expected = np.sort(cdist(query, reference), axis=1)[:, :k].mean(axis=1)
    assert np.allclose(-detector.score_samples(query), expected, atol=1e-13)
    own = np.sort(cdist(reference, reference), axis=1)[:, 1 : k + 1].mean(axis=1)
    assert np.allclose(-detector.loo_scores_, own, atol=1e-13)
    single = np.array([detector.score_samples(row[None])[0] for row in query])
    assert np.array_equal(single, detector.score_samples(query))


@pytest.mark.parametrize("bandwidth", [None, 0.3])
def test_kde_equals_brute_force(bandwidth: float | None) -> None:
    reference, query = sparse_vectors(80), sparse_vectors(30, seed=1)
    query[0] *= 1e3  # so far that every Gaussian underflows
    detector = OFMDensityDetector(method="kde", bandwidth=bandwidth).fit(reference)
    between = cdist(reference, reference)
    if bandwidth is None:
        bandwidth = np.median(np.sort(between, axis=1)[:, 10])
    assert detector.bandwidth_ == pytest.approx(bandwidth, rel=1e-12)
    exponents = -(cdist(query, reference) ** 2) / (2 * bandwidth**2)
    expected = logsumexp(exponents, axis=1) - np.log(80)
    assert np.allclose(detector.score_samples(query), expected, rtol=1e-9)
    np.fill_diagonal(between, np.inf)
    own = logsumexp(-(between**2) / (2 * bandwidth**2), axis=1) - np.log(79)
    assert np.allclose(detector.loo_scores_, own, rtol=1e-9)


def test_explicit_zeros_and_unsorted_rows_change_nothing() -> None:
    reference = sparse_vectors(40)
    messy = csr_array(reference)
    order = np.concatenate(
        [
            np.arange(a, b)[::-1]
            for a, b in zip(messy.indptr, messy.indptr[1:], strict=False)
        ]
    )
    messy = csr_array(
        (messy.data[order], messy.indices[order], messy.indptr), shape=messy.shape
    )
    query = sparse_vectors(10, seed=3)
    zeros = csr_array(
        (query.ravel(), np.tile(np.arange(60), 10), np.arange(0, 601, 60)),
        shape=query.shape,
    )
    expected = OFMDensityDetector().fit(reference).score_samples(query)
    found = OFMDensityDetector().fit(messy).score_samples(zeros)
    assert np.array_equal(found, expected)
    assert zeros.nnz == 600  # the caller's matrix is left as it was


def test_the_first_of_equal_rows_is_kept() -> None:
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1e-9], [1.0, 1e-4], [0.0, 1.0]])
    for scale in (1e-8, 1.0, 1e8):
        detector = OFMDensityDetector().fit(scale * rows)
        assert detector.support_.tolist() == [0, 1, 3]


@pytest.mark.parametrize("k", [-1, 0, 10])
def test_impossible_numbers_of_neighbours(k: int) -> None:
    rows = csr_array(sparse_vectors(10))
    with pytest.raises(ValueError, match=f"nearest {k} of 9 vectors; 1 to 9"):
        InvertedIndex(rows).nearest(rows, k, leave_one_out=True)
