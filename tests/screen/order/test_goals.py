from __future__ import annotations

from math import inf, nan

import pytest

from mftscreen.errors import ConfigError
from mftscreen.screen.order.goals import GOAL_EXAMPLES, Goal, parse_goals


@pytest.mark.parametrize(
    ("text", "name", "goal"),
    [
        ("gap:max", "gap", Goal("maximize")),
        ("gap:min", "gap", Goal("minimize")),
        ("gap=1.4", "gap", Goal("target", 1.4)),
        ("gap=0", "gap", Goal("target", 0.0)),
        ("e_form=-.5", "e_form", Goal("target", -0.5)),
        ("gap=1.2..1.6", "gap", Goal("target", (1.2, 1.6))),
        ("gap=1...2.", "gap", Goal("target", (1.0, 2.0))),
        ("e=-1e-3..+2E2", "e", Goal("target", (-1e-3, 200.0))),
        ("gap>=1", "gap", Goal("bound", at_least=1.0)),
        ("gap<=0", "gap", Goal("bound", at_most=0.0)),
        ("gap>=1<=2", "gap", Goal("bound", at_least=1.0, at_most=2.0)),
        ("gap:max*2", "gap", Goal("maximize", weight=2.0)),
        ("gap:max>=1*2", "gap", Goal("maximize", at_least=1.0, weight=2.0)),
        (" gap : min <= 3 * 0.5 ", "gap", Goal("minimize", at_most=3.0, weight=0.5)),
        ("gap=1.4>=1<=2", "gap", Goal("target", 1.4, at_least=1.0, at_most=2.0)),
    ],
)
def test_what_can_be_written(text: str, name: str, goal: Goal) -> None:
    assert parse_goals([text]) == {name: goal}


@pytest.mark.parametrize(
    "text",
    [
        "", "gap", "gap:", "gap:best", "gap=", "gap=x", "gap=nan", "gap==1", "gap>1",
        "gap=1..", "gap=1..2..3", "1gap:max", "gap-x:max", "gap:max:min", "gap*2*2",
        "gap<=2>=1", ":max", ">=1", "gap:max,mass:min", "gáp:max",
    ],
)  # fmt: skip
def test_what_cannot_be_written(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_goals([text])
    (problem,) = caught.value.problems
    assert problem == f"goal {text!r}: expected something like {GOAL_EXAMPLES}"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("gap=2..1", r"the window \(2.0, 1.0\) has no inside"),
        ("gap=1e999", "inf is not finite"),
        ("gap>=2<=1", "nothing is at least 2.0 and at most 1.0"),
        ("gap>=1e999", "nothing is at least inf"),
        ("gap<=-1e999", "at most -inf"),
        ("gap:max*0", "weight: 0.0 is not a positive number"),
        ("gap:max*-1", "weight: -1.0"),
        ("gap*2", "'bound' needs at_least or at_most"),
    ],
)
def test_what_makes_no_sense(text: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        parse_goals([text])
    assert caught.value.problems[0].startswith(f"goal {text!r}: ")


def test_examples_in_the_message_are_valid() -> None:
    for example in GOAL_EXAMPLES.split(", "):
        assert list(parse_goals([example])) == ["gap"]


def test_all_problems_are_listed() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_goals(["gap:up", "mass:min", "mass<=3", "n=2..1"])
    assert len(caught.value.problems) == 3
    assert "another one for mass" in caught.value.problems[1]


def test_order_of_goals_is_kept() -> None:
    assert list(parse_goals(["n:max", "gap:max", "a>=1"])) == ["n", "gap", "a"]


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "target"},
        {"kind": "maximize", "target": 1.0},
        {"kind": "target", "target": nan},
        {"kind": "target", "target": (1.0, inf)},
        {"kind": "target", "target": (nan, 1.0)},
        {"at_least": nan},
        {"at_most": nan},
        {"weight": nan},
        {"weight": inf},
        {"kind": "bound"},
    ],
)
def test_impossible_goals(settings: dict) -> None:
    with pytest.raises(ConfigError):
        Goal(**settings)


@pytest.mark.parametrize(
    ("goal", "costs"),
    [
        (Goal(), [1.0, 0.0, -2.5]),
        (Goal("minimize"), [-1.0, 0.0, 2.5]),
        (Goal("target", 2.0), [3.0, 2.0, 0.5]),
        (Goal("target", (-2.0, 1.0)), [0.0, 0.0, 1.5]),
        (Goal("bound", at_least=1.0), [0.0, 0.0, 0.0]),
    ],
)
def test_costs(goal: Goal, costs: list[float]) -> None:
    assert goal.costs([-1.0, 0.0, 2.5]).tolist() == costs


def test_ends_of_the_bounds_are_allowed() -> None:
    goal = Goal("bound", at_least=1.0, at_most=2.0)
    assert goal.allows([0.99, 1.0, 2.0, 2.01, nan]).tolist() == [0, 1, 1, 0, 0]
