from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ase.build import bulk, molecule

from mftscreen import split
from mftscreen.errors import ConfigError, DataError
from mftscreen.jobs.split import foreign_options
from mftscreen.ood.splits import Split


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    structures = [
        bulk(formula, "rocksalt", a=4.2 + 0.03 * k)
        for formula in ("MgO", "CaO", "NaCl", "LiF")
        for k in range(12)
    ]
    gaps = np.random.default_rng(0).gamma(2.0, size=len(structures))
    names = [f"m-{k}" for k in range(len(structures))]
    return pd.DataFrame({"structure": structures, "gap": gaps}, index=names)


def test_a_table_is_split_as_a_file_is(frame: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    made = split(frame, "gap", method="loco", clusters=4, seed=3, output=path)
    assert Split.read(path, made.rows) == made.split
    assert made.path == path
    assert made.split.ids == tuple(frame.index)
    assert made.split.parameters["n_clusters"] == 4
    table = made.to_pandas()
    assert len(table) == len(made.split.folds) == 4
    assert table["n_test"].sum() == len(frame)
    assert table["median_p_value"].notna().any()


def test_molecules_have_no_p_values() -> None:
    molecules = [molecule("H2O") for _ in range(10)]
    for k, atoms in enumerate(molecules):
        atoms.info = {"id": f"w{k}", "gap": float(k)}
    made = split(molecules, "gap", method="random", folds=2)
    assert made.no_p_values
    assert made.to_pandas()["median_p_value"].isna().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "loco", "tail": "low"}, "tail: method loco has no such option"),
        ({"method": "loco", "rows": 3}, "rows: method loco has no such option"),
        ({"method": "elements", "by": "sgnum"}, "by: method elements has no such"),
        ({"method": "loco", "clusters": "five"}, "clusters: a whole number from 2"),
        ({"method": "loco", "clusters": 1}, "clusters: a whole number from 2, got 1"),
        ({"method": "random", "val_share": 2}, "val_share: a number from 0 up to 1"),
        ({"method": "loco", "seed": 2**32}, "seed: a whole number from 0 up to"),
        ({"method": "random", "seed": None}, "seed: a whole number from 0 up to"),
        ({"method": "property_tail", "tail": "up"}, "tail: one of low, high, both"),
    ],
)
def test_wrong_options_are_named(
    options: dict[str, Any], message: str, frame: pd.DataFrame
) -> None:
    with pytest.raises(ConfigError, match=message):
        split(frame, "gap", **options)


def test_wrong_data_are_named(frame: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no split method 'fair'; the methods are"):
        split(frame, "gap", method="fair")
    with pytest.raises(DataError, match="48 rows in memory: no label 'Eg'"):
        split(frame, "Eg", method="random")
    with pytest.raises(DataError, match="published folds are of a file"):
        split(frame, "gap", method="loco", omee=tmp_path / "folds.json.xz")


def test_what_is_read_is_not_overwritten(frame: pd.DataFrame, tmp_path: Path) -> None:
    folds = tmp_path / "folds.json"
    folds.write_text("{}")
    with pytest.raises(DataError, match=r"belongs to .*folds\.json, which is read"):
        split(frame, "gap", method="loco", omee=folds, output=folds)
    rows = tmp_path / "rows.json"
    rows.write_text("[]")
    same = tmp_path / "same.json"
    same.symlink_to(rows)
    for output in (rows, same):
        with pytest.raises(DataError, match="which is read; choose another output"):
            split(rows, "gap", method="random", output=output)
    assert folds.read_text() == "{}"
    assert rows.read_text() == "[]"
    with pytest.raises(DataError, match=r"a split is written to a \.json file"):
        split(frame, "gap", method="random", output=tmp_path / "split.txt")


def test_options_of_published_folds_are_all_foreign() -> None:
    assert foreign_options("loco", {"seed": 1}, published=True) == {"seed"}
    assert foreign_options("loco", {"seed": 1, "folds": 2}, published=False) == {
        "folds"
    }


def test_numbers_of_numpy_are_numbers(frame: pd.DataFrame, tmp_path: Path) -> None:
    options = {"folds": np.int64(3), "seed": np.int64(1), "val_share": np.float32(0.25)}
    made = split(frame, "gap", method="random", output=tmp_path / "s.json", **options)
    plain = split(frame, "gap", method="random", folds=3, seed=1, val_share=0.25)
    assert made.split == plain.split == Split.read(tmp_path / "s.json")
