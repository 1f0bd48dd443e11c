"""Rank the candidates of a database: the Python side of ``mftscreen rank``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mftscreen.errors import ConfigError
from mftscreen.screen.candidates import Candidate, count_candidates, iter_candidates
from mftscreen.screen.conditions import check_condition
from mftscreen.screen.elements import ElementFilter
from mftscreen.screen.goals import Goal
from mftscreen.screen.journal import Journal
from mftscreen.screen.ranking import OODPolicy, Ranking, RankMethod, order_candidates
from mftscreen.screen.rows import ScreenRow, make_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from tqdm import tqdm

    from mftscreen.model.backend import Device
    from mftscreen.screen.relax import RelaxSettings

__all__ = ["RankOptions", "ScreenResult", "rank", "read_result"]

Goals = Mapping[str, Goal]


@dataclass(frozen=True)
class RankOptions:
    """How outcomes become an order; none of it needs a new evaluation.

    Attributes
    ----------
    goals : mapping of str to Goal
        Property to what makes it good.
    method : {"pareto", "desirability"}
        For several goals, see :func:`mftscreen.screen.ranking.order_candidates`.
    policy : {"label", "demote", "exclude"}
        What being out of distribution does to a rank.
    alpha : float
        Candidates with an OOD p-value up to this are flagged.
    coverage : float
        Share of true values that prediction intervals are to hold.
    diverse : int
        How many candidates unlike each other to list first, out of ten times as many;
        0 lists all by rank.
    """

    goals: Goals
    method: RankMethod = "pareto"
    policy: OODPolicy = "label"
    alpha: float = 0.05
    coverage: float = 0.9
    diverse: int = 0


@dataclass(frozen=True)
class ScreenResult:
    """Ranked candidates, all of them: the unranked and failed ones at the end.

    Attributes
    ----------
    rows : list of ScreenRow
        In the order of their ranks.
    ranks : list of int or None
        Of `rows`; None for candidates without a rank.
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
    """

    rows: list[ScreenRow]
    ranks: list[int | None]
    options: RankOptions
    units: dict[str, str]
    model: str
    fronts: list[int | None]
    numbers: list[int]
    remarks: list[str]

    def top(self, n: int) -> list[ScreenRow]:
        """Return the first `n` rows that have a rank."""
        ranked = zip(self.ranks, self.rows, strict=True)
        return [row for rank, row in ranked if rank is not None][:n]

    @cached_property
    def failures(self) -> list[ScreenRow]:
        """The candidates without a prediction, each with its reason."""
        return [row for row in self.rows if row.status != "ok"]

    @property
    def columns(self) -> list[str]:
        """Names of the columns of :meth:`records`."""
        names = ["rank", *(["front"] if any(self.fronts) else []), "id", "formula"]
        for name in self.options.goals:
            names.append(name)
            if self.units[name] != "1":
                names.append(f"{name}_unit")
            if any(name in row.spreads for row in self.rows):
                names.append(f"{name}_spread")
            if any(name in row.intervals for row in self.rows):
                names += [f"{name}_low", f"{name}_high"]
        names += ["ood_p_value", "ood", "low_dimensional"]
        if any(row.relaxation for row in self.rows):
            names += [f"relax_{key}" for key in _RELAXATION]
        if any(row.duplicate_of for row in self.rows):
            names.append("duplicate_of")
        return [*names, "status", "reason", "model"]

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the rows as flat dictionaries with the keys `columns`."""
        columns = self.columns
        for rank, front, row in zip(self.ranks, self.fronts, self.rows, strict=True):
            record = {
                "rank": rank,
                "front": front,
                "id": row.id,
                "formula": row.formula,
                "ood_p_value": row.ood_p_value,
                "ood": row.ood,
                "low_dimensional": row.low_dimensional,
                "duplicate_of": row.duplicate_of,
                "status": row.status,
                "reason": row.reason,
                "model": self.model,
            }
            for name in self.options.goals:
                record[name] = row.values.get(name)
                record[f"{name}_unit"] = self.units[name]
                record[f"{name}_spread"] = row.spreads.get(name)
                low, high = row.intervals.get(name, (None, None))
                record |= {f"{name}_low": low, f"{name}_high": high}
            for key in _RELAXATION:
                record[f"relax_{key}"] = getattr(row.relaxation, key, None)
            yield {column: record[column] for column in columns}

    def where(self, condition: str) -> ScreenResult:
        """Return the rows that fulfil a condition, with the ranks that they have.

        Parameters
        ----------
        condition : str
            On the columns, as :meth:`pandas.DataFrame.query` reads it:
            ``"dielectric > 3 and not ood"``.

        Returns
        -------
        ScreenResult

        Raises
        ------
        ConfigError
            If it is not understood.
        """
        check_condition(condition)
        table = self.to_pandas()
        # query cannot negate a column with gaps
        table["ood"] = table["ood"].eq(True)
        try:
            kept = table.query(condition, engine="python").index.tolist()
        except Exception as error:  # whatever the expression raises
            problem = f"condition {condition!r} is not understood: {error}"
            raise ConfigError([problem]) from error
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


_RELAXATION = ("converged", "steps", "fmax", "volume_change")


def rank(
    source: str | Path,
    query: str | None = None,
    *,
    goals: Goals | str | Sequence[str],
    models: str | Path | Sequence[str | Path] | None = None,
    method: RankMethod = "pareto",
    ood: OODPolicy = "label",
    alpha: float = 0.05,
    coverage: float = 0.9,
    diverse: int = 0,
    elements: ElementFilter | None = None,
    relax: RelaxSettings | None = None,
    run: str | Path | None = None,
    n_jobs: int = 1,
    scheduler: str | None = None,
    device: Device = "auto",
    structures: bool = True,
    progress: bool = False,
) -> ScreenResult:
    """Rank the candidates of a database by predicted properties.

    Parameters
    ----------
    source : str or Path
        As :func:`mftscreen.screen.candidates.iter_candidates` takes it.
    query : str, optional
        ASE's query string, for an ase.db.
    goals : mapping of str to Goal, or str or sequence of str
        Property to what makes it good, or as
        :func:`mftscreen.screen.goals.parse_goals` reads it: ``"dielectric:max"``.
    models : str, Path or sequence of those, optional
        Names or files. Several models of one property are an ensemble: their mean
        counts, and their spread is given. By default the shipped model.
    method : {"pareto", "desirability"}, default "pareto"
    ood : {"label", "demote", "exclude"}, default "label"
    alpha : float, default 0.05
    coverage : float, default 0.9
    diverse : int, default 0
        As in :class:`RankOptions`.
    elements : ElementFilter, optional
        Candidates that it refuses are not evaluated; they become rows with the status
        ``filtered``.
    relax : RelaxSettings, optional
        Relax each candidate with the first model before the prediction.
    run : str or Path, optional
        Folder that keeps what is done: a screening that was interrupted goes on there,
        and one with other goals needs no evaluation.
    n_jobs : int, default 1
        Number of processes; -1 for as many as there are cores.
    scheduler : str, optional
        Address of a Dask scheduler to use instead of processes.
    device : {"auto", "cpu", "cuda"}
    structures : bool, default True
        Whether rows hold their structures, which need more memory than all the rest.
    progress : bool, default False
        Show a progress bar on stderr.

    Returns
    -------
    ScreenResult

    Raises
    ------
    ConfigError
        If a goal is not understood.
    DataError
        If the source cannot be read or the run folder cannot be used.
    UnknownPropertyError, ModelError
        If there is no such property or model.

    Examples
    --------
    >>> from mftscreen import rank
    >>> result = rank("candidates.db", goals="dielectric:max")  # doctest: +SKIP
    >>> [row.formula for row in result.top(3)]  # doctest: +SKIP
    ['Te', 'SnTe', 'GeTe']
    """
    from mftscreen.screen.evaluation import Settings, open_evaluator
    from mftscreen.screen.pipeline import screen
    from mftscreen.screen.workers import Workers

    options = RankOptions(as_goals(goals), method, ood, alpha, coverage, diverse)
    if models is None or isinstance(models, str | Path):
        models = [models] if models is not None else []
    sources = tuple(str(model) for model in models) or (None,)
    settings = Settings(sources, tuple(options.goals), device, relax)
    evaluator = open_evaluator(settings)
    with Journal(None if run is None else Path(run)) as journal:
        journal.begin(
            {
                "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
                "source": str(source),
                "query": query,
                "models": evaluator.model_names,
                "model_sources": [source or "" for source in sources],
                "units": evaluator.units,
                "calibration": evaluator.calibration_rows(),
            }
        )
        candidates = iter_candidates(source, query)
        total = count_candidates(source, query) if progress else None
        if elements is not None:
            candidates = _filter(candidates, elements)
        with (
            Workers(evaluator.settings, n_jobs, scheduler) as workers,
            _progress_bar(total, progress) as bar,
        ):
            reused = 0
            for n_done, n_reused in screen(candidates, evaluator.key, workers, journal):
                reused += n_reused
                if reused:
                    bar.set_postfix_str(f"{reused} known", refresh=False)
                bar.update(n_done)
        return read_result(journal, options, structures=structures)


def read_result(
    journal: Journal, options: RankOptions, *, structures: bool = True
) -> ScreenResult:
    """Rank the candidates that a journal holds.

    Parameters
    ----------
    journal : Journal
    options : RankOptions
    structures : bool, default True
        As in :func:`rank`.

    Returns
    -------
    ScreenResult

    Raises
    ------
    ConfigError
        If the journal holds no values of a property.
    """
    units = journal.description.get("units", {})
    if missing := [name for name in options.goals if name not in units]:
        held = ", ".join(units) or "nothing"
        problem = f"goals: {', '.join(missing)} was not predicted; there is {held}"
        raise ConfigError([problem])
    names = list(options.goals)
    found = list(make_rows(journal.rows(structures=structures), names, options.alpha))
    values = {
        name: np.array([row.values.get(name, np.nan) for row in found])
        for name in names
    }
    flagged = np.array([bool(row.ood) for row in found], dtype=bool)
    calibration = journal.description.get("calibration", {})
    found, remarks = _add_intervals(found, calibration, options)
    ranking = order_candidates(
        values,
        options.goals,
        method=options.method,
        flagged=flagged,
        policy=options.policy,
    )
    order = ranking.order
    if options.diverse:
        order = _diversify(order, ranking, journal, options.diverse)
    return _arrange(found, ranking, order, options, journal.description, remarks)


def as_goals(goals: Goals | str | Sequence[str]) -> Goals:
    """Return goals, which may be written as on the command line."""
    from mftscreen.screen.goals import parse_goals

    if not isinstance(goals, Mapping):
        goals = parse_goals([goals] if isinstance(goals, str) else goals)
    if not goals:
        raise ConfigError(["goals: at least one property is needed to rank by"])
    return goals


def _add_intervals(
    found: list[ScreenRow], calibration: Mapping[str, Any], options: RankOptions
) -> tuple[list[ScreenRow], list[str]]:
    """Return the rows with intervals, and whether these apply."""
    from mftscreen.intervals import IntervalCalibration
    from mftscreen.screen.uncertainty import check_exchangeable

    # of what is flagged for whatever reason, nothing is claimed
    p_values = np.array(
        [np.nan if row.ood or (p := row.ood_p_value) is None else p for row in found]
    )
    every_p = np.array([np.nan if (p := r.ood_p_value) is None else p for r in found])
    remarks = []
    for name in options.goals:
        if name not in calibration:
            continue
        arrays = {key: np.array(column) for key, column in calibration[name].items()}
        rows = IntervalCalibration.from_arrays(arrays, name, options.alpha)
        values = np.array([row.values.get(name, np.nan) for row in found])
        low, high = rows.interval(values, p_values, options.coverage)
        for k in np.flatnonzero(np.isfinite(low)):
            interval = (float(low[k]), float(high[k]))
            found[k] = replace(
                found[k], intervals={**found[k].intervals, name: interval}
            )
        check = check_exchangeable(rows.p_values, every_p)
        remarks.append(f"{name}: {check.message}")
    return found, remarks


def _diversify(
    order: NDArray[np.int64], ranking: Ranking, journal: Journal, n_pick: int
) -> NDArray[np.int64]:
    """List candidates first that are unlike each other, out of the best."""
    from scipy.sparse import csr_array

    from mftscreen.ood.ofm import N_FEATURES, OFMFeaturizer
    from mftscreen.screen.diversity import diversify

    n_top = min(10 * n_pick, int(np.count_nonzero(ranking.ranks)))
    structures = journal.structures(order[:n_top].tolist())
    features = np.zeros((n_top, N_FEATURES))
    for k, row in enumerate(OFMFeaturizer()(structures)):
        if row.features is not None:
            features[k] = row.features
    return diversify(order, csr_array(features), n_pick)


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
    models = description["models"]
    return ScreenResult(
        rows, ranks, options, units, models, fronts, order.tolist(), remarks
    )


def _progress_bar(total: int | None, progress: bool) -> tqdm[Any]:
    from tqdm import tqdm

    disable = None if progress else True
    return tqdm(total=total, unit="structure", disable=disable, file=sys.stderr)


def _filter(
    candidates: Iterator[Candidate], elements: ElementFilter
) -> Iterator[Candidate]:
    from ase import Atoms

    from mftscreen.errors import StructureError

    for candidate in candidates:
        if isinstance(candidate.structure, Atoms):
            reason = elements.reason(candidate.structure.symbols)
            if reason is not None:
                refused = StructureError(reason)
                refused.status = "filtered"
                yield replace(candidate, structure=refused)
                continue
        yield candidate
