from __future__ import annotations

import pytest

from mftscreen.finetune.compare.finding import say_finding
from mftscreen.finetune.compare.verdict import Comparison, Result


def comparison(
    errors: dict[str, list[float]], constant: float = 1.0, name: str = "gap"
) -> Comparison:
    """Return the comparison of strategies by their OOD MAE, fold by fold."""
    return Comparison(
        tuple(
            Result(strategy, str(fold), name, {"ood": metrics})
            for strategy, maes in errors.items()
            for fold, mae in enumerate(maes)
            for metrics in [{"mae": mae, "mae_of_training_mean": constant}]
        )
    )


@pytest.mark.parametrize(
    ("errors", "sentence"),
    [
        ({"ft": [0.3]}, "ft"),
        (
            {"ft": [0.3], "lp": [0.4]},
            "ft; 1 fold does not tell it from lp (worse on 1 of them)",
        ),
        (
            # one of both is smaller on all folds in every sixteenth case by chance
            {"ft": [0.3] * 5, "lp": [0.4] * 5},
            "ft; 5 folds do not tell it from lp (worse on 5 of them)",
        ),
        (
            {"lp": [0.4] * 6, "ft": [0.3] * 6, "mft": [0.35] * 5 + [0.2]},
            "ft; 6 folds tell it from lp (worse on 6 of them); 6 "
            "folds do not tell it from mft (worse on 5 of them)",
        ),
        (
            # larger on average for a single fold
            {"ft": [0.3] * 9, "lp": [0.2] * 8 + [9.0]},
            "ft; fold by fold, lp is better on 8 of 9, but not on average",
        ),
        (
            {"ft": [0.3] * 6, "lp": [0.3] * 6},
            "ft; 6 folds do not tell it from lp (worse on 0 of them)",
        ),
        (
            {"ft": [1.0, 1.3], "lp": [1.4, 1.5]},
            "ft; 2 folds do not tell it from lp (worse on 2 of them)"
            "; no strategy is better than a constant",
        ),
    ],
)
def test_no_more_is_said_than_the_folds_tell(
    errors: dict[str, list[float]], sentence: str
) -> None:
    assert say_finding(comparison(errors)) == f"Smallest OOD error: {sentence}"


def test_several_properties_count_in_units_of_a_constant() -> None:
    gap = comparison({"ft": [0.5] * 6, "lp": [0.6] * 6})
    shear = comparison({"ft": [30.0] * 6, "lp": [10.0] * 6}, 100.0, "shear")
    both = Comparison(gap.results + shear.results)
    assert say_finding(gap).endswith("6 folds tell it from lp (worse on 6 of them)")
    # 0.35 and 0.4
    assert say_finding(both).startswith(
        "Smallest OOD error: lp; 6 folds tell it from ft"
    )
