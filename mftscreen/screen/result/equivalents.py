"""Candidates that are one structure, written in several ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mftscreen.data.duplicates import possible_repeats, same_structures
from mftscreen.screen.result.rows import ScreenRow
from mftscreen.screen.work.journal import Journal

__all__ = ["mark_equivalents"]


def mark_equivalents(rows: Sequence[ScreenRow], journal: Journal) -> list[ScreenRow]:
    """Return rows that name the first candidate with the same structure.

    Parameters
    ----------
    rows : sequence of ScreenRow
        All that the journal holds, in the order of the source.
    journal : Journal
        It is read once more for the structures. Only those are kept in memory that have
        the composition and volume of another one.

    Returns
    -------
    list of ScreenRow
        With ``duplicate_of`` where :func:`mftscreen.data.duplicates.same_structures`
        finds an earlier candidate. Those that failed, whose geometries may be unsound,
        are as they were.
    """
    sound = np.array([k for k, row in enumerate(rows) if row.status == "ok"], dtype=int)
    entries = zip(rows, journal.rows(structures=True), strict=True)
    # not the outcome's status: a refused property makes a row fail all the same
    evaluated = (
        entry.atoms
        for row, entry in entries
        if row.status == "ok" and entry.atoms is not None
    )
    suspects = sound[possible_repeats(evaluated)]
    groups = same_structures(journal.structures(suspects.tolist()))
    first: dict[int, int] = {}
    marked = list(rows)
    for k, group in zip(suspects.tolist(), groups.tolist(), strict=True):
        earliest = first.setdefault(group, k)
        if earliest != k:
            marked[k] = replace(rows[k], duplicate_of=rows[earliest].id)
    return marked
