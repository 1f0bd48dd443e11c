"""Extended XYZ, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import cast

from ase import Atoms
from ase.io import read

from mftscreen.errors import DataError
from mftscreen.readers.files import DAMAGED, open_text

__all__ = ["iter_extxyz"]


def iter_extxyz(path: Path) -> Iterator[Atoms | DataError]:
    """Yield the frames of an extended XYZ file, one at a time.

    ASE's own reader seeks, which is quadratic in a compressed file; here each frame's
    text is cut out in one pass and handed to ASE.

    Parameters
    ----------
    path : Path
        ``.extxyz`` or ``.xyz``, also compressed (:func:`open_text`).

    Yields
    ------
    Atoms or DataError
        A frame that ASE cannot parse is yielded as the error that names it, so that
        the others can still be used.

    Raises
    ------
    DataError
        If a line that should hold a number of atoms does not: from there on the
        frames cannot be told apart. Also if the compressed file is truncated.
    """
    number = 0
    with open_text(path) as stream:
        try:
            for header in stream:
                if not header.strip():
                    continue
                # no file has 10^12 atoms, and islice takes no such number
                if not header.strip().isdecimal() or len(header.strip()) > 12:
                    msg = (
                        f"frame {number} should begin with its number of atoms, "
                        f"found {header.strip()[:40]!r}; nothing after it can be read"
                    )
                    raise DataError(msg, path=path)
                block = [header, *islice(stream, int(header) + 1)]
                if len(block) < int(header) + 2:
                    msg = f"frame {number} is cut short: the file ends within it"
                    yield DataError(msg, path=path)
                    return
                yield _parse_frame("".join(block), path, number)
                number += 1
        except DAMAGED as error:
            msg = f"cannot be read past frame {number}: {error}"
            raise DataError(msg, path=path) from error


def _parse_frame(text: str, path: Path, number: int) -> Atoms | DataError:
    try:
        return cast("Atoms", read(StringIO(text), index=0, format="extxyz"))
    except Exception as error:  # noqa: BLE001  # whatever a frame makes ASE raise
        reason = str(error) or type(error).__name__
        return DataError(f"frame {number} is not valid extxyz: {reason}", path=path)
