"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mftscreen.errors import DataError

__all__ = ["output_file", "replacing"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the path of a file beside `path`, which becomes it if all goes well.

    Parameters
    ----------
    path : Path
        Left as it is if something is raised.

    Yields
    ------
    Path
        Of this process alone; gone afterwards.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield partial
        partial.replace(path)
    finally:
        # an error here would hide the one that matters
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def output_file(path: Path) -> Iterator[Path]:
    """Do what :func:`replacing` does, for a file that a user asked for.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    try:
        with replacing(path) as partial:
            yield partial
    except OSError as error:
        msg = f"cannot be written: {error.strerror or error}"
        raise DataError(msg, path=path) from error
