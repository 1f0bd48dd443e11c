"""The loops over edges and angles of DPA3, compiled with numba.

Import this module inside functions only: importing numba takes about half a second.

What a loop makes of an edge or an angle is added up before the next one is begun, so
that it stays in the cache; only features are written to memory. The compiled functions
share one module, because numba does not notice a change of a cached function in
another module. They work on a range of atoms and without the interpreter's lock: the
caller gives every thread its range, which takes no threading layer of numba's.

Constants are of type float32, because numba would compute in float64 with plain ones.
"""

from __future__ import annotations

from collections.abc import Callable
from math import factorial
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from mftscreen.compiling import compiled

__all__ = [
    "activate",
    "differentiate",
    "differentiate_twice",
    "find_cosines",
    "pass_along_angles",
    "pass_along_edges",
]

Floats: TypeAlias = NDArray[np.float32]
Integers: TypeAlias = NDArray[np.int64]
SiLUT: TypeAlias = tuple[np.float32, np.float32, np.float32]
"""Threshold t, twice the slope a, and 1 + b of tanh(a (x - t)) + b above t."""

_ZERO, _ONE, _TWO, _THREE = (np.float32(k) for k in range(4))

_LARGEST = np.float32(87)
"""exp of it and of its negative are normal numbers."""

_LOG2_E = np.float32(1 / np.log(2))
_LN_2_HIGH = np.float32(355 / 512)
"""Of so few bits that its products with small integers are exact."""
_LN_2_LOW = np.float32(np.log(2) - 355 / 512)
_ROUNDER = np.float32(3 << 22)
"""Added to a small number, it leaves the nearest integer in the lowest bits."""

# Taylor series of exp; what is left out is below 1e-8 for |r| <= ln(2) / 2
_P2, _P3, _P4, _P5, _P6, _P7 = (np.float32(1 / factorial(k)) for k in range(2, 8))

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _compiled(function: _Function) -> _Function:
    """Compile with numba, which has no types of its own, and keep the signature.

    Multiplications and additions may be fused; sums keep their order, on which the
    rounding in `_silut` relies.
    """
    return compiled(
        function, nogil=True, error_model="numpy", fastmath={"contract", "nsz"}
    )


@_compiled
def _quotient(x: np.float32, silut: SiLUT) -> np.float32:
    """Return q = 1 / (1 + exp(z)), z = -x below the threshold, 2 a (x - t) from it on.

    The activation is x q below and 1 + b - 2 q above, so that one exponential does,
    without a branch.
    """
    threshold, twice_slope, _ = silut
    z = -x if x < threshold else twice_slope * (x - threshold)
    z = min(max(z, -_LARGEST), _LARGEST)
    # exp(z) = 2**n exp(r), with n added to the exponent's bits
    shifted = z * _LOG2_E + _ROUNDER
    n = shifted - _ROUNDER
    r = z - n * _LN_2_HIGH - n * _LN_2_LOW
    series = ((((_P7 * r + _P6) * r + _P5) * r + _P4) * r + _P3) * r + _P2
    bits = np.float32(shifted).view(np.int32) << np.int32(23)
    power = np.int32(bits + np.int32(127 << 23)).view(np.float32)
    return _ONE / (_ONE + power * (series * r * r + r + _ONE))


@_compiled
def _silut(x: np.float32, silut: SiLUT) -> np.float32:
    """Return x sigmoid(x) below the threshold, tanh(a (x - t)) + b from it on."""
    threshold, _, top = silut
    q = _quotient(x, silut)
    return x * q if x < threshold else top - _TWO * q


@_compiled
def activate(x: Floats, silut: SiLUT) -> None:
    """Replace the numbers of `x` (n,) by their activation."""
    for k in range(x.size):
        x[k] = _silut(x[k], silut)


@_compiled
def differentiate(x: Floats, gradient: Floats, silut: SiLUT, result: Floats) -> None:
    """Write the first derivative at `x` times `gradient`, all of shape (n,)."""
    threshold, twice_slope, _ = silut
    for k in range(x.size):
        q = _quotient(x[k], silut)
        p = q * (_ONE - q)
        first = q + x[k] * p if x[k] < threshold else _TWO * twice_slope * p
        result[k] = first * gradient[k]


@_compiled
def differentiate_twice(
    x: Floats,
    gradient: Floats,
    outer: Floats,
    silut: SiLUT,
    by_x: Floats,
    by_gradient: Floats,
) -> None:
    """Write `outer` times the derivatives of what `differentiate` writes.

    They are those with respect to `x` and to `gradient`; all of shape (n,).
    """
    threshold, twice_slope, _ = silut
    for k in range(x.size):
        q = _quotient(x[k], silut)
        p = q * (_ONE - q)
        tanh = _ONE - _TWO * q
        if x[k] < threshold:
            first, second = q + x[k] * p, p * (_TWO + x[k] * tanh)
        else:
            first = _TWO * twice_slope * p
            second = -twice_slope * tanh * first
        by_x[k] = second * gradient[k] * outer[k]
        by_gradient[k] = first * outer[k]


@_compiled
def find_cosines(
    first: int,
    last: int,
    starts: Integers,  # (n_atoms + 1,)
    angle_starts: Integers,  # (n_atoms + 1,)
    directions: Floats,  # (n_near, 3)
    cosines: Floats,  # (n_angles,), written
) -> None:
    """Write the scalar products of the directions at each atom."""
    for i in range(first, last):
        p = angle_starts[i]
        for j in range(starts[i], starts[i + 1]):
            for k in range(starts[i], starts[i + 1]):
                cosines[p] = (
                    directions[j, 0] * directions[k, 0]
                    + directions[j, 1] * directions[k, 1]
                    + directions[j, 2] * directions[k, 2]
                )
                p += 1


@_compiled
def pass_along_edges(
    first: int,
    last: int,
    starts: Integers,  # (2 n_atoms + 1,)
    others: Integers,  # (n_edges,)
    weights: Floats,  # (n_edges, 4)
    nodes: Floats,  # (n_atoms, n_node)
    edges: Floats,  # (n_edges, n_edge), updated
    at_atoms: Floats,  # (n_atoms, 2 n_out): as a centre, as a neighbour
    matrix: Floats,  # (n_edge, n_out)
    residual: Floats,  # (n_out - n_node,)
    silut: SiLUT,
    messages: Floats,  # (n_atoms, n_node), added to
    products: Floats,  # (n_atoms, n_axis (n_edge + n_node)), written
) -> None:
    """Sum messages and moments at every atom; update the edges.

    The products are those of the moments' first ``n_axis`` columns with all.
    """
    (n_atoms, n_node), (n_edge, n_out) = nodes.shape, matrix.shape
    flat, x = _scratch(starts, len(starts) - 1, n_out)
    edge_moments = np.empty((3, n_edge), dtype=np.float32)
    node_moments = np.empty((3, n_node), dtype=np.float32)
    n_axis = products.shape[1] // (n_edge + n_node)
    for i in range(first, last):
        edge_moments[:] = _ZERO
        node_moments[:] = _ZERO
        for segment in (i, n_atoms + i):
            begin, count = starts[segment], starts[segment + 1] - starts[segment]
            _start_edges(x, at_atoms, i, others[begin : begin + count])
            _add_product(x, edges, begin, count, matrix)
            activate(flat[: count * n_out], silut)
            for k in range(begin, begin + count):
                _add_moments(weights, k, edges, k, edge_moments)
                _add_moments(weights, k, nodes, others[k], node_moments)
                _add_row(messages, i, weights[k, 0], x, k - begin)
            _add_residuals(edges, begin, count, residual, x, n_node)
        _multiply_moments(edge_moments, n_axis, products[i])
        _multiply_moments(node_moments, n_axis, products[i, n_axis * n_edge :])


@_compiled
def pass_along_angles(
    first: int,
    last: int,
    starts: Integers,  # (2 n_atoms + 1,)
    angle_starts: Integers,  # (n_atoms + 1,)
    weights: Floats,  # (n_near,)
    inputs: Floats,  # (n_angles, n_in)
    angles: Floats,  # (n_angles, n_out - n_edge), updated; may be the inputs
    at_edges: Floats,  # (n_near, 2 n_out): as the first edge, as the second
    matrix: Floats,  # (n_in, n_out)
    residual: Floats,  # (n_out - n_edge,)
    silut: SiLUT,
    messages: Floats,  # (n_near, n_edge), added to
) -> None:
    """Sum messages at every edge over the angles that it begins; update the angles."""
    n_out, n_edge = matrix.shape[1], messages.shape[1]
    flat, x = _scratch(starts, len(angle_starts) - 1, n_out)
    for i in range(first, last):
        begin, count = starts[i], starts[i + 1] - starts[i]
        for j in range(count):
            p = angle_starts[i] + j * count
            _start_angles(x, at_edges, begin, count, j)
            _add_product(x, inputs, p, count, matrix)
            activate(flat[: count * n_out], silut)
            for k in range(count):
                weight = weights[begin + j] * weights[begin + k]
                _add_row(messages, begin + j, weight, x, k)
            _add_residuals(angles, p, count, residual, x, n_edge)


@_compiled
def _scratch(starts: Integers, n_lists: int, width: int) -> tuple[Floats, Floats]:
    """Return an array with a row for each entry of the longest list, flat and 2-D."""
    longest = 0
    for k in range(n_lists):
        longest = max(longest, starts[k + 1] - starts[k])
    flat = np.empty(longest * width, dtype=np.float32)
    return flat, flat.reshape((longest, width))


# Each of the short loops that follow is a function of its own, of few arrays: before a
# loop begins, it is checked that none of its arrays overlap.


@_compiled
def _start_edges(x: Floats, at_atoms: Floats, i: int, others: Integers) -> None:
    n_out = x.shape[1]
    for k in range(len(others)):
        j = others[k]
        for c in range(n_out):
            x[k, c] = at_atoms[i, c] + at_atoms[j, n_out + c]


@_compiled
def _start_angles(x: Floats, at_edges: Floats, begin: int, count: int, j: int) -> None:
    n_out = x.shape[1]
    for k in range(count):
        for c in range(n_out):
            x[k, c] = at_edges[begin + j, c] + at_edges[begin + k, n_out + c]


@_compiled
def _add_product(x: Floats, a: Floats, begin: int, count: int, b: Floats) -> None:
    """Add the product of rows of `a` and of `b`, eight terms in one pass over `x`."""
    n_terms, n_columns = b.shape
    for t in range(0, n_terms - 7, 8):
        for k in range(count):
            r = begin + k
            a0, a1, a2, a3 = a[r, t], a[r, t + 1], a[r, t + 2], a[r, t + 3]
            a4, a5, a6, a7 = a[r, t + 4], a[r, t + 5], a[r, t + 6], a[r, t + 7]
            for c in range(n_columns):
                first = a0 * b[t, c] + a1 * b[t + 1, c] + a2 * b[t + 2, c]
                second = a3 * b[t + 3, c] + a4 * b[t + 4, c] + a5 * b[t + 5, c]
                x[k, c] += first + second + (a6 * b[t + 6, c] + a7 * b[t + 7, c])
    for t in range(n_terms - n_terms % 8, n_terms):
        for k in range(count):
            factor = a[begin + k, t]
            for c in range(n_columns):
                x[k, c] += factor * b[t, c]


@_compiled
def _add_row(target: Floats, i: int, factor: np.float32, x: Floats, k: int) -> None:
    for c in range(target.shape[1]):
        target[i, c] += factor * x[k, c]


@_compiled
def _add_residuals(
    features: Floats, begin: int, count: int, residual: Floats, x: Floats, skipped: int
) -> None:
    for k in range(count):
        for c in range(len(residual)):
            features[begin + k, c] += residual[c] * x[k, skipped + c]


@_compiled
def _add_moments(
    weights: Floats, k: int, features: Floats, j: int, moments: Floats
) -> None:
    x, y, z = weights[k, 1], weights[k, 2], weights[k, 3]
    for c in range(features.shape[1]):
        moments[0, c] += x * features[j, c]
        moments[1, c] += y * features[j, c]
        moments[2, c] += z * features[j, c]


@_compiled
def _multiply_moments(moments: Floats, n_axis: int, products: Floats) -> None:
    """Write a third of the scalar products of the first moments with all."""
    n_columns = moments.shape[1]
    for a in range(n_axis):
        x, y, z = moments[0, a] / _THREE, moments[1, a] / _THREE, moments[2, a] / _THREE
        for c in range(n_columns):
            products[a * n_columns + c] = (
                x * moments[0, c] + y * moments[1, c] + z * moments[2, c]
            )
