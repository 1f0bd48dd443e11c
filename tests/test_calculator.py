from __future__ import annotations

import copy
import pickle
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import InputError, PropertyNotImplementedError
from ase.db import connect
from ase.filters import FrechetCellFilter
from ase.io import read
from ase.optimize import FIRE

from mftscreen import MFTCalculator
from mftscreen.errors import (
    DomainWarning,
    InvalidGeometryError,
    OutsideDomainError,
    UnknownElementError,
    UnknownHeadError,
    UnknownPropertyError,
)
from mftscreen.properties import Part
from mftscreen.testing import FakeModel, check_model


@pytest.fixture
def atoms() -> Atoms:
    return bulk("MgO", "rocksalt", a=4.3)


@pytest.fixture
def calculator() -> MFTCalculator:
    return MFTCalculator(FakeModel())


def test_fake_model_keeps_the_contract(mixed_structures: list[Atoms]) -> None:
    check_model(FakeModel(), mixed_structures, rtol=1e-9)


def test_untrained_network_keeps_the_contract(
    tiny_model: Path, mixed_structures: list[Atoms]
) -> None:
    check_model(MFTCalculator(tiny_model).model, mixed_structures, rtol=1e-9)


def test_broken_model_is_caught(mixed_structures: list[Atoms]) -> None:
    class WrongSign(FakeModel):
        def evaluate(self, *args, **kwargs):
            results = super().evaluate(*args, **kwargs)
            for result in results:
                if result.forces is not None:
                    result.forces[:] *= -1
            return results

    with pytest.raises(AssertionError, match="forces"):
        check_model(WrongSign(), mixed_structures)


def test_everything_from_one_object(atoms: Atoms, calculator: MFTCalculator) -> None:
    atoms.calc = calculator
    assert atoms.get_potential_energy() == calculator.results["free_energy"]
    assert atoms.get_forces().shape == (2, 3)
    assert atoms.get_stress().shape == (6,)
    softness = calculator.get_property("softness", atoms)
    assert softness == pytest.approx(calculator.get_property("bulkiness", atoms) / 2)


def test_only_requested_heads_run_and_results_accumulate(
    atoms: Atoms, calculator: MFTCalculator
) -> None:
    atoms.calc = calculator
    atoms.get_forces()
    calculator.get_property("softness", atoms)
    calculator.get_property("softness", atoms)
    atoms.get_forces()
    assert calculator.model.calls == [["energy"], ["softness"]]
    assert {"energy", "forces", "softness"} <= calculator.results.keys()
    atoms.positions[0] += 0.1
    calculator.get_property("softness", atoms)
    assert "energy" not in calculator.results


def test_relaxation_with_cell_filter(atoms: Atoms, calculator: MFTCalculator) -> None:
    atoms.calc = calculator
    before = atoms.get_potential_energy()
    assert FIRE(FrechetCellFilter(atoms), logfile=None).run(fmax=0.02, steps=300)
    assert atoms.get_potential_energy() < before
    assert np.abs(atoms.get_stress()).max() < 0.02


def test_molecule_has_no_stress(calculator: MFTCalculator) -> None:
    water = molecule("H2O")
    water.calc = calculator
    assert np.isfinite(water.get_forces()).all()
    with pytest.raises(PropertyNotImplementedError, match="cell"):
        water.get_stress()


def test_unknown_property_lists_what_there_is(
    atoms: Atoms, calculator: MFTCalculator
) -> None:
    with pytest.raises(UnknownPropertyError, match="softness, bulkiness") as info:
        calculator.get_property("dipole", atoms)
    assert isinstance(info.value, PropertyNotImplementedError)


def test_dipole_moments_are_no_dipoles_of_ase(tmp_path: Path) -> None:
    given = molecule("isobutane")
    given.calc = calculator = MFTCalculator(properties=["dipole_moment"])
    moment = calculator.get_property("dipole_moment", given)
    assert calculator.get_property("dipole moment", given) == moment
    with pytest.raises(PropertyNotImplementedError):
        given.get_dipole_moment()  # which is a vector, in e·Å
    energy = given.get_potential_energy()
    given.write(tmp_path / "given.traj")
    assert read(tmp_path / "given.traj").get_potential_energy() == energy
    with connect(tmp_path / "given.db") as database:
        database.write(given)
    assert set(calculator.export_properties()) == {"energy", "free_energy"}


def test_misspelt_options_are_refused() -> None:
    with pytest.raises(TypeError, match="'chek_domain'; did you mean 'check_domain'"):
        MFTCalculator(FakeModel(), chek_domain=False)
    assert MFTCalculator(FakeModel(), label="mine").label == "mine"


def _with_nan() -> Atoms:
    atoms = bulk("Si")
    atoms.positions[1, 2] = np.nan
    return atoms


@pytest.mark.parametrize(
    ("atoms", "error", "text"),
    [
        (Atoms(), InvalidGeometryError, "no atoms"),
        (_with_nan(), InvalidGeometryError, r"atom 1 \(Si\) is not finite"),
        (Atoms("Si", cell=[3, 3, 0], pbc=True), InvalidGeometryError, "cell"),
        (Atoms("Cm"), UnknownElementError, "holds Cm, which the model does"),
        (
            Atoms("H2", [[0, 0, 0], [0, 0, 0.1]]),
            InvalidGeometryError,
            "0.100 Å apart",
        ),
    ],
)
def test_bad_structures_get_typed_errors(
    calculator: MFTCalculator, atoms: Atoms, error: type[Exception], text: str
) -> None:
    atoms.calc = calculator
    with pytest.raises(error, match=text) as info:
        atoms.get_potential_energy()
    assert isinstance(info.value, InputError)


def test_descriptors(tiny_model: Path, atoms: Atoms) -> None:
    calculator = MFTCalculator(tiny_model)
    descriptors = calculator.get_descriptors(atoms)
    assert descriptors.shape == (2, 8)
    moved = atoms.copy()
    moved.translate(0.3)
    np.testing.assert_allclose(calculator.get_descriptors(moved), descriptors)


def test_stock_checkpoint_with_head_names(checkpoint: Path, atoms: Atoms) -> None:
    with pytest.raises(UnknownHeadError, match="alloys, oxides"):
        MFTCalculator(checkpoint)
    calculator = MFTCalculator(
        checkpoint, energy_head="alloys", property_heads=["gap"], device="cpu"
    )
    assert calculator.implemented_properties == [
        "energy", "free_energy", "forces", "stress", "gap",
    ]  # fmt: skip
    assert np.isfinite(calculator.get_property("gap", atoms))


@pytest.mark.parametrize("suffix", ["extxyz", "traj", "db"])
def test_frozen_predictions_survive_files(
    tmp_path: Path, atoms: Atoms, calculator: MFTCalculator, suffix: str
) -> None:
    frozen = calculator.freeze(atoms)
    assert len(calculator.model.calls) == 1
    assert atoms.info == {}
    path = tmp_path / f"frozen.{suffix}"
    if suffix == "db":
        with connect(path) as database:
            database.write(frozen, key_value_pairs=frozen.info)
        row = connect(path).get(1)
        found, softness = row.toatoms(), row.softness
    else:
        frozen.write(path)
        found = read(path)
        softness = found.info["softness"]
    assert softness == pytest.approx(calculator.get_property("softness", atoms))
    energy = calculator.get_property("energy", atoms)
    assert found.get_potential_energy() == pytest.approx(energy)
    np.testing.assert_allclose(found.get_forces(), frozen.get_forces(), atol=1e-7)


def test_freeze_evaluates_the_structure_it_is_given(
    atoms: Atoms, calculator: MFTCalculator
) -> None:
    stretched = bulk("MgO", "rocksalt", a=4.6)
    first, second = calculator.freeze(atoms), calculator.freeze(stretched)
    assert first.info["softness"] != second.info["softness"]
    assert calculator.freeze(molecule("H2O")).calc.results.keys() == {
        "energy", "free_energy", "forces",
    }  # fmt: skip


def test_direct_calculation_forgets_the_other_structure(
    atoms: Atoms, calculator: MFTCalculator
) -> None:
    other = bulk("MgO", "rocksalt", a=4.6)
    calculator.get_property("softness", atoms)
    calculator.calculate(other, ["energy"])
    expected = MFTCalculator(FakeModel()).get_property("softness", other)
    assert calculator.get_property("softness", other) == expected


def test_heads_of_a_loaded_model_cannot_be_chosen() -> None:
    with pytest.raises(ValueError, match="load_model"):
        MFTCalculator(FakeModel(), energy_head="oxides")


def test_what_heads_were_not_made_for_is_refused(bulk_model: Path) -> None:
    calculator = MFTCalculator(bulk_model)
    for atoms, reason in (
        (molecule("O2"), "gap: it is for crystals, and this is not periodic"),
        (bulk("Si"), "gap: its head never saw Si"),
    ):
        with pytest.raises(OutsideDomainError, match=reason):
            calculator.get_property("gap", atoms)
    with pytest.raises(UnknownElementError, match="Si, which the energy head oxides"):
        calculator.get_property("energy", bulk("Si"))


def test_who_insists_is_warned_once(bulk_model: Path) -> None:
    calculator = MFTCalculator(bulk_model, check_domain=False)
    with pytest.warns(DomainWarning, match="^gap: its head never saw Si$"):
        calculator.get_property("gap", bulk("Si"))
    # an error, if it were given again
    calculator.get_property("gap", bulk("Si", a=5.5))
    with pytest.warns(DomainWarning, match="^energy: holds Si, which the energy head"):
        calculator.get_property("energy", bulk("Si", a=5.5))
    with pytest.warns(DomainWarning, match="^gap: it is for crystals"):
        assert calculator.get_property("gap", molecule("O2"))
    with pytest.raises(ValueError, match="check_domain="):
        MFTCalculator(MFTCalculator(bulk_model).model, check_domain=False)


def test_a_charge_of_pymatgen_is_not_lost(bulk_model: Path, atoms: Atoms) -> None:
    atoms.charge = -1  # an attribute, as its adaptor sets it, which copies lose
    with pytest.warns(DomainWarning, match="a charge of -1"):
        frozen = MFTCalculator(bulk_model).freeze(atoms)
    assert frozen.info["charge"] == -1


def test_surfaces_are_warned_of(bulk_model: Path) -> None:
    slab = bulk("MgO", "rocksalt", a=4.2)
    slab.center(vacuum=6.0, axis=2)
    with pytest.warns(DomainWarning, match="energy: it is for crystals, and this is a"):
        assert MFTCalculator(bulk_model).get_property("forces", slab).shape == (2, 3)


def test_freezing_leaves_out_what_means_nothing(bulk_model: Path, atoms: Atoms) -> None:
    calculator = MFTCalculator(bulk_model)
    assert "gap" in calculator.freeze(atoms).info
    oxygen = molecule("O2")
    with pytest.warns(DomainWarning, match="energy"):
        frozen = calculator.freeze(oxygen)
    assert "gap" not in frozen.info
    assert np.isfinite(frozen.get_potential_energy())


def test_freezing_what_is_broken(bulk_model: Path) -> None:
    flat = Atoms("Mg", cell=[[9, 0, 0], [0, 9, 0], [9, 9, 0]], pbc=True)
    with pytest.raises(InvalidGeometryError):
        MFTCalculator(bulk_model).freeze(flat)


def test_it_is_pickled_by_content(bulk_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "gone.mft"
    shutil.copy(bulk_model, path)
    atoms = bulk("MgO", "rocksalt", a=4.2)
    atoms.calc = MFTCalculator(path)
    energy = atoms.get_potential_energy()
    path.unlink()
    copies = [pickle.loads(pickle.dumps(atoms)) for _ in range(2)]
    for twin in copies:
        assert twin.calc.results["energy"] == energy  # what was computed is there
        twin.calc.reset()
        assert twin.get_potential_energy() == pytest.approx(energy, rel=1e-6)
        assert twin.calc.get_property("gap", twin) == pytest.approx(
            atoms.calc.get_property("gap", atoms), rel=1e-6
        )
        assert twin.calc.model.sha256 == atoms.calc.model.sha256
    # many copies of a model are one in memory
    assert copies[0].calc.model.network is copies[1].calc.model.network


@pytest.mark.slow
def test_it_goes_to_other_processes(tiny_model: Path) -> None:
    structures = [bulk("MgO", "rocksalt", a=a) for a in (4.1, 4.2, 4.3)]
    calculator = MFTCalculator(tiny_model, check_domain=False)
    for atoms in structures:
        atoms.calc = calculator
    expected = [atoms.get_potential_energy() for atoms in structures]
    with get_context("spawn").Pool(1) as pool:
        found = pool.map(Atoms.get_potential_energy, structures)
    assert found == pytest.approx(expected, rel=1e-6)


def test_copies_share_the_model(tiny_model: Path, atoms: Atoms) -> None:
    atoms.calc = MFTCalculator(tiny_model, check_domain=False)
    energy = atoms.get_potential_energy()
    twin = copy.deepcopy(atoms)
    assert twin.calc.model is atoms.calc.model
    twin.positions[0] += 0.1
    assert twin.get_potential_energy() != energy
    assert atoms.calc.results["energy"] == energy


class Paired(FakeModel):
    """A model whose two properties are the components of one."""

    properties: ClassVar = {
        name: spec.model_copy(update={"part": Part(of="pair", index=index)})
        for index, (name, spec) in enumerate(FakeModel.properties.items())
    }


def test_all_components_are_had_in_one_evaluation(atoms: Atoms) -> None:
    calculator = MFTCalculator(Paired())
    found = calculator.get_property("pair", atoms)
    assert calculator.model.calls == [["softness", "bulkiness"]]
    assert found.tolist() == [calculator.results[n] for n in ("softness", "bulkiness")]
    assert calculator.get_property("pair").tolist() == found.tolist()
    assert len(calculator.model.calls) == 1
    atoms.positions[0] += 0.1
    assert calculator.get_property("pair", atoms, allow_calculation=False) is None
    calculator.results.pop("bulkiness", None)
    assert calculator.get_property("pair", atoms).tolist() != found.tolist()


def test_threads_get_components_of_their_own_structures() -> None:
    class Slow(Paired):
        def evaluate(self, *args, **kwargs):
            time.sleep(0.002)  # others have their turn
            return super().evaluate(*args, **kwargs)

    structures = [bulk("MgO", "rocksalt", a=4.1 + 0.01 * k) for k in range(32)]
    shared = MFTCalculator(Slow())
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda a: shared.get_property("pair", a), structures))
    finally:
        sys.setswitchinterval(before)
    for atoms, values in zip(structures, found, strict=True):
        own = MFTCalculator(Paired()).get_property("pair", atoms)
        assert values.tolist() == own.tolist()


def test_threads_that_share_it_get_their_own_results() -> None:
    class Slow(FakeModel):
        def evaluate(self, *args, **kwargs):
            time.sleep(0.002)  # others have their turn
            return super().evaluate(*args, **kwargs)

    structures = [bulk("MgO", "rocksalt", a=4.1 + 0.01 * k) for k in range(32)]
    shared = MFTCalculator(Slow())

    def evaluate(atoms: Atoms) -> tuple[float, float, float]:
        frozen = shared.freeze(atoms)
        atoms.calc = shared
        return (
            atoms.get_potential_energy(),
            atoms.get_stress()[0],
            frozen.info["softness"],
        )

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(evaluate, structures))
    for atoms, values in zip(structures, found, strict=True):
        atoms.calc = MFTCalculator(FakeModel())
        assert values == (
            atoms.get_potential_energy(),
            atoms.get_stress()[0],
            atoms.calc.get_property("softness", atoms),
        )
