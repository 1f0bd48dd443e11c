from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from ase import Atoms

from mftscreen.data.frames import Frames
from mftscreen.data.frames import frames as module
from mftscreen.errors import DataError


@pytest.mark.parametrize("kind", ["extxyz", "aselmdb", "npy"])
def test_frames_are_read_by_number(
    kind: str,
    frames: list[Atoms],
    check_same: Callable[..., None],
    request: pytest.FixtureRequest,
) -> None:
    found = Frames([request.getfixturevalue(kind)])
    assert len(found) == len(frames)
    for number in (11, 0, 5, 5):
        check_same(found.read(number).structure, frames[number])


def test_folder_with_all_formats(
    extxyz: Path,
    aselmdb: Path,
    npy: Path,
    frames: list[Atoms],
    check_same: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_OPEN", 1)
    shutil.copy(aselmdb, tmp_path / "other.aselmdb")
    found = Frames([tmp_path])
    assert len(found) == 48
    names = [found.locate(number) for number in range(48)]
    assert len(set(names)) == 48
    assert names[:24:12] == ["frames.aselmdb#1", "frames.extxyz#0"]
    assert names[35] == f"{tmp_path.name}/npy/2/set.000#11"
    assert names[36] == "other.aselmdb#1"
    # to and fro, so that files are closed and opened again
    for number in (0, 13, 36, 1, 26, 40, 35, 12):
        check_same(found.read(number).structure, frames[number % 12])


def test_fingerprint_is_of_names_and_lengths(extxyz: Path, tmp_path: Path) -> None:
    before = Frames([extxyz]).fingerprint
    (tmp_path / "other").mkdir()
    shutil.copy(extxyz, tmp_path / "other" / extxyz.name)
    assert Frames([tmp_path / "other"]).fingerprint == before
    with extxyz.open("a") as stream:
        stream.write("1\n\nH 0 0 0\n")
    assert Frames([extxyz]).fingerprint != before


def test_what_cannot_be_streamed_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.db").touch()
    (tmp_path / "empty.extxyz").touch()
    (tmp_path / "packed.extxyz.gz").touch()
    (tmp_path / "none").mkdir()
    (tmp_path / "broken" / "system").mkdir(parents=True)
    (tmp_path / "broken" / "system" / "type.raw").touch()
    for name, message in {
        "a.db": "not of a format that can be streamed",
        "packed.extxyz.gz": "not of a format that can be streamed",
        "missing.extxyz": "no such file or folder",
        "empty.extxyz": "there is no frame in",
        "none": "holds nothing that can be streamed",
        "broken": "there is no set",
    }.items():
        with pytest.raises(DataError, match=message):
            Frames([tmp_path / name])
