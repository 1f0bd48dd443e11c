"""What the journal keeps of a structure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.constraints import FixAtoms, FixCartesian

from mftscreen.ood.reference.novelty import Novelty
from mftscreen.screen.work.outcome import Outcome, Relaxation, pack_atoms, unpack_atoms
from mftscreen.trust.neighborhood import Surroundings


@pytest.mark.parametrize(
    "atoms", [bulk("MgO", "rocksalt", a=4.2), molecule("C2H6"), fcc111("Al", (2, 1, 3))]
)
def test_structure_comes_back_with_every_digit(atoms: Atoms) -> None:
    atoms.rattle(0.1, seed=1)
    found = unpack_atoms(pack_atoms(atoms))
    assert found == atoms
    assert np.array_equal(found.positions, atoms.positions)
    found.positions += 1.0  # is the caller's own


def test_constraints_come_back() -> None:
    slab = fcc111("Al", (2, 1, 3))
    bare = pack_atoms(slab)
    assert not unpack_atoms(bare).constraints
    slab.set_constraint([FixAtoms([0, 3]), FixCartesian(4, (True, False, True))])
    packed = pack_atoms(slab)
    assert packed.startswith(bare)
    found = unpack_atoms(packed)
    assert found == slab
    assert [c.todict() for c in found.constraints] == [
        c.todict() for c in slab.constraints
    ]


CONSTRAINED = Atoms("Si", constraint=FixAtoms([0]))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"constraints",
        b"7constraints",
        b"x" * 74,
        pack_atoms(bulk("Si"))[:-1],
        pack_atoms(CONSTRAINED)[:-1],
    ],
)
def test_damaged_structure_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="are no packed structure"):
        unpack_atoms(content)


def test_outcome_comes_back() -> None:
    outcome = Outcome(
        formula="MgO",
        values={"gap": (1.0 / 3.0, 2.0)},
        p_values={"gap": 0.1},
        around={"gap": Surroundings(0.25, 1.0 / 3.0)},
        descriptor_p_values={"gap": 0.2},
        unseen_pairs=["Cu d10 – O p4"],
        relaxation=Relaxation(converged=True, steps=3, fmax=0.01, volume_change=-0.1),
    )
    assert Outcome.from_json(outcome.to_json()) == outcome
    assert Outcome.from_json(Outcome().to_json()) == Outcome()


BEFORE = Outcome(
    formula="WO3", reason="not converged", relaxation=Relaxation(False, 9, 0.3, 0.01)
)
NEAR = Novelty(
    p_value=0.8, far="1 / Bohr", unseen_elements=("W",), unseen_pairs=("x", "y"),
    descriptor_p_value=0.04,
)  # fmt: skip
FAR = Novelty(
    p_value=0.3, far="2 / Bohr", unseen_elements=("O",), unseen_pairs=("z", "x")
)


def test_models_of_a_property_make_an_ensemble() -> None:
    one, two = Surroundings(0.1, 0.2), Surroundings(0.4, 0.2)
    found = BEFORE.with_predictions(
        [{"gap": (1.0, one, NEAR)}, {"gap": (2.0, two, FAR)}]
    )
    assert found == replace(
        BEFORE,
        values={"gap": (1.0, 2.0)},
        p_values={"gap": 0.3},
        around={"gap": Surroundings(0.2, 0.2)},
        descriptor_p_values={"gap": 0.04},
        unseen_elements={"gap": ["O", "W"]},
        unseen_pairs=["x", "y", "z"],
        far="2 / Bohr",
    )
    assert Outcome.from_json(found.to_json()) == found


def test_properties_keep_their_own_facts() -> None:
    nothing = Novelty(low_dimensional=False)
    models = [
        {"gap": (1.0, Surroundings(0.1, 0.1), nothing), "mass": (3.0, None, FAR)},
        {"gap": (2.0, None, nothing)},
    ]
    found = BEFORE.with_predictions(models)
    assert found.values == {"gap": (1.0, 2.0), "mass": (3.0,)}
    assert found.p_values == {"mass": 0.3}
    # what one of the models does not know is not known
    assert found.around == {}
    assert found.unseen_elements == {"gap": [], "mass": ["O"]}
    assert found.low_dimensional is False
    assert found.novelty(["gap"]).p_value is None
    assert found.novelty(["mass", "gap"]).p_value == 0.3
    assert found.novelty(["gap"]).unseen_elements == ()
    assert found.novelty(["other"]) == replace(
        found.novelty(["gap"]), unseen_elements=()
    )


def test_facts_of_several_properties_are_those_of_the_furthest() -> None:
    outcome = BEFORE.with_predictions(
        [
            {
                "gap": (1.0, None, NEAR),
                "mass": (3.0, None, replace(FAR, no_ofm="no", p_value=None)),
            }
        ]
    )
    assert outcome.novelty(["gap", "mass"]) == Novelty(
        p_value=0.8,
        far="1 / Bohr",
        unseen_elements=("O", "W"),
        unseen_pairs=("x", "y", "z"),
        descriptor_p_value=0.04,
        no_ofm="no",
    )


def test_without_predictions_nothing_is_known() -> None:
    assert BEFORE.with_predictions([{}]) == BEFORE
    assert BEFORE.novelty(["gap"]) == Novelty()
