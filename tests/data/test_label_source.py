"""Labels as rows have them: numbers, lists, yes or no."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mftscreen.data.label_source import LabelFault, LabelSource

PAIR = LabelSource("pair", ("both",), size=2)
COLUMNS = LabelSource("pair", ("a", "b"), size=2)
TRUTH = LabelSource("metal", ("metal",), yes_no=True)


@pytest.mark.parametrize(
    "value",
    [
        [1, 2.5],
        np.array([1, 2.5]),
        np.array([[1], [2.5]]),
        "[1, 2.5]",
        "1 2.5",
        "1;2.5",
    ],
)
def test_a_list_is_read_however_it_is_written(value: Any) -> None:
    np.testing.assert_array_equal(PAIR.read({"both": value}), [1.0, 2.5])


@pytest.mark.parametrize(
    ("value", "kind", "lacking"),
    [
        (None, "missing", True),
        (" ", "missing", True),
        ([1, 2, 3], "not a number", False),
        (7.0, "not a number", False),
        ("high low", "not a number", False),
        ([1, np.nan], "not finite", False),
        ([np.nan, np.nan], "not finite", True),
        ([1, np.inf], "not finite", False),
        ([True, False], "not a number", False),
        ([1, -2e30], "out of scale", False),
        ([1, 10**400], "not a number", False),
    ],
)
def test_other_lists_have_a_reason(value: Any, kind: str, lacking: bool) -> None:
    found = PAIR.read({"both": value})
    assert isinstance(found, LabelFault)
    assert (found.kind, found.lacking) == (kind, lacking)


def test_columns_have_all_numbers_or_none() -> None:
    np.testing.assert_array_equal(COLUMNS.read({"a": "1", "b": 2}), [1.0, 2.0])
    none = COLUMNS.read({"a": None, "b": float("nan")})
    assert isinstance(none, LabelFault)
    assert none.lacking
    half = COLUMNS.read({"a": "", "b": 2})
    assert isinstance(half, LabelFault)
    assert not half.lacking
    assert half.message == "no number in 'a' (found ''), and there is one in 'b'"
    wrong = COLUMNS.read({"a": None, "b": "x"})
    assert isinstance(wrong, LabelFault)
    assert wrong.kind == "not a number"


@pytest.mark.parametrize("value", [True, np.True_, "yes", "True", 1, 1.0, "1", " YES "])
def test_yes_has_many_forms(value: Any) -> None:
    assert TRUTH.read({"metal": value}) == 1.0


@pytest.mark.parametrize("value", [False, np.bool_(0), "no", "FALSE", 0, 0.0, "0"])
def test_no_has_many_forms(value: Any) -> None:
    assert TRUTH.read({"metal": value}) == 0.0


@pytest.mark.parametrize("value", ["perhaps", 2, 0.5, -1, [1, 0], np.inf])
def test_anything_else_is_refused(value: Any) -> None:
    found = TRUTH.read({"metal": value})
    assert isinstance(found, LabelFault)
    assert not found.lacking


@pytest.mark.parametrize("value", [None, "", float("nan"), "nan", "NaN"])
def test_rows_may_have_no_truth(value: Any) -> None:
    found = TRUTH.read({"metal": value})
    assert isinstance(found, LabelFault)
    assert found.lacking


@pytest.mark.parametrize("value", [True, "yes", "False "])
def test_a_truth_is_no_number(value: Any) -> None:
    found = LabelSource.of("gap").read({"gap": value})
    assert isinstance(found, LabelFault)
    assert "labels of yes or no are for 'kind: class'" in found.message
