from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from mftscreen.errors import DataError
from mftscreen.finetune.stream.reader import StreamReader
from mftscreen.finetune.stream.spec import Stream

Labelled = Callable[..., Atoms]
StreamOf = Callable[..., Stream]


def energies(stream: Stream, n: int, seed: int = 1) -> list[int]:
    frames = StreamReader(stream).training_frames(seed)
    return [round(float(f.labels["energy"])) for f in islice(frames, n)]


def test_all_training_frames_come_once_in_each_epoch(
    labelled: Labelled, stream_of: StreamOf
) -> None:
    stream = stream_of([labelled(k) for k in range(50)])
    reader = StreamReader(stream)
    held_out = {k for k in range(50) if reader.is_held_out(k)}
    assert 2 < len(held_out) < 20
    n = 50 - len(held_out)
    first, second = energies(stream, 2 * n)[:n], energies(stream, 2 * n)[n:]
    assert set(first) == set(second) == set(range(50)) - held_out
    assert first != second
    assert first != sorted(first)
    assert energies(stream, n, seed=2) != first
    assert energies(stream, n) == first


def test_elements_are_those_of_frames_that_were_used(
    labelled: Labelled, stream_of: StreamOf
) -> None:
    stream = stream_of([labelled(k) for k in range(9)], max_atoms=2, held_out=1e-9)
    reader = StreamReader(stream)
    assert reader.elements == set()
    next(reader.training_frames(1))
    assert reader.elements == {"Mg", "O"}


def test_shares_and_limits_are_part_of_each_other(
    labelled: Labelled, stream_of: StreamOf
) -> None:
    frames = [labelled(k) for k in range(50)]
    sets = []
    for settings in ({"fraction": 0.2}, {"limit": 25}, {}):
        reader = StreamReader(stream_of(frames, **settings))
        sets.append(set(reader.numbers(0)))
    assert list(map(len, sets)) == [10, 25, 50]
    assert sets[0] < sets[1] < sets[2]
    other = set(StreamReader(stream_of(frames, limit=25, seed=2)).numbers(0))
    assert len(other) == 25
    assert other != sets[1]


def test_filters_leave_out_what_they_say(
    labelled: Labelled, stream_of: StreamOf
) -> None:
    large = labelled(4, forces=np.full((2, 3), 20.0))
    frames = [*(labelled(k) for k in range(4)), large, labelled(6)]
    for settings, left, reason in (
        ({"max_atoms": 2}, {0, 2, 4, 6}, "too many atoms"),
        ({"elements": ("Si",)}, {1, 3}, "other elements"),
        ({"formulas": ("Si",)}, {0, 2, 4, 6}, "composition of a test"),
        ({"max_force": 10.0}, {0, 1, 2, 3, 6}, "too large a force"),
    ):
        stream = stream_of(frames, held_out=1e-9, **settings)
        reader = StreamReader(stream)
        read = islice(reader.training_frames(1), 3 * len(left))
        found = Counter(round(float(f.labels["energy"])) for f in read)
        assert found == dict.fromkeys(left, 3)
        counts = reader.counts
        assert counts["used"] == 3 * len(left)
        assert counts[reason] == counts["drawn"] - counts["used"] > 0


def test_unusable_frames_are_named_and_counted(
    labelled: Labelled, stream_of: StreamOf, caplog: pytest.LogCaptureFixture
) -> None:
    forces = np.zeros((8, 3))
    forces[3, 1] = np.nan
    frames = [labelled(k) for k in range(6)]
    frames[1] = labelled(1, forces=forces)
    frames[2].calc = None
    frames[4].positions[1] = frames[4].positions[0]
    stream = stream_of(frames, held_out=1e-9)
    reader = StreamReader(stream)
    with caplog.at_level(logging.WARNING):
        read = list(islice(reader.training_frames(1), 9))
    found = Counter(round(float(frame.labels["energy"])) for frame in read)
    assert found == {0: 3, 3: 3, 5: 3}
    for name, why in (("#1", "not finite"), ("#2", "energy and forces"), ("#4", "")):
        assert f"frames.extxyz{name} is left out" in caplog.text
        assert why in caplog.text
    assert reader.counts["unusable"] == reader.counts["drawn"] - 9


def test_frames_with_more_neighbours_than_padding_are_left_out(
    labelled: Labelled, stream_of: StreamOf
) -> None:
    dense = labelled(0)
    dense.set_cell(dense.cell * 0.8, scale_atoms=True)
    stream = stream_of([dense, labelled(2)], held_out=1e-9)
    assert set(energies(stream, 6)) == {0, 2}
    for limit, left in ((100, {0, 2}), (30, {2})):
        limits = replace(stream.limits, neighbors=(limit, limit))
        assert set(energies(replace(stream, limits=limits), 6)) == left


def test_stream_without_a_usable_frame_ends(
    labelled: Labelled, stream_of: StreamOf
) -> None:
    stream = stream_of([labelled(k) for k in range(5)], elements=("H",))
    with pytest.raises(DataError, match=r"none of \d+ auxiliary .*other elements"):
        energies(stream, 1)


def test_files_that_have_changed_are_refused(
    labelled: Labelled, stream_of: StreamOf, tmp_path: Path
) -> None:
    stream = stream_of([labelled(k) for k in range(5)])
    with (tmp_path / "frames.extxyz").open("a") as file:
        file.write("1\n\nH 0 0 0\n")
    with pytest.raises(DataError, match="have changed since the run was started"):
        StreamReader(stream)
