"""The trainer in its child process."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path

import pytest

from mftscreen.errors import TrainingError
from mftscreen.finetune import launch


def test_second_trainer_in_a_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "LOCK_SECONDS", 0.2)
    with (tmp_path / launch.LOCK).open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TrainingError, match="a training still runs"):
            launch.train(tmp_path, 1)


def test_trainer_that_is_just_ending_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "POLL_SECONDS", 0.05)
    with (tmp_path / launch.LOCK).open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        timer = threading.Timer(0.2, fcntl.flock, (held, fcntl.LOCK_UN))
        timer.start()
        # there is no input.json: it is deepmd-kit that gives up
        with pytest.raises(TrainingError, match="exit code"):
            launch.train(tmp_path, 1)
        timer.join()
