from __future__ import annotations

import errno
import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest

from mftscreen.study import job as job_module
from mftscreen.study.config import load_study
from mftscreen.study.plan import Job, plan_jobs
from mftscreen.study.work import outcome as module
from mftscreen.study.work.outcome import attempt


@pytest.fixture
def job(write_study: Callable[..., Path], tmp_path: Path) -> Job:
    job = plan_jobs(load_study(write_study()), tmp_path)[0]
    (tmp_path / job.folder).mkdir(parents=True)
    return job


def test_a_job_that_is_locked_is_left_and_has_not_failed(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_module, "LOCK_SECONDS", 0.0)
    with (tmp_path / job.folder / ".job.lock").open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        found = attempt(job, tmp_path, 1)
    assert not found.failed
    assert found.text.startswith("left to another process: the job in ")
    assert not (tmp_path / job.folder / "failure.txt").exists()


def test_a_file_system_without_locks_is_a_failure(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    found = attempt(job, tmp_path, 1)
    assert found.failed
    assert "cannot be locked (Function not implemented)" in found.text
    assert (tmp_path / job.folder / "failure.txt").read_text() == f"{found.text}\n"


def test_a_full_disk_is_told_of_though_it_cannot_be_noted(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "run_job", full)
    monkeypatch.setattr(Path, "write_text", full)
    found = attempt(job, tmp_path, 1)
    assert found.failed
    assert "No space left on device" in found.text


def test_a_fault_of_ours_is_an_outcome_too(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        msg = "two\nlines"
        raise RuntimeError(msg)

    monkeypatch.setattr(module, "run_job", fail)
    found = attempt(job, tmp_path, 1)
    assert found.failed
    assert found.text == "RuntimeError: two lines"
    failure = tmp_path / job.folder / "failure.txt"
    assert failure.read_text() == "RuntimeError: two lines\n"
