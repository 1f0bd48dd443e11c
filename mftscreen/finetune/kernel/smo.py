r"""Support vectors by sequential minimal optimization, compiled with numba.

Regression with an insensitive loss and classification are one problem,

.. math:: \min_\beta \; \tfrac12 \beta^T K \beta - y^T \beta
    + \epsilon \sum_i |\beta_i|, \qquad \sum_i \beta_i = 0, \quad
    l_i \le \beta_i \le u_i,

with bounds :math:`\pm C` for regression, and 0 and :math:`C y_i` for a classifier of
labels :math:`y_i = \pm 1`, whose :math:`\epsilon` is 0. A row with both bounds at 0 is
left out: a cross-validation needs the kernel matrix only once, and begins with the
weights of a fit to all rows, where those of a row that is left out go to rows like it
[3]_. Two weights at a time
are moved as far as that helps [1]_, the second one of which is chosen by how much it
helps [2]_. A weight counts once, not in two parts of different sign as in LIBSVM, and
the loops are vectorised, so that a fit takes a third of the time
(``benchmarks/support_vectors.py``); the solution is the same within what both stop at.

Import this module inside functions only: importing numba takes about half a second.

References
----------
.. [1] J. C. Platt, Sequential Minimal Optimization, MSR-TR-98-14 (1998)
.. [2] R.-E. Fan, P.-H. Chen, C.-J. Lin, J. Mach. Learn. Res. 6, 1889 (2005)
.. [3] D. DeCoste, K. Wagstaff, Proc. KDD 2000, 345, doi:10.1145/347090.347165
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mftscreen.compiling import compiled, interruptible

__all__ = ["minimize"]

FloatArray = NDArray[np.float64]

BLOCK = 512
"""Rows whose largest number is looked for at once; only the best block is searched."""

STOP = 1e-3
"""How much two weights may still violate the conditions of a minimum, in units of the
targets, as in LIBSVM."""

LEAST_CURVATURE = 1e-10
"""Of two rows that are the same but for rounding."""

MOST_STEPS = 10_000_000
"""After which weights stay as they are, as in LIBSVM."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _compiled(function: _Function) -> _Function:
    """Compile with numba; nothing is NaN, and sums and maxima may be reordered."""
    return compiled(
        function,
        nogil=True,
        error_model="numpy",
        fastmath={"contract", "nnan", "nsz", "reassoc"},
    )


def minimize(
    kernel: NDArray[np.float32],
    targets: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    tolerance: float,
    start: FloatArray | None = None,
) -> tuple[FloatArray, float]:
    """Return the weights of rows, and the offset.

    Parameters
    ----------
    kernel : ndarray of shape (n_rows, n_rows), float32
        Between all rows.
    targets, lower, upper : ndarray of shape (n_rows,)
        Bounds of the weights are not above and not below 0.
    tolerance : float
    start : ndarray of shape (n_rows,), optional
        Weights to begin with, the sum of which is 0, of a fit to more rows.

    Returns
    -------
    weights : ndarray of shape (n_rows,)
        Some between their bounds, many at one of them or 0.
    offset : float
        0 if no row can have a weight.
    """
    weights, slopes = np.zeros(len(targets)), -targets
    left = lower < upper
    if not left.any():
        return weights, 0.0
    squares = np.diagonal(kernel).astype(np.float64)
    if start is not None:
        begun = start.copy(), _values(kernel, start) - targets
        out = np.flatnonzero(~left & (start != 0.0))
        if _hand_over(kernel, squares, *begun, lower, upper, tolerance, out):
            weights, slopes = begun
    with interruptible():
        up, down = _descend(kernel, squares, weights, slopes, lower, upper, tolerance)
    free = left & (weights != 0.0) & (weights > lower) & (weights < upper)
    if free.any():
        return weights, float(up[free].mean())
    return weights, 0.5 * float(up[left].max() + down[left].min())


@_compiled
def _costs(
    weight: float, lower: float, upper: float, tolerance: float
) -> tuple[float, float]:
    """Return what the loss adds to the slope of a weight that rises, or falls."""
    up = np.inf if weight >= upper else (tolerance if weight >= 0.0 else -tolerance)
    down = -np.inf if weight <= lower else (-tolerance if weight <= 0.0 else tolerance)
    return up, down


@_compiled
def _rising(slopes: FloatArray, up: FloatArray) -> int:
    """Return the row whose weight gains most when it rises."""
    best, where = -np.inf, 0
    for start in range(0, len(slopes), BLOCK):
        largest = -np.inf
        for k in range(start, min(start + BLOCK, len(slopes))):
            largest = max(largest, -slopes[k] - up[k])
        if largest > best:
            best, where = largest, start
    # a plain search for the largest would not be vectorised
    for k in range(where, min(where + BLOCK, len(slopes))):
        if -slopes[k] - up[k] >= best:
            return k
    return where


@_compiled
def _gain(violation: float, curvature: float) -> float:
    """Return twice what two rows gain, if no bound is in the way."""
    return violation * violation / max(curvature, LEAST_CURVATURE)


@_compiled
def _falling(
    slopes: FloatArray,
    down: FloatArray,
    most: float,
    row: NDArray[np.float32],
    own_square: float,
    squares: FloatArray,
) -> tuple[int, float]:
    """Return the partner that gains most, and the largest violation there is."""
    best, where, worst = 0.0, 0, 0.0
    for start in range(0, len(slopes), BLOCK):
        largest, violation = 0.0, 0.0
        for k in range(start, min(start + BLOCK, len(slopes))):
            own = max(most + slopes[k] + down[k], 0.0)
            violation = max(violation, own)
            curvature = own_square + squares[k] - 2.0 * row[k]
            largest = max(largest, _gain(own, curvature))
        worst = max(worst, violation)
        if largest > best:
            best, where = largest, start
    chosen, best = where, -1.0
    for k in range(where, min(where + BLOCK, len(slopes))):
        curvature = own_square + squares[k] - 2.0 * row[k]
        gain = _gain(max(most + slopes[k] + down[k], 0.0), curvature)
        if gain > best:
            best, chosen = gain, k
    return chosen, worst


@_compiled
def _hand_over(
    kernel: NDArray[np.float32],
    squares: FloatArray,
    weights: FloatArray,
    slopes: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    tolerance: float,
    out: NDArray[np.int64],
) -> bool:
    """Give the weights of rows that are left out to rows for which that costs least.

    Returned is whether there were any that could take them.
    """
    for i in out:
        row = kernel[i]
        while weights[i] != 0.0:
            sign, size = (1.0 if weights[i] > 0.0 else -1.0), abs(weights[i])
            least, j, moved = np.inf, -1, 0.0
            for k in range(len(weights)):
                if sign > 0.0:
                    room = upper[k] - weights[k] if weights[k] >= 0.0 else -weights[k]
                else:
                    room = weights[k] - lower[k] if weights[k] <= 0.0 else weights[k]
                if room <= 0.0 or upper[k] <= lower[k]:
                    continue
                step = min(room, size)
                loss = tolerance if sign * weights[k] >= 0.0 else -tolerance
                # of one unit of weight
                half = 0.5 * (squares[i] + squares[k]) - row[k]
                cost = sign * slopes[k] + loss + half * step
                if cost < least:
                    least, j, moved = cost, k, step
            if j < 0:
                return False
            weights[j] += sign * moved
            weights[i] = 0.0 if moved >= size else weights[i] - sign * moved
            other = kernel[j]
            for k in range(len(weights)):
                slopes[k] += sign * moved * (other[k] - row[k])
    return True


@_compiled
def _values(kernel: NDArray[np.float32], weights: FloatArray) -> FloatArray:
    """Return kernel times weights, summed in double precision."""
    values = np.zeros(len(weights))
    for k in range(len(weights)):
        if weights[k] != 0.0:
            row = kernel[k]
            for m in range(len(weights)):
                values[m] += weights[k] * row[m]
    return values


@_compiled
def _descend(
    kernel: NDArray[np.float32],
    squares: FloatArray,
    weights: FloatArray,
    slopes: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    tolerance: float,
) -> tuple[FloatArray, FloatArray]:
    """Move weights and slopes (without the loss) until nothing helps any more.

    Returned are slopes downhill, of the loss too, for weights that rise, and fall.
    """
    n = len(weights)
    up, down = np.empty(n), np.empty(n)
    for k in range(n):
        up[k], down[k] = _costs(weights[k], lower[k], upper[k], tolerance)
    for _ in range(MOST_STEPS):
        i = _rising(slopes, up)
        row = kernel[i]
        most = -slopes[i] - up[i]
        j, violation = _falling(slopes, down, most, row, squares[i], squares)
        if violation < STOP:
            break
        other = kernel[j]
        moved = 0.0
        curvature = max(squares[i] + squares[j] - 2.0 * row[j], LEAST_CURVATURE)
        # across kinks of the loss, where a weight changes its sign
        for _part in range(3):
            slope = slopes[j] + down[j] - slopes[i] - up[i] - curvature * moved
            if slope <= 0.0:
                break
            own = -weights[i] if weights[i] < 0.0 else upper[i] - weights[i]
            its = weights[j] if weights[j] > 0.0 else weights[j] - lower[j]
            step = min(slope / curvature, own, its)
            moved += step
            # onto a kink or a bound exactly
            if step < own:
                weights[i] += step
            else:
                weights[i] = 0.0 if weights[i] < 0.0 else upper[i]
            if step < its:
                weights[j] -= step
            else:
                weights[j] = 0.0 if weights[j] > 0.0 else lower[j]
            up[i], down[i] = _costs(weights[i], lower[i], upper[i], tolerance)
            up[j], down[j] = _costs(weights[j], lower[j], upper[j], tolerance)
            if step < own and step < its:
                break
        for k in range(n):
            slopes[k] += moved * (row[k] - other[k])
    return -slopes - up, -slopes - down
