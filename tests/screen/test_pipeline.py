from __future__ import annotations

import re
from dataclasses import replace
from itertools import cycle

import pytest
from ase import Atoms
from ase.build import bulk, molecule

from mftscreen.errors import DataError
from mftscreen.ood.reference import Reference, fit_reference, open_reference
from mftscreen.predictor import Predictor
from mftscreen.screen.candidates import Candidate
from mftscreen.screen.pipeline import ScreenRow, reduced_formula, screen
from mftscreen.testing import FakeModel

MGO = bulk("MgO", "rocksalt", a=4.2)
SEEN = frozenset({"Mg", "O", "Si", "H"})


@pytest.fixture(scope="module")
def oxides() -> Reference:
    """Nineteen crystals of MgO, so that the smallest p-value is 0.05."""
    named = ((f"{k}", bulk("MgO", "rocksalt", a=4.1 + 0.01 * k)) for k in range(19))
    return replace(fit_reference(named)[0], elements=SEEN)


def flag_at(reference: Reference, alpha: float) -> Reference:
    return open_reference(reference.to_arrays(), alpha, SEEN)


WITHOUT_OFM = Reference(elements=SEEN)


def screen_one(structure: Atoms, reference: Reference = WITHOUT_OFM) -> ScreenRow:
    predictor = Predictor(FakeModel(), properties=["softness"])
    (row,) = screen([Candidate("x", structure)], predictor, "softness", reference)
    return row


def test_failed_candidates_keep_their_place_and_their_reason() -> None:
    candidates = [
        Candidate("good", MGO),
        Candidate("broken", DataError("frame 1 is not valid extxyz", path="a.xyz")),
        Candidate("empty", Atoms()),
        Candidate("americium", bulk("Am", "fcc", a=4.9)),
        Candidate("big", bulk("Si", cubic=True)),
        Candidate("overlap", Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.1]])),
        Candidate("last", bulk("Si")),
    ]
    predictor = Predictor(FakeModel(), properties=["softness"])
    rows = list(screen(iter(candidates), predictor, "softness", WITHOUT_OFM))
    assert [row.id for row in rows] == [candidate.id for candidate in candidates]
    assert [row.status for row in rows] == [
        "ok", "unreadable", "invalid_geometry", "unknown_element", "ok",
        "invalid_geometry", "ok",
    ]  # fmt: skip
    for row in rows:
        assert (row.value is None) == (row.status != "ok")
        assert bool(row.reason) == (row.status != "ok")
        if row.status != "ok":
            assert (row.ood_p_value, row.ood) == (None, None)
    assert rows[1].reason == "a.xyz: frame 1 is not valid extxyz"
    assert (rows[1].atoms, rows[1].formula) == (None, "")
    assert rows[3].formula == "Am"
    assert "Am" in rows[3].reason


def test_value_and_model_are_those_of_the_predictor() -> None:
    model = FakeModel()
    predictor = Predictor(model, properties=["bulkiness"])
    (row,) = screen(
        [Candidate("x", MGO)], predictor, "bulkiness", Reference(elements=SEEN)
    )
    expected = FakeModel().evaluate([MGO], properties=["bulkiness"])[0]
    assert row.value == pytest.approx(expected.properties["bulkiness"], rel=1e-12)
    assert row.unit == "eV"
    assert row.model == f"m{FakeModel.sha256[:12]}"
    assert row.atoms is MGO
    assert model.calls == [["bulkiness"]]


def test_in_distribution_row_has_a_p_value_and_no_reason(oxides: Reference) -> None:
    row = screen_one(bulk("MgO", "rocksalt", a=4.2), oxides)
    assert (row.ood_p_value, row.ood, row.reason) == (1.0, False, "")
    assert row.low_dimensional is False


@pytest.mark.parametrize(("alpha", "ood"), [(0.04, False), (0.05, True), (0.5, True)])
def test_small_p_value_is_out_of_distribution(
    oxides: Reference, alpha: float, ood: bool
) -> None:
    row = screen_one(bulk("Si"), flag_at(oxides, alpha))
    assert row.ood_p_value == pytest.approx(0.05)
    assert row.ood == ood
    if not ood:
        assert row.reason == ""
        return
    what, names = row.reason.split(": ")
    assert what == "orbital pairs never seen"
    assert sorted(names.split(", ")) == ["Si p2 – Si p2", "Si s2 – Si p2"]


def test_at_most_three_orbital_pairs_are_named(oxides: Reference) -> None:
    row = screen_one(bulk("CuCl", "zincblende", a=5.4), oxides)
    elements, pairs = row.reason.split("; ")
    assert elements == "elements never seen: Cl, Cu"
    assert re.fullmatch(
        r"orbital pairs never seen: (?:C[^,]+ – C[^,]+, ){2}C.+ – C.+ and \d+ more",
        pairs,
    )


def test_unseen_element_is_flagged_whatever_its_p_value(oxides: Reference) -> None:
    # the OFM takes Ca for Mg
    row = screen_one(bulk("CaO", "rocksalt", a=4.2), oxides)
    assert (row.status, row.ood, row.ood_p_value) == ("ok", True, 1.0)
    assert row.reason == "elements never seen: Ca"
    assert row.value is not None


def test_all_unseen_elements_are_named() -> None:
    row = screen_one(MGO, Reference(elements=frozenset({"Si"})))
    assert row.reason == "elements never seen: Mg, O"


def test_without_a_detector_only_unseen_elements_are_flagged() -> None:
    known = screen_one(MGO)
    assert (known.ood_p_value, known.ood, known.reason) == (None, None, "")
    assert known.low_dimensional is None
    unseen = screen_one(bulk("Cu"))
    assert (unseen.ood_p_value, unseen.ood) == (None, True)


def test_structure_without_an_ofm_is_flagged_with_the_reason(oxides: Reference) -> None:
    row = screen_one(molecule("H2O"), oxides)
    assert (row.status, row.ood, row.ood_p_value) == ("ok", True, None)
    assert row.value is not None
    assert row.reason.startswith("no OFM: ")


def test_two_reasons_are_both_given(oxides: Reference) -> None:
    row = screen_one(molecule("NH3"), oxides)
    assert row.reason.startswith("elements never seen: N; no OFM: ")


def test_vacuum_is_mentioned(oxides: Reference) -> None:
    slab = bulk("MgO", "rocksalt", a=4.2, cubic=True)
    slab.center(vacuum=8.0, axis=2)
    row = screen_one(slab, oxides)
    assert row.low_dimensional is True
    assert row.reason.endswith("low-dimensional: the OFM depends on the vacuum")


def test_candidates_are_streamed() -> None:
    endless = (Candidate(f"{k}", atoms) for k, atoms in enumerate(cycle([Atoms("H")])))
    predictor = Predictor(FakeModel(), properties=["softness"])
    rows = screen(endless, predictor, "softness", WITHOUT_OFM)
    assert [next(rows).id for _ in range(3)] == ["0", "1", "2"]


def test_candidates_are_not_changed(oxides: Reference) -> None:
    atoms = MGO.copy()
    screen_one(atoms, oxides)
    assert atoms == MGO
    assert atoms.info == {}
    assert atoms.calc is None


@pytest.mark.parametrize(
    ("atoms", "formula"),
    [
        (Atoms("OMgOMg"), "MgO"),
        (Atoms("Si8"), "Si"),
        (Atoms("O3Ti1Sr1"), "SrTiO3"),
        (Atoms(), ""),
        (None, ""),
    ],
)
def test_reduced_formula(atoms: Atoms | None, formula: str) -> None:
    assert reduced_formula(atoms) == formula
