"""Errors of a study, mean and spread over folds and seeds, beside published ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple, TypeVar

from mftscreen.finetune.compare.verdict import Spread
from mftscreen.finetune.task.partition import ID_TEST, OOD_TEST
from mftscreen.metrics import main_error
from mftscreen.study.job import JobResult
from mftscreen.study.plan import Conditions
from mftscreen.study.published import PublishedTable

__all__ = [
    "METRICS",
    "TESTS",
    "Measured",
    "Summary",
    "Way",
    "common_folds",
    "error_among",
    "measurements",
    "summarize",
    "tasks_of_one",
]

TESTS = (ID_TEST, OOD_TEST)
METRICS = ("mae", "rmse", "log_loss")
W1 = "w1"
BASELINE = "scratch"
_T = TypeVar("_T")


class Way(NamedTuple):
    """How a model is made: what a line of a table is of.

    Attributes
    ----------
    strategy, backbone, variant : str
    train_share : float
    """

    strategy: str
    backbone: str
    variant: str
    train_share: float

    @classmethod
    def of(cls, conditions: Conditions) -> Way:
        """Return the one of a job.

        Parameters
        ----------
        conditions : Conditions
        """
        return cls(
            conditions.strategy,
            conditions.backbone,
            conditions.variant,
            conditions.train_share,
        )


@dataclass(frozen=True)
class Measured:
    """The errors of one job for one property on one test.

    Attributes
    ----------
    conditions : Conditions
    name, unit, test : str
        `name` is that of the property.
    n_train : int
    numbers : mapping of str to float
        Metrics and, if there is a collapse report, ``w1``.
    """

    conditions: Conditions
    name: str
    unit: str
    test: str
    n_train: int
    numbers: dict[str, float]

    @property
    def group(self) -> tuple[str, str, str]:
        """Task, split and property: what a table is of."""
        return self.conditions.task, self.conditions.split, self.name


@dataclass(frozen=True)
class Summary:
    """Jobs that differ in fold and seed only, for one property and one test.

    Attributes
    ----------
    task, split, property, unit, test : str
    way : Way
    folds : tuple of str
    n_runs : int
        Jobs.
    n_train : float
        Training rows, mean.
    numbers : mapping of str to Spread
        Metric, or ``w1``, to its mean and standard deviation over the jobs.
    gains : mapping of str to Spread
        Metric to how much smaller it is than that of ``scratch``, in per cent: mean and
        standard deviation over the folds that both have, each a mean over its jobs.
    published : float or None
        What was published for this strategy.
    """

    task: str
    split: str
    property: str
    unit: str
    test: str
    way: Way
    folds: tuple[str, ...]
    n_runs: int
    n_train: float
    numbers: dict[str, Spread]
    gains: dict[str, Spread]
    published: float | None = None


def measurements(results: Iterable[JobResult]) -> list[Measured]:
    """Return the errors of jobs on their tests.

    Parameters
    ----------
    results : iterable of JobResult

    Returns
    -------
    list of Measured
        In the order of the jobs.
    """
    found = []
    for result in results:
        for each in result.properties:
            for test in TESTS:
                numbers = dict(each.metrics.get(test, {}))
                if not numbers:
                    continue
                if (moved := each.drift.get(f"{W1}_{test}")) is not None:
                    numbers[W1] = moved
                found.append(
                    Measured(
                        result.conditions, each.property, each.unit, test,
                        each.n_train, numbers,
                    )
                )  # fmt: skip
    return found


def common_folds(found: Sequence[Measured]) -> list[Measured]:
    """Return the errors on those folds that every line of a table has.

    Parameters
    ----------
    found : sequence of Measured
    """
    kept = []
    for group in _grouped(found, lambda m: m.group):
        lines = _grouped(group, lambda m: Way.of(m.conditions))
        shared = set.intersection(*({m.conditions.fold for m in li} for li in lines))
        kept += [m for m in group if m.conditions.fold in shared]
    return kept


def error_among(numbers: Mapping[str, object], metric: str) -> str:
    """Return the metric that is shown: that asked for, or what a class has instead.

    Parameters
    ----------
    numbers : mapping of str to object
        By metric.
    metric : {"mae", "rmse"}

    Examples
    --------
    >>> error_among({"mae": 0.1, "rmse": 0.2}, "rmse")
    'rmse'
    >>> error_among({"log_loss": 0.1}, "rmse")
    'log_loss'
    """
    return metric if metric in numbers else main_error(numbers)


def summarize(
    found: Sequence[Measured], published: PublishedTable | None = None
) -> list[Summary]:
    """Return the mean errors of every line of every table.

    Parameters
    ----------
    found : sequence of Measured
    published : PublishedTable, optional
        To stand beside.

    Returns
    -------
    list of Summary
        By task, split and property, then by line, then by test.
    """
    summaries = []
    single = tasks_of_one((m.conditions.task, m.name) for m in found)
    for group in _grouped(found, lambda m: m.group):
        beside = published if group[0].conditions.task in single else None
        for line in _grouped(group, lambda m: Way.of(m.conditions)):
            for test in TESTS:
                if rows := [m for m in line if m.test == test]:
                    baseline = _baseline(group, rows[0])
                    summaries.append(_summary(rows, baseline, beside))
    return summaries


def tasks_of_one(named: Iterable[tuple[str, str]]) -> set[str]:
    """Return the tasks of a single property, which published numbers stand beside.

    Of which of several properties a number would be, nothing tells.

    Parameters
    ----------
    named : iterable of (str, str)
        Tasks and properties.

    Examples
    --------
    >>> tasks_of_one([("gap", "gap"), ("both", "gap"), ("both", "homo")])
    {'gap'}
    """
    counts = Counter(task for task, _ in set(named))
    return {task for task, n in counts.items() if n == 1}


def _baseline(group: Sequence[Measured], like: Measured) -> list[Measured]:
    """Return what scratch came to under the same conditions."""
    way = Way.of(like.conditions)._replace(strategy=BASELINE)
    if way == Way.of(like.conditions):
        return []
    return [m for m in group if m.test == like.test and Way.of(m.conditions) == way]


def _summary(
    rows: Sequence[Measured],
    baseline: Sequence[Measured],
    published: PublishedTable | None,
) -> Summary:
    first = rows[0]
    task, split, name = first.group
    way = Way.of(first.conditions)
    numbers = {}
    for metric in (*METRICS, W1):
        if values := [m.numbers[metric] for m in rows if metric in m.numbers]:
            numbers[metric] = Spread.of(values)
    gains = {}
    for metric in METRICS:
        ours, theirs = _by_fold(rows, metric), _by_fold(baseline, metric)
        pairs = [_means(ours[fold], theirs[fold]) for fold in ours if fold in theirs]
        if paired := [100 * (1 - own / other) for own, other in pairs if other]:
            gains[metric] = Spread.of(paired)
    value = None if published is None else _published_value(first, published)
    return Summary(
        task, split, name, first.unit, first.test, way,
        tuple(dict.fromkeys(m.conditions.fold for m in rows)), len(rows),
        fmean(m.n_train for m in rows), numbers, gains, value,
    )  # fmt: skip


def _published_value(like: Measured, published: PublishedTable) -> float | None:
    """Return the number of the same thing in a table, if there is one."""
    task, split, _ = like.group
    way = Way.of(like.conditions)
    # with other settings it is something else, and so it is in another unit
    if way.train_share < 1 or way.variant:
        return None
    if not published.is_in(task, like.unit):
        return None
    known = published.find(task, split, like.test)
    value = known.get(published.strategies.get(way.strategy, ""))
    return None if value is None else value.value


_Runs = dict[tuple[int, int], float]
"""Draw and seed of the runs of a fold to their numbers."""


def _by_fold(rows: Iterable[Measured], metric: str) -> dict[str, _Runs]:
    values: dict[str, _Runs] = {}
    for row in rows:
        if metric in row.numbers:
            run = row.conditions.train_seed, row.conditions.seed
            values.setdefault(row.conditions.fold, {})[run] = row.numbers[metric]
    return values


def _means(ours: _Runs, theirs: _Runs) -> tuple[float, float]:
    """Return means over the runs that both have; over all if there are none."""
    if both := ours.keys() & theirs.keys():
        ours, theirs = ({run: own[run] for run in both} for own in (ours, theirs))
    return fmean(ours.values()), fmean(theirs.values())


def _grouped(items: Iterable[_T], key: Callable[[_T], object]) -> list[list[_T]]:
    groups: dict[object, list[_T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())
