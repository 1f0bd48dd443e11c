"""One vector for a structure of the descriptors of its atoms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["pool"]


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
