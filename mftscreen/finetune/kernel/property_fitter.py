"""Kernel read-outs for the properties of a task."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mftscreen.data.dataset import LabelledStructure
from mftscreen.errors import DataError
from mftscreen.finetune.kernel.descriptors import PooledDescriptors
from mftscreen.finetune.kernel.fit import Fitted, fit_readout
from mftscreen.finetune.kernel.groups import SubstanceKeys, draw_folds, group_numbers
from mftscreen.finetune.kernel.rows import PooledRows
from mftscreen.finetune.kernel.search import Metric
from mftscreen.finetune.outcome.scores import target_labels
from mftscreen.finetune.task.task import Task
from mftscreen.finetune.task.training_data import are_new
from mftscreen.head_forms import HeadForm
from mftscreen.model.network.side_by_side import Network
from mftscreen.model.readouts.kernel import KernelReadout

__all__ = ["PropertyFitter"]

N_FOLDS = 5


class PropertyFitter:
    """What fits kernel read-outs to the properties of a task, on one descriptor.

    Parameters
    ----------
    task : Task
    network : DeepmdNetwork or SideBySide
        Whose descriptor is read.
    progress : bool, default False
        Whether to show progress on stderr.

    Attributes
    ----------
    descriptors : PooledDescriptors
        Of the network.
    """

    def __init__(self, task: Task, network: Network, *, progress: bool = False) -> None:
        self._task = task
        # those of a network that was trained will not be asked for in another run
        keep = not task.config.plan.trains
        self.descriptors = PooledDescriptors(network, keep=keep, progress=progress)

    def fit(self, target: str) -> Fitted:
        """Fit a kernel to a property, or to all components of one.

        Without validation rows, all rows are held out in turn, as
        :func:`mftscreen.finetune.kernel.groups.group_numbers` divides them, and in
        other folds than those that settings are chosen in. With them, the validation
        rows are what settings are chosen on, and are not fitted: a descriptor that was
        trained on the labels of the others would flatter these. Validation rows that
        repeat training rows choose nothing, unless all do.

        Parameters
        ----------
        target : str
            By the name of its labels.

        Returns
        -------
        Fitted
            Rows are the training rows, then the validation rows.

        Raises
        ------
        DataError
            If there are fewer than two rows.
        """
        parts, plan = self._task.heads[target], self._task.config.plan
        train, validation = parts["train"], parts["validation"]
        rows = [*train, *validation]
        if len(rows) < 2:
            msg = f"a kernel needs at least two rows with a label of {target!r}"
            raise DataError(msg)
        settings = plan.properties[target]
        metric: Metric = "rmse" if settings.loss == "mse" else "mae"
        if settings.kind == "class":
            metric = "log_loss"
        other_folds = new = None
        if validation:
            folds = np.repeat([-1, 0], [len(train), len(validation)])
            found = are_new(rows, train)
            new = found if found.any() else None
        else:
            groups = group_numbers(self._keys_of(target))
            folds, other_folds = (
                draw_folds(groups, N_FOLDS, seed) for seed in (plan.seed, plan.seed + 1)
            )
        form = plan.properties[target].form
        return fit_readout(
            PooledRows(
                self.descriptors(rows),
                target_labels(rows, target),
                [row.atoms for row in rows],
                folds,
                by_size=form.molecular,
            ),
            metric,
            per_atom=_per_atom(form),
            linear=not form.intensive,
            other_folds=other_folds,
            new=new,
        )

    def predict(
        self, readout: KernelReadout, rows: Sequence[LabelledStructure]
    ) -> NDArray[np.float64]:
        """Return what a read-out predicts (n_rows, n_components), in its unit."""
        return readout.predict(self.descriptors(rows), [row.atoms for row in rows])

    def _keys_of(self, target: str) -> SubstanceKeys:
        """Return the keys of the training rows that have a label of a property."""
        rows = self._task.data.rows["train"]
        labelled = [k for k, row in enumerate(rows) if target in row.labels]
        return self._keys.take(labelled)

    @cached_property
    def _keys(self) -> SubstanceKeys:
        return SubstanceKeys.of(self._task.data.rows["train"])


def _per_atom(form: HeadForm) -> Sequence[bool]:
    """Return whether the share of an atom may be, or has to be, what is fitted."""
    if form.molecular:
        return (False, True)
    return (not form.intensive,)
