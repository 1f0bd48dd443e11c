"""The steps that a trainer has done, told to the process that watches it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["Heartbeat", "forget_steps", "read_steps"]

_FILE, _WIDTH = "steps.done", 12


class Heartbeat:
    """Tells how many steps are done, without a pause for it.

    Parameters
    ----------
    directory : Path
        Of the run.
    """

    def __init__(self, directory: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        # open for as long as the process lives: on a network, closing takes time
        self._file = os.open(directory / _FILE, flags, 0o644)

    def tell(self, steps: int) -> None:
        """Write the number in place of the one before, which has the same length."""
        with suppress(OSError):  # a full disk ends no training for this
            os.pwrite(self._file, f"{steps:{_WIDTH}}".encode(), 0)


def read_steps(directory: Path) -> int | None:
    """Return how many steps are done; None as long as nothing is told.

    Parameters
    ----------
    directory : Path
    """
    try:
        text = (directory / _FILE).read_bytes()
    except FileNotFoundError:
        return None
    return int(text) if len(text) == _WIDTH else None


def forget_steps(directory: Path) -> None:
    """Forget what a trainer before has told."""
    (directory / _FILE).unlink(missing_ok=True)
