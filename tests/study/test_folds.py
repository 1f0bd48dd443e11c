from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ase.io import read, write

from mftscreen.data.dataset import LabelledStructure
from mftscreen.data.sources import read_labelled
from mftscreen.errors import ConfigError, DataError
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.strategies import MFTConfig
from mftscreen.ood.splits import Split
from mftscreen.study.config import SplitSettings
from mftscreen.study.folds import SharedRows, choose_names, prepare_split


@pytest.fixture
def task(tiny_task: Path) -> MFTConfig:
    config = load_config(tiny_task)
    assert isinstance(config, MFTConfig)
    return config


def test_a_split_is_made_once(task: MFTConfig, tmp_path: Path) -> None:
    settings = SplitSettings(method="loco", options={"clusters": 4, "val_share": 0.1})
    path = prepare_split(settings, task, tmp_path, "density-loco")
    split = Split.read(path)
    assert (split.method, len(split.folds)) == ("loco", 4)
    before = path.stat().st_mtime_ns
    assert prepare_split(settings, task, tmp_path, "density-loco") == path
    assert path.stat().st_mtime_ns == before
    other = SplitSettings(method="loco", options={"clusters": 3})
    assert prepare_split(other, task, tmp_path, "density-loco") != path
    own = SplitSettings(file=path)
    assert prepare_split(own, task, tmp_path / "none", "x") == path


@pytest.mark.parametrize("option", ["method", "output", "table", "omee", "folds"])
def test_options_are_those_of_the_method(
    option: str, task: MFTConfig, tmp_path: Path
) -> None:
    settings = SplitSettings(method="loco", options={option: "3"})
    with pytest.raises(ConfigError, match=f"options: {option}: method loco has no"):
        prepare_split(settings, task, tmp_path, "x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ({"kind": "class"}, lambda n: "yes" if n > 50 else "no"),
        ({"components": 2}, lambda n: [n, 2.0 * n]),
    ],
)
def test_rows_with_labels_of_other_kinds_are_divided(
    settings: dict[str, Any],
    label: Callable[[float], object],
    task: MFTConfig,
    tmp_path: Path,
) -> None:
    rows = read(task.data.train[0], ":")
    for atoms in rows:
        atoms.info["mine"] = label(atoms.info["number_density"])
    write(tmp_path / "rows.extxyz", rows)
    document = task.model_dump(mode="json")
    document["properties"] = {"mine": settings}
    document["data"]["train"] = [tmp_path / "rows.extxyz"]
    config = MFTConfig.model_validate(document)
    random = SplitSettings(method="random", options={"folds": 3})
    path = prepare_split(random, config, tmp_path, "mine-random")
    assert len(Split.read(path).ids) == len(rows)


def test_folds_are_chosen_by_size_or_name(task: MFTConfig, tmp_path: Path) -> None:
    settings = SplitSettings(method="loco", options={"clusters": 4})
    path = prepare_split(settings, task, tmp_path, "x")
    split = Split.read(path)
    sizes = {fold.name: len(fold.test) for fold in split.folds}
    assert choose_names(split, None, path) == list(sizes)
    largest = choose_names(split, 2, path)
    assert (
        sorted((sizes[n] for n in largest), reverse=True)
        == sorted(sizes.values(), reverse=True)[:2]
    )
    assert choose_names(split, ["3", "1"], path) == ["3", "1"]
    with pytest.raises(DataError, match="no fold '9'"):
        choose_names(split, ["9"], path)


def test_published_folds_are_of_the_file_named_after_the_task(
    task: MFTConfig, tmp_path: Path
) -> None:
    data = task.data.train[0]
    named = tmp_path / "matbench_made_up.extxyz"
    named.write_bytes(data.read_bytes())
    tests = [{"cluster": 5, "test": [0, 1], "val": [46, 47]}]
    published = tmp_path / "folds.json.gz"
    document = {"matbench_made_up.extxyz": {"LOCO": tests}}
    published.write_bytes(gzip.compress(json.dumps(document).encode()))
    settings = SplitSettings(method="loco", published=published)
    own = task.model_copy(
        update={"data": task.data.model_copy(update={"train": [named]})}
    )
    (fold,) = Split.read(prepare_split(settings, own, tmp_path, "p")).folds
    assert (fold.name, len(fold.test), len(fold.val)) == ("5", 2, 2)
    with pytest.raises(DataError, match=r"no LOCO folds of 'data\.extxyz'"):
        prepare_split(settings, task, tmp_path, "p")
    two = task.model_copy(
        update={"data": task.data.model_copy(update={"train": [named, named]})}
    )
    with pytest.raises(ConfigError, match=r"data\.train: a task of a study has one"):
        prepare_split(settings, two, tmp_path, "p")


def test_tasks_of_one_file_have_it_read_once(
    task: MFTConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = read(task.data.train[0], ":")
    for k, atoms in enumerate(frames):
        atoms.info["second"] = atoms.info["number_density"] ** 2
        if k:
            atoms.info["rare"] = 1.0 * k
    write(tmp_path / "rows.extxyz", frames)
    configs = []
    for name in ("number_density", "second", "rare"):
        document = task.model_dump(mode="json")
        document["properties"] = {name: {}}
        document["data"]["train"] = [tmp_path / "rows.extxyz"]
        configs.append(MFTConfig.model_validate(document))
    tails = SplitSettings(method="property_tail")
    alone = [
        Split.read(prepare_split(tails, config, tmp_path / "alone", "x"))
        for config in configs[:2]
    ]
    reads: list[tuple[object, ...]] = []

    def watched(path: Path, *labels: object) -> Iterator[LabelledStructure]:
        reads.append(labels)
        return read_labelled(path, *labels)

    monkeypatch.setattr("mftscreen.study.folds.read_labelled", watched)
    shared = SharedRows(configs)
    for config, expected in zip(configs[:2], alone, strict=True):
        path = prepare_split(tails, config, tmp_path / "shared", "x", shared)
        assert Split.read(path) == expected
    assert [len(labels) for labels in reads] == [3]
    # a row has no label, which is told of as if the task were alone
    with pytest.raises(DataError, match="rare"):
        prepare_split(tails, configs[2], tmp_path / "shared", "x", shared)
