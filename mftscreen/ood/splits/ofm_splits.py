"""Clusters of orbital field matrices, and sparse regions, as test folds.

The methods are those of Omee et al. [1]_; where their text leaves something open it was
taken from the published folds.

References
----------
.. [1] S. S. Omee, N. Fu, R. Dong, M. Hu and J. Hu, npj Comput. Mater. 10, 144 (2024),
   doi:10.1038/s41524-024-01316-4
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mftscreen.errors import DataError
from mftscreen.ood.map.embedding import check_spread
from mftscreen.ood.splits.split import Split, build_split
from mftscreen.ood.splits.split_rows import SplitData
from mftscreen.ood.splits.vectors import OFMVectors, cluster_rows, nearest_materials

__all__ = [
    "Variant",
    "loco",
    "sparse_x_cluster",
    "sparse_x_single",
    "sparse_y_cluster",
    "sparse_y_single",
]

Variant = Literal["published", "corrected"]

_GRID = 100
"""Points at which the published code evaluated the density of the target."""


def loco(
    data: SplitData,
    vectors: OFMVectors,
    *,
    n_clusters: int = 50,
    seed: int = 0,
    val_share: float = 0.2,
) -> Split:
    """Return leave-one-cluster-out folds: k-means of orbital field matrices.

    Parameters
    ----------
    data : SplitData
    vectors : OFMVectors
        Of all rows of `data`.
    n_clusters : int, default 50
    seed : int, default 0
        Of k-means (the best of 10 starts) and of the validation rows.
    val_share : float, default 0.2
        Share of the rows that are not tested.

    Returns
    -------
    Split
        One fold per cluster. Every row is tested once.

    Raises
    ------
    DataError
        If there are fewer distinct vectors than clusters, or `vectors` are of other
        data.

    Notes
    -----
    k-means depends on its random start, and the published one is not known:
    :func:`read_omee` gives the published clusters.
    """
    _check_vectors(data, vectors)
    labels = cluster_rows(vectors.reduced, n_clusters, seed)
    tests = {str(k): np.flatnonzero(labels == k).tolist() for k in range(n_clusters)}
    parameters = {"n_clusters": n_clusters, "val_share": val_share}
    return build_split(data, "loco", parameters | _origin(vectors), tests, seed=seed)


def sparse_x_single(
    data: SplitData,
    vectors: OFMVectors,
    *,
    n_sparse: int = 500,
    n_clusters: int = 50,
    perplexity: float = 30.0,
    seed: int = 0,
    val_share: float = 0.2,
) -> Split:
    """Return folds of one row each, from sparse regions of a map of structures.

    Parameters
    ----------
    data : SplitData
    vectors : OFMVectors
        Of all rows of `data`.
    n_sparse : int, default 500
        Rows of lowest density in a two-dimensional t-SNE map.
    n_clusters : int, default 50
        Clusters (k-means of the vectors) of them; the sparsest row of each is a test.
    perplexity : float, default 30.0
        Of t-SNE.
    seed : int, default 0
        Of t-SNE, k-means and the validation rows.
    val_share : float, default 0.2
        Share of the rows that are not tested.

    Returns
    -------
    Split
        Folds in ascending density.

    Raises
    ------
    DataError
        If there are too few rows for the other arguments, or `vectors` are of other
        data.

    Notes
    -----
    t-SNE evens out density: the ranking changes with its start and its perplexity, and
    the published rows are only weakly sparse in the space of the vectors.
    """
    order = _sparse_in_x(data, vectors, n_sparse, perplexity, seed)
    parameters = {
        "n_sparse": n_sparse, "n_clusters": n_clusters, "perplexity": perplexity,
        "val_share": val_share,
    }  # fmt: skip
    return _sparse_split(data, vectors, "sparse_x_single", parameters, order, seed)


def sparse_x_cluster(
    data: SplitData,
    vectors: OFMVectors,
    *,
    n_sparse: int = 500,
    n_clusters: int = 50,
    n_neighbors: int = 10,
    perplexity: float = 30.0,
    seed: int = 0,
    val_share: float = 0.2,
) -> Split:
    """Return the folds of :func:`sparse_x_single`, each with its nearest neighbours.

    Parameters
    ----------
    data, vectors, n_sparse, n_clusters, perplexity, seed, val_share
        As in :func:`sparse_x_single`.
    n_neighbors : int, default 10
        Rows added to each fold by :func:`nearest_materials`.

    Returns
    -------
    Split

    Raises
    ------
    DataError
        As :func:`sparse_x_single`, or if there are too few rows for the neighbours.
    """
    order = _sparse_in_x(data, vectors, n_sparse, perplexity, seed)
    parameters = {
        "n_sparse": n_sparse, "n_clusters": n_clusters, "n_neighbors": n_neighbors,
        "perplexity": perplexity, "val_share": val_share,
    }  # fmt: skip
    return _sparse_split(data, vectors, "sparse_x_cluster", parameters, order, seed)


def sparse_y_single(
    data: SplitData,
    vectors: OFMVectors,
    *,
    variant: Variant = "corrected",
    n_sparse: int = 500,
    n_clusters: int = 50,
    seed: int = 0,
    val_share: float = 0.2,
) -> Split:
    """Return folds of one row each, of rare target.

    Parameters
    ----------
    data : SplitData
    vectors : OFMVectors
        Of all rows of `data`.
    variant : {"corrected", "published"}, default "corrected"
        "corrected" takes the rows whose own targets have the lowest density.
        "published" repeats the defect of the published folds, see Notes.
    n_sparse : int, default 500
        Rows of lowest density; "published" has no more than 100.
    n_clusters : int, default 50
        Clusters (k-means of the vectors) of them; the rarest row of each is a test.
    seed : int, default 0
        Of k-means and the validation rows.
    val_share : float, default 0.2
        Share of the rows that are not tested.

    Returns
    -------
    Split
        Folds in ascending density.

    Raises
    ------
    DataError
        If there are too few rows for the other arguments, all targets are equal, or
        `vectors` are of other data.

    Notes
    -----
    In the published files the density (:class:`scipy.stats.gaussian_kde`) was evaluated
    at 100 equidistant values from the smallest to the largest target, and the numbers
    of these *grid points*, sorted by density, were used as *row* numbers. All published
    tests are therefore among the first 100 rows, and are not rare: of 50, only 9, 1 and
    2 (dielectric, log_gvrh, perovskites) are among the 500 rarest rows.
    """
    order = _sparse_in_y(data, variant, n_sparse)
    parameters = {
        "variant": variant, "n_sparse": n_sparse, "n_clusters": n_clusters,
        "val_share": val_share,
    }  # fmt: skip
    return _sparse_split(data, vectors, "sparse_y_single", parameters, order, seed)


def sparse_y_cluster(
    data: SplitData,
    vectors: OFMVectors,
    *,
    variant: Variant = "corrected",
    n_sparse: int = 500,
    n_clusters: int = 50,
    n_neighbors: int = 10,
    seed: int = 0,
    val_share: float = 0.2,
) -> Split:
    """Return the folds of :func:`sparse_y_single`, each with its nearest neighbours.

    Parameters
    ----------
    data, vectors, variant, n_sparse, n_clusters, seed, val_share
        As in :func:`sparse_y_single`.
    n_neighbors : int, default 10
        Rows added to each fold by :func:`nearest_materials`: by structure, not by
        target.

    Returns
    -------
    Split

    Raises
    ------
    DataError
        As :func:`sparse_y_single`, or if there are too few rows for the neighbours.
    """
    order = _sparse_in_y(data, variant, n_sparse)
    parameters = {
        "variant": variant, "n_sparse": n_sparse, "n_clusters": n_clusters,
        "n_neighbors": n_neighbors, "val_share": val_share,
    }  # fmt: skip
    return _sparse_split(data, vectors, "sparse_y_cluster", parameters, order, seed)


def _check_vectors(data: SplitData, vectors: OFMVectors) -> None:
    if len(vectors.values) != len(data):
        msg = f"{len(vectors.values)} vectors of {len(data)} rows"
        raise DataError(msg)


def _origin(vectors: OFMVectors) -> dict[str, str]:
    return {"table": vectors.table, "mode": vectors.mode}


def _sparse_in_x(
    data: SplitData, vectors: OFMVectors, n_sparse: int, perplexity: float, seed: int
) -> NDArray[np.int64]:
    from scipy.stats import gaussian_kde
    from sklearn.manifold import TSNE

    _check_vectors(data, vectors)
    if not 1.0 <= perplexity < len(data):
        msg = (
            f"perplexity must be at least 1 and less than the {len(data)} rows, got "
            f"{perplexity}"
        )
        raise DataError(msg)
    check_spread(vectors.values)
    model = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
    places = model.fit_transform(vectors.reduced).T.astype(np.float64)
    try:
        density = gaussian_kde(places)(places)
    except np.linalg.LinAlgError as error:
        msg = "the t-SNE map of the rows is a line; it has no sparse regions"
        raise DataError(msg) from error
    return np.argsort(density, kind="stable")[:n_sparse]


def _sparse_in_y(data: SplitData, variant: Variant, n_sparse: int) -> NDArray[np.int64]:
    from scipy.stats import gaussian_kde

    if variant not in get_args(Variant):
        msg = f"variant must be one of {', '.join(get_args(Variant))}, got {variant!r}"
        raise DataError(msg)
    targets = data.values
    if targets.min() == targets.max():
        msg = f"all targets are {targets[0]}; none is rare"
        raise DataError(msg)
    if variant == "published":
        if len(data) < _GRID:
            msg = f"variant 'published' needs {_GRID} rows, got {len(data)}"
            raise DataError(msg)
        places = np.linspace(targets.min(), targets.max(), _GRID)
    else:
        places = targets
    try:
        density = gaussian_kde(targets)(places)
    except np.linalg.LinAlgError as error:
        msg = f"all targets are {targets[0]} but for rounding; none is rare"
        raise DataError(msg) from error
    return np.argsort(density, kind="stable")[:n_sparse]


def _sparse_split(
    data: SplitData,
    vectors: OFMVectors,
    method: str,
    parameters: dict[str, Any],
    order: NDArray[np.int64],
    seed: int,
) -> Split:
    """Return folds around the first row, in `order`, of each cluster of its rows."""
    _check_vectors(data, vectors)
    for name in ("n_sparse", "n_neighbors"):
        if parameters.get(name, 1) < 1:
            msg = f"{name} must be at least 1, got {parameters[name]}"
            raise DataError(msg)
    values = vectors.reduced
    labels = cluster_rows(values[order], parameters["n_clusters"], seed)
    centres: dict[int, int] = {}
    for row, label in zip(order, labels, strict=True):
        centres.setdefault(int(label), int(row))
    near = nearest_materials(values, centres, parameters.get("n_neighbors", 0))
    tests = {str(label): [row, *near[label]] for label, row in centres.items()}
    return build_split(data, method, parameters | _origin(vectors), tests, seed=seed)
