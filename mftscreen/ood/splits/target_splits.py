"""Splits that need no structures: random folds and the tails of the target."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mftscreen.errors import DataError
from mftscreen.ood.splits.split import Split, build_split
from mftscreen.ood.splits.split_rows import SplitData

__all__ = ["MATBENCH_SEED", "Tail", "kde_tails", "property_tail", "random_split"]

MATBENCH_SEED = 18012019
_REACH = 9.0
"""In bandwidths."""
_ROUNDING = 1e-12
"""Densities that differ by less, relatively, are equal."""
_CHUNK = 64
"""Rows at a time, so that what is calculated stays in the cache."""

Tail = Literal["low", "high", "both"]


def random_split(
    data: SplitData,
    *,
    n_folds: int = 5,
    seed: int = MATBENCH_SEED,
    val_share: float = 0.2,
) -> Split:
    """Return random folds; with the defaults the tests are MatBench's own folds.

    Parameters
    ----------
    data : SplitData
        For MatBench's folds, in the order of its file.
    n_folds : int, default 5
    seed : int, default 18012019
    val_share : float, default 0.2
        Share of the rows that are not tested. MatBench leaves the choice of a
        validation set to the user.

    Returns
    -------
    Split
        Folds ``fold_0`` and so on.

    Raises
    ------
    DataError
        If there are fewer rows than folds, or a share is out of range.

    References
    ----------
    A. Dunn, Q. Wang, A. Ganose, D. Dopp and A. Jain, npj Comput. Mater. 6, 138 (2020),
    doi:10.1038/s41524-020-00406-3
    """
    from sklearn.model_selection import KFold

    if not 2 <= n_folds <= len(data):
        msg = f"{n_folds} folds of {len(data)} rows; 2 to {len(data)} are possible"
        raise DataError(msg)
    folds = KFold(n_folds, shuffle=True, random_state=seed).split(data.values)
    tests = {f"fold_{k}": test.tolist() for k, (_, test) in enumerate(folds)}
    parameters = {"n_folds": n_folds, "val_share": val_share}
    return build_split(data, "random", parameters, tests, seed=seed)


def kde_tails(
    data: SplitData,
    *,
    ood_share: float = 0.1,
    id_share: float = 0.05,
    seed: int = 42,
    val_share: float = 0.2,
) -> Split:
    """Return one fold whose OOD test are the rows of rarest target, as in BOOM.

    Parameters
    ----------
    data : SplitData
    ood_share : float, default 0.1
        The rows of lowest density. BOOM takes 10,000 of QM9's molecules and 1,000 of
        its 10k CSD set.
    id_share : float, default 0.05
        Each other row is in the in-distribution test with this probability.
    seed : int, default 42
        Of the in-distribution test and the validation rows.
    val_share : float, default 0.2
        Share of the rows that are in neither test.

    Returns
    -------
    Split
        One fold, ``kde_tails``, with `test` and `id_test`.

    Raises
    ------
    DataError
        If a share is out of range, or so many targets are equal that none is rare.

    Notes
    -----
    The density is a Gaussian kernel estimate of bandwidth :math:`n^{-1/5}` in the unit
    of the target: BOOM uses scikit-learn's ``bandwidth="scott"``, which does not scale
    with the spread of the data. Changing the unit changes the split, and where the
    spread is below the bandwidth the rarest targets are simply the extreme ones. Rows
    as dense as the first one that is not OOD are not OOD, either.

    References
    ----------
    E. R. Antoniuk et al., BOOM: Benchmarking Out-Of-distribution Molecular Property
    Predictions of Machine Learning Models (2025), arXiv:2505.01912
    """
    n_ood = _count(ood_share, len(data), "ood_share")
    density = _density(data.values)
    threshold = np.partition(density, n_ood)[n_ood]
    return _tail_split(
        data,
        "kde_tails",
        density < threshold * (1 - _ROUNDING),
        {"ood_share": ood_share, "id_share": id_share, "val_share": val_share},
        seed,
    )


def property_tail(
    data: SplitData,
    *,
    tail: Tail = "high",
    ood_share: float = 0.1,
    id_share: float = 0.05,
    seed: int = 0,
    val_share: float = 0.2,
) -> Split:
    """Return one fold whose OOD test are the rows of extreme target.

    Parameters
    ----------
    data : SplitData
    tail : {"low", "high", "both"}, default "high"
    ood_share : float, default 0.1
        Share of the rows; halved between two tails.
    id_share : float, default 0.05
        Each other row is in the in-distribution test with this probability.
    seed : int, default 0
        Of the in-distribution test and the validation rows.
    val_share : float, default 0.2
        Share of the rows that are in neither test.

    Returns
    -------
    Split
        One fold, named after the tail, with `test` and `id_test`. Every target of
        `test` is outside the range of all others: rows that tie with the first one
        inside are inside.

    Raises
    ------
    DataError
        If a share is out of range, or so many targets are equal that there is no tail.
    """
    if tail not in get_args(Tail):
        msg = f"tail must be one of {', '.join(get_args(Tail))}, got {tail!r}"
        raise DataError(msg)
    share = ood_share / 2 if tail == "both" else ood_share
    n_ood = _count(share, len(data), "ood_share")
    order = np.sort(data.values)
    outside = np.zeros(len(data), dtype=bool)
    if tail != "high":
        outside |= data.values < order[n_ood]
    if tail != "low":
        outside |= data.values > order[-n_ood - 1]
    parameters = {
        "tail": tail,
        "ood_share": ood_share,
        "id_share": id_share,
        "val_share": val_share,
    }
    return _tail_split(data, "property_tail", outside, parameters, seed)


def _count(share: float, n_rows: int, name: str) -> int:
    if not 0.0 < share < 1.0:
        msg = f"{name} must be between 0 and 1, got {share}"
        raise DataError(msg)
    count = round(share * n_rows)
    if not 1 <= count < n_rows:
        msg = (
            f"{name} gives {count} of {n_rows} rows; at least 1 and not all are needed"
        )
        raise DataError(msg)
    return count


def _density(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the kernel density at each value, but for a constant factor."""
    # rounded targets repeat; weights give the same sum in far fewer terms
    distinct, row, counts = np.unique(values, return_inverse=True, return_counts=True)
    scaled = distinct * len(values) ** 0.2
    # beyond, a kernel adds nothing to the 1 of a value's own
    begin = np.searchsorted(scaled, scaled - _REACH)
    end = np.searchsorted(scaled, scaled + _REACH)
    density = np.empty(len(scaled))
    for first in range(0, len(scaled), _CHUNK):  # ascending, so that windows overlap
        last = min(first + _CHUNK, len(scaled))
        window = slice(begin[first], end[last - 1])
        distances = scaled[first:last, None] - scaled[None, window]
        density[first:last] = np.exp(-0.5 * distances**2) @ counts[window]
    return density[row]


def _tail_split(
    data: SplitData,
    method: str,
    outside: NDArray[np.bool_],
    parameters: Mapping[str, float | str],
    seed: int,
) -> Split:
    id_share = float(parameters["id_share"])
    if not 0.0 <= id_share < 1.0:
        msg = f"id_share must be in [0, 1), got {id_share}"
        raise DataError(msg)
    name = str(parameters.get("tail", method))
    draw = random.Random(seed)
    id_test = [int(row) for row in np.flatnonzero(~outside) if draw.random() < id_share]
    tests: dict[str, Sequence[int]] = {name: np.flatnonzero(outside).tolist()}
    return build_split(
        data, method, parameters, tests, seed=seed, id_tests={name: id_test}
    )
