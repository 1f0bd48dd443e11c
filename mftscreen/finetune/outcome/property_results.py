"""What a trained model says of each property: read-outs, errors, reference sets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from mftscreen.domain import HeadDomain
from mftscreen.finetune.config.property_config import PropertyConfig
from mftscreen.finetune.kernel.property_fitter import PropertyFitter
from mftscreen.finetune.outcome.calibration import (
    build_reference_sets,
    measure_coverage,
)
from mftscreen.finetune.outcome.predictions import Prediction, list_predictions
from mftscreen.finetune.outcome.readouts import PropertyOutcome, read_out
from mftscreen.finetune.outcome.region import TrainedRegion, build_regions
from mftscreen.finetune.outcome.scores import property_labels, property_metrics
from mftscreen.finetune.task.task import Task
from mftscreen.finetune.task.training_data import Parts, data_hash
from mftscreen.model.files.bundle import PropertyHead
from mftscreen.model.network.side_by_side import Network
from mftscreen.ood.reference.reference_set import pack_references
from mftscreen.properties import Bias, PropertySpec
from mftscreen.trust.intervals import Scale
from mftscreen.trust.neighborhood import pack_neighborhoods

__all__ = ["PropertyResults", "evaluate_properties", "list_elements"]

N_TARGETS = 5000
"""Labels in a model file, for histograms: evenly spread quantiles, or all."""

_Arrays = dict[str, NDArray[Any]]


class PropertyResults(NamedTuple):
    """What a model file holds of properties.

    Attributes
    ----------
    cards : dict of str to PropertyHead
    references, calibration, readouts, neighborhoods : dict of str to ndarray
        As :func:`mftscreen.model.files.bundle.write_bundle` takes them.
    predictions : list of Prediction
        Of rows that were not trained on.
    """

    cards: dict[str, PropertyHead]
    references: _Arrays
    calibration: _Arrays
    readouts: _Arrays
    neighborhoods: _Arrays
    predictions: list[Prediction]


def evaluate_properties(
    task: Task, network: Network, *, progress: bool = False
) -> PropertyResults:
    """Read out the properties of a network and measure their errors.

    Parameters
    ----------
    task : Task
    network : DeepmdNetwork or SideBySide
        Trained, or pretrained where only kernels are fitted.
    progress : bool, default False
        Whether to show the progress of kernel read-outs on stderr.

    Returns
    -------
    PropertyResults
    """
    fitter = PropertyFitter(task, network, progress=progress)
    cards = {}
    calibration: _Arrays = {}
    readouts: _Arrays = {}
    references = build_reference_sets(task)
    regions = build_regions(task, fitter.descriptors)
    scales: dict[TrainedRegion, list[tuple[PropertySpec, Scale]]] = {}
    predictions: list[Prediction] = []
    for target, specs in task.by_target.items():
        split, region = task.heads[target], regions[target]
        outcomes = read_out(task, target, network, references[target], region, fitter)
        for spec in specs:
            name, outcome = spec.name, outcomes[spec.name]
            scales.setdefault(region, []).append((spec, outcome.calibration.scale))
            if outcome.kernel is not None:
                readouts |= outcome.kernel.to_arrays(target)
            calibration |= outcome.calibration.to_arrays(name)
            labels = property_labels(split["train"], spec)
            levels = np.linspace(0, 1, min(len(labels), N_TARGETS))
            calibration[f"{name}/training_targets"] = np.quantile(
                labels, levels, method="nearest"
            ).astype(np.float32)
            cards[name] = _property_card(task.config, spec, split, outcome)
            predictions += list_predictions(spec, outcome.predicted)
    named = {name: references[spec.target] for name, spec in task.specs.items()}
    return PropertyResults(
        cards,
        pack_references({name: each.arrays for name, each in named.items()}),
        calibration,
        readouts,
        pack_neighborhoods([r.neighborhood(s) for r, s in scales.items()]),
        predictions,
    )


def list_elements(structures: Sequence[Atoms]) -> list[str]:
    """Return the chemical symbols of structures, by atomic number."""
    symbols = {symbol for atoms in structures for symbol in atoms.symbols}
    return sorted(symbols, key=lambda symbol: atomic_numbers[symbol])


def _property_card(
    config: Any,
    spec: PropertySpec,
    split: Parts,
    outcome: PropertyOutcome,
) -> PropertyHead:
    labels = property_labels(split["train"], spec)
    metrics = {}
    for test, (rows, values) in outcome.predicted.items():
        target = property_labels(rows, spec)
        errors = property_metrics(spec, values, target, labels)
        # JSON has no NaN: R2 and Spearman of a single target
        metrics[test] = {k: v for k, v in errors.items() if math.isfinite(v)}
        if (
            test != "validation" and not spec.is_class
        ):  # which the intervals are made of
            metrics[test] |= measure_coverage(
                spec, split, test, values, outcome.calibration, outcome.around
            )
    structures = [s.atoms for s in split["train"]]
    return PropertyHead(
        spec=outcome.spec,
        head=spec.target if outcome.neural else None,
        readout=None if outcome.kernel is None else outcome.kernel.card,
        bias=_bias(config.properties[spec.target]) if outcome.neural else None,
        elements=list_elements(structures),
        domain=HeadDomain.of(structures),
        n_train=len(labels),
        train_range=(float(labels.min()), float(labels.max())),
        training_set=config.data.description
        or ", ".join(path.name for path in config.data.train),
        training_hash=data_hash(split["train"], [spec.target]),
        n_calibration=outcome.calibration.n_usable(),
        metrics=metrics,
    )


def _bias(settings: PropertyConfig) -> Bias:
    """Return which biases the head of a property has."""
    return "global" if settings.kind == "class" else settings.bias
