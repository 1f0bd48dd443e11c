"""Compilation with numba, kept on disk where that is possible."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

__all__ = ["compiled", "interruptible"]

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


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C in a compiled function that returns several values be one.

    numba goes on to make a tuple of the values, and Python calls that a
    ``SystemError``. It takes a microsecond; functions that return one value or none
    have no need of it.

    Raises
    ------
    KeyboardInterrupt
        In place of such an error.
    """
    try:
        yield
    except SystemError as error:
        if isinstance(error.__cause__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
