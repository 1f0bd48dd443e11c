"""A choice of points that are unlike each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

__all__ = ["farthest_points"]

_ROUNDING = 1e-12
"""Of the squared lengths; a squared distance below this is one of zero."""


def farthest_points(points: csr_array, n_pick: int) -> NDArray[np.int64]:
    """Choose the first point, then again and again the one furthest from all chosen.

    That is the one whose distance to the nearest chosen point is largest [1]_.

    Parameters
    ----------
    points : csr_array of shape (n_points, n_features)
        Finite.
    n_pick : int
        Not negative.

    Returns
    -------
    ndarray of shape (min(n_pick, n_points),)
        Numbers of the points in the order of their choice.

    Notes
    -----
    Of equally distant points the first is chosen. Every choice is one product of the
    sparse matrix and a vector: the time grows with `n_pick` times the number of entries
    that are not zero, and the memory is that of `points`.

    References
    ----------
    .. [1] T. F. Gonzalez, Theor. Comput. Sci. 38, 293 (1985),
       doi:10.1016/0304-3975(85)90224-5

    Examples
    --------
    >>> farthest_points(csr_array([[1.0], [1.1], [5.0], [4.0]]), 3)
    array([0, 2, 3])
    """
    squares = np.asarray(points.power(2).sum(axis=1)).ravel()
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
