from __future__ import annotations

import csv
import json

import pytest

from mftscreen.errors import DataError
from mftscreen.finetune.compare.verdict import Comparison, Result


def _results() -> Comparison:
    errors = {  # strategy -> property -> ood MAE in folds a and b
        "lp": {"gap": (0.3, 0.5), "shear": (30.0, 10.0)},
        "ft": {"gap": (0.1, 0.5), "shear": (60.0, 40.0)},
    }
    baseline = {"gap": 1.0, "shear": 50.0}
    return Comparison(
        tuple(
            Result(
                strategy,
                fold,
                name,
                {
                    "ood": {
                        "n": 20.0 - k,
                        "mae": maes[k],
                        "mae_of_training_mean": baseline[name],
                    },
                    "id": {"mae": 0.1, "mae_of_training_mean": baseline[name]},
                },
                {"w1_ood": float(k)},
            )
            for k, fold in enumerate(("a", "b"))
            for strategy, properties in errors.items()
            for name, maes in properties.items()
        )
    )


def test_the_best_has_the_smallest_relative_errors() -> None:
    # lp: 0.4 / 1 and 20 / 50; ft: 0.3 / 1 and 50 / 50
    assert _results().best == "lp"
    gap = Comparison(tuple(r for r in _results().results if r.property == "gap"))
    assert gap.best == "ft"


def test_a_property_without_ood_labels_is_left_out_of_the_choice() -> None:
    results = [
        # shear has labels in fold b only, another property in none
        r if r.property == "gap" or r.fold == "b"
        else Result(r.strategy, r.fold, r.property, {"id": r.metrics["id"]})
        for r in _results().results
    ]  # fmt: skip
    errors = {"id": {"mae": 0.1, "mae_of_training_mean": 0.0}}
    results += [Result(s, f, "hardness", errors) for f in "ab" for s in ("lp", "ft")]
    found = Comparison(tuple(results))
    # lp: 0.4 / 1 and 10 / 50; ft: 0.3 / 1 and 40 / 50
    assert found.best == "lp"
    assert found.tested_folds("shear") == ["b"]
    assert found.differences("shear", "ft") == [30.0]
    summary = json.loads(found.to_json())["summary"]
    above = {(r["property"], r["strategy"]): r["ood_mae_above_best"] for r in summary}
    assert above["shear", "ft"]["folds"] == ["b"]
    assert above["hardness", "ft"] is None
    assert "hardness: no OOD test has a label" in found.to_table()


def test_without_any_ood_label_nothing_is_best() -> None:
    metrics = {"id": {"mae": 0.1, "mae_of_training_mean": 1.0}}
    found = Comparison((Result("ft", "a", "gap", metrics),))
    with pytest.raises(DataError, match="no OOD test has a label"):
        _ = found.best


def test_a_constant_that_is_right_is_no_reason_to_fail() -> None:
    errors = {"mae": 0.0, "mae_of_training_mean": 0.0}
    assert Comparison((Result("ft", "a", "gap", {"ood": errors}),)).best == "ft"


def test_differences_are_paired_by_fold() -> None:
    shuffled = Comparison(_results().results[::-1])
    assert shuffled.folds == ["b", "a"]
    assert shuffled.differences("shear", "ft") == [30.0, 30.0]
    document = json.loads(_results().to_json())
    ft = next(
        row for row in document["summary"]
        if (row["property"], row["strategy"]) == ("gap", "ft")
    )  # fmt: skip
    assert ft["mae"]["ood"] == {"mean": 0.3, "std": pytest.approx(0.08**0.5)}
    assert ft["ood_mae_above_best"]["by_fold"] == pytest.approx([-0.2, 0.0])
    assert document["best"] == "lp"


def test_tables_for_people_and_programs() -> None:
    table = _results().to_table()
    assert "gap: MAE mean ± standard deviation of 2 folds" in table
    assert ["lp", "0.1", "±", "0", "0.4", "±", "0.141", "0.5", "±", "0.707"] in [
        line.split() for line in table.splitlines()
    ]
    assert "shear: OOD MAE above that of lp, by fold" in table
    shown = [line.split() for line in table.splitlines()]
    assert ["strategy", "id", "ood", "w1_ood"] in shown
    assert ["(OOD", "rows)", "20", "19"] in shown
    small = [line for line in table.splitlines() if "fewer than 20" in line]
    assert small == [
        f"{name}: fewer than 20 OOD rows, which decide little, in b"
        for name in ("gap", "shear")
    ]
    rows = list(csv.DictReader(_results().to_csv().splitlines()))
    assert len(rows) == 8
    names = list(rows[0])
    assert names[:4] == ["strategy", "fold", "property", "id_mae"]
    assert names[5:7] == ["ood_n", "ood_mae"]
    assert names[-2:] == ["w1_ood", "model"]
    assert rows[0]["strategy"] == "lp"
    assert float(rows[0]["ood_mae"]) == 0.3
    assert float(rows[-1]["w1_ood"]) == 1.0
