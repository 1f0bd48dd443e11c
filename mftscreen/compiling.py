"""Compilation with numba, kept on disk where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

__all__ = ["compiled"]

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function, **options: Any) -> Function:
    """Compile a function once for all processes.

    Parameters
    ----------
    function : callable
    **options
        Of :func:`numba.njit`.

    Returns
    -------
    callable
        With the same signature: numba has no types of its own.
    """
    from numba import njit

    try:
        found = njit(cache=True, **options)(function)
    except RuntimeError:  # there is no folder that a cache could be written to
        found = njit(**options)(function)
    return cast("Function", found)
