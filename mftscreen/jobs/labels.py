"""Labels and structures as scikit-learn is given them, as rows to train on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from mftscreen.data.memory import RowsInMemory, iter_memory
from mftscreen.data.readers import Row
from mftscreen.errors import DataError, MftscreenError
from mftscreen.properties import NORM, check_property_name

__all__ = ["component_names", "labelled_rows", "labels_of", "property_name_of"]


def property_name_of(y: Any) -> str:
    """Return a property's name after that of a column, or ``target``.

    Parameters
    ----------
    y : array-like

    Examples
    --------
    >>> property_name_of([1.0, 2.0])
    'target'
    """
    # that of a table is a column
    given = None if getattr(y, "ndim", 1) > 1 else getattr(y, "name", None)
    name = re.sub(r"\W+", "_", str(given or "")).strip("_")
    try:
        return check_property_name(name)
    except ValueError:
        return "target"


def labels_of(y: Any) -> Sequence[Any]:
    """Return labels (n,), each a list if there are several columns.

    Parameters
    ----------
    y : array-like of shape (n,) or (n, n_components)

    Raises
    ------
    DataError
        If there are none, or they have another shape.

    Examples
    --------
    >>> labels_of([[1.0, 2.0], [3.0, 4.0]])
    [[1.0, 2.0], [3.0, 4.0]]
    """
    if y is None:
        msg = "requires y to be passed, but the target y is None: no labels to train on"
        raise DataError(msg)
    return _column(y, "y", several=True)


def component_names(y: Any, labels: Sequence[Any]) -> list[str] | None:
    """Return names of the columns of labels, or their numbers.

    Parameters
    ----------
    y : array-like
    labels : sequence
        What :func:`labels_of` makes of `y`.

    Returns
    -------
    list of str or None
        None if a label is one number. Numbers where columns have no names, or one that
        is of no letters and digits, is there twice or means their length, ``norm``.
    """
    if not (labels and isinstance(labels[0], list)):
        return None
    numbers = list(map(str, range(len(labels[0]))))
    columns = getattr(y, "columns", numbers)
    names = [re.sub(r"[^A-Za-z0-9_]+", "_", str(column)) for column in columns]
    told = all(name.strip("_") and name != NORM for name in names)
    return names if told and len(set(names)) == len(names) else numbers


def labelled_rows(
    structures: Any, labels: Sequence[Any], groups: Any, name: str
) -> RowsInMemory:
    """Return structures and labels as rows.

    Parameters
    ----------
    structures : object
        See :func:`mftscreen.data.memory.iter_memory`.
    labels : sequence of length n
    groups : array-like of shape (n,) or None
        Rows of one group are held out together.
    name : str
        Of the label.

    Raises
    ------
    DataError
        If there are fewer than two, or their numbers differ.
    """
    given = list(iter_memory(structures))
    if len(given) != len(labels):
        msg = f"{len(given)} structures and {len(labels)} labels: one of each per row"
        raise DataError(msg)
    if len(given) < 2:
        msg = f"n_samples = {len(given)}: two structures at least are needed to train"
        raise DataError(msg)
    kinds = [""] * len(given)
    if groups is not None:
        kinds = [f"group {group}" for group in _column(groups, "groups")]
        if len(kinds) != len(given):
            msg = f"{len(given)} structures and {len(kinds)} groups: one of each"
            raise DataError(msg)
    unlike = len({row.name for row in given}) == len(given)
    return RowsInMemory(
        Row(row.name if unlike else str(k), row.structure, {name: label}, kind)
        for k, (row, label, kind) in enumerate(zip(given, labels, kinds, strict=True))
    )


def _column(values: Any, what: str, *, several: bool = False) -> Sequence[Any]:
    """Return values (n,), which may be a column (n, 1), or lists if there are several.

    Of several columns, each row is a list.
    """
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, MftscreenError) as error:
        msg = f"{what} has to be a list of values: {error}"
        raise DataError(msg) from error
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 and not (several and array.ndim == 2):
        msg = f"{what} has the shape {array.shape}; one value per structure is expected"
        raise DataError(msg)
    found: list[Any] = array.tolist()
    return found
