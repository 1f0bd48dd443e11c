"""Reference sets: the structures that others are compared with."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import tee
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.sparse import csr_array

from mftscreen.errors import MftscreenError, ModelFileError
from mftscreen.ood.ofm.featurizer import N_FEATURES, OFMFeaturizer
from mftscreen.ood.reference.density import OFMDensityDetector
from mftscreen.ood.reference.nearest import distinct_rows
from mftscreen.ood.reference.storage import pack_detector, unpack_detector
from mftscreen.structures import reduced_formula
from mftscreen.writing import output_file

__all__ = [
    "Reference",
    "fit_reference",
    "open_reference",
    "pack_references",
    "reference_arrays",
    "read_reference",
    "write_reference",
]

_DAMAGED = (
    *(EOFError, ValueError, TypeError, OverflowError, zipfile.BadZipFile, zlib.error),
    MemoryError,  # of a header that promises more than there is
)


@dataclass(frozen=True)
class Reference:
    """A set of structures that others are compared with.

    Attributes
    ----------
    detector : OFMDensityDetector or None
        Fitted to their orbital field matrices; None if there are none, as for a
        training set of molecules.
    ids : tuple of str
        One per vector of the detector.
    formulas : tuple of str
        Reduced formulas, in the same order; empty if they were not stored.
    elements : frozenset of str or None
        Chemical symbols that occur; None if that is not known.
    n_twins : int
        Structures that :func:`fit_reference` left out, as they equal an earlier one.
    """

    detector: OFMDensityDetector | None = None
    ids: tuple[str, ...] = ()
    formulas: tuple[str, ...] = ()
    elements: frozenset[str] | None = None
    n_twins: int = 0

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything but `elements` as arrays; see :func:`open_reference`."""
        if self.detector is None:
            return {}
        arrays = {**pack_detector(self.detector), "ids": np.array(self.ids)}
        if self.formulas:
            arrays["formulas"] = np.array(self.formulas)
        return arrays

    def unseen_elements(self, atoms: Atoms) -> tuple[str, ...]:
        """Return the elements of `atoms` that do not occur, if it is known which do."""
        if self.elements is None:
            return ()
        return tuple(sorted(set(atoms.symbols) - self.elements))


def fit_reference(
    named: Iterable[tuple[str, Atoms | MftscreenError]],
    detector: OFMDensityDetector | None = None,
    *,
    n_jobs: int = 1,
) -> tuple[Reference, list[tuple[str, MftscreenError]]]:
    """Make a reference set of structures.

    Parameters
    ----------
    named : iterable of (str, Atoms or MftscreenError)
        Id and structure, or why it could not be read.
    detector : OFMDensityDetector, optional
        To be fitted; by default a new one with its default settings.
    n_jobs : int, default 1
        Number of processes for the orbital field matrices; -1 for all cores.

    Returns
    -------
    reference : Reference
        Of the structures with distinct orbital field matrices: one that equals an
        earlier one (a duplicate, a supercell) is left out, see
        :class:`mftscreen.ood.OFMDensityDetector`. Without a detector if there are too
        few.
    failures : list of (str, MftscreenError)
        The ids of those without an orbital field matrix (molecules, elements beyond
        Pu) and why they have none.
    """
    detector = OFMDensityDetector() if detector is None else detector
    named, again = tee(named)
    featurize = OFMFeaturizer(table=detector.table, n_jobs=n_jobs)
    rows = featurize(structure for _, structure in again)
    ids, formulas = [], []
    columns: list[NDArray[np.int64]] = []
    values: list[NDArray[np.float64]] = []
    failures: list[tuple[str, MftscreenError]] = []
    for (name, structure), row in zip(named, rows, strict=True):
        features = row.features
        if features is None:
            assert row.error is not None
            failures.append((name, row.error))
            continue
        assert isinstance(structure, Atoms)
        ids.append(name)
        formulas.append(reduced_formula(structure))
        columns.append(features.nonzero()[0])
        values.append(features[columns[-1]])
    if not ids:
        return Reference(), failures
    starts = np.cumsum([0, *map(len, columns)])
    parts = (np.concatenate(values), np.concatenate(columns), starts)
    vectors = csr_array(parts, shape=(len(ids), N_FEATURES))
    kept = distinct_rows(vectors).tolist()
    names = tuple(ids[row] for row in kept)
    n_twins = len(ids) - len(kept)
    if len(kept) < detector.min_reference:
        return Reference(ids=names, n_twins=n_twins), failures
    detector.fit(vectors)
    kept_formulas = tuple(formulas[row] for row in kept)
    known = _elements(kept_formulas)
    return Reference(detector, names, kept_formulas, known, n_twins), failures


def pack_references(
    sets: Mapping[str, Mapping[str, NDArray[Any]]],
) -> dict[str, NDArray[Any]]:
    """Return the reference sets of a model's properties as arrays for its file.

    Parameters
    ----------
    sets : mapping of str to mapping
        What :meth:`Reference.to_arrays` returned, by property. Where properties have
        the same object, it is stored once.

    Returns
    -------
    dict of str to ndarray
        See :func:`reference_arrays`.
    """
    packed: dict[str, NDArray[Any]] = {}
    owners: dict[int, str] = {}
    for name, arrays in sets.items():
        owner = owners.setdefault(id(arrays), name)
        if owner == name:
            packed |= {f"{name}/{key}": array for key, array in arrays.items()}
        elif arrays:
            packed[name] = np.array(owner)
    return packed


def reference_arrays(
    arrays: Mapping[str, NDArray[Any]], name: str
) -> Mapping[str, NDArray[Any]]:
    """Return the reference set of one of a model's properties.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        What a model file holds: see :func:`pack_references`.
    name : str
        Of the property.

    Returns
    -------
    mapping of str to ndarray
        For :func:`open_reference`; empty if there is none.
    """
    if "data" in arrays:  # an earlier version had one set for all properties
        return arrays
    prefix = f"{arrays.get(name, name)}/"
    own = [key for key in arrays if key.startswith(prefix)]
    return {key.removeprefix(prefix): arrays[key] for key in own}


def open_reference(
    arrays: Mapping[str, NDArray[Any]],
    elements: Collection[str] | None = None,
) -> Reference:
    """Return the reference set of a model.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        What :meth:`Reference.to_arrays` or :func:`reference_arrays` returned; may be
        empty.
    elements : collection of str, optional
        Elements of the training set; by default those of the stored formulas.

    Returns
    -------
    Reference

    Raises
    ------
    ModelFileError
        If the arrays are damaged or were made with an unknown element table.
    """
    known = None if elements is None else frozenset(elements)
    if not arrays:
        return Reference(elements=known)
    detector = unpack_detector(arrays, N_FEATURES)
    n = detector.reference_.shape[0]
    ids = _strings(arrays, "ids", n)
    formulas = _strings(arrays, "formulas", n) if "formulas" in arrays else ()
    if known is None and formulas:
        known = _elements(formulas)
    return Reference(detector, ids, formulas, known)


def _strings(arrays: Mapping[str, NDArray[Any]], key: str, n: int) -> tuple[str, ...]:
    found = np.asarray(arrays.get(key, ()))
    if found.shape != (n,) or found.dtype.kind != "U":
        msg = (
            f"the OFM reference set is damaged: {n} vectors, but {key} has the shape "
            f"{found.shape} and the type {found.dtype}"
        )
        raise ModelFileError(msg)
    return tuple(found.tolist())


def _elements(formulas: Iterable[str]) -> frozenset[str]:
    return frozenset(re.findall("[A-Z][a-z]?", " ".join(formulas)))


def read_reference(path: Path) -> Reference:
    """Read a reference set that :func:`write_reference` wrote.

    Parameters
    ----------
    path : Path
        A ``.npz`` file.

    Returns
    -------
    Reference

    Raises
    ------
    ModelFileError
        If the file is missing, is no reference set, or is damaged.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            arrays = dict(stored)
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror or error}"
        raise ModelFileError(msg) from error
    except _DAMAGED as error:
        msg = f"{path} is not a complete OFM reference set (.npz): {error}"
        raise ModelFileError(msg) from error
    if not arrays:
        msg = f"{path} is empty"
        raise ModelFileError(msg)
    try:
        return open_reference(arrays)
    except ModelFileError as error:
        msg = f"{path}: {error}"
        raise ModelFileError(msg) from error


def write_reference(path: Path, reference: Reference) -> None:
    """Write a reference set; an existing file is replaced only when all is written.

    Parameters
    ----------
    path : Path
        Should end in ``.npz``.
    reference : Reference
        With a detector.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    with output_file(path) as partial, partial.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **reference.to_arrays())
