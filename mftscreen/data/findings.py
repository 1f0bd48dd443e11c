"""Faults of labelled data: rows, repeated structures, units."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mftscreen.data.sources import RowProblem
from mftscreen.data.units import (
    match_factor,
    mixed_units,
    same_distribution_factor,
)

__all__ = ["EXTREME", "CheckedRow", "Finding", "find_conflicts", "find_faults"]

DIFFERENT = 0.01
"""Of the interquartile range of all labels: larger differences are conflicts."""
EXTREME = 10.0
"""Interquartile ranges from the nearest quartile: labels beyond are pointed out."""
_N_LISTED = 8
"""Labels of one structure that a message lists."""


@dataclass(frozen=True)
class Finding:
    """Something about rows that their owner should know.

    Attributes
    ----------
    kind : str
    message : str
    rows : tuple of str
        All ids concerned; ``file:id`` where there are several files.
    """

    kind: str
    message: str
    rows: tuple[str, ...]


@dataclass(frozen=True)
class CheckedRow:
    """A row with a sound structure and a finite label.

    Attributes
    ----------
    name : str
        Its id; ``file:id`` where there are several files.
    file : str
    in_test : bool
    atoms : Atoms
    label : float
    """

    name: str
    file: str
    in_test: bool
    atoms: Atoms
    label: float


def find_faults(
    rows: Sequence[CheckedRow],
    bad: Sequence[RowProblem],
    files: Sequence[str],
    groups: NDArray[np.int64],
    unit: str | None,
) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """Return what is to be mended before training, and what is to be known.

    Parameters
    ----------
    rows : sequence of CheckedRow
        Of training data and, after them, of test data.
    bad : sequence of RowProblem
        The other rows.
    files : sequence of str
        All files that rows are from.
    groups : ndarray of shape (n_rows,)
        Equal where structures are the same.
    unit : str or None
        Of the labels.

    Returns
    -------
    problems, remarks : tuple of Finding
        See :func:`mftscreen.data.describe.describe_data`.
    """
    train = [row for row in rows if not row.in_test]
    labels = np.array([row.label for row in train])
    repeats = _repeats(rows, groups, labels, unit)
    problems = (
        *_row_problems(bad),
        *_repeated_ids(rows),
        *_unit_mismatches(rows, files, unit),
        *(finding for finding in repeats if finding.kind != "duplicates"),
    )
    remarks = (
        *(finding for finding in repeats if finding.kind == "duplicates"),
        *_extremes(train, labels),
        *_new_elements(rows),
    )
    return problems, remarks


def find_conflicts(
    rows: Sequence[CheckedRow], groups: NDArray[np.int64], unit: str | None
) -> list[Finding]:
    """Return the structures whose labels contradict each other.

    Parameters
    ----------
    rows : sequence of CheckedRow
    groups : ndarray of shape (n_rows,)
        Equal where structures are the same.
    unit : str or None
        Of the labels.

    Returns
    -------
    list of Finding
        Where labels of one structure differ by more than 1 % of the interquartile
        range of those that are not in a test, or as two units do.
    """
    labels = np.array([row.label for row in rows if not row.in_test])
    found = _repeats(rows, groups, labels, unit)
    return [f for f in found if f.kind in ("conflicting labels", "units")]


def _row_problems(bad: Sequence[RowProblem]) -> Iterator[Finding]:
    by_kind: dict[str, list[RowProblem]] = defaultdict(list)
    for problem in bad:
        by_kind[problem.kind].append(problem)
    titles = {
        "structure": "no usable structure",
        "missing": "no label",
        "not finite": "label is NaN or infinite",
        "not a number": "label is not a number",
        "out of scale": "label is too large",
    }
    for kind, found in by_kind.items():
        message = f"{titles[kind]}, e.g. {found[0].message}"
        yield Finding(kind, message, tuple(problem.row for problem in found))


def _repeated_ids(rows: Sequence[CheckedRow]) -> Iterator[Finding]:
    counts = Counter(row.name for row in rows)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        yield Finding("repeated ids", "ids stand more than once", tuple(twice))


def _unit_mismatches(
    rows: Sequence[CheckedRow], files: Sequence[str], unit: str | None
) -> Iterator[Finding]:
    labels: dict[str, list[float]] = {file: [] for file in files}
    for row in rows:
        labels[row.file].append(row.label)
    for one, other in combinations(files, 2):
        change = same_distribution_factor(labels[one], labels[other], unit)
        if change:
            medians = [float(np.median(labels[file])) for file in (one, other)]
            message = (
                f"the labels of {one} (median {medians[0]:.6g}) and {other} (median "
                f"{medians[1]:.6g}) differ as from {change}"
            )
            yield Finding("units", message, (one, other))
    for file, values in labels.items():
        mixed = mixed_units(values, unit)
        if mixed:
            threshold, change = mixed
            found = [r.name for r in rows if r.file == file and _reaches(r, threshold)]
            message = f"labels of {threshold:.6g} and more differ as from {change}"
            yield Finding("units", message, tuple(found))


def _reaches(row: CheckedRow, threshold: float) -> bool:
    return abs(row.label) >= threshold


def _repeats(
    rows: Sequence[CheckedRow],
    groups: np.ndarray,
    labels: np.ndarray,
    unit: str | None,
) -> list[Finding]:
    """Return what is to be said of structures that stand more than once."""
    members: dict[int, list[CheckedRow]] = defaultdict(list)
    for row, group in zip(rows, groups.tolist(), strict=True):
        members[group].append(row)
    spread = (
        float(np.subtract(*np.quantile(labels, [0.75, 0.25]))) if len(labels) else 0
    )
    findings = []
    for same in members.values():
        if len(same) == 1:
            continue
        values = sorted(row.label for row in same)
        ids = tuple(row.name for row in same)
        listed = _listed(values, [row.label for row in same])
        leaks = len({row.in_test for row in same}) == 2
        if leaks:
            message = f"one structure in training and test data, labels {listed}"
            findings.append(Finding("train and test", message, ids))
        change = _change_of_units(values[0], values[-1], unit)
        if values[-1] - values[0] <= DIFFERENT * spread:
            if not leaks:
                message = f"one structure, label {listed}"
                findings.append(Finding("duplicates", message, ids))
        elif change:
            message = (
                f"one structure with labels {listed}, which differ as from {change}"
            )
            findings.append(Finding("units", message, ids))
        else:
            message = f"one structure with labels {listed}"
            findings.append(Finding("conflicting labels", message, ids))
    return findings


def _listed(ordered: Sequence[float], labels: Sequence[float]) -> str:
    if len(labels) > _N_LISTED:
        return f"from {ordered[0]:.6g} to {ordered[-1]:.6g}"
    return ", ".join(f"{label:.6g}" for label in labels)


def _change_of_units(low: float, high: float, unit: str | None) -> str | None:
    if low == 0.0:
        return None
    return match_factor(high / low, unit) or match_factor(low / high, unit)


def _extremes(train: Sequence[CheckedRow], labels: np.ndarray) -> Iterator[Finding]:
    if not len(labels):
        return
    low, high = np.quantile(labels, [0.25, 0.75])
    beyond = np.maximum(labels - high, low - labels)
    far = np.flatnonzero(beyond > EXTREME * (high - low))
    if far.size and high > low:
        found = [train[k] for k in far[np.argsort(-beyond[far])].tolist()]
        message = (
            f"labels more than {EXTREME:g} interquartile ranges beyond the quartiles, "
            f"the farthest {found[0].label:.6g}"
        )
        yield Finding("extreme labels", message, tuple(row.name for row in found))


def _new_elements(rows: Sequence[CheckedRow]) -> Iterator[Finding]:
    known = {s for row in rows if not row.in_test for s in row.atoms.symbols}
    found: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for symbol in set(row.atoms.symbols) - known:
            found[symbol].append(row.name)
    for symbol, ids in sorted(found.items()):
        message = f"{symbol} is in test data only; use 'bias: global'"
        yield Finding("new elements", message, tuple(ids))
