"""Stress and virial, which deepmd-kit has instead."""

from __future__ import annotations

import numpy as np
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

__all__ = ["stress_to_virial", "virial_to_stress"]

_VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])


def virial_to_stress(virial: NDArray[np.float64], volume: float) -> NDArray[np.float64]:
    r"""Return the stress with ASE's sign, positive under tension.

    Parameters
    ----------
    virial : ndarray of shape (3, 3)
        In eV; its symmetric part counts.
    volume : float
        Of the cell, in Å^3.

    Returns
    -------
    ndarray of shape (6,)
        :math:`-W / V` in eV/Å^3: xx, yy, zz, yz, xz, xy.

    Examples
    --------
    >>> virial_to_stress(np.diag([-2.0, 0.0, 4.0]), 4.0).tolist()
    [0.5, -0.0, -1.0, -0.0, -0.0, -0.0]
    """
    return -(virial + virial.T)[_VOIGT] / (2.0 * volume)


def stress_to_virial(stress: NDArray[np.float64], volume: float) -> NDArray[np.float64]:
    """Return the virial (3, 3) in eV of a stress in the form of the other function.

    Examples
    --------
    >>> stress_to_virial(np.array([0.5, 0.0, 0.0, 0.0, 0.0, 0.25]), 4.0)[0].tolist()
    [-2.0, -1.0, -0.0]
    """
    full: NDArray[np.float64] = -volume * voigt_6_to_full_3x3_stress(stress)
    return full
