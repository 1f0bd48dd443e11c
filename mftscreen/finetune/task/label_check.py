"""Labels that cannot be meant or contradict each other, named as a training starts."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mftscreen.data.dataset import LARGEST_TRAINED, LabelledStructure
from mftscreen.data.duplicates import same_structures
from mftscreen.data.findings import EXTREME, CheckedRow, find_conflicts
from mftscreen.data.sources import RowProblem, check_problems
from mftscreen.finetune.outcome.scores import property_labels
from mftscreen.finetune.task.training_data import FITTED, Parts, TrainingData
from mftscreen.head_forms import HEAD_FORMS
from mftscreen.properties import PropertySpec

__all__ = ["check_labels"]

log = logging.getLogger(__name__)

FARTHEST = 1e12
"""Interquartile ranges from the median: no quantity varies so much, save logarithms."""
_N_NAMED, _N_IDS = 5, 8


def check_labels(data: TrainingData, specs: Mapping[str, PropertySpec]) -> None:
    """Refuse labels beyond any physical scale; name outliers and contradictions.

    Parameters
    ----------
    data : TrainingData
        With sound structures, as
        :func:`mftscreen.finetune.task.training_data.check_rows` leaves them.
    specs : mapping of str to PropertySpec
        With transforms that were fitted.

    Raises
    ------
    DataError
        If a label, after a logarithm if that is its transform, is larger than 1e15 or
        further from the median than 1e12 interquartile ranges. A standardised property
        may have larger ones.

    Notes
    -----
    Logged are labels more than ten interquartile ranges beyond the quartiles of the
    training labels, and structures with labels that contradict each other
    (:func:`mftscreen.data.findings.find_conflicts`); of what grows with the structure,
    labels per atom, for a supercell is the same structure.
    """
    components = {name: spec for name, spec in specs.items() if not spec.is_norm}
    for spec in components.values():
        _check_sizes(spec, data.heads[spec.target])
    pairs = [(part, row) for part, rows in data.rows.items() for row in rows]
    groups = same_structures([row.atoms for _, row in pairs])
    for name, spec in components.items():
        kept = [k for k, (_, row) in enumerate(pairs) if spec.target in row.labels]
        labels = property_labels([pairs[k][1] for k in kept], spec)
        form = HEAD_FORMS[spec.head]
        per_atom = not (form.intensive or form.molecular)
        if per_atom:
            labels = labels / [len(pairs[k][1].atoms) for k in kept]
        rows = [
            _checked(*pairs[k], label)
            for k, label in zip(kept, labels.tolist(), strict=True)
        ]
        found = [
            f"{_listed(finding.rows, _N_IDS)}: {finding.message}"
            for finding in find_conflicts(rows, groups[kept], spec.unit)
        ]
        if found:
            log.warning(
                "%d structures have labels of %r%s that contradict each other:\n  %s",
                len(found),
                name,
                " per atom" if per_atom else "",
                _listed(found, _N_NAMED, "\n  "),
            )


def _checked(part: str, row: LabelledStructure, label: float) -> CheckedRow:
    return CheckedRow(row.id, part, part not in FITTED, row.atoms, label)


def _check_sizes(spec: PropertySpec, parts: Parts) -> None:
    name, kind = spec.name, spec.transform.kind
    low, median, high = np.quantile(
        _scaled(property_labels(parts["train"], spec), kind), [0.25, 0.5, 0.75]
    )
    rows = [row for found in parts.values() for row in found]
    labels = property_labels(rows, spec)
    scaled = _scaled(labels, kind)
    absurd = np.abs(scaled - median) > FARTHEST * (high - low if high > low else np.inf)
    if kind != "standardise":
        absurd |= np.abs(scaled) > LARGEST_TRAINED
    usual = f"the median is {median:.6g}{' after log10' if kind == 'log10' else ''}"
    check_problems(
        [
            RowProblem(
                rows[k].id,
                "out of scale",
                f"the label {name!r} is {labels[k]:.6g}, beyond any physical scale "
                f"({usual})",
            )
            for k in np.flatnonzero(absurd).tolist()
        ]
    )
    beyond = np.maximum(scaled - high, low - scaled)
    far = np.flatnonzero(beyond > EXTREME * (high - low))
    if far.size and high > low:
        far = far[np.argsort(-beyond[far], kind="stable")]
        named = [f"{rows[k].id} {labels[k]:.6g}" for k in far.tolist()]
        log.warning(
            "%d labels of %r are more than %g interquartile ranges beyond the "
            "quartiles of the training labels%s, %.6g and %.6g: %s",
            far.size,
            name,
            EXTREME,
            " after log10" if kind == "log10" else "",
            low,
            high,
            _listed(named, _N_NAMED),
        )


def _scaled(labels: NDArray[np.float64], kind: str) -> NDArray[np.float64]:
    """Return labels in the scale that outliers are told by."""
    with np.errstate(divide="ignore", invalid="ignore"):  # those of tests may be < 0
        return np.log10(labels) if kind == "log10" else labels


def _listed(items: Sequence[str], n: int, between: str = ", ") -> str:
    more = len(items) - n
    return between.join(items[:n]) + (f"{between}and {more} more" * (more > 0))
