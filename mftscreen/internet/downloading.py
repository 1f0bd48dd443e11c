"""Files from the internet, whole and as expected or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

from mftscreen.console.progress import progress_bar
from mftscreen.errors import DownloadError
from mftscreen.internet.transfer import announced_length, opened, read_chunks
from mftscreen.writing import replacing

__all__ = ["check_digest", "fetch"]

_MAX_BYTES = 1 << 34
"""More than any model or data set has."""


def fetch(
    url: str, path: Path, algorithm: str, digest: str, *, progress: bool = False
) -> None:
    """Download a file, whole and as expected or not at all.

    Parameters
    ----------
    url : str
    path : Path
        Its folder is made if need be. What is there is replaced if all goes well.
    algorithm : str
        Of :mod:`hashlib`.
    digest : str
        Expected, hexadecimal.
    progress : bool
        Whether to show progress on stderr.

    Raises
    ------
    DownloadError
        If the address cannot be reached, stalls, or gives less than it announces, no
        end, or something with another checksum.
    OSError
        If the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        with partial.open("wb") as file:
            for chunk in _read(url, path.name, progress):
                file.write(chunk)
        check_digest(partial, algorithm, digest, shown=url)


def _read(url: str, name: str, progress: bool) -> Iterator[bytes]:
    try:
        with (
            opened(url) as answer,
            progress_bar(
                shown=progress,
                desc=name,
                total=announced_length(answer) or None,
                unit="B",
                unit_scale=True,
            ) as bar,
        ):
            for chunk in read_chunks(answer, max_bytes=_MAX_BYTES):
                bar.update(len(chunk))
                yield chunk
    except (OSError, HTTPException, ValueError) as error:
        msg = f"{url}: {error or type(error).__name__}"
        raise DownloadError(msg) from error


def check_digest(
    path: Path, algorithm: str, digest: str, shown: str | None = None
) -> None:
    """Raise if a file has another checksum.

    Parameters
    ----------
    path : Path
    algorithm : str
        Of :mod:`hashlib`.
    digest : str
        Expected, hexadecimal.
    shown : str, optional
        What the message calls the file; its path by default.

    Raises
    ------
    DownloadError
        With both checksums.
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if found != digest:
        msg = f"{shown or path}: has the {algorithm} {found}, expected {digest}"
        raise DownloadError(msg)
