from __future__ import annotations

import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
from ase import Atoms

from mftscreen.errors import DataError
from mftscreen.finetune.stream import sample as module
from mftscreen.finetune.stream.reader import StreamReader
from mftscreen.finetune.stream.sample import sample_stream, with_neighbors
from mftscreen.finetune.stream.spec import Stream, open_stream

Labelled = Callable[..., Atoms]
StreamOf = Callable[..., Stream]


def numbers(rows: list) -> set[int]:
    return {round(float(row.labels["energy"])) for row in rows}


@pytest.mark.parametrize("group", [None, "material"])
@pytest.mark.parametrize("held_out", [0.3, 1e-6])
def test_training_never_sees_what_is_held_out(
    labelled: Labelled, stream_of: StreamOf, group: str | None, held_out: float
) -> None:
    frames = [labelled(k) for k in range(60)]
    stream, parts = sample_stream(stream_of(frames, held_out=held_out, group=group))
    validation, train = numbers(parts["validation"]), numbers(parts["train"])
    assert validation
    assert train
    assert validation | train == set(range(60))
    drawn = list(islice(StreamReader(stream).training_frames(1), 3 * len(train)))
    assert numbers(drawn) == train
    if group is not None:
        materials = [{number // 4 for number in part} for part in (validation, train)]
        assert not materials[0] & materials[1]


@pytest.mark.parametrize("group", [None, "half"])
def test_some_are_trained_on_however_the_hashes_fall(
    labelled: Labelled, stream_of: StreamOf, group: str | None
) -> None:
    frames = [labelled(k) for k in range(12)]
    for k, atoms in enumerate(frames):
        atoms.info["half"] = "AB"[k % 2]
    limit = 12 if group else 3
    settings = {"held_out": 0.999, "group": group, "limit": limit}
    stream, parts = sample_stream(stream_of(frames, **settings))
    drawn = list(islice(StreamReader(stream).training_frames(1), limit))
    assert numbers(drawn) == numbers(parts["train"])
    assert numbers(parts["validation"])
    assert not numbers(drawn) & numbers(parts["validation"])


def test_groups_may_have_bytes_that_are_no_text(
    labelled: Labelled, stream_of: StreamOf
) -> None:
    frames = [labelled(k) for k in range(12)]
    stream = stream_of(frames, group="material")
    path = Path(stream.paths[0])
    path.write_bytes(path.read_bytes().replace(b"material=m", b"material=\xe9"))
    again = path.with_name(os.fsdecode(b"f\xe9.extxyz"))
    path.rename(again)
    changed = open_stream([again], stream.limits, stream.side)
    assert sum(map(len, sample_stream(changed)[1].values())) == 12


def test_sample_is_bounded(
    labelled: Labelled, stream_of: StreamOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "N_SAMPLE", 7)
    monkeypatch.setattr(module, "N_HELD_OUT", 3)
    stream = stream_of([labelled(k) for k in range(60)])
    first, again = sample_stream(stream), sample_stream(stream)
    assert {part: len(rows) for part, rows in first[1].items()} == {
        "train": 7,
        "validation": 3,
    }
    assert numbers(first[1]["train"]) == numbers(again[1]["train"])
    monkeypatch.setattr(module, "MAX_READS", 5)
    assert sum(map(len, sample_stream(stream)[1].values())) == 5


def test_no_frame_is_left(labelled: Labelled, stream_of: StreamOf) -> None:
    stream = stream_of([labelled(k) for k in range(9)], max_force=1e-3)
    with pytest.raises(DataError, match=r"none of 9 .* \(9: too large a force\)"):
        sample_stream(stream)


def test_padding_has_a_margin(labelled: Labelled, stream_of: StreamOf) -> None:
    stream = stream_of([labelled(0)])
    assert with_neighbors({}, (10, 5)) == ({}, (10, 5))
    streams, padding = with_neighbors({"ff": stream}, (10, 5))
    assert padding == streams["ff"].limits.neighbors == (13, 7)
