"""How well representations keep kinds of atoms and edges apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mftscreen.errors import DataError

__all__ = [
    "ClusterComparison",
    "Clusters",
    "LabelledRows",
    "Separation",
    "compare_clusters",
    "davies_bouldin",
    "embed",
]

PERPLEXITY = 30.0
"""scikit-learn's default, which the paper does not depart from."""


@dataclass(frozen=True)
class LabelledRows:
    """Sampled atoms or edges and the kind of each.

    Attributes
    ----------
    rows : ndarray of shape (n_rows,)
        Their numbers, counted through all structures.
    codes : ndarray of shape (n_rows,)
        Positions in `names`.
    names : tuple of str
        The kinds, such as ``C4`` or ``C-O far``.
    families : tuple of str
        What each kind belongs to: its element or pair of elements.
    """

    rows: NDArray[np.int64]
    codes: NDArray[np.int64]
    names: tuple[str, ...]
    families: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Number of rows of each kind."""
        numbers = np.bincount(self.codes, minlength=len(self.names)).tolist()
        return dict(zip(self.names, numbers, strict=True))


@dataclass(frozen=True)
class Clusters:
    """Where one model puts the labelled rows.

    Attributes
    ----------
    plane : ndarray of shape (n_rows, 2)
        By t-SNE.
    db_plane, db_descriptor : float or None
        Davies-Bouldin index on that plane and in the space of the features; None if
        there is one kind only.
    """

    plane: NDArray[np.float64]
    db_plane: float | None
    db_descriptor: float | None


@dataclass(frozen=True)
class Separation:
    """A Davies-Bouldin index before and after fine-tuning.

    Attributes
    ----------
    pretrained, fine_tuned : float or None
        Low if the clusters are small and far apart; None if there is one only.
    """

    pretrained: float | None
    fine_tuned: float | None

    @property
    def ratio(self) -> float | None:
        """Fine-tuned to pretrained: above 1 if the kinds are less well apart."""
        if self.fine_tuned is None or not self.pretrained:
            return None
        return self.fine_tuned / self.pretrained


@dataclass(frozen=True)
class ClusterComparison:
    """The same labelled rows in two models.

    Attributes
    ----------
    labelled : LabelledRows
    pretrained, fine_tuned : Clusters
    """

    labelled: LabelledRows
    pretrained: Clusters
    fine_tuned: Clusters

    @property
    def on_plane(self) -> Separation:
        """Davies-Bouldin index on the t-SNE plane, as in arXiv:2601.08486."""
        return Separation(self.pretrained.db_plane, self.fine_tuned.db_plane)

    @property
    def in_descriptor(self) -> Separation:
        """Davies-Bouldin index in the space of the features."""
        return Separation(self.pretrained.db_descriptor, self.fine_tuned.db_descriptor)


def compare_clusters(
    labelled: LabelledRows,
    features: Callable[[str], NDArray[np.float64]],
    seed: int,
) -> ClusterComparison:
    """Return how two models keep the kinds of sampled rows apart.

    Parameters
    ----------
    labelled : LabelledRows
    features : callable
        Returns the features of the rows, of shape (n_rows, n_features), for
        ``pretrained`` and for ``fine-tuned``.
    seed : int
        Of t-SNE.

    Returns
    -------
    ClusterComparison

    Raises
    ------
    DataError
        As :func:`embed`; the message says which model it is of.
    """

    def clusters(model: str) -> Clusters:
        found = features(model)
        try:
            plane = embed(found, seed)
        except DataError as error:
            msg = f"{model} model: {error}"
            raise DataError(msg) from error
        codes = labelled.codes
        return Clusters(
            plane, davies_bouldin(plane, codes), davies_bouldin(found, codes)
        )

    return ClusterComparison(labelled, clusters("pretrained"), clusters("fine-tuned"))


def embed(features: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Place features in a plane by t-SNE with scikit-learn's settings.

    Parameters
    ----------
    features : ndarray of shape (n_rows, n_features)
    seed : int

    Returns
    -------
    ndarray of shape (n_rows, 2)

    Raises
    ------
    DataError
        If there are fewer than 4 rows, or all of them are equal.

    References
    ----------
    L. van der Maaten and G. Hinton, https://jmlr.org/papers/v9/vandermaaten08a.html
    """
    from sklearn.manifold import TSNE

    n_rows = len(features)
    if n_rows < 4:
        msg = f"a t-SNE plot needs at least 4 rows, got {n_rows}"
        raise DataError(msg)
    # principal components of equal rows are noise, by which t-SNE would divide
    if np.ptp(features, axis=0).max() <= 1e-9 * np.abs(features).max():
        msg = f"the features of all {n_rows} rows are equal: nothing tells them apart"
        raise DataError(msg)
    perplexity = min(PERPLEXITY, (n_rows - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed)
    plane: NDArray[np.float64] = tsne.fit_transform(features).astype(np.float64)
    return plane


def davies_bouldin(
    features: NDArray[np.float64], codes: NDArray[np.int64]
) -> float | None:
    r"""Return the Davies-Bouldin index of labelled points.

    Parameters
    ----------
    features : ndarray of shape (n_rows, n_features)
    codes : ndarray of shape (n_rows,)
        The cluster of each row.

    Returns
    -------
    float or None
        Lower is better separated; None unless there are at least two clusters, and
        more rows than clusters.

    Notes
    -----
    .. math:: \frac{1}{N} \sum_i \max_{j \ne i} \frac{S_i + S_j}{M_{ij}}

    with :math:`S_i` the mean distance of a cluster's points from their mean (q = 1)
    and :math:`M_{ij}` the Euclidean distance of two means (p = 2).

    References
    ----------
    Eqs. 13 and 14 of arXiv:2601.08486; doi:10.1109/TPAMI.1979.4766909.

    Examples
    --------
    >>> points = np.array([[0.0, 1.0], [0.0, -1.0], [4.0, 1.0], [4.0, -1.0]])
    >>> davies_bouldin(points, np.array([0, 0, 1, 1]))
    0.5
    """
    from sklearn.metrics import davies_bouldin_score

    if not 2 <= len(np.unique(codes)) < len(codes):
        return None
    return float(davies_bouldin_score(features, codes))
