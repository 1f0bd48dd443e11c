"""Orbital field matrices of a data set: their clusters and neighbours."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mftscreen.console.progress import progress_bar
from mftscreen.errors import DataError
from mftscreen.ood.ofm.featurizer import N_ORBITAL_PAIRS, Mode, OFMFeaturizer
from mftscreen.ood.ofm.orbitals import Table
from mftscreen.ood.splits.split_rows import SplitData

__all__ = ["OFMVectors", "cluster_rows", "compute_vectors", "nearest_materials"]


@dataclass(frozen=True, eq=False)
class OFMVectors:
    """Orbital field matrices of all rows of a data set.

    Attributes
    ----------
    features : ndarray of shape (n_rows, 1025)
        As :attr:`mftscreen.ood.ofm.featurizer.OFMRow.features`.
    table : {"current", "paper"}
    mode : {"exact", "matminer"}
        As in :func:`mftscreen.ood.orbital_field_matrix`.
    """

    features: NDArray[np.float64]
    table: Table
    mode: Mode

    @property
    def values(self) -> NDArray[np.float64]:
        """The matrices (n_rows, 1024) in 1/Bohr, which published splits cluster."""
        return self.features[:, :N_ORBITAL_PAIRS]

    @property
    def reduced(self) -> NDArray[np.float64]:
        """The matrices without the columns that are zero in every row."""
        return self.values[:, self.values.any(axis=0)]


def compute_vectors(
    data: SplitData, featurizer: OFMFeaturizer, *, progress: bool = False
) -> OFMVectors:
    """Return the orbital field matrices of all rows.

    Parameters
    ----------
    data : SplitData
    featurizer : OFMFeaturizer
        The published folds were made with ``table="paper"``, ``mode="matminer"``.
    progress : bool, default False
        Show a progress bar on standard error.

    Returns
    -------
    OFMVectors

    Raises
    ------
    DataError
        If rows have no orbital field matrix; they are named. A split that left them
        out silently would be one of other data.
    """
    bar = progress_bar(
        featurizer(data.structures),
        shown=progress,
        total=len(data),
        unit="structure",
        desc="OFM",
    )
    vectors, failed = [], []
    for name, row in zip(data.ids, bar, strict=True):
        if row.features is None:
            failed.append(f"{name} ({row.error})")
        else:
            vectors.append(row.features)
    if failed:
        msg = (
            f"{len(failed)} of {len(data)} rows have no orbital field matrix: "
            f"{'; '.join(failed[:3])}{'; ...' if failed[3:] else ''}"
        )
        raise DataError(msg)
    return OFMVectors(np.stack(vectors), featurizer.table, featurizer.mode)


def cluster_rows(
    values: NDArray[np.float64], n_clusters: int, seed: int
) -> NDArray[np.int64]:
    """Return the k-means cluster of each row.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features)
    n_clusters : int
    seed : int
        Of the 10 starts, of which the best counts.

    Returns
    -------
    ndarray of shape (n_rows,)
        Labels from 0; no row is nearer to the mean of another cluster than to that of
        its own.

    Raises
    ------
    DataError
        If there are fewer distinct rows than clusters.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    if not 2 <= n_clusters <= len(values):
        msg = f"{n_clusters} clusters of {len(values)} rows; at least 2 of each"
        raise DataError(msg)
    # without a tolerance it ends where no row is nearer to another cluster's mean
    model = KMeans(n_clusters, n_init=10, tol=0.0, max_iter=1000, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels: NDArray[np.int64] = model.fit_predict(values).astype(np.int64)
    n_found = len(np.unique(labels))
    if n_found < n_clusters:
        msg = (
            f"{n_clusters} clusters of {n_found} distinct orbital field matrices; use "
            f"n_clusters = {n_found} or less"
        )
        raise DataError(msg)
    return labels


def nearest_materials(
    values: NDArray[np.float64], centres: Mapping[int, int], n_neighbors: int
) -> dict[int, list[int]]:
    """Return the rows nearest to some centres, no row for two centres.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features)
    centres : mapping of int to int
        Label of a cluster to its central row. Clusters choose in ascending label.
    n_neighbors : int

    Returns
    -------
    dict of int to list of int
        The `n_neighbors` rows of smallest Euclidean distance for each label, nearest
        first, except the centre itself and what an earlier cluster took. The centre
        of one cluster can be a neighbour of another.

    Raises
    ------
    DataError
        If there are too few rows.

    Examples
    --------
    >>> import numpy as np
    >>> nearest_materials(np.arange(8.0)[:, None], {0: 2, 1: 3}, 2)
    {0: [1, 3], 1: [2, 4]}
    """
    if len(centres) * n_neighbors >= len(values):
        msg = (
            f"{len(centres)} clusters of {n_neighbors} neighbours each need more than "
            f"{len(centres) * n_neighbors} rows, got {len(values)}"
        )
        raise DataError(msg)
    taken = np.zeros(len(values), dtype=bool)
    neighbours = {}
    for label in sorted(centres):
        distances = np.linalg.norm(values - values[centres[label]], axis=1)
        distances[taken] = np.inf
        distances[centres[label]] = np.inf
        nearest = np.argsort(distances, kind="stable")[:n_neighbors]
        taken[nearest] = True
        neighbours[label] = [int(row) for row in nearest]
    return neighbours
