"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mftscreen.errors import DataError

__all__ = [
    "as_utf8",
    "cache_folder",
    "check_place",
    "output_file",
    "replacing",
    "why_unwritable",
]

CACHE = "MFTSCREEN_CACHE"
"""Environment variable: the folder for what can be made again."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_OF_SQLITE = (
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE,
)  # fmt: skip


def cache_folder() -> Path:
    """Return the folder for what can be made again, which may be deleted at any time.

    The one that ``MFTSCREEN_CACHE`` names, by default ``mftscreen`` in the user's
    folder for caches. It need not exist.

    Raises
    ------
    RuntimeError
        If there is no home.
    """
    if own := os.environ.get(CACHE):
        return Path(own)
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "mftscreen"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the path of a file beside `path`, which becomes it if all goes well.

    Parameters
    ----------
    path : Path
        Left as it is if something is raised. A symbolic link is replaced, and what it
        points to stays.

    Yields
    ------
    Path
        Of this process alone, with the same ending; gone afterwards. It may become a
        folder, if there is nothing at `path`.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    with _becoming(path, path.name) as partial:
        yield partial


@contextmanager
def _becoming(target: Path, name: str) -> Iterator[Path]:
    partial = _beside(target, name)
    try:
        yield partial
        partial.replace(target)
    finally:
        # an error here would hide the one that matters
        with suppress(OSError):
            if partial.is_dir():
                shutil.rmtree(partial)
            else:
                partial.unlink(missing_ok=True)


@contextmanager
def output_file(path: Path) -> Iterator[Path]:
    """Do what :func:`replacing` does, for a file that a user asked for.

    Of a symbolic link, the file that it points to is replaced.

    Raises
    ------
    DataError
        If it cannot be written, or is a pipe, a device or a socket.
    """
    with _explained(path), _becoming(_target(path), path.name) as partial:
        yield partial


def check_place(path: Path) -> None:
    """Raise if no file could be written to `path`; worth knowing before a long run.

    Raises
    ------
    DataError
        If there is no such folder, it cannot be written to, or `path` is a folder, a
        pipe, a device or a socket.
    """
    with _explained(path):
        target = _target(path)
        if not target.parent.is_dir():
            msg = f"cannot be written: {target.parent} is not a folder"
            raise DataError(msg, path=path)
        if target.is_dir():
            msg = "cannot be written: is a folder"
            raise DataError(msg, path=path)
        probe = _beside(target, path.name)
        probe.touch()
        probe.unlink()


def _target(path: Path) -> Path:
    """Return the file that a path stands for; raise if there is none to replace."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "is not a regular file")
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _beside(path: Path, name: str) -> Path:
    # with the ending of what was asked for, by which libraries know what to write
    # on a shared file system, processes in other containers may have the same number
    return path.with_name(f".{os.getpid()}-{os.urandom(4).hex()}.{name}")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        msg = f"cannot be written: {why_unwritable(error)}"
        raise DataError(msg, path=path) from error


def as_utf8(value: object) -> str:
    r"""Return a text that can be written as UTF-8, e.g. of a name of a file.

    Parameters
    ----------
    value : object

    Examples
    --------
    >>> as_utf8("caf\udce9")
    'caf\\udce9'
    """
    return str(value).encode(errors="backslashreplace").decode()


def why_unwritable(error: OSError | sqlite3.Error) -> str:
    """Return why a file cannot be written, and what to do if the disk is full.

    Parameters
    ----------
    error : OSError or sqlite3.Error

    Returns
    -------
    str

    Examples
    --------
    >>> why_unwritable(OSError(errno.ENOSPC, "No space left on device"))
    'No space left on device; make room and give the same command again'
    >>> why_unwritable(OSError(errno.EACCES, "Permission denied"))
    'Permission denied'
    """
    reason = str(getattr(error, "strerror", None) or error)
    full = (
        error.errno in _FULL
        if isinstance(error, OSError)
        # SQLite says of most limits no more than that writing failed
        else getattr(error, "sqlite_errorcode", None) in _FULL_OF_SQLITE
    )
    return reason + "; make room and give the same command again" * full
