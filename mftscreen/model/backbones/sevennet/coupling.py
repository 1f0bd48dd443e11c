r"""How features of angular momenta l₁ and l₂ make some of l₃, in real components.

Real spherical harmonics are ordered and signed as those of e3nn: for l = 1 they are
(x, y, z), and y is the axis on which the others of order m = 0 are symmetric.

References
----------
Equations of NequIP: S. Batzner et al., Nat. Commun. 13, 2453 (2022),
doi:10.1038/s41467-022-29939-5
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["coupling", "spherical_harmonics"]


@functools.cache
def coupling(l1: int, l2: int, l3: int) -> NDArray[np.float64]:
    """Return the coefficients of the coupling of real components, of norm 1.

    Parameters
    ----------
    l1, l2, l3 : int
        With ``abs(l1 - l2) <= l3 <= l1 + l2``.

    Returns
    -------
    ndarray of shape (2 l1 + 1, 2 l2 + 1, 2 l3 + 1)
        Invariant to rotations of all three.

    Examples
    --------
    >>> coupling(1, 1, 0)[:, :, 0].round(3).tolist()
    [[0.577, 0.0, 0.0], [0.0, 0.577, 0.0], [0.0, 0.0, 0.577]]
    """
    from sympy.physics.wigner import clebsch_gordan

    table = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    for m1 in range(-l1, l1 + 1):
        for m2 in range(max(-l2, -l3 - m1), min(l2, l3 - m1) + 1):
            table[l1 + m1, l2 + m2, l3 + m1 + m2] = clebsch_gordan(
                l1, l2, l3, m1, m2, m1 + m2
            )
    first, second, third = (_complex_of_real(momentum) for momentum in (l1, l2, l3))
    real = np.einsum("ikn,ij,kl,nm->jlm", table, first, second, third.conj()).real
    normalized: NDArray[np.float64] = real / np.linalg.norm(real)
    return normalized


def _complex_of_real(momentum: int) -> NDArray[np.complex128]:
    """Return complex spherical harmonics as combinations of real ones (columns).

    The phase (-i)^l makes the coefficients of all couplings real.
    """
    basis = np.zeros((2 * momentum + 1, 2 * momentum + 1), dtype=complex)
    basis[momentum, momentum] = 1
    for m in range(1, momentum + 1):
        basis[momentum - m, momentum + m] = 1
        basis[momentum - m, momentum - m] = -1j
        basis[momentum + m, momentum + m] = (-1) ** m
        basis[momentum + m, momentum - m] = 1j * (-1) ** m
    basis[np.arange(2 * momentum + 1) != momentum] /= np.sqrt(2)
    return (-1j) ** momentum * basis


def spherical_harmonics(directions: torch.Tensor, l_max: int) -> torch.Tensor:
    """Return the real spherical harmonics of all orders up to one.

    Parameters
    ----------
    directions : Tensor of shape (n_edges, 3)
        Unit vectors.
    l_max : int

    Returns
    -------
    Tensor of shape (n_edges, (l_max + 1)²)
        Those of each l have the norm √(2 l + 1).
    """
    orders = [torch.ones_like(directions[:, :1]), directions * 3**0.5]
    for momentum in range(2, l_max + 1):
        # the product of the last with the direction, and its norm for the y axis
        table = coupling(momentum - 1, 1, momentum)
        matrix = directions.new_tensor(table * _growth(momentum))
        orders.append(
            torch.einsum("ea,eb,abc->ec", orders[-1], directions * 3**0.5, matrix)
        )
    return torch.cat(orders[: l_max + 1], dim=1)


@functools.cache
def _growth(momentum: int) -> float:
    """Return what the product with a direction is multiplied by, to have its norm."""
    upwards = [np.zeros(2 * k + 1) for k in (momentum - 1, 1)]
    for k, components in enumerate(upwards):
        components[len(components) // 2] = (2 * (momentum - 1, 1)[k] + 1) ** 0.5
    product = np.einsum("a,b,abc->c", *upwards, coupling(momentum - 1, 1, momentum))
    return float((2 * momentum + 1) ** 0.5 / product[momentum])
