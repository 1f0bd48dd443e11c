"""Kernel read-outs for the properties of a task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mftscreen.finetune.kernel.descriptors import pooled_descriptors
from mftscreen.finetune.kernel.fit import Fitted, fit_readout
from mftscreen.finetune.kernel.groups import fold_numbers
from mftscreen.finetune.kernel.search import PooledRows
from mftscreen.finetune.outcome.scores import property_labels
from mftscreen.finetune.task.task import Task
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.properties import PropertySpec

__all__ = ["fit_property"]

N_FOLDS = 5


def fit_property(
    task: Task, name: str, network: DeepmdNetwork, *, progress: bool = False
) -> Fitted:
    """Fit a kernel read-out to a property.

    Parameters
    ----------
    task : Task
        Without validation rows, all rows are held out in turn, as
        :func:`mftscreen.finetune.kernel.groups.fold_numbers` divides them, and in other
        folds than those that settings are chosen in. With them, the validation rows are
        what settings are chosen on, and are not fitted: a descriptor that was trained
        on the labels of the others would flatter these.
    name : str
        Of the property.
    network : DeepmdNetwork
        Whose descriptor is read.
    progress : bool, default False
        Whether to show progress on stderr.

    Returns
    -------
    Fitted
        Rows are the training rows, then the validation rows.
    """
    train, validation = (task.heads[name][part] for part in ("train", "validation"))
    rows, plan = [*train, *validation], task.config.plan
    other_folds = None
    if validation:
        folds = np.repeat([-1, 0], [len(train), len(validation)])
    else:
        folds, other_folds = (
            fold_numbers(rows, N_FOLDS, seed) for seed in (plan.seed, plan.seed + 1)
        )
    return fit_readout(
        PooledRows(
            # those of a network that was trained will not be asked for again
            pooled_descriptors(network, rows, keep=not plan.trains, progress=progress),
            property_labels(rows, name),
            [row.atoms for row in rows],
            folds,
        ),
        "rmse" if plan.properties[name].loss == "mse" else "mae",
        per_atom=_per_atom(task.specs[name]),
        other_folds=other_folds,
    )


def _per_atom(spec: PropertySpec) -> Sequence[bool]:
    """Return whether the share of an atom may be, or has to be, what is fitted."""
    if spec.form.molecular:
        return (False, True)
    return (not spec.intensive,)
