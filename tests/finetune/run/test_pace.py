from __future__ import annotations

import csv
import random
from pathlib import Path

import pytest

from mftscreen.finetune.run import pace as pace_module
from mftscreen.finetune.run.pace import Pace

RECORDED = Path(__file__).with_name("recorded_mft.csv")
"""Of 330 steps of MFT with mft-mini-crystals, checkpoints every 60, on one thread of a
machine that others use, too: when steps were seen to be done and checkpoints validated,
in seconds since the trainer was started. The last line is the end."""


def test_a_recorded_training_ends_when_it_was_said_after_a_minute() -> None:
    with RECORDED.open() as stream:
        rows = list(csv.DictReader(stream))
    end = float(rows[-1]["seconds"])
    pace, shares = Pace(330, 0, 6), []
    for row in rows[:-1]:
        now = float(row["seconds"])
        if row["validation"]:
            pace.validated(float(row["validation"]))
            continue
        pace.saw(now, int(row["steps"]))
        if 60 <= now < end - 15:
            left = pace.left(now)
            assert left is not None
            shares.append(left / (end - now))
    assert len(shares) > 100
    assert 0.7 < min(shares) < 1 < max(shares) < 1.3


def run(pace: Pace, costs: list[float], until: float) -> tuple[float, int]:
    """Do steps that cost so much, and return when that ended and how many are left."""
    now = 0.0
    for done, cost in enumerate(costs):
        pace.saw(now, done)
        if now >= until:
            return now, len(costs) - done
        now += cost
    return now, 0


def test_slow_first_steps_are_forgotten() -> None:
    costs = [20.0, 5.0, *[0.5] * 1000]
    pace = Pace(len(costs), 0, 0)
    now, n_left = run(pace, costs, 60)
    assert pace.left(now) == pytest.approx(0.5 * n_left)


@pytest.mark.parametrize("first", [[], [20.0], [10.0, 1.0, 10.0, 1.0]])
def test_tasks_of_different_cost_are_in_it_as_they_are_drawn(
    first: list[float],
) -> None:
    n_right = 0
    for seed in range(200):
        draw = random.Random(seed)
        costs = first + [draw.choice([0.5, 1.5]) for _ in range(2000)]
        pace = Pace(len(costs), 0, 0)
        now, _ = run(pace, costs, 60)
        n_right += pace.left(now) == pytest.approx(sum(costs) - now, rel=0.3)
    assert n_right >= 198


def test_validation_that_takes_longer_than_the_steps_between_decides() -> None:
    pace = Pace(1000, 0, checkpoints=10)
    now, n_left = run(pace, [0.1] * 1000, 60)
    assert pace.left(now) == pytest.approx(0.1 * n_left)
    pace.validated(30.0)
    assert pace.left(now) == 9 * 30.0
    for _ in range(8):
        pace.validated(5.0)
    # the last one is validated when all steps are done
    assert pace.left(now) == pytest.approx(0.1 * n_left + 5.0)
    pace.validated(5.0)
    assert pace.left(now) == pytest.approx(0.1 * n_left)


def test_steps_before_a_restart_do_not_count() -> None:
    pace = Pace(200, 100, 0)
    for now, steps in enumerate([*range(100), *range(100, 121)]):
        pace.saw(0.01 * now if steps < 100 else float(now), steps)
    assert pace.left(120.0) == pytest.approx(80.0)


def test_a_training_that_lags_is_not_over() -> None:
    pace = Pace(10, 0, 0)
    assert pace.left(0.0) is None
    for second in range(9):
        pace.saw(float(second), second)
    assert pace.left(8.5) == pytest.approx(1.5)
    assert pace.left(60.0) == 0.0


def test_long_trainings_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace_module, "_MOST", 20)
    pace = Pace(100_000, 0, 0)
    for second in range(5000):
        pace.saw(float(second), second)
    assert len(pace._seen) <= 22
    assert pace.left(4999.0) == pytest.approx(100_000 - 4999)
