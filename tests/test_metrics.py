from __future__ import annotations

import math

import numpy as np
import pytest

from mftscreen.errors import DataError
from mftscreen.metrics import (
    classification_metrics,
    main_error,
    regression_metrics,
)


def test_values_by_hand() -> None:
    metrics = regression_metrics([1.0, 2.0, 3.0, 8.0], [1.0, 3.0, 2.0, 4.0])
    assert metrics == {
        "n": 4.0,
        "mae": 1.5,
        "median_ae": 1.0,
        "rmse": pytest.approx(math.sqrt(18 / 4)),
        "r2": pytest.approx(1 - 18 / 5),
        "spearman": pytest.approx(0.8),
    }


def test_perfect_prediction() -> None:
    metrics = regression_metrics([3.0, 1.0, 2.0], [3.0, 1.0, 2.0])
    assert metrics["mae"] == metrics["rmse"] == 0.0
    assert metrics["r2"] == 1.0
    assert metrics["spearman"] == pytest.approx(1.0)


def test_spearman_sees_order_only_and_shares_ranks_of_ties() -> None:
    target = [1.0, 2.0, 2.0, 3.0]
    assert regression_metrics([0, 10, 10, 1e6], target)["spearman"] == (
        pytest.approx(1.0)
    )
    # Pearson's correlation of the ranks 1, 2, 3, 4 and 1, 2.5, 2.5, 4
    assert regression_metrics([0, 1, 2, 3], target)["spearman"] == (
        pytest.approx(4.5 / math.sqrt(5 * 4.5))
    )


# the mean of three times 0.1 is not 0.1 in floating point
@pytest.mark.parametrize("target", [[2.0], [2.0, 2.0], [0.1, 0.1, 0.1]])
def test_equal_targets_have_no_r2_and_no_order(target: list[float]) -> None:
    metrics = regression_metrics(np.arange(len(target)), target)
    assert math.isnan(metrics["r2"])
    assert math.isnan(metrics["spearman"])
    assert metrics["mae"] > 0


def test_equal_predictions_have_no_order_but_an_r2() -> None:
    metrics = regression_metrics([2.0, 2.0], [1.0, 3.0])
    assert metrics["r2"] == 0.0
    assert math.isnan(metrics["spearman"])


@pytest.mark.parametrize(
    ("predicted", "target", "message"),
    [
        ([1.0], [1.0, 2.0], "predictions for"),
        ([], [], "predictions for"),
        ([[1.0]], [[1.0]], "predictions for"),
        ([1.0, np.nan], [1.0, 2.0], "not finite"),
        ([1.0, 2.0], [1.0, np.inf], "not finite"),
    ],
)
def test_unusable_input_is_refused(
    predicted: list[float], target: list[float], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        regression_metrics(predicted, target)


def test_probabilities_against_scikit_learn() -> None:
    from sklearn import metrics

    rng = np.random.default_rng(0)
    truth = rng.uniform(size=300) < 0.3
    p = np.clip(0.3 + 0.2 * truth + 0.2 * rng.normal(size=300), 0.01, 0.99).round(2)
    found = classification_metrics(p, truth)
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(truth, p))
    assert found["brier"] == pytest.approx(metrics.brier_score_loss(truth, p))
    assert found["log_loss"] == pytest.approx(metrics.log_loss(truth, p))
    balanced = metrics.balanced_accuracy_score(truth, p > 0.5)
    assert found["balanced_accuracy"] == pytest.approx(balanced)
    assert found["share"] == truth.mean()


def test_probabilities_that_hold_are_calibrated_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(size=20_000)
    truth = rng.uniform(size=20_000) < p
    assert classification_metrics(p, truth)["calibration_error"] < 0.015
    assert classification_metrics(p**3, truth)["calibration_error"] > 0.2


def test_targets_of_one_kind_have_no_auc() -> None:
    found = classification_metrics([0.2, 0.9], [1, 1])
    assert np.isnan([found["auc"], found["balanced_accuracy"]]).all()
    assert np.isfinite(found["log_loss"])
    assert main_error(found) == "log_loss"
    assert main_error(regression_metrics([1.0], [1.0])) == "mae"


@pytest.mark.parametrize(
    ("p", "t"), [([1.2], [1]), ([np.nan], [1]), ([0.5], [2]), ([], []), ([0.5], [1, 0])]
)
def test_what_is_no_probability_is_refused(p: list[float], t: list[int]) -> None:
    with pytest.raises(DataError):
        classification_metrics(p, t)
