"""One vector for a structure of the descriptors of its atoms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["join_pooled", "pool"]


def pool(descriptors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return mean and standard deviation of descriptors over the atoms.

    Both are those of the cell for any supercell of it.

    Parameters
    ----------
    descriptors : ndarray of shape (n_atoms, n_features)

    Returns
    -------
    ndarray of shape (2 * n_features,)
        The means, then the standard deviations.

    Examples
    --------
    >>> pool(np.array([[1.0, 2.0], [3.0, 2.0]]))
    array([2., 2., 1., 0.])
    """
    mean = descriptors.mean(axis=0)
    squares = np.square(descriptors - mean).mean(axis=0)
    return np.concatenate([mean, np.sqrt(squares)])


def join_pooled(parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return what :func:`pool` makes of several descriptors side by side.

    Parameters
    ----------
    parts : sequence of ndarray of shape (n_structures, 2 * n_features)
        At least one: what it makes of each, whose numbers of features may differ.

    Returns
    -------
    ndarray of shape (n_structures, 2 * n_features)
        Of the sum of the numbers of features: all means, then all standard deviations.

    Examples
    --------
    >>> join_pooled([np.array([[1.0, 0.1]]), np.array([[2.0, 3.0, 0.2, 0.3]])])
    array([[1. , 2. , 3. , 0.1, 0.2, 0.3]])
    """
    if len(parts) == 1:
        return parts[0]
    means, spreads = zip(*(np.split(part, 2, axis=1) for part in parts), strict=True)
    return np.hstack([*means, *spreads])
