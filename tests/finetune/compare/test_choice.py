from __future__ import annotations

import pytest

from mftscreen.finetune.compare.choice import choose_strategy, say_choice
from mftscreen.finetune.compare.verdict import Comparison, Result


def _comparison(**errors: list[float]) -> Comparison:
    return Comparison(
        tuple(
            Result(
                strategy,
                str(fold),
                "gap",
                {"ood": {"mae": mae, "mae_of_training_mean": 1.0}},
            )
            for strategy, found in errors.items()
            for fold, mae in enumerate(found)
        )
    )


@pytest.mark.parametrize(
    ("errors", "chosen"),
    [
        ({"ft": [0.3, 0.5, 0.4], "mft": [0.4, 0.6, 0.51]}, "ft"),
        # by 0.01 on average, with a standard error of 0.02
        ({"ft": [0.3, 0.5, 0.4], "mft": [0.35, 0.48, 0.4]}, "mft"),
        ({"ft": [0.3], "mft": [0.3001]}, "ft"),
        ({"ft": [0.3, 0.5], "mft": [0.3, 0.5]}, "mft"),
        ({"mft": [0.3, 0.5], "kernel": [0.29, 0.52], "ft": [0.4, 0.5]}, "kernel"),
        ({"mft": [0.3, 0.5], "kernel": [0.5, 0.71], "ft": [0.4, 0.5]}, "mft"),
        ({"lp": [0.3, 0.5], "scratch": [0.4, 0.6]}, "lp"),
        ({"kernel": [0.3, 0.5], "mft": [0.4, 0.6]}, "kernel"),
    ],
)
def test_level_errors_leave_the_choice_to_the_force_field(
    errors: dict[str, list[float]], chosen: str
) -> None:
    comparison = _comparison(**errors)
    assert choose_strategy(comparison) == chosen
    said = say_choice(comparison)
    assert said.startswith(f"Training {chosen} on all rows")
    level = f"level with that of {comparison.best}"
    assert (level in said) == (chosen != comparison.best)


@pytest.mark.parametrize(
    ("best", "reason"), [("mft", "it takes minutes"), ("ft", "a force field")]
)
def test_the_reason_is_what_the_best_lacks(best: str, reason: str) -> None:
    comparison = _comparison(**{best: [0.3, 0.5], "kernel": [0.29, 0.52]})
    assert comparison.best == best
    assert say_choice(comparison).endswith(reason)
