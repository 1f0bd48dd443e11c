from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

from ase import Atoms

from mftscreen.finetune.stream.reader import StreamReader
from mftscreen.finetune.stream.spec import (
    STREAMS,
    Stream,
    read_streams,
    streams_text,
)


def test_streams_are_the_same_when_they_are_read(
    labelled: Callable[..., Atoms], stream_of: Callable[..., Stream], tmp_path: Path
) -> None:
    assert read_streams(tmp_path) == {}
    given = stream_of([labelled(k) for k in range(9)], max_atoms=5, limit=7)
    (tmp_path / STREAMS).write_text(streams_text({"ff": given}))
    found = read_streams(tmp_path)["ff"]
    assert streams_text({"ff": found}) == streams_text({"ff": given})
    drawn = [
        [frame.hash for frame in islice(StreamReader(s).training_frames(4), 20)]
        for s in (given, found)
    ]
    assert drawn[0] == drawn[1]
