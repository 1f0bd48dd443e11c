"""The OFM reference set of a model: its property's training structures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mftscreen.errors import DataError
from mftscreen.ood.density import OFMDensityDetector
from mftscreen.ood.ofm import orbital_field_matrices

__all__ = ["build_reference", "open_reference"]


def build_reference(
    structures: Sequence[Atoms], ids: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """Return a fitted detector as arrays for a model file.

    Parameters
    ----------
    structures : sequence of Atoms
        Those without an orbital field matrix (molecules, elements beyond Pu) are left
        out.
    ids : sequence of str
        Their names, for explanations.

    Returns
    -------
    dict of str to ndarray
        See :meth:`OFMDensityDetector.to_arrays`, and ``ids``. Empty if fewer than two
        structures have an orbital field matrix: for molecules there is no density.

    Raises
    ------
    DataError
        If there are not as many ids as structures.
    """
    if len(structures) != len(ids):
        msg = f"{len(ids)} ids for {len(structures)} structures"
        raise DataError(msg)
    pairs = zip(ids, orbital_field_matrices(structures), strict=True)
    usable = [(name, m) for name, m in pairs if isinstance(m, np.ndarray)]
    if len(usable) < 2:
        return {}
    detector = OFMDensityDetector().fit(np.stack([matrix for _, matrix in usable]))
    return {**detector.to_arrays(), "ids": np.array([name for name, _ in usable])}


def open_reference(
    arrays: Mapping[str, NDArray[Any]], alpha: float
) -> OFMDensityDetector | None:
    """Return the detector of a model file; None if the model has no reference set.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        What :func:`build_reference` returned.
    alpha : float
        Significance level to flag at, whatever was stored.

    Returns
    -------
    OFMDensityDetector or None

    Raises
    ------
    ModelFileError
        If the arrays are damaged.
    """
    if not arrays:
        return None
    return OFMDensityDetector.from_arrays({**arrays, "alpha": np.array(alpha)})
