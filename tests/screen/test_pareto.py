from __future__ import annotations

import numpy as np
import pytest

from mftscreen.screen.pareto import pareto_fronts


def peel(costs: np.ndarray) -> list[int]:
    """Return the fronts by their definition: take away what nothing dominates."""
    fronts = np.zeros(len(costs), dtype=int)
    left = np.arange(len(costs))
    while left.size:
        ours, theirs = costs[left][:, None], costs[left][None]
        dominates = (ours <= theirs).all(axis=2) & (ours < theirs).any(axis=2)
        dominated = dominates.any(axis=0)
        fronts[left[~dominated]] = fronts.max() + 1
        left = left[dominated]
    return fronts.tolist()


TWO = [
    (-3, 30),
    (-2, 10),
    (-1, 10),
    (-1.5, 40),
    (-2, 10),
    (-3, 20),
    (-0.5, 5),
    (-1, 10),
]
THREE = [(1, 2, 3), (2, 1, 3), (3, 3, 3), (1, 2, 4), (3, 3, 2), (3, 3, 4), (1, 2, 3)]


@pytest.mark.parametrize(
    ("costs", "fronts"),
    [(TWO, [2, 1, 2, 3, 1, 1, 1, 2]), (THREE, [1, 1, 2, 2, 1, 3, 1])],
)
def test_fronts_found_by_hand(costs: list, fronts: list[int]) -> None:
    assert pareto_fronts(np.array(costs, dtype=float)).tolist() == fronts


@pytest.mark.parametrize("n_objectives", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("n_levels", [2, 5, 10**6])
@pytest.mark.parametrize("n", [2, 30, 400])
def test_fronts_are_those_of_the_definition(
    n: int, n_levels: int, n_objectives: int
) -> None:
    rng = np.random.default_rng([n, n_levels, n_objectives])
    costs = rng.integers(-n_levels, n_levels, (n, n_objectives)).astype(float)
    assert pareto_fronts(costs).tolist() == peel(costs)


def test_scales_do_not_matter() -> None:
    costs = np.random.default_rng(0).normal(size=(500, 3))
    assert (pareto_fronts(costs) == pareto_fronts(np.exp(10 * costs))).all()


def test_pure_trade_off_is_one_front() -> None:
    costs = np.random.default_rng(1).dirichlet([1.0, 1.0, 1.0], size=20_000)
    costs[:, 2] = -costs[:, 0] - costs[:, 1]
    assert (pareto_fronts(costs) == 1).all()


def test_chain_has_one_front_each() -> None:
    costs = np.random.default_rng(2).permutation(5000)[:, None] * np.ones(3)
    assert (pareto_fronts(costs) == costs[:, 0] + 1).all()


def test_negative_zero_is_zero() -> None:
    costs = np.array([[0.0, 1.0], [-0.0, 1.0], [0.0, -0.0], [-0.0, 0.0]])
    assert pareto_fronts(costs).tolist() == [2, 2, 1, 1]


@pytest.mark.parametrize("n", [0, 1])
def test_hardly_any_candidates(n: int) -> None:
    assert pareto_fronts(np.zeros((n, 2))).tolist() == [1] * n
