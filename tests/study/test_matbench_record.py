"""The record is read by the package that defines it."""

from __future__ import annotations

import gzip
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mftscreen.errors import DataError
from mftscreen.finetune.outcome.predictions import (
    Prediction,
    read_predictions,
    write_predictions,
)
from mftscreen.metrics import regression_metrics
from mftscreen.study.matbench_record import write_matbench_record
from mftscreen.study.plan import Conditions
from mftscreen.study.run import Study

bench = pytest.importorskip("matbench.bench")
TASK = "matbench_jdft2d"


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Return a study of five finished jobs, their predictions made up."""
    from matbench.metadata import mbv01_validation

    draw = np.random.default_rng(0)
    folders = {}
    for k in range(5):
        conditions = Conditions(
            "jdft2d", "random", f"fold_{k}", "kernel", in_distribution=True
        )
        folder = folders[conditions] = tmp_path / str(k)
        folder.mkdir()
        ids = mbv01_validation.splits[TASK][f"fold_{k}"].test
        rows = [
            Prediction("e", "ood", name, float(label), float(label + error))
            for name, (label, error) in zip(
                ids, draw.normal(size=(len(ids), 2)), strict=True
            )
        ]
        # in any order, beside what is no test
        rows = [Prediction("e", "validation", "x", 0.0, 1.0), *rows[::-1]]
        write_predictions(folder / "predictions.csv", rows)
    return Study("made_up", None, (), (), {}, folders)


def _load(path: Path) -> Any:
    logging.getLogger("matbench").setLevel(logging.ERROR)
    return bench.MatbenchBenchmark.from_dict(
        json.loads(gzip.decompress(path.read_bytes()))
    )


def test_the_package_reads_it_and_scores_as_we_do(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results.json.gz"
    write_matbench_record(study, path)
    assert capsys.readouterr().out == ""
    read = _load(path)
    task = read.tasks_map[TASK]
    assert task.all_folds_recorded
    for number, (conditions, folder) in enumerate(study.folders.items()):
        found = task.results[task.folds_map[number]]
        lines = (folder / "predictions.csv").read_text().splitlines()[2:]
        rows = [line.split(",") for line in lines]
        assert found.data == {row[2]: float(row[4]) for row in rows}
        predicted, labels = ([float(row[k]) for row in rows] for k in (4, 3))
        ours = regression_metrics(predicted, labels)
        assert found.scores.mae == pytest.approx(ours["mae"], rel=1e-12)
        assert found.scores.rmse == pytest.approx(ours["rmse"], rel=1e-12)
        assert found.parameters.job == str(conditions)
    assert read.user_metadata["study"] == "made_up"


def test_what_is_no_record_is_refused(study: Study, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    first, *others = study.folders.items()
    less = Study("s", None, (), (), {}, dict(others))
    with pytest.raises(DataError, match="no finished job for fold_0"):
        write_matbench_record(less, path)
    twice = Conditions("jdft2d", "random", "fold_0", "ft", in_distribution=True)
    more = Study("s", None, (), (), {}, {**study.folders, twice: first[1]})
    with pytest.raises(DataError, match="use --only"):
        write_matbench_record(more, path)
    mixed = dict(others)
    mixed[replace(first[0], strategy="ft")] = first[1]
    with pytest.raises(DataError, match="one way of training"):
        write_matbench_record(Study("s", None, (), (), {}, mixed), path)
    none = Study(
        "s", None, (), (), {}, {Conditions("x", "random", "a", "ft"): tmp_path}
    )
    with pytest.raises(DataError, match="no finished job is of random folds"):
        write_matbench_record(none, path)
    swapped = {**study.folders, first[0]: others[0][1]}
    with pytest.raises(DataError, match="fold_0: 0 of 128 test rows are those"):
        write_matbench_record(Study("s", None, (), (), {}, swapped), path)
    rows = read_predictions(first[1] / "predictions.csv")
    both = [*rows, *(replace(row, property="f") for row in rows)]
    write_predictions(first[1] / "predictions.csv", both)
    with pytest.raises(DataError, match=r"several properties .e, f., MatBench one"):
        write_matbench_record(study, path)
    assert not path.exists()
