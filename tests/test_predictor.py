from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from mftscreen import Predictor
from mftscreen.errors import DataError, UnknownPropertyError
from mftscreen.testing import FakeModel


@pytest.fixture(params=["fake", "network"])
def model(request: pytest.FixtureRequest) -> object:
    if request.param == "fake":
        return FakeModel()
    from mftscreen import load_model

    return load_model(request.getfixturevalue("tiny_model"))


def _structures(n: int) -> list[Atoms]:
    rng = np.random.default_rng(0)
    kinds = [bulk("MgO", "rocksalt", a=4.2), bulk("Si", cubic=True), molecule("H2O")]
    structures = [kinds[k % 3].copy() for k in range(n)]
    for atoms in structures:
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
    return structures


@pytest.mark.parametrize("batch_size", ["auto", 1, 4])
def test_batches_give_what_single_structures_give(
    model: object, batch_size: object
) -> None:
    structures = _structures(10)
    options = {"energy": True, "forces": True}
    rows = list(Predictor(model, batch_size=batch_size, **options)(structures))
    assert [row.index for row in rows] == list(range(10))
    for atoms, row in zip(structures, rows, strict=True):
        (single,) = Predictor(model, **options)([atoms])
        assert row.properties == pytest.approx(single.properties, rel=1e-9)
        assert row.energy == pytest.approx(single.energy, rel=1e-9)
        np.testing.assert_allclose(row.forces, single.forces, atol=1e-9)
        np.testing.assert_allclose(row.virial, single.virial, atol=1e-8)


def test_failures_are_rows_in_their_place() -> None:
    broken = bulk("Si")
    broken.positions[0] = np.nan
    unreadable = DataError("frame 2 is not valid extxyz")
    rows = list(
        Predictor(FakeModel())(
            [bulk("Si"), broken, unreadable, Atoms("Cm"), "POSCAR", bulk("Ge")]
        )
    )
    assert [row.status for row in rows] == [
        "ok", "invalid_geometry", "unreadable", "unknown_element",
        "invalid_structure", "ok",
    ]  # fmt: skip
    assert "not finite" in rows[1].reason
    assert rows[2].reason == "frame 2 is not valid extxyz"
    assert "expected ase.Atoms" in rows[4].reason
    assert all(not row.properties for row in rows if not row.ok)


def test_pymatgen_structures() -> None:
    from pymatgen.core import Lattice, Structure

    silicon = Structure.from_spacegroup(
        "Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]]
    )
    disordered = Structure(Lattice.cubic(4), [{"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0]])
    first, second, third = Predictor(FakeModel())(
        [silicon, bulk("Si", a=5.43), disordered]
    )
    assert first.properties["softness"] == pytest.approx(second.properties["softness"])
    assert third.status == "invalid_structure"
    assert "disordered" in third.reason


def test_input_is_streamed() -> None:
    def endless():
        while True:
            yield bulk("Si")

    rows = Predictor(FakeModel())(endless())
    assert [next(rows).index for _ in range(600)] == list(range(600))


def test_only_what_is_asked_for() -> None:
    model = FakeModel()
    list(Predictor(model, properties=["softness"])([bulk("Si")]))
    assert model.calls == [["softness"]]
    (row,) = Predictor(model, properties=[], energy=True)([bulk("Si")])
    assert row.energy is not None
    assert row.forces is None
    assert row.properties == {}


def test_unknown_property_is_an_error_not_a_row() -> None:
    known = "does not predict gap; it predicts: energy, softness, bulkiness"
    with pytest.raises(UnknownPropertyError, match=known):
        Predictor(FakeModel(), properties=["gap"])


@pytest.mark.parametrize("batch_size", [0, -1])
def test_batches_of_nothing_are_refused(batch_size: int) -> None:
    with pytest.raises(ValueError, match="batch_size"):
        Predictor(FakeModel(), batch_size=batch_size)


class _SmallMemory(FakeModel):
    """Runs out of memory above `limit` atoms in all."""

    limit = 20

    def evaluate(self, structures, **options):
        if sum(map(len, structures)) > self.limit:
            msg = "DefaultCPUAllocator: can't allocate memory: you tried 1 TB"
            raise RuntimeError(msg)
        return super().evaluate(structures, **options)


def test_out_of_memory_halves_batches_and_fails_alone() -> None:
    model = _SmallMemory()
    structures = [*_structures(9), bulk("Si", cubic=True).repeat(2)]
    predictor = Predictor(model)
    rows = list(predictor(structures))
    assert [row.status for row in rows] == ["ok"] * 9 + ["out_of_memory"]
    assert predictor._limit.atoms <= 64


def test_other_errors_are_not_swallowed() -> None:
    class Broken(FakeModel):
        def evaluate(self, structures, **options):
            msg = "shape mismatch"
            raise RuntimeError(msg)

    with pytest.raises(RuntimeError, match="shape mismatch"):
        list(Predictor(Broken())([bulk("Si")]))


def test_not_finite_prediction_fails_the_row(tiny_model: Path) -> None:
    class Infinite(FakeModel):
        def evaluate(self, structures, **options):
            results = super().evaluate(structures, **options)
            results[0].properties["softness"] = float("inf")
            return results

    (row,) = Predictor(Infinite())([bulk("Si")])
    assert row.status == "not_finite"


def test_overlapping_atoms_leave_the_others_numbers_alone(model: object) -> None:
    structures = _structures(12)
    overlapping = bulk("MgO", "rocksalt", a=4.2)
    overlapping.positions[1] = overlapping.positions[0] + [0.0, 0.0, 0.2]
    options = {"energy": True, "forces": True}
    alone = list(Predictor(model, **options)(structures))
    mixed = [*structures[:5], overlapping, *structures[5:], overlapping]
    rows = list(Predictor(model, **options)(mixed))
    bad = [rows.pop(13), rows.pop(5)]
    assert {row.status for row in bad} == {"invalid_geometry"}
    assert "(Mg) and 1 (O) are 0.200 Å apart" in bad[0].reason
    assert all(row.energy is None and not row.properties for row in bad)
    for row, expected in zip(rows, alone, strict=True):
        assert (row.energy, row.properties) == (expected.energy, expected.properties)
        np.testing.assert_array_equal(row.forces, expected.forces)


def test_what_heads_were_not_made_for_has_no_value(bulk_model: Path) -> None:
    structures = [bulk("MgO", "rocksalt", a=4.2), molecule("H2O"), bulk("Si")]
    predictor = Predictor(bulk_model)
    crystal, water, silicon = predictor(structures)
    assert crystal.ok
    assert (crystal.refused, crystal.unseen_elements, crystal.doubts) == ({}, {}, {})
    assert (water.status, water.properties) == ("outside_domain", {})
    assert water.reason == "gap: it is for crystals, and this is not periodic"
    # an element alone is no refusal in a table, which can say so
    assert silicon.ok
    assert silicon.unseen_elements == {"gap": ("Si",)}
    lenient = list(Predictor(bulk_model, check_domain=False)(structures))
    assert [row.ok for row in lenient] == [True] * 3
    assert lenient[0].properties == pytest.approx(crystal.properties, rel=1e-12)
    assert "not periodic" in lenient[1].doubts["gap"][0]
    (alone,) = Predictor(bulk_model, energy=True, check_domain=False)(bulk("Si"))
    assert alone.doubts["energy"][0].startswith("holds Si, which the energy head")
    assert alone.energy is not None
    with pytest.raises(UnknownPropertyError, match="asked for apart"):
        Predictor(bulk_model, properties=["energy"])
    with pytest.raises(ValueError, match="got '64'"):
        Predictor(bulk_model, batch_size="64")
    with pytest.raises(ValueError, match="check_domain="):
        Predictor(predictor.model, check_domain=False)


def test_a_refused_property_leaves_the_others(bulk_model: Path) -> None:
    water, oxygen = molecule("H2O"), Atoms("O2", [(0, 0, 0), (0, 0, 1.2)])
    for atoms in (water, oxygen):
        atoms.info["charge"] = 1
    (row, other) = Predictor(bulk_model, energy=True)([oxygen, water])
    assert row.ok
    assert row.energy is not None
    assert row.refused.keys() == {"gap"}
    assert row.properties == {}
    assert row.doubts["energy"][0].startswith("it is for crystals")
    assert row.doubts["energy"][1].startswith("a charge of +1")
    # hydrogen is new to the force field, whose forces would be nonsense
    assert other.status == "unknown_element"
    assert "which the energy head oxides never saw" in other.reason
