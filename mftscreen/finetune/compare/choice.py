"""The strategy that ``strategy: auto`` goes on with."""

from __future__ import annotations

from math import sqrt
from statistics import fmean, stdev

from mftscreen.finetune.compare.finding import errors_by_fold
from mftscreen.finetune.compare.verdict import Comparison

__all__ = ["choose_strategy", "say_choice"]

_WITH_FORCE_FIELD = ("kernel", "mft")
"""What relaxes and predicts with one model, the cheapest first."""


def choose_strategy(comparison: Comparison) -> str:
    """Return the strategy that is worth training on all rows.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    str
        That of the smallest OOD error, unless one that leaves a force field in the
        model is level with it: ``kernel``, which costs minutes, or else ``mft``. Level
        is an error that is larger by at most one standard error of the differences fold
        by fold; a single fold has none.

    Notes
    -----
    Errors of ``ft`` and ``mft`` were level wherever we have compared them
    (``recipes/README.md``), so that what else a model can do should decide.

    Examples
    --------
    >>> from mftscreen.finetune.compare.verdict import Result
    >>> def result(strategy, fold, mae):
    ...     errors = {"mae": mae, "mae_of_training_mean": 1.0}
    ...     return Result(strategy, fold, "gap", {"ood": errors})
    >>> choose_strategy(Comparison((
    ...     result("ft", "a", 0.3), result("ft", "b", 0.5),
    ...     result("mft", "a", 0.2), result("mft", "b", 0.7))))
    'mft'
    """
    best = comparison.best
    own = errors_by_fold(comparison, best)
    for strategy in _WITH_FORCE_FIELD:
        if strategy in comparison.strategies:
            errors = errors_by_fold(comparison, strategy)
            above = [errors[fold] - own[fold] for fold in own]
            if len(above) > 1 and fmean(above) <= stdev(above) / sqrt(len(above)):
                return strategy
    return best


def say_choice(comparison: Comparison) -> str:
    """Return which strategy is trained on all rows, and why.

    Parameters
    ----------
    comparison : Comparison
    """
    best, chosen = comparison.best, choose_strategy(comparison)
    if chosen == best:
        return f"Training {best} on all rows"
    is_cheaper = best in _WITH_FORCE_FIELD
    what = "it takes minutes" if is_cheaper else "the model will have a force field"
    return (
        f"Training {chosen} on all rows: its error is level with that of {best}, and "
        f"{what}"
    )
