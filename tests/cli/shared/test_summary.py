from __future__ import annotations

from collections import Counter

import pytest

from mftscreen.cli.shared.summary import say_predicted


@pytest.mark.parametrize(
    ("trust", "text"),
    [
        ({}, "3 predicted (0 of them out of distribution)"),
        ({"ok": 1, "flagged": 2}, "3 predicted (2 of them out of distribution)"),
        (
            {"flagged": 1, "untested": 2},
            "3 predicted (1 of them out of distribution, 2 not tested)",
        ),
    ],
)
def test_what_is_to_be_doubted_is_counted(trust: dict[str, int], text: str) -> None:
    assert say_predicted(3, Counter(trust)) == text
