from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mftscreen.errors import ConfigError, UnknownPropertyError
from mftscreen.screen.order.goals import Goal, parse_goals
from mftscreen.screen.order.ranking import OODPolicy, Ranking, order_candidates

NAMES = ["a", "failed", "far", "b", "unsure", "c", "near"]
ONE = {"gap": [1.0, np.nan, 9.0, -3.0, 4.0, 2.0, 2.5]}
FLAGGED = [name in ("far", "near") for name in NAMES]


@pytest.mark.parametrize("method", ["pareto", "desirability"])
@pytest.mark.parametrize(
    ("goal", "order"),
    [
        (Goal(), "far unsure near c a b failed"),
        (Goal("maximize"), "far unsure near c a b failed"),
        (Goal("minimize"), "b a c near unsure far failed"),
        (Goal("target", 2.4), "near c a unsure b far failed"),
        (Goal("target", 0.0), "a c near b unsure far failed"),
        (Goal("target", (1.5, 2.2)), "c near a unsure b far failed"),
        # within the window, c is nearer to its middle
        (Goal("target", (1.0, 2.2)), "c a near unsure b far failed"),
        (Goal("minimize", at_least=1.5), "c near unsure far a b failed"),
        (Goal("bound", at_most=2.0), "a b c far unsure near failed"),
    ],
)
def test_order_of_merit(goal: Goal, order: str, method: Any) -> None:
    ranking = order_candidates(ONE, {"gap": goal}, method=method)
    assert " ".join(NAMES[k] for k in ranking.order) == order
    assert ranking.fronts is None
    assert ranking.scores is None
    check_complete(ranking, 7)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("label", "1far 2unsure 3near 4c 5a 6b -failed"),
        ("demote", "1unsure 2c 3a 4b 5far 6near -failed"),
        ("exclude", "1unsure 2c 3a 4b -far -near -failed"),
    ],
)
def test_policy_for_what_is_out_of_distribution(
    policy: OODPolicy, expected: str
) -> None:
    found = order_candidates(ONE, {"gap": Goal()}, flagged=FLAGGED, policy=policy)
    ranked = [f"{found.ranks[k] or '-'}{NAMES[k]}" for k in found.order]
    assert " ".join(ranked) == expected


@pytest.mark.parametrize(
    "goal", [Goal("maximize"), Goal("minimize"), Goal("target", 3.0)]
)
def test_equal_values_keep_their_order(goal: Goal) -> None:
    order = order_candidates({"gap": [2.0, 4.0] * 50}, {"gap": goal}).order
    assert order[order % 2 == 0].tolist() == list(range(0, 100, 2))
    assert order[order % 2 == 1].tolist() == list(range(1, 100, 2))


def check_complete(ranking: Ranking, n: int) -> None:
    """Every candidate is there once, and the ranks count the first ones."""
    assert sorted(ranking.order) == list(range(n))
    ranks = ranking.ranks[ranking.order]
    n_ranked = np.count_nonzero(ranks)
    # equals have the rank of the first of them
    places = np.arange(1, n_ranked + 1)
    first = np.append(True, np.diff(ranks[:n_ranked]) > 0)[:n_ranked]
    assert ranks[:n_ranked].tolist() == np.maximum.accumulate(places * first).tolist()
    assert not ranks[n_ranked:].any()


def test_equals_share_a_rank() -> None:
    values = {"gap": [2.0, 4.0, 4.0, 1.0, 4.0]}
    assert order_candidates(values, {"gap": Goal()}).ranks.tolist() == [4, 1, 1, 5, 1]
    flagged = [False, True, False, False, True]
    ranking = order_candidates(
        values, {"gap": Goal()}, flagged=flagged, policy="demote"
    )
    assert ranking.ranks.tolist() == [2, 4, 1, 3, 4]
    window = {"gap": Goal("target", (1.0, 5.0))}
    assert order_candidates(values, window).ranks.tolist() == [1, 1, 1, 5, 1]


GAP_AND_MASS = parse_goals(["gap:max", "mass:min"])

VALUES = {
    "gap": np.array([3.0, 2.0, 1.0, 1.5, 2.0, 3.0, 0.5, 1.0]),
    "mass": np.array([30.0, 10.0, 10.0, 40.0, 10.0, 20.0, 5.0, 10.0]),
}


def test_fronts_found_by_hand() -> None:
    ranking = order_candidates(VALUES, GAP_AND_MASS)
    assert ranking.fronts is not None
    assert ranking.fronts.tolist() == [2, 1, 2, 3, 1, 1, 1, 2]
    assert (np.diff(ranking.fronts[ranking.order]) >= 0).all()
    check_complete(ranking, 8)


def test_desirabilities_found_by_hand() -> None:
    values = {"gap": [3.0, 2.0, 1.5, 5.0], "mass": [20.0, 10.0, 40.0, 20.0]}
    flagged = [False, False, False, True]
    goals = parse_goals(["gap:max>=1", "mass:min<=40"])
    ranking = order_candidates(values, goals, flagged=flagged, method="desirability")
    # gap: (1, 1/2, 1/4, 1), since 5 gains nothing beyond 3; mass: (2/3, 1, 0, 2/3)
    both = (2 / 3) ** 0.5
    np.testing.assert_allclose(ranking.scores, [both, 0.5**0.5, 0.0, both])
    assert ranking.order.tolist() == [0, 3, 1, 2]
    assert ranking.fronts is None


def test_weights_say_what_counts() -> None:
    values = {"gap": [3.0, 2.0, 1.0], "mass": [20.0, 10.0, 40.0]}
    goals = parse_goals(["gap:max>=1", "mass:min<=40*3"])
    ranking = order_candidates(values, goals, method="desirability")
    np.testing.assert_allclose(ranking.scores, [(2 / 3) ** 0.75, 0.5**0.25, 0.0])
    assert ranking.order.tolist() == [1, 0, 2]
    goals = parse_goals(["gap:max>=1*3", "mass:min<=40"])
    ranking = order_candidates(values, goals, method="desirability")
    assert ranking.order.tolist() == [0, 1, 2]


def test_fronts_are_ordered_by_desirability() -> None:
    values = {"gap": [4.0, 3.0, 2.0, 2.5], "mass": [39.0, 20.0, 10.0, 21.0]}
    goals = parse_goals(["gap:max>=1", "mass:min<=40"])
    ranking = order_candidates(values, goals)
    assert ranking.fronts is not None
    assert ranking.fronts.tolist() == [1, 1, 1, 2]
    # more desirable than the first one, but the second one is better in everything
    assert ranking.scores is not None
    assert ranking.scores[3] > ranking.scores[0]
    assert ranking.order.tolist() == [1, 2, 0, 3]


def test_one_absurd_prediction_does_not_level_the_others() -> None:
    rng = np.random.default_rng(0)
    values = {"gap": rng.random(1000), "mass": rng.random(1000)}
    before = order_candidates(values, GAP_AND_MASS, method="desirability").scores
    values["gap"][7] = -1e9
    after = order_candidates(values, GAP_AND_MASS, method="desirability").scores
    np.testing.assert_allclose(np.delete(after, 7), np.delete(before, 7), atol=0.05)
    assert after is not None
    assert after[7] == 0.0


@pytest.mark.parametrize("policy", ["label", "demote", "exclude"])
@pytest.mark.parametrize("method", ["pareto", "desirability"])
def test_what_is_better_in_everything_comes_first(
    method: Any, policy: OODPolicy
) -> None:
    rng = np.random.default_rng(3)
    table = rng.integers(0, 12, (300, 3)).astype(float)
    table[rng.random(300) < 0.1, 1] = np.nan
    flagged = rng.random(300) < 0.3
    goals = parse_goals(["a:max<=10", "b:min", "c=5..6*2"])
    values = dict(zip("abc", table.T, strict=True))
    ranking = order_candidates(
        values, goals, method=method, flagged=flagged, policy=policy
    )
    check_complete(ranking, 300)
    costs = np.stack([goal.costs(values[name]) for name, goal in goals.items()], axis=1)
    ranked = [k for k in ranking.order if ranking.ranks[k]]
    assert all(
        (costs[k] == costs[after]).all() or ranking.ranks[k] < ranking.ranks[after]
        for k, after in pairwise(ranked)
        if ranking.scores is not None and ranking.scores[k] != ranking.scores[after]
    )
    for place, k in enumerate(ranked):
        later = np.array(ranked[place + 1 :], dtype=int)
        if policy == "demote":
            later = later[flagged[later] == flagged[k]]
        assert not (costs[later] < costs[k]).all(axis=1).any()


def test_bounds_take_the_rank_and_say_why() -> None:
    values = {"gap": [3.0, 0.25, 2.0, 9.0], "mass": [1.0, 1.0, 60.0, 70.0]}
    ranking = order_candidates(values, parse_goals(["gap:max>=1<=5", "mass<=50"]))
    assert ranking.order.tolist() == [0, 1, 2, 3]
    assert ranking.ranks.tolist() == [1, 0, 0, 0]
    assert ranking.infeasible == {
        1: "gap = 0.25 is not at least 1",
        2: "mass = 60 is not at most 50",
        3: "gap = 9 is not at most 5; mass = 70 is not at most 50",
    }


def test_bound_of_another_property_leaves_a_plain_order() -> None:
    ranking = order_candidates(VALUES, parse_goals(["gap:max", "mass<=30"]))
    assert ranking.order.tolist() == [0, 5, 1, 4, 2, 7, 6, 3]
    assert ranking.fronts is None
    assert ranking.scores is None


def test_bounds_alone_keep_the_order() -> None:
    ranking = order_candidates(VALUES, parse_goals(["gap>=1", "mass<=20"]))
    assert ranking.order.tolist() == [1, 2, 4, 5, 7, 0, 3, 6]


def test_groups_without_a_rank_follow_one_another() -> None:
    gap = [np.nan, 0.5, 2.0, 3.0, 4.0, np.inf]
    flagged = [True, True, True, False, True, False]
    goals = parse_goals(["gap:max>=1"])
    ranking = order_candidates({"gap": gap}, goals, flagged=flagged, policy="exclude")
    assert ranking.order.tolist() == [3, 4, 2, 1, 0, 5]
    assert ranking.ranks.tolist() == [0, 0, 0, 1, 0, 0]
    assert list(ranking.infeasible) == [1]


@pytest.mark.parametrize(
    ("policy", "fronts", "order"),
    [
        ("label", [2, 1, 2, 3, 1, 1, 1, 2], None),
        # without 5, the best of all, 0 is on the first front
        ("demote", [1, 1, 2, 2, 1, 3, 1, 2], 7),
        ("exclude", [1, 1, 2, 2, 1, 0, 1, 2], 7),
    ],
)
def test_flagged_candidates_do_not_push_others_back(
    policy: OODPolicy, fronts: list[int], order: int | None
) -> None:
    flagged = np.arange(8) == 5
    ranking = order_candidates(VALUES, GAP_AND_MASS, flagged=flagged, policy=policy)
    assert ranking.fronts is not None
    assert ranking.fronts.tolist() == fronts
    if order is not None:
        assert ranking.order[order] == 5
    assert ranking.scores is not None
    assert np.isnan(ranking.scores[5]) == (policy == "exclude")


def test_all_flagged_are_compared_with_one_another() -> None:
    some = order_candidates(VALUES, GAP_AND_MASS)
    every = order_candidates(
        VALUES, GAP_AND_MASS, flagged=np.ones(8, bool), policy="demote"
    )
    assert every.order.tolist() == some.order.tolist()
    np.testing.assert_array_equal(every.scores, some.scores)


@pytest.mark.parametrize("method", ["pareto", "desirability"])
def test_all_equal_keep_their_order(method: Any) -> None:
    values = {"gap": np.ones(50), "mass": np.full(50, 2.0)}
    ranking = order_candidates(values, GAP_AND_MASS, method=method)
    assert ranking.order.tolist() == list(range(50))
    assert ranking.scores is not None
    assert (ranking.scores == 1.0).all()


@pytest.mark.parametrize("method", ["pareto", "desirability"])
@pytest.mark.parametrize("n", [0, 1, 3])
def test_all_failed(method: Any, n: int) -> None:
    values = {"gap": np.full(n, np.nan), "mass": np.ones(n)}
    ranking = order_candidates(values, GAP_AND_MASS, method=method)
    assert ranking.order.tolist() == list(range(n))
    assert ranking.ranks.tolist() == [0] * n
    assert ranking.infeasible == {}
    assert ranking.scores is not None
    assert np.isnan(ranking.scores).all()


@pytest.mark.parametrize("method", ["pareto", "desirability"])
def test_single_candidate(method: Any) -> None:
    ranking = order_candidates(
        {"gap": [1.0], "mass": [2.0]}, GAP_AND_MASS, method=method
    )
    assert ranking.order.tolist() == [0]
    assert ranking.ranks.tolist() == [1]


def test_property_without_values() -> None:
    with pytest.raises(UnknownPropertyError, match=r"'mass'.*values of gap"):
        order_candidates({"gap": [1.0]}, GAP_AND_MASS)


def test_no_goals() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        order_candidates({"gap": [1.0]}, {})


def test_unknown_choices_are_all_named() -> None:
    choices: Any = {"method": "best", "policy": "drop"}
    with pytest.raises(ConfigError) as caught:
        order_candidates(VALUES, GAP_AND_MASS, **choices)
    assert caught.value.problems == [
        "method: 'best' is not one of pareto, desirability",
        "policy: 'drop' is not one of label, demote, exclude",
    ]


def test_flags_of_another_length() -> None:
    with pytest.raises(ValueError, match="there are 8 candidates"):
        order_candidates(VALUES, GAP_AND_MASS, flagged=[True])


def fronts_of(costs: np.ndarray) -> list[int]:
    """Return the fronts of candidates whose properties are all to be small."""
    names = [f"p{k}" for k in range(costs.shape[1])]
    goals = dict.fromkeys(names, Goal("minimize"))
    fronts = order_candidates(dict(zip(names, costs.T, strict=True)), goals).fronts
    assert fronts is not None
    return fronts.tolist()


def peel(costs: np.ndarray) -> list[int]:
    """Return the fronts by their definition: take away what nothing dominates."""
    fronts = np.zeros(len(costs), dtype=int)
    left = np.flatnonzero(np.isfinite(costs).all(axis=1))
    while left.size:
        ours, theirs = costs[left][:, None], costs[left][None]
        dominates = (theirs <= ours).all(axis=2) & (theirs < ours).any(axis=2)
        dominated = dominates.any(axis=1)
        fronts[left[~dominated]] = fronts.max() + 1
        left = left[dominated]
    return fronts.tolist()


# few levels make ties and duplicates; neighbours of 1 and huge numbers try rounding
LEVELS = st.sampled_from(
    [-1e300, -1.0, -0.0, 0.0, 5e-324, 1.0, np.nextafter(1.0, 2.0), 2.0, np.nan, np.inf]
)


@pytest.mark.parametrize("n_goals", [2, 3, 4, 5])
@settings(deadline=None)  # the first example imports moocore
@given(data=st.data())
def test_fronts_are_those_of_the_definition(n_goals: int, data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 40))
    elements = data.draw(st.sampled_from([LEVELS, st.floats(-1e9, 1e9)]))
    costs = data.draw(arrays(np.float64, (n, n_goals), elements=elements))
    assert fronts_of(costs) == peel(costs)


@pytest.mark.parametrize("n_goals", [2, 3, 4])
def test_fronts_of_many_are_those_of_the_definition(n_goals: int) -> None:
    rng = np.random.default_rng(n_goals)
    costs = rng.integers(-30, 30, (800, n_goals)).astype(float)
    assert fronts_of(costs) == peel(costs)


def test_pure_trade_off_is_one_front() -> None:
    costs = np.random.default_rng(1).dirichlet([1.0, 1.0, 1.0], size=20_000)
    costs[:, 2] = -costs[:, 0] - costs[:, 1]
    assert set(fronts_of(costs)) == {1}


def test_chain_has_one_front_each() -> None:
    costs = np.random.default_rng(2).permutation(2000)[:, None] * np.ones(3)
    assert fronts_of(costs) == (costs[:, 0] + 1).tolist()
