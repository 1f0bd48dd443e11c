"""What predicts a property in the end, and how well it does on rows held out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mftscreen.data.dataset import LabelledStructure
from mftscreen.finetune.kernel.property_fitter import PropertyFitter
from mftscreen.finetune.outcome.calibration import (
    ReferenceSet,
    calibrate,
    calibrate_in_turn,
)
from mftscreen.finetune.outcome.scores import predict_property
from mftscreen.finetune.task.partition import in_order
from mftscreen.finetune.task.task import Task
from mftscreen.intervals import IntervalCalibration
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.model.readouts.kernel import KernelReadout

__all__ = ["PropertyOutcome", "read_out"]

FloatArray = NDArray[np.float64]
VALIDATION = "validation"

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PropertyOutcome:
    """A property's read-out and what it predicts.

    Attributes
    ----------
    predicted : mapping of str to (sequence of LabelledStructure, ndarray)
        Part to its rows and their predictions, in the unit of the property.
        ``validation``: rows that the read-out was not fitted to.
    calibration : IntervalCalibration
    neural : bool
        Whether the checkpoint has a head for it.
    kernel : KernelReadout or None
        What predicts it in place of the head.
    """

    predicted: Mapping[str, tuple[Sequence[LabelledStructure], FloatArray]]
    calibration: IntervalCalibration
    neural: bool = True
    kernel: KernelReadout | None = None


def read_out(
    task: Task,
    name: str,
    network: DeepmdNetwork,
    reference: ReferenceSet,
    fitter: PropertyFitter,
) -> PropertyOutcome:
    """Return what predicts a property: its neural head, a kernel, or the better one.

    Parameters
    ----------
    task : Task
    name : str
        Of the property.
    network : DeepmdNetwork
        The trained network, or the pretrained one.
    reference : ReferenceSet
        Of the property, from
        :func:`mftscreen.finetune.outcome.calibration.build_reference_sets`.
    fitter : PropertyFitter
        Of kernels, for the same task and network.

    Returns
    -------
    PropertyOutcome
    """
    wanted = task.config.plan.readout
    if wanted == "kernel":
        return _kernel(task, name, reference, fitter)
    neural = _neural(task, name, network, reference)
    if wanted == "neural":
        return neural
    kernel = _kernel(task, name, reference, fitter)
    squared = task.config.plan.properties[name].loss == "mse"
    errors = [_error(outcome, squared) for outcome in (neural, kernel)]
    log.info("%s: error %.4g by the neural head, %.4g by a kernel", name, *errors)
    return kernel if errors[1] < errors[0] else neural


def _error(outcome: PropertyOutcome, squared: bool) -> float:
    """Return the error of validation rows that are no repeated training rows."""
    residuals = outcome.calibration.residuals
    if not len(residuals):
        return float("inf")
    mean = np.square(residuals).mean() ** 0.5 if squared else np.abs(residuals).mean()
    return float(mean)


def _neural(
    task: Task, name: str, network: DeepmdNetwork, reference: ReferenceSet
) -> PropertyOutcome:
    split = task.heads[name]
    predicted = {
        part: (split[part], predict_property(network, task.specs[name], split[part]))
        for part in _held_out(split)
    }
    _, values = predicted[VALIDATION]
    return PropertyOutcome(predicted, calibrate(name, split, values, reference.arrays))


def _kernel(
    task: Task, name: str, reference: ReferenceSet, fitter: PropertyFitter
) -> PropertyOutcome:
    split = task.heads[name]
    readout, held_out = fitter.fit(name)
    if split[VALIDATION]:
        rows, values = split[VALIDATION], held_out[len(split["train"]) :]
        calibration = calibrate(name, split, values, reference.arrays)
    else:
        rows, values = split["train"], held_out
        calibration = calibrate_in_turn(name, rows, values, reference)
    tests = (part for part in _held_out(split) if part != VALIDATION)
    predicted = {
        VALIDATION: (rows, values),
        **{test: (split[test], fitter.predict(readout, split[test])) for test in tests},
    }
    trained = task.config.plan.trains
    return PropertyOutcome(predicted, calibration, trained, readout)


def _held_out(split: Mapping[str, Sequence[LabelledStructure]]) -> list[str]:
    # of several properties, one may have no label in a test
    return [part for part in in_order(split) if part != "train" and split[part]]
