from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ase.io import read, write

from mftscreen.errors import ConfigError, DataError
from mftscreen.finetune.compare.folds import choose_folds, prepare_split
from mftscreen.finetune.strategies import (
    MFTConfig,
)
from mftscreen.ood.splits import Split


def test_folds_are_chosen_by_number_or_name(folder: Path, mft: MFTConfig) -> None:
    data = mft.data.model_copy(update={"train": [folder / "crystals.extxyz"]})
    properties = {"softness": mft.properties["log_gvrh"]}
    config = mft.model_copy(update={"data": data, "properties": properties})
    split = prepare_split(config, "chemsys", folder / "folds")
    names = [fold.name for fold in Split.read(split).folds]
    assert names == ["Mg-O", "O-Si", "Si"]
    assert choose_folds(split, None, config) == names
    whole = Split.read(split)
    first = whole.folds[0]
    smaller = replace(first, train=first.train + first.test[1:], test=first.test[:1])
    other = folder / "smaller.json"
    replace(whole, folds=(smaller, *whole.folds[1:])).write(other)
    assert choose_folds(other, "2", config) == names[1:]
    assert choose_folds(split, "Si,Mg-O,Si", config) == ["Si", "Mg-O"]
    for wrong, message in (
        ("4", "there are 3"),
        ("4,", "no fold '4'; the folds"),
        (" , ", "names no fold"),
    ):
        with pytest.raises(DataError, match=message):
            choose_folds(split, wrong, config)
    # the one that is there is taken again, and no other method's
    assert prepare_split(config, "chemsys", folder / "folds") == split
    with pytest.raises(DataError, match="split by chemsys; --split asks for random"):
        prepare_split(config, "random", folder / "folds")
    with pytest.raises(DataError, match="no split method 'best'"):
        prepare_split(config, "best", folder)
    with pytest.raises(ConfigError, match="needs a split"):
        prepare_split(config, None, folder)


def test_rows_may_lack_the_first_of_several_labels(
    folder: Path, mft: MFTConfig, tmp_path: Path
) -> None:
    rows = read(folder / "crystals.extxyz", ":")
    for atoms in rows:
        atoms.info["other"] = 1.0
    del rows[3].info["softness"]
    write(tmp_path / "rows.extxyz", rows)
    data = mft.data.model_copy(update={"train": [tmp_path / "rows.extxyz"]})
    settings = mft.properties["log_gvrh"]
    properties = {"softness": settings, "other": settings}
    config = mft.model_copy(update={"data": data, "properties": properties})
    split = Split.read(prepare_split(config, "chemsys", tmp_path / "folds"))
    assert len(split.ids) == len(rows)
    with pytest.raises(DataError, match="'softness', the first property, and 1 rows"):
        prepare_split(config, "kde_tails", tmp_path / "tails")
