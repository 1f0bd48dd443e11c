"""The sentence on top of a report."""

from __future__ import annotations

import pytest

from mftscreen.screen.report.verdict import say_verdict

UNLIKE = "unlike what the model has learned from"


def candidates(**counts: int) -> list[dict[str, object]]:
    """Return so many of each trust, in this order of ranks; ``none`` have no value."""
    found: list[dict[str, object]] = []
    for trust, n in counts.items():
        for _ in range(n):
            status, rank = (
                ("ok", len(found) + 1) if trust != "none" else ("failed", None)
            )
            found.append({"rank": rank, "status": status, "trust": trust})
    return found


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({}, "0 of 0 candidates have a value."),
        ({"none": 1}, "0 of 1 candidate has a value."),
        ({"ok": 1}, f"1 of 1 candidate has a value; it is not {UNLIKE}."),
        ({"flagged": 1}, f"1 of 1 candidate has a value; it is {UNLIKE}."),
        (
            {"ok": 2, "none": 3},
            f"2 of 5 candidates have a value; none of them is {UNLIKE}.",
        ),
        (
            {"flagged": 9, "ok": 1200, "none": 2},
            "1,209 of 1,211 candidates have a value; "
            f"9 of them are {UNLIKE}, 9 of the best 20 among these.",
        ),
        (
            {"ok": 20, "flagged": 1},
            "21 of 21 candidates have a value; "
            f"1 of them is {UNLIKE}, none of the best 20 among these.",
        ),
        ({"flagged": 3}, f"3 of 3 candidates have a value; all of them are {UNLIKE}."),
        (
            {"ok": 1, "untested": 3},
            "4 of 4 candidates have a value; 3 of them are not tested for trust.",
        ),
        (
            {"ok": 1, "untested": 1, "flagged": 1},
            f"3 of 3 candidates have a value; 1 of them is {UNLIKE}, "
            "1 of the best 3 among these and 1 of them is not tested for trust.",
        ),
    ],
)
def test_a_verdict_counts_what_is_flagged(
    counts: dict[str, int], expected: str
) -> None:
    assert say_verdict(candidates(**counts)) == expected


def test_the_best_are_those_of_the_first_ranks_wherever_they_stand() -> None:
    found = candidates(ok=20, flagged=5)
    assert say_verdict(found[::-1]).endswith("none of the best 20 among these.")
    without_rank = [row | {"rank": None} for row in found]
    assert "best" not in say_verdict(without_rank)
