"""Predictions for rows that were not trained on, in a file beside the model."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mftscreen.data.dataset import LabelledStructure
from mftscreen.errors import DataError
from mftscreen.finetune.outcome.scores import property_labels
from mftscreen.properties import PropertySpec
from mftscreen.writing import replacing

__all__ = [
    "PREDICTIONS",
    "Prediction",
    "list_predictions",
    "read_predictions",
    "write_predictions",
]

PREDICTIONS = "predictions.csv"
"""Name of the file."""

_AS_IT_IS: Any = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}
"""How it is opened: bytes of ids that are no UTF-8 stay what they are."""


@dataclass(frozen=True)
class Prediction:
    """What a model says of a row.

    Attributes
    ----------
    property : str
    part : str
        ``validation``, ``id``, ``ood`` or the name of a test.
    id : str
        Of the row.
    label, prediction : float
        In the unit of the property.
    """

    property: str
    part: str
    id: str
    label: float
    prediction: float


def list_predictions(
    spec: PropertySpec,
    predicted: Mapping[str, tuple[Sequence[LabelledStructure], NDArray[np.float64]]],
) -> list[Prediction]:
    """Return the predictions of a property, part by part.

    Parameters
    ----------
    spec : PropertySpec
    predicted : mapping of str to (sequence of LabelledStructure, ndarray)
        Part to its rows and their predictions.

    Returns
    -------
    list of Prediction
    """
    return [
        Prediction(spec.name, part, row.id, label, value)
        for part, (rows, values) in predicted.items()
        for row, label, value in zip(
            rows, property_labels(rows, spec).tolist(), values.tolist(), strict=True
        )
    ]


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> None:
    """Write predictions as CSV, with all digits.

    Parameters
    ----------
    path : Path
    predictions : iterable of Prediction
    """
    with replacing(path) as partial, partial.open("w", **_AS_IT_IS) as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(field.name for field in fields(Prediction))
        table.writerows(map(astuple, predictions))


def read_predictions(path: Path) -> list[Prediction]:
    """Return the predictions that :func:`write_predictions` wrote.

    Parameters
    ----------
    path : Path

    Raises
    ------
    DataError
        If it cannot be read or is not such a file.
    """
    try:
        with path.open(**_AS_IT_IS) as stream:
            return [
                Prediction(
                    row["property"],
                    row["part"],
                    row["id"],
                    float(row["label"]),
                    float(row["prediction"]),
                )
                for row in csv.DictReader(stream)
            ]
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        msg = f"cannot be read as predictions: {error}"
        raise DataError(msg, path=path) from error
