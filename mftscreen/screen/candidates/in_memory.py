"""Candidates that are in memory, told from files of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized
from pathlib import Path
from typing import Any

from ase import Atoms

from mftscreen.data.memory import is_structure, iter_memory
from mftscreen.errors import DataError, MftscreenError
from mftscreen.screen.candidates.carried import without_baggage

__all__ = [
    "Found",
    "Source",
    "are_paths",
    "count_in_memory",
    "is_in_memory",
    "memory_rows",
]

Source = Any
"""A path, a URL, several of these, or what is in memory, see
:func:`mftscreen.data.memory.iter_memory`."""

Found = tuple[str, Atoms | MftscreenError, Mapping[str, Any]]
"""The id of a row, its structure, and what else it holds."""


def is_in_memory(source: Source) -> bool:
    """Tell what is in memory from paths and URLs.

    Examples
    --------
    >>> is_in_memory([Atoms("O")]), is_in_memory("pool.db"), is_in_memory(["a.cif"])
    (True, False, False)
    """
    return not (isinstance(source, str | Path) or are_paths(source))


def are_paths(source: Source) -> bool:
    """Tell several paths or URLs from structures."""
    return (
        isinstance(source, list | tuple)
        and bool(source)
        and all(isinstance(item, str | Path) for item in source)
    )


def count_in_memory(source: Source) -> int | None:
    """Return how many structures there are; None if they have to be counted."""
    if is_structure(source):
        return 1
    return len(source) if isinstance(source, Sized) else None


def memory_rows(
    source: Source, query: str | None, column: str | None
) -> Iterator[Found]:
    """Yield rows as other sources do.

    Parameters
    ----------
    source : object
    query : str or None
    column : str or None
        Where a DataFrame has its structures.

    Raises
    ------
    DataError
        If there is a query, or the source is nothing of structures.
    """
    if query is not None:
        msg = f"a query ({query!r}) needs an ase.db or an OPTIMADE provider"
        raise DataError(msg)
    for row in iter_memory(source, column):
        structure = row.structure
        if isinstance(structure, Atoms):
            structure = without_baggage(structure)
        yield str(row.name), structure, row.values
