from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk
from ase.io import write

from mftscreen.finetune.config.read import as_config
from mftscreen.finetune.task.label_names import find_unknown_labels


def _config(tmp_path: Path, properties: dict[str, Any], **data: Any) -> Any:
    return as_config(
        {
            "strategy": "kernel",
            "name": "mine",
            "pretrained": "mft-mini-crystals",
            "properties": properties,
            "data": {"train": [tmp_path / "train.extxyz"], **data},
        }
    )


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    """Training rows, of which the second one alone has a modulus, and others."""
    rows = [bulk("MgO", "rocksalt", a=4.2) for _ in range(3)]
    for atoms in rows:
        atoms.info["band_gap"] = 1.0
    rows[1].info |= {"K": 100.0, "G": 50.0}
    write(tmp_path / "train.extxyz", rows)
    write(tmp_path / "moduli.extxyz", [rows[1]])
    rows[0].info = {"energy_gap": 1.0}
    write(tmp_path / "test.extxyz", rows[:1])
    (tmp_path / "broken.extxyz").write_text("2\nLattice\nX")


GAP = {"gap": {"column": "band_gap"}}
MODULI = {"moduli": {"components": ["K", "G"], "columns": ["K", "G"]}}


@pytest.mark.parametrize("properties", [GAP, MODULI, GAP | MODULI])
def test_labels_that_are_there_are_found(
    tmp_path: Path, properties: dict[str, Any]
) -> None:
    assert find_unknown_labels(_config(tmp_path, properties)) == []


def test_what_is_not_there_yet_may_have_them(tmp_path: Path) -> None:
    train = [tmp_path / "train.extxyz", tmp_path / "later.extxyz"]
    properties = GAP | {"other": {}}
    assert find_unknown_labels(_config(tmp_path, properties, train=train)) == []
    (problem,) = find_unknown_labels(_config(tmp_path, properties))
    assert problem == "properties.other: no label 'other'; there is band_gap, K, G"


def test_a_close_name_is_suggested(tmp_path: Path) -> None:
    (problem,) = find_unknown_labels(_config(tmp_path, {"bandgap": {}}))
    assert problem == (
        f"data.train: {tmp_path}/train.extxyz: no label 'bandgap'; there is band_gap, "
        "K, G; did you mean 'band_gap'?"
    )
    columns = {"moduli": {"components": ["K", "G"], "columns": ["K", "g"]}}
    (problem,) = find_unknown_labels(_config(tmp_path, columns))
    assert problem.startswith("properties.moduli: no label 'g'; ")
    assert problem.endswith("; did you mean 'G'?")


def test_every_file_needs_a_label_of_one_property(tmp_path: Path) -> None:
    # its rows may lack those of the other
    test = {"mine": tmp_path / "test.extxyz", "none": tmp_path / "none.extxyz"}
    config = _config(tmp_path, GAP | MODULI, test=test)
    (problem,) = find_unknown_labels(config)
    assert problem.startswith(f"data.test.mine: {tmp_path}/test.extxyz: no label 'band")
    assert " or 'K' or 'G'; there is energy_gap" in problem
    config = _config(tmp_path, GAP, test={"mine": tmp_path / "broken.extxyz"})
    (problem,) = find_unknown_labels(config)
    assert problem.startswith(f"data.test.mine: {tmp_path}/broken.extxyz: ")
