"""Errors of a checkpoint on labelled structures, by our own batched evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mftscreen.data.dataset import LabelledStructure
from mftscreen.metrics import (
    BASELINES,
    classification_metrics,
    main_error,
    regression_metrics,
)
from mftscreen.model.network.many import evaluate_checked
from mftscreen.model.network.side_by_side import Network
from mftscreen.properties import PropertySpec, undo_transforms

__all__ = [
    "evaluate_force_field",
    "predict_target",
    "property_labels",
    "property_metrics",
    "target_labels",
]

FloatArray = NDArray[np.float64]


def predict_target(
    network: Network,
    specs: Sequence[PropertySpec],
    structures: Sequence[LabelledStructure],
) -> FloatArray:
    """Return what the head of a target predicts.

    Parameters
    ----------
    network : DeepmdNetwork or SideBySide
        With a head of the target's name.
    specs : sequence of PropertySpec
        All properties of the target; see :func:`mftscreen.properties.undo_transforms`.
    structures : sequence of LabelledStructure

    Returns
    -------
    ndarray of shape (n_structures, n_components)
        In the order of `structures` and in the property's unit.
    """
    target, outputs = specs[0].target, [np.empty(0)] * len(structures)
    evaluate = partial(network.evaluate, property_heads=[target])
    for k, result in evaluate_checked(evaluate, [s.atoms for s in structures]):
        outputs[k] = result.heads[target]
    return undo_transforms(specs, np.array(outputs))


def target_labels(structures: Sequence[LabelledStructure], target: str) -> FloatArray:
    """Return the labels (n_structures, n_components) of a target, in its unit."""
    return np.array([np.atleast_1d(s.labels[target]) for s in structures])


def property_labels(
    structures: Sequence[LabelledStructure], spec: PropertySpec
) -> FloatArray:
    """Return the labels (n_structures,) of a property, in its unit."""
    if not structures:
        return np.empty(0)
    return spec.read(target_labels(structures, spec.target))


def property_metrics(
    spec: PropertySpec, predicted: FloatArray, labels: FloatArray, learned: FloatArray
) -> dict[str, float]:
    """Return the errors of predictions, and that of a constant.

    Parameters
    ----------
    spec : PropertySpec
    predicted, labels : ndarray of shape (n_structures,)
        In the unit of the property.
    learned : ndarray of shape (n_train,)
        Training labels: the constant is their mean.

    Returns
    -------
    dict of str to float
        See :func:`mftscreen.metrics.regression_metrics`, of a class
        :func:`mftscreen.metrics.classification_metrics`; and
        :data:`mftscreen.metrics.BASELINES`.
    """
    if spec.is_class:
        found = classification_metrics(predicted, labels)
        share = np.full(len(labels), learned.mean())
        constant = classification_metrics(share, labels)["log_loss"]
    else:
        found = regression_metrics(predicted, labels)
        constant = float(np.abs(labels - learned.mean()).mean())
    return {**found, BASELINES[main_error(found)]: constant}


def evaluate_force_field(
    network: Network, head: str, structures: Sequence[LabelledStructure]
) -> dict[str, float]:
    """Return the errors of a force-field head.

    Parameters
    ----------
    network : DeepmdNetwork or SideBySide
    head : str
    structures : sequence of LabelledStructure
        With ``energy`` and ``force`` labels.

    Returns
    -------
    dict of str to float
        ``n``; ``energy_mae`` in eV/atom; ``force_mae`` per component in eV/Å;
        ``force_slope``, the least-squares slope through the origin of predicted over
        labelled force components (1 without softening); ``force_mae_zero``, the MAE
        of predicting no forces; ``stress_mae`` in eV/Å^3 where there are labels.
    """
    energies, stresses = [], []
    predicted, target = [], []
    evaluate = partial(network.evaluate, energy_head=head)
    for k, result in evaluate_checked(evaluate, [s.atoms for s in structures]):
        assert result.energy is not None
        assert result.forces is not None
        assert result.virial is not None
        item = structures[k]
        error = result.energy - float(item.labels["energy"])
        energies.append(abs(error) / len(item.atoms))
        predicted.append(result.forces.ravel())
        target.append(item.labels["force"].ravel())
        if "virial" in item.labels:
            difference = result.virial - item.labels["virial"].reshape(3, 3)
            stresses.append(np.abs(difference).mean() / item.atoms.get_volume())
    p, t = np.concatenate(predicted), np.concatenate(target)
    metrics = {
        "n": float(len(energies)),
        "energy_mae": float(np.mean(energies)),
        "force_mae": float(np.abs(p - t).mean()),
        "force_mae_zero": float(np.abs(t).mean()),
        "force_slope": float(p @ t / (t @ t)) if t.any() else float("nan"),
    }
    if stresses:
        metrics["stress_mae"] = float(np.mean(stresses))
    return metrics
