from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.run import launch, progress
from mftscreen.finetune.run.progress import TrainingProgress
from mftscreen.finetune.run.run import run_training
from mftscreen.finetune.run.select import Selection

ROW = {"step": 100.0, "lr": 1e-3, "mae_trn_gap": 0.25, "rmse_f_trn_crystals": 0.5}


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def _selection(directory: Path) -> Selection:
    return Selection(directory, lambda _: {"criterion": 0.5})


def test_without_a_terminal_there_is_a_line_a_minute(
    clock: Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with TrainingProgress(_selection(tmp_path), 1000, 0, 500, shown=True) as shown:
        clock.now += 61
        shown.show(0, None)
        for done in range(1, 121):
            clock.now += 1
            shown.show(done, ROW)
    first, second, third = capsys.readouterr().err.splitlines()
    start = rf"\d\d:\d\d:\d\d {re.escape(str(tmp_path))}: step "
    assert re.fullmatch(start + "0 of 1000, too early to say when it ends", first)
    errors = "mae_gap 0.25, rmse_f_crystals 0.5"
    end = r"\w{3} \d\d:\d\d"
    expected = rf"{start}60 of 1000, {errors}, 16 min to go, until {end}"
    assert re.fullmatch(expected, second), second
    assert re.fullmatch(expected.replace("60 of", "120 of").replace("16", "15"), third)


def test_what_validation_takes_and_finds_is_in_it(
    clock: Clock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def update(selection: Selection) -> bool:
        clock.now += 100
        selection.curve[500] = {"criterion": 0.25}
        return True

    with TrainingProgress(_selection(tmp_path), 1000, 0, 500, shown=True) as shown:
        for done in range(501):
            clock.now += 0.1
            shown.show(done, None)
        monkeypatch.setattr(Selection, "update", update)
        shown.validate()
        shown.show(900, None)  # training went on
    (line,) = capsys.readouterr().err.splitlines()
    assert "step 900 of 1000, validation 0.25 at 500, " in line
    # 25 s for steps, and 100 s for the last checkpoint
    assert ", 2 min to go" in line


def test_nothing_is_said_if_not_wanted(
    clock: Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with TrainingProgress(_selection(tmp_path), 10, 0, 5, shown=False) as shown:
        clock.now += 1000
        shown.show(5, ROW)
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_a_real_training_says_its_steps(
    pretrained: Path,
    write_config: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    monkeypatch.setattr(launch, "POLL_SECONDS", 0.01)  # six steps are soon done
    config = load_config(write_config("says", "ft", pretrained=str(pretrained)))
    run_training(config, tmp_path / "says", threads=1, progress=True)
    steps = re.findall(r"step (\d+) of 6", capsys.readouterr().err)
    assert sorted(steps, key=int) == steps
    assert {"0", "6"} < set(steps)  # and some between them
    assert not (tmp_path / "says" / "steps.done").exists()
