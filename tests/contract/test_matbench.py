"""The shipped model's test fold is MatBench's own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mftscreen.data.sources import read_labelled

DATA = os.environ.get("MFTSCREEN_DATA")
pytestmark = pytest.mark.skipif(DATA is None, reason="MFTSCREEN_DATA is not set")


def test_rows_of_fold_0_are_those_of_matbench() -> None:
    metadata = pytest.importorskip("matbench.metadata")
    data = Path(DATA or "")
    folds = json.loads((data / "folds/matbench_official_test_indices.json").read_text())
    path = data / "matbench/matbench_dielectric.json.gz"
    ids = [row.id for row in read_labelled(path, "n")]
    official = metadata.mbv01_validation["splits"]["matbench_dielectric"]["fold_0"]
    ours = [ids[number] for number in folds["matbench_dielectric"][0]]
    assert sorted(ours) == sorted(official["test"])
    assert len(ids) == len(official["train"]) + len(official["test"])
