"""Distance of orbital field matrices to a reference set, with calibrated p-values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from mftscreen.errors import ModelFileError
from mftscreen.ood.nearest import iter_nearest
from mftscreen.ood.orbitals import ORBITALS, Table, pair_label, table_hash

__all__ = ["Explanation", "OFMDensityDetector"]

FloatArray = NDArray[np.float64]

_KEYS = (
    *("data", "indices", "indptr", "shape", "loo_distances"),
    *("n_neighbors", "alpha", "table_hash"),
)


@dataclass(frozen=True)
class Explanation:
    """Why a structure is near to the reference set, or far from it.

    Attributes
    ----------
    indices : ndarray of shape (k,)
        Rows of the reference set, nearest first.
    distances : ndarray of shape (k,)
        Their Euclidean distances.
    p_value : float
        As :meth:`OFMDensityDetector.p_value`.
    unseen : tuple of str
        Orbital pairs, neighbour first, that meet nowhere in the reference set, the
        strongest first: ``"d10 – p4"``.
    """

    indices: NDArray[np.int64]
    distances: FloatArray
    p_value: float
    unseen: tuple[str, ...]


class OFMDensityDetector(OutlierMixin, BaseEstimator):
    r"""Detect structures that are far from every structure of a reference set.

    Parameters
    ----------
    n_neighbors : int, default 1
        The distance is the mean Euclidean distance to this many nearest neighbours.
    alpha : float, default 0.05
        ``predict`` flags structures with a p-value of at most `alpha`. Of structures
        drawn like the reference set, about this share is flagged.
    table : {"current", "paper"}, default "current"
        The element table of the vectors, stored with the reference set.

    Attributes
    ----------
    reference_ : csr_array of shape (n_reference, n_features)
        The vectors of :meth:`fit`.
    loo_distances_ : ndarray of shape (n_reference,)
        Distance of each reference vector to the others, ascending.
    offset_ : float
        ``score_samples`` below this is flagged; ``-inf`` if the reference set is too
        small for a p-value of `alpha`.
    n_features_in_ : int

    Notes
    -----
    The search is exact, in the full feature space. With :math:`n` reference vectors and
    their leave-one-out distances :math:`d_i`,

    .. math:: p(d) = \frac{1 + \#\{i: d_i \ge d\}}{n + 1},

    a conformal p-value [1]_ up to the difference between leaving one out and a separate
    calibration set. Equal distances count against flagging, so that a reference set
    with duplicates flags less than `alpha`, never more. A reference vector has distance
    0 to itself: use `loo_distances_` to look for outliers within the reference set.

    A low p-value is evidence that a structure is unlike the reference set. A high one
    is no proof of the contrary: elements with the same valence orbitals have the same
    vector, and in an expanded cell the matrix shrinks instead of moving away.

    References
    ----------
    .. [1] R. Laxhammar and G. Falkman, Ann. Math. Artif. Intell. 74, 67 (2015),
       doi:10.1007/s10472-013-9381-7

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
        self, n_neighbors: int = 1, alpha: float = 0.05, table: Table = "current"
    ) -> None:
        self.n_neighbors = n_neighbors
        self.alpha = alpha
        self.table = table

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def fit(self, X: ArrayLike, y: None = None) -> OFMDensityDetector:
        """Store the reference set and compute its leave-one-out distances.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_reference, n_features)
            Orbital field matrices, flattened: 1024 features in 1/Bohr.
        y : None
            Ignored.

        Returns
        -------
        OFMDensityDetector

        Raises
        ------
        ValueError
            If a parameter is out of range, or there are not more reference vectors
            than `n_neighbors`.
        """
        self._check_parameters()
        self.reference_ = self._validate(X, reset=True, minimum=2)
        n = self.reference_.shape[0]
        if n <= self.n_neighbors:
            msg = (
                f"n_neighbors = {self.n_neighbors} needs a reference set of at least "
                f"{self.n_neighbors + 1} vectors, got n_samples = {n}"
            )
            raise ValueError(msg)
        self._set_loo(self._distances(self.reference_, leave_one_out=True))
        return self

    def score_samples(self, X: ArrayLike) -> FloatArray:
        r"""Return minus the distance to the reference set; higher is closer.

        It is in the order of a nearest-neighbour log density, which is
        :math:`-m \log d` in :math:`m` dimensions, but finite at :math:`d = 0`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_structures, n_features)

        Returns
        -------
        ndarray of shape (n_structures,)
            In 1/Bohr, at most 0.
        """
        check_is_fitted(self)
        return -self._distances(self._validate(X))

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
            set. The reference vectors themselves have distance 0 and p = 1.
        """
        return self._rank(-self.score_samples(X))

    def explain(self, x: ArrayLike, n_nearest: int = 5) -> Explanation:
        """Return the nearest reference vectors and unseen orbital pairs of a vector.

        Parameters
        ----------
        x : array-like of shape (n_features,)
        n_nearest : int, default 5
            Number of reference vectors to name; all of them if there are fewer.

        Returns
        -------
        Explanation
        """
        check_is_fitted(self)
        query = self._validate(np.reshape(np.asarray(x), (1, -1)))
        count = max(min(n_nearest, self.reference_.shape[0]), self.n_neighbors)
        indices, distances = next(iter_nearest(query, self.reference_, count))
        seen = np.zeros(query.shape[1], dtype=bool)
        seen[self.reference_.indices[self.reference_.data != 0.0]] = True
        vector = np.abs(query.toarray()[0])
        columns = [k for k in np.argsort(-vector, kind="stable") if vector[k] > 0.0]
        is_ofm = query.shape[1] == len(ORBITALS) ** 2
        distance = distances[: self.n_neighbors].mean()
        return Explanation(
            indices=indices,
            distances=distances,
            p_value=float(self._rank(np.array([distance]))[0]),
            unseen=tuple(
                pair_label(int(k)) if is_ofm else f"feature {k}"
                for k in columns
                if not seen[k]
            ),
        )

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the fitted detector as arrays for :func:`numpy.savez`, without pickle.

        Returns
        -------
        dict of str to ndarray
            ``data``, ``indices``, ``indptr`` and ``shape`` of the reference set,
            ``loo_distances``, ``n_neighbors``, ``alpha`` and ``table_hash``.
        """
        check_is_fitted(self)
        return {
            "data": self.reference_.data,
            "indices": self.reference_.indices,
            "indptr": self.reference_.indptr,
            "shape": np.array(self.reference_.shape),
            "loo_distances": self.loo_distances_,
            "n_neighbors": np.array(self.n_neighbors),
            "alpha": np.array(self.alpha),
            "table_hash": np.array(table_hash(self.table)),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> OFMDensityDetector:
        """Return the detector that :meth:`to_arrays` was called on.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            E.g. what :func:`numpy.load` returns.

        Returns
        -------
        OFMDensityDetector

        Raises
        ------
        ModelFileError
            If an array is missing or does not fit the others, or the vectors were made
            with an element table that this version does not have.
        """
        missing = [key for key in _KEYS if key not in arrays]
        if missing:
            msg = f"the OFM reference set lacks {', '.join(missing)}"
            raise ModelFileError(msg)
        known: dict[str, Table] = {table_hash(t): t for t in ("current", "paper")}
        stored = str(arrays["table_hash"])
        if stored not in known:
            msg = (
                f"the OFM reference set was made with element table {stored}; this "
                f"version has {', '.join(f'{h} ({t})' for h, t in known.items())}"
            )
            raise ModelFileError(msg)
        try:
            detector = cls(
                int(arrays["n_neighbors"]), float(arrays["alpha"]), known[stored]
            )
            detector._check_parameters()
            n, width = (int(size) for size in arrays["shape"])
            parts = tuple(arrays[key] for key in ("data", "indices", "indptr"))
            reference = csr_array(parts, shape=(n, width), dtype=np.float64)
            reference.check_format(full_check=True)
            loo = np.asarray(arrays["loo_distances"], dtype=np.float64)
            if loo.shape != (n,) or n <= detector.n_neighbors:
                msg = f"{loo.shape} leave-one-out distances for {n} reference vectors"
                raise ValueError(msg)
            if not (np.isfinite(loo).all() and np.isfinite(reference.data).all()):
                msg = "a number is not finite"
                raise ValueError(msg)
        except (TypeError, ValueError) as error:
            msg = f"the OFM reference set is damaged: {error}"
            raise ModelFileError(msg) from error
        detector.reference_ = reference
        detector.n_features_in_ = width
        detector._set_loo(loo)
        return detector

    def _check_parameters(self) -> None:
        if not isinstance(self.n_neighbors, Integral) or self.n_neighbors < 1:
            msg = f"n_neighbors must be an integer >= 1, got {self.n_neighbors!r}"
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

    def _set_loo(self, distances: FloatArray) -> None:
        self.loo_distances_ = np.sort(distances)
        n = len(distances)
        # p(d) <= alpha if and only if at most this many distances are >= d; the small
        # number is for alpha * (n + 1) that is an integer but for rounding
        allowed = floor(self.alpha * (n + 1) * (1.0 + 1e-12)) - 1
        self.offset_ = -np.inf if allowed < 0 else -self.loo_distances_[n - 1 - allowed]

    def _rank(self, distances: FloatArray) -> FloatArray:
        n = len(self.loo_distances_)
        below = np.searchsorted(self.loo_distances_, distances, side="left")
        return np.asarray((1.0 + (n - below)) / (n + 1.0), dtype=np.float64)

    def _distances(
        self, query: csr_array, *, leave_one_out: bool = False
    ) -> FloatArray:
        found = iter_nearest(
            query, self.reference_, self.n_neighbors, leave_one_out=leave_one_out
        )
        return np.array([distances.mean() for _, distances in found])
