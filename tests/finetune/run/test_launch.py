"""The trainer in its child process."""

from __future__ import annotations

import fcntl
import re
import sys
import threading
import time
from pathlib import Path

import pytest

from mftscreen.errors import TrainingError
from mftscreen.finetune.run import launch
from mftscreen.finetune.run.select import Selection


def _not_called(path: Path) -> dict[str, float]:
    pytest.fail(f"{path} was validated")


def test_second_trainer_in_a_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "LOCK_SECONDS", 0.2)
    with (tmp_path / launch.LOCK).open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TrainingError, match="a training still runs"):
            launch.train(tmp_path, 1, Selection(tmp_path, _not_called))


@pytest.mark.slow
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
            launch.train(tmp_path, 1, Selection(tmp_path, _not_called))
        timer.join()


def test_the_process_of_an_ended_run_is_not_named(tmp_path: Path) -> None:
    path = tmp_path / launch.LOCK
    path.write_text("4711")
    with launch._lock(tmp_path) as lock:
        assert path.read_text() == ""
        lock.write(b"4712")
        lock.flush()
        assert path.read_text() == "4712"


def test_an_end_is_noticed_at_once_with_the_reason_of_this_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "POLL_SECONDS", 100.0)
    began = time.monotonic()
    log = tmp_path / launch.LOG
    log.write_text("mftscreen.errors.TrainingError: the loss is 0\n")
    failing = [
        sys.executable,
        "-c",
        "import sys, time; time.sleep(1); sys.exit('no memory')",
    ]
    monkeypatch.setattr(launch, "build_command", lambda *_: failing)
    with pytest.raises(TrainingError, match="exit code 1: no memory"):
        launch.train(tmp_path, 1, Selection(tmp_path, _not_called))
    assert log.read_text().count("\n") == 2  # of both runs
    assert time.monotonic() - began < 50


def test_several_gpus_are_driven_by_torchrun() -> None:
    command = launch.build_command(["--finetune", "pretrained.pt"], 4, python="python")
    assert command == [
        "python", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4",
        "-m", "mftscreen.finetune.trainer.process", "input.json",
        "--skip-neighbor-stat",
        "--finetune", "pretrained.pt",
    ]  # fmt: skip
    one = launch.build_command(["--finetune", "pretrained.pt"], python="python")
    assert one == ["python", *command[5:]]


def test_missing_gpus_are_named(tmp_path: Path) -> None:
    selection = Selection(tmp_path, _not_called)
    with pytest.raises(TrainingError, match="n_gpus is 1000, and"):
        launch.train(tmp_path, 1, selection, n_gpus=1000)


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("Traceback\nmftscreen.errors.TrainingError: the loss is 0\n", "the loss is 0"),
        (
            "[rank1]: mftscreen.errors.TrainingError: the loss: 0\n"
            + "torchrun\n" * 30,
            "the loss: 0",
        ),
        ("x: Non-finite gradient: g\n", f"the loss is not finite .*; {launch.REMEDY}"),
        ("a\nRuntimeError: out of memory\n", "a | RuntimeError: out of memory"),
        ("", "the log is empty"),
    ],
)
def test_reason_is_taken_from_the_log(tmp_path: Path, log: str, reason: str) -> None:
    (tmp_path / "train.log").write_text(log)
    assert re.fullmatch(
        reason.replace("|", r"\|"), launch._reason(tmp_path / "train.log", 0)
    )
