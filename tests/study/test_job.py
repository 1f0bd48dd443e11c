from __future__ import annotations

import fcntl
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mftscreen.errors import DataError, WorkerError
from mftscreen.finetune.outcome.predictions import PREDICTIONS, read_predictions
from mftscreen.metrics import classification_metrics
from mftscreen.model.files.bundle import read_bundle
from mftscreen.study import job as module
from mftscreen.study.config import load_study
from mftscreen.study.job import JobResult, PropertyResult, read_result, run_job
from mftscreen.study.plan import Conditions, Job, plan_jobs


@pytest.fixture
def kernel(write_study: Callable[..., Path], tmp_path: Path) -> Job:
    return plan_jobs(load_study(write_study()), tmp_path)[0]


def test_a_job_is_done_once(kernel: Job, tmp_path: Path) -> None:
    assert read_result(tmp_path, kernel.folder, kernel.fingerprint) is None
    result = run_job(kernel, tmp_path)
    folder = tmp_path / kernel.folder
    (found,) = result.properties
    card = read_bundle(folder / "model.mft").card.properties["number_density"]
    # the test of a random fold is in-distribution
    assert list(found.metrics) == ["validation", "id"]
    assert found.metrics["id"] == card.metrics["ood"]
    assert (found.unit, found.n_train) == ("1/nm^3", card.n_train)
    rows = [row for row in read_predictions(folder / PREDICTIONS) if row.part == "ood"]
    errors = [abs(row.prediction - row.label) for row in rows]
    assert np.mean(errors) == pytest.approx(found.metrics["id"]["mae"], rel=1e-12)
    assert str(result).startswith("number_density id MAE ")
    written = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert run_job(kernel, tmp_path) == result
    assert read_result(tmp_path, kernel.folder, kernel.fingerprint) == result
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == written


def test_a_class_is_told_of_by_its_log_loss() -> None:
    metrics = {"id": classification_metrics([0.5], [1])}
    found = PropertyResult("stable", "probability", 9, metrics)
    result = JobResult(Conditions("t", "s", "0", "kernel"), "", (found,), 1.0)
    assert str(result) == "stable id log loss 0.6931, 1 s"


def test_the_result_of_another_configuration_is_none(
    kernel: Job, tmp_path: Path
) -> None:
    result = JobResult(kernel.conditions, kernel.fingerprint, (), 1.0)
    folder = tmp_path / kernel.folder
    folder.mkdir(parents=True)
    path = folder / "result.json"
    document = {**vars(result), "conditions": vars(kernel.conditions)}
    path.write_text(json.dumps(document))
    assert read_result(tmp_path, kernel.folder, kernel.fingerprint) == result
    other = replace(kernel, fingerprint=kernel.fingerprint[:8] + 56 * "0")
    assert other.folder == kernel.folder
    assert read_result(tmp_path, other.folder, other.fingerprint) is None
    path.write_text(path.read_text()[:-5])
    with pytest.raises(DataError, match=r"result\.json.*remove it"):
        read_result(tmp_path, kernel.folder, kernel.fingerprint)


def test_a_job_that_another_process_is_at_is_left_to_it(
    kernel: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.0)
    folder = tmp_path / kernel.folder
    folder.mkdir(parents=True)
    with (folder / ".job.lock").open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(WorkerError, match=r"the job in .* is locked"):
            run_job(kernel, tmp_path)
    assert [path.name for path in folder.iterdir()] == [".job.lock"]


@pytest.mark.slow
def test_a_training_leaves_no_checkpoints_but_its_model(
    write_study: Callable[..., Path], tmp_path: Path
) -> None:
    grids = [{"strategies": ["ft"], "folds": 1}]
    study = load_study(write_study(grids=grids, collapse_report=True))
    (job,) = plan_jobs(study, tmp_path)
    (found,) = run_job(job, tmp_path, threads=1).properties
    assert {"w1_train", "w1_id"} <= found.drift.keys()
    assert "w1_ood" not in found.drift
    folder = tmp_path / job.folder
    names = {path.name for path in folder.iterdir()}
    assert {"model.mft", "predictions.csv", "lcurve.out", "collapse.html"} <= names
    assert not {name for name in names if name.startswith(("model.ckpt", "data"))} - {
        "data.sha256"
    }
    # without its result, it begins anew
    (folder / "result.json").unlink()
    (again,) = run_job(job, tmp_path, threads=1).properties
    assert again.metrics["id"]["n"] == found.metrics["id"]["n"]
    assert (folder / "lcurve.out").read_text().count("step") == 1
