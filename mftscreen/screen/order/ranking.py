"""The order of screened candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mftscreen.errors import ConfigError, UnknownPropertyError
from mftscreen.screen.order.goals import Goal
from mftscreen.suggestions import did_you_mean

__all__ = ["OODPolicy", "RankMethod", "Ranking", "order_candidates"]

OODPolicy = Literal["label", "demote", "exclude"]

RankMethod = Literal["pareto", "desirability"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Objective = tuple[Goal, FloatArray]

_UNDESIRABLE = 0.99
"""Candidates worse than this share of the others in one property have no merit.

Not the worst one: a single absurd prediction would make all others look alike.
"""


@dataclass(frozen=True)
class Ranking:
    """The order of candidates, all of them.

    Attributes
    ----------
    order : ndarray of shape (n,)
        Numbers of the candidates: first the ranked ones, the best first; then those
        excluded for being out of distribution, likewise; then those beyond a bound;
        then those without a value.
    ranks : ndarray of shape (n,)
        By candidate: 1 for the best one, 0 for those without a rank.
    fronts : ndarray of shape (n,) or None
        By candidate: its Pareto front, 1 for the best one, 0 for those without a rank.
        None unless candidates are ranked by the fronts of several properties.
    scores : ndarray of shape (n,) or None
        By candidate: its desirability, 0 to 1; NaN for those without a rank. None for
        one property.
    infeasible : dict of int to str
        Candidate to the bounds that it violates.
    """

    order: IntArray
    ranks: IntArray
    fronts: IntArray | None
    scores: FloatArray | None
    infeasible: dict[int, str]


def order_candidates(
    values: Mapping[str, ArrayLike],
    goals: Mapping[str, Goal],
    *,
    method: RankMethod = "pareto",
    flagged: ArrayLike | None = None,
    policy: OODPolicy = "label",
) -> Ranking:
    r"""Return the order of candidates by one or several properties.

    Parameters
    ----------
    values : mapping of str to array-like of shape (n,)
        Property to its values; NaN for candidates that failed.
    goals : mapping of str to Goal
        Property to what makes it good.
    method : {"pareto", "desirability"}, default "pareto"
        For several goals: by Pareto front and within a front by desirability, so that
        no candidate comes after one that it beats in everything; or by desirability
        alone, so that a great value of one property makes up for a poor one of another.
    flagged : array-like of bool of shape (n,), optional
        Which candidates are out of distribution, or not known to be in it; by default
        none.
    policy : {"label", "demote", "exclude"}, default "label"
        ``label`` ranks by the values alone; ``demote`` puts flagged candidates, and
        their fronts, after all others; ``exclude`` gives them no rank.

    Returns
    -------
    Ranking
        Equals share a rank, and keep the order in which they are given. Within the
        window of a single goal, those nearest to its middle come first.

    Raises
    ------
    ConfigError
        If there are no goals, or `method` or `policy` is unknown.
    UnknownPropertyError
        If a goal is for a property that has no values.
    ValueError
        If the arrays differ in length.

    Notes
    -----
    Non-dominated sorting is that of NSGA-II [1]_: equals share a front. For three or
    more goals its time grows with the number of fronts, which are many where goals
    hardly contradict each other. The desirability of a candidate is the weighted
    geometric mean of those of its properties [2]_,

    .. math::

        D = \Bigl(\prod_i d_i^{w_i}\Bigr)^{1 / \sum_i w_i}, \qquad
        d_i = \frac{c_i^{worst} - c_i}{c_i^{worst} - c_i^{best}} \in [0, 1],

    linear in the cost :math:`c_i`: the value, its negative or its distance from the
    target. The best cost is that of the best candidate which is not flagged, so that an
    extrapolation beyond it gains nothing. The worst one is that at the goal's bound,
    where a candidate just becomes unacceptable; without a bound, the 99 % quantile of
    the candidates that are not flagged. It decides how much the differences among good
    candidates count: a bound gives a goal a scale that does not depend on the others in
    the database. A property with nothing but bounds does not count.

    References
    ----------
    .. [1] K. Deb et al., IEEE Trans. Evol. Comput. 6, 182 (2002),
       doi:10.1109/4235.996017
    .. [2] G. Derringer and R. Suich, J. Qual. Technol. 12, 214 (1980),
       doi:10.1080/00224065.1980.11980968

    Examples
    --------
    >>> values = {"gap": [1.0, 3.0, 2.0, 1.5], "mass": [10.0, 30.0, 10.0, 40.0]}
    >>> goals = {"gap": Goal("maximize"), "mass": Goal("minimize")}
    >>> ranking = order_candidates(values, goals)
    >>> ranking.fronts.tolist()
    [2, 1, 1, 2]
    >>> ranking.order.tolist()
    [2, 1, 0, 3]
    """
    _check_choices(method, policy)
    table = _table(values, goals)
    n = len(table)
    ood = np.zeros(n, bool) if flagged is None else np.asarray(flagged, bool)
    if ood.shape != (n,):
        msg = f"flagged has shape {ood.shape}; there are {n} candidates"
        raise ValueError(msg)
    valid = np.isfinite(table).all(axis=1)
    columns = list(zip(goals.values(), table.T, strict=True))
    allowed = np.all([goal.allows(column) for goal, column in columns], axis=0)
    feasible = valid & allowed
    objectives = [(goal, column) for goal, column in columns if goal.kind != "bound"]
    apart = ood if policy != "label" else np.zeros(n, bool)
    groups = [np.flatnonzero(feasible & ~apart), np.flatnonzero(feasible & apart)]
    fronts, scores = None, None
    if len(objectives) > 1:
        scores = _desirability(objectives, feasible, feasible & ~ood)
        if method == "pareto":
            fronts = _fronts(objectives, groups)
        keys = [-scores] if fronts is None else [-scores, fronts]
    else:
        keys = [goal.costs(column) for goal, column in objectives] or [np.zeros(n)]
        keys = [*(goal.ties(column) for goal, column in objectives), *keys]
    # lexsort takes the most important key last and keeps the order of equals
    groups = [rows[np.lexsort([key[rows] for key in keys])] for rows in groups]
    ranked = groups[0] if policy == "exclude" else np.concatenate(groups)
    ranks = _number(ranked, [*keys, apart.astype(np.float64)])
    if fronts is not None:
        fronts[ranks == 0] = 0
    if scores is not None:
        scores[ranks == 0] = np.nan
    beyond = np.flatnonzero(valid & ~allowed)
    order = np.concatenate([*groups, beyond, np.flatnonzero(~valid)])
    infeasible = {int(row): _violations(goals, table[row]) for row in beyond}
    return Ranking(order, ranks, fronts, scores, infeasible)


def _number(ranked: IntArray, keys: Sequence[FloatArray]) -> IntArray:
    """Return the ranks (n,) of candidates in their order; of equals, the first one's.

    What is not among them has none: 0.
    """
    ranks = np.zeros(len(keys[0]), np.int64)
    ordered = np.stack([key[ranked] for key in keys])
    differs = np.ones(len(ranked), bool)
    differs[1:] = (ordered[:, 1:] != ordered[:, :-1]).any(axis=0)
    numbers = np.arange(1, len(ranked) + 1)
    ranks[ranked] = np.maximum.accumulate(np.where(differs, numbers, 0))
    return ranks


def _check_choices(method: str, policy: str) -> None:
    problems = [
        f"{name}: {given!r} is not one of {', '.join(allowed)}"
        for name, given, allowed in (
            ("method", method, get_args(RankMethod)),
            ("policy", policy, get_args(OODPolicy)),
        )
        if given not in allowed
    ]
    if problems:
        raise ConfigError(problems)


def _table(values: Mapping[str, ArrayLike], goals: Mapping[str, Goal]) -> FloatArray:
    """Return the values (n, n_goals) that the goals are about."""
    if not goals:
        raise ConfigError(["goals: at least one is needed to rank by"])
    for name in goals:
        if name not in values:
            msg = f"cannot rank by {name!r}; there are values of {', '.join(values)}"
            msg += did_you_mean(name, known=values)
            raise UnknownPropertyError(msg)
    return np.stack([np.asarray(values[name], np.float64) for name in goals], axis=1)


def _desirability(
    objectives: Sequence[Objective], feasible: BoolArray, reference: BoolArray
) -> FloatArray:
    """Return the weighted geometric mean (n,) of the goals' desirabilities.

    Their scale is that of the `reference`, or of all that is `feasible` if that has
    none. What is not feasible has no desirability: NaN.
    """
    scores = np.full(len(feasible), np.nan)
    if not feasible.any():
        return scores
    reference = reference if reference.any() else feasible
    scores[feasible] = 1.0
    total = sum(goal.weight for goal, _ in objectives)
    for goal, column in objectives:
        costs = goal.costs(column)
        best = costs[reference].min()
        worst = goal.costs([goal.at_least, goal.at_most]).max()
        if not np.isfinite(worst):
            worst = np.quantile(costs[reference], _UNDESIRABLE)
        if worst > best:
            desirable = np.clip((worst - costs[feasible]) / (worst - best), 0.0, 1.0)
        else:
            desirable = (costs[feasible] <= best).astype(np.float64)
        scores[feasible] *= desirable ** (goal.weight / total)
    return scores


def _fronts(objectives: Sequence[Objective], groups: Sequence[IntArray]) -> IntArray:
    """Return the Pareto fronts (n,), those of a later group after all of an earlier."""
    from moocore import pareto_rank  # takes a tenth of a second to import

    costs = np.stack([goal.costs(column) for goal, column in objectives], axis=1)
    fronts = np.zeros(len(costs), np.int64)
    for rows in groups:
        fronts[rows] = fronts.max(initial=0) + 1 + pareto_rank(costs[rows])
    return fronts


def _violations(goals: Mapping[str, Goal], values: FloatArray) -> str:
    found = []
    for (name, goal), value in zip(goals.items(), values, strict=True):
        if value < goal.at_least:
            found.append(f"{name} = {value:.6g} is not at least {goal.at_least:g}")
        elif value > goal.at_most:
            found.append(f"{name} = {value:.6g} is not at most {goal.at_most:g}")
    return "; ".join(found)
