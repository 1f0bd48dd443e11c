from __future__ import annotations

import os
import signal
import subprocess
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
def test_what_goes_wrong_with_one_job_does_not_stop_the_others(
    jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one's process is killed, the second fails, the third is left."""
    started: list[subprocess.Popen[str]] = []
    start = pool._Worker._start

    def noted(worker: pool._Worker) -> subprocess.Popen[str]:
        started.append(start(worker))
        if len(started) == 1:  # before it can have imported all
            Thread(target=_kill_soon, args=(started[0].pid,)).start()
        return started[-1]

    monkeypatch.setattr(pool._Worker, "_start", noted)
    data = jobs[1].config.data.model_copy(update={"train": [tmp_path / "none.extxyz"]})
    config = jobs[1].config.model_copy(update={"data": data})
    jobs[1] = replace(jobs[1], config=config)
    with closing(do_jobs(jobs, tmp_path, threads=1)) as ended:
        (first, killed), (second, bad) = next(ended), next(ended)
    assert [first, second] == jobs[:2]
    assert killed.failed
    assert "ended by SIGKILL" in killed.text
    assert (tmp_path / first.folder / "failure.txt").read_text().strip() == killed.text
    assert bad.failed
    assert "none.extxyz" in bad.text
    folder = tmp_path / second.folder
    assert (folder / "failure.txt").read_text().strip() == bad.text
    assert not (folder / "result.json").exists()
    # nobody waits for the third
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)
    assert not (tmp_path / jobs[2].folder / "failure.txt").exists()


def _kill_soon(pid: int) -> None:
    time.sleep(0.5)
    os.kill(pid, signal.SIGKILL)


def test_nothing_to_do_is_done_at_once(tmp_path: Path) -> None:
    assert list(do_jobs([], tmp_path)) == []


def test_gpus_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5,7")
    assert [pool._visible_gpus(k, 1) for k in range(4)] == ["2", "5", "7", "2"]
    assert [pool._visible_gpus(k, 2) for k in range(2)] == ["2,5", "7,2"]
    assert pool._visible_gpus(0, 4) == "2,5,7"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert pool._visible_gpus(0, 1) is None
