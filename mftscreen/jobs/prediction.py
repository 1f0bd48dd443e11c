"""Predictions for structures in memory, as a table that says what to trust."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mftscreen.data.memory import iter_memory
from mftscreen.screen.candidates.stream import Candidate
from mftscreen.screen.predictions import predict_rows
from mftscreen.screen.result.columns import Ranked, result_columns

if TYPE_CHECKING:
    import pandas as pd

    from mftscreen.model.loaded_model import LoadedModel

__all__ = ["prediction_table"]

_OF_RANKINGS = ("rank", "model")
"""Columns that every ranking has, and no prediction."""


def prediction_table(
    structures: Any,
    model: LoadedModel,
    properties: Sequence[str],
    *,
    alpha: float = 0.05,
    coverage: float = 0.9,
) -> pd.DataFrame:
    """Return predictions with intervals, p-values and flags.

    Parameters
    ----------
    structures : object
        As :func:`mftscreen.data.memory.iter_memory` takes them.
    model : LoadedModel
    properties : sequence of str
    alpha, coverage : float
        As in :func:`mftscreen.rank`.

    Returns
    -------
    pandas.DataFrame
        A row for each structure, in their order, with the index that they have if they
        are a column of pandas. Columns as in rankings. A structure without a prediction
        has a ``status`` and a ``reason``.
    """
    import pandas as pd

    rows = [
        Ranked(None, None, row, "")
        for row, _ in predict_rows(
            _candidates(structures),
            model,
            properties,
            alpha=alpha,
            coverage=coverage,
        )
    ]
    units = {name: model.properties[name].unit for name in properties}
    columns = [
        column
        for column in result_columns(units)
        if column.name not in _OF_RANKINGS and column.is_kept(rows)
    ]
    values = {column.name: [column.value(row) for row in rows] for column in columns}
    index = structures.index if hasattr(structures, "iloc") else None
    return pd.DataFrame(values, index=index, columns=[c.name for c in columns])


def _candidates(structures: Iterable[Any]) -> Iterator[Candidate]:
    for row in iter_memory(structures):
        yield Candidate(str(row.name), row.structure)
