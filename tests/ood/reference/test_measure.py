"""Comparisons: p-values, distances, and names for what has never been seen."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from mftscreen.errors import DataError
from mftscreen.ood import OFMDensityDetector, OFMFeaturizer, orbital_field_matrix
from mftscreen.ood.ofm.featurizer import N_ORBITAL_PAIRS
from mftscreen.ood.ofm.orbitals import ORBITALS
from mftscreen.ood.reference.measure import describe, measure_novelty
from mftscreen.ood.reference.novelty import Novelty, flag
from mftscreen.ood.reference.reference_set import Reference, fit_reference

CRYSTALS = {f"a{k}": bulk("NaCl", "rocksalt", a=5.4 + 0.02 * k) for k in range(20)} | {
    "cu": bulk("Cu"),
    "denser cu": bulk("Cu", a=3.6),
    "looser cu": bulk("Cu", a=3.63),
}


@pytest.fixture(scope="module")
def reference() -> Reference:
    return fit_reference(CRYSTALS.items())[0]


def compare(atoms: Atoms, reference: Reference) -> Novelty:
    (found,) = measure_novelty([atoms], reference)
    return found


def test_agrees_with_the_detector(reference: Reference) -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.5001)
    found = compare(atoms, reference)
    features, near = (row.features for row in OFMFeaturizer()([atoms, CRYSTALS["a5"]]))
    assert reference.detector is not None
    assert found.p_value == reference.detector.p_value([features])[0]
    assert found.status == "ok"
    assert flag(found, 0.05) == (False, "")
    assert found.nearest[0] == "a5"
    assert found.distances[0] == pytest.approx(np.linalg.norm(features - near))
    assert len(found.nearest) == len(found.distances) == 5
    assert np.array_equal(found.features, features)


def test_unseen_pairs_are_named_once_each(reference: Reference) -> None:
    atoms = bulk("CuCl", "zincblende", a=5.4)
    found = compare(atoms, reference)
    assert reference.detector is not None
    seen = reference.detector.reference_.toarray().any(axis=0)[:N_ORBITAL_PAIRS]
    columns = np.flatnonzero((orbital_field_matrix(atoms) > 0) & ~seen)
    pairs = {frozenset(divmod(int(k), len(ORBITALS))) for k in columns}
    assert len(found.unseen_pairs) == len(set(found.unseen_pairs)) == len(pairs)
    assert "Cu d10 – Cl p5" in found.unseen_pairs or "Cl p5 – Cu d10" in (
        found.unseen_pairs
    )
    # Cu and Na, Cl and Cl are there, Cu beside Cl is not
    assert found.unseen_elements == ()
    ood, reason = flag(found, 0.05)
    assert ood is True
    assert reason.startswith("orbital pairs never seen: C")


def test_new_element_with_a_known_vector_is_flagged(reference: Reference) -> None:
    # the matrix takes K for Na, and one atom in 128 hardly matters to the volume
    doped = bulk("NaCl", "rocksalt", a=5.5) * (4, 4, 4)
    doped.symbols[0] = "K"
    found = compare(doped, reference)
    assert found.p_value == 1.0
    assert found.unseen_elements == ("K",)
    assert flag(found, 0.05) == (True, "elements never seen: K")


def test_larger_element_with_a_known_matrix_has_another_volume(
    reference: Reference,
) -> None:
    atoms = bulk("KCl", "rocksalt", a=5.5)
    salt = bulk("NaCl", "rocksalt", a=5.5)
    assert np.array_equal(orbital_field_matrix(atoms), orbital_field_matrix(salt))
    found = compare(atoms, reference)
    assert found.p_value == pytest.approx(1 / (len(CRYSTALS) + 1))
    assert found.unseen_pairs == ()


def test_every_flag_has_a_reason(reference: Reference) -> None:
    larger = compare(bulk("NaCl", "rocksalt", a=6.5), reference)
    assert (larger.unseen_elements, larger.unseen_pairs) == ((), ())
    assert flag(larger, 0.05) == (True, larger.far)
    distance = f"{larger.distances[0]:.3g}/Bohr from the nearest, a19"
    assert larger.far == (
        f"far from the reference set: {distance}, whose volume per atom is unlike its "
        "own"
    )
    strained = bulk("Cu")
    strained.set_cell(strained.cell * [0.8, 0.8, 1 / 0.8**2], scale_atoms=True)
    ood, reason = flag(compare(strained, reference), 0.05)
    assert ood is True
    assert reason.startswith("far from the reference set: ")
    assert reason.endswith("/Bohr from the nearest, looser cu")


def test_blocks_keep_the_order(
    reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    structures = [*CRYSTALS.values(), molecule("H2O"), molecule("O2"), bulk("Si")]
    expected = [compare(atoms, reference) for atoms in structures]
    assert list(measure_novelty(structures, reference)) == expected
    monkeypatch.setattr("mftscreen.ood.reference.measure._BLOCK", 1)
    assert list(measure_novelty(structures, reference)) == expected


def test_formulas_belong_to_rows_not_to_ids() -> None:
    salts = [bulk(s, "rocksalt", a=4.5) for s in ("MgO", "NaCl", "KCl", "CaO", "LiF")]
    reference, _ = fit_reference([("x", atoms) for atoms in salts])
    found = compare(bulk("LiF", "rocksalt", a=4.5), reference)
    lines = describe(found, reference, 0.05).splitlines()
    near = [line.split()[-1] for line in lines if "/ Bohr" in line]
    assert near == [reference.formulas[row] for row in found.nearest_rows]
    assert near[0] == "LiF"
    assert len(set(near)) == 5


def test_expanded_cell_is_not_taken_for_a_larger_element() -> None:
    constants = {"MgO": 4.2, "CaO": 4.8, "SrO": 5.16, "BaO": 5.54}
    oxides = {name: bulk(name, "rocksalt", a=a) for name, a in constants.items()}
    reference, _ = fit_reference(oxides.items())
    scales = np.array([1.0, 1.02, 1.05, 4.8 / 4.2])
    rows = list(
        measure_novelty(
            [bulk("MgO", "rocksalt", a=4.2 * scale) for scale in scales], reference
        )
    )
    distances = [row.distances[0] for row in rows]
    assert distances[0] == pytest.approx(0.0, abs=1e-12)
    assert (np.diff(distances) > 0.0).all()
    # the last one has the matrix of CaO, but is packed less densely
    calcium = orbital_field_matrix(oxides["CaO"])
    assert rows[-1].features is not None
    assert np.allclose(rows[-1].features[:-1], calcium, rtol=0, atol=1e-10)
    assert rows[-1].distances[0] > 0.5


def test_failures_are_rows(reference: Reference) -> None:
    broken = DataError("frame 3 is not valid extxyz", path="a.xyz")
    structures = iter([broken, molecule("H2O"), bulk("Cu")])
    rows = list(measure_novelty(structures, reference))
    assert [row.status for row in rows] == ["unreadable", "unsupported_pbc", "ok"]
    assert flag(rows[0], 0.05) == (None, str(broken))
    ood, reason = flag(rows[1], 0.05)
    assert ood is True
    assert reason.startswith("elements never seen: H, O; no OFM: ")
    assert rows[2].nearest[0] == "cu"


def test_processes_give_the_same_rows(reference: Reference) -> None:
    structures = [*CRYSTALS.values(), molecule("H2O"), bulk("Si")]
    assert list(measure_novelty(structures, reference, n_jobs=2)) == list(
        measure_novelty(structures, reference)
    )


def test_table_of_the_reference_set_is_used() -> None:
    detector = OFMDensityDetector(table="paper")
    reference, _ = fit_reference(CRYSTALS.items(), detector)
    atoms = bulk("FeO", "rocksalt", a=4.3)
    found = compare(atoms, reference)
    assert found.features is not None
    expected = orbital_field_matrix(atoms, table="paper")
    assert np.array_equal(found.features[:-1], expected)
    # p6 is a valence orbital of iron in today's table only
    assert not any("Fe p6" in pair for pair in found.unseen_pairs)
    today = compare(atoms, fit_reference(CRYSTALS.items())[0])
    assert any("Fe p6" in pair for pair in today.unseen_pairs)


def test_describe(reference: Reference) -> None:
    text = describe(compare(bulk("Si", cubic=True), reference), reference, 0.05)
    lines = text.splitlines()
    assert lines[0] == f"p-value       {1 / 24:.3g}"
    assert lines[1].lstrip().startswith("0 of 23 reference structures are at least")
    assert lines[2].strip() == "(mean distance to the 2 nearest)"
    assert lines[3] == "verdict       out of distribution (alpha 0.05)"
    assert "new elements  Si" in lines
    assert (
        "new pairs     Si p2 – Si p2" in text or "new pairs     Si s2 – Si p2" in text
    )
    near = [line.split()[-2:] for line in lines if "/ Bohr" in line]
    assert len(near) == 5
    assert {formula for _, formula in near} == {"NaCl"}
    assert "low-dimensional" not in text
    slab = bulk("NaCl", "rocksalt", a=5.5, cubic=True)
    slab.center(vacuum=9.0, axis=2)
    note = describe(compare(slab, reference), reference, 0.05).splitlines()[-1]
    assert note == "note          low-dimensional: the OFM depends on the vacuum"
    water = describe(compare(molecule("H2O"), reference), reference, 0.05)
    assert water.startswith("p-value       none: elements never seen: H, O; no OFM: ")
