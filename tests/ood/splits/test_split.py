"""Splits: what is checked, and the file format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ase.build import bulk

from mftscreen.errors import DataError
from mftscreen.ood.splits import (
    Fold,
    Split,
    SplitData,
    draw_validation,
    random_split,
)


def test_validation_rows() -> None:
    rows = list(range(5, 105))
    drawn = draw_validation(rows, 0.25, seed=1)
    assert len(set(drawn)) == 25
    assert set(drawn) <= set(rows)
    assert drawn == draw_validation(rows[::-1], 0.25, seed=1)
    assert drawn != draw_validation(rows, 0.25, seed=2)
    with pytest.raises(DataError, match=r"\[0, 1\), got 1.0"):
        draw_validation(rows, 1.0, seed=0)


def test_other_data_are_refused(data: SplitData, tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    random_split(data).write(path)
    moved = [*data.structures[:-1], bulk("Ni", "fcc", a=3.0)]
    targets = data.values.copy()
    targets[3] += 1e-9
    order = [1, 0, *range(2, 110)]
    for ids, structures, values in (
        (data.ids, moved, data.values),
        (data.ids, data.structures, targets),
        (
            [data.ids[k] for k in order],
            [data.structures[k] for k in order],
            data.values[order],
        ),
        (data.ids[:50], data.structures[:50], data.values[:50]),
    ):
        other = SplitData(ids, structures, values)
        with pytest.raises(DataError, match=r"split\.json: the split was made of"):
            Split.read(path, other)
    same = SplitData(
        list(data.ids),
        [atoms.copy() for atoms in data.structures],
        data.values.tolist(),
    )
    Split.read(path, same)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "expected 'mftscreen split 1'"),
        ({"ids": ["a", "a", "c"]}, "'a' stands more than once"),
        ({"folds": []}, "gives no folds"),
        ({"folds": None}, "not a split"),
        ({"structures": ["0"]}, "3 ids and 1 structures"),
        ({"folds": [{"name": "f", "train": [0]}]}, "not a split: .*'val'"),
    ],
)
def test_damaged_files(change: dict[str, object], message: str, tmp_path: Path) -> None:
    fold = Fold("f", ("a",), (), ("b",), ("c",))
    split = Split("random", {}, 0, "0", ("a", "b", "c"), (fold,))
    document = json.loads(split.to_json())
    assert Split.from_json(json.dumps(document)) == split
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(document | change))
    with pytest.raises(DataError, match=message):
        Split.read(path)
    for row in (-1, 3, "a"):
        document["folds"][0]["test"] = [row]
        with pytest.raises(DataError, match=f"no row number {row}"):
            Split.from_json(json.dumps(document))
    path.write_text("{")
    with pytest.raises(DataError, match=r"bad\.json: not a split"):
        Split.read(path)


def test_folds_are_checked() -> None:
    with pytest.raises(DataError, match="fold f: row 'b' stands more than once"):
        Fold("f", ("a", "b"), (), ("c",), ("b",))
    with pytest.raises(DataError, match="fold f has no train rows"):
        Fold("f", (), (), ("c",))
    with pytest.raises(DataError, match="no row has the id 'c'"):
        Split("random", {}, 0, "0", ("a",), (Fold("f", ("a",), (), ("c",)),))


def test_ids_that_are_no_utf8_survive_a_file(tmp_path: Path) -> None:
    ids = (b"caf\xe9".decode(errors="surrogateescape"), "日", "c")
    fold = Fold("f", ids[:1], (), ids[1:])
    split = Split("random", {}, 0, "0", ids, (fold,), ("x", "y", "z"))
    split.write(tmp_path / "split.json")
    assert Split.read(tmp_path / "split.json") == split
    assert "日" in (tmp_path / "split.json").read_text(encoding="utf-8")
