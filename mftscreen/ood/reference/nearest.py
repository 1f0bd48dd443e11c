"""Exact nearest neighbours and kernel densities among sparse vectors."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from math import sqrt
from typing import Any, TypeVar

import numpy as np
from joblib import Parallel, cpu_count, delayed
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

from mftscreen.compiling import compiled

__all__ = ["InvertedIndex", "distinct_rows"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_Function = TypeVar("_Function", bound=Callable[..., object])


def _compiled(function: _Function) -> _Function:
    """Compile once for all processes; threads can run the result side by side."""
    return compiled(function, nogil=True)


_BLOCK = 256
"""Queries in one call of a kernel: some ten milliseconds of work."""

_EQUAL = 1e-6
"""Distance of equal rows, of the median norm: far above rounding errors, which differ
between a cell and its supercell, and far below what tells structures apart."""


class InvertedIndex:
    """Reference vectors, listed for every feature that they have.

    A query meets only the reference vectors that share a feature with it, feature by
    feature: with the 20 to 40 entries of an orbital field matrix that is some 50 times
    less work than a dense search, and it is exact, unlike a search in fewer dimensions
    or in a graph.

    Parameters
    ----------
    reference : csr_array of shape (n_reference, n_features)
        Without duplicate entries.
    """

    def __init__(self, reference: csr_array) -> None:
        rows = _canonical(reference)
        columns = csc_array(rows)
        self._rows = (rows.indptr, rows.indices, rows.data)
        self._columns = (columns.indptr, columns.indices, columns.data)
        self._squares = np.asarray(rows.power(2).sum(axis=1)).ravel()
        self.seen: NDArray[np.bool_] = np.diff(columns.indptr) > 0

    def nearest(
        self, query: csr_array, k: int, *, leave_one_out: bool = False, n_jobs: int = 1
    ) -> tuple[IntArray, FloatArray]:
        """Return the nearest reference vectors of each query.

        Candidates are found with the quick formula :math:`a^2 + b^2 - 2 a b`, whose
        rounding error would hide duplicates; their distances are then taken from
        differences. Hence a result does not depend on which other rows are asked for.

        Parameters
        ----------
        query : csr_array of shape (n_query, n_features)
        k : int
            From 1 to `n_reference`, or one less if leaving one out.
        leave_one_out : bool, default False
            `query` is the reference set, and a row is not its own neighbour.
        n_jobs : int, default 1
            Threads; -1 for all cores.

        Returns
        -------
        indices : ndarray of shape (n_query, k)
            Nearest first, equal distances in the order of the reference.
        distances : ndarray of shape (n_query, k)
            Euclidean distances.

        Raises
        ------
        ValueError
            If `k` is out of range.
        """
        largest = len(self._squares) - int(leave_one_out)
        if not 1 <= k <= largest:
            msg = f"the nearest {k} of {largest} vectors; 1 to {largest} are possible"
            raise ValueError(msg)
        query = _canonical(query)
        indices = np.full((query.shape[0], k), -1, dtype=np.int64)
        distances = np.empty((query.shape[0], k))
        parts = (query.indptr, query.indices, query.data)

        def search(start: int, stop: int) -> None:
            _nearest(
                (start, stop),
                parts,
                self._rows,
                self._columns,
                self._squares,
                leave_one_out,
                indices,
                distances,
            )

        _in_threads(search, query.shape[0], n_jobs)
        return indices, distances

    def log_density(
        self,
        query: csr_array,
        bandwidth: float,
        *,
        leave_one_out: bool = False,
        n_jobs: int = 1,
    ) -> FloatArray:
        r"""Return the logarithm of a sum of Gaussians around the reference vectors.

        Parameters
        ----------
        query : csr_array of shape (n_query, n_features)
        bandwidth : float
            Standard deviation :math:`h` of a Gaussian.
        leave_one_out : bool, default False
            As in :meth:`nearest`.
        n_jobs : int, default 1
            Threads; -1 for all cores.

        Returns
        -------
        ndarray of shape (n_query,)
            :math:`\ln \frac{1}{n} \sum_i \exp(-d_i^2 / 2 h^2)` over the `n` reference
            vectors that count, without the constant that would normalise it.
        """
        query = _canonical(query)
        densities = np.empty(query.shape[0])
        parts = (query.indptr, query.indices, query.data)

        def search(start: int, stop: int) -> None:
            _log_density(
                (start, stop),
                parts,
                self._columns,
                self._squares,
                leave_one_out,
                bandwidth,
                densities,
            )

        _in_threads(search, query.shape[0], n_jobs)
        return densities


def distinct_rows(matrix: csr_array) -> IntArray:
    """Return the numbers of the rows that are not equal to an earlier one.

    Parameters
    ----------
    matrix : csr_array of shape (n_rows, n_features)
        Rows up to 1e-6 of the median norm apart are equal.

    Returns
    -------
    ndarray of shape (n_distinct,)
        Ascending.

    Examples
    --------
    >>> distinct_rows(csr_array([[1.0, 0.0], [0.0, 1.0], [1.0, 1e-9]]))
    array([0, 1])
    """
    matrix = _canonical(matrix)
    rows = (matrix.indptr, matrix.indices, matrix.data)
    norms = np.sqrt(np.asarray(matrix.power(2).sum(axis=1)).ravel())
    tolerance = _EQUAL * float(np.median(norms))
    direction = np.random.default_rng(0).normal(size=matrix.shape[1])
    # equal rows are as close along any line: they share a bin of it, or are in
    # neighbouring ones
    width = max(tolerance, np.finfo(np.float64).tiny)
    bins = np.floor(matrix @ (direction / np.linalg.norm(direction)) / width)
    starts = rows[0]

    def equal(one: int, other: int) -> bool:
        distance = _exact_distance(
            starts[one], starts[one + 1], rows, starts[other], starts[other + 1], rows
        )
        return distance <= tolerance

    kept: dict[float, list[int]] = {}
    for row, place in enumerate(bins.tolist()):
        near = chain.from_iterable(
            kept.get(each, ()) for each in {place - 1.0, place, place + 1.0}
        )
        if not any(equal(row, other) for other in near):
            kept.setdefault(place, []).append(row)
    return np.sort(np.concatenate(list(kept.values()))).astype(np.int64)


def _canonical(matrix: csr_array) -> csr_array:
    """Return a matrix without explicit zeros and with sorted rows."""
    matrix = csr_array(matrix, dtype=np.float64)
    if not matrix.has_canonical_format or (matrix.data == 0.0).any():
        matrix = matrix.copy()
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
    return matrix


def _in_threads(search: Callable[[int, int], None], n: int, n_jobs: int) -> None:
    workers = min(cpu_count() if n_jobs < 0 else n_jobs, -(-n // _BLOCK))
    blocks = [(start, min(start + _BLOCK, n)) for start in range(0, n, _BLOCK)]
    # the kernels release the GIL
    Parallel(max(workers, 1), require="sharedmem")(
        delayed(search)(*block) for block in blocks
    )


@_compiled
def _squared_distances(
    begin: int, end: int, query: Any, columns: Any, squares: Any, out: Any
) -> float:
    """Fill `out` with squared distances, up to rounding; return the query's square."""
    _, features, values = query
    starts, members, entries = columns
    own = 0.0
    for position in range(begin, end):
        own += values[position] ** 2
    # a feature that no reference vector has counts here, in the query's square
    for row in range(len(out)):
        out[row] = squares[row] + own
    for position in range(begin, end):
        twice = 2.0 * values[position]
        feature = features[position]
        for entry in range(starts[feature], starts[feature + 1]):
            out[members[entry]] -= twice * entries[entry]
    return own


@_compiled
def _exact_distance(
    begin: int, end: int, query: Any, start: int, stop: int, rows: Any
) -> float:
    """Return the distance of two sparse rows with sorted features."""
    _, features, values = query
    _, others, entries = rows
    total = 0.0
    while begin < end or start < stop:
        if start == stop or (begin < end and features[begin] < others[start]):
            total += values[begin] ** 2
            begin += 1
        elif begin == end or others[start] < features[begin]:
            total += entries[start] ** 2
            start += 1
        else:
            total += (values[begin] - entries[start]) ** 2
            begin += 1
            start += 1
    return sqrt(total)


@_compiled
def _insert(value: float, index: int, values: Any, indices: Any) -> None:
    """Insert into an ascending list, after equal values, dropping its last entry."""
    place = len(values) - 1
    if not value < values[place]:
        return
    while place > 0 and value < values[place - 1]:
        values[place] = values[place - 1]
        indices[place] = indices[place - 1]
        place -= 1
    values[place] = value
    indices[place] = index


@_compiled
def _nearest(
    block: Any,
    query: Any,
    rows: Any,
    columns: Any,
    squares: Any,
    leave_one_out: bool,
    indices: Any,
    distances: Any,
) -> None:
    starts = query[0]
    quick = np.empty(len(squares))
    k = distances.shape[1]
    best = np.empty(k)
    ignored = np.empty(k, dtype=np.int64)
    largest = squares.max()
    for number in range(*block):
        begin, end = starts[number], starts[number + 1]
        own = _squared_distances(begin, end, query, columns, squares, quick)
        if leave_one_out:
            quick[number] = np.inf
        best[:] = np.inf
        for row in range(len(quick)):
            _insert(quick[row], row, best, ignored)
        bound = best[k - 1] + 1e-12 * (own + largest)
        distances[number] = np.inf
        for row in range(len(quick)):
            if quick[row] <= bound:
                exact = _exact_distance(
                    begin, end, query, rows[0][row], rows[0][row + 1], rows
                )
                _insert(exact, row, distances[number], indices[number])


@_compiled
def _log_density(
    block: Any,
    query: Any,
    columns: Any,
    squares: Any,
    leave_one_out: bool,
    bandwidth: float,
    densities: Any,
) -> None:
    starts = query[0]
    quick = np.empty(len(squares))
    n = len(squares) - 1 if leave_one_out else len(squares)
    for number in range(*block):
        _squared_distances(
            starts[number], starts[number + 1], query, columns, squares, quick
        )
        if leave_one_out:
            quick[number] = np.inf
        # the nearest one is taken out of the sum, which would underflow far away
        nearest = max(quick.min(), 0.0)
        total = 0.0
        for row in range(len(quick)):
            total += np.exp((nearest - max(quick[row], 0.0)) / (2.0 * bandwidth**2))
        densities[number] = np.log(total / n) - nearest / (2.0 * bandwidth**2)
