"""What checkpoints are compared by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from ase import Atoms

from mftscreen.data.dataset import LabelledStructure
from mftscreen.diagnostics.drift import measure_drift
from mftscreen.diagnostics.sampling import take_evenly
from mftscreen.errors import DataError
from mftscreen.finetune.outcome.scores import (
    evaluate_force_field,
    predict_target,
    property_labels,
    property_metrics,
)
from mftscreen.finetune.task.task import Task
from mftscreen.metrics import BASELINES, main_error
from mftscreen.model.files.checkpoint import keep_main_head
from mftscreen.model.network.backend import DeepmdNetwork

__all__ = ["CRITERION", "DRIFT", "Validator", "sample", "validate"]

CRITERION, DRIFT = "criterion", "drift"
N_DRIFT_STRUCTURES, N_DRIFT_ATOMS = 25, 500
"""What the drift of every checkpoint is measured on: a fraction of a second."""
N_VALIDATED = 500
"""Force-field frames that checkpoints are compared on."""


def sample(structures: Sequence[LabelledStructure]) -> list[LabelledStructure]:
    """Return at most ``N_VALIDATED`` structures, evenly spread."""
    return take_evenly(structures, N_VALIDATED)


class Validator:
    """Validation of a run's checkpoints, and how far they have drifted.

    Parameters
    ----------
    task : Task
    """

    def __init__(self, task: Task) -> None:
        self.task = task

    def __call__(self, checkpoint: Path) -> dict[str, float]:
        """Return what :func:`validate` does and, if weights were taken over, ``drift``.

        That is the 1-Wasserstein distance of the descriptors of some atoms of the
        training set from the pretrained ones (Eq. 15 of arXiv:2601.08486).
        """
        network = DeepmdNetwork.from_checkpoint(checkpoint)
        errors = validate(self.task, network)
        if self._pretrained is None or not math.isfinite(errors[CRITERION]):
            return errors
        found = measure_drift(
            self._pretrained, {DRIFT: network}, self._structures, N_DRIFT_ATOMS
        )
        return {**errors, DRIFT: found[DRIFT].w1}

    @cached_property
    def _pretrained(self) -> DeepmdNetwork | None:
        if self.task.state is None or not self.task.config.plan.transfers:
            return None
        return DeepmdNetwork(keep_main_head(self.task.state))

    @cached_property
    def _structures(self) -> list[Atoms]:
        rows = self.task.heads[next(iter(self.task.by_target))]["train"]
        return [s.atoms for s in take_evenly(rows, N_DRIFT_STRUCTURES)]


def validate(task: Task, network: DeepmdNetwork) -> dict[str, float]:
    """Return the validation errors of a checkpoint.

    Parameters
    ----------
    task : Task
    network : DeepmdNetwork

    Returns
    -------
    dict of str to float
        ``<property>/<metric>`` for every property or ``<head>/<metric>`` for a force
        field, and ``criterion``, which is smaller the better and infinite if a
        prediction is not finite.

    Notes
    -----
    The criterion is the MAE of a property over that of predicting the mean of its
    training labels, of a class the log loss over that of predicting their share,
    averaged over the properties, so that a unit has no weight. For a pretraining it is
    the force MAE of the energy head over that of predicting no force.
    """
    errors: dict[str, dict[str, float]] = {}
    shares = []
    try:
        head = task.config.plan.energy_head
        if head is not None and not task.specs:
            part = sample(task.heads[head]["validation"])
            errors[head] = evaluate_force_field(network, head, part)
            shares = [_share(errors[head]["force_mae"], errors[head]["force_mae_zero"])]
        else:
            for target, specs in task.by_target.items():
                split = task.heads[target]
                numbers = predict_target(network, specs, split["validation"])
                for spec in specs:
                    labels = property_labels(split["validation"], spec)
                    learned = property_labels(split["train"], spec)
                    found = property_metrics(spec, spec.read(numbers), labels, learned)
                    # the norm is made of the others
                    if not spec.is_norm:
                        key = main_error(found)
                        shares.append(_share(found[key], found[BASELINES[key]]))
                    errors[spec.name] = found
    except DataError:  # a prediction is not finite: the run had diverged by then
        return {CRITERION: math.inf}
    flat = {f"{h}/{k}": v for h, metrics in errors.items() for k, v in metrics.items()}
    return {CRITERION: float(np.mean(shares)), **flat}


def _share(error: float, baseline: float) -> float:
    """Return an error in units of the baseline's, or as it is if that is perfect."""
    return error / baseline if baseline else error
