"""What commands say at their end: of all rows, and of what they have written."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

__all__ = [
    "counted",
    "failed_rows",
    "say_predicted",
    "say_screened",
    "say_unless_complete",
    "say_written",
]


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


def failed_rows(statuses: Counter[str]) -> Counter[str]:
    """Return how many candidates of a screening failed, by status.

    Parameters
    ----------
    statuses : Counter of str
        How many candidates have each status. Those that were left out on purpose have
        not failed.
    """
    from mftscreen.screen.result.rows import FAST_ONLY

    done = ("ok", FAST_ONLY, "filtered")
    return Counter({status: n for status, n in statuses.items() if status not in done})


def say_screened(statuses: Counter[str], trust: Counter[str]) -> str:
    """Return what became of the candidates of a screening.

    Parameters
    ----------
    statuses, trust
        As for :func:`failed_rows` and :func:`say_predicted`.

    Examples
    --------
    >>> say_screened(Counter(ok=9, filtered=1, timeout=2), Counter(ok=9))
    '12 candidates: 9 predicted (0 of them out of distribution), 1 filtered out,
    2 failed, timeout: 2'
    """
    from mftscreen.screen.result.rows import FAST_ONLY

    parts = [
        say_predicted(statuses["ok"], trust),
        *([f"{n} by the fast model only"] if (n := statuses[FAST_ONLY]) else []),
        *([f"{n} filtered out"] if (n := statuses["filtered"]) else []),
        f"{failed_rows(statuses).total()} failed",
        *(f"{status}: {n}" for status, n in failed_rows(statuses).items()),
    ]
    return f"{statuses.total()} candidates: {', '.join(parts)}"


def say_unless_complete(complete: bool) -> None:
    """Say on standard error if a screening is not complete, and how to go on."""
    if not complete:
        click.echo(
            "this screening is not complete; give its 'mftscreen rank' command again "
            "to go on",
            err=True,
        )
