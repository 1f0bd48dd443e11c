from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from mftscreen.errors import DataError
from mftscreen.writing import check_place, output_file, replacing


def test_file_is_replaced_when_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half() -> None:
        with replacing(path) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "a.txt"
    with pytest.raises(FileNotFoundError), replacing(path) as partial:
        partial.write_text("x")
    with (
        pytest.raises(DataError, match=r"a\.txt: cannot be written: No such file"),
        output_file(path) as partial,
    ):
        partial.write_text("x")


def test_file_beside_has_the_same_ending(tmp_path: Path) -> None:
    # by which ASE, matplotlib and pandas know what to write
    with replacing(tmp_path / "a.extxyz.gz") as partial:
        assert partial.name.endswith("a.extxyz.gz")
        assert partial.name.startswith(".")
        partial.touch()


def test_two_writers_with_one_process_number_do_not_share_a_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.txt"
    with replacing(path) as first, replacing(path) as second:
        first.write_text("first")
        second.write_text("second")
        assert first.read_text() == "first"
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    def write_half() -> None:
        with replacing(tmp_path / "half") as partial:
            partial.mkdir()
            (partial / "a").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert list(tmp_path.iterdir()) == []
    with replacing(tmp_path / "whole") as partial:
        partial.mkdir()
        (partial / "a").touch()
    assert list(tmp_path.iterdir()) == [tmp_path / "whole"]
    assert (tmp_path / "whole" / "a").exists()


def test_a_link_is_followed_for_users_alone(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    target, link = tmp_path / "far" / "b", tmp_path / "a.txt"
    target.write_text("old")
    link.symlink_to("far/b")
    check_place(link)
    with output_file(link) as partial:
        assert partial.suffix == ".txt"
        partial.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    target.unlink()
    with output_file(link) as partial:
        partial.write_text("again")
    assert target.read_text() == "again"
    assert list(target.parent.iterdir()) == [target]
    # a folder of links has files of its own
    with replacing(link) as partial:
        partial.write_text("own")
    assert not link.is_symlink()
    assert target.read_text() == "again"
    gone = tmp_path / "gone.txt"
    gone.symlink_to("none/b")
    with pytest.raises(DataError, match=r"gone\.txt: .*none is not a folder"):
        check_place(gone)


def test_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe.csv", tmp_path / "null.csv"
    os.mkfifo(pipe)
    link.symlink_to("/dev/null")
    for path in (pipe, link, Path("/dev/null")):
        with pytest.raises(DataError, match="cannot be written: is not a regular file"):
            check_place(path)
        with pytest.raises(DataError, match="is not a regular file"), output_file(path):
            pytest.fail("nothing is to be written")
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert Path("/dev/null").is_char_device()
    assert set(tmp_path.iterdir()) == {pipe, link}


def test_database_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with pytest.raises(DataError, match=r"a\.db: cannot be written: disk full"):
        _fill_disk(path)
    assert list(tmp_path.iterdir()) == []


def _fill_disk(path: Path) -> None:
    with output_file(path):
        raise sqlite3.OperationalError("disk full")


def test_place_of_a_file(tmp_path: Path) -> None:
    check_place(tmp_path / "new.txt")
    old = tmp_path / "old.txt"
    old.write_text("old")
    check_place(old)
    assert old.read_text() == "old"
    assert list(tmp_path.iterdir()) == [old]
    with pytest.raises(DataError, match=r"cannot be written: .*none is not a folder"):
        check_place(tmp_path / "none" / "a.txt")
    with pytest.raises(DataError, match="cannot be written: is a folder"):
        check_place(tmp_path)
    with pytest.raises(DataError, match="cannot be written: "):
        check_place(Path("/proc/self/a.csv"))
    with pytest.raises(DataError, match="cannot be written: File name too long"):
        check_place(tmp_path / ("a" * 300))
