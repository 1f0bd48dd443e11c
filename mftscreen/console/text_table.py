"""Tables of texts, for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat
from typing import TypeVar
from unicodedata import category

__all__ = ["printable", "text_table"]

_T = TypeVar("_T")


def text_table(
    lines: Iterable[Sequence[str]], align: str = "<", least: Sequence[int] = (0,)
) -> str:
    """Return lines of cells as columns, which two spaces separate.

    Parameters
    ----------
    lines : iterable of sequence of str
        All with as many cells.
    align : str
        ``<`` or ``>`` for each column; the last one goes for the columns after it, too.
    least : sequence of int
        Smallest width of each column, likewise.

    Returns
    -------
    str
        Every line ends with a newline, none with spaces.

    Examples
    --------
    >>> print(text_table([["fold", "test"], ["0", "120"]], "<>"), end="")
    fold  test
    0      120
    """
    lines = [list(line) for line in lines]
    columns = zip(*lines, strict=True)
    widths = [
        max(width, *map(len, column))
        for width, column in zip(_filled(least), columns, strict=False)
    ]
    return "".join(
        "  ".join(
            f"{cell:{side}{width}}"
            for cell, side, width in zip(line, _filled(align), widths, strict=False)
        ).rstrip()
        + "\n"
        for line in lines
    )


def _filled(values: Sequence[_T]) -> Iterator[_T]:
    return chain(values, repeat(values[-1]))


def printable(text: str) -> str:
    r"""Return a text with escapes for what a terminal would obey, or not show.

    Parameters
    ----------
    text : str

    Examples
    --------
    >>> printable("a\x1b[31m\n")
    'a\\x1b[31m\\n'
    """
    return "".join(
        c
        if c.isprintable() or category(c) == "Zs"
        else c.encode("unicode_escape").decode()
        for c in text
    )
