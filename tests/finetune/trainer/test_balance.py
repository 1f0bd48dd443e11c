from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mftscreen.finetune.trainer.balance import (
    COMBINATION,
    GRADIENTS,
    LAMBDA,
    Combination,
    balanced_lambda,
    summarize_training,
)


def test_runs_of_earlier_versions_share_no_batches(tmp_path: Path) -> None:
    (tmp_path / COMBINATION).write_text('{"auxiliary": "ff", "aux_prob": 0.2}')
    combination = Combination.read(tmp_path)
    assert combination.sharing("gap") == ["gap"]
    assert combination.drawn(["ff", "gap"]) == ["ff", "gap"]
    assert combination.auxiliary == ["ff"]
    assert combination.aux_prob == {"ff": 0.2}


def test_auto_lambda_needs_gradients() -> None:
    with pytest.raises(ValueError, match=r"norms are 0 \(downstream\) and 3"):
        balanced_lambda([0.0], [3.0])


def _write_run(directory: Path, combination: Combination, *rows: dict) -> None:
    (directory / COMBINATION).write_text(combination.to_json())
    (directory / GRADIENTS).write_text("".join(json.dumps(r) + "\n" for r in rows))


def _interval(step: int, batches: dict[str, int], **norms: float) -> dict[str, Any]:
    return {"step": step, "batches": batches, "gradient_norms": norms}


def test_a_line_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    rows = [_interval(step, {"gap": 2}) for step in (2, 4)]
    (tmp_path / COMBINATION).write_text(Combination().to_json())
    whole, cut = map(json.dumps, rows)
    (tmp_path / GRADIENTS).write_text(f"\n{whole}\n{cut[:-9]}\n{cut}")
    assert summarize_training(tmp_path)["batches"] == {"gap": 4}


def test_intervals_that_were_trained_twice_count_once(tmp_path: Path) -> None:
    combination = Combination(
        ["ff"],
        "alternate",
        {"ff": 0.2},
        {"ff": "auto"},
        shared=[["gap", "size"], ["mu"]],
    )
    _write_run(
        tmp_path,
        combination,
        _interval(10, {"gap": 5, "size": 5, "mu": 3, "ff": 2}, gap=2.0, mu=4.0, ff=1.0),
        _interval(20, {"gap": 1, "size": 1, "mu": 1, "ff": 8}, gap=0.0, ff=9.0),
        # killed after step 20, and resumed at 10
        _interval(20, {"gap": 4, "size": 4, "mu": 4, "ff": 2}, gap=0.0, ff=3.0),
        _interval(30, {"gap": 5, "size": 5, "mu": 5}, gap=1.0),
    )
    (tmp_path / LAMBDA).write_text('{"lambda_reg": 0.7}')
    assert summarize_training(tmp_path) == {
        "batches": {"gap": 14, "size": 14, "mu": 12, "ff": 4},
        "combine": "alternate",
        "aux_prob": 0.2,
        # batches of the same rows are drawn once
        "aux_share": 4 / 30,
        "lambda_reg": 0.7,
        # of the one interval in which both are known and not 0
        "gradient_ratio": 0.25,
    }


def test_a_run_without_an_auxiliary_head_has_its_batches_only(tmp_path: Path) -> None:
    _write_run(tmp_path, Combination(), _interval(10, {"gap": 10}, gap=1.0))
    assert summarize_training(tmp_path) == {"batches": {"gap": 10}}
    (tmp_path / GRADIENTS).unlink()
    assert summarize_training(tmp_path) == {"batches": {}}
