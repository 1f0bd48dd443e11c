"""What a model file holds beside the weights: reference set, held-out residuals."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mftscreen.finetune.evaluate import property_labels
from mftscreen.finetune.task import Split, Task
from mftscreen.intervals import IntervalCalibration, judged_p_values
from mftscreen.structures import structure_hash

__all__ = ["build_reference_set", "calibrate"]


def build_reference_set(task: Task) -> dict[str, NDArray[Any]]:
    """Return the arrays of the OFM reference set of all training structures.

    Parameters
    ----------
    task : Task

    Returns
    -------
    dict of str to ndarray
        Empty without properties. With several, a structure that has several labels is
        in it once.
    """
    from mftscreen.ood.reference import build_reference

    rows = {
        (s.id, structure_hash(s.atoms)): s
        for name in task.specs
        for s in task.heads[name]["train"]
    }
    if not rows:
        return {}
    return build_reference(
        [s.atoms for s in rows.values()], [s.id for s in rows.values()]
    )


def calibrate(
    name: str,
    split: Split,
    predicted: NDArray[np.float64],
    reference: Mapping[str, NDArray[Any]],
) -> IntervalCalibration:
    """Return the residuals of the validation rows, without repeated training rows.

    They chose the checkpoint, so that it suits them slightly better than others.

    Parameters
    ----------
    name : str
        Of the property.
    split : Split
    predicted : ndarray of shape (n_validation,)
        In the unit of the property.
    reference : mapping of str to ndarray
        From :func:`build_reference_set`.

    Returns
    -------
    IntervalCalibration
    """
    from mftscreen.ood.judgement import judge
    from mftscreen.ood.reference import open_reference

    trained_on = {structure_hash(s.atoms) for s in split["train"]}
    new = [structure_hash(s.atoms) not in trained_on for s in split["validation"]]
    rows, values = list(compress(split["validation"], new)), predicted[new]
    symbols = {symbol for s in split["train"] for symbol in s.atoms.symbols}
    # p-values do not depend on alpha
    opened = open_reference(reference, alpha=0.05, elements=symbols)
    return IntervalCalibration(
        residuals=property_labels(rows, name) - values,
        predictions=values,
        p_values=judged_p_values(judge((s.atoms for s in rows), opened)),
        ids=tuple(s.id for s in rows),
    )
