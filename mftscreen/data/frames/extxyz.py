"""Single frames of an extended XYZ file, found by an index that is made once."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mftscreen.data.readers.extxyz import parse_frame
from mftscreen.data.readers.files import Row, check_file, find_name
from mftscreen.errors import DataError
from mftscreen.writing import cache_folder, replacing

__all__ = ["ExtxyzFile"]

FORMAT = 1
"""Of index files; raised when they change."""
MAX_FRAME_BYTES = 1 << 27
"""Of a frame: its number of atoms may be any, and all lines after it its own."""
_BLOCK = 100_000
"""Frames at a time, when an index is made."""
_MARK = b"\xef\xbb\xbf"

log = logging.getLogger(__name__)


class ExtxyzFile:
    """An extended XYZ file, not compressed.

    Where each frame begins is written to the cache folder when the file is first seen,
    8 bytes for each, and looked up there; all runs share it. Where nothing can be
    written these 8 bytes are held in memory.

    Parameters
    ----------
    path : Path

    Raises
    ------
    DataError
        If a line that should hold a number of atoms does not, or it is no file.
    """

    first = 0
    """Number of the first frame in names."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        check_file(path)
        self._index: Path | NDArray[np.int64]
        try:
            self._index = _index_file(path)
            self._n = self._index.stat().st_size // 8
        except (OSError, RuntimeError) as error:  # RuntimeError: there is no home
            log.info("the index of %s is not kept: %s", path, error)
            self._index = np.concatenate([np.zeros(0, "<i8"), *_blocks(path)])
            self._n = len(self._index)

    def __len__(self) -> int:
        return self._n

    def read(self, number: int) -> Row:
        """Return a frame; its structure is the error that says why there is none."""
        name = f"{self.name}#{number}"
        try:
            lines = self._lines(number)
        except (OSError, ValueError, IndexError) as error:
            msg = f"frame {number} cannot be read: {error}"
            return Row(name, DataError(msg, path=self.path), {})
        found = parse_frame(lines, self.path, number)
        if not isinstance(found, Atoms):
            return Row(name, found, {})
        return Row(find_name(found.info), found, dict(found.info))

    def _lines(self, number: int) -> list[str]:
        if isinstance(self._index, Path):
            # two numbers: a memory-mapped index would come to count as memory
            found = np.fromfile(self._index, "<i8", 2, offset=8 * number)
        else:
            found = self._index[number : number + 2]
        begin, end = [*found.tolist(), self.path.stat().st_size][:2]
        if end - begin > MAX_FRAME_BYTES:
            msg = f"it has more than {MAX_FRAME_BYTES} bytes"
            raise ValueError(msg)
        with self.path.open("rb") as stream:
            stream.seek(begin)
            header = stream.readline().removeprefix(_MARK)
            lines = [header, *islice(stream, int(header) + 1)]
        if len(lines) < int(header) + 2:
            msg = "the file ends within it"
            raise ValueError(msg)
        # as open_text reads them
        return [
            line.decode("utf-8", "surrogateescape").replace("\r\n", "\n")
            for line in lines
        ]


def _index_file(path: Path) -> Path:
    """Return the index of a file, which is made if it is not there."""
    seen = path.stat()
    told = f"{FORMAT} {path.resolve()} {seen.st_size} {seen.st_mtime_ns}"
    key = hashlib.sha256(told.encode(errors="surrogateescape")).hexdigest()[:32]
    index = cache_folder() / "frames" / f"{key}.index"
    if not index.exists():
        index.parent.mkdir(parents=True, exist_ok=True)
        log.info("%s: looking for the beginnings of its frames, once", path)
        # two runs may do this at a time; both write the same
        with replacing(index) as partial, partial.open("wb") as stream:
            for block in _blocks(path):
                stream.write(block.tobytes())
    return index


def _blocks(path: Path) -> Iterator[NDArray[np.int64]]:
    """Yield where frames begin, block by block."""
    begins = _begins(path)
    while block := list(islice(begins, _BLOCK)):
        yield np.array(block, dtype="<i8")


def _begins(path: Path) -> Iterator[int]:
    place, number = 0, 0
    with path.open("rb", buffering=1 << 20) as stream:
        for header in stream:
            written = (header if place else header.removeprefix(_MARK)).strip()
            if not written:
                place += len(header)
                continue
            # no file has 10^12 atoms, and islice takes no such number
            if not written.isdigit() or len(written) > 12:
                msg = (
                    f"frame {number} should begin with its number of atoms, found "
                    f"{header.strip()[:40].decode(errors='replace')!r}"
                )
                raise DataError(msg, path=path)
            yield place
            rest = islice(stream, int(written) + 1)
            place += len(header) + sum(map(len, rest))
            number += 1
