from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from mftscreen.study.config import load_study
from mftscreen.study.plan import Job, plan_jobs
from mftscreen.study.work import pool
from mftscreen.study.work.pool import do_jobs


@pytest.fixture
def jobs(write_study: Callable[..., Path], tmp_path: Path) -> list[Job]:
    return plan_jobs(load_study(write_study()), tmp_path)


@pytest.mark.slow
def test_a_job_that_fails_does_not_stop_the_others(
    jobs: list[Job], tmp_path: Path
) -> None:
    data = jobs[1].config.data.model_copy(update={"train": [tmp_path / "none.extxyz"]})
    config = jobs[1].config.model_copy(update={"data": data})
    jobs[1] = replace(jobs[1], config=config)
    ended = do_jobs(jobs, tmp_path, n_jobs=2, threads=1)
    outcomes = {job.folder: outcome for job, outcome in ended}
    first, second, third = (outcomes[job.folder] for job in jobs)
    assert (first.failed, second.failed, third.failed) == (False, True, False)
    failed = tmp_path / jobs[1].folder
    assert "none.extxyz" in second.text
    assert (failed / "failure.txt").read_text().strip() == second.text
    assert not (failed / "result.json").exists()
    assert "MAE" in first.text


@pytest.mark.slow
def test_a_process_that_dies_is_replaced(
    jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    start = pool._Worker._start

    def noted(worker: pool._Worker) -> object:
        process = start(worker)
        started.append(process.pid)
        if len(started) == 1:  # before it can have imported all
            Thread(target=_kill_soon, args=(process.pid,)).start()
        return process

    monkeypatch.setattr(pool._Worker, "_start", noted)
    outcomes = [outcome for _, outcome in do_jobs(jobs, tmp_path, threads=1)]
    assert [outcome.failed for outcome in outcomes] == [True, False, False]
    assert "ended by SIGKILL" in outcomes[0].text
    assert len(started) == 2


def _kill_soon(pid: int) -> None:
    time.sleep(0.5)
    os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_processes_end_when_nobody_waits_for_them(
    jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    start = pool._Worker._start

    def noted(worker: pool._Worker) -> object:
        started.append(start(worker))
        return started[-1]

    monkeypatch.setattr(pool._Worker, "_start", noted)
    with closing(do_jobs(jobs, tmp_path, threads=1)) as outcomes:
        next(outcomes)
    (process,) = started
    assert process.poll() is not None


def test_nothing_to_do_is_done_at_once(tmp_path: Path) -> None:
    assert list(do_jobs([], tmp_path)) == []


def test_gpus_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5,7")
    assert [pool._visible_gpus(k, 1) for k in range(4)] == ["2", "5", "7", "2"]
    assert [pool._visible_gpus(k, 2) for k in range(2)] == ["2,5", "7,2"]
    assert pool._visible_gpus(0, 4) == "2,5,7"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert pool._visible_gpus(0, 1) is None
