"""Ranked candidates, read from the journal of a screening."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mftscreen.errors import ConfigError
from mftscreen.properties import PropertySpec
from mftscreen.screen.candidates.carried import choose_carried, split_names
from mftscreen.screen.order.goals import own_goals, parse_goals
from mftscreen.screen.order.rank_options import RankOptions
from mftscreen.screen.order.ranking import Ranking
from mftscreen.screen.order.windows import find_empty_windows
from mftscreen.screen.result.carried_columns import carried_columns, held_names
from mftscreen.screen.result.columns import FLAGS, Column, Ranked, result_columns
from mftscreen.screen.result.conditions import select_rows
from mftscreen.screen.result.rows import FAST_ONLY, ScreenRow
from mftscreen.screen.result.stages import (
    join_stages,
    order_rows,
    rank_rows,
    rankable_values,
    read_rows,
)
from mftscreen.screen.work.journal import Journal
from mftscreen.suggestions import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ScreenResult", "read_options", "read_result"]


@dataclass(frozen=True)
class ScreenResult:
    """Ranked candidates, all of them: the unranked and failed ones at the end.

    Attributes
    ----------
    rows : list of ScreenRow
        In the order of their ranks.
    ranks : list of int or None
        Of `rows`; None for candidates without a rank: those that failed, that are
        beyond a bound or excluded, that a funnel has not kept, and copies of an earlier
        one.
    options : RankOptions
    units : dict of str to str
        Property to unit.
    model : str
        Models by the beginnings of their sha256.
    fronts : list of int or None
        Pareto fronts of `rows`; all None unless ranked by several properties.
    numbers : list of int
        Places of `rows` in the source, from 0.
    remarks : list of str
        For each property with intervals, whether they apply to these candidates.
    fast_model : str
        The fast models of a funnel, likewise; empty without one.
    details : list of str
        What `remarks` on intervals rest on.
    carried : list of str
        Names of what sources say of the candidates, for columns of their own.
    """

    rows: list[ScreenRow]
    ranks: list[int | None]
    options: RankOptions
    units: dict[str, str]
    model: str
    fronts: list[int | None]
    numbers: list[int]
    remarks: list[str]
    fast_model: str = ""
    details: list[str] = field(default_factory=list)
    carried: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        from mftscreen.screen.result.notebook import result_line

        return result_line(self)

    def _repr_html_(self) -> str:
        from mftscreen.screen.result.notebook import result_html

        return result_html(self)

    def plot(self, n: int = 30, ax: Any = None) -> Any:
        """Draw the first ranked candidates with their intervals.

        Parameters, returns and errors are those of
        :func:`mftscreen.screen.result.notebook.plot_result`.
        """
        from mftscreen.screen.result.notebook import plot_result

        return plot_result(self, n, ax)

    def top(self, n: int) -> list[ScreenRow]:
        """Return the first `n` rows that have a rank."""
        ranked = zip(self.ranks, self.rows, strict=True)
        return [row for rank, row in ranked if rank is not None][:n]

    def trustworthy(self, n: int) -> list[Ranked]:
        """Return the first `n` that have a rank and are in distribution."""
        known = (r for r in self.ranked() if r.rank is not None and r.row.ood is False)
        return list(islice(known, n))

    @cached_property
    def failures(self) -> list[ScreenRow]:
        """The candidates without a prediction, each with its reason."""
        return [row for row in self.rows if row.status not in ("ok", FAST_ONLY)]

    @cached_property
    def columns(self) -> list[str]:
        """Names of the columns of :meth:`records`."""
        return [column.name for column in self._columns]

    @cached_property
    def _columns(self) -> list[Column]:
        possible = result_columns(self.units)
        kept = [column for column in possible if column.is_kept(self.ranked())]
        return kept + self._foreign

    @cached_property
    def foreign(self) -> list[str]:
        """Names of those columns that hold what sources say."""
        return [column.name for column in self._foreign]

    @cached_property
    def _foreign(self) -> list[Column]:
        return carried_columns(self.carried, self.units)

    def ranked(self) -> Iterator[Ranked]:
        """Yield the rows with their ranks, as :class:`Column` takes them."""
        for rank, front, row in zip(self.ranks, self.fronts, self.rows, strict=True):
            yield Ranked(rank, front, row, self.model, self.fast_model)

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the rows as flat dictionaries with the keys `columns`."""
        for ranked in self.ranked():
            yield {column.name: column.value(ranked) for column in self._columns}

    def where(self, condition: str) -> ScreenResult:
        """Return the rows that fulfil a condition, with the ranks that they have.

        Parameters
        ----------
        condition : str
            On the columns, as :meth:`pandas.DataFrame.query` reads it:
            ``"dielectric > 3 and not ood"``. Of a flag that is unknown, neither it nor
            ``not`` it holds.

        Returns
        -------
        ScreenResult

        Raises
        ------
        ConfigError
            If it is not understood, or is none.
        """
        kept = select_rows(self.to_pandas(), condition, FLAGS)
        return replace(
            self,
            rows=[self.rows[k] for k in kept],
            ranks=[self.ranks[k] for k in kept],
            fronts=[self.fronts[k] for k in kept],
            numbers=[self.numbers[k] for k in kept],
        )

    def to_pandas(self) -> pd.DataFrame:
        """Return the rows as a table with the columns `columns`."""
        import pandas as pd

        return pd.DataFrame.from_records(list(self.records()), columns=self.columns)


def read_result(
    journal: Journal,
    options: RankOptions,
    *,
    structures: bool = True,
    carry: bool | str | Sequence[str] = False,
    strict: bool = True,
) -> ScreenResult:
    """Rank the candidates that a journal holds.

    Parameters
    ----------
    journal : Journal
    options : RankOptions
    structures : bool, default True
    carry : bool, str or sequence of str, default False
        As in :func:`rank`.
    strict : bool, default True
        Whether to raise where no candidate has a value that is to be carried, or else
        to tell of it: nobody wants to lose a screening for the name of a column.

    Returns
    -------
    ScreenResult

    Raises
    ------
    ConfigError
        If the journal holds no values of a property, or no candidate has a value that
        is to be carried.
    """
    description = journal.description
    units = description.get("units", {})
    if missing := [name for name in options.goals if name not in units]:
        held = ", ".join(units) or "nothing"
        problem = f"goals: {', '.join(missing)} was not predicted; there is {held}"
        problem += did_you_mean(*missing, known=units)
        raise ConfigError([problem])
    found, again = read_rows(
        journal, options, structures=structures, carried=carry is not False
    )
    ranking = fast = rank_rows(found, options)
    if "funnel" in description:
        found = join_stages(found, fast, again)
        ranking = rank_rows(found, options)
    remarks, details = _add_intervals(found, description, options)
    ranges = description.get("label_ranges", {})
    values = rankable_values(found, options)
    remarks += find_empty_windows(options.goals, values, ranges, units)
    order = order_rows(found, ranking, fast)
    if options.diverse:
        order = _diversify(order, ranking, journal, options.diverse)
    names = held_names(found)
    try:
        carried = choose_carried(carry, names)
    except ConfigError as error:
        if strict or isinstance(carry, bool):
            raise
        remarks += error.problems
        carried = [name for name in split_names(carry) if name in names]
    result = _arrange(found, ranking, order, options, description, remarks)
    return replace(result, details=details, carried=carried)


def read_options(
    journal: Journal, goals: Sequence[str] = (), **changes: Any
) -> RankOptions:
    """Return the options that a journal's screening was ranked by, or others.

    Parameters
    ----------
    journal : Journal
    goals : sequence of str, optional
        As :func:`mftscreen.screen.order.goals.parse_goals` reads them, instead of those
        of the screening.
    **changes
        Other attributes of :class:`RankOptions`; None for no change.

    Returns
    -------
    RankOptions

    Raises
    ------
    ConfigError
        If a goal is not understood or a value is not allowed.
    """
    changes = {name: value for name, value in changes.items() if value is not None}
    if goals:
        labels = journal.description.get("labels", {})
        known = {
            name: PropertySpec(name=name, label=label) for name, label in labels.items()
        }
        changes["goals"] = own_goals(parse_goals(goals), known)
    return replace(RankOptions.from_json(journal.description["options"]), **changes)


def _add_intervals(
    found: list[ScreenRow], description: Mapping[str, Any], options: RankOptions
) -> tuple[list[str], list[str]]:
    """Put intervals into the rows, and return whether these apply, and why."""
    from mftscreen.screen.result.uncertainty import (
        add_intervals,
        check_intervals,
        judge_candidates,
        say_weak,
        withhold,
    )
    from mftscreen.trust.intervals import IntervalCalibration

    remarks, details = [], []
    for name in options.goals:
        columns = description.get("calibration", {}).get(name, {})
        arrays = {key: np.array(column) for key, column in columns.items()}
        rows = IntervalCalibration.from_arrays(arrays, name)
        learned = description.get("label_ranges", {}).get(name, ())
        levels = options.coverage, options.alpha
        add_intervals(found, name, rows, learned, *levels)
        if not rows.ids or rows.scale == "none":
            continue
        if why := judge_candidates(found, name):
            withhold(found, name, why)
        check = check_intervals(rows, name, found, *levels)
        remarks.append(f"Intervals of {name}: {check.message}.")
        details.append(f"Intervals of {name}: {check.details}.")
    n_train = description.get("n_train", {})
    if remarks and any(row.relaxation for row in found):
        remarks.append(
            "The candidates were relaxed, the calibration rows were not: what relaxing "
            "changes is not in the intervals."
        )
    if remarks and any(row.fast for row in found):
        remarks.append(
            "A fast model chose the candidates with intervals, which may cover less "
            "for them than they claim."
        )
    remarks += filter(None, (say_weak(g, n_train.get(g, 0)) for g in options.goals))
    return remarks, details


def _diversify(
    order: NDArray[np.int64], ranking: Ranking, journal: Journal, n_pick: int
) -> NDArray[np.int64]:
    """List candidates first that are unlike each other, out of the best."""
    from scipy.sparse import csr_array, vstack

    from mftscreen.ood.ofm.featurizer import N_FEATURES, OFMFeaturizer
    from mftscreen.screen.order.diversity import diversify

    n_top = min(10 * n_pick, int(np.count_nonzero(ranking.ranks)))
    if not n_top:
        return order
    structures = journal.structures(order[:n_top].tolist())
    empty = np.zeros(N_FEATURES)
    features = [
        csr_array((empty if row.features is None else row.features)[np.newaxis])
        for row in OFMFeaturizer()(structures)
    ]
    return diversify(order, vstack(features, format="csr"), n_pick)


def _arrange(
    found: Sequence[ScreenRow],
    ranking: Ranking,
    order: NDArray[np.int64],
    options: RankOptions,
    description: Mapping[str, Any],
    remarks: list[str],
) -> ScreenResult:
    rows, ranks, fronts = [], [], []
    for number in order.tolist():
        row = found[number]
        if number in ranking.infeasible:
            reasons = (ranking.infeasible[number], row.reason)
            row = replace(row, reason="; ".join(filter(None, reasons)))
        rows.append(row)
        ranks.append(int(ranking.ranks[number]) or None)
        front = 0 if ranking.fronts is None else int(ranking.fronts[number])
        fronts.append(front or None)
    units = {name: description["units"][name] for name in options.goals}
    return ScreenResult(
        rows,
        ranks,
        options,
        units,
        description["models"],
        fronts,
        order.tolist(),
        remarks,
        description.get("funnel", {}).get("models", ""),
    )
