"""Positions of a reference set and of candidates in two dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, csr_matrix, issparse, vstack

from mftscreen.errors import DataError
from mftscreen.ood.reference.nearest import distinct_rows
from mftscreen.trust.conformal import is_significant

if TYPE_CHECKING:
    from mftscreen.ood.reference.reference_set import Reference

__all__ = [
    "Embedding",
    "MapPoint",
    "Method",
    "check_spread",
    "embed",
    "reference_points",
]

Method = Literal["tsne", "pca"]

N_COMPONENTS = 50
"""Principal components that t-SNE starts from."""


@dataclass(frozen=True)
class Embedding:
    """Positions in two dimensions.

    Attributes
    ----------
    reference : ndarray of shape (n_reference, 2)
    candidates : ndarray of shape (n_candidates, 2)
    description : str
        The method with all its settings.
    axes : tuple of str
        What the two axes are.
    """

    reference: NDArray[np.float64]
    candidates: NDArray[np.float64]
    description: str
    axes: tuple[str, str]


@dataclass(frozen=True)
class MapPoint:
    """What the map says about one structure.

    Attributes
    ----------
    id, formula : str
    p_value : float
    ood : bool
        Flagged ones have a dark outline.
    """

    id: str
    formula: str
    p_value: float
    ood: bool


def embed(
    reference: Any,
    candidates: Any = (),
    *,
    method: Method = "tsne",
    perplexity: float = 30.0,
    seed: int = 0,
) -> Embedding:
    """Place orbital field matrices in a plane.

    Parameters
    ----------
    reference : sparse matrix of shape (n_reference, n_features)
    candidates : sparse matrix of shape (n_candidates, n_features), optional
        Or a sequence of vectors.
    method : {"tsne", "pca"}, default "tsne"
        "tsne" places reference and candidates together, by their first 50 principal
        components; distances between clusters and their sizes mean nothing. "pca"
        projects both onto the first two principal components of the reference; what
        the reference never varies in (a new orbital pair) is not seen.
    perplexity : float, default 30
        Of t-SNE: about how many neighbours each point keeps; lowered to a third of the
        number of points where there are few.
    seed : int, default 0
        Of t-SNE.

    Returns
    -------
    Embedding

    Raises
    ------
    DataError
        If there are fewer than three reference structures, or all of them (for t-SNE,
        with the candidates) have equal vectors, or `perplexity` is out of range.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> line = csr_array(np.outer([0.0, 1.0, 2.0, 4.0], [3.0, 4.0, 0.0]))
    >>> points = embed(line, csr_array(np.zeros((1, 3))), method="pca")
    >>> points.reference[:, 0].round(6)
    array([-8.75, -3.75,  1.25, 11.25])
    >>> bool(abs(points.candidates - points.reference[0]).max() < 1e-12)
    True
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    # scikit-learn 1.6 takes sparse matrices here, but not all sparse arrays
    reference = csr_matrix(reference)
    n, width = reference.shape
    if not issparse(candidates):
        candidates = np.reshape(candidates, (len(candidates), width))
    new = csr_matrix(candidates)
    together = vstack([reference, new], format="csr")
    n_points = together.shape[0]
    if n < 3:
        msg = f"a map needs at least 3 reference structures, got {n}"
        raise DataError(msg)
    if not 1.0 < perplexity < np.inf:
        msg = f"perplexity must be a number above 1, got {perplexity}"
        raise DataError(msg)
    check_spread(reference if method == "pca" else together)
    size = min(N_COMPONENTS if method == "tsne" else 2, n_points, width)
    # exact and without random numbers
    pca = PCA(size, svd_solver="covariance_eigh")
    if method == "pca":
        pca.fit(reference)
        shares = 100.0 * pca.explained_variance_ratio_
        points = pca.transform(together)
        axes = (f"PC 1 ({shares[0]:.0f} %)", f"PC 2 ({shares[1]:.0f} %)")
        return Embedding(
            points[:n], points[n:], "PCA, fitted to the reference set", axes
        )
    perplexity = min(perplexity, (n_points - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed)
    points = tsne.fit_transform(pca.fit_transform(together)).astype(np.float64)
    description = (
        f"t-SNE of {size} principal components, perplexity {perplexity:g}, seed {seed}"
    )
    return Embedding(points[:n], points[n:], description, ("t-SNE 1", "t-SNE 2"))


def check_spread(vectors: Any) -> None:
    """Raise a DataError if all rows of a (sparse) matrix are equal but for rounding.

    Principal components of such rows are noise, on which t-SNE divides by zero.
    """
    vectors = csr_array(vectors)
    if len(distinct_rows(vectors)) < 2:
        msg = (
            f"all orbital field matrices are equal ({vectors.shape[0]} structures): "
            "nothing tells them apart"
        )
        raise DataError(msg)


def reference_points(reference: Reference, alpha: float) -> list[MapPoint]:
    """Return the points of a reference set, with their leave-one-out p-values.

    Parameters
    ----------
    reference : Reference
        With a detector.
    alpha : float
        Significance level to flag at.

    Returns
    -------
    list of MapPoint
        In the order of the reference set.
    """
    detector = reference.detector
    assert detector is not None
    p_values = detector.loo_p_values()
    flagged = is_significant(p_values, alpha).tolist()
    formulas = reference.formulas or ("",) * len(p_values)
    return [
        MapPoint(*point)
        for point in zip(
            reference.ids, formulas, p_values.tolist(), flagged, strict=True
        )
    ]
