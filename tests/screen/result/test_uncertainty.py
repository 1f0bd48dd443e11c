"""Whether intervals hold, which rows have one, and ensembles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import ArrayLike

from mftscreen.errors import DataError
from mftscreen.screen.result.rows import ScreenRow, make_row
from mftscreen.screen.result.uncertainty import (
    add_intervals,
    check_intervals,
    combine_calibrations,
    judge_candidates,
    withhold,
)
from mftscreen.screen.work.journal import JournalRow
from mftscreen.screen.work.outcome import Outcome, Relaxation
from mftscreen.trust.intervals import IntervalCalibration
from mftscreen.trust.neighborhood import Surroundings


def calibration(
    rng: np.random.Generator, n: int, *, known: bool = True
) -> IntervalCalibration:
    """Return calibration rows, at distances below 1 from the training rows if known."""
    distances = rng.random(n) if known else np.full(n, np.nan)
    return IntervalCalibration(
        rng.normal(size=n), rng.uniform(1.0, 2.0, n), rng.uniform(0.06, 1.0, n),
        Surroundings(distances, np.ones(n)), tuple(map(str, range(n))),
    )  # fmt: skip


def candidates(distances: ArrayLike, p_values: ArrayLike) -> list[ScreenRow]:
    return [
        ScreenRow(
            id=str(k), formula="", values={"gap": 1.5}, spreads={}, ood_p_value=p,
            ood=p <= 0.05, low_dimensional=False, status="ok", reason="",
            around={"gap": Surroundings(d, 1.0)},
        )
        for k, (d, p) in enumerate(zip(distances, p_values, strict=True))
    ]  # fmt: skip


def test_like_candidates_have_intervals_as_claimed() -> None:
    rng = np.random.default_rng(4)
    for known, n in ((True, 190), (False, 190)):
        found = candidates(rng.random(900), rng.uniform(0.06, 1.0, 900))
        rows = calibration(rng, n, known=known)
        add_intervals(found, "gap", rows, (), 0.9, 0.05)
        check = check_intervals(rows, "gap", found)
        assert check.message.startswith("as claimed for all candidates together")
        assert f"{n} calibration rows, 900 candidates" in check.details


@pytest.mark.parametrize("known", [True, False])
def test_candidates_further_away_are_warned_of(known: bool) -> None:
    rng = np.random.default_rng(1)
    rows = calibration(rng, 400, known=known)
    for closer, words in (
        (rng.random(500) ** 1.5, "perhaps too narrow: the candidates lie further"),
        (1.0 - rng.random(500) ** 1.5, "as claimed"),
    ):
        found = candidates(1.0 - closer, closer)
        add_intervals(found, "gap", rows, (), 0.9, 0.05)
        assert check_intervals(rows, "gap", found).message.startswith(words)


def test_without_any_interval_the_reason_is_told() -> None:
    rng = np.random.default_rng(2)
    rows, found = calibration(rng, 120), candidates(rng.random(50), rng.random(50))
    add_intervals(found, "gap", rows, (), 0.995, 0.05)
    assert check_intervals(rows, "gap", found, 0.995).message == (
        "none (mostly: 120 calibration rows are too few for 99.5 %)"
    )


def test_few_rows_of_either_kind_are_said() -> None:
    rng = np.random.default_rng(2)
    found = candidates(rng.random(50), rng.uniform(0.1, 1.0, 50))
    add_intervals(found, "gap", calibration(rng, 200), (), 0.9, 0.05)
    for n, few in ((19, "calibration rows"), (300, "candidates")):
        rows = calibration(rng, n)
        check = check_intervals(rows, "gap", found[: 19 if few == "candidates" else 50])
        assert check.message == f"too few {few} to say whether they hold"
        assert f"{n} calibration rows are usable" in check.details
    weak = check_intervals(calibration(rng, 36), "gap", found)
    assert weak.message == (
        "made from 36 calibration rows only, so that what they hold may be off by 10 % "
        "of the candidates"
    )


def test_every_missing_interval_has_a_reason() -> None:
    rng = np.random.default_rng(3)
    rows = candidates([0.5] * 4, [0.5, 0.01, 0.5, 0.5])
    stuck = Relaxation(converged=False, steps=9, fmax=1.0, volume_change=0.0)
    rows[2] = replace(rows[2], relaxation=stuck)
    rows[3] = replace(rows[3], ood=None)
    (failed,) = candidates([0.5], [0.5])
    failed = replace(failed, status="no_overlap", values={}, ood=None)
    add_intervals([*rows, failed], "gap", calibration(rng, 200), (), 0.9, 0.05)
    assert list(rows[0].intervals) == ["gap"]
    assert [row.no_intervals.get("gap") for row in rows] == [
        None,
        "out of distribution",
        "not relaxed to the end",
        "nothing tells whether it is like the training set",
    ]
    assert all(row.errors["gap"] > 0.0 for row in rows)
    assert failed.errors == failed.no_intervals == {}
    for low, beyond in ((0.2, False), (1.2, True)):
        (row,) = candidates([0.5], [0.5])  # 1.5, with an expected error of 0.8
        add_intervals([row], "gap", calibration(rng, 200), (low, 9.0), 0.9, 0.05)
        why = row.no_intervals.get("gap", "")
        assert (
            why.endswith("beyond the ends of the labels learned from (1.2 to 9)")
            == beyond
        )
    for n, why in (
        (0, "the model knows of no errors"),
        (12, "12 calibration rows are too few for 99 %"),
    ):
        (row,) = candidates([0.5], [0.5])
        add_intervals([row], "gap", calibration(rng, n), (), 0.99, 0.05)
        assert row.intervals == {}
        assert row.no_intervals == {"gap": why}


def member(ids: str, predictions: list[float], p: list[float]) -> IntervalCalibration:
    """Return the calibration set of a model; the target of row k is 10 k."""
    targets = 10.0 * np.array([int(name) for name in ids])
    around = Surroundings(np.array(predictions) / 10.0, np.ones(len(ids)))
    return IntervalCalibration(
        targets - predictions, np.array(predictions), np.array(p), around, tuple(ids)
    )


def test_calibration_of_an_ensemble_is_that_of_its_mean() -> None:
    first = member("123", [11.0, 22.0, 33.0], [0.1, 0.5, 0.9])
    second = member("342", [31.0, 40.0, 26.0], [0.8, 0.5, np.nan])
    both = combine_calibrations([first, second])
    assert both.ids == ("2", "3")
    assert both.predictions.tolist() == [24.0, 32.0]
    assert both.residuals.tolist() == [-4.0, -2.0]
    # the smallest p-value; unknown for one model is unknown
    assert np.array_equal(both.p_values, [np.nan, 0.8], equal_nan=True)
    assert both.around.distance == pytest.approx(
        [(2.2 * 2.6) ** 0.5, (3.3 * 3.1) ** 0.5]
    )
    nothing = combine_calibrations([first, member("4", [1.0], [0.5])])
    assert nothing.ids == ()
    assert np.isnan(nothing.interval([1.0], Surroundings([0.5], [1.0]))).all()


def test_rows_that_share_an_id_all_count() -> None:
    one = member("1122", [11.0, 12.0, 21.0, 23.0], [0.1, 0.2, 0.3, 0.4])
    assert combine_calibrations([one]) is one
    other = member("2112", [25.0, 15.0, 14.0, 24.0], [0.5] * 4)
    both = combine_calibrations([one, other])
    assert both.ids == ("1", "1", "2", "2")
    assert both.predictions.tolist() == [13.0, 13.0, 23.0, 23.5]


def test_intervals_of_an_ensemble_cover_its_mean() -> None:
    rng = np.random.default_rng(3)
    shares = []
    for _ in range(40):
        truth = rng.uniform(1.0, 4.0, 1200)
        p_values, distances = rng.uniform(0.4, 1.0, (2, 1200))
        common = rng.normal(scale=0.2, size=1200)
        models = truth + common + rng.normal(scale=0.2, size=(3, 1200))
        ids = tuple(map(str, range(200)))
        calibration = combine_calibrations(
            [
                IntervalCalibration(
                    truth[:200] - model[:200],
                    model[:200],
                    p_values[:200],
                    Surroundings(distances[:200], np.ones(200)),
                    ids,
                )
                for model in models
            ]
        )
        mean = models[:, 200:].mean(axis=0)
        around = Surroundings(distances[200:], np.ones(1000))
        low, high = calibration.interval(mean, around, 0.9)
        shares.append(((low <= truth[200:]) & (truth[200:] <= high)).mean())
    assert np.mean(shares) == pytest.approx(0.9, abs=0.02)


def test_models_of_different_properties_are_no_ensemble() -> None:
    first = member("12", [11.0, 22.0], [0.5, 0.5])
    one = np.ones(1)
    other = IntervalCalibration(0 * one, 7 * one, one, Surroundings(one, one), ("2",))
    with pytest.raises(DataError, match=r"row 2 has the targets \[20.0, 7.0\]"):
        combine_calibrations([first, other])


def test_nothing_is_claimed_where_most_are_unlike() -> None:
    rows = calibration(np.random.default_rng(0), 200)
    why = "most candidates are unlike the training set"
    for n_flagged, n_beyond, expected in ((20, 0, ""), (12, 9, why), (21, 0, why)):
        p_values = [0.5] * (40 - n_flagged) + [0.01] * n_flagged
        found = candidates([0.5] * 40, p_values)
        for row in found[:n_beyond]:
            row.values["gap"] = 7.0
        add_intervals(found, "gap", rows, (0.0, 5.0), 0.9, 0.05)
        assert judge_candidates(found, "gap") == expected
    assert judge_candidates(found[21:], "gap") == ""  # too few to tell
    withhold(found, "gap", why)
    assert not any(row.intervals for row in found)
    assert found[0].no_intervals == {"gap": why}
    assert found[-1].no_intervals == {"gap": "out of distribution"}


def test_refused_rows_get_no_interval() -> None:
    outcome = Outcome(
        values={"gap": (1.0,)},
        p_values={"gap": 0.5},
        around={"gap": Surroundings(0.5, 1.0)},
    )
    refused = replace(outcome, refused={"mass": "no"})
    rows = [
        make_row(JournalRow(name, each, "", None), ("gap", "mass"), 0.05)
        for name, each in (("a", outcome), ("b", refused))
    ]
    add_intervals(
        rows, "gap", calibration(np.random.default_rng(0), 200), (), 0.9, 0.05
    )
    assert [len(row.intervals) for row in rows] == [1, 0]
