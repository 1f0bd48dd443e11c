"""Exact nearest neighbours among sparse vectors, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

__all__ = ["iter_nearest"]

_BLOCK = 4_000_000  # distances held at a time: 32 MB


def iter_nearest(
    query: csr_array, reference: csr_array, k: int, *, leave_one_out: bool = False
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Yield the nearest reference rows of each query row.

    Candidates are found with the quick formula :math:`a^2 + b^2 - 2 a b`, whose
    rounding error would hide duplicates; their distances are then taken from
    differences. Hence a result does not depend on which other rows are asked for.

    Parameters
    ----------
    query : csr_array of shape (n_query, n_features)
    reference : csr_array of shape (n_reference, n_features)
    k : int
        Number of neighbours, at most `n_reference`.
    leave_one_out : bool, default False
        `query` is `reference`, and a row is not its own neighbour.

    Yields
    ------
    indices : ndarray of shape (k,)
        Nearest first, equal distances in the order of the reference.
    distances : ndarray of shape (k,)
        Euclidean distances.
    """
    squares = np.asarray(reference.power(2).sum(axis=1)).ravel()
    size = max(1, _BLOCK // len(squares))
    for start in range(0, query.shape[0], size):
        block = query[start : start + size].toarray()
        own = (block**2).sum(axis=1)
        # a column that is empty in the reference still counts, in the query's square
        quick = squares - 2.0 * (reference @ block.T).T + own[:, None]
        for row, approximate in enumerate(quick):
            if leave_one_out:
                approximate[start + row] = np.inf
            bound = np.partition(approximate, k - 1)[k - 1]
            bound += 1e-12 * (own[row] + squares.max())
            candidates = np.flatnonzero(approximate <= bound)
            rows = reference[candidates].toarray()
            exact = np.sqrt(((rows - block[row]) ** 2).sum(axis=1))
            order = np.argsort(exact, kind="stable")[:k]
            yield candidates[order], exact[order]
