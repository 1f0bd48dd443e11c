"""Splits of labelled data: the Python side of ``mftscreen split``."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from math import inf
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from mftscreen.data.label_source import LabelSource
from mftscreen.data.memory import RowsInMemory
from mftscreen.data.sources import read_labelled
from mftscreen.errors import ConfigError, DataError
from mftscreen.ood.ofm.featurizer import OFMFeaturizer
from mftscreen.ood.splits import (
    OFM_METHODS,
    TARGET_METHODS,
    FoldReport,
    OFMVectors,
    Split,
    SplitData,
    compute_vectors,
    read_omee,
    report_folds,
    split_function,
)
from mftscreen.screen.candidates.stream import check_not_read
from mftscreen.writing import check_place

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SplitResult", "foreign_options", "split"]

_LEAST = {
    **dict.fromkeys(("folds", "clusters"), 2),
    **dict.fromkeys(("sparse", "neighbors", "perplexity", "min_test"), 1),
}
"""Of options that are numbers; of others 0. No share is above 1."""
_COUNTS = ("folds", "clusters", "sparse", "neighbors")
"""Options that the methods call ``n_folds`` and so on."""


@dataclass(frozen=True)
class SplitResult:
    """A split, and what it was made of.

    Attributes
    ----------
    split : Split
        Its ``folds`` have the ids of training, validation and test rows.
    rows : SplitData
    path : Path or None
        The file that holds the split, if one was asked for.
    """

    split: Split
    rows: SplitData
    path: Path | None = None
    _featurizer: OFMFeaturizer = field(default_factory=OFMFeaturizer, repr=False)
    _vectors: OFMVectors | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        n_folds, n_rows = len(self.split.folds), len(self.rows)
        return f"<{n_folds} folds of {n_rows} rows by {self.split.method}>"

    @cached_property
    def no_p_values(self) -> str:
        """Why test folds have no p-values; empty if they have some."""
        try:
            return "" if self.vectors else "no vectors"
        except DataError as error:  # molecules can be split, too
            return str(error)

    @cached_property
    def vectors(self) -> OFMVectors:
        """Orbital field matrices of the rows; raises DataError if there are none."""
        if self._vectors is not None:
            return self._vectors
        return compute_vectors(self.rows, self._featurizer)

    def reports(self) -> Iterator[FoldReport]:
        """Yield sizes, target ranges and OOD p-values of the folds."""
        vectors = None if self.no_p_values else self.vectors
        n_jobs = self._featurizer.n_jobs
        return iter(report_folds(self.split, self.rows, vectors, n_jobs=n_jobs))

    def to_pandas(self) -> pd.DataFrame:
        """Return :meth:`reports` as a table, a row for each fold."""
        import pandas as pd

        return pd.DataFrame([asdict(report) for report in self.reports()])


def split(
    data: Any,
    column: str | LabelSource,
    *,
    method: str,
    output: str | Path | None = None,
    omee: str | Path | None = None,
    table: Any = "current",
    mode: Any = "exact",
    n_jobs: int = 1,
    progress: bool = False,
    **options: Any,
) -> SplitResult:
    """Split labelled rows into train, validation and test folds.

    Parameters
    ----------
    data : str, Path or object
        A file, or what is in memory: a DataFrame with a column of structures,
        structures whose ``info`` has the target, or rows with their targets.
    column : str or LabelSource
        Name of the target, or where it stands and what it is. Of several numbers, the
        first is taken.
    method : str
        As ``mftscreen split --help`` lists them: ``random``, ``loco``, ``elements`` …
    output : str or Path, optional
        Write the split to this ``.json``.
    omee : str or Path, optional
        Take the published folds of a MatBench task from this file.
    table : {"current", "paper"}
        Element table of the orbital field matrices.
    mode : {"exact", "matminer"}
        Their Voronoi cells.
    n_jobs : int, default 1
        Processes for them.
    progress : bool, default False
        Whether to show progress.
    **options
        Those of the method, with the names that they have on the command line:
        ``clusters=10``, ``seed=0``, ``val_share=0.2`` …

    Returns
    -------
    SplitResult

    Raises
    ------
    ConfigError
        If the method has no such option, or is not for labels of yes and no.
    DataError
        If there is no such method, data cannot be read or split, or the file cannot be
        written, does not end in ``.json``, or is one that is read.

    Examples
    --------
    >>> from mftscreen import split
    >>> result = split(frame, "gap", method="loco", clusters=10)  # doctest: +SKIP
    >>> result.to_pandas(), result.split.folds[0].test  # doctest: +SKIP
    """
    source: Path | RowsInMemory | SplitData
    if isinstance(data, SplitData):
        source = data
    else:
        source = Path(data) if isinstance(data, str | Path) else RowsInMemory.of(data)
    if not isinstance(column, str | LabelSource):
        raise ConfigError([f"column: the name of the target is needed, got {column!r}"])
    if LabelSource.of(column).yes_no and method in TARGET_METHODS:
        raise ConfigError([f"method {method} is of labels that are numbers"])
    if foreign := foreign_options(method, options, published=omee is not None):
        names = ", ".join(sorted(foreign))
        raise ConfigError([f"{names}: method {method} has no such option"])
    chosen = {} if omee is not None else _checked(method, options)
    path = None if output is None else Path(output)
    if path is not None:
        _check_output(path, source if isinstance(source, Path) else None, omee)
    rows = source if isinstance(source, SplitData) else _read(source, column)
    featurizer = OFMFeaturizer(table=table, mode=mode, n_jobs=n_jobs)
    vectors = None
    if omee is not None:
        if not isinstance(source, Path):
            msg = "published folds are of a file that has the name of its task"
            raise DataError(msg)
        task = source.name.removesuffix(".gz").removesuffix(".json")
        made = read_omee(Path(omee), task, method, rows)
    elif method in OFM_METHODS:
        vectors = compute_vectors(rows, featurizer, progress=progress)
        made = split_function(method)(rows, vectors, **chosen)
    else:
        made = split_function(method)(rows, **chosen)
    if path is not None:
        made.write(path)
    return SplitResult(made, rows, path, featurizer, vectors)


def foreign_options(method: str, chosen: Iterable[str], *, published: bool) -> set[str]:
    """Return those options that a method has not.

    Parameters
    ----------
    method : str
    chosen : iterable of str
        Names of options.
    published : bool
        Whether folds are read, which leaves nothing to choose.
    """
    if published:
        return set(chosen)
    parameters = inspect.signature(split_function(method)).parameters.values()
    known = {p.name for p in parameters if p.default is not p.empty} - {"by"}
    return {name for name in chosen if _own_name(name) not in known}


def _check_output(path: Path, *inputs: str | Path | None) -> None:
    if path.suffix != ".json":
        msg = "a split is written to a .json file"
        raise DataError(msg, path=path)
    check_place(path)
    check_not_read(path, *inputs)


def _checked(method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as the method calls them; raise if a value is not allowed."""
    function: Any = split_function(method)
    hints = get_type_hints(getattr(function, "func", function))
    problems, chosen = [], dict(options)
    for name, value in options.items():
        kind, least = hints[_own_name(name)], _LEAST.get(name, 0)
        if kind in (int, float):
            number = Integral if kind is int else Real
            sound = isinstance(value, number) and not isinstance(value, bool)
            most = 1 if name.endswith("_share") else inf
            if name == "seed":
                most = 2**32 - 1  # of scikit-learn
            if not (sound and least <= value <= most and value < inf):
                what = "whole number" if kind is int else "number"
                limit = f" up to {most}" if most < inf else ""
                problems.append(f"{name}: a {what} from {least}{limit}, got {value!r}")
            else:
                chosen[name] = kind(value)  # a number of numpy is none for JSON
        elif value not in get_args(kind):
            allowed = ", ".join(get_args(kind))
            problems.append(f"{name}: one of {allowed} is needed, got {value!r}")
    if problems:
        raise ConfigError(problems)
    return {_own_name(name): value for name, value in chosen.items()}


def _own_name(option: str) -> str:
    """Return what the methods call an option."""
    return f"n_{option}" if option in _COUNTS else option


def _read(source: Path | RowsInMemory, column: str | LabelSource) -> SplitData:
    label = LabelSource.of(column)
    rows = list(read_labelled(source, label))
    try:
        return SplitData(
            [row.id for row in rows],
            [row.atoms for row in rows],
            [float(row.labels[label.name].flat[0]) for row in rows],
        )
    except DataError as error:
        raise DataError(str(error), path=source) from error
