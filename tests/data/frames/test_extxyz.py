from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ase import Atoms

from mftscreen.data.frames import extxyz as module
from mftscreen.data.frames.extxyz import ExtxyzFile
from mftscreen.errors import DataError


def test_index_is_made_once_and_shared(
    extxyz: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ExtxyzFile(extxyz)
    (index,) = (cache / "frames").iterdir()
    assert index.stat().st_size == 8 * 12
    monkeypatch.setattr(module, "_begins", lambda _: pytest.fail("made again"))
    assert len(ExtxyzFile(extxyz)) == 12


def test_another_file_at_the_same_place_has_another_index(
    extxyz: Path, frames: list[Atoms], check_same: Callable[..., None]
) -> None:
    assert len(ExtxyzFile(extxyz)) == 12
    lines = extxyz.read_text().splitlines(keepends=True)
    extxyz.write_text("".join(lines[4:]))
    again = ExtxyzFile(extxyz)
    assert len(again) == 11
    check_same(again.read(0).structure, frames[1])


def test_without_a_cache_the_index_is_in_memory(
    extxyz: Path,
    frames: list[Atoms],
    check_same: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MFTSCREEN_CACHE", str(tmp_path / "file"))
    check_same(ExtxyzFile(extxyz).read(7).structure, frames[7])


def test_marks_empty_lines_and_line_ends(extxyz: Path) -> None:
    text = extxyz.read_bytes().replace(b"\n", b"\r\n")
    extxyz.write_bytes(b"\xef\xbb\xbf" + text + b"\r\n \r\n" + text)
    file = ExtxyzFile(extxyz)
    assert len(file) == 24
    for number in (0, 11, 12, 23):
        row = file.read(number)
        assert row.structure.calc.results["energy"] == -10.0 - number % 12
        assert row.values["trajectory"] == f"t{number % 12 // 3}"


def test_frames_that_are_damaged_are_named(extxyz: Path) -> None:
    lines = extxyz.read_text().splitlines(keepends=True)
    lines[6] = "Xx 0 0 0 0 0 0\n"
    extxyz.write_text("".join(lines[:-1]))
    file = ExtxyzFile(extxyz)
    assert isinstance(file.read(0).structure, Atoms)
    for number, message in ((1, "frame 1 is not valid"), (11, "file ends within it")):
        error = file.read(number).structure
        assert isinstance(error, DataError)
        assert message in str(error)


@pytest.mark.parametrize("kept", [True, False])
def test_frame_that_claims_the_rest_of_the_file_is_not_read(
    kept: bool, extxyz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kept:
        (tmp_path / "file").touch()
        monkeypatch.setenv("MFTSCREEN_CACHE", str(tmp_path / "file"))
    size = len("".join(extxyz.read_text().splitlines(keepends=True)[:4]))
    monkeypatch.setattr(module, "MAX_FRAME_BYTES", 2 * size)
    text = extxyz.read_text()
    extxyz.write_text(text + "9" * 12 + "\n" + text)
    file = ExtxyzFile(extxyz)
    assert len(file) == 13
    assert isinstance(file.read(11).structure, Atoms)
    assert f"more than {2 * size} bytes" in str(file.read(12).structure)


@pytest.mark.parametrize("header", ["two", "9" * 30, "-1"])
def test_file_without_numbers_of_atoms(tmp_path: Path, header: str) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(f"1\n\nH 0 0 0\n{header}\n\nH 0 0 0\n")
    with pytest.raises(DataError, match="frame 1 should begin with its number of"):
        ExtxyzFile(path)
