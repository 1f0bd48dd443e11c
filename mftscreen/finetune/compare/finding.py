"""A sentence on which strategy a comparison speaks for, and how far."""

from __future__ import annotations

from collections.abc import Mapping
from math import comb
from statistics import fmean

from mftscreen.finetune.compare.verdict import Comparison
from mftscreen.finetune.task.partition import OOD_TEST
from mftscreen.metrics import BASELINES

__all__ = ["errors_by_fold", "say_finding"]

ALPHA = 0.05
"""Of the sign test: with fewer than six folds, it tells no two strategies apart."""


def say_finding(comparison: Comparison) -> str:
    """Return which strategy has the smallest OOD error, and which it is told from.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    str
        Two strategies are told apart if one has the smaller error on so many folds as
        happens in less than 5 % of cases by chance (a two-sided sign test, which takes
        folds for independent); it need not be the better one on average. With several
        properties, the error of a fold is the mean of their errors over that of a
        constant.

    Examples
    --------
    >>> from mftscreen.finetune.compare.verdict import Result
    >>> def result(strategy, fold, mae):
    ...     errors = {"mae": mae, "mae_of_training_mean": 1.0}
    ...     return Result(strategy, fold, "gap", {"ood": errors})
    >>> print(say_finding(Comparison((
    ...     result("ft", "a", 0.3), result("ft", "b", 0.5),
    ...     result("mft", "a", 0.2), result("mft", "b", 0.6)))))
    Smallest OOD error: ft; 2 folds do not tell it from mft (worse on 1 of them)
    """
    best = comparison.best
    own = errors_by_fold(comparison, best)
    apart: list[str] = []
    together: list[str] = []
    against: list[str] = []
    for other in comparison.strategies:
        if other == best:
            continue
        errors = errors_by_fold(comparison, other)
        worse = sum(errors[fold] > own[fold] for fold in own)
        better = sum(errors[fold] < own[fold] for fold in own)
        if _chance(worse, better) >= ALPHA:
            together.append(f"{other} (worse on {worse} of them)")
        elif worse > better:
            apart.append(f"{other} (worse on {worse} of them)")
        else:
            against.append(f"{other} is better on {better} of {len(own)}")
    folds = "1 fold does" if len(own) == 1 else f"{len(own)} folds do"
    text = f"Smallest OOD error: {best}"
    if apart:
        text += f"; {folds.removesuffix(' do')} tell it from {', '.join(apart)}"
    if together:
        text += f"; {folds} not tell it from {', '.join(together)}"
    if against:
        text += f"; fold by fold, {', '.join(against)}, but not on average"
    if comparison.relative_error(best) >= 1:
        text += "; no strategy is better than a constant"
    return text


def errors_by_fold(comparison: Comparison, strategy: str) -> Mapping[str, float]:
    """Return the OOD error of each fold over that of a constant.

    Parameters
    ----------
    comparison : Comparison
    strategy : str

    Returns
    -------
    mapping of str to float
        With several properties, their mean.
    """
    shares: dict[str, list[float]] = {}
    for name in comparison.properties:
        baseline = BASELINES[comparison.error_of(name)]
        errors = comparison.errors(name, strategy, OOD_TEST)
        constants = comparison.errors(name, strategy, OOD_TEST, baseline)
        folds = comparison.tested_folds(name)
        for fold, error, constant in zip(folds, errors, constants, strict=True):
            shares.setdefault(fold, []).append(error / (constant or 1.0))
    return {fold: fmean(found) for fold, found in shares.items()}


def _chance(more: int, less: int) -> float:
    """Return the p-value of a two-sided sign test."""
    n, k = more + less, min(more, less)
    return min(2 * sum(comb(n, i) for i in range(k + 1)) * 0.5**n, 1.0)
