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
    Around,
    ReferenceSet,
    calibrate,
    calibrate_in_turn,
)
from mftscreen.finetune.outcome.region import TrainedRegion
from mftscreen.finetune.outcome.scores import predict_property
from mftscreen.finetune.task.partition import in_order
from mftscreen.finetune.task.task import Task
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.model.readouts.kernel import KernelReadout
from mftscreen.properties import Transform
from mftscreen.trust.intervals import IntervalCalibration, Scale

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
    around : Around
        The training rows.
    neural : bool
        Whether the checkpoint has a head for it.
    kernel : KernelReadout or None
        What predicts it in place of the head.
    """

    predicted: Mapping[str, tuple[Sequence[LabelledStructure], FloatArray]]
    calibration: IntervalCalibration
    around: Around
    neural: bool = True
    kernel: KernelReadout | None = None


def read_out(
    task: Task,
    name: str,
    network: DeepmdNetwork,
    reference: ReferenceSet,
    region: TrainedRegion,
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
    region : TrainedRegion
        Of the property, in the descriptor of the network.
    fitter : PropertyFitter
        Of kernels, for the same task and network.

    Returns
    -------
    PropertyOutcome
    """
    wanted = task.config.plan.readout
    if wanted == "kernel":
        return _kernel(task, name, reference, region, fitter)
    neural = _neural(task, name, network, reference, region)
    if wanted == "neural":
        return neural
    kernel = _kernel(task, name, reference, region, fitter)
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
    task: Task,
    name: str,
    network: DeepmdNetwork,
    reference: ReferenceSet,
    region: TrainedRegion,
) -> PropertyOutcome:
    split = task.heads[name]
    predicted = {
        part: (split[part], predict_property(network, task.specs[name], split[part]))
        for part in _held_out(split)
    }
    _, values = predicted[VALIDATION]
    around = Around(reference, region, _scale_of(task.specs[name].transform))
    calibration = calibrate(name, split, values, around)
    return PropertyOutcome(predicted, calibration, around)


def _kernel(
    task: Task,
    name: str,
    reference: ReferenceSet,
    region: TrainedRegion,
    fitter: PropertyFitter,
) -> PropertyOutcome:
    split = task.heads[name]
    readout, held_out, folds = fitter.fit(name)
    around = Around(reference, region, _scale_of(readout.card.transform))
    if split[VALIDATION]:
        rows, values = split[VALIDATION], held_out[len(split["train"]) :]
        calibration = calibrate(name, split, values, around)
    else:
        rows, values = split["train"], held_out
        calibration = calibrate_in_turn(name, rows, values, folds, around)
    tests = (part for part in _held_out(split) if part != VALIDATION)
    predicted = {
        VALIDATION: (rows, values),
        **{test: (split[test], fitter.predict(readout, split[test])) for test in tests},
    }
    trained = task.config.plan.trains
    return PropertyOutcome(predicted, calibration, around, trained, readout)


def _scale_of(transform: Transform) -> Scale:
    """Return the scale that errors are about the same in everywhere."""
    return "log10" if transform.kind == "log10" else "identity"


def _held_out(split: Mapping[str, Sequence[LabelledStructure]]) -> list[str]:
    # of several properties, one may have no label in a test
    return [part for part in in_order(split) if part != "train" and split[part]]
