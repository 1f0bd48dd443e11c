"""What a condition may not ask for, however it is put."""

from __future__ import annotations

import pandas as pd
import pytest

from mftscreen.errors import ConfigError
from mftscreen.screen.result.conditions import select_rows

TABLE = pd.DataFrame({"gap": [1.0, 2.0, 3.0], "id": ["a", "b", "c"]})


@pytest.mark.parametrize(
    "condition",
    [
        "gap > 9**9**9",
        "gap > (9**9)**9",
        "gap > 9**99999999",
        "gap > 9**-9**9",
        "gap ** gap > 3",
        "gap > 1 << 9999999999",
        "id == 'a' * 9999999999",
        "gap in [1] * 9999999999",
        "gap > " + "(" * 5000 + "1" + ")" * 5000,
        "gap > " + "-" * 100_000 + "1",
        "gap > 1\0",
    ],
)
def test_what_never_ends_is_refused(condition: str) -> None:
    with pytest.raises(ConfigError):
        select_rows(TABLE, condition)


def test_powers_of_columns() -> None:
    assert select_rows(TABLE, "gap**2 > 3 and 2**-1 < gap**0.5") == [1, 2]


def test_columns_of_texts_and_numbers_equal_either() -> None:
    table = pd.DataFrame({"group": ["g0", 1, None], "new": [True, None, False]})
    assert select_rows(table, "group == 'g0'") == [0]
    assert select_rows(table, "group == 1") == [1]
    assert select_rows(table, "not new") == [2]


def test_columns_of_whole_numbers_and_others_hold_no_texts() -> None:
    table = pd.DataFrame({"m": pd.Series([1, 2.5], dtype=object)})
    with pytest.raises(ConfigError, match="m holds no texts"):
        select_rows(table, "m == 'a'")
