from __future__ import annotations

import pytest
from ase import Atoms
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE

from mftscreen import MFTCalculator, load_model
from mftscreen.model.loading import LoadedModel
from mftscreen.model.registry import registered_models
from mftscreen.ood.reference import open_reference
from mftscreen.testing import check_model


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model()


def test_shipped_model_keeps_the_contract(model: LoadedModel) -> None:
    slab = bulk("Si", cubic=True)
    slab.center(vacuum=6.0, axis=2)
    slab.pbc = (True, True, False)
    structures = [
        bulk("MgO", "rocksalt", a=4.25),
        bulk("GaAs", "zincblende", a=5.7),
        bulk("TiO2", "fluorite", a=4.8),
        slab,
    ]
    check_model(model, structures)


def test_files_are_small_and_named_by_their_hash(model: LoadedModel) -> None:
    for registered in registered_models().values():
        assert registered.path.stat().st_size <= 5_000_000
    assert model.sha256 == registered_models()["mft-mini"].sha256


def test_card_says_what_it_was_made_from(model: LoadedModel) -> None:
    card = model.card
    head = card.properties["dielectric"]
    assert card.strategy == "mft"
    assert "not DFT" in card.force_field["crystals"]["training_set"]
    assert head.metrics["fold 0 test"]["n"] == 953
    # the issue that shipped it asked for this; random forest has 0.304
    assert head.metrics["fold 0 test"]["mae"] < 0.34
    assert head.metrics["fold 0 test"]["mae_of_training_mean"] == pytest.approx(
        0.7026, abs=5e-3
    )
    mlearn = card.force_field["crystals"]["mlearn (PBE)"]
    assert mlearn["n"] == 1566
    assert mlearn["force_mae"] < mlearn["force_mae_zero"]


def test_high_and_low_index_crystals_are_told_apart(model: LoadedModel) -> None:
    crystals = [bulk("LiF", "rocksalt", a=4.03), bulk("GaAs", "zincblende", a=5.65)]
    low, high = model.evaluate(crystals, properties=["dielectric"])
    assert low.properties["dielectric"] < 1.7
    assert high.properties["dielectric"] > 2.5


def test_relaxation_recovers_a_lattice_constant() -> None:
    atoms = bulk("MgO", "rocksalt", a=4.4)
    atoms.calc = MFTCalculator()
    assert FIRE(FrechetCellFilter(atoms), logfile=None).run(fmax=0.05, steps=300)
    assert (4 * atoms.get_volume()) ** (1 / 3) == pytest.approx(4.21, rel=0.05)


def test_reference_set_flags_what_it_has_never_seen(model: LoadedModel) -> None:
    from mftscreen.ood import OFMFeaturizer

    detector = open_reference(model.reference, alpha=0.05).detector
    assert detector is not None
    crystals = [bulk("MgO", "rocksalt", a=4.21), Atoms("PuU", pbc=True)]
    crystals[1].set_cell([3.0, 3.0, 4.0])
    crystals[1].positions[1] = [1.5, 1.5, 2.0]
    rows = OFMFeaturizer(table=detector.table)(crystals)
    inside, outside = detector.p_value([row.features for row in rows])
    assert inside > 0.05
    assert outside <= 0.05
