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
from mftscreen.finetune.outcome.scores import predict_target, property_labels
from mftscreen.finetune.task.partition import in_order
from mftscreen.finetune.task.task import Task
from mftscreen.finetune.task.training_data import Parts, are_new
from mftscreen.model.network.side_by_side import Network
from mftscreen.model.readouts.kernel import KernelReadout
from mftscreen.properties import PropertySpec
from mftscreen.transforms import Transform
from mftscreen.trust.intervals import IntervalCalibration, Scale
from mftscreen.trust.platt import (
    FEWEST,
    calibrate_held_out,
    can_calibrate,
    logits,
)

__all__ = ["PropertyOutcome", "read_out"]

FloatArray = NDArray[np.float64]
VALIDATION = "validation"

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PropertyOutcome:
    """A property's read-out and what it predicts.

    Attributes
    ----------
    spec : PropertySpec
        Of a class with what makes calibrated probabilities of a head's outputs.
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

    spec: PropertySpec
    predicted: Mapping[str, tuple[Sequence[LabelledStructure], FloatArray]]
    calibration: IntervalCalibration
    around: Around
    neural: bool = True
    kernel: KernelReadout | None = None


def read_out(
    task: Task,
    target: str,
    network: Network,
    reference: ReferenceSet,
    region: TrainedRegion,
    fitter: PropertyFitter,
) -> dict[str, PropertyOutcome]:
    """Return what predicts a target: its neural head, a kernel, or the better one.

    Parameters
    ----------
    task : Task
    target : str
        A property, or one with several components.
    network : DeepmdNetwork or SideBySide
        The trained network, or the pretrained one.
    reference : ReferenceSet
        Of the target, from
        :func:`mftscreen.finetune.outcome.calibration.build_reference_sets`.
    region : TrainedRegion
        Of the target, in the descriptor of the network.
    fitter : PropertyFitter
        Of kernels, for the same task and network.

    Returns
    -------
    dict of str to PropertyOutcome
        For each property of the target.
    """
    wanted = task.config.plan.readout
    if wanted == "kernel":
        return _kernel(task, target, reference, region, fitter)
    neural = _neural(task, target, network, reference, region)
    if wanted == "neural":
        return neural
    kernel = _kernel(task, target, reference, region, fitter)
    settings = task.config.plan.properties[target]
    # of a class: the Brier score
    squared = settings.loss == "mse" or settings.kind == "class"
    errors = {
        name: [_error(outcomes[name], squared) for outcomes in (neural, kernel)]
        for name in neural
    }
    for name, pair in errors.items():
        log.info("%s: error %.4g by the neural head, %.4g by a kernel", name, *pair)
    components = [s.name for s in task.by_target[target] if not s.is_norm]
    # of several numbers, on average over them
    ratios = [_ratio(*reversed(errors[name])) for name in components]
    return kernel if np.mean(ratios) < 1.0 else neural


def _ratio(one: float, other: float) -> float:
    """Return the ratio of two errors, infinite if the first is, for want of rows."""
    return one / (other or np.finfo(float).tiny) if np.isfinite(one) else np.inf


def _error(outcome: PropertyOutcome, squared: bool) -> float:
    """Return the error of validation rows that are no repeated training rows."""
    residuals = outcome.calibration.residuals
    if not len(residuals):
        return float("inf")
    mean = np.square(residuals).mean() ** 0.5 if squared else np.abs(residuals).mean()
    return float(mean)


def _neural(
    task: Task,
    target: str,
    network: Network,
    reference: ReferenceSet,
    region: TrainedRegion,
) -> dict[str, PropertyOutcome]:
    split, specs = task.heads[target], task.by_target[target]
    numbers = {
        part: predict_target(network, specs, split[part]) for part in _held_out(split)
    }
    if specs[0].is_class:
        specs = [_calibrated(specs[0], split, numbers)]
    outcomes = {}
    for spec in specs:
        predicted = {
            part: (split[part], spec.read(found)) for part, found in numbers.items()
        }
        _, values = predicted[VALIDATION]
        around = Around(reference, region, _scale_of(spec.transform))
        calibration = calibrate(spec, split, values, around)
        outcomes[spec.name] = PropertyOutcome(spec, predicted, calibration, around)
    return outcomes


def _calibrated(
    spec: PropertySpec, split: Parts, numbers: dict[str, FloatArray]
) -> PropertySpec:
    """Calibrate probabilities on the validation rows, and return how.

    Those of the validation rows are calibrated on others of them, since errors are
    measured on them.
    """
    rows = split[VALIDATION]
    labels = property_labels(rows, spec)
    new = are_new(rows, split["train"])
    if not can_calibrate(labels[new]):
        log.warning(
            "%s: probabilities are as the head gives them: a calibration needs %d "
            "validation rows of yes and of no",
            spec.name,
            FEWEST,
        )
        return spec
    before = spec.transform
    outputs = {part: logits(p[:, 0]) for part, p in numbers.items()}
    found, own = calibrate_held_out(outputs[VALIDATION], labels, new)
    for part, values in outputs.items():
        numbers[part] = found.undo(values)[:, None]
    numbers[VALIDATION] = own[:, None]
    whole = Transform(
        kind="logistic",
        mean=found.std * before.mean + found.mean,
        std=found.std * before.std,
    )
    return spec.model_copy(update={"transform": whole})


def _kernel(
    task: Task,
    target: str,
    reference: ReferenceSet,
    region: TrainedRegion,
    fitter: PropertyFitter,
) -> dict[str, PropertyOutcome]:
    split = task.heads[target]
    readout, held_out, folds = fitter.fit(target)
    around = Around(reference, region, _scale_of(readout.card.transform))
    tests = {
        part: fitter.predict(readout, split[part])
        for part in _held_out(split)
        if part != VALIDATION
    }
    trained = task.config.plan.trains
    outcomes = {}
    for spec in task.by_target[target]:
        values = spec.read(held_out)
        if split[VALIDATION]:
            rows, values = split[VALIDATION], values[len(split["train"]) :]
            calibration = calibrate(spec, split, values, around)
        else:
            rows = split["train"]
            calibration = calibrate_in_turn(spec, rows, values, folds, around)
        predicted = {
            VALIDATION: (rows, values),
            **{test: (split[test], spec.read(found)) for test, found in tests.items()},
        }
        outcomes[spec.name] = PropertyOutcome(
            spec, predicted, calibration, around, trained, readout
        )
    return outcomes


def _scale_of(transform: Transform) -> Scale:
    """Return the scale that errors are about the same in everywhere."""
    if transform.kind == "logistic":
        return "none"
    return "log10" if transform.kind == "log10" else "identity"


def _held_out(split: Mapping[str, Sequence[LabelledStructure]]) -> list[str]:
    # of several properties, one may have no label in a test
    return [part for part in in_order(split) if part != "train" and split[part]]
