from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

from mftscreen.study.job import JobResult, PropertyResult
from mftscreen.study.plan import Conditions
from mftscreen.study.published import load_published
from mftscreen.study.run import Study
from mftscreen.study.summary import measurements, summarize
from mftscreen.study.tables import to_csv, to_json, to_text


def _result(split: str, strategy: str, fold: str, mae: float) -> JobResult:
    inside = split == "random"
    conditions = Conditions("dielectric", split, fold, strategy, in_distribution=inside)
    metrics = {"id" if inside else "ood": {"n": 9.0, "mae": mae, "rmse": 2 * mae}}
    found = PropertyResult("n", "1", 100, metrics)
    return JobResult(conditions, "0", (found,), 1.0)


RESULTS = (
    _result("random", "scratch", "fold_0", 0.5),
    _result("random", "mft", "fold_0", 0.4),
    _result("loco", "scratch", "1", 0.8),
    _result("loco", "scratch", "2", 1.0),
    _result("loco", "mft", "1", 0.6),
)
TABLE = load_published("table_4")


def test_published_numbers_stand_beside_and_random_folds_are_in_distribution() -> None:
    text = to_text(summarize(measurements(RESULTS), TABLE), TABLE)
    random, loco = text.split("\n\n")
    title, header, scratch, mft, others = random.splitlines()
    assert title == "dielectric, random: n (1), mean ± standard deviation over runs"
    assert "OOD" not in random
    assert header.split("  ")[0] == "strategy"
    assert "ID MAE below scratch, %" in header
    assert mft.split() == ["mft", "1", "1", "0.4", "0.8", "+20.0", "0.2639"]
    assert scratch.split() == ["scratch", "1", "1", "0.5", "1"]
    assert others.startswith("arXiv:2601.08486, Table 4, all folds, ID MAE: CGCNN")
    assert "ID " not in loco.replace("arXiv", "")
    assert "0.9 ± 0.141" in loco
    assert "+25.0" in loco
    assert "DPA3-MFT 0.469" in loco
    assert "Lines differ in their folds; --common-folds" in loco
    assert "Lines differ" not in random


def test_what_json_has_no_number_for_is_null() -> None:
    (first,) = RESULTS[2].properties
    metrics = {"ood": {**first.metrics["ood"], "r2": float("nan")}}
    lone = replace(RESULTS[2], properties=(replace(first, metrics=metrics),))
    study = Study("made up", None, (lone,), (), {}, {})
    text = to_json(study, found := measurements([lone]), summarize(found), None)
    assert "NaN" not in text
    (part,) = json.loads(text)["results"][0]["properties"]
    assert part["metrics"]["ood"]["r2"] is None


def test_published_errors_in_another_unit_are_left_out() -> None:
    found = measurements(RESULTS)
    assert "DPA3-MFT 0.469" in to_text(summarize(found, TABLE), TABLE, "mae")
    other = [replace(each, unit="%") for each in found]
    assert "DPA3-MFT" not in to_text(summarize(other, TABLE), TABLE, "mae")


def test_published_errors_are_left_out_of_a_task_with_several_properties() -> None:
    found = measurements(RESULTS)
    both = [*found, *(replace(each, name="k") for each in found)]
    assert "DPA3-MFT" not in to_text(summarize(both, TABLE), TABLE, "mae")


def test_published_errors_have_the_spread_that_was_printed() -> None:
    table = load_published("table_3")
    first = measurements(RESULTS)[0]
    conditions = replace(first.conditions, task="r2_bohr2", split="kde_tails")
    unit = table.units["r2_bohr2"]
    found = [replace(first, conditions=conditions, unit=unit, test="ood")]
    text = to_text(summarize(found, table), table, "mae")
    assert "DPA3-FT 18.7 ± 2.1" in text
    assert "MACE 68.3," in text


def test_folds_in_another_order_are_the_same() -> None:
    folds = [("ft", "1"), ("ft", "2"), ("mft", "2"), ("mft", "1")]
    found = measurements([_result("loco", *each, 0.5) for each in folds])
    assert "Lines differ" not in to_text(summarize(found), None, "mae")


def test_csv_has_every_number_and_json_what_is_missing() -> None:
    found = measurements(RESULTS)
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert len(rows) == 5
    assert rows[4]["test"] == "ood"
    assert (rows[4]["fold"], float(rows[4]["rmse"])) == ("1", 1.2)
    missing = Conditions("dielectric", "loco", "2", "mft")
    folders = {r.conditions: Path(r.conditions.slug) for r in RESULTS}
    study = Study("made up", "table_4", RESULTS, (missing,), {}, folders)
    document = json.loads(to_json(study, found, summarize(found, TABLE), TABLE))
    assert document["published"] == "arXiv:2601.08486, Table 4"
    assert document["missing"][0]["fold"] == "2"
    (mft,) = (
        s
        for s in document["summary"]
        if s["way"]["strategy"] == "mft" and s["split"] == "loco"
    )
    assert mft["published"] == 0.469
    assert mft["numbers"]["mae"] == {"mean": 0.6, "std": None}
    assert len(document["results"]) == len(RESULTS)
    part = json.loads(to_json(study, found[:1], summarize(found[:1]), None))
    (kept,) = part["results"]
    assert Conditions(**kept["conditions"]) == found[0].conditions


def test_the_gain_on_a_class_is_that_of_its_log_loss() -> None:
    results = []
    for strategy, error in (("scratch", 0.4), ("ft", 0.3)):
        metrics = {"ood": {"n": 9.0, "log_loss": error}}
        found = PropertyResult("metal", "probability", 9, metrics)
        conditions = Conditions("metal", "loco", "1", strategy)
        results.append(JobResult(conditions, "0", (found,), 1.0))
    text = to_text(summarize(measurements(results)))
    assert "OOD log loss below scratch, %" in text
    assert "+25.0" in text
