"""How dense a reference set is around a structure, with calibrated p-values."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from mftscreen.ood.ofm.orbitals import Table, table_hash
from mftscreen.ood.reference.explanation import Explanation, find_unseen
from mftscreen.ood.reference.nearest import InvertedIndex, distinct_rows
from mftscreen.trust.conformal import (
    conformal_p_values,
    loo_p_values,
    significance_threshold,
)

__all__ = ["DensityMethod", "OFMDensityDetector"]

DensityMethod = Literal["knn", "kde"]

FloatArray = NDArray[np.float64]

_BANDWIDTH_NEIGHBOR = 10


class OFMDensityDetector(OutlierMixin, BaseEstimator):
    r"""Detect structures that are far from every structure of a reference set.

    Parameters
    ----------
    method : {"knn", "kde"}, default "knn"
        What is taken for the density: the distance to the nearest neighbours, or a sum
        of Gaussians around all reference vectors. "knn" finds more of what is unlike
        the reference set (``benchmarks/ood_detector.py`` prints the comparison).
    n_neighbors : int, default 2
        For "knn": the mean Euclidean distance to this many nearest neighbours counts.
    bandwidth : float or None, default None
        For "kde": standard deviation of the Gaussians. None takes the median distance
        of a reference vector to its tenth neighbour.
    alpha : float, default 0.05
        ``predict`` flags structures with a p-value of at most `alpha`. Of structures
        drawn like the reference set, about this share is flagged.
    table : {"current", "paper"}, default "current"
        The element table of the vectors, stored with the reference set.
    n_jobs : int, default 1
        Threads of the search; -1 for all cores.

    Attributes
    ----------
    reference_ : csr_array of shape (n_reference, n_features)
        The distinct vectors of :meth:`fit`.
    support_ : ndarray of shape (n_reference,)
        Their row numbers there.
    loo_scores_ : ndarray of shape (n_reference,)
        ``score_samples`` of each reference vector, compared with the others.
    bandwidth_ : float
        The bandwidth that is used; NaN for "knn".
    offset_ : float
        ``score_samples`` below this is flagged; ``-inf`` if the reference set is too
        small for a p-value of `alpha`.
    n_features_in_ : int

    Notes
    -----
    The search is exact, in the full feature space. P-values rank a score among the
    leave-one-out scores of the reference set
    (:mod:`mftscreen.trust.conformal`), up to the difference between leaving one
    out and a separate calibration set. Vectors that equal an earlier one are left out
    by :meth:`fit`: a vector with a twin would be at distance zero from the others,
    where a new structure is not, and far more than `alpha` would be flagged. A
    reference vector is its own nearest neighbour: use `loo_p_values` to look for
    outliers within the reference set.

    Fit it to :attr:`mftscreen.ood.ofm.featurizer.OFMRow.features`: an orbital field
    matrix alone hardly shows that a cell is expanded or compressed, since the whole
    matrix shrinks or grows with the inverse distance; the volume among the features
    does.

    A low p-value is evidence that a structure is unlike the reference set. A high one
    is no proof of the contrary: elements with the same valence orbitals have the same
    orbital field matrix, and differ by their volume only.

    Examples
    --------
    >>> import numpy as np
    >>> reference = np.arange(40.0)[:, None]
    >>> detector = OFMDensityDetector().fit(reference)
    >>> detector.predict([[7.5], [90.0]])
    array([ 1, -1])
    >>> detector.p_value([[90.0]]).round(4)
    array([0.0244])
    """

    def __init__(
        self,
        method: DensityMethod = "knn",
        n_neighbors: int = 2,
        bandwidth: float | None = None,
        alpha: float = 0.05,
        table: Table = "current",
        n_jobs: int = 1,
    ) -> None:
        self.method = method
        self.n_neighbors = n_neighbors
        self.bandwidth = bandwidth
        self.alpha = alpha
        self.table = table
        self.n_jobs = n_jobs

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @property
    def min_reference(self) -> int:
        """Smallest number of distinct vectors that it can be fitted to."""
        return self.n_neighbors + 1 if self.method == "knn" else 2

    def fit(self, X: ArrayLike, y: None = None) -> OFMDensityDetector:
        """Store the reference set and compute its leave-one-out scores.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_reference, n_features)
            Orbital field matrices, flattened, with or without further features.
        y : None
            Ignored.

        Returns
        -------
        OFMDensityDetector

        Raises
        ------
        ValueError
            If a parameter is out of range, or there are fewer distinct vectors than
            `min_reference`.
        """
        self._check_parameters()
        vectors = self._validate(X, reset=True, minimum=2)
        self.support_ = distinct_rows(vectors)
        if len(self.support_) < self.min_reference:
            msg = (
                f"method {self.method!r} with n_neighbors = {self.n_neighbors} needs a "
                f"reference set of at least {self.min_reference} distinct vectors, got "
                f"{len(self.support_)} in n_samples = {vectors.shape[0]}"
            )
            raise ValueError(msg)
        self.reference_ = vectors[self.support_]
        self._index = InvertedIndex(self.reference_)
        self.bandwidth_ = self._choose_bandwidth()
        self._set_loo(self._scores(self.reference_, leave_one_out=True))
        return self

    def score_samples(self, X: ArrayLike) -> FloatArray:
        r"""Return how dense the reference set is around each vector; higher is closer.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_structures, n_features)

        Returns
        -------
        ndarray of shape (n_structures,)
            For "knn", minus the distance: in the order of a nearest-neighbour log
            density, which is :math:`-m \log d` in :math:`m` dimensions, but finite at
            :math:`d = 0`. For "kde",
            :math:`\ln \frac{1}{n} \sum_i e^{-d_i^2 / 2 h^2}` with the bandwidth
            :math:`h`.
        """
        check_is_fitted(self)
        return self._scores(self._validate(X))

    def decision_function(self, X: ArrayLike) -> FloatArray:
        """Return ``score_samples(X) - offset_``; negative where a structure is flagged.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_structures, n_features)

        Returns
        -------
        ndarray of shape (n_structures,)
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """Return -1 for structures with a p-value of at most `alpha`, 1 for the others.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_structures, n_features)

        Returns
        -------
        ndarray of shape (n_structures,)
        """
        return np.where(self.decision_function(X) < 0.0, -1, 1)

    def p_value(self, X: ArrayLike) -> FloatArray:
        """Return the share of the reference set that is at least as far from the rest.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_structures, n_features)

        Returns
        -------
        ndarray of shape (n_structures,)
            From 1 / (n_reference + 1) to 1. Low for a structure unlike the reference
            set. The reference vectors themselves are no test of it, see
            :meth:`loo_p_values`.
        """
        return self._rank(self.score_samples(X))

    def loo_p_values(self) -> FloatArray:
        """Return the p-value of each reference vector among the others.

        Returns
        -------
        ndarray of shape (n_reference,)
            From 1 / n_reference to 1, in the order of `reference_`.
        """
        check_is_fitted(self)
        return loo_p_values(self.loo_scores_)

    def explain(self, x: ArrayLike, n_nearest: int = 5) -> Explanation:
        """Return the nearest reference vectors and unseen orbital pairs of a vector.

        Parameters
        ----------
        x : array-like of shape (n_features,)
        n_nearest : int, default 5
            Number of reference vectors to name, at least 1; all of them if there are
            fewer.

        Returns
        -------
        Explanation

        Raises
        ------
        ValueError
            If `n_nearest` is less than 1.
        """
        return self.explain_rows(np.reshape(np.asarray(x), (1, -1)), n_nearest)[0]

    def explain_rows(self, X: ArrayLike, n_nearest: int = 5) -> list[Explanation]:
        """Return :meth:`explain` of each row, with one search for all.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_structures, n_features)
        n_nearest : int, default 5
            As in :meth:`explain`.

        Returns
        -------
        list of Explanation

        Raises
        ------
        ValueError
            If `n_nearest` is less than 1.
        """
        check_is_fitted(self)
        if n_nearest < 1:
            msg = f"n_nearest must be at least 1, got {n_nearest}"
            raise ValueError(msg)
        query = self._validate(X)
        named = min(n_nearest, self.reference_.shape[0])
        is_knn = self.method == "knn"
        count = max(named, self.n_neighbors) if is_knn else named
        indices, distances = self._index.nearest(query, count, n_jobs=self.n_jobs)
        scores = self._mean_score(distances) if is_knn else self._scores(query)
        p_values = self._rank(scores).tolist()
        return [
            Explanation(
                indices[row, :named],
                distances[row, :named],
                p_value,
                *find_unseen(query, row, self._index.seen),
            )
            for row, p_value in enumerate(p_values)
        ]

    def restore(
        self, reference: csr_array, loo_scores: FloatArray
    ) -> OFMDensityDetector:
        """Take over what an earlier :meth:`fit` with the same parameters found.

        Parameters
        ----------
        reference : csr_array of shape (n_reference, n_features)
            As `reference_`.
        loo_scores : ndarray of shape (n_reference,)
            As `loo_scores_`.

        Returns
        -------
        OFMDensityDetector

        Raises
        ------
        ValueError
            If a parameter is out of range, or the arrays do not fit each other.
        """
        self._check_parameters()
        n, width = reference.shape
        if loo_scores.shape != (n,) or n < self.min_reference:
            msg = f"{loo_scores.shape} leave-one-out scores for {n} reference vectors"
            raise ValueError(msg)
        self.reference_ = reference
        self.support_ = np.arange(n)
        self.n_features_in_ = width
        self._index = InvertedIndex(reference)
        self.bandwidth_ = self._choose_bandwidth()
        self._set_loo(loo_scores)
        return self

    def _check_parameters(self) -> None:
        if self.method not in get_args(DensityMethod):
            msg = f"method must be 'knn' or 'kde', got {self.method!r}"
            raise ValueError(msg)
        if not isinstance(self.n_neighbors, Integral) or self.n_neighbors < 1:
            msg = f"n_neighbors must be an integer >= 1, got {self.n_neighbors!r}"
            raise ValueError(msg)
        if self.bandwidth is not None and not (
            isinstance(self.bandwidth, Real) and 0.0 < self.bandwidth < np.inf
        ):
            msg = f"bandwidth must be a number > 0 or None, got {self.bandwidth!r}"
            raise ValueError(msg)
        if not isinstance(self.alpha, Real) or not 0.0 < self.alpha < 1.0:
            msg = f"alpha must be a number between 0 and 1, got {self.alpha!r}"
            raise ValueError(msg)
        table_hash(self.table)  # raises for an unknown table

    def _validate(
        self, X: ArrayLike, *, reset: bool = False, minimum: int = 1
    ) -> csr_array:
        checked = validate_data(
            self,
            X,
            reset=reset,
            accept_sparse="csr",
            dtype=np.float64,
            ensure_min_samples=minimum,
        )
        return csr_array(checked)

    def _choose_bandwidth(self) -> float:
        if self.method == "knn":
            return float("nan")
        if self.bandwidth is not None:
            return float(self.bandwidth)
        count = min(_BANDWIDTH_NEIGHBOR, self.reference_.shape[0] - 1)
        _, distances = self._index.nearest(
            self.reference_, count, leave_one_out=True, n_jobs=self.n_jobs
        )
        return float(np.median(distances[:, -1]))

    def _set_loo(self, scores: FloatArray) -> None:
        self.loo_scores_ = scores
        self._sorted = np.sort(scores)
        self.offset_ = significance_threshold(self._sorted, self.alpha)

    def _rank(self, scores: FloatArray) -> FloatArray:
        return conformal_p_values(scores, self._sorted)

    def _scores(self, query: csr_array, *, leave_one_out: bool = False) -> FloatArray:
        if self.method == "kde":
            return self._index.log_density(
                query, self.bandwidth_, leave_one_out=leave_one_out, n_jobs=self.n_jobs
            )
        _, distances = self._index.nearest(
            query, self.n_neighbors, leave_one_out=leave_one_out, n_jobs=self.n_jobs
        )
        return self._mean_score(distances)

    def _mean_score(self, distances: FloatArray) -> FloatArray:
        nearest = np.ascontiguousarray(distances[:, : self.n_neighbors])
        return np.asarray(-nearest.mean(axis=1), dtype=np.float64)
