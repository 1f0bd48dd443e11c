from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from mftscreen.data.dataset import LabelledStructure
from mftscreen.errors import DataError
from mftscreen.finetune.outcome.predictions import (
    Prediction,
    list_predictions,
    read_predictions,
    write_predictions,
)
from mftscreen.properties import PropertySpec

SPEC = PropertySpec(name="gap", label="band gap")


def test_predictions_keep_all_digits(tmp_path: Path) -> None:
    rows = [
        LabelledStructure(f"row, {k}", bulk("Si"), {"gap": np.array(k / 3)})
        for k in range(2)
    ]
    values = np.array([0.1 + 0.2, 1e-17])
    found = list_predictions(SPEC, {"validation": (rows, values)})
    assert found[1] == Prediction("gap", "validation", "row, 1", 1 / 3, 1e-17)
    path = tmp_path / "predictions.csv"
    write_predictions(path, found)
    assert read_predictions(path) == found
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    with pytest.raises(DataError, match="cannot be read as predictions"):
        read_predictions(path)
    path.write_text("property,part,id,label,prediction\ngap,ood,a,1.0\n")
    with pytest.raises(DataError, match=r"predictions\.csv"):
        read_predictions(path)
