from __future__ import annotations

import errno
import fcntl
from pathlib import Path

import pytest

from mftscreen.errors import DataError
from mftscreen.locks import try_lock


def test_a_file_is_locked_once(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("ab") as first, path.open("ab") as second:
        assert try_lock(first, tmp_path)
        assert not try_lock(second, tmp_path)
        first.close()
        assert try_lock(second, tmp_path)


def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    message = r"locked \(No locks available\); choose"
    with (
        (tmp_path / "lock").open("ab") as stream,
        pytest.raises(DataError, match=message),
    ):
        try_lock(stream, tmp_path)
