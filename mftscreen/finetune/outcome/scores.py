"""Errors of a checkpoint on labelled structures, by our own batched evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mftscreen.data.dataset import LabelledStructure
from mftscreen.metrics import regression_metrics
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.model.network.many import evaluate_checked
from mftscreen.properties import PropertySpec

__all__ = [
    "evaluate_force_field",
    "evaluate_property",
    "predict_property",
    "property_labels",
]


def predict_property(
    network: DeepmdNetwork, spec: PropertySpec, structures: Sequence[LabelledStructure]
) -> NDArray[np.float64]:
    """Return what the head of a property predicts.

    Parameters
    ----------
    network : DeepmdNetwork
        With a head of the property's name.
    spec : PropertySpec
    structures : sequence of LabelledStructure

    Returns
    -------
    ndarray of shape (n_structures,)
        In the order of `structures` and in the property's unit.
    """
    outputs = np.empty(len(structures))
    evaluate = partial(network.evaluate, property_heads=[spec.name])
    for k, result in evaluate_checked(evaluate, [s.atoms for s in structures]):
        outputs[k] = result.heads[spec.name]
    return spec.transform.undo(outputs)


def property_labels(
    structures: Sequence[LabelledStructure], name: str
) -> NDArray[np.float64]:
    """Return the labels (n_structures,) of a property, in its unit."""
    return np.array([float(s.labels[name]) for s in structures])


def evaluate_property(
    network: DeepmdNetwork,
    spec: PropertySpec,
    structures: Sequence[LabelledStructure],
) -> dict[str, float]:
    """Return the errors of a property's head.

    Parameters
    ----------
    network : DeepmdNetwork
    spec : PropertySpec
    structures : sequence of LabelledStructure
        At least one, each with a label of the property.

    Returns
    -------
    dict of str to float
        See :func:`mftscreen.metrics.regression_metrics`; in the property's unit.
    """
    predicted = predict_property(network, spec, structures)
    return regression_metrics(predicted, property_labels(structures, spec.name))


def evaluate_force_field(
    network: DeepmdNetwork, head: str, structures: Sequence[LabelledStructure]
) -> dict[str, float]:
    """Return the errors of a force-field head.

    Parameters
    ----------
    network : DeepmdNetwork
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
