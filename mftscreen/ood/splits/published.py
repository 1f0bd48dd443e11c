"""The published out-of-distribution folds of MatBench tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mftscreen.data.readers import DAMAGED, open_text
from mftscreen.errors import DataError
from mftscreen.ood.splits.split import Fold, Split
from mftscreen.ood.splits.split_rows import SplitData

__all__ = ["OMEE_METHODS", "read_omee"]

OMEE_METHODS = {
    "loco": "LOCO",
    "sparse_x_single": "SparseXsingle",
    "sparse_x_cluster": "SparseXcluster",
    "sparse_y_single": "SparseYsingle",
    "sparse_y_cluster": "SparseYcluster",
}
"""Our name to the one in the file."""


def read_omee(path: Path, task: str, method: str, data: SplitData) -> Split:
    """Return a published split of a MatBench task.

    Parameters
    ----------
    path : Path
        JSON (also ``.gz``, ``.xz``): task -> method -> folds ``{cluster, test, val}``
        of row numbers. All other rows train.
    task : str
        ``matbench_dielectric``, ``matbench_log_gvrh`` or ``matbench_perovskites``.
    method : str
        A key of :data:`OMEE_METHODS`.
    data : SplitData
        All rows of the task, in MatBench's order.

    Returns
    -------
    Split
        Its folds are named after the clusters.

    Raises
    ------
    DataError
        If the file cannot be read, has no such task or method, or its folds are of
        another number of rows.

    Notes
    -----
    The ``sparse_y`` folds are not sparse in the target: see
    :func:`mftscreen.ood.splits.sparse_y_single`.

    References
    ----------
    S. S. Omee, N. Fu, R. Dong, M. Hu and J. Hu, npj Comput. Mater. 10, 144 (2024),
    doi:10.1038/s41524-024-01316-4
    """
    tasks = _load(path)
    published = OMEE_METHODS.get(method, method)
    if task not in tasks or published not in tasks[task]:
        known = ", ".join(sorted(tasks))
        msg = f"no {published} folds of {task!r}; there are folds of {known}"
        raise DataError(msg, path=path)
    try:
        n_rows = 1 + max(
            row
            for folds in tasks[task].values()
            for fold in folds
            for row in (*fold["test"], *fold["val"])
        )
        if n_rows != len(data):
            msg = f"the folds of {task} are of {n_rows} rows, the data have {len(data)}"
            raise DataError(msg, path=path)
        folds = tuple(_fold(fold, data) for fold in tasks[task][published])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        msg = f"not a file of folds {{cluster, test, val}}: {error}"
        raise DataError(msg, path=path) from error
    return Split(
        method=method,
        parameters={"published": published, "task": task},
        seed=None,
        data_hash=data.hash,
        ids=tuple(data.ids),
        folds=folds,
        structures=data.structure_keys,
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        with open_text(path) as stream:
            tasks = json.load(stream)
    except (*DAMAGED, ValueError) as error:
        if isinstance(error, DataError):
            raise
        msg = f"cannot be read as JSON: {error}"
        raise DataError(msg, path=path) from error
    if not isinstance(tasks, dict):
        msg = f"expected folds by task, found a {type(tasks).__name__}"
        raise DataError(msg, path=path)
    return tasks


def _fold(fold: dict[str, Any], data: SplitData) -> Fold:
    test, val = fold["test"], fold["val"]
    held = {*test, *val}
    return Fold(
        str(fold["cluster"]),
        train=tuple(name for row, name in enumerate(data.ids) if row not in held),
        val=tuple(data.ids[row] for row in val),
        test=tuple(data.ids[row] for row in test),
    )
