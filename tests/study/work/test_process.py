from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mftscreen.study.config import load_study
from mftscreen.study.plan import Job, plan_jobs

COMMAND = [sys.executable, "-m", "mftscreen.study.work.process"]


@pytest.mark.slow
def test_a_job_in_and_an_outcome_out(
    write_study: Callable[..., Path], tmp_path: Path
) -> None:
    job = plan_jobs(load_study(write_study()), tmp_path)[0]
    request = {"job": job.to_json(), "directory": str(tmp_path), "threads": 1}
    with subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        # it ends with its input, and has said nothing else
        assert process.communicate() == ("", None)
    assert process.returncode == 0
    assert not answer["failed"]
    assert "MAE" in answer["text"]
    assert (tmp_path / job.folder / "job.log").exists()


@pytest.mark.slow
def test_what_cannot_even_be_begun_is_an_outcome(
    write_study: Callable[..., Path], tmp_path: Path
) -> None:
    job = plan_jobs(load_study(write_study()), tmp_path)[0]
    (tmp_path / "jobs").write_text("in the way")
    request = {"job": job.to_json(), "directory": str(tmp_path), "threads": 1}
    changed = json.loads(job.to_json())
    changed["config"]["data"]["test"] = {"ood": "file.extxyz"}
    requests = [request, request | {"job": json.dumps(changed)}]
    answers = []
    with subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for each in requests:
            process.stdin.write(json.dumps(each) + "\n")
            process.stdin.flush()
            answers.append(json.loads(process.stdout.readline()))
    assert [answer["failed"] for answer in answers] == [True, True]
    assert "Not a directory" in answers[0]["text"]
    assert "rename 'ood'" in answers[1]["text"]


@pytest.mark.slow
def test_it_ends_where_the_input_does_before_the_job_is_looked_at(
    write_study: Callable[..., Path], tmp_path: Path, tiny_task: Path
) -> None:
    request = _endless(write_study, tmp_path, tiny_task)
    line = json.dumps(request) + "\n"
    for _ in range(3):  # who is first is not known
        ended = subprocess.run(COMMAND, input=line, text=True, timeout=120, check=False)
        assert ended.returncode == 130


@pytest.mark.slow
def test_it_ends_in_the_middle_of_a_job_with_its_trainer(
    write_study: Callable[..., Path], tmp_path: Path, tiny_task: Path
) -> None:
    request = _endless(write_study, tmp_path, tiny_task)
    lock = tmp_path / Job.from_json(request["job"]).folder / ".lock"
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        while not (lock.exists() and lock.read_text()):
            assert process.poll() is None
            time.sleep(0.1)
        process.stdin.close()
        assert process.wait(60) == 130
    assert not Path("/proc", lock.read_text()).exists()


def _endless(
    write_study: Callable[..., Path], directory: Path, tiny_task: Path
) -> dict[str, Any]:
    """Return the request for a job that takes hours."""
    endless = tiny_task.with_name("endless.yaml")
    endless.write_text(tiny_task.read_text().replace("steps: 20", "steps: 1000000"))
    grids = [{"strategies": ["ft"], "folds": 1}]
    study = write_study(grids=grids, tasks={"density": str(endless)})
    job = plan_jobs(load_study(study), directory)[0]
    return {"job": job.to_json(), "directory": str(directory), "threads": 1}
