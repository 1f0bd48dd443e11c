"""What errors are expected of."""

from __future__ import annotations

import numpy as np
import pytest

from mftscreen.trust.error_model import ErrorModel
from mftscreen.trust.neighborhood import Surroundings


def draw(n: int, seed: int = 0) -> tuple[np.ndarray, Surroundings, np.ndarray]:
    """Return values, surroundings and errors that follow the law of the model."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(-1.0, 1.0, n)
    around = Surroundings(rng.uniform(0.1, 1.0, n), rng.uniform(0.1, 1.0, n))
    noise = np.exp(rng.normal(scale=0.3, size=n))
    return values, around, np.exp(values) * around.distance * around.spread**0.5 * noise


def test_the_law_is_found_again() -> None:
    values, around, errors = draw(2000)
    model = ErrorModel.fit(values, around, errors)
    assert model.weights[1:] / model.scale == pytest.approx([1.0, 1.0, 0.5], abs=0.1)
    assert model(values, around).mean() == pytest.approx(errors.mean(), rel=0.05)


def test_farther_and_more_diverse_is_never_better() -> None:
    values, around, errors = draw(500)
    model = ErrorModel.fit(values, around, 1.0 / errors)
    assert model.weights[1] == model.weights[3] == 0.0
    assert model.weights[2] < 0.0


def test_what_lies_outside_counts_as_the_outermost_but_for_the_distance() -> None:
    values, around, errors = draw(500)
    model = ErrorModel.fit(values, around, errors)

    def at(value: float, distance: float, spread: float) -> float:
        query = Surroundings(np.array([distance]), np.array([spread]))
        return float(model(np.array([value]), query)[0])

    low, high = values.min(), values.max()
    assert at(5.0, 0.5, 0.5) == at(high, 0.5, 0.5) > at(low, 0.5, 0.5)
    assert at(-5.0, 0.5, 0.5) == at(low, 0.5, 0.5)
    assert at(0.0, 20.0, 0.5) > at(0.0, 10.0, 0.5) > at(0.0, 1.0, 0.5)
    assert at(0.0, 1e300, 0.5) < np.inf
    assert at(0.0, 0.0, 0.5) == at(0.0, float(around.distance.min()), 0.5)
    assert at(0.0, 0.5, 0.0) == at(0.0, 0.5, float(around.spread.min())) > 0.0


def test_what_is_not_known_does_not_count() -> None:
    values, around, errors = draw(500)
    nowhere = Surroundings(*np.full((2, 500), np.nan))
    model = ErrorModel.fit(values, nowhere, errors)
    assert (model.weights[1:] == 0.0).all()
    assert model(values, around) == pytest.approx(errors.mean())


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_rows_are_enough_for_numbers(n: int) -> None:
    values, around, errors = draw(n)
    found = ErrorModel.fit(values, around, errors)(*draw(50, seed=1)[:2])
    assert np.isfinite(found).all()
    assert (found > 0.0).all()


def test_equal_rows_are_expected_to_have_their_mean_error() -> None:
    around = Surroundings(np.zeros(4), np.zeros(4))
    model = ErrorModel.fit(np.ones(4), around, np.array([0.1, 0.2, 0.3, 0.4]))
    assert model(np.ones(2), Surroundings(*np.full((2, 2), 0.3))) == pytest.approx(0.25)
    perfect = ErrorModel.fit(np.ones(4), around, np.zeros(4))
    assert perfect(np.ones(1), Surroundings(*np.zeros((2, 1))))[0] < 1e-9


def test_the_unit_of_the_errors_does_not_matter() -> None:
    _, around, errors = draw(200)
    expected = ErrorModel.fit(np.zeros(200), around, errors)(np.zeros(200), around)
    joule = ErrorModel.fit(np.zeros(200), around, 1e-19 * errors)
    np.testing.assert_allclose(joule(np.zeros(200), around), 1e-19 * expected)
