from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from mftscreen.cli import main
from mftscreen.data.dataset import LabelledStructure
from mftscreen.errors import ConfigError, DataError
from mftscreen.finetune.config.blocks import SplitConfig
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.task.partition import divide, hold_out, without_formulas_of
from mftscreen.finetune.task.task import load_task
from mftscreen.ood.splits import Fold, Split, SplitData, random_split

IDS = tuple(f"row-{k}" for k in range(40))
ATOMS = bulk("Si")
ROWS = [LabelledStructure(name, ATOMS) for name in IDS]


def write_split(folder: Path, *folds: Fold) -> Path:
    path = folder / "split.json"
    Split("made up", {}, 3, "0", IDS, folds).write(path)
    return path


def names(parts: dict[str, list[LabelledStructure]], part: str) -> set[str]:
    return {row.id for row in parts[part]}


def test_the_fold_s_own_parts_are_taken(tmp_path: Path) -> None:
    fold = Fold("b", IDS[:20], IDS[20:24], IDS[30:], IDS[24:28])
    other = Fold("a", IDS[20:], (), IDS[:20])
    path = write_split(tmp_path, other, fold)
    parts = divide(ROWS[::-1], SplitConfig(file=path, fold="b", id_share=0.3))
    assert names(parts, "train") == set(IDS[:20])
    assert names(parts, "validation") == set(IDS[20:24])
    assert names(parts, "id") == set(IDS[24:28])
    assert names(parts, "ood") == set(IDS[30:])
    # rows 28 and 29 are in no part of the fold
    assert sum(len(rows) for rows in parts.values()) == 38


def test_an_id_test_is_drawn_from_the_training_rows(tmp_path: Path) -> None:
    path = write_split(tmp_path, Fold("7", IDS[:30], (), IDS[30:]))
    parts = divide(ROWS, SplitConfig(file=path, fold=7))  # YAML has numbers
    assert len(parts["id"]) == 3
    assert names(parts, "id") | names(parts, "train") == set(IDS[:30])
    assert not names(parts, "id") & names(parts, "train")
    assert "validation" not in parts
    again = divide(ROWS, SplitConfig(file=path, fold="7"))
    assert names(again, "id") == names(parts, "id")
    everything = divide(ROWS, SplitConfig(file=path, fold="7", id_share=0))
    assert "id" not in everything
    assert names(everything, "train") == set(IDS[:30])


def test_ids_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = write_split(tmp_path, Fold("a", IDS[:30], (), IDS[30:]))
    settings = SplitConfig(file=path, fold="a")
    with pytest.raises(DataError, match=r"2 row ids are in the split.*row-0, row-1\."):
        divide(ROWS[2:], settings)
    strange = [*ROWS, LabelledStructure("stranger", bulk("Si"))]
    with pytest.raises(DataError, match="1 row ids are not in the split: stranger"):
        divide(strange, settings)
    with pytest.raises(DataError, match="more than once in the data: row-0"):
        divide([*ROWS, ROWS[0]], settings)
    with pytest.raises(DataError, match="row-13, row-14 and 30 more"):
        divide(ROWS[:5], settings)
    with pytest.raises(DataError, match="no fold 'b'; the folds are a"):
        divide(ROWS, SplitConfig(file=path, fold="b"))


def test_frames_of_tested_compositions_are_dropped() -> None:
    frames = [LabelledStructure(s, bulk(s)) for s in ("Si", "Ge", "Cu")]
    tests = [LabelledStructure("test", bulk("Si", cubic=True))]
    assert [f.id for f in without_formulas_of(frames, tests)] == ["Ge", "Cu"]
    with pytest.raises(DataError, match="all of 1 auxiliary frames"):
        without_formulas_of(frames[:1], tests)


def _rows(groups: Iterable[str]) -> list[LabelledStructure]:
    """Return rows of an id each, whose group is in front of the colon."""
    return [LabelledStructure(f"{g}:{k}", ATOMS) for k, g in enumerate(groups)]


def _group(row: LabelledStructure) -> str:
    return row.id.rpartition(":")[0]


GROUPS = st.lists(st.text(max_size=3), max_size=30)
SEEDS = st.integers(0, 2**32 - 1)


@given(GROUPS.filter(lambda g: len(set(g)) > 1), st.floats(0, 1), SEEDS)
def test_groups_are_held_out_whole_and_rows_keep_their_order(
    groups: list[str], fraction: float, seed: int
) -> None:
    rows = _rows(groups)
    parts = hold_out(rows, fraction, seed, _group)
    sides = {part: {_group(row) for row in some} for part, some in parts.items()}
    assert all(sides.values())
    assert not sides["train"] & sides["validation"]
    for part, some in parts.items():
        assert some == [row for row in rows if _group(row) in sides[part]]
    assert sides["train"] | sides["validation"] == set(groups)


@given(GROUPS, st.floats(0.2, 0.5), SEEDS, st.randoms())
def test_a_group_stays_on_its_side_when_others_are_added(
    others: list[str], fraction: float, seed: int, shuffle: random.Random
) -> None:
    # so many that no side is empty, whatever the seed is
    groups = [f"first {k}" for k in range(200)]
    before = hold_out(_rows(groups), fraction, seed, _group)
    more = groups + others
    shuffle.shuffle(more)
    after = hold_out(_rows(more), fraction, seed, _group)
    for part in ("train", "validation"):
        assert {_group(r) for r in before[part]} <= {_group(r) for r in after[part]}


def test_one_group_cannot_be_divided() -> None:
    with pytest.raises(DataError, match="all of 3 rows have the id or group 'a'"):
        hold_out(_rows("aaa"), 0.5, 0, _group)
    with pytest.raises(DataError, match="1 rows cannot be split; two are needed"):
        hold_out(_rows("a"), 0.5, 0, _group)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    draw = np.random.default_rng(1)
    crystals = []
    for symbol, kind, start in (
        ("MgO", "rocksalt", 4.0), ("GaAs", "zincblende", 5.4), ("Cu", "fcc", 3.5),
    ):  # fmt: skip
        for k in range(12):
            atoms = bulk(symbol, kind, a=start + 0.02 * k)
            atoms.info = {"id": f"{symbol}-{k}", "gap": draw.gamma(2.0)}
            crystals.append(atoms)
    path = tmp_path / "labels.extxyz"
    write(path, crystals)
    return path


CONFIG = """\
strategy: scratch
name: small
properties: {gap: {label: band gap, unit: eV}}
data:
  train: [labels.extxyz]
  split: {file: split.json, fold: Cu}
training: {steps: 1}
"""


def test_what_the_command_wrote_divides_the_data(labels: Path) -> None:
    arguments = ["split", str(labels), "--column", "gap", "--method", "chemsys", "-q"]
    split = labels.with_name("split.json")
    done = CliRunner().invoke(main, [*arguments, "-o", str(split)])
    assert done.exit_code == 0, done.output
    path = labels.with_name("config.yaml")
    path.write_text(CONFIG)
    parts = load_task(load_config(path)).heads["gap"]
    assert names(parts, "ood") == {f"Cu-{k}" for k in range(12)}
    assert {len(parts[part]) for part in ("train", "validation", "id")} == {17, 5, 2}
    assert all("Cu" not in row.atoms.symbols for row in parts["train"])


def test_without_validation_rows_some_are_set_aside(labels: Path) -> None:
    ids = tuple(f"{s}-{k}" for s in ("MgO", "GaAs", "Cu") for k in range(12))
    fold = Fold("Cu", ids[:24], (), ids[24:])
    Split("made up", {}, None, "0", ids, (fold,)).write(labels.with_name("split.json"))
    path = labels.with_name("config.yaml")
    path.write_text(CONFIG)
    parts = load_task(load_config(path)).heads["gap"]
    assert {part: len(rows) for part, rows in parts.items()} == {
        "train": 19, "validation": 2, "id": 3, "ood": 12,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ("  validation: [more.extxyz]\n", "'validation' or 'split'"),
        ("  test: {ood: more.extxyz}\n", "rename 'ood'"),
    ],
)
def test_a_split_excludes_other_ways(tmp_path: Path, extra: str, problem: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.replace("training:", f"{extra}training:"))
    with pytest.raises(ConfigError, match=problem):
        load_config(path)


def test_a_share_is_part_of_a_larger_one(tmp_path: Path) -> None:
    path = write_split(tmp_path, Fold("a", IDS[:20], IDS[20:28], IDS[30:]))

    def drawn(share: float, seed: int = 0) -> dict[str, list[LabelledStructure]]:
        settings = SplitConfig(
            file=path, fold="a", id_share=0, train_share=share, train_seed=seed
        )
        return divide(ROWS, settings)

    whole, half, quarter = (drawn(share) for share in (1.0, 0.5, 0.25))
    assert [len(parts["train"]) for parts in (whole, half, quarter)] == [20, 10, 5]
    assert [len(parts["validation"]) for parts in (whole, half, quarter)] == [8, 4, 2]
    for part in ("train", "validation"):
        assert names(quarter, part) < names(half, part) < names(whole, part)
    assert names(half, "ood") == names(whole, "ood")
    assert names(drawn(0.5, seed=1), "train") != names(half, "train")
    # one is left, and other rows are held out by a hash with the same seed
    assert [len(rows) for rows in drawn(0.001).values()] == [1, 1, 10]
    parts = hold_out(half["train"], 0.3, 0, lambda row: row.id)
    assert 0 < len(parts["train"]) < 10


def test_rows_that_have_changed_places_are_found(tmp_path: Path) -> None:
    structures = [bulk("Si", a=5.0 + 0.01 * k) for k in range(40)]
    data = SplitData(IDS, structures, np.arange(40.0))
    path = tmp_path / "split.json"
    split = random_split(data)
    split.write(path)
    settings = SplitConfig(file=path, fold=split.folds[0].name)
    rows = [LabelledStructure(*row) for row in zip(IDS, structures, strict=True)]
    relaxed = bulk("Si", a=6.0)
    divide([LabelledStructure(IDS[0], relaxed), *rows[:0:-1]], settings)
    sorted_anew = [
        LabelledStructure(name, row.atoms)
        for name, row in zip(IDS, [rows[1], rows[0], *rows[2:]], strict=True)
    ]
    with pytest.raises(DataError, match="2 row ids have the structure that another"):
        divide(sorted_anew, settings)
    # one that was mended, and is now like another
    divide([LabelledStructure(IDS[0], rows[1].atoms), *rows[1:]], settings)
