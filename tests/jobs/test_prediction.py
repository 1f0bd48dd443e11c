from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from ase.build import bulk, molecule

from mftscreen import load_model
from mftscreen.errors import DataError
from mftscreen.jobs.prediction import prediction_table


def test_rows_follow_the_structures(bulk_model: Path) -> None:
    structures = pd.Series(
        [bulk("MgO", "rocksalt", a=4.2), molecule("H2O"), DataError("cut short")],
        index=["a", "b", "c"],
    )
    table = prediction_table(structures, load_model(bulk_model), ["gap"])
    assert table.index.tolist() == table["id"].tolist() == ["a", "b", "c"]
    assert table["status"].tolist() == ["ok", "outside_domain", "unreadable"]
    assert np.isfinite(table["gap"]["a"])
    assert table["gap"][["b", "c"]].isna().all()
    assert table["reason"]["c"] == "cut short"
    assert not {"rank", "model", "fast_gap"} & set(table.columns)
