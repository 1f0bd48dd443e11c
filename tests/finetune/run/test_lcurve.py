from __future__ import annotations

import math
from pathlib import Path

import pytest

from mftscreen.finetune.run.lcurve import has_diverged, read_lcurve

HEADER = "#  step      rmse_val_gap  rmse_trn_gap    lr\n"
NOTE = "# If there is no available reference data, rmse_*_{val,trn} will print nan\n"
ROWS = (
    "      1      nan       2.50e+00      1.0e-03\n"
    "    100      1.25e+00  7.5e-01       5.0e-04\n"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lcurve.out"


def test_rows_are_read_by_name(path: Path) -> None:
    path.write_text(HEADER + NOTE + ROWS)
    first, second = read_lcurve(path)
    assert math.isnan(first.pop("rmse_val_gap"))
    assert first == {"step": 1.0, "rmse_trn_gap": 2.5, "lr": 1e-3}
    assert second == {
        "step": 100.0, "rmse_val_gap": 1.25, "rmse_trn_gap": 0.75, "lr": 5e-4,
    }  # fmt: skip


@pytest.mark.parametrize("text", ["", HEADER, HEADER + NOTE])
def test_no_rows_yet(path: Path, text: str) -> None:
    path.write_text(text)
    assert read_lcurve(path) == []


def test_no_file_yet(path: Path) -> None:
    assert read_lcurve(path) == []


@pytest.mark.parametrize(
    "begun",
    ["    200", "    200   1.0e+00   5.0e-", "    200  1.0e+00  5.0e-01   2.5e-",
     "    200  1.0e+00  5.0e-01   2.5e-0"],
)  # fmt: skip
def test_line_that_is_still_being_written_is_left_out(path: Path, begun: str) -> None:
    path.write_text(HEADER + NOTE + ROWS + begun)
    assert [row["step"] for row in read_lcurve(path)] == [1.0, 100.0]


def test_restart_with_other_columns(path: Path) -> None:
    path.write_text(HEADER + ROWS + "#  step  rmse_trn  lr\n  200  0.5  1e-4\n")
    assert read_lcurve(path)[-1] == {"step": 200.0, "rmse_trn": 0.5, "lr": 1e-4}


@pytest.mark.parametrize(
    ("row", "diverged"),
    [
        ({"rmse_trn": 1.0, "rmse_e_trn": math.nan, "lr": 1e-3}, False),
        ({"rmse_trn_gap": math.nan, "rmse_f_trn": math.inf, "lr": 1e-3}, True),
        ({"rmse_trn": math.nan, "rmse_val": 0.5}, True),
        ({"rmse_val": math.nan, "lr": 1e-3}, False),
        ({}, False),
    ],
)
def test_divergence_needs_all_training_errors(
    row: dict[str, float], diverged: bool
) -> None:
    assert has_diverged(row) is diverged
