from __future__ import annotations

import logging
import random
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write
from hypothesis import given
from hypothesis import strategies as st

from mftscreen.data.dataset import LabelledStructure
from mftscreen.data.label_source import LabelSource
from mftscreen.errors import DataError
from mftscreen.finetune.config.blocks import DataConfig
from mftscreen.finetune.task.training_data import (
    Parts,
    TrainingData,
    check_rows,
    data_hash,
    read_rows,
)
from mftscreen.model.backbones.seam import EdgeCutoffs

PROPERTIES = ("gap", "shear", "bulk")


def _sources(**columns: str) -> list[LabelSource]:
    return [LabelSource(name, (column,)) for name, column in columns.items()]


def _row(number: int, **labels: object) -> LabelledStructure:
    atoms = Atoms("OH", [[0, 0, 0], [0, 0, 1 + number / 8]])
    values = {name: np.asarray(value) for name, value in labels.items()}
    return LabelledStructure(f"row-{number}", atoms, values)


@st.composite
def data_of_some(draw: st.DrawFn) -> TrainingData:
    """Return rows in three parts, each with some of the properties."""
    some = st.sets(st.sampled_from(PROPERTIES), min_size=1)
    labels = draw(st.lists(st.tuples(st.integers(0, 2), some), max_size=20))
    parts: dict[str, list[LabelledStructure]] = {
        "train": [], "validation": [], "test": [],
    }  # fmt: skip
    for number, (part, names) in enumerate(labels):
        row = _row(number, **dict.fromkeys(names, float(number)))
        parts[list(parts)[part]].append(row)
    return TrainingData(parts, PROPERTIES)


@given(data_of_some())
def test_a_head_sees_the_rows_that_have_its_label(data: TrainingData) -> None:
    for part, rows in data.rows.items():
        seen = [id(row) for name in PROPERTIES for row in data.heads[name][part]]
        assert all(seen.count(id(row)) == len(row.labels) for row in rows)
        for name in PROPERTIES:
            own = data.heads[name][part]
            assert all(name in row.labels for row in own)
            places = [rows.index(row) for row in own]
            assert places == sorted(places)


@given(data_of_some())
def test_rows_come_in_the_order_in_which_the_heads_name_them(
    data: TrainingData,
) -> None:
    for part in data.rows:
        joined = [row for name in PROPERTIES for row in data.heads[name][part]]
        once = list({id(row): row for row in joined}.values())
        assert data.by_property(part) == once


@given(data_of_some())
def test_properties_that_see_the_same_rows_share_them(data: TrainingData) -> None:
    def seen(name: str) -> list[list[str]]:
        parts = data.heads[name]
        return [[row.id for row in parts[part]] for part in ("train", "validation")]

    assert sorted(name for group in data.shared for name in group) == sorted(PROPERTIES)
    group_of = {name: k for k, group in enumerate(data.shared) for name in group}
    for one in PROPERTIES:
        for other in PROPERTIES:
            assert (group_of[one] == group_of[other]) == (seen(one) == seen(other))


@given(st.lists(st.integers(0, 5), max_size=8), st.randoms())
def test_a_hash_is_of_structures_and_labels_in_order(
    numbers: list[int], shuffle: random.Random
) -> None:
    rows = [_row(k, gap=float(k), other=shuffle.random()) for k in numbers]
    again = [_row(k, gap=float(k)) for k in numbers]
    assert data_hash(rows, ["gap"]) == data_hash(again, ["gap"])
    places = list(range(len(numbers)))
    shuffle.shuffle(places)
    moved = [numbers[k] for k in places]
    shuffled = data_hash([rows[k] for k in places], ["gap"])
    assert (shuffled == data_hash(rows, ["gap"])) == (moved == numbers)
    if rows:
        changed = [*rows[:-1], _row(numbers[-1], gap=-1.0)]
        assert data_hash(changed, ["gap"]) != data_hash(rows, ["gap"])
        assert data_hash(rows[:-1], ["gap"]) != data_hash(rows, ["gap"])


def _frames() -> list[LabelledStructure]:
    frames = [_row(k, energy=-1.0 * k, force=np.full((2, 3), k / 4)) for k in (4, 5)]
    labels = {**frames[1].labels, "virial": np.eye(3)}
    return [frames[0], LabelledStructure("row-5", frames[1].atoms, labels)]


def test_hashes_are_those_that_runs_and_cards_hold() -> None:
    """A run that was begun by an earlier version goes on."""
    train = [_row(0, gap=1.5, shear=-3.0), _row(1, shear=2.0), _row(2, gap=0.25)]
    validation = [_row(3, gap=-1.0, shear=4.0)]
    frames = _frames()
    data = TrainingData(
        {"train": train, "validation": validation, "test": [_row(9, gap=0.0)]},
        ("gap", "shear"),
        {"ff": {"train": frames, "validation": frames[:1]}},
    )
    assert data_hash(data.heads["gap"]["train"], ["gap"]) == (
        "bff599d6a0357e7eff9515085f5f3fec86c9915a5e0f76dc4203166400cfb786"
    )
    assert data_hash(frames, ["energy", "force", "virial"]) == (
        "cdf4c00b5047d3bc2a8e6751cfcf810cba2c45b2ba08301a08c49a2cbf353fc5"
    )
    assert data.hash == (
        "f34f40a99f7021aa39abbb2531f0b519005348fcb54dca255a9a19d9baed7a4a"
    )


def test_what_is_new_to_the_model() -> None:
    parts = {
        part: [_row(k, gap=0.0)]
        for k, part in enumerate(("train", "validation", "id", "ood", "alloys"))
    }
    new = TrainingData(parts, ["gap"]).new_rows
    assert [row.id for row in new] == ["row-3", "row-4"]


def _crystals(*lengths: float) -> list[LabelledStructure]:
    return [
        LabelledStructure(f"{a}", bulk("MgO", "rocksalt", a=a), {"gap": np.asarray(a)})
        for a in lengths
    ]


def test_neighbours_are_counted_where_they_are_trained_on() -> None:
    parts: Parts = {
        "train": _crystals(4.2, 5.2),
        "validation": _crystals(4.6),
        "test": _crystals(3.0),
    }
    frames = {"train": _crystals(6.0), "validation": _crystals(6.1)}
    data = TrainingData(parts, ["gap"], {"ff": frames})
    # of rock salt: 6 neighbours at a/2, 12 at 0.71 a, 8 at 0.87 a, 6 at a
    assert check_rows(data, ["Mg", "O"], EdgeCutoffs(3.2, 2.2)) == (18, 6)
    assert check_rows(data, ["Mg", "O"], EdgeCutoffs(3.8, 2.0)) == (26, 1)
    denser = TrainingData(parts, ["gap"], {"ff": {**frames, "train": parts["test"]}})
    assert check_rows(denser, ["Mg", "O"], EdgeCutoffs(3.2, 2.2)) == (32, 18)


def test_structures_that_cannot_be_used_are_named_once() -> None:
    labels = dict.fromkeys(PROPERTIES, np.asarray(1.0))
    bad = {
        "close": Atoms("O2", [[0, 0, 0], [0, 0, 0.2]]),
        "water": molecule("H2O"),
        "nowhere": Atoms("O", [[np.nan, 0, 0]]),
        "good": Atoms("O"),
    }
    rows = {n: LabelledStructure(n, atoms, labels) for n, atoms in bad.items()}
    parts = {
        "train": [rows["close"], rows["good"]],
        "validation": [rows["nowhere"]],
        "test": [rows["water"]],
    }
    with pytest.raises(DataError) as caught:
        check_rows(TrainingData(parts, PROPERTIES), ["O"], EdgeCutoffs(4.0, 3.0))
    first, *lines = str(caught.value).splitlines()
    assert first == "3 rows cannot be used"
    names = ("close", "nowhere", "water")
    for name, line in zip(names, lines, strict=True):
        assert line.startswith(f"  row {name}: ")
    assert "0.200 Å apart" in lines[0]


def _write(path: Path, **gaps: float) -> Path:
    rows = []
    for name, gap in gaps.items():
        atoms = bulk("MgO", "rocksalt", a=4.0 + gap)
        atoms.info = {"id": name, "Eg": gap}
        rows.append(atoms)
    write(path, rows)
    return path


def test_rows_are_read_under_the_names_of_the_properties(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train = _write(tmp_path / "train.extxyz", a=0.1, b=0.2)
    held_out = _write(tmp_path / "validation.extxyz", c=0.1)
    test = _write(tmp_path / "test.extxyz", d=0.3, e=0.2)
    config = DataConfig(train=[train], validation=[held_out], test={"new": test})
    with caplog.at_level(logging.WARNING):
        data = read_rows(config, _sources(gap="Eg", twice="Eg"), seed=0)
    found = {part: [row.id for row in rows] for part, rows in data.rows.items()}
    assert found == {"train": ["a", "b"], "validation": ["c"], "new": ["d", "e"]}
    assert data.rows["train"][1].labels == {"gap": 0.2, "twice": 0.2}
    assert [record.getMessage() for record in caplog.records] == [
        "1 structures of the validation set are in the training set, too: c",
        "1 structures of test 'new' are in the training set, too: e",
    ]
    caplog.clear()
    both = DataConfig(train=[train], validation=[test], test={"same": test})
    with caplog.at_level(logging.WARNING):
        read_rows(both, _sources(gap="Eg"), seed=0)
    assert [record.getMessage() for record in caplog.records][-1] == (
        "2 structures of test 'same' are in the validation set, too: d, e"
    )


def test_tests_have_a_hash_of_their_own(tmp_path: Path) -> None:
    train = _write(tmp_path / "train.extxyz", a=0.1, b=0.2, c=0.3)
    found = []
    for label in (0.4, 0.4, 0.5):
        test = _write(tmp_path / "test.extxyz", d=label)
        config = DataConfig(train=[train], test={"new": test}, validation_fraction=0.3)
        data = read_rows(config, _sources(gap="Eg"), seed=0)
        found.append((data.hash, data.tests_hash))
    assert found[0] == found[1]
    assert found[0][0] == found[2][0]
    assert found[0][1] != found[2][1]


def test_a_property_without_rows_of_a_part_is_named(tmp_path: Path) -> None:
    train = _write(tmp_path / "train.extxyz", a=0.1, b=0.2)
    atoms = bulk("MgO", "rocksalt", a=4.0)
    atoms.info = {"other": 1.0}
    write(tmp_path / "validation.extxyz", atoms)
    config = DataConfig(train=[train], validation=[tmp_path / "validation.extxyz"])
    with pytest.raises(
        DataError, match=r"no validation row .* 'Eg' for 'gap'; name rows that"
    ):
        read_rows(config, _sources(gap="Eg", more="other"), seed=0)
    with pytest.raises(DataError, match="no train row has a label 'other' for 'more'"):
        read_rows(config, _sources(more="other", gap="Eg"), seed=0)
