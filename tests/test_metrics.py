from __future__ import annotations

import math

import numpy as np
import pytest

from mftscreen.errors import DataError
from mftscreen.metrics import regression_metrics


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
