"""Fitted detectors as arrays, to be stored without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from mftscreen.errors import ModelFileError
from mftscreen.ood.ofm.orbitals import Table, table_hash
from mftscreen.ood.reference.density import OFMDensityDetector

__all__ = ["REMEDY", "pack_detector", "unpack_detector"]

REMEDY = (
    "an earlier version made it: fit it again with 'mftscreen ood fit', or fine-tune "
    "the model again"
)
"""What to do about a reference set of another version, in an .npz or an .mft file."""

_KEYS = (
    *("data", "indices", "indptr", "shape", "loo_scores"),
    *("method", "n_neighbors", "bandwidth", "alpha", "table_hash"),
)


def pack_detector(detector: OFMDensityDetector) -> dict[str, NDArray[Any]]:
    """Return a fitted detector as arrays for :func:`numpy.savez`.

    Parameters
    ----------
    detector : OFMDensityDetector

    Returns
    -------
    dict of str to ndarray
        ``data``, ``indices``, ``indptr`` and ``shape`` of the reference set,
        ``loo_scores``, ``method``, ``n_neighbors``, ``bandwidth`` (the one that is
        used), ``alpha`` and ``table_hash``. Vectors are in single precision, whose
        rounding is smaller than the distance of any two that count as distinct.
    """
    reference = detector.reference_
    return {
        "data": reference.data.astype(np.float32),
        "indices": reference.indices.astype(np.int32),
        "indptr": reference.indptr,
        "shape": np.array(reference.shape),
        "loo_scores": detector.loo_scores_,
        "method": np.array(detector.method),
        "n_neighbors": np.array(detector.n_neighbors),
        "bandwidth": np.array(detector.bandwidth_),
        "alpha": np.array(detector.alpha),
        "table_hash": np.array(table_hash(detector.table)),
    }


def unpack_detector(
    arrays: Mapping[str, NDArray[Any]], n_features: int | None = None
) -> OFMDensityDetector:
    """Return the detector that :func:`pack_detector` was called with.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        E.g. what :func:`numpy.load` returns.
    n_features : int, optional
        Length that the vectors must have.

    Returns
    -------
    OFMDensityDetector

    Raises
    ------
    ModelFileError
        If an array is missing or does not fit the others, or the vectors have another
        length or were made with an element table that this version does not have.
    """
    missing = [key for key in _KEYS if key not in arrays]
    if missing:
        msg = f"the OFM reference set lacks {', '.join(missing)}; if {REMEDY}"
        raise ModelFileError(msg)
    table = _find_table(str(arrays["table_hash"]))
    try:
        n, width = (int(size) for size in arrays["shape"])
        if n_features not in (None, width):
            msg = (
                f"the OFM reference set has {width} features, this version has "
                f"{n_features}; {REMEDY}"
            )
            raise ModelFileError(msg)
        bandwidth = float(arrays["bandwidth"])
        detector = OFMDensityDetector(
            method=str(arrays["method"]),  # type: ignore[arg-type]  # checked later
            n_neighbors=int(arrays["n_neighbors"]),
            bandwidth=None if np.isnan(bandwidth) else bandwidth,
            alpha=float(arrays["alpha"]),
            table=table,
        )
        parts = tuple(_numbers(arrays, key) for key in ("data", "indices", "indptr"))
        reference = csr_array(parts, shape=(n, width), dtype=np.float64)
        reference.check_format(full_check=True)
        loo_scores = np.asarray(_numbers(arrays, "loo_scores"), dtype=np.float64)
        _check_finite(reference, loo_scores)
        if detector.method == "kde" and detector.bandwidth is None:
            msg = "method 'kde' has no bandwidth"
            raise ValueError(msg)
        return detector.restore(reference, loo_scores)
    except (TypeError, ValueError, OverflowError, MemoryError) as error:
        msg = f"the OFM reference set is damaged: {error}"
        raise ModelFileError(msg) from error


def _find_table(stored: str) -> Table:
    known: dict[str, Table] = {table_hash(t): t for t in ("current", "paper")}
    if stored not in known:
        msg = (
            f"the OFM reference set was made with element table {stored}; this "
            f"version has {', '.join(f'{h} ({t})' for h, t in known.items())}"
        )
        raise ModelFileError(msg)
    return known[stored]


def _numbers(arrays: Mapping[str, NDArray[Any]], key: str) -> NDArray[Any]:
    array = np.asarray(arrays[key])
    if array.dtype.kind not in "iuf":
        msg = f"{key} has the type {array.dtype}; numbers are expected"
        raise ValueError(msg)
    return array


def _check_finite(reference: csr_array, loo_scores: NDArray[np.float64]) -> None:
    with np.errstate(over="ignore"):
        finite = np.isfinite(reference.power(2).sum())
    if not (finite and np.isfinite(loo_scores).all()):
        msg = "a number is not finite, or so large that its square is not"
        raise ValueError(msg)
