"""What a split asks of a model, fold by fold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from mftscreen.ood.reference.density import OFMDensityDetector
from mftscreen.ood.reference.nearest import distinct_rows
from mftscreen.ood.splits.split import Split
from mftscreen.ood.splits.split_rows import SplitData
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
        what rows like the training rows have. None without vectors, or with fewer than
        three distinct training rows.
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
    split: Split,
    data: SplitData,
    vectors: OFMVectors | None = None,
    *,
    n_jobs: int = 1,
) -> Iterator[FoldReport]:
    """Yield a report on each fold.

    Parameters
    ----------
    split : Split
    data : SplitData
        What was split.
    vectors : OFMVectors, optional
        Of all rows of `data`; without them there are no p-values.
    n_jobs : int, default 1
        Threads of the search for neighbours; -1 for all cores.

    Yields
    ------
    FoldReport

    Raises
    ------
    DataError
        If `data` is not what was split.
    """
    split.check_data(data)
    features = None if vectors is None else csr_array(vectors.features)
    number = {name: row for row, name in enumerate(data.ids)}
    for fold in split.folds:
        train = [number[name] for name in fold.train]
        test = [number[name] for name in fold.test]
        p_value = None
        if features is not None:
            p_value = _median_p_value(features[train], features[test], n_jobs)
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


def _median_p_value(known: csr_array, new: csr_array, n_jobs: int) -> float | None:
    detector = OFMDensityDetector(n_jobs=n_jobs)
    if len(distinct_rows(known)) < detector.min_reference:
        return None
    return float(np.median(detector.fit(known).p_value(new)))


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    return float(values.min()), float(values.max())
