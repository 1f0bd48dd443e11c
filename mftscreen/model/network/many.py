"""Many structures in batches that fit into memory, each with a result or its error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ase import Atoms

from mftscreen.errors import StructureError
from mftscreen.structures import check_distances

__all__ = ["BatchLimit", "evaluate_checked", "evaluate_many", "is_out_of_memory"]

T = TypeVar("T")

ATOMS_PER_BATCH = 320
"""Padded atoms in a batch: enough to spread the cost of a call."""


@dataclass
class BatchLimit:
    """How much is evaluated together; it shrinks for good when memory runs out.

    Attributes
    ----------
    atoms : int
        Cost of a batch: its atoms, if the smaller structures are padded to the size of
        the largest. A structure that is larger is a batch of its own.
    structures : int, optional
        Structures in a batch, in place of `atoms`.

    Examples
    --------
    >>> BatchLimit(atoms=6).first([1, 2, 2, 4, 9])
    3
    >>> BatchLimit(structures=2).first([1, 2, 2, 4, 9])
    2
    """

    atoms: int = ATOMS_PER_BATCH
    structures: int | None = None

    def first(self, sizes: Sequence[int]) -> int:
        """Return how many structures make the first batch.

        Parameters
        ----------
        sizes : sequence of int
            Numbers of atoms, in ascending order.
        """
        if self.structures is not None:
            return min(self.structures, len(sizes))
        n = 1
        while n < len(sizes) and (n + 1) * sizes[n] <= self.atoms:
            n += 1
        return n

    def shrink(self, sizes: Sequence[int]) -> None:
        """Halve the limit, for which a batch of at least two `sizes` was too much."""
        half = len(sizes) // 2
        if self.structures is not None:
            self.structures = half
        self.atoms = min(self.atoms, half * max(sizes))


def evaluate_many(
    evaluate: Callable[[list[Atoms]], Sequence[T]],
    structures: Sequence[Atoms],
    limit: BatchLimit | None = None,
) -> Iterator[tuple[int, T | StructureError]]:
    """Evaluate structures of similar size together, the smallest first.

    Parameters
    ----------
    evaluate : callable
        Structures to one result for each. It may raise StructureError.
    structures : sequence of Atoms
    limit : BatchLimit, optional
        Changed when memory runs out; give the same one again to go on with it.

    Yields
    ------
    position : int
        In `structures`; each comes once.
    result : object
        Or the error of a structure that cannot be evaluated, also for want of memory.
        The others are then in the same batches as without it, so that their numbers
        do not depend on it.
    """
    limit = BatchLimit() if limit is None else limit
    waiting = sorted(range(len(structures)), key=lambda k: len(structures[k]))
    sizes = [len(structures[k]) for k in waiting]
    while waiting:
        batch = waiting[: limit.first(sizes)]
        done = _attempt(evaluate, structures, batch, limit)
        yield from done.items()
        again = [k for k in batch if k not in done]
        waiting[: len(batch)] = again
        sizes[: len(batch)] = [len(structures[k]) for k in again]


def evaluate_checked(
    evaluate: Callable[[list[Atoms]], Sequence[T]], structures: Sequence[Atoms]
) -> Iterator[tuple[int, T]]:
    """Evaluate structures that are known to be sound, as :func:`evaluate_many`.

    Yields
    ------
    position : int
    result : object

    Raises
    ------
    StructureError
        If one cannot be evaluated nevertheless.
    """
    for position, result in evaluate_many(evaluate, structures):
        if isinstance(result, StructureError):
            raise result
        yield position, result


def _attempt(
    evaluate: Callable[[list[Atoms]], Sequence[T]],
    structures: Sequence[Atoms],
    batch: Sequence[int],
    limit: BatchLimit,
) -> Mapping[int, T | StructureError]:
    """Return what is known of the structures of a batch: of all, some or none."""
    try:
        results = evaluate([structures[k] for k in batch])
    except StructureError as error:
        if len(batch) == 1:
            return {batch[0]: error}
        # a search that an evaluation includes finds them, without saying which
        if overlapping := _find_overlapping(structures, batch):
            return overlapping
        done: dict[int, T | StructureError] = {}
        for k in batch:
            done.update(_attempt(evaluate, structures, [k], limit))
        return done
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if len(batch) > 1:
            limit.shrink([len(structures[k]) for k in batch])
            return {}
        n_atoms = len(structures[batch[0]])
        fault = StructureError(f"{n_atoms} atoms do not fit into memory")
        fault.status = "out_of_memory"
        return {batch[0]: fault}
    return dict(zip(batch, results, strict=True))


def _find_overlapping(
    structures: Sequence[Atoms], batch: Sequence[int]
) -> dict[int, StructureError]:
    found: dict[int, StructureError] = {}
    for k in batch:
        try:
            check_distances(structures[k])
        except StructureError as error:
            found[k] = error
    return found


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that there is not enough memory."""
    # torch raises OutOfMemoryError on a GPU and a bare RuntimeError on a CPU
    return isinstance(error, MemoryError) or any(
        text in str(error).lower()
        for text in ("out of memory", "can't allocate memory")
    )
