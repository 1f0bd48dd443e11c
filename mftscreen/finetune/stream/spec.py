"""What is to be drawn from files: told to the process that trains as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mftscreen.data.frames import Frames
from mftscreen.data.readers import Row
from mftscreen.finetune.stream.limits import FrameLimits
from mftscreen.finetune.task.partition import place_of

__all__ = ["STREAMS", "Side", "Stream", "open_stream", "read_streams", "streams_text"]

STREAMS = "streams.json"
"""File in a run's folder."""


@dataclass(frozen=True)
class Side:
    """Which frames are held out.

    Attributes
    ----------
    fraction : float
        Below which :func:`~mftscreen.finetune.task.partition.place_of` has them.
    seed : int
    group : str or None
        Key of a frame's values: frames with one value are on one side; by default each
        frame is its own group.
    """

    fraction: float
    seed: int
    group: str | None = None

    def group_of(self, name: str, row: Row | None = None) -> str:
        """Return the group of a frame, which may have been read already."""
        if row is None or self.group is None:
            return name
        return str(row.values.get(self.group, name))

    def holds_out(self, group: str) -> bool:
        """Return whether frames of a group are held out."""
        return place_of(group, self.seed) < self.fraction


@dataclass(frozen=True)
class Stream:
    """Frames in files, and which of them a head is trained on.

    Attributes
    ----------
    paths : sequence of str
        See :class:`mftscreen.data.frames.Frames`.
    fingerprint : str
        Of the files.
    n_used : int
        Of all frames, in a random order, only so many are drawn from.
    seed : int
        Of that order.
    limits : FrameLimits
    side : Side
    """

    paths: Sequence[str]
    fingerprint: str
    n_used: int
    seed: int
    limits: FrameLimits
    side: Side

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Stream:
        """Return a stream from what :func:`dataclasses.asdict` made of it."""
        limits, side = FrameLimits(**values["limits"]), Side(**values["side"])
        return cls(**{**values, "limits": limits, "side": side})


def open_stream(
    paths: Sequence[Path],
    limits: FrameLimits,
    side: Side,
    *,
    fraction: float = 1.0,
    limit: int | None = None,
    seed: int = 1,
) -> Stream:
    """Return the stream of some files.

    Parameters
    ----------
    paths : sequence of Path
    limits : FrameLimits
    side : Side
    fraction, limit, seed
        See :class:`mftscreen.finetune.config.auxiliary.StreamConfig`.

    Raises
    ------
    DataError
        If files cannot be read or hold no frame.
    """
    frames = Frames(paths)
    n_used = max(1, round(fraction * len(frames)))
    n_used = n_used if limit is None else min(n_used, limit)
    return Stream(
        [str(path) for path in paths], frames.fingerprint, n_used, seed, limits, side
    )


def streams_text(streams: Mapping[str, Stream]) -> str:
    """Return the text of ``streams.json``: streams by head."""
    found = {head: asdict(stream) for head, stream in streams.items()}
    return json.dumps(found, indent=1)


def read_streams(directory: Path) -> dict[str, Stream]:
    """Return the streams of a run by head, none if there are no such."""
    path = directory / STREAMS
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return {head: Stream.of(values) for head, values in found.items()}
