"""The methods of splitting by their names."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import get_args

from mftscreen.errors import DataError
from mftscreen.ood.splits.leave_one_out import Criterion, leave_one_out
from mftscreen.ood.splits.ofm_splits import (
    loco,
    sparse_x_cluster,
    sparse_x_single,
    sparse_y_cluster,
    sparse_y_single,
)
from mftscreen.ood.splits.split import Split
from mftscreen.ood.splits.target_splits import kde_tails, property_tail, random_split
from mftscreen.suggestions import did_you_mean

__all__ = ["OFM_METHODS", "TARGET_METHODS", "split_function"]

_FUNCTIONS: dict[str, Callable[..., Split]] = {
    "random": random_split,
    "kde_tails": kde_tails,
    "property_tail": property_tail,
    "loco": loco,
    "sparse_x_single": sparse_x_single,
    "sparse_x_cluster": sparse_x_cluster,
    "sparse_y_single": sparse_y_single,
    "sparse_y_cluster": sparse_y_cluster,
    **{
        criterion: partial(leave_one_out, by=criterion)
        for criterion in get_args(Criterion)
    },
}

OFM_METHODS = (
    *("loco", "sparse_x_single", "sparse_x_cluster"),
    *("sparse_y_single", "sparse_y_cluster"),
)
"""Methods that take orbital field matrices as a second argument."""

TARGET_METHODS = ("kde_tails", "property_tail", "sparse_y_cluster", "sparse_y_single")
"""Methods that look for rare or extreme targets."""


def split_function(method: str) -> Callable[..., Split]:
    """Return the function that splits by a method.

    Parameters
    ----------
    method : str
        ``random``, ``kde_tails``, ``property_tail``, one of :data:`OFM_METHODS`, or
        what :func:`mftscreen.ood.splits.leave_one_out` leaves out.

    Returns
    -------
    callable
        Of :class:`SplitData` and, for :data:`OFM_METHODS`, :class:`OFMVectors`.

    Raises
    ------
    DataError
        If there is no such method.

    Examples
    --------
    >>> split_function("loco").__name__
    'loco'
    """
    if not isinstance(method, str) or method not in _FUNCTIONS:
        msg = f"no split method {method!r}; the methods are {', '.join(_FUNCTIONS)}"
        msg += did_you_mean(str(method), known=_FUNCTIONS)
        raise DataError(msg)
    return _FUNCTIONS[method]
