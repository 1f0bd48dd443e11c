from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.build import bulk

import mftscreen.jobs.diagnose as module
from mftscreen import diagnose
from mftscreen.errors import ConfigError, DataError, MftscreenError


@pytest.mark.slow
def test_structures_in_memory_are_compared(checkpoint: Path, tmp_path: Path) -> None:
    crystals = _crystals(8)
    found = diagnose(
        {"same": checkpoint},
        checkpoint,
        {"train": [*crystals, Atoms("Po")], "other": iter(crystals[:3])},
        n_samples=20,
        json=tmp_path / "numbers.json",
    )
    assert found.failures == {"8": "holds Po, which the model does not know"}
    table = found.to_pandas()
    assert table[["data_set", "model"]].values.tolist() == [
        ["train", "same"], ["other", "same"],
    ]  # fmt: skip
    assert table["n_structures"].tolist() == [8, 3]
    assert table["w1"].tolist() == pytest.approx([0.0, 0.0], abs=1e-9)
    assert (table["w1_independent"] == table["w1_floor"]).all()
    assert (tmp_path / "numbers.json").exists()


def test_rows_of_several_data_sets_that_share_an_id_are_all_named(
    checkpoint: Path,
) -> None:
    data = {n: [Atoms("Po"), *_crystals(6)] for n in ("train", "other", "third")}
    found = diagnose({"same": checkpoint}, checkpoint, data, n_samples=5, n_repeats=1)
    reason = "holds Po, which the model does not know"
    assert found.failures == {"0": reason, "other: 0": reason, "third: 0": reason}


def test_numbers_are_written_though_nothing_can_be_drawn(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*_: object) -> None:
        raise DataError("nothing to be drawn")

    monkeypatch.setattr(module, "write_diagnosis", nothing)
    paths = {"output": tmp_path / "x.png", "json": tmp_path / "n.json"}
    data = {"train": _crystals(6)}
    with pytest.raises(DataError, match="nothing to be drawn"):
        diagnose({"same": checkpoint}, checkpoint, data, n_samples=5, **paths)
    assert paths["json"].exists()


def test_what_is_read_is_not_overwritten(checkpoint: Path, tmp_path: Path) -> None:
    rows, split = tmp_path / "rows.json", tmp_path / "split.json"
    for path in (rows, split):
        path.write_text("[]")
    for data in ({"a": rows}, {"a": [str(rows)]}, {"a": tmp_path}):
        with pytest.raises(DataError, match="which is read; choose another output"):
            diagnose(checkpoint, checkpoint, data, json=rows)
    with pytest.raises(DataError, match=r"belongs to .*split\.json, which is read"):
        diagnose(checkpoint, checkpoint, rows, split=split, fold=0, json=split)
    assert rows.read_text() == split.read_text() == "[]"


def _crystals(n: int) -> list[Atoms]:
    return [bulk("MgO", "rocksalt", a=4.0 + 0.02 * k, cubic=True) for k in range(n)]


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ("train.extxyz", {}, "data: names and what they stand for"),
        (None, {}, "data: known only for folders"),
        ({"a": []}, {"split": "split.json"}, "one is needed with the other"),
        ({"a": []}, {"split": "s.json", "fold": 0}, "just the rows that were split"),
        ({}, {}, "data: names"),
        ({"a": []}, {"output": "drift.pdf"}, "unknown format of a report"),
        ({"a": []}, {"pairs": ["C"]}, "C"),
        ({"a": 3}, {}, "int is not understood"),
        ({"a": []}, {"n_repeats": 0}, "n_repeats: 1 or more, got 0"),
        ({"a": []}, {"seed": -1}, "seed: 0 or more, got -1"),
        ({"a": [Atoms("Po")] * 3}, {}, "'a': no structure can be used; 0: holds Po"),
    ],
)
def test_wrong_arguments_are_named(
    data: Any, options: dict[str, Any], message: str, checkpoint: Path
) -> None:
    with pytest.raises((ConfigError, DataError, MftscreenError), match=message):
        diagnose(checkpoint, checkpoint, data, **options)
