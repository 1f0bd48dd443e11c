from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mftscreen.study.job import JobResult, PropertyResult
from mftscreen.study.plan import Conditions
from mftscreen.study.published import load_published
from mftscreen.study.summary import Way, common_folds, measurements, summarize


def result(strategy: str, fold: str, mae: float, **others: Any) -> JobResult:
    conditions = Conditions("dielectric", "loco", fold, strategy, **others)
    metrics = {
        "validation": {"n": 9.0, "mae": 9.0, "rmse": 9.0},
        "ood": {"n": 9.0, "mae": mae, "rmse": 2 * mae},
    }
    found = PropertyResult("n", "1", 100, metrics, {"w1_ood": 3.0, "w1_train": 1.0})
    return JobResult(conditions, "0", (found,), 1.0)


RESULTS = [
    result("scratch", "a", 0.4),
    result("scratch", "b", 1.0),
    result("ft", "a", 0.2, seed=1),
    result("ft", "a", 0.4, seed=2),
    result("ft", "b", 1.2),
    result("ft", "c", 5.0),
]


def test_gains_are_paired_by_fold() -> None:
    scratch, ft = summarize(measurements(RESULTS), load_published("table_4"))
    assert ft.way == Way("ft", "", "", 1.0)
    assert (ft.folds, ft.n_runs, ft.test) == (("a", "b", "c"), 4, "ood")
    # (0.2 + 0.4 + 1.2 + 5.0) / 4
    assert ft.numbers["mae"].mean == pytest.approx(1.7)
    assert ft.numbers["rmse"].mean == pytest.approx(3.4)
    assert ft.numbers["w1"].mean == 3.0
    # fold a, seed 1: 0.2 for 0.4; fold b: 1.2 for 1.0; fold c has no scratch
    assert ft.gains["mae"].mean == pytest.approx((50 - 20) / 2)
    assert ft.gains["rmse"].std == pytest.approx(70 / 2**0.5)
    assert ft.published == 0.5305
    assert scratch.gains == {}
    assert scratch.published is None


def test_gains_are_paired_by_seed_where_both_have_it() -> None:
    def gain(*others: JobResult) -> float:
        results = [
            result("scratch", "a", 1.0, seed=1),
            result("scratch", "a", 3.0, seed=2),
        ]
        _, ft = summarize(measurements([*results, *others]), None)
        return ft.gains["mae"].mean

    assert gain(result("ft", "a", 0.9, seed=1)) == pytest.approx(10)
    assert gain(result("ft", "a", 0.9, seed=5)) == pytest.approx(55)


def test_what_was_published_of_another_quantity_is_not_beside() -> None:
    table = load_published("table_4")

    def published(*quantities: tuple[str, str]) -> set[float | None]:
        own = result("ft", "a", 0.2)
        metrics = own.properties[0].metrics
        found = tuple(PropertyResult(*each, 100, metrics) for each in quantities)
        measured = measurements([replace(own, properties=found)])
        return {s.published for s in summarize(measured, table)}

    assert published(("n", "1")) == {0.5305}
    assert published(("n", "%")) == {None}
    assert published(("n", "1"), ("gap", "1")) == {None}


def test_other_backbones_and_shares_have_their_own_scratch() -> None:
    others = [
        result("scratch", "a", 1.0, backbone="x"),
        result("ft", "a", 0.5, backbone="x"),
        result("ft", "a", 0.5, train_share=0.5),
    ]
    found = {s.way: s for s in summarize(measurements([*RESULTS, *others]))}
    assert found[Way("ft", "x", "", 1.0)].gains["mae"].mean == 50
    assert found[Way("ft", "", "", 0.5)].gains == {}
    assert found[Way("ft", "", "", 1.0)].gains["mae"].mean == pytest.approx(15)


def test_common_folds_are_those_of_every_line() -> None:
    found = common_folds(measurements(RESULTS))
    assert {m.conditions.fold for m in found} == {"a", "b"}
    assert len(found) == 5
    scratch, ft = summarize(found)
    assert scratch.folds == ft.folds == ("a", "b")
