"""How the outcomes of a screening become an order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from mftscreen.errors import ConfigError
from mftscreen.screen.order.goals import Goal, parse_goals, write_goal
from mftscreen.screen.order.ranking import OODPolicy, RankMethod

__all__ = ["Duplicates", "Goals", "RankOptions", "as_goals"]

Goals = Mapping[str, Goal]

Duplicates = Literal["identical", "equivalent"]


@dataclass(frozen=True)
class RankOptions:
    """How outcomes become an order; none of it needs a new evaluation.

    Attributes
    ----------
    goals : mapping of str to Goal
        Property to what makes it good.
    method : {"pareto", "desirability"}
        For several goals, see :func:`mftscreen.screen.order.ranking.order_candidates`.
    policy : {"label", "demote", "exclude"}
        What being out of distribution does to a rank.
    alpha : float
        Candidates with an OOD p-value up to this are flagged.
    coverage : float
        Share of true values that prediction intervals are to hold.
    diverse : int
        How many candidates unlike each other to list first, out of ten times as many;
        0 lists all by rank.
    duplicates : {"identical", "equivalent"}
        Which candidates count as copies of an earlier one, and get no rank: those with
        the same numbers (:func:`mftscreen.structures.structure_hash`), or also the same
        structure written otherwise (:func:`mftscreen.data.duplicates.same_structures`).

    Raises
    ------
    ConfigError
        If a value is not allowed; lists all that are not.
    """

    goals: Goals
    method: RankMethod = "pareto"
    policy: OODPolicy = "label"
    alpha: float = 0.05
    coverage: float = 0.9
    diverse: int = 0
    duplicates: Duplicates = "identical"

    def __post_init__(self) -> None:
        problems = [
            f"{name}: one of {', '.join(get_args(allowed))} is needed, got {value!r}"
            for name, value, allowed in (
                ("method", self.method, RankMethod),
                ("ood", self.policy, OODPolicy),
                ("duplicates", self.duplicates, Duplicates),
            )
            if value not in get_args(allowed)
        ]
        problems += [
            f"{name}: {value} is not between 0 and 1"
            for name, value in (("alpha", self.alpha), ("coverage", self.coverage))
            if not 0 < value < 1
        ]
        if self.diverse < 0:
            problems.append(f"diverse: {self.diverse} is negative")
        if problems:
            raise ConfigError(problems)

    def to_json(self) -> dict[str, Any]:
        """Return the options as JSON knows them."""
        goals = [write_goal(name, goal) for name, goal in self.goals.items()]
        return {**asdict(self), "goals": goals}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> RankOptions:
        """Return the options that :meth:`to_json` wrote."""
        return cls(**{**found, "goals": parse_goals(found["goals"])})


def as_goals(goals: Goals | str | Sequence[str]) -> Goals:
    """Return goals, which may be written as on the command line."""
    if not isinstance(goals, Mapping):
        goals = parse_goals([goals] if isinstance(goals, str) else goals)
    if not goals:
        raise ConfigError(["goals: at least one property is needed to rank by"])
    return goals
