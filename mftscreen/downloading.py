"""Files from the internet, whole and as expected or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from mftscreen.errors import DownloadError
from mftscreen.progress import progress_bar
from mftscreen.writing import replacing

__all__ = ["check_digest", "fetch"]

_CHUNK = 1 << 18
_TIMEOUT = 60
"""Seconds without a sign of the other side."""


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
        If the address cannot be reached, or gives less than it announces or something
        with another checksum.
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
        with urlopen(url, timeout=_TIMEOUT) as answer:
            length = _announced_length(answer.headers.get("Content-Length"), url)
            with progress_bar(
                shown=progress,
                desc=name,
                total=length or None,
                unit="B",
                unit_scale=True,
            ) as bar:
                received = 0
                while chunk := answer.read(_CHUNK):
                    received += len(chunk)
                    bar.update(len(chunk))
                    yield chunk
    except (OSError, HTTPException) as error:
        msg = f"{url}: {error or type(error).__name__}"
        raise DownloadError(msg) from error
    if received < length:  # urllib takes the end of a connection for that of a file
        msg = f"{url}: the connection ended after {received} of {length} bytes"
        raise DownloadError(msg)


def _announced_length(text: str | None, url: str) -> int:
    """Return the length that a header says, 0 if there is none."""
    try:
        return int(text or 0)
    except ValueError as error:
        msg = f"{url}: the length that is announced is {text!r}, not a number"
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
