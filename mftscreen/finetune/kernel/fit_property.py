"""Kernel read-outs for the properties of a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mftscreen.finetune.kernel.descriptors import pooled_descriptors
from mftscreen.finetune.kernel.fit import Fitted, fit_readout
from mftscreen.finetune.kernel.search import PooledRows, fold_numbers
from mftscreen.finetune.outcome.scores import property_labels
from mftscreen.finetune.task.task import Task
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.properties import PropertySpec

__all__ = ["fit_property", "pooled_descriptors", "with_all_rows"]

N_FOLDS = 5


def with_all_rows(task: Task) -> Task:
    """Return a task whose validation rows are training rows.

    For a descriptor that no label has changed: cross-validation then says of each row
    what a validation row would.

    Parameters
    ----------
    task : Task
    """
    rows = dict(task.data.rows)
    rows["train"] = [*rows["train"], *rows["validation"]]
    rows["validation"] = []
    return replace(task, data=replace(task.data, rows=rows))


def fit_property(
    task: Task, name: str, network: DeepmdNetwork, *, progress: bool = False
) -> Fitted:
    """Fit a kernel read-out to a property.

    Parameters
    ----------
    task : Task
        Without validation rows, all rows are held out in turn, those of one reduced
        formula together. With them, they are what settings are chosen on: a descriptor
        that was trained on the labels of the others would flatter these.
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
    structures = [row.atoms for row in rows]
    if validation:
        folds = np.repeat([-1, 0], [len(train), len(validation)])
    else:
        hashes = [row.hash for row in rows]
        folds = fold_numbers(structures, hashes, N_FOLDS, plan.seed)
    pooled = pooled_descriptors(network, rows, progress=progress)
    labels = property_labels(rows, name)
    return fit_readout(
        PooledRows(pooled, labels, structures, folds),
        "rmse" if plan.properties[name].loss == "mse" else "mae",
        per_atom=_per_atom(task.specs[name]),
    )


def _per_atom(spec: PropertySpec) -> Sequence[bool]:
    """Return whether the share of an atom may be, or has to be, what is fitted."""
    if spec.form.molecular:
        return (False, True)
    return (not spec.intensive,)
