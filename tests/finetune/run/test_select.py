"""Best checkpoint, patience and what stays on disk."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from mftscreen.finetune.run.select import Selection, checkpoints
from mftscreen.finetune.run.validation import CRITERION


class Errors:
    """Gives a checkpoint the error that is written in it, and counts."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, path: Path) -> Mapping[str, float]:
        self.seen.append(path.name)
        with zipfile.ZipFile(path) as archive:
            return {CRITERION: float(archive.read("error"))}


def _save(directory: Path, step: int, error: float, name: str = "model.ckpt") -> Path:
    path = directory / f"{name}-{step}.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("error", str(error))
    return path


def test_best_and_last_are_kept(tmp_path: Path) -> None:
    errors = Errors()
    selection = Selection(tmp_path, errors)
    assert selection.best is None
    for step, error in [(10, 3.0), (20, 1.0), (30, 2.0), (40, 1.5)]:
        _save(tmp_path, step, error)
        assert selection.update()
    assert not selection.update()
    assert list(checkpoints(tmp_path)) == [20, 40]
    assert selection.best == 20
    assert selection.best_path == checkpoints(tmp_path)[20]
    assert list(selection.curve) == [10, 20, 30, 40]
    again = Selection(tmp_path, errors)
    assert not again.update()
    assert again.curve == selection.curve
    assert len(errors.seen) == 4


@pytest.mark.parametrize(
    ("errors", "exhausted"),
    [
        ([3.0, 2.0, 1.0], False),
        ([1.0, 2.0], False),
        ([1.0, 2.0, 3.0], True),
        ([1.0, 1.0, 1.0], True),  # as good is not better
        ([2.0, 3.0, 1.0, 4.0], False),
        ([float("inf")] * 3, False),
    ],
)
def test_patience(tmp_path: Path, errors: list[float], exhausted: bool) -> None:
    selection = Selection(tmp_path, Errors(), patience=2)
    for k, error in enumerate(errors, start=1):
        _save(tmp_path, k, error)
        selection.update()
    assert selection.is_exhausted == exhausted


def test_diverged_checkpoints_are_never_best(tmp_path: Path) -> None:
    selection = Selection(tmp_path, Errors())
    for step, error in [(1, float("inf")), (2, 5.0), (3, float("nan"))]:
        _save(tmp_path, step, error)
    selection.update()
    assert selection.best == 2
    assert Selection(tmp_path, Errors()).best == 2


def test_checkpoint_that_is_still_being_written_waits(tmp_path: Path) -> None:
    selection = Selection(tmp_path, Errors())
    path = _save(tmp_path, 5, 1.0)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert not selection.update()
    path.write_bytes(whole)
    assert selection.update()


def test_torn_checkpoint_is_dropped_with_its_errors(tmp_path: Path) -> None:
    selection = Selection(tmp_path, Errors())
    for step, error in [(5, 1.0), (10, 2.0)]:
        path = _save(tmp_path, step, error)
        selection.update()
    path.write_bytes(path.read_bytes()[:20])
    resumed = Selection(tmp_path, Errors())
    assert resumed.rewind() == 5
    assert list(checkpoints(tmp_path)) == [5]
    assert list(resumed.curve) == [5]


def test_a_checkpoint_without_its_average_is_dropped(tmp_path: Path) -> None:
    selection = Selection(tmp_path, Errors(), averaged=True)
    for step in (5, 10):
        _save(tmp_path, step, 0.0)
        if step == 5:
            _save(tmp_path, step, 1.0, "model_ema.ckpt")
            selection.update()
    # killed between the two files
    resumed = Selection(tmp_path, Errors(), averaged=True)
    assert resumed.rewind() == 5
    assert list(checkpoints(tmp_path)) == [5]
    assert resumed.best == 5


def test_nothing_left_is_the_beginning(tmp_path: Path) -> None:
    _save(tmp_path, 5, 1.0).write_bytes(b"")
    (tmp_path / "validation.json").write_text(json.dumps({"5": {CRITERION: 1.0}}))
    selection = Selection(tmp_path, Errors())
    assert selection.rewind() == 0
    assert selection.curve == {}


def test_averaged_weights_are_validated_and_the_last_ones_kept(tmp_path: Path) -> None:
    errors = Errors()
    selection = Selection(tmp_path, errors, averaged=True)
    for step, error in [(1, 1.0), (2, 3.0), (3, 2.0)]:
        _save(tmp_path, step, 0.0)
        assert not selection.update()  # the average is written after the weights
        _save(tmp_path, step, error, "model_ema.ckpt")
        assert selection.update()
    assert set(errors.seen) == {f"model_ema.ckpt-{step}.pt" for step in (1, 2, 3)}
    assert selection.best_path.name == "model_ema.ckpt-1.pt"
    assert list(checkpoints(tmp_path)) == [1, 3]
    assert list(checkpoints(tmp_path, "model_ema.ckpt")) == [1, 3]
