"""Judgements: p-values, flags, and names for what has never been seen."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from mftscreen.errors import DataError
from mftscreen.ood import OFMDensityDetector, orbital_field_matrix
from mftscreen.ood.judgement import Judgement, describe, judge
from mftscreen.ood.orbitals import ORBITALS, element_table, name_pair
from mftscreen.ood.reference import Reference, fit_reference

CRYSTALS = {f"a{k}": bulk("NaCl", "rocksalt", a=5.4 + 0.02 * k) for k in range(20)} | {
    "cu": bulk("Cu"),
    "denser cu": bulk("Cu", a=3.6),
}


@pytest.fixture(scope="module")
def reference() -> Reference:
    return fit_reference(CRYSTALS.items())[0]


def judge_one(atoms: Atoms, reference: Reference) -> Judgement:
    (found,) = judge([atoms], reference)
    return found


def test_agrees_with_the_detector(reference: Reference) -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.5001)
    found = judge_one(atoms, reference)
    vector = orbital_field_matrix(atoms)
    assert reference.detector is not None
    assert found.p_value == reference.detector.p_value([vector])[0]
    assert (found.status, found.reason, found.ood) == ("ok", "", False)
    assert found.nearest[0] == "a5"
    near = CRYSTALS["a5"]
    distance = np.linalg.norm(vector - orbital_field_matrix(near))
    assert found.distances[0] == pytest.approx(distance)
    assert len(found.nearest) == len(found.distances) == 5
    assert np.array_equal(found.vector, vector)


def test_unseen_pairs_are_named_once_each(reference: Reference) -> None:
    atoms = bulk("CuCl", "zincblende", a=5.4)
    found = judge_one(atoms, reference)
    assert reference.detector is not None
    seen = reference.detector.reference_.toarray().any(axis=0)
    columns = np.flatnonzero((orbital_field_matrix(atoms) > 0) & ~seen)
    pairs = {frozenset(divmod(int(k), len(ORBITALS))) for k in columns}
    assert len(found.unseen_pairs) == len(set(found.unseen_pairs)) == len(pairs)
    assert "Cu d10 – Cl p5" in found.unseen_pairs or "Cl p5 – Cu d10" in (
        found.unseen_pairs
    )
    # Cu and Na, Cl and Cl are there, Cu beside Cl is not
    assert found.unseen_elements == ()
    assert found.ood is True
    assert found.reason.startswith("orbital pairs never seen: C")


def test_new_element_with_a_known_vector_is_flagged(reference: Reference) -> None:
    found = judge_one(bulk("KCl", "rocksalt", a=5.5), reference)
    assert (found.p_value, found.ood) == (1.0, True)
    assert found.unseen_elements == ("K",)
    assert found.reason == "elements never seen: K"


def test_failures_are_rows(reference: Reference) -> None:
    broken = DataError("frame 3 is not valid extxyz", path="a.xyz")
    rows = list(judge(iter([broken, molecule("H2O"), bulk("Cu")]), reference, n_jobs=1))
    assert [row.status for row in rows] == ["unreadable", "unsupported_pbc", "ok"]
    assert rows[0].reason == str(broken)
    assert rows[0].ood is None
    assert rows[1].ood is True
    assert rows[1].reason.startswith("elements never seen: H, O; no OFM: ")
    assert rows[2].nearest[0] == "cu"


def test_processes_give_the_same_rows(reference: Reference) -> None:
    structures = [*CRYSTALS.values(), molecule("H2O"), bulk("Si")]
    assert list(judge(structures, reference, n_jobs=2)) == list(
        judge(structures, reference)
    )


def test_table_of_the_reference_set_is_used() -> None:
    detector = OFMDensityDetector(table="paper")
    reference, _ = fit_reference(CRYSTALS.items(), detector)
    atoms = bulk("FeO", "rocksalt", a=4.3)
    found = judge_one(atoms, reference)
    assert np.array_equal(found.vector, orbital_field_matrix(atoms, table="paper"))
    # p6 is a valence orbital of iron in today's table only
    assert not any("Fe p6" in pair for pair in found.unseen_pairs)
    today = judge_one(atoms, fit_reference(CRYSTALS.items())[0])
    assert any("Fe p6" in pair for pair in today.unseen_pairs)


def test_describe(reference: Reference) -> None:
    text = describe(judge_one(bulk("Si", cubic=True), reference), reference)
    lines = text.splitlines()
    assert lines[0] == f"p-value       {1 / 23:.3g}"
    assert lines[1].lstrip().startswith("0 of 22 reference structures are at least")
    assert lines[2] == "verdict       out of distribution (alpha 0.05)"
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
    note = describe(judge_one(slab, reference), reference).splitlines()[-1]
    assert note == "note          low-dimensional: the OFM depends on the vacuum"
    water = describe(judge_one(molecule("H2O"), reference), reference)
    assert water.startswith("p-value       none: elements never seen: H, O; no OFM: ")


def test_name_pair_lists_every_element_with_the_orbital() -> None:
    vectors = element_table("current")
    for column in np.flatnonzero(
        orbital_field_matrix(bulk("CuCl", "zincblende", a=5.4))
    ):
        neighbour, centre = name_pair(int(column), [17, 29]).split(" – ")
        for name, index in zip(
            (neighbour, centre), divmod(int(column), len(ORBITALS)), strict=True
        ):
            symbols, orbital = name.split()
            assert orbital == ORBITALS[index]
            having = {s for s, z in (("Cl", 17), ("Cu", 29)) if vectors[z, index]}
            assert set(symbols.split("/")) == having
    with pytest.raises(ValueError, match=r"no element of the structure has .* f14"):
        name_pair(31 * 32, [29])
