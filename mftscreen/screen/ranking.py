"""The order of screened candidates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from mftscreen.screen.pipeline import ScreenRow

__all__ = ["Goal", "OODPolicy", "rank_rows"]

OODPolicy = Literal["label", "demote", "exclude"]


@dataclass(frozen=True)
class Goal:
    """What makes a value good.

    Attributes
    ----------
    kind : {"maximize", "minimize", "target"}
    target : float
        For ``target``: the value to come close to.
    """

    kind: Literal["maximize", "minimize", "target"] = "maximize"
    target: float = 0.0

    def cost(self, value: float) -> float:
        """Return a number that is smaller the better `value` is.

        Examples
        --------
        >>> Goal("target", 2.0).cost(1.5)
        0.5
        """
        if self.kind == "target":
            return abs(value - self.target)
        return -value if self.kind == "maximize" else value


def rank_rows(
    rows: Iterable[ScreenRow], goal: Goal, policy: OODPolicy = "label"
) -> list[tuple[int | None, ScreenRow]]:
    """Return rows in order of merit, each with its rank; failed ones at the end.

    Parameters
    ----------
    rows : iterable of ScreenRow
    goal : Goal
    policy : {"label", "demote", "exclude"}
        ``label`` ranks by value alone; ``demote`` puts out-of-distribution candidates
        after all others; ``exclude`` gives them no rank and puts them after the
        ranked ones, so that every candidate is still accounted for.

    Returns
    -------
    list of (int or None, ScreenRow)
        Ranks start at 1; equal values are ordered by their position in `rows`.
    """
    groups: dict[str, list[ScreenRow]] = {"in": [], "out": [], "failed": []}
    for row in rows:
        if row.value is None:
            groups["failed"].append(row)
        elif row.ood and policy != "label":
            groups["out"].append(row)
        else:
            groups["in"].append(row)
    for key in ("in", "out"):
        groups[key].sort(key=lambda row: goal.cost(row.value or 0.0))
    ranked = groups["in"] + (groups["out"] if policy == "demote" else [])
    unranked = (groups["out"] if policy == "exclude" else []) + groups["failed"]
    return [*enumerate(ranked, 1), *((None, row) for row in unranked)]
