"""Structures at the edge of mftscreen: conversion, checks, identity.

Everything inside works on :class:`ase.Atoms`; pymatgen objects are converted here.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.geometry import complete_cell, minkowski_reduce
from numpy.typing import NDArray

from mftscreen.errors import (
    InvalidGeometryError,
    StructureError,
    UnknownElementError,
)

__all__ = [
    "check_distances",
    "check_sites",
    "check_structure",
    "count_neighbors",
    "find_neighbors",
    "find_separate_neighbors",
    "reduced_formula",
    "shown_formula",
    "structure_hash",
    "to_atoms",
]

MIN_DISTANCE = 0.3
"""Atoms closer than this (Å) are taken for a broken file, not for a structure."""

NEARBY, MAX_NEARBY = 2.0, 40
"""An atom with more others within this (Å) is taken for a broken file: that is more
than one in each Å³, six times the density of diamond, and takes gigabytes."""

MAX_COORDINATE = 1e4
"""Positions and cell vectors beyond this (Å) are taken for a broken file."""

MIN_CELL_HEIGHT = 0.5
"""A reduced cell flatter than this (Å) in a periodic direction has no volume."""

Pairs: TypeAlias = tuple[
    NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]
]
"""What :func:`find_neighbors` returns: centers, others, shifts and distances."""


def to_atoms(structure: Any) -> Atoms:
    """Return `structure` as :class:`ase.Atoms`.

    Parameters
    ----------
    structure : Atoms or pymatgen Structure or Molecule
        Anything else is refused. An :class:`ase.Atoms` is returned as it is.

    Returns
    -------
    Atoms

    Raises
    ------
    StructureError
        If the object is of another type, or a pymatgen site is disordered.
    """
    if isinstance(structure, Atoms):
        return structure
    # told by what it has, so that pymatgen is imported only when it is needed
    if hasattr(structure, "is_ordered") and hasattr(structure, "sites"):
        from pymatgen.io.ase import AseAtomsAdaptor

        if not structure.is_ordered:
            msg = (
                f"{structure.composition.formula} has disordered or partially "
                "occupied sites; order it first, e.g. with pymatgen's "
                "OrderDisorderedStructureTransformation"
            )
            raise StructureError(msg)
        try:
            atoms: Atoms = AseAtomsAdaptor.get_atoms(structure, msonable=False)
        except (KeyError, ValueError, AttributeError) as error:  # dummy species
            msg = f"{structure.composition.formula} cannot be used: {error}"
            raise StructureError(msg) from error
        return atoms
    msg = f"expected ase.Atoms or a pymatgen Structure, got {type(structure).__name__}"
    raise StructureError(msg)


def without_calculator(atoms: Atoms) -> Atoms:
    """Return a copy without the calculator, but with the charge.

    Parameters
    ----------
    atoms : Atoms
    """
    copy: Atoms = atoms.copy()
    keep_charge(copy, atoms)
    return copy


def keep_charge(copy: Atoms, atoms: Atoms) -> None:
    """Give a copy the charge that pymatgen's adaptor has set, as an attribute.

    Parameters
    ----------
    copy : Atoms
        Made by :meth:`ase.Atoms.copy`, which loses it; changed in place.
    atoms : Atoms
    """
    charge = getattr(atoms, "charge", None)
    if charge is not None and not {"charge", "total_charge"} & copy.info.keys():
        copy.info["charge"] = charge


def check_structure(atoms: Atoms, elements: Collection[str]) -> None:
    """Raise if `atoms` cannot be evaluated by a model of these `elements`.

    Parameters
    ----------
    atoms : Atoms
        The structure; it is not changed.
    elements : collection of str
        Chemical symbols that the model knows.

    Raises
    ------
    InvalidGeometryError
        No atoms; a position or cell entry that is not finite or beyond
        ``MAX_COORDINATE``; a periodic direction
        along which the cell has no height; two atoms closer than
        ``MIN_DISTANCE`` Å; an atom with more than ``MAX_NEARBY`` within ``NEARBY`` Å.
    UnknownElementError
        An element outside `elements`.

    Examples
    --------
    >>> from ase.build import bulk
    >>> check_structure(bulk("Si"), elements={"Si"})
    >>> check_structure(bulk("Cu"), elements={"Si"})
    Traceback (most recent call last):
    ...
    mftscreen.errors.UnknownElementError: holds Cu, which the model does not know
    """
    check_sites(atoms, elements)
    check_distances(atoms)


def check_sites(atoms: Atoms, elements: Collection[str]) -> None:
    """Raise if `atoms` cannot be evaluated, but for the distances between them.

    For callers that search neighbours anyway: :func:`find_separate_neighbors` finds
    those that are too close.

    Parameters
    ----------
    atoms : Atoms
        The structure; it is not changed.
    elements : collection of str
        Chemical symbols that the model knows.

    Raises
    ------
    InvalidGeometryError, UnknownElementError
        As :func:`check_structure`.
    """
    if len(atoms) == 0:
        msg = "the structure has no atoms"
        raise InvalidGeometryError(msg)
    symbols = sorted({_symbol(int(z)) for z in set(atoms.numbers)})
    unknown = [s for s in symbols if s not in elements]
    if unknown:
        msg = f"holds {', '.join(unknown)}, which the model does not know"
        raise UnknownElementError(msg)
    bad = np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1))
    if bad.size:
        msg = (
            f"the position of atom {bad[0]} ({atoms.symbols[bad[0]]}) is not finite: "
            f"{atoms.positions[bad[0]].tolist()}"
        )
        raise InvalidGeometryError(msg)
    _check_cell(atoms)
    largest = max(np.abs(atoms.positions).max(), np.abs(atoms.cell).max())
    if largest > MAX_COORDINATE:
        msg = (
            f"a coordinate of {largest:.3g} Å; positions and cell vectors of up to "
            f"{MAX_COORDINATE:.0f} Å are expected"
        )
        raise InvalidGeometryError(msg)


def check_distances(atoms: Atoms) -> None:
    """Raise if two atoms are too close, or many too dense.

    Parameters
    ----------
    atoms : Atoms
        All else has been checked (:func:`check_sites`).

    Raises
    ------
    InvalidGeometryError
        Names the two that are closest, or the one with the most others nearby.
    """
    # the search is slow for radii far below the size of the cell, so take a longer one
    first, second, _, distances = find_neighbors(atoms, NEARBY)
    if distances.min(initial=np.inf) < MIN_DISTANCE:
        k = int(np.argmin(distances))
        i, j = sorted((int(first[k]), int(second[k])))
        msg = (
            f"atoms {i} ({atoms.symbols[i]}) and {j} ({atoms.symbols[j]}) are "
            f"{distances[k]:.3f} Å apart; at least {MIN_DISTANCE} Å is expected"
        )
        raise InvalidGeometryError(msg)
    nearby = np.bincount(first, minlength=1)
    if nearby.max() > MAX_NEARBY:
        k = int(np.argmax(nearby))
        msg = (
            f"the atoms are too dense: atom {k} ({atoms.symbols[k]}) has {nearby[k]} "
            f"others within {NEARBY:g} Å; at most {MAX_NEARBY} are expected"
        )
        raise InvalidGeometryError(msg)


def _symbol(number: int) -> str:
    known = 0 <= number < len(chemical_symbols)
    return chemical_symbols[number] if known else f"number {number}"


def _check_cell(atoms: Atoms) -> None:
    cell = np.asarray(atoms.cell)
    if not np.isfinite(cell).all():
        msg = f"the cell is not finite: {cell.tolist()}"
        raise InvalidGeometryError(msg)
    if not atoms.pbc.any():
        return
    periodic = cell[atoms.pbc]
    if (np.linalg.norm(periodic, axis=1) < MIN_CELL_HEIGHT).any():
        msg = f"pbc is {atoms.pbc.tolist()} but the cell is {cell.tolist()}"
        raise InvalidGeometryError(msg)
    with np.errstate(divide="ignore", invalid="ignore"):  # of equal vectors
        full = complete_cell(np.where(atoms.pbc[:, None], cell, 0.0))
    if not _is_flat(full, atoms.pbc):
        return
    # a skewed cell may look flat, but the same lattice has a compact one
    with (
        suppress(ValueError, RuntimeError, np.linalg.LinAlgError),
        np.errstate(divide="ignore", invalid="ignore"),  # of vectors in one plane
    ):
        reduced, _ = minkowski_reduce(full, atoms.pbc)
        if not _is_flat(reduced, atoms.pbc):
            return
    msg = f"the periodic cell has (almost) no volume: its vectors are {cell.tolist()} Å"
    raise InvalidGeometryError(msg)


def _is_flat(cell: NDArray[np.float64], pbc: NDArray[np.bool_]) -> bool:
    """Tell whether a cell has almost no height along a periodic direction."""
    normals = np.cross(cell[[1, 2, 0]], cell[[2, 0, 1]])
    # height = volume / area of the opposite face, without dividing by zero
    volume, areas = abs(normals[0] @ cell[0]), np.linalg.norm(normals, axis=1)
    return not (volume > MIN_CELL_HEIGHT * areas)[pbc].all()


def find_neighbors(atoms: Atoms, cutoff: float) -> Pairs:
    """Return all neighbours of all atoms within a sphere.

    Parameters
    ----------
    atoms : Atoms
        Any ``pbc``, also periodic in one or two directions only.
    cutoff : float
        In Å.

    Returns
    -------
    centers, others : ndarray of shape (n_pairs,)
        Each pair stands twice, once from either side.
    shifts : ndarray of shape (n_pairs, 3)
        Cell vectors to add to the position of `others`.
    distances : ndarray of shape (n_pairs,)
        In Å.
    """
    from vesin import NeighborList

    # vesin wants a cell of full rank; aperiodic directions are never repeated
    cell = complete_cell(np.where(atoms.pbc[:, None], atoms.cell, 0.0))
    centers, others, shifts, distances = NeighborList(
        cutoff=cutoff, full_list=True, n_threads=1
    ).compute(points=atoms.positions, box=cell, periodic=atoms.pbc, quantities="ijSd")
    return (
        centers.astype(np.int64),
        others.astype(np.int64),
        shifts.astype(np.int64),
        distances,
    )


def find_separate_neighbors(atoms: Atoms, cutoff: float) -> Pairs:
    """Return all neighbours within a sphere; raise as :func:`check_distances`.

    Parameters
    ----------
    atoms : Atoms
        All else has been checked (:func:`check_sites`).
    cutoff : float
        In Å.

    Returns
    -------
    centers, others, shifts, distances
        As :func:`find_neighbors` returns them.

    Raises
    ------
    InvalidGeometryError
        As :func:`check_distances`.
    """
    found = find_neighbors(atoms, cutoff)
    distances = found[3]
    # wide, so that the one check decides, with its own rounding
    close = distances.min(initial=np.inf) < 2 * MIN_DISTANCE
    if cutoff <= NEARBY or close or _may_be_dense(found[0], distances):
        check_distances(atoms)
    return found


def count_neighbors(pairs: Pairs, cutoffs: Sequence[float]) -> NDArray[np.int64]:
    """Return the most neighbours that any atom has within each of some cutoffs.

    Parameters
    ----------
    pairs : tuple of ndarray
        As :func:`find_neighbors` returns them, for the largest cutoff.
    cutoffs : sequence of float
        In Å.

    Returns
    -------
    ndarray of shape (n_cutoffs,)
    """
    centers, _, _, distances = pairs
    within = [distances < cutoff for cutoff in cutoffs]
    return np.array([np.bincount(centers[near], minlength=1).max() for near in within])


def _may_be_dense(centers: NDArray[np.int64], distances: NDArray[np.float64]) -> bool:
    nearby = np.bincount(centers[distances <= 1.01 * NEARBY], minlength=1)
    return bool(nearby.max() > MAX_NEARBY)


def reduced_formula(atoms: Atoms | None) -> str:
    """Return the reduced formula, elements in order of electronegativity.

    Parameters
    ----------
    atoms : Atoms or None

    Returns
    -------
    str
        Empty if there are no atoms or one is of no known element.

    Examples
    --------
    >>> reduced_formula(Atoms("O4Si2"))
    'SiO2'
    """
    if atoms is None or not len(atoms):
        return ""
    if not ((atoms.numbers > 0) & (atoms.numbers < len(chemical_symbols))).all():
        return ""
    from pymatgen.core import Composition

    with warnings.catch_warnings():
        # noble gases have no electronegativity, which is no news to anyone here
        warnings.filterwarnings("ignore", "No Pauling electronegativity")
        return str(Composition(atoms.symbols.formula.count()).reduced_formula)


def shown_formula(atoms: Atoms | None) -> str:
    """Return the formula that a structure is listed with.

    Parameters
    ----------
    atoms : Atoms or None

    Returns
    -------
    str
        The reduced formula; of a molecule the whole one in Hill's order, since C2H6 is
        another molecule than CH3.

    Examples
    --------
    >>> shown_formula(Atoms("C2H4O2")), shown_formula(Atoms("O4Si2", pbc=True))
    ('C2H4O2', 'SiO2')
    """
    reduced = reduced_formula(atoms)
    if atoms is None or not reduced or atoms.pbc.any():
        return reduced
    return str(atoms.get_chemical_formula("hill"))


def structure_hash(atoms: Atoms) -> str:
    """Return a sha256 of what a model sees: numbers, positions, cell and pbc.

    Numbers are rounded to 1e-6 Å, so that a structure keeps its hash when it is
    written to a text format and read again.

    Parameters
    ----------
    atoms : Atoms

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> from ase.build import bulk
    >>> structure_hash(bulk("Si")) == structure_hash(bulk("Si"))
    True
    >>> structure_hash(bulk("Si")) == structure_hash(bulk("Si", a=5.5))
    False
    """
    digest = hashlib.sha256()
    digest.update(np.ascontiguousarray(atoms.numbers, dtype="<i4").tobytes())
    digest.update(np.ascontiguousarray(atoms.pbc, dtype="?").tobytes())
    for array in (atoms.positions, np.asarray(atoms.cell)):
        # adding 0.0 turns -0.0 into 0.0, which would hash differently
        rounded = np.round(np.asarray(array, dtype="<f8"), 6) + 0.0
        digest.update(np.ascontiguousarray(rounded).tobytes())
    return digest.hexdigest()
