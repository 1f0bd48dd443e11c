"""What a model file holds beside the weights: reference set, held-out residuals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import compress
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mftscreen.data.dataset import LabelledStructure
from mftscreen.finetune.outcome.region import TrainedRegion
from mftscreen.finetune.outcome.scores import property_labels
from mftscreen.finetune.task.task import Task
from mftscreen.finetune.task.training_data import Parts
from mftscreen.ood.reference.novelty import Novelty, flag, usable_p_values
from mftscreen.properties import PropertySpec
from mftscreen.trust.intervals import IntervalCalibration, Scale, is_within
from mftscreen.trust.neighborhood import Surroundings

__all__ = [
    "Around",
    "ReferenceSet",
    "build_reference_sets",
    "calibrate",
    "calibrate_in_turn",
    "measure_coverage",
]

COVERAGE, ALPHA = 0.9, 0.05


class ReferenceSet(NamedTuple):
    """The OFM reference set of a property's training rows.

    Attributes
    ----------
    arrays : mapping of str to ndarray
        For the model file; empty where rows have no orbital field matrices.
    positions : sequence of int
        Training rows that are in it, in its order: those without an equal before them.
    without : sequence of int
        Training rows without an orbital field matrix, and without an equal before them.
    """

    arrays: Mapping[str, NDArray[Any]]
    positions: Sequence[int]
    without: Sequence[int]


class Around(NamedTuple):
    """The training rows of a property, as others are compared with them.

    Attributes
    ----------
    reference : ReferenceSet
    region : TrainedRegion
    scale : {"identity", "log10", "none"}
        In which errors are estimated.
    """

    reference: ReferenceSet
    region: TrainedRegion
    scale: Scale


def build_reference_sets(task: Task) -> dict[str, ReferenceSet]:
    """Return the OFM reference set of each target's training rows.

    Parameters
    ----------
    task : Task

    Returns
    -------
    dict of str to ReferenceSet
        By target; targets of the same rows have the same object.
    """
    from mftscreen.ood.reference.reference_set import fit_reference

    sets: dict[str, ReferenceSet] = {}
    for names in task.data.shared:
        rows = task.heads[names[0]]["train"]
        # ids may be there twice, positions are not
        named = ((str(k), row.atoms) for k, row in enumerate(rows))
        reference, failures = fit_reference(named)
        arrays = reference.to_arrays()
        positions = [int(name) for name in arrays.get("ids", ())]
        if arrays:
            arrays["ids"] = np.array([rows[k].id for k in positions])
        failed = {rows[int(name)].hash: int(name) for name, _ in reversed(failures)}
        found = ReferenceSet(arrays, positions, sorted(failed.values()))
        sets |= dict.fromkeys(names, found)
    return sets


def calibrate(
    spec: PropertySpec,
    parts: Parts,
    predicted: NDArray[np.float64],
    around: Around,
) -> IntervalCalibration:
    """Return the residuals of the validation rows, without repeated training rows.

    They chose the checkpoint, so that it suits them slightly better than others.

    Parameters
    ----------
    spec : PropertySpec
    parts : Parts
    predicted : ndarray of shape (n_validation,)
        In the unit of the property.
    around : Around
        The training rows.

    Returns
    -------
    IntervalCalibration
    """
    trained_on = {row.hash for row in parts["train"]}
    new = [row.hash not in trained_on for row in parts["validation"]]
    rows, values = list(compress(parts["validation"], new)), predicted[new]
    return IntervalCalibration(
        residuals=property_labels(rows, spec) - values,
        predictions=values,
        p_values=usable_p_values(_novelties(rows, parts, around.reference)),
        around=around.region.measure(spec, around.scale, rows),
        ids=tuple(s.id for s in rows),
        scale=around.scale,
    )


def calibrate_in_turn(
    spec: PropertySpec,
    rows: Sequence[LabelledStructure],
    predicted: NDArray[np.float64],
    folds: NDArray[np.int64],
    around: Around,
) -> IntervalCalibration:
    """Return the residuals of training rows, each predicted without it.

    Parameters
    ----------
    spec : PropertySpec
    rows : sequence of LabelledStructure
        All training rows.
    predicted : ndarray of shape (n_rows,)
        By fits to other rows, in the unit of the property.
    folds : ndarray of shape (n_rows,)
        Rows of one number were not fitted together with any of them.
    around : Around
        The training rows.

    Returns
    -------
    IntervalCalibration
        P-values are those of rows of the reference set among the others. Rows that
        equal an earlier one are not in it, and are left out. Rows with an element that
        no other has, or without an orbital field matrix, get no p-value.
    """
    from mftscreen.ood.reference.reference_set import open_reference
    from mftscreen.trust.conformal import loo_p_values

    reference = around.reference
    detector = open_reference(reference.arrays).detector
    p_values = np.full(len(rows), np.nan)
    kept = list(range(len(rows)))
    if detector is not None:
        p_values[list(reference.positions)] = loo_p_values(detector.loo_scores_)
        kept = sorted([*reference.positions, *reference.without])
        elements = Counter(s for row in rows for s in set(row.atoms.symbols))
        alone = [any(elements[s] == 1 for s in set(r.atoms.symbols)) for r in rows]
        p_values[alone] = np.nan
    residuals = property_labels(rows, spec) - predicted
    places = around.region.measure_in_turn(spec, around.scale, rows, folds)
    return IntervalCalibration(
        residuals=residuals[kept],
        predictions=predicted[kept],
        p_values=p_values[kept],
        around=Surroundings(*(column[kept] for column in places)),
        ids=tuple(rows[k].id for k in kept),
        scale=around.scale,
    )


def measure_coverage(
    spec: PropertySpec,
    parts: Parts,
    test: str,
    predicted: NDArray[np.float64],
    calibration: IntervalCalibration,
    around: Around,
) -> dict[str, float]:
    """Return how many rows of a test have an interval, and how many lie within.

    Parameters
    ----------
    spec : PropertySpec
    parts : Parts
    test : str
        One of `parts`.
    predicted : ndarray of shape (n_rows,)
        Of that part, in the unit of the property.
    calibration : IntervalCalibration
    around : Around
        The training rows.

    Returns
    -------
    dict of str to float
        ``n_intervals``: rows that are not flagged as out of distribution and whose
        values, give or take the errors to expect, do not lie beyond the training
        labels; ``coverage_90``: the share of their labels that lies within the interval
        of 90 %, if there are such rows;
        ``error_spearman``: the rank correlation of the errors of all rows with those
        that were to be expected.
    """
    from scipy.stats import spearmanr

    rows, labels = parts[test], property_labels(parts[test], spec)
    places = around.region.measure(spec, around.scale, rows)
    low, high = calibration.interval(predicted, places, COVERAGE)
    own = calibration.descriptor_p_values(places.distance).tolist()
    facts = [
        replace(each, descriptor_p_value=p if isfinite(p) else None)
        for each, p in zip(_novelties(rows, parts, around.reference), own, strict=True)
    ]
    like = np.array([flag(each, ALPHA).ood is False for each in facts])
    learned = property_labels(parts["train"], spec)
    expected = calibration.expected_errors(predicted, places)
    within = is_within(predicted, expected, (learned.min(), learned.max()))
    claimed = np.isfinite(low) & within & like
    found = {"n_intervals": float(claimed.sum())}
    if np.isfinite(expected).all() and np.ptp(expected) > 0.0:
        rho = float(spearmanr(expected, np.abs(labels - predicted)).statistic)
        found |= {"error_spearman": rho} if isfinite(rho) else {}
    if claimed.any():
        inside = (low <= labels) & (labels <= high)
        found["coverage_90"] = float(inside[claimed].mean())
    return found


def _novelties(
    rows: Sequence[LabelledStructure], parts: Parts, reference: ReferenceSet
) -> list[Novelty]:
    """Return how rows of a property compare with its reference set."""
    from mftscreen.ood.reference.measure import measure_novelty
    from mftscreen.ood.reference.reference_set import open_reference

    symbols = {symbol for s in parts["train"] for symbol in s.atoms.symbols}
    opened = open_reference(reference.arrays, symbols)
    return list(measure_novelty((s.atoms for s in rows), opened))
