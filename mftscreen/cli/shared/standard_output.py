"""Standard output: closed, a pipe that closes early, or a file on a full disk."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper, UnsupportedOperation
from typing import TextIO, TypeVar

from mftscreen.errors import DataError
from mftscreen.writing import why_unwritable

__all__ = [
    "from_elsewhere",
    "has_no_reader",
    "leave_unread",
    "replace_closed_streams",
    "standard_output",
]

Row = TypeVar("Row")


def replace_closed_streams() -> None:
    """Let streams that were closed before the process began, as by ``>&-``, be empty.

    For Python they are None, and the next file that is opened would take the place of
    one. What the encoding of a terminal does not have is written as an escape.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


@contextmanager
def standard_output(problems: list[DataError]) -> Iterator[TextIO]:
    """Give standard output; what goes wrong there ends the ``with`` block only.

    Parameters
    ----------
    problems : list of DataError
        What went wrong is added. A reader that has had enough, as ``head``, is no
        problem.

    Yields
    ------
    TextIO
    """
    try:
        yield sys.stdout
        sys.stdout.flush()
    except _Elsewhere as error:
        raise error.found from None
    except BrokenPipeError:
        leave_unread()
    except OSError as error:
        leave_unread()
        msg = f"cannot be written: {why_unwritable(error)}"
        problems.append(DataError(msg, path="standard output"))


class _Elsewhere(Exception):
    """An error that has nothing to do with standard output."""

    def __init__(self, found: OSError) -> None:
        self.found = found


def from_elsewhere(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield rows that are made while a table is written.

    Parameters
    ----------
    rows : iterable
        An OSError that they raise is not one of :func:`standard_output`.
    """
    try:
        yield from rows
    except OSError as error:
        raise _Elsewhere(error) from error


def has_no_reader(stream: TextIO) -> bool:
    """Tell whether a stream is a pipe whose reader has had enough."""
    poll = select.poll()
    try:
        poll.register(stream, 0)  # errors are told of without being asked for
    except UnsupportedOperation:  # in the memory of a test
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def leave_unread() -> None:
    """Let what is still in the buffer go nowhere, and not fail at the end."""
    with suppress(UnsupportedOperation), open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
