"""What the journal keeps of a structure."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from mftscreen.screen.outcome import Outcome, Relaxation, pack_atoms, unpack_atoms


@pytest.mark.parametrize(
    "atoms", [bulk("MgO", "rocksalt", a=4.2), molecule("C2H6"), fcc111("Al", (2, 1, 3))]
)
def test_structure_comes_back_with_every_digit(atoms: Atoms) -> None:
    atoms.rattle(0.1, seed=1)
    found = unpack_atoms(pack_atoms(atoms))
    assert found == atoms
    assert np.array_equal(found.positions, atoms.positions)
    found.positions += 1.0  # is the caller's own


@pytest.mark.parametrize("content", [b"", b"x" * 74, pack_atoms(bulk("Si"))[:-1]])
def test_damaged_structure_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="are no packed structure"):
        unpack_atoms(content)


def test_outcome_comes_back() -> None:
    outcome = Outcome(
        formula="MgO",
        values={"gap": (1.0 / 3.0, 2.0)},
        p_values={"gap": 0.1},
        unseen_pairs=["Cu d10 – O p4"],
        relaxation=Relaxation(converged=True, steps=3, fmax=0.01, volume_change=-0.1),
    )
    assert Outcome.from_json(outcome.to_json()) == outcome
    assert Outcome.from_json(Outcome().to_json()) == Outcome()
