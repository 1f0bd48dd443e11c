"""Files: compressed, damaged, missing; and what names their rows."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from mftscreen.data.readers import (
    candidate_id,
    iter_extxyz,
    open_text,
)
from mftscreen.errors import DataError


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [
        ("", bytes),
        (".gz", gzip.compress),
        (".bz2", bz2.compress),
        (".xz", lzma.compress),
    ],
)
def test_frames_are_those_that_were_written(
    tmp_path: Path,
    frames: list[Atoms],
    text: str,
    suffix: str,
    compress: Callable[[bytes], bytes],
) -> None:
    path = tmp_path / f"frames.extxyz{suffix}"
    path.write_bytes(compress(text.encode()))
    for found, written in zip(iter_extxyz(path), frames, strict=True):
        assert isinstance(found, Atoms)
        assert found.symbols.get_chemical_formula("reduce") == (
            written.symbols.get_chemical_formula("reduce")
        )
        np.testing.assert_allclose(found.positions, written.positions, atol=1e-7)
        np.testing.assert_array_equal(found.pbc, written.pbc)


def test_truncated_gz_is_an_error_after_the_frames_it_holds(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "frames.extxyz.gz"
    whole = gzip.compress(text.encode())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read past frame"):
        list(iter_extxyz(path))


@pytest.mark.parametrize(
    "content",
    [b"not gzip at all", gzip.compress(b"", mtime=0)[:10] + b"\xff" * 40],
    ids=["no header", "bad data"],
)
def test_damaged_gz_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "frames.extxyz.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"frames\.extxyz\.gz"):
        list(iter_extxyz(path))


def test_zstandard(tmp_path: Path, text: str) -> None:
    path = tmp_path / "frames.xyz.zst"
    path.write_bytes(b"")
    try:
        from backports import zstd
    except ModuleNotFoundError:
        with pytest.raises(DataError, match=r"pip install 'mftscreen\[zstd\]'"):
            list(iter_extxyz(path))
        return
    whole = zstd.compress(text.encode())
    path.write_bytes(whole)
    assert [str(atoms.symbols) for atoms in iter_extxyz(path)] == ["Si2", "OH2", "MgO"]
    for damaged in (whole[: len(whole) // 2], b"\0" * 90):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="cannot be read past frame 0"):
            list(iter_extxyz(path))


def test_damaged_xz_and_binary_files_are_errors(tmp_path: Path) -> None:
    for name in ("frames.xyz", "frames.xyz.xz"):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00\x80" * 10)
        with pytest.raises(DataError, match=name):
            list(iter_extxyz(tmp_path / name))


def test_missing_file_and_directory_cannot_be_opened(tmp_path: Path) -> None:
    for path in (tmp_path / "none.xyz", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            open_text(path)


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({}, "some.extxyz#7"),
        ({"mp_id": "mp-3"}, "mp-3"),
        ({"mp_id": "mp-3", "material_id": "a"}, "a"),
        ({"material_id": "a", "name": "b", "id": 12}, "12"),
        ({"title": "x"}, "some.extxyz#7"),
        ({"id": None, "name": " ", "entry_id": 0}, "0"),
    ],
)
def test_candidate_id(info: dict[str, object], expected: str) -> None:
    atoms = Atoms("H", info=info)
    assert candidate_id(atoms, Path("folder/some.extxyz"), 7) == expected
