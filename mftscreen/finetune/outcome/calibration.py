"""What a model file holds beside the weights: reference set, held-out residuals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mftscreen.data.dataset import LabelledStructure
from mftscreen.finetune.outcome.scores import property_labels
from mftscreen.finetune.task.task import Task
from mftscreen.finetune.task.training_data import Parts
from mftscreen.intervals import IntervalCalibration, usable_p_values

__all__ = [
    "ReferenceSet",
    "build_reference_sets",
    "calibrate",
    "calibrate_in_turn",
    "measure_coverage",
]

COVERAGE = 0.9


class ReferenceSet(NamedTuple):
    """The OFM reference set of a property's training rows.

    Attributes
    ----------
    arrays : mapping of str to ndarray
        For the model file; empty where rows have no orbital field matrices.
    positions : sequence of int
        Training rows that are in it, in its order: those without an equal before them.
    """

    arrays: Mapping[str, NDArray[Any]]
    positions: Sequence[int]


def build_reference_sets(task: Task) -> dict[str, ReferenceSet]:
    """Return the OFM reference set of each property's training rows.

    Parameters
    ----------
    task : Task

    Returns
    -------
    dict of str to ReferenceSet
        By property; properties of the same rows have the same object.
    """
    from mftscreen.ood.reference.reference_set import build_reference

    sets: dict[str, ReferenceSet] = {}
    for names in task.data.shared:
        rows = task.heads[names[0]]["train"]
        # ids may be there twice, positions are not
        arrays = build_reference(
            [r.atoms for r in rows], list(map(str, range(len(rows))))
        )
        positions = [int(name) for name in arrays.get("ids", ())]
        if arrays:
            arrays["ids"] = np.array([rows[k].id for k in positions])
        sets |= dict.fromkeys(names, ReferenceSet(arrays, positions))
    return {name: sets[name] for name in task.specs}


def calibrate(
    name: str,
    parts: Parts,
    predicted: NDArray[np.float64],
    reference: Mapping[str, NDArray[Any]],
) -> IntervalCalibration:
    """Return the residuals of the validation rows, without repeated training rows.

    They chose the checkpoint, so that it suits them slightly better than others.

    Parameters
    ----------
    name : str
        Of the property.
    parts : Parts
    predicted : ndarray of shape (n_validation,)
        In the unit of the property.
    reference : mapping of str to ndarray
        Of the property, from :func:`build_reference_sets`.

    Returns
    -------
    IntervalCalibration
    """
    trained_on = {row.hash for row in parts["train"]}
    new = [row.hash not in trained_on for row in parts["validation"]]
    rows, values = list(compress(parts["validation"], new)), predicted[new]
    return IntervalCalibration(
        residuals=property_labels(rows, name) - values,
        predictions=values,
        p_values=_p_values(rows, parts, reference),
        ids=tuple(s.id for s in rows),
    )


def calibrate_in_turn(
    name: str,
    rows: Sequence[LabelledStructure],
    predicted: NDArray[np.float64],
    reference: ReferenceSet,
) -> IntervalCalibration:
    """Return the residuals of training rows, each predicted without it.

    Parameters
    ----------
    name : str
        Of the property.
    rows : sequence of LabelledStructure
        All training rows.
    predicted : ndarray of shape (n_rows,)
        By fits to other rows, in the unit of the property.
    reference : ReferenceSet
        Of the property, from :func:`build_reference_sets`.

    Returns
    -------
    IntervalCalibration
        P-values are those of rows of the reference set among the others. Rows that
        equal an earlier one are not in it, and are left out. Rows with an element that
        no other has get no p-value.
    """
    from mftscreen.ood.reference.conformal import loo_p_values
    from mftscreen.ood.reference.reference_set import open_reference

    detector = open_reference(reference.arrays).detector
    p_values = np.full(len(rows), np.nan)
    kept = list(range(len(rows)))
    if detector is not None:
        kept = list(reference.positions)
        p_values[kept] = loo_p_values(detector.loo_scores_)
        elements = Counter(s for row in rows for s in set(row.atoms.symbols))
        alone = [any(elements[s] == 1 for s in set(r.atoms.symbols)) for r in rows]
        p_values[alone] = np.nan
    residuals = property_labels(rows, name) - predicted
    return IntervalCalibration(
        residuals=residuals[kept],
        predictions=predicted[kept],
        p_values=p_values[kept],
        ids=tuple(rows[k].id for k in kept),
    )


def measure_coverage(
    name: str,
    parts: Parts,
    test: str,
    predicted: NDArray[np.float64],
    calibration: IntervalCalibration,
    reference: Mapping[str, NDArray[Any]],
) -> dict[str, float]:
    """Return how many rows of a test have an interval, and how many lie within.

    Parameters
    ----------
    name : str
        Of the property.
    parts : Parts
    test : str
        One of `parts`.
    predicted : ndarray of shape (n_rows,)
        Of that part, in the unit of the property.
    calibration : IntervalCalibration
    reference : mapping of str to ndarray
        Of the property, from :func:`build_reference_sets`.

    Returns
    -------
    dict of str to float
        ``n_intervals``: rows that are not flagged as out of distribution, if there is
        any interval at all; ``coverage_90``: the share of their labels that lies within
        the interval of 90 %, if there are such rows.
    """
    low, high = calibration.interval(
        predicted, _p_values(parts[test], parts, reference), COVERAGE
    )
    claimed = np.isfinite(low)
    found = {"n_intervals": float(claimed.sum())}
    if claimed.any():
        labels = property_labels(parts[test], name)
        inside = (low <= labels) & (labels <= high)
        found["coverage_90"] = float(inside[claimed].mean())
    return found


def _p_values(
    rows: Sequence[LabelledStructure],
    parts: Parts,
    reference: Mapping[str, NDArray[Any]],
) -> NDArray[np.float64]:
    """Return the OOD p-values of rows of a property."""
    from mftscreen.ood.reference.measure import measure_novelty
    from mftscreen.ood.reference.reference_set import open_reference

    symbols = {symbol for s in parts["train"] for symbol in s.atoms.symbols}
    opened = open_reference(reference, symbols)
    return usable_p_values(measure_novelty((s.atoms for s in rows), opened))
