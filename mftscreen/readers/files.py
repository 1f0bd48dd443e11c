"""Files, plain or compressed, and the rows that are in them."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, Literal, NamedTuple, TextIO, overload

from ase import Atoms

from mftscreen.errors import DataError, MftscreenError

try:
    # of the packages that read Zstandard the one that tells a truncated file
    from backports import zstd
except ModuleNotFoundError:
    zstd = None

__all__ = [
    "DAMAGED",
    "Row",
    "candidate_id",
    "find_name",
    "open_text",
    "plain_name",
    "uncompressed",
]

_ZSTD_ERROR: type[Exception] = zstd.ZstdError if zstd else OSError
DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError, _ZSTD_ERROR)
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
    """

    name: str | None
    structure: Atoms | MftscreenError
    values: Mapping[str, Any]


NAME_KEYS = ("id", "name", "material_id", "mp_id", "entry_id")

_OPENERS: dict[str, Any] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": zstd and zstd.open,
}


@overload
def _open(path: Path, mode: Literal["rt"]) -> TextIO: ...
@overload
def _open(path: Path, mode: Literal["rb"]) -> IO[bytes]: ...
def _open(path: Path, mode: str) -> Any:
    opener = _OPENERS.get(path.suffix.lower(), open)
    if opener is None:
        msg = "reading .zst needs backports.zstd: pip install 'mftscreen[zstd]'"
        raise DataError(msg, path=path)
    try:
        if mode == "rb":
            return opener(path, mode)
        # a byte that is no UTF-8 makes one name odd, not the file unreadable
        return opener(path, mode, encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        msg = f"cannot be read: {error.strerror or error}"
        raise DataError(msg, path=path) from error


def open_text(path: Path) -> TextIO:
    """Open a text file for reading, plain or compressed.

    Bytes that are not UTF-8 become lone surrogates (``surrogateescape``).

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
        If the file does not exist or cannot be opened, or is a ``.zst`` and
        ``backports.zstd`` is not installed.
    """
    return _open(path, "rt")


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
            with _open(path, "rb") as packed, plain.open("wb") as copy:
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
    present and neither null nor empty; None if there is none.

    Examples
    --------
    >>> find_name({"formula": "MgO", "mp_id": "mp-1265"})
    'mp-1265'
    """
    for key in NAME_KEYS:
        value = values.get(key)
        if value is not None and str(value).strip():
            return str(value).strip()
    return None


def candidate_id(atoms: Atoms, path: Path, number: int) -> str:
    """Return the id of frame `number` of `path`.

    What its ``info`` calls it (:func:`find_name`), else ``file#index``.
    """
    return find_name(atoms.info) or f"{path.name}#{number}"
