from __future__ import annotations

import pytest

from mftscreen.screen.pipeline import ScreenRow
from mftscreen.screen.ranking import Goal, OODPolicy, rank_rows


def row(name: str, value: float | None, ood: bool | None = False) -> ScreenRow:
    return ScreenRow(
        id=name,
        formula="Si",
        value=value,
        unit="1",
        ood_p_value=None,
        ood=ood,
        low_dimensional=None,
        status="ok" if value is not None else "invalid_geometry",
        reason="",
        model="m0",
        atoms=None,
    )


ROWS = [
    row("a", 1.0),
    row("failed", None, None),
    row("far", 9.0, True),
    row("b", -3.0),
    row("unsure", 4.0, None),
    row("c", 2.0),
    row("near", 2.5, True),
]


def ranks(
    rows: list[ScreenRow], goal: Goal, policy: OODPolicy = "label"
) -> list[tuple[int | None, str]]:
    return [(rank, found.id) for rank, found in rank_rows(rows, goal, policy)]


@pytest.mark.parametrize(
    ("goal", "order"),
    [
        (Goal(), "far unsure near c a b failed"),
        (Goal("maximize"), "far unsure near c a b failed"),
        (Goal("minimize"), "b a c near unsure far failed"),
        (Goal("target", 2.4), "near c a unsure b far failed"),
        (Goal("target"), "a c near b unsure far failed"),
    ],
)
def test_order_of_merit(goal: Goal, order: str) -> None:
    names = order.split()
    assert ranks(ROWS, goal) == list(zip([1, 2, 3, 4, 5, 6, None], names, strict=True))


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
    found = ranks(ROWS, Goal(), policy)
    assert " ".join(f"{rank or '-'}{name}" for rank, name in found) == expected


@pytest.mark.parametrize("policy", ["label", "demote", "exclude"])
def test_every_row_is_accounted_for_once(policy: OODPolicy) -> None:
    found = rank_rows(iter(ROWS), Goal(), policy)
    assert sorted(kept.id for _, kept in found) == sorted(kept.id for kept in ROWS)


@pytest.mark.parametrize(
    "goal", [Goal("maximize"), Goal("minimize"), Goal("target", 3.0)]
)
def test_equal_values_keep_their_order(goal: Goal) -> None:
    rows = [row("z", 2.0), row("a", 4.0), row("y", 2.0), row("b", 4.0)]
    names = [name for _, name in ranks(rows, goal)]
    assert names.index("z") < names.index("y")
    assert names.index("a") < names.index("b")


def test_zero_is_a_value() -> None:
    rows = [row("plus", 1.0), row("zero", 0.0), row("minus", -1.0)]
    assert ranks(rows, Goal("minimize")) == [(1, "minus"), (2, "zero"), (3, "plus")]


def test_nothing_to_rank() -> None:
    assert rank_rows([], Goal()) == []
    assert ranks([row("x", None)], Goal()) == [(None, "x")]
