"""What is in labelled data, and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from mftscreen.console.progress import progress_bar
from mftscreen.data.duplicates import same_structures
from mftscreen.data.findings import CheckedRow, Finding, find_faults
from mftscreen.data.label_source import LabelSource
from mftscreen.data.sources import RowProblem, iter_labelled
from mftscreen.errors import StructureError
from mftscreen.structures import check_structure

__all__ = ["DataDescription", "LabelSummary", "describe_data"]

QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
N_BINS = 10


@dataclass(frozen=True)
class LabelSummary:
    """The distribution of labels.

    Attributes
    ----------
    n : int
    mean, standard_deviation : float
    quantiles : dict of float to float
        From 0, the minimum, to 1, the maximum.
    edges : tuple of float
        Of the histogram's bins, from the 1 % to the 99 % quantile.
    counts : tuple of int
        Of the labels in each bin; those outside are in the first and last one.
    """

    n: int
    mean: float
    standard_deviation: float
    quantiles: dict[float, float]
    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class DataDescription:
    """What is in labelled data.

    Attributes
    ----------
    column : str
    kind : {"number", "class"}
        Labels of a class are 1, or yes, and 0.
    unit : str or None
    files : dict of str to int
        Number of rows of each file.
    n_usable : int
        Rows with a structure and a finite label, of all files but the test file's.
    labels : LabelSummary or None
        None if no row is usable, as are `n_atoms` and `elements` empty.
    n_atoms : dict of str to float
        ``min``, ``median`` and ``max`` of the number of atoms.
    elements : dict of str to int
        In how many structures each stands, the lightest first.
    periodic : dict of str to int
        Structures by their periodic directions: ``3D``, ``2D``, ``1D``, ``0D``.
    n_distinct : int
        Structures that are not the same as another one.
    problems : tuple of Finding
        To be mended before training.
    remarks : tuple of Finding
        To be known.
    """

    column: str
    kind: Literal["number", "class"]
    unit: str | None
    files: dict[str, int]
    n_usable: int
    labels: LabelSummary | None
    n_atoms: dict[str, float]
    elements: dict[str, int]
    periodic: dict[str, int]
    n_distinct: int
    problems: tuple[Finding, ...]
    remarks: tuple[Finding, ...]


@dataclass(frozen=True)
class _Source:
    path: Path
    name: str
    prefix: str
    in_test: bool


def describe_data(
    paths: Sequence[Path],
    column: str | LabelSource,
    *,
    unit: str | None = None,
    against: Path | None = None,
    progress: bool = False,
) -> DataDescription:
    """Describe labelled data and find what is wrong with them.

    Parameters
    ----------
    paths : sequence of Path
        Files of training data, see :func:`mftscreen.data.sources.read_labelled`.
    column : str or LabelSource
        Name of the label, or the source of one number or truth value.
    unit : str, optional
        Of the labels.
    against : Path, optional
        A file with test data: it is searched for the training structures.
    progress : bool
        Whether to show progress on stderr.

    Returns
    -------
    DataDescription

    Raises
    ------
    DataError
        If a file cannot be read or has no such label at all.

    Notes
    -----
    Problems are rows without a structure or with an unsound one, without a finite
    label, with an id that stands twice in a file; one structure
    (:func:`mftscreen.data.duplicates.same_structures`) with labels that differ by
    more than 1 % of the interquartile range of all labels, or as two units do
    (:func:`~mftscreen.data.units.match_factor`); files whose labels as a
    whole differ so
    (:func:`~mftscreen.data.units.same_distribution_factor`), or two parts of
    one file (:func:`~mftscreen.data.units.mixed_units`); and one structure
    in training and test data. Remarks are other structures that stand
    more than once, labels more than ten interquartile ranges beyond the quartiles,
    and elements of test rows that no training row has.
    """
    label = LabelSource.of(column)
    rows: list[CheckedRow] = []
    bad: list[RowProblem] = []
    sizes: Counter[str] = Counter()
    for source in _sources(paths, against):
        for row in _read(source, label, progress):
            sizes[source.name] += 1
            if isinstance(row, CheckedRow):
                rows.append(row)
            else:
                bad.append(row)
    train = [row for row in rows if not row.in_test]
    labels = np.array([row.label for row in train])
    groups = same_structures([row.atoms for row in rows])
    problems, remarks = find_faults(rows, bad, list(sizes), groups, unit)
    return DataDescription(
        column=label.name,
        kind="class" if label.yes_no else "number",
        unit=unit,
        files=dict(sizes),
        n_usable=len(train),
        labels=_summarize(labels) if len(labels) else None,
        n_atoms=_sizes(train),
        elements=_elements(train),
        periodic=dict(Counter(f"{int(row.atoms.pbc.sum())}D" for row in train)),
        n_distinct=len(set(groups[: len(train)].tolist())),
        problems=problems,
        remarks=remarks,
    )


def _sources(paths: Sequence[Path], against: Path | None) -> list[_Source]:
    files = [*paths, *([against] if against is not None else [])]
    names = [path.name for path in files]
    if len(set(names)) < len(names):
        names = [str(path) for path in files]
    return [
        _Source(path, name, f"{name}:" if len(files) > 1 else "", k == len(paths))
        for k, (path, name) in enumerate(zip(files, names, strict=True))
    ]


def _read(
    source: _Source, column: LabelSource, progress: bool
) -> Iterator[CheckedRow | RowProblem]:
    found = iter_labelled(source.path, column)
    for row in progress_bar(found, shown=progress, desc=source.name, unit="row"):
        if isinstance(row, RowProblem):
            yield RowProblem(f"{source.prefix}{row.row}", row.kind, row.message)
            continue
        name, label = f"{source.prefix}{row.id}", float(row.labels[column.name])
        try:
            check_structure(row.atoms, chemical_symbols[1:])
        except StructureError as error:
            yield RowProblem(name, "structure", str(error))
        else:
            yield CheckedRow(name, source.name, source.in_test, row.atoms, label)


def _summarize(labels: np.ndarray) -> LabelSummary:
    quantiles = dict(zip(QUANTILES, np.quantile(labels, QUANTILES), strict=True))
    low, high = quantiles[0.01], quantiles[0.99]
    edges = np.linspace(low, high, N_BINS + 1) if high > low else np.array([low, high])
    counts, _ = np.histogram(np.clip(labels, low, high), edges)
    return LabelSummary(
        n=len(labels),
        mean=float(labels.mean()),
        standard_deviation=float(labels.std()),
        quantiles={q: float(value) for q, value in quantiles.items()},
        edges=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
    )


def _sizes(rows: Sequence[CheckedRow]) -> dict[str, float]:
    if not rows:
        return {}
    sizes = [len(row.atoms) for row in rows]
    return {
        "min": float(min(sizes)),
        "median": float(np.median(sizes)),
        "max": float(max(sizes)),
    }


def _elements(rows: Iterable[CheckedRow]) -> dict[str, int]:
    counts = Counter(symbol for row in rows for symbol in set(row.atoms.symbols))
    return dict(sorted(counts.items(), key=lambda item: atomic_numbers[item[0]]))
