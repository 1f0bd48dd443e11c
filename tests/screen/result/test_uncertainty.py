"""The exchangeability check and ensembles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kstwobign

from mftscreen.errors import DataError
from mftscreen.intervals import IntervalCalibration
from mftscreen.screen.result.rows import make_row
from mftscreen.screen.result.uncertainty import (
    add_intervals,
    check_exchangeable,
    combine_calibrations,
)
from mftscreen.screen.work.journal import JournalRow
from mftscreen.screen.work.outcome import Outcome


def test_equal_distributions_are_rarely_called_different() -> None:
    rng = np.random.default_rng(0)
    checks = [check_exchangeable(rng.random(190), rng.random(900)) for _ in range(300)]
    # 3 of 300 are expected at the level of 0.01; ten or more have a chance of 0.001
    assert sum(c.p_value <= 0.01 for c in checks) < 10
    assert 0.3 < np.median([c.p_value for c in checks]) < 0.7
    usual = next(c for c in checks if c.p_value > 0.01)
    assert usual.message.startswith("as claimed for all candidates together")
    assert "190 calibration rows, 900 candidates" in usual.details


def test_direction_of_a_difference_is_named() -> None:
    rng = np.random.default_rng(1)
    further = check_exchangeable(rng.random(190), rng.random(500) ** 3)
    closer = check_exchangeable(rng.random(190), 1.0 - rng.random(500) ** 3)
    for check, words in (
        (further, "probably too narrow: the candidates lie further from"),
        (closer, "probably wider than need be: the candidates lie closer to"),
    ):
        assert check.p_value < 1e-6
        assert check.message.startswith(words)


def test_statistic_is_the_largest_distance_of_the_two_distributions() -> None:
    rows = np.repeat([0.1, 0.2, 0.3, 0.4], 10)
    check = check_exchangeable(rows, np.repeat([0.35, 0.36, 0.9, np.nan], 10))
    assert check.statistic == pytest.approx(0.75)
    rows, candidates = np.arange(1000) / 1000, (np.arange(2000) / 2000) ** 1.1
    check = check_exchangeable(rows, candidates)
    assert check.p_value == pytest.approx(
        kstwobign.sf(check.statistic * np.sqrt(2000 / 3)), rel=0.1
    )


@pytest.mark.parametrize(("rows", "candidates"), [([], [0.5] * 50), ([0.5], [np.nan])])
def test_nothing_to_compare(rows: list, candidates: list) -> None:
    check = check_exchangeable(rows, candidates)
    assert np.isnan(check.statistic)
    assert np.isnan(check.p_value)
    assert check.message == "too few calibration rows to say whether they hold"


def test_few_candidates_tell_nothing_and_very_many_do() -> None:
    rng = np.random.default_rng(2)
    few = check_exchangeable(rng.random(190), [0.5, 0.01])
    assert np.isnan(few.p_value)
    assert few.message == "too few candidates to say whether they hold"
    assert few.details.startswith("190 calibration rows and 2 candidates")
    assert check_exchangeable(rng.random(190), rng.random(1_000_000)).p_value > 0.001


def member(ids: str, predictions: list[float], p: list[float]) -> IntervalCalibration:
    """Return the calibration set of a model; the target of row k is 10 k."""
    targets = 10.0 * np.array([int(name) for name in ids])
    return IntervalCalibration(
        targets - predictions, np.array(predictions), np.array(p), tuple(ids)
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
    nothing = combine_calibrations([first, member("4", [1.0], [0.5])])
    assert nothing.ids == ()
    assert np.isnan(nothing.interval([1.0], [0.5])).all()


def test_intervals_of_an_ensemble_cover_its_mean() -> None:
    rng = np.random.default_rng(3)
    shares = []
    for _ in range(40):
        truth = rng.uniform(1.0, 4.0, 1200)
        p_values = rng.uniform(0.4, 1.0, 1200)
        common = rng.normal(scale=0.2, size=1200)
        models = truth + common + rng.normal(scale=0.2, size=(3, 1200))
        ids = tuple(map(str, range(200)))
        calibration = combine_calibrations(
            [
                IntervalCalibration(
                    truth[:200] - model[:200], model[:200], p_values[:200], ids
                )
                for model in models
            ]
        )
        mean = models[:, 200:].mean(axis=0)
        low, high = calibration.interval(mean, p_values[200:], 0.9)
        shares.append(((low <= truth[200:]) & (truth[200:] <= high)).mean())
    assert np.mean(shares) == pytest.approx(0.9, abs=0.02)


def test_models_of_different_properties_are_no_ensemble() -> None:
    first = member("12", [11.0, 22.0], [0.5, 0.5])
    other = IntervalCalibration(
        np.array([0.0]), np.array([7.0]), np.array([0.5]), ("2",)
    )
    with pytest.raises(DataError, match=r"row 2 has the targets \[20.0, 7.0\]"):
        combine_calibrations([first, other])


def test_failed_rows_get_no_interval() -> None:
    rng = np.random.default_rng(0)
    calibration = IntervalCalibration(
        rng.normal(size=200), np.full(200, 1.0), rng.random(200),
        tuple(map(str, range(200))),
    )  # fmt: skip
    outcome = Outcome(values={"gap": (1.0,)}, p_values={"gap": 0.5})
    refused = replace(outcome, refused={"mass": "no"})
    rows = [
        make_row(JournalRow(name, each, "", None), ("gap", "mass"), 0.05)
        for name, each in (("a", outcome), ("b", refused))
    ]
    add_intervals(rows, "gap", calibration, 0.9, 0.05)
    assert [len(row.intervals) for row in rows] == [1, 0]
