"""Where rows lie among the training rows of properties."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from mftscreen.data.dataset import LabelledStructure
from mftscreen.finetune.kernel.descriptors import PooledDescriptors
from mftscreen.finetune.outcome.scores import property_labels
from mftscreen.finetune.task.task import Task
from mftscreen.properties import PropertySpec
from mftscreen.transforms import Transform
from mftscreen.trust.intervals import Scale
from mftscreen.trust.neighborhood import (
    Neighborhood,
    Space,
    Surroundings,
    draw_rows,
    measure_held_out,
)

__all__ = ["TrainedRegion", "build_regions"]


class TrainedRegion:
    """Training rows in the space of a network's descriptor.

    Parameters
    ----------
    rows : sequence of LabelledStructure
        All training rows; of many, some are drawn.
    descriptors : PooledDescriptors
    """

    def __init__(
        self, rows: Sequence[LabelledStructure], descriptors: PooledDescriptors
    ) -> None:
        self._descriptors = descriptors
        self._drawn = [rows[k] for k in draw_rows(len(rows)).tolist()]
        self._pooled = descriptors(self._drawn)
        self._space = Space.of(self._pooled)

    def neighborhood(
        self, scales: Iterable[tuple[PropertySpec, Scale]]
    ) -> Neighborhood:
        """Return what a model file holds of them.

        Parameters
        ----------
        scales : iterable of (PropertySpec, str)
            Property and the scale in which its errors are estimated.
        """
        labels = {
            spec.name: _scaled(self._drawn, spec, scale) for spec, scale in scales
        }
        return Neighborhood.of(self._space, self._pooled, labels)

    def measure(
        self, spec: PropertySpec, scale: Scale, rows: Sequence[LabelledStructure]
    ) -> Surroundings:
        """Return what is around other rows, with arrays of shape (n_rows,)."""
        if not rows:
            return Surroundings(np.empty(0), np.empty(0))
        own = self.neighborhood([(spec, scale)])
        return own.measure(self._descriptors(rows))[spec.name]

    def measure_in_turn(
        self,
        spec: PropertySpec,
        scale: Scale,
        rows: Sequence[LabelledStructure],
        folds: NDArray[np.int64],
    ) -> Surroundings:
        """Return what is around all training rows, without those of their own fold."""
        pooled, labels = self._descriptors(rows), _scaled(rows, spec, scale)
        return measure_held_out(self._space, pooled, labels, folds)


def build_regions(
    task: Task, descriptors: PooledDescriptors
) -> dict[str, TrainedRegion]:
    """Return the region of each target; those of the same rows have the same object.

    Parameters
    ----------
    task : Task
    descriptors : PooledDescriptors
    """
    regions: dict[str, TrainedRegion] = {}
    for names in task.data.shared:
        region = TrainedRegion(task.heads[names[0]]["train"], descriptors)
        regions |= dict.fromkeys(names, region)
    return regions


def _scaled(
    rows: Sequence[LabelledStructure], spec: PropertySpec, scale: Scale
) -> NDArray[np.float64]:
    labels = property_labels(rows, spec)
    return labels if scale == "none" else Transform(kind=scale).apply(labels)
