"""LMDB files, opened so that one that is cut short does not end the process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mftscreen.errors import DataError

__all__ = ["open_lmdb"]


def open_lmdb(path: Path) -> Any:
    """Open a file to be read; a process can do that once at a time.

    Parameters
    ----------
    path : Path

    Returns
    -------
    lmdb.Environment

    Raises
    ------
    DataError
        If it is no such file or cut short, or ``lmdb`` is missing.
    """
    try:
        import lmdb
    except ModuleNotFoundError as error:
        msg = "needs lmdb: pip install 'mftscreen[db]'"
        raise DataError(msg, path=path) from error
    try:
        opened = lmdb.open(
            str(path), subdir=False, readonly=True, lock=False, readahead=False,
            create=False,
        )  # fmt: skip
        needed = (opened.info()["last_pgno"] + 1) * opened.stat()["psize"]
    except (lmdb.Error, OSError) as error:
        msg = f"cannot be opened as LMDB: {error}"
        raise DataError(msg, path=path) from error
    if path.stat().st_size < needed:
        # to read what is not there would end this process
        opened.close()
        msg = f"is cut short: {path.stat().st_size} of {needed} bytes are there"
        raise DataError(msg, path=path)
    return opened
