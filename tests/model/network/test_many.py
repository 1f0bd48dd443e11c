from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from mftscreen.errors import (
    InvalidGeometryError,
    PeriodicityError,
    StructureError,
    UnsupportedByBackboneError,
)
from mftscreen.model.network.many import BatchLimit, evaluate_checked, evaluate_many
from mftscreen.structures import check_distances


def chain(n: int, spacing: float = 2.0) -> Atoms:
    return Atoms(f"H{n}", [[spacing * k, 0.0, 0.0] for k in range(n)])


class Recorder:
    """Gives the number of atoms; looks at distances as a model does."""

    def __init__(self, memory: int = 10**9) -> None:
        self.batches: list[list[int]] = []
        self.memory = memory

    def __call__(self, structures: Sequence[Atoms]) -> list[int]:
        sizes = [len(atoms) for atoms in structures]
        for atoms in structures:
            check_distances(atoms)
        if len(sizes) * max(sizes) > self.memory:
            msg = "DefaultCPUAllocator: can't allocate memory: you tried 1 TB"
            raise RuntimeError(msg)
        self.batches.append(sizes)
        return sizes


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), max_size=30), st.integers(1, 60))
def test_each_structure_once_in_batches_within_the_limit(
    sizes: list[int], atoms: int
) -> None:
    evaluate = Recorder()
    found = dict(
        evaluate_many(evaluate, [chain(n) for n in sizes], BatchLimit(atoms=atoms))
    )
    assert [found[k] for k in range(len(sizes))] == sizes
    assert [n for batch in evaluate.batches for n in batch] == sorted(sizes)
    assert all(len(b) == 1 or len(b) * max(b) <= atoms for b in evaluate.batches)
    for batch, after in pairwise(evaluate.batches):
        assert (len(batch) + 1) * after[0] > atoms  # there was no room for more


def test_batches_are_those_of_the_sound_structures_alone() -> None:
    sound = [chain(n) for n in (1, 2, 2, 3, 3, 3, 5)]
    alone, together = Recorder(), Recorder()
    dict(evaluate_many(alone, sound, BatchLimit(atoms=9)))
    broken = [chain(2, 0.1), *sound[:4], chain(3, 0.2), *sound[4:], chain(4, 0.25)]
    found = dict(evaluate_many(together, broken, BatchLimit(atoms=9)))
    assert together.batches == alone.batches
    faults = {k: r for k, r in found.items() if isinstance(r, StructureError)}
    assert sorted(faults) == [0, 5, 9]
    assert all(isinstance(fault, InvalidGeometryError) for fault in faults.values())
    assert "atoms 0 (H) and 1 (H) are 0.200 Å apart" in str(faults[5])


def test_what_is_refused_otherwise_is_found_one_by_one() -> None:
    def evaluate(structures: Sequence[Atoms]) -> list[int]:
        if any(len(atoms) == 2 for atoms in structures):
            msg = "no pairs here"
            raise PeriodicityError(msg)
        return [len(atoms) for atoms in structures]

    found = dict(evaluate_many(evaluate, [chain(n) for n in (1, 2, 3)]))
    assert (found[0], found[2]) == (1, 3)
    assert str(found[1]) == "no pairs here"


@pytest.mark.parametrize(
    "limit", [BatchLimit(atoms=64), BatchLimit(structures=12)], ids=str
)
def test_batches_are_halved_for_good_when_memory_runs_out(limit: BatchLimit) -> None:
    evaluate = Recorder(memory=20)
    structures = [chain(n) for n in (*range(1, 12), 30)]
    found = dict(evaluate_many(evaluate, structures, limit))
    assert [found[k] for k in range(11)] == list(range(1, 12))
    assert found[11].status == "out_of_memory"
    assert str(found[11]) == "30 atoms do not fit into memory"
    assert (limit.structures or limit.atoms) <= 20
    n = len(evaluate.batches)
    dict(evaluate_many(evaluate, structures[:2] * 4, limit))
    assert sum(map(len, evaluate.batches[n:])) == 8


def test_other_errors_are_not_swallowed() -> None:
    def evaluate(structures: Sequence[Atoms]) -> list[int]:
        raise UnsupportedByBackboneError("dpa9", "anything")

    with pytest.raises(UnsupportedByBackboneError, match="dpa9"):
        dict(evaluate_many(evaluate, [chain(1), chain(2)]))


def test_sound_structures_that_fail_are_an_error() -> None:
    assert dict(evaluate_checked(Recorder(), [chain(2), chain(1)])) == {0: 2, 1: 1}
    with pytest.raises(InvalidGeometryError, match=r"0\.100 Å apart"):
        dict(evaluate_checked(Recorder(), [chain(2), chain(2, 0.1)]))
