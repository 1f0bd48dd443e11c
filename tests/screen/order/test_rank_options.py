"""Options of a ranking, and what is refused."""

from __future__ import annotations

import json

from mftscreen.screen.order.goals import Goal
from mftscreen.screen.order.rank_options import RankOptions


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
