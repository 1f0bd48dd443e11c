"""What commands say at their end: of all rows, and of what they have written."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

__all__ = ["counted", "say_predicted", "say_written"]


def counted(n: int, noun: str) -> str:
    """Return a number and what is counted.

    Examples
    --------
    >>> counted(1, "row"), counted(2, "row")
    ('1 row', '2 rows')
    """
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def say_written(what: str, path: Path, *, quiet: bool) -> None:
    """Say on standard error what a file or folder holds now.

    Parameters
    ----------
    what : str
        With how many of them, where there are several.
    path : Path
    quiet : bool
        Whether to say nothing.
    """
    if not quiet:
        click.echo(f"wrote {what} to {click.format_filename(path)}", err=True)


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
