"""Options of a ranking, and what is refused."""

from __future__ import annotations

import json

import pytest

from mftscreen.errors import ConfigError
from mftscreen.screen.order.goals import Goal
from mftscreen.screen.order.rank_options import RankOptions, as_goals


def test_options_survive_json() -> None:
    goals = {
        "a": Goal("minimize", weight=0.3),
        "b": Goal("target", 1 / 3, at_least=-1e-7),
        "c": Goal("target", (-2, 1e30), at_most=5e30),
        "d": Goal("bound", at_least=-0.0, at_most=2),
        "e": Goal(),
    }
    options = RankOptions(goals, "desirability", "exclude", 0.1, 0.8, 7, "equivalent")
    text = json.dumps(options.to_json(), allow_nan=False)
    assert RankOptions.from_json(json.loads(text)) == options


def test_all_that_is_not_allowed_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        RankOptions(
            {"a": Goal()}, "best", "ignore", alpha=0.0, coverage=1.0, diverse=-2,
            duplicates="similar",
        )  # fmt: skip
    assert caught.value.problems == [
        "method: one of pareto, desirability is needed, got 'best'",
        "ood: one of label, demote, exclude is needed, got 'ignore'",
        "duplicates: one of identical, equivalent is needed, got 'similar'",
        "alpha: 0.0 is not between 0 and 1",
        "coverage: 1.0 is not between 0 and 1",
        "diverse: -2 is negative",
    ]


def test_goals_may_be_written_as_on_the_command_line() -> None:
    goals = {"gap": Goal("target", 1.5), "n": Goal("minimize")}
    assert as_goals(["gap=1.5", "n:min"]) == as_goals(goals) == goals
    assert as_goals("n:min") == {"n": Goal("minimize")}
    for none in ({}, []):
        with pytest.raises(ConfigError, match="at least one property is needed"):
            as_goals(none)
