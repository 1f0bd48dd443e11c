from __future__ import annotations

from itertools import cycle

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from numpy.typing import NDArray

from mftscreen.errors import DataError
from mftscreen.predictor import Predictor
from mftscreen.screen.candidates import Candidate
from mftscreen.screen.pipeline import ScreenRow, reduced_formula, screen
from mftscreen.testing import FakeModel

MGO = bulk("MgO", "rocksalt", a=4.2)
SEEN = frozenset({"Mg", "O", "Si", "H"})


class FixedDetector:
    """Gives every structure the same p-value and counts the vectors it gets."""

    def __init__(self, p_value: float, alpha: float = 0.05) -> None:
        self.fixed = p_value
        self.alpha = alpha
        self.shapes: list[tuple[int, ...]] = []

    def p_value(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        self.shapes.append(np.shape(X))
        return np.full(len(X), self.fixed)


def screen_one(
    structure: Atoms, detector: FixedDetector | None = None, seen: frozenset = SEEN
) -> ScreenRow:
    predictor = Predictor(FakeModel(), properties=["softness"])
    (row,) = screen([Candidate("x", structure)], predictor, "softness", detector, seen)
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
    rows = list(screen(iter(candidates), predictor, "softness", None, SEEN))
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
    (row,) = screen([Candidate("x", MGO)], predictor, "bulkiness", None, SEEN)
    expected = FakeModel().evaluate([MGO], properties=["bulkiness"])[0]
    assert row.value == pytest.approx(expected.properties["bulkiness"], rel=1e-12)
    assert row.unit == "eV"
    assert row.model == f"m{FakeModel.sha256[:12]}"
    assert row.atoms is MGO
    assert model.calls == [["bulkiness"]]


def test_in_distribution_row_has_a_p_value_and_no_reason() -> None:
    detector = FixedDetector(0.5)
    row = screen_one(MGO, detector)
    assert (row.ood_p_value, row.ood, row.reason) == (0.5, False, "")
    assert detector.shapes == [(1, 1024)]


@pytest.mark.parametrize(("p", "ood"), [(0.0, True), (0.05, True), (0.0501, False)])
def test_small_p_value_is_out_of_distribution(p: float, ood: bool) -> None:
    row = screen_one(MGO, FixedDetector(p, alpha=0.05))
    assert (row.ood_p_value, row.ood) == (p, ood)


def test_unseen_element_is_flagged_whatever_its_p_value() -> None:
    row = screen_one(bulk("CaO", "rocksalt", a=4.8), FixedDetector(1.0))
    assert (row.status, row.ood, row.ood_p_value) == ("ok", True, 1.0)
    assert row.reason == "not in the training set: Ca"
    assert row.value is not None


def test_all_unseen_elements_are_named() -> None:
    row = screen_one(MGO, seen=frozenset({"Si"}))
    assert row.reason == "not in the training set: Mg, O"


def test_without_a_detector_only_unseen_elements_are_flagged() -> None:
    known = screen_one(MGO)
    assert (known.ood_p_value, known.ood, known.reason) == (None, None, "")
    unseen = screen_one(bulk("Cu"))
    assert (unseen.ood_p_value, unseen.ood) == (None, True)


def test_structure_without_an_ofm_is_flagged_with_the_reason() -> None:
    detector = FixedDetector(1.0)
    row = screen_one(molecule("H2O"), detector)
    assert (row.status, row.ood, row.ood_p_value) == ("ok", True, None)
    assert row.value is not None
    assert row.reason.startswith("no OFM: ")
    assert detector.shapes == []


def test_two_reasons_are_both_given() -> None:
    row = screen_one(molecule("NH3"), FixedDetector(1.0))
    assert row.reason.startswith("not in the training set: N; no OFM: ")


def test_candidates_are_streamed() -> None:
    endless = (Candidate(f"{k}", atoms) for k, atoms in enumerate(cycle([Atoms("H")])))
    predictor = Predictor(FakeModel(), properties=["softness"])
    rows = screen(endless, predictor, "softness", None, SEEN)
    assert [next(rows).id for _ in range(3)] == ["0", "1", "2"]


def test_candidates_are_not_changed() -> None:
    atoms = MGO.copy()
    screen_one(atoms, FixedDetector(0.5))
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
