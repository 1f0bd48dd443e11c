from __future__ import annotations

import pytest

from mftscreen.cli.shared.training_tables import show_comparison
from mftscreen.finetune.compare.verdict import Comparison, Result


@pytest.mark.parametrize("folds", ["a", "ab"])
def test_a_comparison_ends_with_its_words_and_a_sentence(
    folds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    errors = {"n": 30.0, "mae": 0.5, "mae_of_training_mean": 1.0}
    metrics = {"id": errors, "ood": errors}
    show_comparison(
        Comparison(
            tuple(
                Result(strategy, fold, "gap", metrics, {"w1_ood": 0.1, "db_plane": 1.0})
                for strategy in ("ft", "lp")
                for fold in folds
            )
        )
    )
    table, legend = capsys.readouterr().out.split("\n\n")[::2]
    assert table.startswith("gap: MAE")
    *terms, last = [line for line in legend.splitlines() if not line.startswith(" ")]
    assert last.startswith("Smallest OOD error: ft; ")
    named = [term.partition(": ")[0] for term in terms]
    assert named == ["id", "ood", "W1", "DB", *(["±"] if len(folds) > 1 else [])]
