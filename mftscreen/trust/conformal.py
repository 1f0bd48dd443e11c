r"""Conformal p-values: how a score ranks among those of a reference set.

Scores are higher for what is more like the reference set. With the scores
:math:`s_1, \dots, s_n` of the reference set, a new score :math:`s` has the p-value

.. math:: p(s) = \frac{1 + \#\{i: s_i \le s\}}{n + 1}.

If :math:`s` is drawn like them, :math:`p \le \alpha` with a probability of at most
:math:`\alpha` [1]_. Equal scores count against flagging.

References
----------
.. [1] R. Laxhammar and G. Falkman, Ann. Math. Artif. Intell. 74, 67 (2015),
   doi:10.1007/s10472-013-9381-7
"""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "conformal_p_values",
    "conformal_quantile",
    "is_significant",
    "loo_p_values",
    "significance_threshold",
]

FloatArray = NDArray[np.float64]


def conformal_p_values(scores: ArrayLike, ordered: FloatArray) -> FloatArray:
    """Return the p-values of new scores.

    Parameters
    ----------
    scores : array_like of shape (n_scores,)
    ordered : ndarray of shape (n_reference,)
        Scores of the reference set, ascending.

    Returns
    -------
    ndarray of shape (n_scores,)
        From 1 / (n_reference + 1) to 1.

    Examples
    --------
    >>> conformal_p_values([-9.0, -2.0, 5.0], np.array([-3.0, -2.0, -1.0]))
    array([0.25, 0.75, 1.  ])
    """
    return _p_values(np.searchsorted(ordered, scores, side="right"), len(ordered))


def loo_p_values(scores: FloatArray) -> FloatArray:
    """Return the p-value of each score of a reference set among the others.

    Parameters
    ----------
    scores : ndarray of shape (n_reference,)

    Returns
    -------
    ndarray of shape (n_reference,)
        From 1 / n_reference to 1.

    Examples
    --------
    >>> loo_p_values(np.array([-1.0, -3.0, -2.0, -2.0]))
    array([1.  , 0.25, 0.75, 0.75])
    """
    at_most = np.searchsorted(np.sort(scores), scores, side="right")
    return np.asarray(at_most / len(scores), dtype=np.float64)


def conformal_quantile(scores: ArrayLike, coverage: float) -> float:
    r"""Return the score that a further one stays below with probability `coverage`.

    Parameters
    ----------
    scores : array_like of shape (n_scores,)
    coverage : float
        Between 0 and 1.

    Returns
    -------
    float
        The :math:`\lceil (n + 1) c \rceil`-th smallest of the :math:`n` scores, which
        at least a share `c` of further scores do not exceed; NaN if there are fewer
        scores than that: less than :math:`c / (1 - c)`, i.e. 9 for 0.9.

    References
    ----------
    Lei et al. (2018), doi:10.1080/01621459.2017.1307116, algorithm 2.

    Examples
    --------
    >>> conformal_quantile([5.0, 1.0, 3.0, 2.0], 0.8)
    5.0
    >>> conformal_quantile([5.0, 1.0, 3.0, 2.0], 0.9)
    nan
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    # the small number is for a product that is an integer but for rounding
    rank = ceil((len(ordered) + 1) * coverage * (1.0 - 1e-12))
    return float(ordered[rank - 1]) if rank <= len(ordered) else float("nan")


def is_significant(p_values: ArrayLike, alpha: float) -> NDArray[np.bool_]:
    """Return which p-values are low enough to flag a structure.

    Parameters
    ----------
    p_values : array_like
        NaN is not.
    alpha : float
        Significance level; with 0, no p-value is.

    Returns
    -------
    ndarray of bool, of the shape of `p_values`

    Examples
    --------
    >>> is_significant([0.01, 0.05, 0.06, np.nan], alpha=0.05)
    array([ True,  True, False, False])
    """
    return np.asarray(np.asarray(p_values, dtype=np.float64) <= alpha)


def significance_threshold(ordered: FloatArray, alpha: float) -> float:
    """Return the score below which p-values are significant.

    Parameters
    ----------
    ordered : ndarray of shape (n_reference,)
        Scores of the reference set, ascending.
    alpha : float
        Less than 1.

    Returns
    -------
    float
        Minus infinity if the reference set is too small for any to be.

    Examples
    --------
    >>> significance_threshold(np.array([-3.0, -2.0, -1.0]), alpha=0.5)
    -2.0
    >>> significance_threshold(np.array([-3.0, -2.0, -1.0]), alpha=0.2)
    -inf
    """
    n = len(ordered)
    possible = _p_values(np.arange(n + 1), n)
    n_low = int(np.count_nonzero(is_significant(possible, alpha)))
    return float(ordered[n_low - 1]) if n_low else -np.inf


def _p_values(at_most: NDArray[np.intp], n: int) -> FloatArray:
    return np.asarray((1.0 + at_most) / (n + 1.0), dtype=np.float64)
