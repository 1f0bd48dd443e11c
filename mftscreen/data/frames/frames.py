"""Files and folders of frames, taken together and read by number."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Protocol

from mftscreen.data.frames.extxyz import ExtxyzFile
from mftscreen.data.frames.lmdb import LmdbFile
from mftscreen.data.frames.npy import NpySet
from mftscreen.data.readers.files import Row
from mftscreen.errors import DataError

__all__ = ["Frames"]

FORMATS = "deepmd/npy folders, .aselmdb, .extxyz and .xyz, not compressed"
MAX_OPEN = 200
"""Files at a time: a process may have about a thousand."""
_TEXT = (".extxyz", ".xyz")
_LMDB = ".aselmdb"


class _File(Protocol):
    """A file whose frames are read by number."""

    path: Path
    name: str
    first: int

    def __len__(self) -> int: ...

    def read(self, number: int) -> Row: ...


class Frames:
    """The frames of several files and folders, by number, which stay where they are.

    Parameters
    ----------
    paths : sequence of Path
        Files ``.aselmdb``, ``.extxyz`` or ``.xyz``, or folders that have such files or
        deepmd/npy systems, standard or mixed-type, anywhere below them.

    Raises
    ------
    DataError
        If there is no such file or folder, it holds no frame, is of another format or
        cannot be read.

    Examples
    --------
    >>> frames = Frames([Path("omat24/rattled-1000")])  # doctest: +SKIP
    >>> len(frames), frames.read(17).structure  # doctest: +SKIP
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._files = [file for path in paths for file in _open(path)]
        self._opened: dict[Path, LmdbFile] = {}
        self._ends = list(accumulate(len(file) for file in self._files))
        if not len(self):
            shown = ", ".join(map(str, paths))
            msg = f"there is no frame in {shown}"
            raise DataError(msg)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def read(self, number: int) -> Row:
        """Return a frame.

        Parameters
        ----------
        number : int
            From 0 to ``len(frames) - 1``.

        Returns
        -------
        Row
            Whose structure is an error if the frame cannot be read.

        Raises
        ------
        DataError
            If its file cannot be opened any more.
        """
        file, inside = self._find(number)
        if isinstance(file, LmdbFile):  # which stays open
            # the one that was read last comes last
            self._opened.pop(file.path, None)
            self._opened[file.path] = file
            if len(self._opened) > MAX_OPEN:
                self._opened.pop(next(iter(self._opened))).close()
        return file.read(inside)

    def locate(self, number: int) -> str:
        """Return the name of a frame, its file's and its number there.

        Parameters
        ----------
        number : int
        """
        file, inside = self._find(number)
        return f"{file.name}#{inside + file.first}"

    def _find(self, number: int) -> tuple[_File, int]:
        """Return the file that a frame is in, and its place there."""
        place = bisect_right(self._ends, number)
        file = self._files[place]
        return file, number - (self._ends[place] - len(file))

    @property
    def fingerprint(self) -> str:
        """A sha256 of the names and lengths of the files, not of what is in them."""
        digest = hashlib.sha256()
        for file in self._files:
            size = "" if isinstance(file, NpySet) else file.path.stat().st_size
            text = f"{file.name} {len(file)} {size}\n"
            digest.update(text.encode(errors="surrogateescape"))
        return digest.hexdigest()


def _open(path: Path) -> list[_File]:
    """Return what a file or folder holds, in the order of names."""
    if not path.is_dir():
        return [_open_file(path)]
    found = sorted(
        inner
        for inner in path.rglob("*")
        if inner.suffix.lower() in (_LMDB, *_TEXT) or inner.name == "type.raw"
    )
    if not found:
        msg = f"holds nothing that can be streamed: {FORMATS}"
        raise DataError(msg, path=path)
    files: list[_File] = []
    for inner in found:
        if inner.name != "type.raw":
            files.append(_open_file(inner))
            continue
        sets = sorted(inner.parent.glob("set.*"))
        if not sets:
            msg = "is no deepmd/npy system: there is no set.*"
            raise DataError(msg, path=inner.parent)
        names = [f"{path.name}/{one.relative_to(path).as_posix()}" for one in sets]
        files += map(NpySet, sets, names)
    return files


def _open_file(path: Path) -> _File:
    if not path.is_file():
        msg = "no such file or folder"
        raise DataError(msg, path=path)
    if path.suffix.lower() == _LMDB:
        return LmdbFile(path)
    if path.suffix.lower() in _TEXT:
        return ExtxyzFile(path)
    msg = f"is not of a format that can be streamed: {FORMATS}"
    raise DataError(msg, path=path)
