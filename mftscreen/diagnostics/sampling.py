"""Samples: evenly spread structures, random rows, and the features of just those rows.

A row is an atom or an edge; rows are counted through all structures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mftscreen.errors import ModelError
from mftscreen.model.network.many import evaluate_checked

__all__ = ["gather_rows", "sample_each", "take_evenly"]

_T = TypeVar("_T")


def take_evenly(items: Sequence[_T], n: int) -> list[_T]:
    """Return `n` items, evenly spread, or all if there are no more.

    Parameters
    ----------
    items : sequence
    n : int

    Returns
    -------
    list
        In their order; the first is the first of `items`.

    Examples
    --------
    >>> take_evenly("abcdefg", 3)
    ['a', 'c', 'e']
    """
    size = min(n, len(items))
    return [items[k * len(items) // size] for k in range(size)]


def sample_each(
    codes: NDArray[np.integer[Any]], n_samples: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the positions of up to `n_samples` random rows of each code.

    Parameters
    ----------
    codes : ndarray of shape (n_rows,)
        What each row is; negative for rows that are not wanted.
    n_samples : int
    rng : numpy Generator

    Returns
    -------
    ndarray of shape (n_chosen,)
        Ascending.

    Examples
    --------
    >>> codes = np.array([0, 1, 0, -1, 1, 1])
    >>> chosen = sample_each(codes, 2, np.random.default_rng(0))
    >>> codes[chosen].tolist()
    [0, 1, 0, 1]
    """
    chosen = [np.empty(0, dtype=np.int64)]
    for code in np.unique(codes[codes >= 0]):
        rows = np.flatnonzero(codes == code)
        size = min(n_samples, len(rows))
        chosen.append(rng.choice(rows, size, replace=False))
    return np.sort(np.concatenate(chosen))


def gather_rows(
    evaluate: Callable[[list[Atoms]], Sequence[NDArray[np.float64]]],
    structures: Sequence[Atoms],
    sizes: Sequence[int],
    rows: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the features of chosen rows; other structures are not evaluated.

    Parameters
    ----------
    evaluate : callable
        Structures to one array of shape (size, n_features) for each.
    structures : sequence of Atoms
    sizes : sequence of int
        Number of rows of each structure.
    rows : ndarray of shape (n_chosen,)
        At least one.

    Returns
    -------
    ndarray of shape (n_chosen, n_features)

    Raises
    ------
    ModelError
        If a feature is not finite.
    """
    starts = np.concatenate([[0], np.cumsum(sizes)])
    owners = np.searchsorted(starts, rows, side="right") - 1
    used = np.unique(owners)
    parts: list[NDArray[np.float64]] = []
    places: list[NDArray[np.int64]] = []
    for position, features in evaluate_checked(evaluate, [structures[k] for k in used]):
        k = used[position]
        mine = np.flatnonzero(owners == k)
        parts.append(features[rows[mine] - starts[k]])
        places.append(mine)
    gathered = np.concatenate(parts)[np.argsort(np.concatenate(places))]
    if not np.isfinite(gathered).all():
        msg = "the model gives features that are not finite numbers"
        raise ModelError(msg)
    return gathered
