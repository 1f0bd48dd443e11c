"""Files, plain or compressed, and the rows that are in them."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import os
import shutil
import stat
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import isnan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, NamedTuple, TextIO, cast

from ase import Atoms

from mftscreen.errors import DataError, MftscreenError

try:
    # of the packages that read Zstandard the one that tells a truncated file
    from backports import zstd
except ModuleNotFoundError:
    zstd = None  # type: ignore[assignment]

__all__ = [
    "DAMAGED",
    "Row",
    "candidate_id",
    "check_file",
    "decode",
    "find_name",
    "open_text",
    "plain_name",
    "uncompressed",
]

_ZSTD_ERROR: type[Exception] = zstd.ZstdError if zstd else OSError
DAMAGED = (
    *(OSError, EOFError, zlib.error, lzma.LZMAError, _ZSTD_ERROR),
    UnicodeError,  # UTF-16 that breaks off
)
"""What a truncated or damaged file, compressed or not, makes its reader raise."""


class Row(NamedTuple):
    """One row of a file, table or database.

    Attributes
    ----------
    name : str or None
        What it calls itself.
    structure : Atoms or MftscreenError
        The error that says why there are no atoms.
    values : mapping of str to object
        What else it holds, such as labels, as the file has them.
    group : str
        Rows of one group are held out together; empty for what its name says.
    """

    name: str | None
    structure: Atoms | MftscreenError
    values: Mapping[str, Any]
    group: str = ""


NAME_KEYS = ("id", "name", "material_id", "mp_id", "entry_id")

_OPENERS: dict[str, Any] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": zstd and zstd.open,
}


_MARKS = (
    # UTF-32's begins as UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
"""Byte-order marks and what they say about the text."""


def check_file(path: Path) -> None:
    """Raise unless `path`, which a table or folder names, is a file.

    To open a pipe would wait for its writer.

    Parameters
    ----------
    path : Path

    Raises
    ------
    DataError
        If there is none, or it cannot be looked at, or it is a folder, a pipe, a
        socket or a device.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - accepts what Path.stat hides
    except (OSError, ValueError) as error:
        text = getattr(error, "strerror", None) or error
        # a name of 300 letters says no more than its beginning
        shown = f"{str(path)[:80]}..." if len(str(path)) > 200 else path
        msg = f"cannot be read: {text}"
        raise DataError(msg, path=shown) from error
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
        msg = f"cannot be read: it is {what}, not a file"
        raise DataError(msg, path=path)


def _open(path: Path) -> IO[bytes]:
    """Open a file for reading its bytes, decompressed."""
    opener = _OPENERS.get(path.suffix.lower(), open)
    if opener is None:
        msg = "reading .zst needs backports.zstd: pip install 'mftscreen[zstd]'"
        raise DataError(msg, path=path)
    try:
        stream: IO[bytes] = opener(path, "rb")
    except (OSError, ValueError) as error:  # ValueError: of a name with a zero byte
        msg = f"cannot be read: {getattr(error, 'strerror', None) or error}"
        raise DataError(msg, path=path) from error
    return stream


def open_text(path: Path) -> TextIO:
    """Open a text file for reading, plain or compressed.

    It is UTF-8, unless it begins as UTF-16 or UTF-32 does. Bytes that are
    not UTF-8 become lone surrogates (``surrogateescape``).

    Parameters
    ----------
    path : Path
        Compressed if it ends in ``.gz``, ``.bz2``, ``.xz`` or ``.zst``.

    Returns
    -------
    TextIO

    Raises
    ------
    DataError
        If it is not a file or cannot be opened, or is a ``.zst`` and
        ``backports.zstd`` is not installed.
    """
    stream = _open(path)
    try:
        start = cast("io.BufferedReader", stream).peek(4)[:4]
    except DAMAGED:  # to be met again, and named, where the text is read
        start = b""
        stream.seek(0)
    encoding = _encoding(start)
    # a byte that is no UTF-8 makes one name odd, not the file unreadable
    errors = "surrogateescape" if encoding.startswith("utf-8") else "strict"
    return io.TextIOWrapper(stream, encoding=encoding, errors=errors)


def _encoding(start: bytes) -> str:
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding
    # in UTF-16 every other byte of an ASCII character is zero
    if len(start) > 3 and start[1] == start[3] == 0 != start[0]:
        return "utf-16-le"
    if len(start) > 3 and start[0] == start[2] == 0 != start[1]:
        return "utf-16-be"
    return "utf-8"


def decode(content: bytes) -> str:
    """Return the text of a whole file, whatever it is encoded in.

    Examples
    --------
    >>> decode("é".encode("utf-16")), decode("é".encode("latin-1"))
    ('é', 'é')
    """
    encoding = _encoding(content[:4])
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        return content.decode("latin-1")


@contextmanager
def uncompressed(path: Path) -> Iterator[Path]:
    """Give the path of the plain file: `path` itself, or a temporary copy.

    For formats whose readers go back and forth in the file, which in a compressed one
    means to decompress it again each time.

    Parameters
    ----------
    path : Path

    Yields
    ------
    Path
        With the name of `path` less the compression's suffix.

    Raises
    ------
    DataError
        If the compressed file cannot be read to its end.
    """
    if path.suffix.lower() not in _OPENERS:
        yield path
        return
    with TemporaryDirectory(prefix="mftscreen-") as folder:
        plain = Path(folder) / plain_name(path)
        try:
            with _open(path) as packed, plain.open("wb") as copy:
                shutil.copyfileobj(packed, copy, 1 << 20)
        except DAMAGED as error:
            msg = f"cannot be decompressed: {error}"
            raise DataError(msg, path=path) from error
        yield plain


def plain_name(path: Path) -> str:
    """Return the file's name without the suffix of a compression.

    Examples
    --------
    >>> plain_name(Path("pool.extxyz.gz")), plain_name(Path("POSCAR"))
    ('pool.extxyz', 'POSCAR')
    """
    return path.stem if path.suffix.lower() in _OPENERS else path.name


def find_name(values: Mapping[str, Any]) -> str | None:
    """Return what a row calls itself.

    The first of ``id``, ``name``, ``material_id``, ``mp_id`` and ``entry_id`` that is
    present and neither null, NaN nor empty; None if there is none.

    Examples
    --------
    >>> find_name({"formula": "MgO", "mp_id": "mp-1265"})
    'mp-1265'
    """
    for key in NAME_KEYS:
        value = values.get(key)
        if value is None or (isinstance(value, float) and isnan(value)):
            continue
        if str(value).strip():
            return str(value).strip()
    return None


def candidate_id(atoms: Atoms, path: Path, number: int) -> str:
    """Return the id of frame `number` of `path`.

    What its ``info`` calls it (:func:`find_name`), else ``file#index``.
    """
    return find_name(atoms.info) or f"{path.name}#{number}"
