"""From candidates to outcomes in the journal."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ase import Atoms

from mftscreen.errors import DataError, MftscreenError
from mftscreen.screen.candidates import Candidate
from mftscreen.screen.journal import Entry, Journal
from mftscreen.screen.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from mftscreen.screen.workers import Task, Workers

__all__ = ["screen"]

CHUNK = 128
"""Candidates in one transaction: a few seconds of work, lost at most when killed."""


def screen(
    candidates: Iterable[Candidate],
    key: Callable[[Atoms], str],
    workers: Workers,
    journal: Journal,
) -> Iterator[tuple[int, int]]:
    """Evaluate candidates into a journal; every one of them is accounted for once.

    Parameters
    ----------
    candidates : iterable of Candidate
        Read as the work goes on: two chunks for every worker are read ahead.
    key : callable
        Gives the name that the outcome of a structure is filed under. Equal structures
        are evaluated once; outcomes that the journal holds are not computed again.
    workers : Workers
    journal : Journal
        After :meth:`~mftscreen.screen.journal.Journal.begin`; it is marked as complete
        at the end.

    Yields
    ------
    n_done : int
        Candidates written since the last time.
    n_reused : int
        How many of them needed no evaluation.

    Raises
    ------
    DataError
        If the journal cannot be written or the source cannot be read.
    """
    pending: deque[tuple[list[Entry], list[str], Task]] = deque()
    underway: set[str] = set()
    try:
        for chunk in _chunks(candidates):
            entries, structures = _enter(chunk, key)
            for known in (journal.known(structures), underway):
                structures = {k: v for k, v in structures.items() if k not in known}
            underway |= structures.keys()
            task = workers.submit(list(structures.values()))
            pending.append((entries, list(structures), task))
            if len(pending) > 2 * workers.n_workers:
                yield _settle(pending.popleft(), workers, journal, underway)
    except DataError:
        # the source broke off: keep what was read before
        while pending:
            yield _settle(pending.popleft(), workers, journal, underway)
        raise
    while pending:
        yield _settle(pending.popleft(), workers, journal, underway)
    journal.finish()


def _chunks(candidates: Iterable[Candidate]) -> Iterator[list[Candidate]]:
    """Yield candidates in chunks, the last one also when their source breaks off."""
    chunk: list[Candidate] = []
    try:
        for candidate in candidates:
            chunk.append(candidate)
            if len(chunk) == CHUNK:
                yield chunk
                chunk = []
    except DataError:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk


def _enter(
    chunk: list[Candidate], key: Callable[[Atoms], str]
) -> tuple[list[Entry], dict[str, Atoms]]:
    """Return the entries of candidates, and their structures by key."""
    entries, structures = [], {}
    for candidate in chunk:
        structure = candidate.structure
        if isinstance(structure, MftscreenError):
            outcome = Outcome(structure.status, str(structure))
            entries.append(Entry(candidate.id, None, outcome))
        else:
            name = key(structure)
            structures[name] = structure
            entries.append(Entry(candidate.id, name))
    return entries, structures


def _settle(
    waiting: tuple[list[Entry], list[str], Task],
    workers: Workers,
    journal: Journal,
    underway: set[str],
) -> tuple[int, int]:
    entries, keys, task = waiting
    outcomes = dict(zip(keys, workers.results(task), strict=True))
    journal.write(entries, outcomes)
    underway.difference_update(keys)
    return len(entries), len(entries) - len(keys)
