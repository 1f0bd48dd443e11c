"""Frames drawn from files in a random order; what cannot be used is passed over."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mftscreen.data.dataset import LabelledStructure
from mftscreen.data.frames import Frames, permuted
from mftscreen.errors import DataError
from mftscreen.finetune.stream.spec import Stream

__all__ = ["StreamReader"]

MAX_MISSES = 100_000
"""Frames in a row that cannot be used, after which a training gives up."""
N_NAMED = 5
"""Unusable frames that are named in the log."""

log = logging.getLogger(__name__)


class StreamReader:
    """Draws the frames of a stream.

    Parameters
    ----------
    stream : Stream

    Attributes
    ----------
    counts : Counter of str
        ``drawn``, ``used`` and the reasons why frames were left out.
    elements : set of str
        Of the frames that were used.

    Raises
    ------
    DataError
        If files cannot be read, or are not those that the stream was made for.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.counts: Counter[str] = Counter()
        self.elements: set[str] = set()
        self._frames = Frames([Path(path) for path in stream.paths])
        if self._frames.fingerprint != stream.fingerprint:
            msg = (
                "the auxiliary files have changed since the run was started: "
                + ", ".join(stream.paths)
            )
            raise DataError(msg)

    def training_frames(self, seed: int) -> Iterator[LabelledStructure]:
        """Yield training frames without end: all of them, in ever new orders.

        Parameters
        ----------
        seed : int
            Of the orders.

        Raises
        ------
        DataError
            If none of many frames in a row can be used.
        """
        misses, epoch = 0, 0
        while True:
            for number in self.numbers(seed << 20 | epoch):
                frame = self.read(number, held_out=False)
                misses = 0 if frame is not None else misses + 1
                if frame is not None:
                    yield frame
                elif misses > min(MAX_MISSES, 2 * self.stream.n_used):
                    raise DataError(self.explain())
            epoch += 1

    def numbers(self, order: int) -> Iterator[int]:
        """Yield the numbers of the frames that are used, once each.

        Parameters
        ----------
        order : int
            In which of many random orders.
        """
        stream, n = self.stream, len(self._frames)
        for position in range(stream.n_used):
            place = permuted(position, stream.n_used, order)
            yield permuted(place, n, stream.seed)

    def is_held_out(self, number: int) -> bool | None:
        """Return whether a frame is; None if it has to be read for that."""
        side = self.stream.side
        if side.group is not None:
            return None
        return side.holds_out(self._frames.locate(number))

    def read(self, number: int, *, held_out: bool) -> LabelledStructure | None:
        """Return a frame; None if it is left out, or on the other side.

        Parameters
        ----------
        number : int
        held_out : bool
            The side that is wanted.
        """
        known = self.is_held_out(number)
        if known is not None and known != held_out:
            return None
        name = self._frames.locate(number)
        row = self._frames.read(number)
        side = self.stream.side
        if known is None and side.holds_out(side.group_of(name, row)) != held_out:
            return None
        self.counts["drawn"] += 1
        found = self.stream.limits.check(name, row)
        if isinstance(found, LabelledStructure):
            self.counts["used"] += 1
            self.elements |= found.atoms.symbols.species()
            # not what else the row holds
            return replace(found, group=side.group_of(name, row))
        kind, message = found
        self.counts[kind] += 1
        if kind == "unusable" and self.counts[kind] <= N_NAMED:
            log.warning("auxiliary frame %s is left out: %s", name, message)
        return None

    @property
    def n_frames(self) -> int:
        """How many frames are in the files."""
        return len(self._frames)

    @property
    def reasons(self) -> list[str]:
        """Why frames were left out, and how many."""
        return [
            f"{n}: {reason}"
            for reason, n in self.counts.items()
            if reason not in ("drawn", "used")
        ]

    def explain(self) -> str:
        """Return that no frame is left, and why."""
        return (
            f"none of {self.counts['drawn']} auxiliary frames that were drawn from "
            f"{', '.join(self.stream.paths)} can be trained on "
            f"({', '.join(self.reasons)})"
        )
