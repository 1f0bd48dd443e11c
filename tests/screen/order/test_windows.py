from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.db import connect

from mftscreen import rank
from mftscreen.screen.order.goals import parse_goals
from mftscreen.screen.order.windows import find_empty_windows


def remarks(goal: str, labels: tuple[float, float] | None = (0.02, 0.62)) -> list[str]:
    ranges = {} if labels is None else {"gap": labels}
    values = {"gap": np.array([0.2, np.nan, 0.3])}
    return find_empty_windows(parse_goals([goal]), values, ranges, {"gap": "Ha"})


@pytest.mark.parametrize("goal", ["gap=4..6", "gap:max>=4", "gap=5", "gap<=0.001"])
def test_what_nothing_comes_near_is_named(goal: str) -> None:
    (remark,) = remarks(goal)
    assert "no candidate and no training label lies there" in remark
    assert "predictions are 0.2 to 0.3 Ha, labels 0.02 to 0.62 Ha" in remark


@pytest.mark.parametrize(
    "goal",
    ["gap:max", "gap=0.5..6", "gap=0.25", "gap=0.6", "gap>=0.3", "gap:min<=0.1"],
)
def test_what_labels_or_candidates_reach_is_not(goal: str) -> None:
    assert not remarks(goal)


def test_nothing_is_said_where_the_labels_are_not_known() -> None:
    assert not remarks("gap=4..6", None)
    assert not remarks("gap=4..6", (-np.inf, np.inf))


def test_screening_says_so(tmp_path: Path, tiny_model: Path) -> None:
    with connect(tmp_path / "pool.db") as rows:
        rows.write(bulk("MgO", "rocksalt", a=4.2))
    found = [
        any("another unit?" in r for r in rank(tmp_path / "pool.db", **options).remarks)
        for options in (
            {"goals": "gap=4e6..6e6", "models": str(tiny_model)},
            {"goals": "gap:max", "models": str(tiny_model)},
        )
    ]
    assert found == [True, False]
