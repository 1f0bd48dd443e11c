"""Intervals: what they cover, where they claim nothing, and files."""

from __future__ import annotations

from pathlib import Path

import crepes
import numpy as np
import pytest
from scipy.stats import spearmanr

from mftscreen.errors import DataError, ModelFileError
from mftscreen.model.files.bundle import ModelCard, read_bundle, write_bundle
from mftscreen.trust.intervals import IntervalCalibration, Scale
from mftscreen.trust.neighborhood import Surroundings

UNKNOWN = Surroundings([np.nan], [np.nan])


def draw(
    rng: np.random.Generator, n: int, low: float = 0.1
) -> tuple[np.ndarray, np.ndarray, Surroundings]:
    """Return predictions, residuals and surroundings of a made-up property.

    Errors have long tails, grow with the prediction, with the distance and with the
    spread of the neighbours' labels.
    """
    predictions = rng.uniform(1.0, 4.0, n)
    around = Surroundings(rng.uniform(low, 1.0, n), rng.uniform(0.1, 1.0, n))
    scale = 0.1 * np.exp(0.4 * predictions) * around.distance * around.spread**0.5
    return predictions, scale * rng.standard_t(3, n), around


def calibrate(rng: np.random.Generator, n: int) -> IntervalCalibration:
    predictions, residuals, around = draw(rng, n)
    ids = tuple(map(str, range(n)))
    return IntervalCalibration(residuals, predictions, np.ones(n), around, ids)


def covered(
    calibration: IntervalCalibration, rng: np.random.Generator, coverage: float
) -> tuple[np.ndarray, np.ndarray, Surroundings]:
    """Return which candidates lie within, their predictions and surroundings."""
    predictions, residuals, around = draw(rng, 4000)
    low, high = calibration.interval(predictions, around, coverage)
    true = predictions + residuals
    return (low <= true) & (true <= high), predictions, around


@pytest.mark.parametrize("n", [100, 400])
@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_coverage_wherever_candidates_lie(n: int, coverage: float) -> None:
    rng = np.random.default_rng(0)
    every, largest, furthest = [], [], []
    for _ in range(40):
        hits, predictions, around = covered(calibrate(rng, n), rng, coverage)
        every.append(hits.mean())
        largest.append(hits[np.argsort(-predictions)[:400]].mean())
        furthest.append(hits[np.argsort(-around.distance)[:400]].mean())
    assert coverage - 0.02 < np.mean(every) < coverage + 0.03
    # of constant width, intervals of 90 % would hold 0.72 of the largest
    assert np.mean(largest) > coverage - 0.05
    assert np.mean(furthest) > coverage - 0.05


def test_expected_errors_sort_errors_and_have_their_size() -> None:
    rng = np.random.default_rng(1)
    calibration = calibrate(rng, 500)
    predictions, residuals, around = draw(rng, 4000)
    expected = calibration.expected_errors(predictions, around)
    assert spearmanr(expected, np.abs(residuals)).statistic > 0.45
    assert expected.mean() == pytest.approx(np.abs(residuals).mean(), rel=0.15)


def test_equal_scores_are_those_of_crepes() -> None:
    rng = np.random.default_rng(2)
    calibration = calibrate(rng, 150)  # too few for quantiles by distance
    predictions, _, around = draw(rng, 50)
    ours = calibration.interval(predictions, around, 0.9)
    difficulty = calibration._model(predictions, around)
    oracle = crepes.ConformalRegressor()
    scores = calibration._scores
    oracle.fit(scores, sigmas=np.ones(len(scores)))
    theirs = oracle.predict_int(predictions, sigmas=difficulty, confidence=0.9)
    assert np.allclose(np.transpose(ours), theirs)


def test_further_away_is_never_narrower() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        predictions, residuals, around = draw(rng, 300)
        # errors that are larger near the training rows
        residuals[around.distance < 0.4] *= 10.0
        calibration = IntervalCalibration(
            residuals, predictions, np.ones(300), around, ("row",) * 300
        )
        distances = np.array([0.0, 0.1, 0.3, 0.6, 0.9, 1.5, 10.0, np.nan])
        near = Surroundings(distances, np.full(8, 0.4))
        low, high = calibration.interval(np.full(8, 2.0), near)
        widths = np.round(high - low, 9)
        assert (np.diff(widths[:-1]) >= 0.0).all()
        assert ((low + high) / 2).tolist() == pytest.approx([2.0] * 8)
        assert np.isfinite(widths).all()


def test_more_coverage_is_wider() -> None:
    calibration = calibrate(np.random.default_rng(3), 500)
    widths = []
    for coverage in (0.5, 0.8, 0.9, 0.95):
        low, high = calibration.interval([2.0], Surroundings([0.5], [0.5]), coverage)
        widths.append(high[0] - low[0])
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]


def test_flagged_calibration_rows_do_not_count_for_quantiles() -> None:
    rng = np.random.default_rng(5)
    predictions, residuals, around = draw(rng, 300)
    p_values = rng.uniform(size=300)
    ids = tuple(map(str, range(300)))
    one = IntervalCalibration(residuals, predictions, p_values, around, ids)
    assert one.n_usable(0.05) == (p_values > 0.05).sum()
    # errors of the flagged are half as expected: not theirs is the quantile
    flagged = p_values <= 0.05
    other = IntervalCalibration(
        residuals, predictions, np.where(flagged, np.nan, p_values), around, ids
    )
    query = (np.linspace(0.5, 5.0, 50), Surroundings(np.full(50, 0.3), np.full(50, 1)))
    assert np.array_equal(one.interval(*query), other.interval(*query))


def test_without_p_values_descriptors_say_who_is_flagged() -> None:
    rng = np.random.default_rng(6)
    predictions, residuals, around = draw(rng, 199)
    calibration = IntervalCalibration(
        residuals, predictions, np.full(199, np.nan), around, ("row",) * 199
    )
    p_values = calibration.descriptor_p_values([0.0, *around.distance, 2.0, np.nan])
    assert p_values[0] == 1.0
    assert p_values[-2] == pytest.approx(1 / 200)
    assert np.isnan(p_values[-1])
    ranks = np.argsort(np.argsort(-around.distance)) + 2
    assert p_values[1:-2] == pytest.approx(ranks / 200)
    assert calibration.n_usable(0.05) == (p_values[1:-2] > 0.05).sum()
    few = calibrate(rng, 18)
    assert np.isnan(few.descriptor_p_values([0.0, 1e6])).all()


@pytest.mark.parametrize("n", [0, 1, 8, 9])
def test_too_few_rows_claim_nothing(n: int) -> None:
    # 9 scores are needed for a coverage of 0.9
    low, _ = calibrate(np.random.default_rng(6), n).interval(
        [2.0], Surroundings([0.5], [0.5])
    )
    assert np.isnan(low).tolist() == [n < 9]


def test_rows_of_earlier_versions_have_no_surroundings() -> None:
    rng = np.random.default_rng(7)
    predictions, residuals, _ = draw(rng, 400)
    nowhere = Surroundings(*np.full((2, 400), np.nan))
    calibration = IntervalCalibration(
        residuals, predictions, np.ones(400), nowhere, ("row",) * 400
    )
    arrays = calibration.to_arrays("gap")
    for key in ("distances", "spreads", "scale"):
        del arrays[f"gap/{key}"]
    again = IntervalCalibration.from_arrays(arrays, "gap")
    hits, predictions, _ = covered(again, rng, 0.9)
    assert hits.mean() == pytest.approx(0.9, abs=0.03)
    low, high = again.interval(predictions[:9], Surroundings(*np.full((2, 9), np.nan)))
    assert high - low == pytest.approx((high - low)[0])
    assert np.isnan(again.descriptor_p_values([0.5])).all()
    assert again.n_usable() == 400


@pytest.mark.parametrize("scale", ["identity", "log10"])
def test_equal_predictions_and_perfect_ones(scale: Scale) -> None:
    around = Surroundings(np.full(60, 0.2), np.full(60, 0.1))
    same = IntervalCalibration(
        np.linspace(-1.0, 1.0, 60), np.full(60, 2.0), np.ones(60), around,
        ("row",) * 60, scale,
    )  # fmt: skip
    low, high = same.interval([2.0], Surroundings([0.2], [0.1]))
    assert 0.5 < (high - low)[0] / 2 < np.inf
    perfect = IntervalCalibration(
        np.zeros(60), np.linspace(1.0, 2.0, 60), np.ones(60), around, ("row",) * 60,
        scale,
    )  # fmt: skip
    low, high = perfect.interval([1.5], Surroundings([0.2], [0.1]))
    assert low == pytest.approx(1.5)
    assert high == pytest.approx(1.5)


def test_errors_of_logarithms_are_factors() -> None:
    rng = np.random.default_rng(8)
    predictions = 10.0 ** rng.uniform(0.0, 3.0, 900)
    factors = 10.0 ** rng.normal(scale=0.1, size=900)
    around = Surroundings(np.full(900, 0.2), np.full(900, 0.1))
    calibration = IntervalCalibration(
        predictions * (factors - 1.0), predictions, np.ones(900), around,
        ("row",) * 900, "log10",
    )  # fmt: skip
    query = Surroundings(np.full(3, 0.2), np.full(3, 0.1))
    low, high = calibration.interval([1.0, 100.0, -1.0], query)
    # 1.64 standard deviations of the logarithm
    assert high[:2] / [1.0, 100.0] == pytest.approx([10**0.164] * 2, rel=0.1)
    assert low[:2] / [1.0, 100.0] == pytest.approx([10**-0.164] * 2, rel=0.1)
    errors = calibration.expected_errors([1.0, 100.0, -1.0], query)
    assert errors[1] / errors[0] == pytest.approx(100.0, rel=0.15)
    assert np.isnan([low[2], high[2], errors[2]]).all()


def test_a_target_much_smaller_than_its_prediction_has_a_logarithm() -> None:
    # the residual of the first is its prediction, to the last digit
    targets = np.r_[1e-20, 1e-15, 10.0 ** np.linspace(-2.0, 2.0, 58)]
    predictions = np.r_[1e-2, 1e-2, 1.1 * targets[2:]]
    around = Surroundings(np.full(60, 0.2), np.full(60, 0.1))
    made = IntervalCalibration(
        targets - predictions, predictions, np.ones(60), around, ("row",) * 60, "log10"
    )
    assert made.predictions[0] + made.residuals[0] == 0.0
    again = IntervalCalibration.from_arrays(made.to_arrays("sigma"), "sigma")
    for known in (made, again):
        assert known._errors[0] == pytest.approx(16.3, abs=0.1)
        assert known._errors[1] == pytest.approx(13.0, abs=0.1)
        assert known._errors[2:] == pytest.approx(np.log10(1.1))
        low, high = known.interval([1.0], Surroundings([0.2], [0.1]))
        assert 0.0 < low[0] < 1.0 < high[0]
    with pytest.raises(DataError, match="has no logarithm"):
        IntervalCalibration(
            np.full(60, -1.001), np.ones(60), np.ones(60), around, ("row",) * 60,
            "log10",
        )  # fmt: skip


def test_arrays_survive_a_model_file(tmp_path: Path) -> None:
    calibration = calibrate(np.random.default_rng(8), 300)
    path = tmp_path / "model.mft"
    card = ModelCard(name="test", strategy="ft")
    write_bundle(path, card, b"weights", None, calibration.to_arrays("gap/eV"))
    stored = read_bundle(path).calibration
    again = IntervalCalibration.from_arrays(stored, "gap/eV")
    query = (np.linspace(0.0, 5.0, 30), Surroundings(*np.full((2, 30), 0.4)))
    assert np.array_equal(again.interval(*query), calibration.interval(*query))
    assert again.ids == calibration.ids
    none = IntervalCalibration.from_arrays(stored, "gap")
    assert none.ids == ()
    assert np.isnan(none.interval(*query)).all()
    assert np.isnan(none.expected_errors(*query)).all()
    assert np.isnan(none.descriptor_p_values([0.3])).all()
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
        ("gap/distances", np.zeros(19)),
        ("gap/distances", np.full(20, -1.0)),
        ("gap/spreads", np.full(20, np.inf)),
        ("gap/scale", np.array("sqrt")),
    ):
        with pytest.raises(ModelFileError, match="calibration set of gap is damaged"):
            IntervalCalibration.from_arrays({**arrays, key: value}, "gap")
    negative = {"gap/predictions": -np.ones(20), "gap/scale": np.array("log10")}
    with pytest.raises(ModelFileError, match="has no logarithm"):
        IntervalCalibration.from_arrays(arrays | negative, "gap")
    del arrays["gap/p_values"]
    with pytest.raises(ModelFileError, match="calibration set of gap is damaged"):
        IntervalCalibration.from_arrays(arrays, "gap")


def test_wrong_arguments_are_named() -> None:
    calibration = calibrate(np.random.default_rng(10), 20)
    for coverage in (0.0, 1.0, 90.0, float("nan")):
        with pytest.raises(DataError, match="coverage must be between 0 and 1, got"):
            calibration.interval([1.0], UNKNOWN, coverage)
    with pytest.raises(DataError, match=r"\(2,\) predictions in surroundings of other"):
        calibration.interval([1.0, 2.0], UNKNOWN)
    with pytest.raises(DataError, match="alpha must be between 0 and 1, got 5"):
        calibration.interval([1.0], UNKNOWN, alpha=5)


def test_a_third_that_is_too_small_for_the_coverage_does_not_count() -> None:
    rng = np.random.default_rng(0)
    for n in (449, 450, 597):  # of 450 on, thirds count; 199 rows of one are needed
        predictions, _, around = draw(rng, 20)
        low, high = calibrate(rng, n).interval(predictions, around, 0.995)
        assert (low < high).all()


def test_where_a_third_is_empty_others_keep_their_quantiles() -> None:
    far_covered = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        far = rng.random(2000) < 0.3
        around = Surroundings(np.where(far, 1.0, 0.5), np.ones(2000))
        residuals = np.where(far, rng.standard_t(1.5, 2000), rng.normal(size=2000))
        ids = tuple(map(str, range(1000)))
        parts = (residuals[:1000], np.ones(1000), np.ones(1000))
        known = Surroundings(around.distance[:1000], around.spread[:1000])
        made = IntervalCalibration(*parts, known, ids)
        new = Surroundings(around.distance[1000:], around.spread[1000:])
        low, high = made.interval(np.ones(1000), new, 0.9)
        hits = (low <= 1.0 + residuals[1000:]) & (1.0 + residuals[1000:] <= high)
        far_covered.append(hits[far[1000:]].mean())
    assert 0.87 < np.mean(far_covered) < 0.95


def test_few_far_rows_leave_the_coverage_of_all_as_it_is() -> None:
    covered_by = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        place = rng.choice(3, size=2450, p=[0.45, 0.45, 0.1])
        residuals = rng.normal(size=2450) * np.where(place == 2, 10.0, 1.0)
        distances = np.array([0.1, 0.5, 1.0])[place]
        known = Surroundings(distances[:450], np.ones(450))
        ids = tuple(map(str, range(450)))
        parts = (residuals[:450], np.ones(450), np.ones(450))
        made = IntervalCalibration(*parts, known, ids)
        new = Surroundings(distances[450:], np.ones(2000))
        low, high = made.interval(np.ones(2000), new, 0.99)
        true = 1.0 + residuals[450:]
        covered_by.append(((low <= true) & (true <= high)).mean())
    assert np.mean(covered_by) > 0.989
