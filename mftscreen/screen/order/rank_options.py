"""How the outcomes of a screening become an order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from numbers import Integral, Real
from typing import Any, Literal, get_args

from mftscreen.errors import ConfigError
from mftscreen.screen.order.goals import GOAL_EXAMPLES, Goal, parse_goals, write_goal
from mftscreen.screen.order.ranking import OODPolicy, RankMethod

__all__ = ["Duplicates", "Goals", "RankOptions", "as_goals", "plain_value"]

Goals = Mapping[str, Goal]

Duplicates = Literal["identical", "equivalent"]

_EXPECTED = f"expected a property, something like {GOAL_EXAMPLES}, or a mapping"
_WORDS = {"max": ":max", "maximize": ":max", "min": ":min", "minimize": ":min"}


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
        for name in ("method", "policy", "duplicates"):
            object.__setattr__(self, name, plain_value(getattr(self, name)))
        problems = [
            f"{name}: one of {', '.join(get_args(allowed))} is needed, got {value!r}"
            for name, value, allowed in (
                ("method", self.method, RankMethod),
                ("ood", self.policy, OODPolicy),
                ("duplicates", self.duplicates, Duplicates),
            )
            if not isinstance(value, str) or value not in get_args(allowed)
        ]
        problems += [
            f"{name}: {value!r} is not between 0 and 1"
            for name, value in (("alpha", self.alpha), ("coverage", self.coverage))
            if not (isinstance(value, Real) and 0 < value < 1)
        ]
        if not isinstance(self.diverse, Integral):
            problems.append(f"diverse: {self.diverse!r} is not a whole number")
        elif self.diverse < 0:
            problems.append(f"diverse: {self.diverse} is negative")
        if problems:
            raise ConfigError(problems)
        # numbers of numpy are not those of JSON
        for name, kind in (("alpha", float), ("coverage", float), ("diverse", int)):
            object.__setattr__(self, name, kind(getattr(self, name)))

    def to_json(self) -> dict[str, Any]:
        """Return the options as JSON knows them."""
        goals = [write_goal(name, goal) for name, goal in self.goals.items()]
        return {**asdict(self), "goals": goals}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> RankOptions:
        """Return the options that :meth:`to_json` wrote."""
        return cls(**{**found, "goals": parse_goals(found["goals"])})


def as_goals(goals: Any) -> Goals:
    """Return goals, however they are given.

    Parameters
    ----------
    goals : str, sequence of str, or mapping of str
        Texts as on the command line, where a property alone means ``:max``; or property
        to :class:`Goal`, ``"max"``, ``"min"``, the rest of such a text (``">=1"``), a
        target, or the two ends of a window.

    Returns
    -------
    mapping of str to Goal

    Raises
    ------
    ConfigError
        Lists all that is not understood.

    Examples
    --------
    >>> as_goals("dielectric") == as_goals({"dielectric": "max"})
    True
    >>> as_goals({"gap": (1.2, 1.6)})
    {'gap': Goal(kind='target', target=(1.2, 1.6), ...)}
    """
    if isinstance(goals, Mapping):
        problems, found = [], {}
        for name, goal in goals.items():
            try:
                found[str(name)] = _as_goal(str(name), plain_value(goal))
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(problems)
    else:
        texts = [goals] if isinstance(goals, str) else goals
        if not isinstance(texts, Sequence) or not all(
            isinstance(text, str) for text in texts
        ):
            problem = f"goals: {goals!r} is not understood; {_EXPECTED}"
            raise ConfigError([problem])
        found = parse_goals(
            f"{text}:max" if text.strip().isidentifier() else text for text in texts
        )
    if not found:
        raise ConfigError(["goals: at least one property is needed to rank by"])
    return found


def plain_value(value: Any) -> Any:
    """Return what a member of an enum stands for, anything else as it is."""
    return value.value if isinstance(value, Enum) else value


def _as_goal(name: str, goal: Any) -> Goal:
    if isinstance(goal, Goal):
        return goal
    if isinstance(goal, str):
        word = goal.strip()
        text = _WORDS.get(word, word)
        if not text[:1].isalnum():
            return parse_goals([name + text])[name]
    if isinstance(goal, Real) and not isinstance(goal, bool):
        return Goal("target", float(goal))
    if isinstance(goal, list | tuple) and len(goal) == 2:
        low, high = goal
        if isinstance(low, Real) and isinstance(high, Real):
            return Goal("target", (float(low), float(high)))
    raise ConfigError([f"goals: {name}: {goal!r} is not understood; {_EXPECTED}"])
