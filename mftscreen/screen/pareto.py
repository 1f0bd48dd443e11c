r"""Pareto fronts of many candidates.

The front of a candidate is the length of the longest chain of candidates that ends with
it and in which each one dominates the next,

.. math:: f(q) = 1 + \max_{p \prec q} f(p),

1 if nothing dominates it. The chains are found by divide and conquer over one objective
after the other [1]_, [2]_: for :math:`n` candidates and :math:`m` objectives in
:math:`O(n \log^m n)`, however many candidates share a front. Comparing pairs takes
:math:`O(n^2)` for the usual trade-off, where a few fronts hold most candidates.

References
----------
.. [1] M. T. Jensen, IEEE Trans. Evol. Comput. 7, 503 (2003),
   doi:10.1109/TEVC.2003.817234
.. [2] M. Buzdalov and A. Shalyto, in Parallel Problem Solving from Nature – PPSN XIII,
   528 (2014), doi:10.1007/978-3-319-10762-2_52
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mftscreen.compiling import compiled

__all__ = ["pareto_fronts"]

_Function = TypeVar("_Function", bound=Callable[..., object])

_FEW_PAIRS = 256
"""So many pairs are compared one by one sooner than divided further."""


def _compiled(function: _Function) -> _Function:
    """Compile once for all processes."""
    return compiled(function)


def pareto_fronts(costs: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the front of each candidate.

    Parameters
    ----------
    costs : ndarray of shape (n, n_objectives)
        Less is better; no NaN.

    Returns
    -------
    ndarray of shape (n,)
        1 for candidates that no other one dominates: is at least as good in all
        objectives and better in one. 2 for those that only the first front dominates,
        and so on. Equal candidates share a front.

    Examples
    --------
    >>> import numpy as np
    >>> pareto_fronts(np.array([[1.0, 4.0], [2.0, 2.0], [3.0, 3.0], [4.0, 1.0]]))
    array([1, 1, 2, 1])
    """
    order = np.lexsort(costs.T[::-1])
    ordered = costs[order]
    differs = np.ones(len(order), dtype=bool)
    differs[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    distinct = ordered[differs]
    # Places instead of values, equal values in lexicographic order: then a candidate
    # dominates another exactly if it is before it everywhere, and there are no ties.
    places = np.empty(distinct.shape, dtype=np.int64)
    for column in range(distinct.shape[1]):
        by_value = np.argsort(distinct[:, column], kind="stable")
        places[by_value, column] = np.arange(len(by_value))
    lengths = np.ones(len(distinct), dtype=np.int64)
    _settle(0, len(distinct), places, lengths)
    fronts = np.empty(len(order), dtype=np.int64)
    fronts[order] = lengths[np.cumsum(differs) - 1]
    return fronts


@_compiled
def _settle(start: int, stop: int, places: Any, lengths: Any) -> None:
    """Make `lengths` final for some rows, which are sorted by the first objective.

    All that earlier rows add to them has been taken into account before.
    """
    if stop - start < 2:
        return
    middle = (start + stop) // 2
    _settle(start, middle, places, lengths)
    low, high = np.arange(start, middle), np.arange(middle, stop)
    _lengthen(low, high, places.shape[1] - 1, places, lengths)
    _settle(middle, stop, places, lengths)


@_compiled
def _lengthen(low: Any, high: Any, column: int, places: Any, lengths: Any) -> None:
    """Append the rows `high` to the chains that end with the rows `low`.

    Each of `low`, whose lengths are final, is before each of `high` in the first
    objective and in those after `column`; what is left to compare are 1 to `column`.
    """
    if len(low) == 0 or len(high) == 0:
        return
    if column == 0:
        length = lengths[low].max() + 1
        for row in high:
            lengths[row] = max(lengths[row], length)
    elif len(low) * len(high) <= _FEW_PAIRS:
        for row in high:
            for other in low:
                if lengths[other] >= lengths[row] and _is_before(
                    other, row, column, places
                ):
                    lengths[row] = lengths[other] + 1
    else:
        of_low, of_high = places[low, column], places[high, column]
        first = min(of_low.min(), of_high.min())
        last = max(of_low.max(), of_high.max())
        middle = (first + last + 1) // 2  # halves the range, hence at most log2(n) deep
        low_1, low_2 = low[of_low < middle], low[of_low >= middle]
        high_1, high_2 = high[of_high < middle], high[of_high >= middle]
        _lengthen(low_1, high_1, column, places, lengths)
        _lengthen(low_1, high_2, column - 1, places, lengths)
        _lengthen(low_2, high_2, column, places, lengths)


@_compiled
def _is_before(row: int, other: int, column: int, places: Any) -> bool:
    for k in range(1, column + 1):  # noqa: SIM110  (numba has no all())
        if places[row, k] >= places[other, k]:
            return False
    return True
