"""Outcomes become rows: flags, reasons, ensembles."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from ase.build import bulk

from mftscreen.screen.result.rows import ScreenRow, make_row
from mftscreen.screen.work.journal import JournalRow
from mftscreen.screen.work.outcome import Outcome, Relaxation

FINE = Outcome(
    formula="MgO",
    values={"gap": (5.0,), "mass": (10.0,)},
    p_values={"gap": 0.5, "mass": 0.02},
    unseen_elements={"gap": [], "mass": ["Mg"]},
    low_dimensional=False,
)


def row_of(
    outcome: Outcome, names: tuple[str, ...] = ("gap",), alpha: float = 0.05
) -> ScreenRow:
    return make_row(JournalRow("x", outcome, "", None), names, alpha)


def test_in_distribution_row_has_a_p_value_and_no_reason() -> None:
    row = row_of(FINE)
    assert (row.ood_p_value, row.ood, row.reason) == (0.5, False, "")
    assert (row.id, row.formula, row.status) == ("x", "MgO", "ok")
    assert row.values == {"gap": 5.0}
    assert row.spreads == {}
    assert row.low_dimensional is False


@pytest.mark.parametrize(("alpha", "ood"), [(0.49, False), (0.5, True), (0.9, True)])
def test_p_value_up_to_alpha_is_out_of_distribution(alpha: float, ood: bool) -> None:
    row = row_of(replace(FINE, unseen_pairs=["Si p2 – Si p2"]), alpha=alpha)
    assert row.ood == ood
    assert row.reason == ("orbital pairs never seen: Si p2 – Si p2" if ood else "")


def test_only_properties_of_the_goals_are_judged() -> None:
    both = row_of(FINE, ("gap", "mass"))
    assert (both.ood_p_value, both.ood) == (0.02, True)
    assert both.reason == "elements never seen: Mg"
    assert both.values == {"gap": 5.0, "mass": 10.0}
    assert row_of(FINE, ("mass",)).values == {"mass": 10.0}


def test_unseen_element_is_flagged_whatever_its_p_value() -> None:
    row = row_of(replace(FINE, unseen_elements={"gap": ["Ca", "W"]}))
    assert (row.status, row.ood, row.ood_p_value) == ("ok", True, 0.5)
    assert row.reason == "elements never seen: Ca, W"
    assert row.values == {"gap": 5.0}


def test_at_most_three_orbital_pairs_are_named() -> None:
    pairs = [f"Cu d10 – Cl p{k}" for k in range(1, 6)]
    outcome = replace(FINE, unseen_elements={"gap": ["Cu"]}, unseen_pairs=pairs)
    elements, named = row_of(outcome).reason.split("; ")
    assert elements == "elements never seen: Cu"
    assert re.fullmatch(r"orbital pairs never seen: (.+, ){2}.+ and 2 more", named)


def test_without_a_p_value_only_unseen_elements_are_flagged() -> None:
    unknown = replace(FINE, p_values={}, low_dimensional=None)
    known = row_of(unknown)
    assert (known.ood_p_value, known.ood, known.reason) == (None, None, "")
    assert known.low_dimensional is None
    unseen = row_of(replace(unknown, unseen_elements={"gap": ["Cu"]}))
    assert (unseen.ood_p_value, unseen.ood) == (None, True)


def test_structure_without_an_ofm_is_flagged_with_the_reason() -> None:
    outcome = replace(FINE, p_values={}, no_ofm="not periodic")
    row = row_of(outcome)
    assert (row.status, row.ood, row.ood_p_value) == ("ok", True, None)
    assert row.values == {"gap": 5.0}
    assert row.reason == "no OFM: not periodic"
    row = row_of(replace(outcome, unseen_elements={"gap": ["N"]}))
    assert row.reason == "elements never seen: N; no OFM: not periodic"


def test_vacuum_and_what_the_relaxation_says_are_mentioned() -> None:
    relaxation = Relaxation(converged=False, steps=9, fmax=0.3, volume_change=0.01)
    outcome = replace(
        FINE, low_dimensional=True, reason="not converged", relaxation=relaxation
    )
    row = row_of(outcome)
    assert row.low_dimensional is True
    first, second = row.reason.split("; ")
    assert first == "not converged"
    assert second == "low-dimensional: the OFM depends on the vacuum"
    assert row.relaxation == relaxation


def test_failed_candidate_has_a_reason_and_nothing_else() -> None:
    row = row_of(Outcome("invalid_geometry", "no atoms", "Si"))
    assert (row.status, row.reason) == ("invalid_geometry", "no atoms")
    assert (row.values, row.spreads) == ({}, {})
    assert (row.ood_p_value, row.ood, row.low_dimensional) == (None, None, None)


def test_ensemble_has_a_mean_and_a_spread() -> None:
    row = row_of(replace(FINE, values={"gap": (1.0, 2.0, 6.0), "mass": (3.0,)}))
    assert row.values["gap"] == pytest.approx(3.0)
    # the sample variance: (4 + 1 + 9) / 2
    assert row.spreads == {"gap": pytest.approx(7.0**0.5)}
    assert "mass" not in row_of(FINE, ("gap", "mass")).spreads


def test_structure_and_duplicate_are_passed_on_in_order() -> None:
    atoms = bulk("Si")
    found = [JournalRow("b", FINE, "", atoms), JournalRow("a", FINE, "b", None)]
    first, second = (make_row(row, ["gap"], 0.05) for row in found)
    assert (first.id, first.duplicate_of, first.atoms) == ("b", "", atoms)
    assert (second.id, second.duplicate_of, second.atoms) == ("a", "b", None)


def test_what_is_refused_fails_where_it_is_required() -> None:
    outcome = replace(FINE, values={"gap": (5.0,)}, refused={"mass": "mass: no"})
    entry = JournalRow("x", outcome, "", None)
    row = make_row(entry, ("gap", "mass"), 0.05)
    assert (row.status, row.reason) == ("outside_domain", "mass: no")
    assert (row.ood, row.trust, row.values) == (None, "", {"gap": 5.0})
    row = make_row(entry, ("gap", "mass"), 0.05, required=False)
    assert (row.status, row.trust) == ("ok", "flagged")
    assert row_of(outcome).status == "ok"


def test_doubts_flag() -> None:
    row = row_of(replace(FINE, doubts={"gap": ["a charge"], "mass": ["too small"]}))
    assert (row.ood, row.reason, row.trust) == (True, "a charge", "flagged")
    untested = replace(FINE, p_values={}, unseen_elements={})
    assert row_of(untested).trust == "untested"
    assert row_of(replace(untested, status="unreadable")).trust == ""
