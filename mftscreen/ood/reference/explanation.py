"""What there is to say of one vector beside a reference set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

__all__ = ["Explanation", "find_unseen"]


@dataclass(frozen=True)
class Explanation:
    """Why a structure is near to the reference set, or far from it.

    Attributes
    ----------
    indices : ndarray of shape (k,)
        Rows of the reference set, nearest first.
    distances : ndarray of shape (k,)
        Their Euclidean distances.
    p_value : float
        As :meth:`mftscreen.ood.OFMDensityDetector.p_value`.
    unseen_columns : ndarray of shape (n_unseen,)
        Features of the vector that no reference vector has, the strongest first. For
        orbital field matrices these are pairs of orbitals that never meet there, see
        :func:`mftscreen.ood.ofm.orbitals.name_pair`.
    unseen_values : ndarray of shape (n_unseen,)
        What the vector holds there. All of it counts as distance.
    """

    indices: NDArray[np.int64]
    distances: NDArray[np.float64]
    p_value: float
    unseen_columns: NDArray[np.int64]
    unseen_values: NDArray[np.float64]


def find_unseen(
    vectors: csr_array, row: int, seen: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the entries of a vector in columns that no reference vector has.

    Parameters
    ----------
    vectors : csr_array of shape (n_vectors, n_features)
    row : int
        Which of them.
    seen : ndarray of bool, shape (n_features,)
        Columns that a reference vector has.

    Returns
    -------
    columns, values : ndarray of shape (n_unseen,)
        The strongest first.
    """
    entries = slice(*vectors.indptr[row : row + 2])
    columns = vectors.indices[entries].astype(np.int64)
    values = vectors.data[entries]
    new = np.flatnonzero(~seen[columns] & (values != 0.0))
    new = new[np.argsort(-np.abs(values[new]), kind="stable")]
    return columns[new], values[new]
