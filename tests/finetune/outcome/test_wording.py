from __future__ import annotations

import pytest

from mftscreen.finetune.outcome.wording import legend, say_errors


def part(mae: float, n: int = 100) -> dict[str, float]:
    return {"n": float(n), "mae": mae, "mae_of_training_mean": 1.0}


CLASS = {"n": 50.0, "log_loss": 0.3, "log_loss_of_training_share": 0.6}


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({}, ""),
        (
            {"validation": part(0.1)},
            "gap: MAE on validation is 10 % of that of a constant (100 rows); there is "
            "no test that had no say in the training",
        ),
        (
            {"validation": part(0.1), "my test": part(0.2, 19)},
            "gap: MAE on my test is 20 % of that of a constant (19 rows, which decide "
            "little)",
        ),
        (
            {
                "validation": part(0.1),
                "id": part(0.2),
                "ood": part(0.5),
                "more": part(9),
            },
            "gap: MAE out of distribution is 50 % of that of a constant (100 rows), "
            "and 2.5 times that in distribution",
        ),
        (
            {"validation": part(0.1), "ood": part(1.2)},
            "gap: MAE out of distribution is 1.2 times that of a constant (100 rows)",
        ),
        (
            {"id": part(0.0), "ood": part(1.0)},
            "gap: MAE out of distribution is 1 times that of a constant (100 rows)",
        ),
        (
            {"id": part(0.5), "ood": part(0.996)},
            "gap: MAE out of distribution is 100 % of that of a constant (100 rows), "
            "and 2 times that in distribution",
        ),
        (
            {"id": part(0.5), "ood": part(123.4)},
            "gap: MAE out of distribution is 123 times that of a constant (100 rows), "
            "and 247 times that in distribution",
        ),
        (
            {"ood": part(0.5) | {"mae_of_training_mean": 0.0}},
            "gap: MAE out of distribution is 0.5, and that of a constant 0 (100 rows)",
        ),
        (
            {"id": CLASS},
            "gap: log loss in distribution is 50 % of that of a constant (50 rows)",
        ),
    ],
)
def test_the_error_that_counts_is_said_in_proportion(
    parts: dict[str, dict[str, float]], sentence: str
) -> None:
    assert say_errors("gap", parts) == sentence


def test_words_that_are_shown_are_explained() -> None:
    assert legend(["n", "mae", "my test", ""]) == []
    shown = ["validation", "w1_ood", "DB t-SNE", "db_plane", "in 90 %", "±"]
    found = [line.partition(": ")[0] for line in legend(shown)]
    assert found == ["validation", "in 90 %", "W1", "DB", "±"]
