"""The frames of a stream that are held in memory: a sample of bounded size."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

from mftscreen.data.dataset import LabelledStructure
from mftscreen.data.label_report import LabelReport
from mftscreen.errors import DataError
from mftscreen.finetune.stream.reader import StreamReader
from mftscreen.finetune.stream.spec import Stream
from mftscreen.finetune.task.partition import check_groups, hold_out, place_of

__all__ = ["sample_stream", "with_neighbors"]

N_SAMPLE, N_HELD_OUT = 1000, 500
"""Frames in memory: for padding and statistics, and to validate with."""
MAX_READS = 10_000
"""Frames that are read for these, where filters leave few."""
MAX_NUMBERS = 500_000
"""Frames of which it is asked on which side they are."""
MARGIN = 1.25
"""Of the padding, over what the sample needs: frames that need more are left out."""
_ORDER = 2**60
"""Of the sample, unlike those of any training."""

log = logging.getLogger(__name__)


def sample_stream(
    stream: Stream,
) -> tuple[Stream, dict[str, list[LabelledStructure]]]:
    """Return frames of a stream in memory, some to train on and some held out.

    Parameters
    ----------
    stream : Stream
        Without a limit of neighbours.

    Returns
    -------
    stream : Stream
        Whose side is such that at least one group is held out, and one is not.
    parts : dict of str to list of LabelledStructure
        ``train``, up to ``N_SAMPLE``, and ``validation``, up to ``N_HELD_OUT``.

    Raises
    ------
    DataError
        If there are no two frames that can be used.
    """
    reader = StreamReader(stream)
    report = LabelReport(Path(stream.paths[0]))
    wanted = {False: N_SAMPLE, True: N_HELD_OUT}
    sample: list[LabelledStructure] = []
    n_read = 0
    for number in islice(reader.numbers(_ORDER), MAX_NUMBERS):
        if n_read >= MAX_READS or not any(wanted.values()):
            break
        known = reader.is_held_out(number)
        n_read += known is None or wanted[known] > 0
        for held_out in (False, True) if known is None else (known,):
            if not wanted[held_out]:
                continue
            frame = reader.read(number, held_out=held_out)
            if frame is not None:
                wanted[held_out] -= 1
                report.add(frame.atoms, frame.labels)
                sample.append(frame)
    if not sample:
        raise DataError(reader.explain())
    report.say()
    side = stream.side
    if side.group is not None:
        # a frame without one is called its own
        check_groups(side.group, [frame.group != frame.id for frame in sample])
    parts = hold_out(sample, side.fraction, side.seed, lambda frame: frame.group)
    places = {
        part: [place_of(frame.group, side.seed) for frame in frames]
        for part, frames in parts.items()
    }
    # what lies below is held out
    least, most = math.nextafter(max(places["validation"]), 1.0), min(places["train"])
    fraction = min(max(side.fraction, least), most)
    log.info(
        "auxiliary frames: %d of %d are drawn from as training goes on; of %d that "
        "were looked at, %d are held out and %d left out%s",
        stream.n_used,
        reader.n_frames,
        reader.counts["drawn"],
        len(parts["validation"]),
        reader.counts["drawn"] - len(sample),
        "".join(f"; {reason}" for reason in reader.reasons),
    )
    return replace(stream, side=replace(side, fraction=fraction)), parts


def with_neighbors(
    streams: Mapping[str, Stream], neighbors: tuple[int, int]
) -> tuple[dict[str, Stream], tuple[int, int]]:
    """Return streams whose frames fit into a padding, and the padding.

    Parameters
    ----------
    streams : mapping of str to Stream
    neighbors : tuple of int
        What frames in memory need.
    """
    if not streams:
        return {}, neighbors
    padding = (
        math.ceil(MARGIN * neighbors[0]),
        math.ceil(MARGIN * neighbors[1]),
    )
    return {
        head: replace(stream, limits=replace(stream.limits, neighbors=padding))
        for head, stream in streams.items()
    }, padding
