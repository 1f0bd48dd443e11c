"""What makes a predicted value good, and how to write that down."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf, isfinite
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mftscreen.errors import ConfigError
from mftscreen.properties import PropertySpec, own_names

__all__ = ["GOAL_EXAMPLES", "Goal", "own_goals", "parse_goals", "write_goal"]

GOAL_EXAMPLES = "gap:max, gap:min, gap=1.4, gap=1.2..1.6, gap>=1, gap:max>=1*2"


@dataclass(frozen=True)
class Goal:
    """What makes a value of one property good.

    Attributes
    ----------
    kind : {"maximize", "minimize", "target", "bound"}
        ``bound``: all values within the bounds are equally good.
    target : float or (float, float), optional
        For ``target``: the value to come close to, or the ends of a window in which all
        values are equally good.
    at_least, at_most : float
        Candidates beyond these get no rank. The ends themselves are allowed.
    weight : float
        How much the goal counts beside others, see
        :func:`mftscreen.screen.order.ranking.order_candidates`.

    Raises
    ------
    ConfigError
        If a target is missing, superfluous or not finite, a window or the bounds are
        reversed, or the weight is not positive.
    """

    kind: Literal["maximize", "minimize", "target", "bound"] = "maximize"
    target: float | tuple[float, float] | None = None
    at_least: float = -inf
    at_most: float = inf
    weight: float = 1.0

    def __post_init__(self) -> None:
        problems = []
        if (self.kind == "target") != (self.target is not None):
            problems.append(
                f"target: {self.target}; a goal of kind 'target' needs one, others "
                f"have none, and the kind is {self.kind!r}"
            )
        elif self.target is not None and not self._window[0] <= self._window[1]:
            problems.append(f"target: the window {self.target} has no inside")
        elif self.target is not None and not all(map(isfinite, self._window)):
            problems.append(f"target: {self.target} is not finite")
        if not (self.at_least <= self.at_most and self.at_least < inf > -self.at_most):
            problems.append(
                f"at_least, at_most: nothing is at least {self.at_least} and at most "
                f"{self.at_most}"
            )
        if self.kind == "bound" and self.at_least == -inf and self.at_most == inf:
            problems.append("kind: 'bound' needs at_least or at_most")
        if not (isfinite(self.weight) and self.weight > 0.0):
            problems.append(f"weight: {self.weight} is not a positive number")
        if problems:
            raise ConfigError(problems)

    @property
    def _window(self) -> tuple[float, float]:
        if isinstance(self.target, tuple):
            return self.target
        return (self.target or 0.0, self.target or 0.0)

    def costs(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return numbers that are smaller the better the values are.

        Parameters
        ----------
        values : array-like of shape (n,)

        Returns
        -------
        ndarray of shape (n,)
            In the unit of the property.

        Examples
        --------
        >>> Goal("target", (1.0, 2.0)).costs([0.5, 1.5, 4.0]).tolist()
        [0.5, 0.0, 2.0]
        """
        values = np.asarray(values, dtype=np.float64)
        if self.kind == "bound":
            return np.zeros_like(values)
        if self.kind == "target":
            low, high = self._window
            return np.maximum(np.maximum(low - values, values - high), 0.0)
        return -values if self.kind == "maximize" else values

    def ties(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return numbers that are smaller the better values of equal costs are.

        Parameters
        ----------
        values : array-like of shape (n,)

        Returns
        -------
        ndarray of shape (n,)
            The distance from the middle of a window, where an error of the prediction
            is least likely to lead out of it; else 0.

        Examples
        --------
        >>> Goal("target", (1.0, 2.0)).ties([1.0, 1.5, 1.75]).tolist()
        [0.5, 0.0, 0.25]
        """
        values = np.asarray(values, dtype=np.float64)
        if self.kind != "target":
            return np.zeros_like(values)
        return np.abs(values - sum(self._window) / 2.0)

    def allows(self, values: ArrayLike) -> NDArray[np.bool_]:
        """Return which of the values (n,) are within the bounds.

        Examples
        --------
        >>> Goal("maximize", at_least=1.0).allows([0.9, 1.0]).tolist()
        [False, True]
        """
        values = np.asarray(values, dtype=np.float64)
        return (values >= self.at_least) & (values <= self.at_most)


_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"

_GOAL = re.compile(
    rf"""
    (?P<name>[A-Za-z_]\w*)
    (?: :(?P<direction>max|min)
      | =(?P<target>{_NUMBER})(?:\.\.(?P<end>{_NUMBER}))? )?
    (?: >=(?P<at_least>{_NUMBER}) )?
    (?: <=(?P<at_most>{_NUMBER}) )?
    (?: \*(?P<weight>{_NUMBER}) )?
    """,
    re.VERBOSE | re.ASCII,
)

_DIRECTIONS: dict[str, Literal["maximize", "minimize"]] = {
    "max": "maximize",
    "min": "minimize",
}
_SUFFIXES = {kind: f":{text}" for text, kind in _DIRECTIONS.items()}


def parse_goals(texts: Iterable[str]) -> dict[str, Goal]:
    """Read goals as they are written on the command line.

    A text is the name of a property and up to four parts, in this order: what is good
    (``:max``, ``:min``, ``=1.4`` or ``=1.2..1.6``), what is necessary (``>=1``, then
    ``<=2``; alone, all that is allowed is equally good) and how much it counts
    beside others (``*2``).

    Parameters
    ----------
    texts : iterable of str
        One for each property.

    Returns
    -------
    dict of str to Goal
        By name of the property, in the same order.

    Raises
    ------
    ConfigError
        Lists every text that is not understood or impossible, and properties that occur
        twice.

    Examples
    --------
    >>> parse_goals(["gap=1.2..1.6"])
    {'gap': Goal(kind='target', target=(1.2, 1.6), ...)}
    >>> parse_goals(["gap:max>=1*2", "mass<=90"])["gap"]
    Goal(kind='maximize', target=None, at_least=1.0, at_most=inf, weight=2.0)
    """
    goals: dict[str, Goal] = {}
    problems = []
    for text in texts:
        try:
            name, goal = _parse(text)
        except ConfigError as error:
            problems += error.problems
            continue
        if name in goals:
            problems.append(
                f"goal {text!r}: there is another one for {name}; join them"
            )
        goals[name] = goal
    if problems:
        raise ConfigError(problems)
    return goals


def own_goals(
    goals: Mapping[str, Goal], known: Mapping[str, PropertySpec]
) -> dict[str, Goal]:
    """Return goals by what models call their properties.

    Parameters
    ----------
    goals : mapping of str to Goal
        By any name that :func:`mftscreen.properties.own_names` understands.
    known : mapping of str to PropertySpec

    Raises
    ------
    ConfigError
        If two are for one property.
    """
    own = own_names(goals, known)
    named = {n: goal for name, goal in goals.items() for n in own[name]}
    if len(named) < sum(map(len, own.values())):
        texts = ", ".join(f"{k} is {', '.join(names)}" for k, names in own.items())
        raise ConfigError([f"goals: two for one property: {texts}"])
    return named


def write_goal(name: str, goal: Goal) -> str:
    """Return a goal as :func:`parse_goals` reads it.

    Examples
    --------
    >>> write_goal("gap", Goal("target", (1.2, 1.6), at_most=2.0, weight=0.5))
    'gap=1.2..1.6<=2.0*0.5'
    """
    text = name
    if goal.kind in _SUFFIXES:
        text += _SUFFIXES[goal.kind]
    elif isinstance(goal.target, tuple):
        text += f"={float(goal.target[0])}..{float(goal.target[1])}"
    elif goal.target is not None:
        text += f"={float(goal.target)}"
    if goal.at_least > -inf:
        text += f">={float(goal.at_least)}"
    if goal.at_most < inf:
        text += f"<={float(goal.at_most)}"
    return text if goal.weight == 1.0 else f"{text}*{float(goal.weight)}"


def _parse(text: str) -> tuple[str, Goal]:
    match = _GOAL.fullmatch("".join(text.split()))
    if match is None or match.group().isidentifier():
        raise ConfigError([f"goal {text!r}: expected something like {GOAL_EXAMPLES}"])
    part = match.groupdict()
    kind: Literal["maximize", "minimize", "target", "bound"] = "bound"
    target: float | tuple[float, float] | None = None
    if part["direction"]:
        kind = _DIRECTIONS[part["direction"]]
    elif part["target"]:
        kind, target = "target", float(part["target"])
        if part["end"]:
            target = (target, float(part["end"]))
    try:
        goal = Goal(
            kind,
            target,
            at_least=float(part["at_least"] or -inf),
            at_most=float(part["at_most"] or inf),
            weight=float(part["weight"] or 1.0),
        )
    except ConfigError as error:
        raise ConfigError([f"goal {text!r}: {p}" for p in error.problems]) from error
    return part["name"], goal
