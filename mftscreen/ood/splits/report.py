"""What a split asks of a model, fold by fold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mftscreen.ood.density import OFMDensityDetector
from mftscreen.ood.splits.data import SplitData
from mftscreen.ood.splits.split import Split
from mftscreen.ood.splits.vectors import OFMVectors

__all__ = ["FoldReport", "report_folds"]


@dataclass(frozen=True)
class FoldReport:
    """Sizes, targets and distance of one fold.

    Attributes
    ----------
    name : str
    n_train, n_val, n_test, n_id_test : int
    train_range, test_range : tuple of float
        Smallest and largest target.
    median_p_value : float or None
        Median over the test rows of the OFM p-value against the training rows; 0.5 is
        what rows like the training rows have. None without vectors, or with a single
        training row.
    """

    name: str
    n_train: int
    n_val: int
    n_test: int
    n_id_test: int
    train_range: tuple[float, float]
    test_range: tuple[float, float]
    median_p_value: float | None


def report_folds(
    split: Split, data: SplitData, vectors: OFMVectors | None = None
) -> Iterator[FoldReport]:
    """Yield a report on each fold.

    Parameters
    ----------
    split : Split
    data : SplitData
        What was split.
    vectors : OFMVectors, optional
        Of all rows of `data`; without them there are no p-values.

    Yields
    ------
    FoldReport

    Raises
    ------
    DataError
        If `data` is not what was split.
    """
    split.check_data(data)
    number = {name: row for row, name in enumerate(data.ids)}
    for fold in split.folds:
        train = [number[name] for name in fold.train]
        test = [number[name] for name in fold.test]
        p_value = None
        if vectors is not None and len(train) > 1:
            detector = OFMDensityDetector(table=vectors.table)
            detector.fit(vectors.values[train])
            p_value = float(np.median(detector.p_value(vectors.values[test])))
        yield FoldReport(
            fold.name,
            len(train),
            len(fold.val),
            len(test),
            len(fold.id_test),
            _range(data.values[train]),
            _range(data.values[test]),
            p_value,
        )


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    return float(values.min()), float(values.max())
