"""A choice among the best candidates whose members are unlike each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

__all__ = ["diversify"]

_ROUNDING = 1e-12
"""Of the squared lengths; a squared distance below this is one of zero."""


def diversify(
    order: NDArray[np.int64], features: ArrayLike | csr_array, n_pick: int
) -> NDArray[np.int64]:
    """Return an order that begins with good candidates unlike each other.

    The best candidate comes first, then again and again the one of the top that is
    furthest from all chosen before: whose distance to the nearest of them is largest
    [1]_.

    Parameters
    ----------
    order : ndarray of shape (n,)
        Numbers of the candidates, the best first.
    features : array-like or sparse array of shape (n_top, n_features)
        Of the first `n_top` of `order`, in that order, such as
        :attr:`mftscreen.ood.ofm.OFMRow.features`. A candidate without features, a row
        with NaN or of zeros alone, is not chosen.
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

    References
    ----------
    .. [1] T. F. Gonzalez, Theor. Comput. Sci. 38, 293 (1985),
       doi:10.1016/0304-3975(85)90224-5

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
    chosen = usable[_farthest(points[usable], squares[usable], n_pick)]
    others = np.ones(len(order), dtype=bool)
    others[chosen] = False
    return np.concatenate([order[chosen], order[others]])


def _farthest(
    points: csr_array, squares: NDArray[np.float64], n_pick: int
) -> NDArray[np.int64]:
    """Return the rows that are chosen one after the other, beginning with the first."""
    n = len(squares)
    chosen = np.zeros(min(n_pick, n), dtype=np.int64)
    # squared distance to the nearest chosen one; a chosen one is not to be taken again
    gap = np.full(n, np.inf)
    for k in range(1, len(chosen)):
        last = chosen[k - 1]
        point = points[[last]].toarray().ravel()
        both = squares + squares[last]
        distance = both - 2.0 * (points @ point)
        distance[distance <= _ROUNDING * both] = 0.0
        np.minimum(gap, distance, out=gap)
        gap[last] = -1.0
        chosen[k] = np.argmax(gap)
    return chosen
