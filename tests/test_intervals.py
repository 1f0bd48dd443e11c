"""Intervals: what they cover, where they claim nothing, and files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule

from mftscreen.errors import DataError, ModelFileError
from mftscreen.intervals import (
    GROUP_EDGE,
    IntervalCalibration,
    conformal_quantile,
    usable_p_values,
)
from mftscreen.model.files.bundle import ModelCard, read_bundle, write_bundle
from mftscreen.ood.reference.measure import measure_novelty
from mftscreen.ood.reference.reference_set import fit_reference


def draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return predictions, residuals and p-values of a made-up property.

    Errors have long tails, grow with the prediction and are larger at low p-values.
    """
    predictions = rng.uniform(1.0, 4.0, n)
    p_values = rng.uniform(0.0, 1.0, n)
    scale = 0.1 * predictions**2 * np.where(p_values <= GROUP_EDGE, 2.0, 1.0)
    return predictions, scale * rng.standard_t(3, n), p_values


def calibrate(rng: np.random.Generator, n: int):
    predictions, residuals, p_values = draw(rng, n)
    ids = tuple(map(str, range(n)))
    return IntervalCalibration(residuals, predictions, p_values, ids)


def covered(
    calibration: IntervalCalibration, rng: np.random.Generator, coverage: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the outcome, the predictions and the p-values of unflagged candidates."""
    predictions, residuals, p_values = draw(rng, 4000)
    low, high = calibration.interval(predictions, p_values, coverage)
    true = predictions + residuals
    keep = p_values > 0.05
    assert np.isfinite(low[keep]).all()
    return ((low <= true) & (true <= high))[keep], predictions[keep], p_values[keep]


@pytest.mark.parametrize("n", [4, 9, 19, 100])
@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
def test_quantile_covers_exactly_what_exchangeable_scores_allow(
    n: int, coverage: float
) -> None:
    # of n + 1 exchangeable scores, the last is the k-th smallest with probability
    # 1 / (n + 1): the quantile is right if it is the first rank that reaches coverage
    quantile = conformal_quantile(np.arange(1.0, n + 1), coverage)
    if np.isnan(quantile):
        assert n / (n + 1) < coverage
    else:
        assert quantile / (n + 1) >= coverage - 1e-12
        assert (quantile - 1) / (n + 1) < coverage


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_coverage_of_both_groups(coverage: float) -> None:
    rng = np.random.default_rng(0)
    low, high = [], []
    for _ in range(60):
        hits, _, p_values = covered(calibrate(rng, 190), rng, coverage)
        low.append(hits[p_values <= GROUP_EDGE].mean())
        high.append(hits[p_values > GROUP_EDGE].mean())
    # the standard error of these means is below 0.01
    assert np.mean(high) == pytest.approx(coverage, abs=0.025)
    assert coverage - 0.02 < np.mean(low) < coverage + 0.05


def test_the_largest_predictions_are_covered_too() -> None:
    rng = np.random.default_rng(1)
    shares = []
    for _ in range(30):
        hits, predictions, _ = covered(calibrate(rng, 400), rng, 0.9)
        shares.append(hits[np.argsort(-predictions)[:200]].mean())
    # a constant width covers 0.70 of them
    assert np.mean(shares) > 0.86


def test_lower_p_values_are_never_narrower() -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        predictions, residuals, p_values = draw(rng, 200)
        # errors that are larger where the p-value is high
        residuals[p_values > GROUP_EDGE] *= 10.0
        calibration = IntervalCalibration(
            residuals, predictions, p_values, ("row",) * 200
        )
        low, high = calibration.interval([2.0, 2.0, 2.0], [0.06, 0.3, 0.31])
        assert high[0] - low[0] == high[1] - low[1] >= high[2] - low[2]
        assert ((low + high) / 2).tolist() == pytest.approx([2.0] * 3)


def test_groups_end_where_they_say() -> None:
    calibration = calibrate(np.random.default_rng(11), 2000)
    low, high = calibration.interval([2.0] * 3, [0.06, GROUP_EDGE, GROUP_EDGE + 1e-9])
    widths = high - low
    assert widths[0] == widths[1] > 1.4 * widths[2]


def test_more_coverage_is_wider() -> None:
    calibration = calibrate(np.random.default_rng(3), 500)
    widths = []
    for coverage in (0.5, 0.8, 0.9, 0.95):
        low, high = calibration.interval([2.0], [0.5], coverage)
        widths.append(high[0] - low[0])
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]


def test_nothing_is_claimed_for_flagged_rows() -> None:
    calibration = calibrate(np.random.default_rng(4), 500)
    p_values = [np.nan, 0.001, 0.1, np.nextafter(0.1, 1.0), 1.0]
    low, high = calibration.interval([2.0] * 5, p_values, alpha=0.1)
    assert np.isnan(low).tolist() == np.isnan(high).tolist()
    assert np.isnan(low).tolist() == [True, True, True, False, False]
    low, _ = calibration.interval([np.nan, 2.0], [0.5, 0.5])
    assert np.isnan(low).tolist() == [True, False]


def test_flagged_calibration_rows_do_not_count() -> None:
    rng = np.random.default_rng(5)
    predictions, residuals, p_values = draw(rng, 300)
    ids = tuple(map(str, range(300)))
    one = IntervalCalibration(residuals, predictions, p_values, ids)
    wild = np.where(p_values <= 0.05, 1e6, residuals)
    unknown = np.where(p_values <= 0.05, np.nan, p_values)
    other = IntervalCalibration(wild, predictions, unknown, ids)
    query = (np.linspace(0.0, 5.0, 50), np.full(50, 0.2))
    assert np.array_equal(one.interval(*query), other.interval(*query))


@pytest.mark.parametrize(("n_low", "n_high"), [(8, 50), (50, 8), (8, 8), (0, 0)])
def test_too_few_rows_of_a_group_claim_nothing(n_low: int, n_high: int) -> None:
    # 9 scores are needed for a coverage of 0.9
    n = n_low + n_high
    p_values = np.repeat([0.2, 0.7], [n_low, n_high])
    rng = np.random.default_rng(6)
    calibration = IntervalCalibration(
        rng.normal(size=n), rng.uniform(size=n), p_values, ("row",) * n
    )
    low, _ = calibration.interval([0.5, 0.5], [0.2, 0.7], 0.9)
    assert np.isnan(low).tolist() == [n_low < 9, n_high < 9]


def test_difficulty_is_the_median_of_the_nearest_rows() -> None:
    rng = np.random.default_rng(7)
    predictions = np.round(rng.uniform(1.0, 4.0, 300), 6)
    residuals = rng.normal(size=300)
    calibration = IntervalCalibration(
        residuals, predictions, np.full(300, 0.7), ("row",) * 300
    )
    queries = np.array([0.0, *rng.uniform(1.0, 4.0, 40), 9.0])

    def nearest(value: float, among: np.ndarray) -> float:
        order = np.argsort(np.abs(predictions[among] - value), kind="stable")[:25]
        return float(np.median(np.abs(residuals[among][order])))

    rows = np.arange(300)
    scores = [
        abs(residuals[k]) / nearest(predictions[k], rows[rows != k]) for k in rows
    ]
    quantile = conformal_quantile(scores, 0.8)
    expected = [quantile * nearest(value, rows) for value in queries]
    low, high = calibration.interval(queries, np.full(42, 0.9), 0.8)
    assert (high - low) / 2 == pytest.approx(expected)


def test_equal_predictions_and_perfect_ones() -> None:
    same = IntervalCalibration(
        np.linspace(-1.0, 1.0, 60), np.full(60, 2.0), np.full(60, 0.5), ("row",) * 60
    )
    low, high = same.interval([2.0], [0.5])
    assert 0.5 < (high - low)[0] / 2 < np.inf
    perfect = IntervalCalibration(
        np.zeros(60), np.linspace(1.0, 2.0, 60), np.full(60, 0.5), ("row",) * 60
    )
    assert perfect.interval([1.5], [0.5]) == (np.array([1.5]), np.array([1.5]))


def test_arrays_survive_a_model_file(tmp_path: Path) -> None:
    calibration = calibrate(np.random.default_rng(8), 100)
    path = tmp_path / "model.mft"
    card = ModelCard(name="test", strategy="ft")
    write_bundle(path, card, b"weights", None, calibration.to_arrays("gap/eV"))
    stored = read_bundle(path).calibration
    again = IntervalCalibration.from_arrays(stored, "gap/eV")
    query = (np.linspace(0.0, 5.0, 30), np.linspace(0.0, 1.0, 30))
    assert np.array_equal(
        again.interval(*query), calibration.interval(*query), equal_nan=True
    )
    assert again.ids == calibration.ids
    none = IntervalCalibration.from_arrays(stored, "gap")
    assert none.ids == ()
    assert np.isnan(none.interval(*query)).all()
    empty = none.to_arrays("gap")
    assert IntervalCalibration.from_arrays(empty, "gap").ids == ()


def test_damaged_arrays_are_named() -> None:
    arrays = calibrate(np.random.default_rng(9), 20).to_arrays("gap")
    for key, value in (
        ("gap/ids", np.arange(20)),
        ("gap/ids", arrays["gap/ids"][:-1]),
        ("gap/residuals", np.full(20, np.nan)),
        ("gap/predictions", np.array(["x"] * 20)),
        ("gap/p_values", np.zeros((20, 1))),
    ):
        with pytest.raises(ModelFileError, match="calibration set of gap is damaged"):
            IntervalCalibration.from_arrays({**arrays, key: value}, "gap")
    del arrays["gap/p_values"]
    with pytest.raises(ModelFileError, match="calibration set of gap is damaged"):
        IntervalCalibration.from_arrays(arrays, "gap")


def test_wrong_arguments_are_named() -> None:
    calibration = calibrate(np.random.default_rng(10), 20)
    for coverage in (0.0, 1.0, 90.0, float("nan")):
        with pytest.raises(DataError, match="coverage must be between 0 and 1, got"):
            calibration.interval([1.0], [0.5], coverage)
    with pytest.raises(DataError, match=r"\(2,\) predictions with p-values of shape"):
        calibration.interval([1.0, 2.0], [0.5])
    with pytest.raises(DataError, match="alpha must be between 0 and 1, got 5"):
        calibration.interval([1.0], [0.5], alpha=5)


def test_p_values_that_are_not_enough_are_left_out() -> None:
    salts = {f"a{k}": bulk("NaCl", "rocksalt", a=5.4 + 0.02 * k) for k in range(20)}
    reference, _ = fit_reference(salts.items())
    # KCl has the matrix of NaCl; a molecule has none
    structures = [
        bulk("NaCl", "rocksalt", a=5.51),
        bulk("KCl", "rocksalt", a=5.51),
        molecule("HCl"),
    ]
    compared = list(measure_novelty(structures, reference))
    assert compared[1].p_value is not None
    p_values = usable_p_values(compared)
    assert p_values[0] == compared[0].p_value
    assert np.isnan(p_values).tolist() == [False, True, True]
    assert usable_p_values([]).shape == (0,)
