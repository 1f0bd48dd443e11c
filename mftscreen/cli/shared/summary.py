"""What commands say of all rows at their end."""

from __future__ import annotations

from collections import Counter

__all__ = ["say_predicted"]


def say_predicted(n: int, trust: Counter[str]) -> str:
    """Return how many rows have a value, and how many of these to doubt.

    Parameters
    ----------
    n : int
        Rows with a value.
    trust : Counter of str
        How many have each :attr:`mftscreen.screen.result.rows.ScreenRow.trust`.

    Examples
    --------
    >>> say_predicted(9, Counter(ok=7, flagged=2))
    '9 predicted (2 of them out of distribution)'
    >>> say_predicted(1, Counter(untested=1))
    '1 predicted (0 of them out of distribution, 1 not tested)'
    """
    untested = f", {trust['untested']} not tested" if trust["untested"] else ""
    return f"{n} predicted ({trust['flagged']} of them out of distribution{untested})"
