"""From candidates to outcomes in the journal."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import islice
from typing import TYPE_CHECKING

from ase import Atoms

from mftscreen.errors import MftscreenError
from mftscreen.screen.candidates.elements import FilteredError
from mftscreen.screen.candidates.stream import Candidate
from mftscreen.screen.work.journal import Entry, Journal
from mftscreen.screen.work.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from mftscreen.screen.relax.batched import RelaxSettings
    from mftscreen.screen.work.workers import Chunk, Workers

__all__ = ["choose_chunk_size", "screen"]

CHUNK = 128
"""Candidates in one transaction where predictions are all: seconds of work, lost at
most when killed."""

CHUNK_RELAX, CHUNK_FOREIGN = 64, 4
"""The same where they are relaxed before, by the model or by another calculator."""


def screen(
    candidates: Iterable[Candidate],
    key: Callable[[Atoms], str],
    workers: Workers,
    journal: Journal,
    *,
    chunk_size: int | None = None,
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
        After :meth:`~mftscreen.screen.work.journal.Journal.begin`.
    chunk_size : int, optional
        Candidates that are evaluated and written together; at most ``CHUNK``, by
        default.

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
    pending: deque[tuple[list[Entry], list[str], Chunk]] = deque()
    underway: set[str] = set()
    stream = iter(candidates)
    while taken := list(islice(stream, chunk_size or CHUNK)):
        entries, structures = _enter(taken, key)
        for known in (journal.known(structures), underway):
            structures = {k: v for k, v in structures.items() if k not in known}
        underway |= structures.keys()
        suspect = workers.in_process and bool(journal.suspects(structures))
        chunk = workers.submit(list(structures.values()), suspect=suspect)
        pending.append((entries, list(structures), chunk))
        if len(pending) > 2 * workers.n_workers:
            yield _settle(pending.popleft(), workers, journal, underway)
    while pending:
        yield _settle(pending.popleft(), workers, journal, underway)


def choose_chunk_size(
    relax: RelaxSettings | None, n_workers: int, n_candidates: int | None
) -> int:
    """Return how many candidates to evaluate and write together.

    Parameters
    ----------
    relax : RelaxSettings or None
        Relaxing takes longer than predicting; other calculators take longest.
    n_workers : int
    n_candidates : int or None
        If it is known, each worker gets several chunks.

    Returns
    -------
    int

    Examples
    --------
    >>> choose_chunk_size(None, n_workers=2, n_candidates=None)
    128
    >>> choose_chunk_size(None, n_workers=4, n_candidates=226)
    15
    """
    size = CHUNK
    if relax is not None:
        size = CHUNK_RELAX if relax.relaxer is None else CHUNK_FOREIGN
    if n_workers > 1 and n_candidates is not None:
        size = min(size, max(1, -(-n_candidates // (4 * n_workers))))
    return size


def _enter(
    candidates: list[Candidate], key: Callable[[Atoms], str]
) -> tuple[list[Entry], dict[str, Atoms]]:
    """Return the entries of candidates, and their structures by key."""
    entries: list[Entry] = []
    structures: dict[str, Atoms] = {}
    for candidate in candidates:
        structure = candidate.structure
        if isinstance(structure, MftscreenError):
            formula = structure.formula if isinstance(structure, FilteredError) else ""
            outcome = Outcome(structure.status, str(structure), formula)
            entries.append(Entry(candidate.id, None, outcome, candidate.carried))
        else:
            name = key(structure)
            # of equal structures, the first is the original
            structures.setdefault(name, structure)
            entries.append(Entry(candidate.id, name, carried=candidate.carried))
    return entries, structures


def _settle(
    waiting: tuple[list[Entry], list[str], Chunk],
    workers: Workers,
    journal: Journal,
    underway: set[str],
) -> tuple[int, int]:
    entries, keys, chunk = waiting
    # after the death of this process, the next one has to know what it died of
    with journal.in_flight(keys) if workers.in_process and keys else nullcontext():
        outcomes = dict(zip(keys, workers.results(chunk), strict=True))
    journal.write(entries, outcomes)
    underway.difference_update(keys)
    readable = sum(entry.key is not None for entry in entries)
    return len(entries), readable - len(keys)
