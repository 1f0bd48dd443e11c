"""Laws of p-values and of the threshold that goes with them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from mftscreen.ood import OFMDensityDetector
from mftscreen.trust.conformal import (
    conformal_p_values,
    conformal_quantile,
    is_significant,
    loo_p_values,
    significance_threshold,
)

# few values, so that many scores are equal
scores = st.lists(st.integers(-9, 0).map(float), min_size=1, max_size=40)
levels = st.floats(0.0, 1.0, exclude_max=True)


@given(scores, scores)
def test_p_values_count_the_scores_that_are_at_most_as_high(
    reference: list[float], new: list[float]
) -> None:
    found = conformal_p_values(new, np.sort(reference))
    n = len(reference)
    assert found.tolist() == [
        (1 + sum(s <= score for s in reference)) / (n + 1) for score in new
    ]
    assert ((found > 0.0) & (found <= 1.0)).all()


@given(scores)
def test_p_values_rise_with_the_score(reference: list[float]) -> None:
    found = conformal_p_values(np.linspace(-10.0, 1.0, 50), np.sort(reference))
    assert (np.diff(found) >= 0.0).all()
    assert (found[0], found[-1]) == (1 / (len(reference) + 1), 1.0)


@given(scores)
def test_p_values_within_a_set_count_the_score_itself(own: list[float]) -> None:
    n = len(own)
    expected = [sum(s <= score for s in own) / n for score in own]
    assert loo_p_values(np.array(own)).tolist() == expected


@given(scores, scores, levels)
def test_threshold_separates_what_is_significant(
    reference: list[float], new: list[float], alpha: float
) -> None:
    ordered = np.sort(reference)
    low = is_significant(conformal_p_values(new, ordered), alpha)
    below = np.array(new) < significance_threshold(ordered, alpha)
    assert low.tolist() == below.tolist()


@given(st.lists(st.floats(0.0, 1.0) | st.just(np.nan)), levels, levels)
def test_what_is_significant_stays_so_at_a_higher_level(
    p_values: list[float], one: float, other: float
) -> None:
    strict, loose = (is_significant(p_values, a) for a in sorted((one, other)))
    assert (strict <= loose).all()


def test_p_values_fall_with_the_distance_from_the_reference_set() -> None:
    rng = np.random.default_rng(0)
    reference, direction = rng.normal(size=(60, 4)), rng.normal(size=4)
    query = np.linspace(0.0, 20.0, 80)[:, None] * direction
    found = OFMDensityDetector().fit(reference).p_value(query)
    distances = np.sort(cdist(query, reference), axis=1)[:, :2].mean(axis=1)
    assert (np.diff(found[np.argsort(distances)]) <= 0.0).all()
    assert found[0] > 0.5
    assert found[-1] == 1 / 61


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
