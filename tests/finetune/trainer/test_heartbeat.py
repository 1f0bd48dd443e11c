from __future__ import annotations

from pathlib import Path

import pytest

from mftscreen.finetune.trainer.heartbeat import Heartbeat, forget_steps, read_steps


def test_what_is_told_is_read(tmp_path: Path) -> None:
    assert read_steps(tmp_path) is None
    heartbeat = Heartbeat(tmp_path)
    assert read_steps(tmp_path) is None
    for steps in (0, 9, 10, 123_456_789):
        heartbeat.tell(steps)
        assert read_steps(tmp_path) == steps
    Heartbeat(tmp_path)
    assert read_steps(tmp_path) is None
    heartbeat.tell(1)
    forget_steps(tmp_path)
    assert read_steps(tmp_path) is None
    forget_steps(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_a_full_disk_does_not_end_the_training(tmp_path: Path) -> None:
    (tmp_path / "steps.done").symlink_to("/dev/full")
    Heartbeat(tmp_path).tell(1)
