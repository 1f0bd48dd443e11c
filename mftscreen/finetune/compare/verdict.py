"""Errors of several strategies on the same folds, and which strategy they speak for."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, TypeVar

from mftscreen.console.text_table import text_table
from mftscreen.errors import DataError
from mftscreen.finetune.task.partition import OOD_TEST, in_order
from mftscreen.metrics import BASELINES, FEW_ROWS, TITLES, main_error

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Comparison", "Result", "Spread"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Result:
    """What one training came to, for one property.

    Attributes
    ----------
    strategy, fold, property : str
    metrics : mapping of str to mapping of str to float
        Part (``validation``, ``id``, ``ood``) to metric to value.
    drift : mapping of str to float
        How far the descriptor moved from the pretrained one; see
        :func:`mftscreen.finetune.compare.trainings.compare_strategies`.
    model : str
        The model file, relative to the directory of the comparison.
    """

    strategy: str
    fold: str
    property: str
    metrics: Mapping[str, Mapping[str, float]]
    drift: Mapping[str, float] = field(default_factory=dict)
    model: str = ""


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (n - 1) over folds.

    Attributes
    ----------
    mean : float
    std : float or None
        None for a single fold.
    """

    mean: float
    std: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of at least one number.

        Examples
        --------
        >>> str(Spread.of([1.0, 3.0]))
        '2 ± 1.41'
        """
        return cls(fmean(values), stdev(values) if len(values) > 1 else None)

    def __str__(self) -> str:
        return f"{self.mean:.3g}" + ("" if self.std is None else f" ± {self.std:.3g}")


@dataclass(frozen=True)
class Comparison:
    """Results of every strategy on every fold.

    Attributes
    ----------
    results : tuple of Result

    Examples
    --------
    >>> def result(strategy, fold, mae):
    ...     errors = {"mae": mae, "mae_of_training_mean": 1.0}
    ...     return Result(strategy, fold, "gap", {"ood": errors})
    >>> found = Comparison((
    ...     result("ft", "a", 0.3), result("ft", "b", 0.5),
    ...     result("mft", "a", 0.2), result("mft", "b", 0.5)))
    >>> found.best
    'mft'
    >>> [f"{d:.1f}" for d in found.differences("gap", "ft")]
    ['0.1', '0.0']
    """

    results: tuple[Result, ...]

    @property
    def strategies(self) -> list[str]:
        """All strategies, in the order of the results."""
        return _distinct(result.strategy for result in self.results)

    @property
    def folds(self) -> list[str]:
        """All folds, in the order of the results."""
        return _distinct(result.fold for result in self.results)

    @property
    def properties(self) -> list[str]:
        """All properties, in the order of the results."""
        return _distinct(result.property for result in self.results)

    @property
    def tests(self) -> list[str]:
        """All parts that errors are known of: validation, ID test, OOD test."""
        return in_order(_distinct(part for r in self.results for part in r.metrics))

    @property
    def best(self) -> str:
        """The strategy of the smallest OOD error, see :meth:`relative_error`."""
        return min(self.strategies, key=self.relative_error)

    def relative_error(self, strategy: str) -> float:
        """Return the OOD error of a strategy over that of a constant.

        That is the MAE, and the log loss of a class, in units of that of the mean of
        the training labels; with several properties, its mean. A property without
        labels in any OOD test does not count.

        Parameters
        ----------
        strategy : str

        Raises
        ------
        DataError
            If no OOD test has a label.
        """
        shares = []
        for name in self.properties:
            errors = self.errors(name, strategy, OOD_TEST)
            baseline = BASELINES[self.error_of(name)]
            constant = self.errors(name, strategy, OOD_TEST, baseline)
            if errors:
                shares.append(fmean(errors) / (fmean(constant) or 1.0))
        if not shares:
            msg = (
                "no OOD test has a label, so that strategies cannot be compared; "
                "choose other folds"
            )
            raise DataError(msg)
        return fmean(shares)

    def errors(
        self, name: str, strategy: str, test: str, metric: str | None = None
    ) -> list[float]:
        """Return an error of a strategy on every fold, in the order of `folds`.

        Parameters
        ----------
        name : str
            Property.
        strategy, test : str
        metric : str, optional
            A key of :func:`mftscreen.metrics.regression_metrics`; by default that of
            :meth:`error_of`.

        Returns
        -------
        list of float
            Without the folds whose test has no label of the property: the same ones
            for every strategy.
        """
        metric = metric or self.error_of(name)
        by_fold = {
            result.fold: result.metrics[test][metric]
            for result in self.results
            if (result.property, result.strategy) == (name, strategy)
            and test in result.metrics
        }
        return [by_fold[fold] for fold in self.folds if fold in by_fold]

    def error_of(self, name: str) -> str:
        """Return the error of a property that strategies are compared by."""
        own = (result for result in self.results if result.property == name)
        found = (metrics for result in own for metrics in result.metrics.values())
        return main_error(next(found, {}))

    def tested_folds(self, name: str, test: str = OOD_TEST) -> list[str]:
        """Return the folds whose test has labels of a property."""
        tested = {
            r.fold for r in self.results if r.property == name and test in r.metrics
        }
        return [fold for fold in self.folds if fold in tested]

    def differences(
        self, name: str, strategy: str, test: str = OOD_TEST
    ) -> list[float]:
        """Return, fold by fold, how much larger the error is than that of the best."""
        ours, best = (self.errors(name, s, test) for s in (strategy, self.best))
        return [a - b for a, b in zip(ours, best, strict=True)]

    def to_json(self) -> str:
        """Return results, their spreads and paired differences as JSON."""
        summary = [
            {
                "property": name,
                "strategy": strategy,
                self.error_of(name): {
                    test: asdict(Spread.of(errors))
                    for test in self.tests
                    if (errors := self.errors(name, strategy, test))
                },
                f"ood_{self.error_of(name)}_above_best": self._above_best(
                    name, strategy
                ),
            }
            for name in self.properties
            for strategy in self.strategies
        ]
        document = {
            "best": self.best,
            "folds": self.folds,
            "summary": summary,
            "results": [asdict(result) for result in self.results],
        }
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"

    def _above_best(self, name: str, strategy: str) -> dict[str, Any] | None:
        above = self.differences(name, strategy)
        if not above:
            return None
        folds = self.tested_folds(name)
        return {"folds": folds, "by_fold": above, **asdict(Spread.of(above))}

    def to_csv(self) -> str:
        """Return one line per strategy, fold and property, with every number."""
        errors = _distinct(
            (test, metric)
            for test in self.tests
            for result in self.results
            for metric in result.metrics.get(test, ())
        )
        drifts = _distinct(key for result in self.results for key in result.drift)
        stream = io.StringIO()
        table = csv.writer(stream, lineterminator="\n")
        names = [f"{test}_{metric}" for test, metric in errors]
        table.writerow(["strategy", "fold", "property", *names, *drifts, "model"])
        for result in self.results:
            numbers = [result.metrics.get(t, {}).get(m, "") for t, m in errors]
            moved = [result.drift.get(key, "") for key in drifts]
            first = [result.strategy, result.fold, result.property]
            table.writerow([*first, *numbers, *moved, result.model])
        return stream.getvalue()

    def __repr__(self) -> str:
        strategies, n = ", ".join(self.strategies), len(self.folds)
        return f"<Comparison of {strategies} on {n} folds; best: {self.best}>"

    def _repr_html_(self) -> str:
        return str(self.to_pandas()._repr_html_())

    def to_pandas(self) -> pd.DataFrame:
        """Return the table of :meth:`to_csv`."""
        import pandas as pd

        return pd.read_csv(io.StringIO(self.to_csv()), dtype={"fold": str})

    def to_table(self) -> str:
        """Return the errors, mean ± standard deviation over folds, for people."""
        return "\n".join(self._table_of(name) for name in self.properties)

    def _table_of(self, name: str) -> str:
        n_folds = len(self.folds)
        over = f"mean ± standard deviation of {n_folds} folds" if n_folds > 1 else ""
        drifts = _distinct(key for r in self.results for key in r.drift)
        lines = [["strategy", *self.tests, *drifts]]
        for strategy in self.strategies:
            errors = [_shown(self.errors(name, strategy, t)) for t in self.tests]
            moved = [self._drift(name, strategy, key) for key in drifts]
            lines.append([strategy, *errors, *moved])
        title = TITLES[self.error_of(name)]
        table = f"{name}: {title} {over}".rstrip() + f"\n{text_table(lines)}"
        if not self.tested_folds(name):
            return f"{table}{name}: no OOD test has a label\n"
        return f"{table}\n{self._pairs_of(name)}"

    def _pairs_of(self, name: str) -> str:
        """Return how far all are from the best, fold by fold."""
        tested = self.tested_folds(name)
        sizes = [int(n) for n in self.errors(name, self.best, OOD_TEST, "n")]
        paired = [["strategy", *tested, "mean"], ["(OOD rows)", *map(str, sizes), ""]]
        for strategy in self.strategies:
            above = self.differences(name, strategy)
            cells = [f"{value:+.3g}" for value in above]
            paired.append([strategy, *cells, _shown(above)])
        error = TITLES[self.error_of(name)]
        title = f"{name}: OOD {error} above that of {self.best}, by fold"
        small = [f for f, n in zip(tested, sizes, strict=True) if n < FEW_ROWS]
        warning = f"{name}: fewer than {FEW_ROWS} OOD rows, which decide little, in"
        warning = f"{warning} {', '.join(small)}\n" if small else ""
        return f"{title}\n{text_table(paired)}{warning}"

    def _drift(self, name: str, strategy: str, key: str) -> str:
        values = [
            result.drift[key]
            for result in self.results
            if (result.property, result.strategy) == (name, strategy)
            and key in result.drift
        ]
        return _shown(values)


def _shown(values: Sequence[float]) -> str:
    return str(Spread.of(values)) if values else ""


def _distinct(names: Iterable[_T]) -> list[_T]:
    return list(dict.fromkeys(names))
