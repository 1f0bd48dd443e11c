"""The rows of a journal, ranked: those of a funnel by what its slow models say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mftscreen.screen.order.rank_options import RankOptions
from mftscreen.screen.order.ranking import Ranking, order_candidates
from mftscreen.screen.result.equivalents import mark_equivalents
from mftscreen.screen.result.rows import FAST_ONLY, ScreenRow, make_row
from mftscreen.screen.work.journal import Journal
from mftscreen.screen.work.outcome import Outcome

__all__ = ["join_stages", "order_rows", "rank_rows", "rankable_values", "read_rows"]


def read_rows(
    journal: Journal,
    options: RankOptions,
    *,
    structures: bool = False,
    carried: bool = False,
) -> tuple[list[ScreenRow], dict[str, ScreenRow]]:
    """Return the rows of a journal, by the stages of a funnel if it was one.

    Parameters
    ----------
    journal : Journal
    options : RankOptions
    structures : bool, default False
        Whether rows hold their structures.
    carried : bool, default False
        Whether rows hold what else their source says.

    Returns
    -------
    first : list of ScreenRow
        All candidates, in the order of their source, with copies marked.
    again : dict of str to ScreenRow
        Id to what the slow models of a funnel say of a candidate, with the relaxation
        of the first stage. An identical copy has the values of its original.
    """
    names = list(options.goals)
    outcomes = {row.id: row.outcome for row in journal.rows(again=True)}
    first, again = [], {}
    for row in journal.rows(structures=structures, carried=carried):
        first.append(make_row(row, names, options.alpha))
        outcome = outcomes.get(row.duplicate_of or row.id)
        if outcome is not None:
            both = replace(row, outcome=_after_relaxation(row.outcome, outcome))
            again[row.id] = make_row(both, names, options.alpha)
    if options.duplicates == "equivalent":
        first = mark_equivalents(first, journal)
    return first, again


def _after_relaxation(first: Outcome, again: Outcome) -> Outcome:
    """Return an outcome of the second stage, with the relaxation of the first one."""
    reason = "; ".join(filter(None, (first.reason, again.reason)))
    return replace(again, reason=reason, relaxation=first.relaxation)


def rankable_values(
    rows: Sequence[ScreenRow], options: RankOptions
) -> dict[str, NDArray[np.float64]]:
    """Return the values (n_rows,) to rank by, property by property.

    A copy has NaN, as what failed: its original has the rank that is due.
    """
    return {
        name: np.array(
            [
                np.nan if row.duplicate_of else row.values.get(name, np.nan)
                for row in rows
            ]
        )
        for name in options.goals
    }


def rank_rows(rows: Sequence[ScreenRow], options: RankOptions) -> Ranking:
    """Return the ranking of rows by their values."""
    return order_candidates(
        rankable_values(rows, options),
        options.goals,
        method=options.method,
        # where nothing can test, as for molecules, all are untested but the flagged
        flagged=np.array([bool(row.ood) for row in rows], dtype=bool),
        policy=options.policy,
    )


def join_stages(
    first: Sequence[ScreenRow], ranking: Ranking, again: Mapping[str, ScreenRow]
) -> list[ScreenRow]:
    """Return the rows of a funnel.

    Parameters
    ----------
    first : sequence of ScreenRow
        What the fast models say of all candidates.
    ranking : Ranking
        Of these.
    again : mapping of str to ScreenRow
        Id to what the slow models say.

    Returns
    -------
    list of ScreenRow
        One for each of `first`, in that order. What failed there stays as it is; what
        the slow models have not seen has the status :data:`FAST_ONLY` and no values but
        those in ``fast``.
    """
    joined = []
    for k, row in enumerate(first):
        rank = int(ranking.ranks[k]) or None
        if row.status != "ok":
            joined.append(row)
        elif row.id in again:
            # the slow models may have seen a copy and not its original, if the
            # screening took them for two candidates
            original = row.duplicate_of if row.duplicate_of in again else ""
            joined.append(
                replace(again[row.id], duplicate_of=original, fast=row, fast_rank=rank)
            )
        else:
            reasons = (
                "seen by the fast model only",
                ranking.infeasible.get(k, ""),
                row.reason,
            )
            joined.append(
                replace(
                    row,
                    values={},
                    spreads={},
                    ood_p_value=None,
                    descriptor_p_value=None,
                    around={},
                    ood=None,
                    status=FAST_ONLY,
                    reason="; ".join(filter(None, reasons)),
                    fast=row,
                    fast_rank=rank,
                )
            )
    return joined


def order_rows(
    rows: Sequence[ScreenRow], ranking: Ranking, fast: Ranking
) -> NDArray[np.int64]:
    """Return the numbers of rows in the order of a table.

    Parameters
    ----------
    rows : sequence of ScreenRow
    ranking : Ranking
        Of them.
    fast : Ranking
        By the fast models of a funnel; without one, the same.

    Returns
    -------
    ndarray of shape (n_rows,)
        By rank, then copies and others without one, then what the fast models alone
        have seen in their order, then what failed.
    """
    stages = {"ok": 0, FAST_ONLY: 1}
    stage = np.array([stages.get(row.status, 2) for row in rows], dtype=int)
    # where each row is in an order: the inverse of the permutation
    places = np.argsort(ranking.order)
    places = np.where(stage == 1, np.argsort(fast.order), places)
    return np.lexsort([places, stage])
