"""Zip archives and arrays from anywhere: bounded, and with typed errors only."""

from __future__ import annotations

import io
import lzma
import math
import stat
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mftscreen.errors import ModelFileError

__all__ = ["Arrays", "parse_arrays", "read_file", "stored_members"]

MAX_FILE_BYTES = 16 * 1024**3
MAX_EXPANSION = 40
"""Of arrays, whose indices and ids may be compressed to a twentieth."""

DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, tokenize.TokenError,
    EOFError, OSError, RuntimeError, MemoryError, NotImplementedError, SyntaxError,
    LookupError, OverflowError, TypeError, ValueError,
)  # fmt: skip
"""What zipfile and numpy raise for archives that are damaged or were made to harm."""

Arrays = Mapping[str, NDArray[Any]]


def read_file(path: Path) -> bytes:
    """Return the contents of a model file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    bytes

    Raises
    ------
    ModelFileError
        If there is none, it cannot be read, is no regular file (a device or a pipe
        may never end), or is larger than any model.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            msg = f"{path}: not a file" + (
                ", but a folder" if stat.S_ISDIR(status.st_mode) else ""
            )
            raise ModelFileError(msg)
        if status.st_size > MAX_FILE_BYTES:
            msg = f"{path}: {status.st_size} bytes are more than a model has"
            raise ModelFileError(msg)
        return path.read_bytes()
    except FileNotFoundError:
        msg = f"{path}: no such file"
        raise ModelFileError(msg) from None
    except (OSError, ValueError, MemoryError) as error:
        msg = f"{path}: {getattr(error, 'strerror', None) or error}"
        raise ModelFileError(msg) from error


def stored_members(content: bytes) -> dict[str, zipfile.ZipInfo]:
    """Return the members of a zip archive, none of which is compressed.

    So none can take more memory than the archive has bytes.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    dict of str to ZipInfo

    Raises
    ------
    ModelFileError
        If it is no zip archive, damaged, has a name twice, or a member that is
        compressed, encrypted or larger than the archive.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()
    except DAMAGED as error:
        raise ModelFileError(str(error)) from error
    members = {info.filename: info for info in infos}
    if len(members) < len(infos):
        msg = "two members have one name"
        raise ModelFileError(msg)
    for info in infos:
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            msg = f"{info.filename} is compressed or encrypted; members are stored"
            raise ModelFileError(msg)
    if sum(info.file_size for info in infos) > len(content):
        msg = "its members are larger than itself"
        raise ModelFileError(msg)
    return members


def parse_arrays(content: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays of an ``.npz`` archive, whose sizes are checked first.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    dict of str to ndarray

    Raises
    ------
    ModelFileError
        If it is damaged, holds anything but arrays of plain numbers and strings, or
        would take far more memory than it has bytes.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()
            total = sum(info.file_size for info in infos)
            if total > MAX_EXPANSION * len(content):
                msg = f"{len(content)} bytes hold {total}"
                raise ModelFileError(msg)
            return {
                info.filename.removesuffix(".npy"): _parse_array(archive.read(info))
                for info in infos
            }
    except DAMAGED as error:
        raise ModelFileError(str(error) or type(error).__name__) from error


def _parse_array(content: bytes) -> NDArray[Any]:
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        msg = f"an array has format {version}"
        raise ValueError(msg)
    read_header = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read_header(stream)
    n_bytes = math.prod(shape) * dtype.itemsize
    if dtype.hasobject or min(shape, default=0) < 0:
        msg = f"an array of {dtype} and shape {shape}"
        raise ValueError(msg)
    if n_bytes != len(content) - stream.tell():
        msg = f"an array claims {n_bytes} bytes and has {len(content) - stream.tell()}"
        raise ValueError(msg)
    stream.seek(0)
    array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return array
