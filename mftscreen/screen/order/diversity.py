"""A choice among the best candidates whose members are unlike each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from mftscreen.ood.reference.farthest import farthest_points

__all__ = ["diversify"]


def diversify(
    order: NDArray[np.int64], features: ArrayLike | csr_array, n_pick: int
) -> NDArray[np.int64]:
    """Return an order that begins with good candidates unlike each other.

    The best candidate comes first, then again and again the one of the top that is
    furthest from all chosen before
    (:func:`mftscreen.ood.reference.farthest.farthest_points`).

    Parameters
    ----------
    order : ndarray of shape (n,)
        Numbers of the candidates, the best first.
    features : array-like or sparse array of shape (n_top, n_features)
        Of the first `n_top` of `order`, in that order, such as
        :attr:`mftscreen.ood.ofm.featurizer.OFMRow.features`. A candidate without
        features, a row with NaN or of zeros alone, is not chosen.
    n_pick : int
        How many to choose; with fewer candidates that have features, all of those.

    Returns
    -------
    ndarray of shape (n,)
        The chosen ones in the order of their choice, then all others in theirs.

    Raises
    ------
    ValueError
        If there are more rows of features than candidates, or `n_pick` is negative.

    Notes
    -----
    Of equally distant candidates the better one is chosen. The time grows with
    `n_top` × `n_pick`.

    Examples
    --------
    >>> import numpy as np
    >>> diversify(np.array([7, 3, 5, 4]), [[1.0], [1.1], [5.0]], n_pick=2)
    array([7, 5, 3, 4])
    """
    points = csr_array(features, dtype=np.float64)
    n_top = points.shape[0]
    if n_top > len(order):
        msg = f"features of {n_top} candidates, but there are only {len(order)}"
        raise ValueError(msg)
    if n_pick < 0:
        msg = f"n_pick = {n_pick}; it cannot be negative"
        raise ValueError(msg)
    squares = points.power(2).sum(axis=1)
    usable = np.flatnonzero(np.isfinite(squares) & (squares > 0.0))
    chosen = usable[farthest_points(points[usable], n_pick)]
    others = np.ones(len(order), dtype=bool)
    others[chosen] = False
    return np.concatenate([order[chosen], order[others]])
