"""How well representations keep kinds of atoms and edges apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

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

Start = Literal["pca", "random"]

N_SEEDS = 2**32
"""That scikit-learn knows."""

MERGED = 1e9
"""Index of two kinds with one mean, and the largest that there is."""

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
        Those of the first sample, by t-SNE.
    on_plane, in_descriptor : tuple of float
        Davies-Bouldin index of each sample, on its t-SNE plane and in the space of the
        features; empty if there is one kind only.
    """

    plane: NDArray[np.float64]
    on_plane: tuple[float, ...]
    in_descriptor: tuple[float, ...]


@dataclass(frozen=True)
class Separation:
    """Davies-Bouldin indices of the same samples before and after fine-tuning.

    Attributes
    ----------
    pretrained, fine_tuned : tuple of float
        Of each sample. Low if the clusters are small and far apart; empty if there is
        one only.
    """

    pretrained: tuple[float, ...]
    fine_tuned: tuple[float, ...]

    @property
    def ratio(self) -> float | None:
        """Fine-tuned to pretrained: above 1 if the kinds are less well apart.

        The mean over samples.
        """
        return float(np.mean(self._ratios)) if self._ratios else None

    @property
    def sd(self) -> float | None:
        """Standard deviation of the ratio over samples; None of fewer than two."""
        return float(np.std(self._ratios, ddof=1)) if len(self._ratios) > 1 else None

    @property
    def _ratios(self) -> list[float]:
        pairs = zip(self.pretrained, self.fine_tuned, strict=True)
        return [after / before for before, after in pairs if before]


@dataclass(frozen=True)
class ClusterComparison:
    """The same labelled rows in a pretrained model and in others.

    Attributes
    ----------
    labelled : LabelledRows
        The first sample.
    pretrained : Clusters
    fine_tuned : dict of str to Clusters
        Name of a model to its clusters.
    """

    labelled: LabelledRows
    pretrained: Clusters
    fine_tuned: dict[str, Clusters]

    def on_plane(self, model: str) -> Separation:
        """Return the indices on the t-SNE plane, as in arXiv:2601.08486."""
        return Separation(self.pretrained.on_plane, self.fine_tuned[model].on_plane)

    def in_descriptor(self, model: str) -> Separation:
        """Return the indices in the space of the features."""
        before, after = self.pretrained, self.fine_tuned[model]
        return Separation(before.in_descriptor, after.in_descriptor)


def compare_clusters(
    samples: Sequence[LabelledRows],
    features: Callable[[str | None, NDArray[np.int64]], NDArray[np.float64]],
    models: Sequence[str],
    seed: int,
) -> ClusterComparison:
    """Return how models keep the kinds of sampled rows apart.

    Parameters
    ----------
    samples : sequence of LabelledRows
        At least one; with several, an index has a spread. Each has a t-SNE of its own,
        which then starts from random places: from principal components, equal samples
        would have equal planes, whatever the seed.
    features : callable
        Returns the features of rows, of shape (n_rows, n_features), for the pretrained
        model (None) or one of `models`.
    models : sequence of str
        Names of what was made of the pretrained model.
    seed : int
        Of the first t-SNE; the others have the next ones.

    Returns
    -------
    ClusterComparison

    Raises
    ------
    DataError
        As :func:`embed`; the message says which model it is of.
    """
    rows = np.unique(np.concatenate([sample.rows for sample in samples]))
    start: Start = "random" if len(samples) > 1 else "pca"

    def clusters(model: str | None) -> Clusters:
        every = features(model, rows)
        planes, on_plane, in_descriptor = [], [], []
        for number, sample in enumerate(samples):
            found = every[np.searchsorted(rows, sample.rows)]
            try:
                planes.append(embed(found, (seed + number) % N_SEEDS, start))
            except DataError as error:
                msg = f"{model or 'pretrained'} model: {error}"
                raise DataError(msg) from error
            on_plane.append(davies_bouldin(planes[-1], sample.codes))
            in_descriptor.append(davies_bouldin(found, sample.codes))
        return Clusters(planes[0], _numbers(on_plane), _numbers(in_descriptor))

    pretrained = clusters(None)
    fine_tuned = {model: clusters(model) for model in models}
    return ClusterComparison(samples[0], pretrained, fine_tuned)


def _numbers(indices: Sequence[float | None]) -> tuple[float, ...]:
    """Return the indices; none where there is a single kind, as in all samples."""
    return tuple(index for index in indices if index is not None)


def embed(
    features: NDArray[np.float64], seed: int, start: Start = "pca"
) -> NDArray[np.float64]:
    """Place features in a plane by t-SNE with scikit-learn's settings.

    Parameters
    ----------
    features : ndarray of shape (n_rows, n_features)
    seed : int
    start : {"pca", "random"}
        From where points are moved; principal components are scikit-learn's default.

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
    tsne = TSNE(perplexity=perplexity, init=start, random_state=seed)
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
    and :math:`M_{ij}` the Euclidean distance of two means (p = 2). Two clusters whose
    means are the same count :data:`MERGED`, as there is no larger number to tell that
    they are not apart. (scikit-learn counts them as infinitely far apart.)

    References
    ----------
    Eqs. 13 and 14 of arXiv:2601.08486; doi:10.1109/TPAMI.1979.4766909.

    Examples
    --------
    >>> points = np.array([[0.0, 1.0], [0.0, -1.0], [4.0, 1.0], [4.0, -1.0]])
    >>> davies_bouldin(points, np.array([0, 0, 1, 1]))
    0.5
    >>> davies_bouldin(np.array([[1.0], [-1.0], [2.0], [-2.0]]), np.array([0, 0, 1, 1]))
    1000000000.0
    """
    kinds = np.unique(codes)
    if not 2 <= len(kinds) < len(codes):
        return None
    members = [features[codes == kind] for kind in kinds]
    means = np.array([each.mean(axis=0) for each in members])
    spreads = np.array(
        [
            np.linalg.norm(each - mean, axis=1).mean()
            for each, mean in zip(members, means, strict=True)
        ]
    )
    first, second = np.triu_indices(len(kinds), k=1)
    distances = np.linalg.norm(means[first] - means[second], axis=1)
    sums = spreads[first] + spreads[second]
    # what rounding leaves between equal means is no distance
    apart = distances > 1e-9 * np.abs(features).max()
    ratios = np.full((len(kinds), len(kinds)), -np.inf)
    ratios[first, second] = np.where(
        apart, np.minimum(sums / np.where(apart, distances, 1.0), MERGED), MERGED
    )
    return float(np.maximum(ratios, ratios.T).max(axis=1).mean())
