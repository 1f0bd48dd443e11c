from __future__ import annotations

import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE

from mftscreen import MFTCalculator, Predictor, load_model, rank
from mftscreen.errors import (
    DomainWarning,
    ModelError,
    OutsideDomainError,
    PeriodicityError,
    UnknownElementError,
)
from mftscreen.model.files.bundle import read_bundle
from mftscreen.model.files.registry import check_fine_tuned, registered_models
from mftscreen.model.loaded_model import LoadedModel
from mftscreen.ood.reference.measure import measure_novelty
from mftscreen.ood.reference.reference_set import open_reference, reference_arrays
from mftscreen.screen.work.assessment import Assessor
from mftscreen.screen.work.evaluation import EvaluationSettings, Evaluator
from mftscreen.testing import check_model

CRYSTALS = ("dielectric", "log_gvrh", "perovskites")
MOLECULES = (
    *("dipole_moment", "polarizability", "homo", "lumo", "gap"),
    *("r2", "zpve", "heat_capacity"),
)


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model("mft-mini-crystals")


@pytest.fixture(scope="module")
def molecular() -> LoadedModel:
    return load_model("mft-mini-molecules")


def test_model_for_crystals_keeps_the_contract() -> None:
    slab = bulk("Si", cubic=True)
    slab.center(vacuum=6.0, axis=2)
    slab.pbc = (True, True, False)
    structures = [
        bulk("MgO", "rocksalt", a=4.25),
        bulk("GaAs", "zincblende", a=5.7),
        bulk("TiO2", "fluorite", a=4.8),
        slab,
    ]
    check_model(load_model("mft-mini-crystals", check_domain=False), structures)


def test_model_for_molecules_keeps_the_contract() -> None:
    molecular = load_model("mft-mini-molecules", check_domain=False)
    check_model(molecular, [molecule("H2O"), molecule("CH3CH2OH"), molecule("HCN")])


@pytest.fixture(scope="module")
def pretrained() -> LoadedModel:
    return load_model("mft-mini-pretrained")


def test_what_they_were_made_of_has_force_fields_alone(
    pretrained: LoadedModel,
) -> None:
    name = "mft-mini-pretrained"
    assert not pretrained.properties
    ethanol = molecule("CH3CH2OH")
    ethanol.calc = MFTCalculator(name, energy_head="molecules")
    assert abs(ethanol.get_forces()).max() < 5
    oxide = bulk("MgO", "rocksalt", a=4.25, cubic=True)
    oxide.calc = MFTCalculator(name)
    assert abs(oxide.get_stress()).max() < 0.15
    with pytest.raises(ModelError, match="predicts energies, but no property"):
        rank([oxide], goals="dielectric", models=name)
    # of all models that come with the package, it alone
    for other, model in registered_models().items():
        if other != name:
            assert read_bundle(model.path).card.properties
            check_fine_tuned(other)


def test_files_are_small_and_named_by_their_hash(
    model: LoadedModel, molecular: LoadedModel, pretrained: LoadedModel
) -> None:
    registered = registered_models()
    loaded = (model, molecular, pretrained)
    assert {each.card.name: each.sha256 for each in loaded} == {
        name: each.sha256 for name, each in registered.items()
    }
    assert sum(each.path.stat().st_size for each in registered.values()) <= 25_000_000


def test_name_of_both_picks_by_what_is_asked_for() -> None:
    atoms, water = bulk("MgO", "rocksalt", a=4.25), molecule("H2O")
    assert load_model().card.name == "mft-mini-crystals"
    calculator = MFTCalculator(properties=["gap"])
    assert calculator.get_property("gap", molecule("isobutane")) > 0
    assert list(calculator.model.properties) == list(MOLECULES)
    (row,) = Predictor(properties=["zpve", "homo"])([water])
    assert set(row.properties) == {"zpve", "homo"}
    (row,) = Predictor(properties=["dielectric"])([atoms])
    assert set(row.properties) == {"dielectric"}


def test_energy_of_a_molecule_is_not_taken_from_the_model_for_crystals() -> None:
    water = molecule("H2O")
    water.calc = MFTCalculator()
    with pytest.raises(PeriodicityError, match="'crystals' or 'molecules'"):
        water.get_potential_energy()
    water.calc = MFTCalculator(properties=["dielectric"])
    with pytest.raises(PeriodicityError):
        water.get_potential_energy()
    with pytest.raises(OutsideDomainError, match="dielectric: it is for crystals"):
        water.calc.get_property("dielectric", water)
    assert not water.calc.freeze(water).info
    assert water.calc.get_descriptors(water).shape == (3, 96)
    water.calc = MFTCalculator(energy_head="molecules")
    assert water.calc.model.card.name == "mft-mini-molecules"
    with pytest.warns(DomainWarning, match=r"energy: smaller \(3 atoms\)"):
        assert abs(water.get_forces()).max() < 5


@pytest.mark.parametrize(
    ("name", "atoms", "reason"),
    [
        ("gap", bulk("NaCl", "rocksalt", a=5.64), "it is for molecules, and this is p"),
        ("gap", molecule("CH3Cl"), "its head never saw Cl"),
        ("gap", molecule("CF4"), "its head never saw F"),
        ("dielectric", molecule("H2O"), "it is for crystals, and this is not periodic"),
        ("perovskites", bulk("MgO", "rocksalt", a=4.21), "this one's has 2"),
        ("log_gvrh", fcc111("Pt", (1, 1, 4), vacuum=8.0, periodic=True), "a slab"),
    ],
)
def test_what_means_nothing_is_refused(name: str, atoms: Atoms, reason: str) -> None:
    calculator = MFTCalculator(properties=[name])
    with pytest.raises(OutsideDomainError, match=reason):
        calculator.get_property(name, atoms)


def test_forces_of_elements_never_seen_are_refused() -> None:
    calculator = MFTCalculator(energy_head="molecules")
    with pytest.raises(UnknownElementError, match="Cl, which the energy head"):
        calculator.get_property("forces", molecule("CH3Cl"))


def test_cards_say_what_they_were_made_from(
    model: LoadedModel, molecular: LoadedModel
) -> None:
    for card in (model.card, molecular.card):
        assert card.strategy == "mft"
        assert f"mft-mini-{card.energy_head}" == card.name
        assert "not DFT" in card.force_field[str(card.energy_head)]["training_set"]
        for head in card.properties.values():
            metrics = head.metrics["validation"]
            assert metrics["mae"] < metrics["mae_of_training_mean"]
    assert tuple(model.card.properties) == CRYSTALS
    assert tuple(molecular.card.properties) == MOLECULES
    units = {name: spec.unit for name, spec in model.properties.items()}
    assert units == {
        "dielectric": "1",
        "log_gvrh": "log10(GPa)",
        "perovskites": "eV/cell",  # of five atoms, as MatBench has it
    }


def test_errors_on_the_official_folds_are_those_that_were_asked_for(
    model: LoadedModel,
) -> None:
    # of the issue that shipped them; random forests have 0.304, 0.104 and 0.235
    limits = {"dielectric": 0.345, "log_gvrh": 0.085, "perovskites": 0.08}
    rows = {"dielectric": 953, "log_gvrh": 2198, "perovskites": 3786}
    for name, limit in limits.items():
        metrics = model.card.properties[name].metrics["fold 0 test"]
        assert metrics["n"] == rows[name]
        assert metrics["mae"] < limit
        assert 0.85 < metrics["coverage_90"] < 0.95
    mlearn = model.card.force_field["crystals"]["mlearn (PBE)"]
    assert mlearn["n"] == 1566
    assert mlearn["force_mae"] < 0.14


def test_high_and_low_index_crystals_are_told_apart(model: LoadedModel) -> None:
    crystals = [bulk("LiF", "rocksalt", a=4.03), bulk("GaAs", "zincblende", a=5.65)]
    low, high = model.evaluate(crystals, properties=["dielectric"])
    assert low.properties["dielectric"] < 1.7
    assert high.properties["dielectric"] > 2.5


def test_relaxation_recovers_a_lattice_constant(model: LoadedModel) -> None:
    atoms = bulk("MgO", "rocksalt", a=4.4)
    atoms.calc = MFTCalculator(model)
    assert FIRE(FrechetCellFilter(atoms), logfile=None).run(fmax=0.05, steps=300)
    assert (4 * atoms.get_volume()) ** (1 / 3) == pytest.approx(4.21, rel=0.05)


def test_reference_set_flags_what_it_has_never_seen(model: LoadedModel) -> None:
    from mftscreen.ood import OFMFeaturizer

    detector = open_reference(reference_arrays(model.reference, "dielectric")).detector
    assert detector is not None
    crystals = [bulk("MgO", "rocksalt", a=4.21), Atoms("PuU", pbc=True)]
    crystals[1].set_cell([3.0, 3.0, 4.0])
    crystals[1].positions[1] = [1.5, 1.5, 2.0]
    rows = OFMFeaturizer(table=detector.table)(crystals)
    inside, outside = detector.p_value([row.features for row in rows])
    assert inside > 0.05
    assert outside <= 0.05


def test_each_property_is_compared_with_its_own_training_set(
    model: LoadedModel,
) -> None:
    structures = [bulk("Si"), _perovskite("Ba", "Ti", 4.0)]
    names = ("dielectric", "perovskites")
    found = Evaluator(EvaluationSettings(("mft-mini-crystals",), names))(structures)
    for name in names:
        reference = open_reference(
            reference_arrays(model.reference, name),
            model.card.properties[name].elements,
        )
        assert len(reference.ids) <= model.card.properties[name].n_train
        compared = measure_novelty(structures, reference)
        for (outcome, _), facts in zip(found, compared, strict=True):
            expected = None if name in outcome.refused else facts.p_value
            assert outcome.p_values.get(name) == expected
    silicon, _ = found[0]
    assert silicon.p_values.keys() == {"dielectric"}
    assert silicon.refused.keys() == {"perovskites"}


def test_properties_with_the_same_training_set_are_compared_once() -> None:
    opened = Assessor(load_model("mft-mini-molecules"), ("gap", "homo")).references
    assert opened["gap"] is opened["homo"]
    names = ("dielectric", "log_gvrh")
    opened = Assessor(load_model("mft-mini-crystals"), names).references
    assert opened["dielectric"] is not opened["log_gvrh"]


def _perovskite(a: str, b: str, length: float) -> Atoms:
    corners = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
    return Atoms(
        [a, b, "O", "O", "O"], scaled_positions=corners, cell=[length] * 3, pbc=True
    )
