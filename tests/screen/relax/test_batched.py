from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import FixAtoms
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, FIRE, LBFGS

from mftscreen import MFTCalculator, load_model
from mftscreen.data.readers import iter_extxyz
from mftscreen.errors import ConfigError, UnknownPropertyError
from mftscreen.predictor import Predictor
from mftscreen.screen.relax.batched import LOOKAHEAD, POOL, Relaxer, RelaxSettings
from mftscreen.testing import FakeModel

Rattled = Callable[[int], list[Atoms]]

OPTIMIZERS = {"fire": FIRE, "bfgs": BFGS, "lbfgs": LBFGS}


def by_ase(
    atoms: Atoms, settings: RelaxSettings, model: object
) -> tuple[Atoms, int, float]:
    """Relax with ASE's own filter, optimiser and loop."""
    relaxed = atoms.copy()
    relaxed.calc = MFTCalculator(model)
    target = relaxed
    if settings.cell_filter == "frechet":
        target = FrechetCellFilter(relaxed)
    optimizer = OPTIMIZERS[settings.optimizer](target, logfile=None)
    optimizer.run(fmax=settings.fmax, steps=settings.steps)
    return relaxed, optimizer.nsteps, relaxed.get_potential_energy()


@pytest.fixture
def slab() -> Atoms:
    """A slab whose layers lie in no Cartesian plane."""
    slab = bulk("Cu", cubic=True) * (1, 1, 2)
    slab.positions *= 0.97
    slab.set_cell(np.diag([3.5, 3.5, 20.0]))
    slab.cell[2, 0] = 2.0
    slab.rotate(40.0, (1, 2, 3), rotate_cell=True)
    slab.pbc = (True, True, False)
    return slab


class Spy(FakeModel):
    """Counts the structures of each evaluation, and may spoil some."""

    def __init__(self, spoil: str = "", value: float = np.nan, after: int = 0) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.spoil, self.value, self.after = spoil, value, after

    def evaluate(self, structures, **options):
        self.sizes.append(len(structures))
        found = super().evaluate(structures, **options)
        for atoms, prediction in zip(structures, found, strict=True):
            if self.spoil and self.spoil in atoms.symbols:
                self.after -= 1
                if self.after < 0:
                    prediction.forces[0, 0] = self.value
        return found


class Expanding(FakeModel):
    """Pulls every cell apart, however large it is."""

    def evaluate(self, structures, **options):
        found = super().evaluate(structures, **options)
        for atoms, prediction in zip(structures, found, strict=True):
            prediction.virial[:] = 50.0 * len(atoms) * np.eye(3)
        return found


class Pushing(FakeModel):
    """Pushes the first atom along x, wherever it is."""

    def evaluate(self, structures, **options):
        found = super().evaluate(structures, **options)
        for prediction in found:
            prediction.forces[:] = 0.0
            prediction.forces[0, 0] = 1.0
        return found


class TestSettings:
    def test_all_problems_at_once(self) -> None:
        with pytest.raises(ConfigError) as caught:
            RelaxSettings(optimizer="adam", cell_filter="unit", fmax=np.nan, steps=0)
        assert len(caught.value.problems) == 4
        assert "fire, bfgs, lbfgs, got 'adam'" in str(caught.value)


class TestRelaxer:
    @pytest.mark.parametrize("cell_filter", ["frechet", "none"])
    @pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
    def test_like_ase_one_by_one(
        self, rattled: Rattled, optimizer: str, cell_filter: str
    ) -> None:
        settings = RelaxSettings(optimizer, cell_filter, fmax=0.05, steps=30)
        structures = rattled(4)
        before = [atoms.copy() for atoms in structures]
        results = list(Relaxer(FakeModel(), settings)(structures))
        assert structures == before
        assert any(result.converged for result in results)
        for atoms, result in zip(structures, results, strict=True):
            relaxed, steps, energy = by_ase(atoms, settings, FakeModel())
            assert result.ok, result.reason
            assert result.steps == steps
            assert result.energy == pytest.approx(energy, abs=1e-6)
            assert result.atoms.calc is None
            np.testing.assert_allclose(result.atoms.cell, relaxed.cell, atol=1e-5)
            np.testing.assert_allclose(
                result.atoms.positions, relaxed.positions, atol=1e-5
            )
            assert result.converged == (result.fmax < 0.05)
            assert result.volume_change == pytest.approx(
                relaxed.get_volume() / atoms.get_volume() - 1, abs=1e-6
            )

    def test_one_batch_per_step_and_order_kept(self, rattled: Rattled) -> None:
        model = Spy()
        structures = rattled(24)
        results = list(Relaxer(model)(structures))
        assert [r.atoms.symbols.formula for r in results] == [
            atoms.symbols.formula for atoms in structures
        ]
        assert sum(model.sizes) == sum(result.steps + 1 for result in results)
        assert model.sizes[0] == 24
        assert len(model.sizes) == max(result.steps for result in results) + 1

    def test_pool_is_refilled_and_bounded(self, rattled: Rattled) -> None:
        taken = 0

        def stream() -> Iterator[Atoms]:
            nonlocal taken
            for atoms in itertools.cycle(rattled(16)):
                taken += 1
                yield atoms

        results = Relaxer(Spy(), RelaxSettings(steps=3))(stream())
        for count, _ in enumerate(itertools.islice(results, 2 * POOL), 1):
            assert count <= taken <= count + LOOKAHEAD
        results.close()

    def test_a_finished_structure_makes_room_for_the_next(self) -> None:
        model = Spy()
        # of two atoms each, so that a step is one batch
        pairs = [Atoms("Si2", [[0, 0, 0], [0, 0, 1.9 + k / 300]]) for k in range(96)]
        results = list(Relaxer(model, RelaxSettings("bfgs"))(pairs))
        assert all(result.converged for result in results)
        assert model.sizes == sorted(model.sizes, reverse=True)
        quickest = min(result.steps for result in results)
        assert model.sizes[: quickest + 2] == [POOL] * (quickest + 2)
        assert sum(model.sizes) == sum(result.steps + 1 for result in results)

    def test_a_slow_structure_does_not_take_in_the_whole_stream(self) -> None:
        slow, quick = Atoms("Si2", [[0, 0, 0], [0, 0, 1.6]]), Atoms("Si")
        taken = 0

        def stream() -> Iterator[Atoms]:
            nonlocal taken
            for atoms in itertools.chain([slow], itertools.repeat(quick, 600)):
                taken += 1
                yield atoms

        results = Relaxer(FakeModel(), RelaxSettings(fmax=1e-9, steps=100))(stream())
        assert next(results).steps > 20
        assert taken == LOOKAHEAD
        assert sum(1 for _ in results) == 600

    def test_not_converged_is_a_result(self, rattled: Rattled) -> None:
        (result,) = Relaxer(FakeModel(), RelaxSettings(fmax=1e-9, steps=2))(rattled(1))
        assert (result.status, result.converged, result.steps) == ("ok", False, 2)
        assert "not converged in 2 steps" in result.reason
        assert result.energy is not None

    @pytest.mark.parametrize(
        ("value", "reason"), [(np.nan, "not finite"), (1e5, "a force of 1e+05")]
    )
    def test_exploding_stops_alone(
        self, rattled: Rattled, value: float, reason: str
    ) -> None:
        settings = RelaxSettings(fmax=0.02)
        structures = rattled(4)
        alone = list(Relaxer(FakeModel(), settings)(structures))
        results = list(Relaxer(Spy("Ga", value, after=3), settings)(structures))
        for atoms, result, reference in zip(structures, results, alone, strict=True):
            if "Ga" in atoms.symbols:
                assert result.status == "relaxation_failed"
                assert not result.converged
                assert result.energy is None
                assert result.atoms == atoms
                assert result.atoms is not atoms
            else:
                assert result.steps == reference.steps
                assert result.energy == pytest.approx(reference.energy, abs=1e-9)
        failed = [result for result in results if not result.ok]
        assert len(failed) == 1
        assert reason in failed[0].reason

    def test_expanding_cell_is_stopped(self) -> None:
        (result,) = Relaxer(Expanding())([bulk("Cu")])
        assert result.status == "relaxation_failed"
        assert "times the first" in result.reason

    def test_drifting_atom_is_stopped(self) -> None:
        (result,) = Relaxer(Pushing())([Atoms("Si2", [[0, 0, 0], [0, 0, 2.2]])])
        assert result.status == "relaxation_failed"
        assert "an atom has gone" in result.reason

    def test_unusable_structures_keep_their_own_status(self) -> None:
        broken = bulk("Si")
        broken.positions[0, 0] = np.nan
        structures = [Atoms(), bulk("Si"), broken, Atoms("Lr"), bulk("Si")]
        results = list(Relaxer(FakeModel())(structures))
        assert [result.status for result in results] == [
            "invalid_geometry", "ok", "invalid_geometry", "unknown_element", "ok",
        ]  # fmt: skip
        assert np.isnan(results[3].fmax)

    def test_what_the_energy_head_is_not_for_is_refused(self, publisher: Any) -> None:
        model = load_model(publisher.name)  # for crystals
        structures = [bulk("Si"), molecule("H2O"), bulk("Si")]
        results = list(Relaxer(model, RelaxSettings(steps=1))(structures))
        assert [result.status for result in results] == ["ok", "unsupported_pbc", "ok"]
        assert results[1].reason.startswith(f"{publisher.name} was loaded for crystals")
        (row,) = Predictor(model, energy=True)([structures[1]])
        assert (row.status, row.reason) == (results[1].status, results[1].reason)

    def test_slab_keeps_its_vacuum(self, slab: Atoms) -> None:
        (result,) = Relaxer(FakeModel(), RelaxSettings(fmax=0.02))([slab])
        assert result.ok, result.reason
        old, new = np.asarray(slab.cell), np.asarray(result.atoms.cell)
        normal = np.cross(old[0], old[1])
        normal /= np.linalg.norm(normal)
        assert np.abs(new - old).max() > 0.01
        np.testing.assert_allclose(new @ normal, old @ normal, atol=1e-9)
        areas = [np.linalg.norm(np.cross(c[0], c[1])) for c in (old, new)]
        assert result.volume_change == pytest.approx(areas[1] / areas[0] - 1)

    def test_slab_without_a_third_vector(self, slab: Atoms) -> None:
        flat = slab.copy()
        flat.cell[2] = 0.0
        (with_vector, without) = Relaxer(FakeModel())([slab, flat])
        assert without.ok
        assert (without.atoms.cell[2] == 0).all()
        np.testing.assert_allclose(
            without.atoms.cell[:2], with_vector.atoms.cell[:2], atol=1e-8
        )

    def test_wire_relaxes_along_itself_only(self) -> None:
        wire = Atoms("Cu", cell=[2.2, 0, 0], pbc=(True, False, False))
        wire.rotate(30.0, "z", rotate_cell=True)
        (result,) = Relaxer(FakeModel())([wire])
        old, new = wire.cell[0], result.atoms.cell[0]
        assert result.converged
        assert abs(result.volume_change) > 0.01
        np.testing.assert_allclose(np.cross(old, new), 0.0, atol=1e-9)

    def test_molecule_keeps_its_box(self) -> None:
        water = molecule("H2O", vacuum=5.0)
        water.pbc = False
        (result,) = Relaxer(FakeModel())([water])
        assert result.ok
        assert result.steps > 0
        assert (result.atoms.cell == water.cell).all()
        assert result.volume_change == 0.0

    def test_constraints_are_kept(self, rattled: Rattled) -> None:
        atoms = rattled(4)[3]
        atoms.set_constraint(FixAtoms([0, 2]))
        settings = RelaxSettings(cell_filter="none")
        (result,) = Relaxer(FakeModel(), settings)([atoms])
        moved = np.linalg.norm(result.atoms.positions - atoms.positions, axis=1)
        assert (moved[[0, 2]] == 0).all()
        assert moved[1] > 0

    def test_model_without_energy(self) -> None:
        model = FakeModel()
        model.has_energy = False
        with pytest.raises(UnknownPropertyError, match="no energy head"):
            Relaxer(model)


@pytest.mark.slow
def test_shipped_model_in_batches_and_one_by_one() -> None:
    data = os.environ.get("MFTSCREEN_DATA")
    if data is None:
        pytest.skip("MFTSCREEN_DATA is not set")
    path = Path(data) / "pools" / "mp_gap_pool20k.extxyz.gz"
    small = (a for a in iter_extxyz(path) if isinstance(a, Atoms) and len(a) <= 5)
    structures = list(itertools.islice(small, 6))
    model = load_model()
    settings = RelaxSettings("bfgs", steps=40)
    for atoms, result in zip(
        structures, Relaxer(model, settings)(structures), strict=True
    ):
        relaxed, steps, energy = by_ase(atoms, settings, model)
        assert result.ok, result.reason
        assert abs(result.steps - steps) <= 1
        assert result.energy == pytest.approx(energy, abs=1e-3 * len(atoms))
        np.testing.assert_allclose(result.atoms.cell, relaxed.cell, atol=0.02)
