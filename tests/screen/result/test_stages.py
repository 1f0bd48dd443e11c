"""The stages of a funnel put together, row by row."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mftscreen.screen.order.goals import Goal
from mftscreen.screen.order.rank_options import RankOptions
from mftscreen.screen.result.rows import FAST_ONLY, ScreenRow
from mftscreen.screen.result.stages import (
    join_stages,
    order_rows,
    rank_rows,
    rankable_values,
)

OPTIONS = RankOptions({"gap": Goal(at_most=9.0)})


def row_of(name: str, gap: float | None, **changes: object) -> ScreenRow:
    row = ScreenRow(
        id=name, formula="MgO", values={} if gap is None else {"gap": gap},
        spreads={}, ood_p_value=0.5, ood=False, low_dimensional=False,
        status="invalid_geometry" if gap is None else "ok",
        reason="no atoms" if gap is None else "",
    )  # fmt: skip
    return replace(row, **changes)  # type: ignore[arg-type]


FIRST = [
    row_of("a", 1.0),
    row_of("b", None),
    row_of("c", 3.0, reason="far", ood=True),
    row_of("d", 10.0),
    row_of("e", 2.0),
    row_of("f", 3.0, duplicate_of="c"),
]


def join(again: dict[str, ScreenRow], first: list[ScreenRow] = FIRST) -> list[str]:
    """Return ids and statuses in the order of the table."""
    fast = rank_rows(first, OPTIONS)
    joined = join_stages(first, fast, again)
    order = order_rows(joined, rank_rows(joined, OPTIONS), fast)
    assert [row.id for row in joined] == [row.id for row in first]
    return [f"{joined[k].id} {joined[k].status}" for k in order]


def test_copies_have_nothing_to_rank_by() -> None:
    values = rankable_values(FIRST, OPTIONS)["gap"].tolist()
    assert values == pytest.approx(
        [1.0, float("nan"), 3.0, 10.0, 2.0, float("nan")], nan_ok=True
    )


def test_without_slow_models_copies_come_before_failures() -> None:
    ranking = rank_rows(FIRST, OPTIONS)
    order = order_rows(FIRST, ranking, ranking)
    assert [FIRST[k].id for k in order] == list("ceadfb")


def test_stages_follow_each_other() -> None:
    # the slow model turns the two around
    again = {"c": row_of("c", 5.0), "e": row_of("e", 6.0), "f": row_of("f", 5.0)}
    assert join(again) == [
        "e ok", "c ok", "f ok", f"a {FAST_ONLY}", f"d {FAST_ONLY}",
        "b invalid_geometry",
    ]  # fmt: skip


def test_before_the_slow_models_have_begun() -> None:
    assert join({}) == [
        f"c {FAST_ONLY}", f"e {FAST_ONLY}", f"a {FAST_ONLY}", f"d {FAST_ONLY}",
        f"f {FAST_ONLY}", "b invalid_geometry",
    ]  # fmt: skip


def test_every_model_keeps_what_it_says() -> None:
    again = {"c": row_of("c", 5.0, reason="near"), "e": row_of("e", None)}
    joined = join_stages(FIRST, rank_rows(FIRST, OPTIONS), again)
    a, b, c, d, e, _ = joined
    assert (a.values, a.ood, a.ood_p_value, a.fast_rank) == ({}, None, None, 3)
    assert a.reason == "seen by the fast model only"
    assert b == FIRST[1]
    assert (c.values, c.reason, c.ood, c.fast_rank) == ({"gap": 5.0}, "near", False, 1)
    assert c.fast == FIRST[2]
    only = "seen by the fast model only"
    assert d.reason == f"{only}; gap = 10 is not at most 9"
    assert d.fast_rank is None
    assert (e.status, e.reason, e.fast) == ("invalid_geometry", "no atoms", FIRST[4])
    flagged = join_stages(FIRST, rank_rows(FIRST, OPTIONS), {})[2]
    assert flagged.reason == f"{only}; far"


def test_a_copy_whose_original_was_not_seen_has_a_rank() -> None:
    """With other duplicates than in the screening, either may have been kept."""
    joined = join_stages(FIRST, rank_rows(FIRST, OPTIONS), {"f": row_of("f", 5.0)})
    assert joined[5].duplicate_of == ""
    assert joined[2].status == FAST_ONLY
    assert rank_rows(joined, OPTIONS).ranks.tolist() == [0, 0, 0, 0, 0, 1]
