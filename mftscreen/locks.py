"""Locks of files, which end with the process that holds them."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO, Any

from mftscreen.errors import DataError

__all__ = ["try_lock"]


def try_lock(stream: IO[Any], folder: Path) -> bool:
    """Lock a file, unless another process has.

    Parameters
    ----------
    stream : file
        Closing it gives the lock back.
    folder : Path
        What the lock stands for; for the message.

    Returns
    -------
    bool
        Whether this process has it.

    Raises
    ------
    DataError
        If the file system knows no locks.
    """
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        msg = (
            f"cannot be locked ({error.strerror}); choose a folder on a local file "
            "system, or on one that has locks (Lustre: mounted with -o flock)"
        )
        raise DataError(msg, path=folder) from error
    return True
